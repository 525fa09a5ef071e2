#!/usr/bin/env python3
"""Rolls: a restart takes what it knows from them, sees what was added, removed or altered while nobody served, and believes none that is damaged, foreign, a link or of another version. Needs no hop: what is queued
is deferred for hours."""
import json, os, re, shutil, subprocess
from porter import BUILD, Porter, check, finish

MESSAGES, FOLDERS = 2000, 8


def fill(p, count):
    made = subprocess.run([BUILD / 'e2e/fill_spool', p.spool, str(count), '50', str(FOLDERS)], capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr


def files(p):
    return sorted(p.spool.glob('queue/*/*'))


def rolls(p):
    return sorted(f for f in p.spool.glob('rolls/*') if len(f.name) == 2)


def start(p):
    """(messages, unread) as the scan tells them."""
    p.log.unlink(missing_ok=True)
    p.start()
    m = p.wait_log(r'queue-scanned process=queue messages=(\d+) unread=(\d+)', 60)
    return (int(m[1]), int(m[2])) if m else (None, p.log_text()[-2000:])


def status(p):
    """What the queue says of itself; of one that can't be asked yet, that it knows nothing."""
    return next((r['status'] for r in p.status()['processes'] if r['role'] == 'queue' and r['status']), {'messages': None, 'recipients': None, 'held': None, 'scanned': False})


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def held(p, count):
    return p.wait(lambda: status(p)['held'] == count)


with Porter('rolls', start=False, settings={'evidence': 'no'}) as p:
    p.start()
    p.stop()
    fill(p, MESSAGES)
    check('without rolls every message is read', start(p) == (MESSAGES, 0))
    ident = files(p)[0].name
    check('a message is held', p.ctl('queue', 'hold', ident).returncode == 0 and held(p, 1), p.log_text()[-1000:])
    p.stop()
    check('an orderly end leaves a roll for each folder', len(rolls(p)) == FOLDERS, [f.name for f in rolls(p)])
    check('by which the next start reads none', start(p) == (MESSAGES, MESSAGES))
    check('what was held is held', held(p, 1))
    check('and the messages are what they were', status(p)['messages'] == MESSAGES and status(p)['recipients'] == MESSAGES, status(p))
    p.ctl('queue', 'hold', files(p)[1].name)
    check('a second one is held', held(p, 2))
    p.kill()
    got = start(p)
    check('after a kill -9 the rolls serve as far as they hold', got[0] == MESSAGES and MESSAGES - 2 <= got[1] <= MESSAGES, got)
    check('and what happened since is seen', held(p, 2))
    p.stop()

    names = files(p)[10:]
    names[0].unlink()                                                   # removed
    flip(names[1], 300)                                                 # altered, in its envelope
    os.truncate(names[2], 100)                                          # truncated
    shutil.copy2(names[3], p.dir / 'copy')
    shutil.copy2(p.dir / 'copy', names[4].parent / 'copy')              # another file of the same content and times
    (names[4].parent / 'copy').rename(names[3])
    os.chown(names[3], p.spool.stat().st_uid, p.spool.stat().st_gid)
    fill(p, 5)                                                          # added
    got = start(p)
    check('what was removed, altered, replaced or added while nobody served is seen', got == (MESSAGES + 2, MESSAGES - 4), got)
    check('what was damaged is set aside', p.wait(lambda: {f.name for f in (p.spool / 'aside').iterdir()} == {names[1].name, names[2].name}))
    p.stop()

    now = MESSAGES + 2
    damaged = rolls(p)
    flip(damaged[0], len(damaged[0].read_bytes()) // 2)
    os.truncate(damaged[1], 1000)
    flip(damaged[2], 7)                                                 # of another version
    damaged[3].rename(p.dir / 'roll')
    damaged[3].symlink_to(p.dir / 'roll')
    shutil.copy(damaged[5], damaged[4])                                 # of another folder
    os.chown(damaged[4], p.spool.stat().st_uid, p.spool.stat().st_gid)
    got = start(p)
    check('no damaged or foreign roll is believed', got[0] == now and got[1] < now * 4 / FOLDERS, got)
    check('and each is told', len(re.findall('roll-refused', p.log_text())) == 4, re.findall('roll.*', p.log_text()))
    check('nothing else is set aside', len(list((p.spool / 'aside').iterdir())) == 2)
    p.stop()
    p.start()
    p.stop()                                                            # most likely while it scans
    check('an end while it scans spoils nothing', start(p)[0] == now)
    p.stop()
    shutil.rmtree(p.spool / 'rolls')
    check('all of them may be thrown away', start(p) == (now, 0))
    check('while it serves rolls are written now and then', p.wait(lambda: len(rolls(p)) == FOLDERS), [f.name for f in rolls(p)])
    p.stop()
finish()
