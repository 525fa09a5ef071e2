#!/usr/bin/env python3
"""tests/long/million.py [MESSAGES]: MESSAGES (1,000,000) deferred ones in the queue, on a file system of its own (an image of 16 GiB with 1.6 inodes a message, in a mount namespace of this test). After a
restart it greets within a second, and has scanned the queue within ten; memory stays below 40 MiB and 200 bytes a recipient. As root."""
import os, re, shutil, subprocess, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from porter import BUILD, SLOW, Porter, check, finish, skip  # noqa: E402
from fairness import flood  # noqa: E402

MILLION, INSIDE = 1000000, 'PORTER_MOUNTS'


def mount_spool(p, messages):
    image = BUILD / 't' / f'million-{os.getpid()}.img'
    with open(image, 'wb') as f:
        f.truncate(16 << 30)
    subprocess.run(['mkfs.ext4', '-q', '-F', '-N', str(max(int(messages * 1.6), 100000)), image], check=True)
    p.spool.mkdir(exist_ok=True)
    keep = os.stat(p.spool)
    subprocess.run(['mount', '-o', 'loop,noatime', image, p.spool], check=True)
    image.unlink()          # it goes with the mount
    (p.spool / 'lost+found').rmdir()
    os.chown(p.spool, keep.st_uid, keep.st_gid)
    os.chmod(p.spool, keep.st_mode & 0o7777)


def pss_mib(p):
    total = 0
    for pid in p.pids():
        try:
            total += int(re.search(r'^Pss:\s+(\d+)', Path(f'/proc/{pid}/smaps_rollup').read_text(), re.M)[1])
        except (OSError, TypeError):
            pass
    return total / 1024


def timed(what):
    began = time.monotonic()
    return what(), time.monotonic() - began


def listing(p, *argv):
    with open(p.dir / 'listing', 'wb') as out:
        subprocess.run([BUILD / 'porterctl', '-c', p.etc, 'queue', *argv], stdout=out, check=True)
    return sum(1 for _ in open(p.dir / 'listing', 'rb'))


def run(messages):
    with Porter('million', start=False, settings={'evidence': 'no', 'queue-retry-first': '1h', 'queue-retry-most': '2h'},
                maps={'clients': '127.0.0.1 flood.test\n', 'routes': 'far.test [127.0.0.1]:1\n'}) as p:
        mount_spool(p, messages)
        p.start()
        allowed = 40 + messages * 200 / 2**20
        seconds = flood(p, messages)
        check('what is tried is put off', p.wait_log(r' info deferred process=queue'))
        print(f'row million: {messages} taken in {seconds:.0f} s, {messages / seconds:.0f}/s; memory {pss_mib(p):.0f} MiB of {allowed:.0f}')
        check('memory is below 40 MiB and 200 bytes a recipient', pss_mib(p) <= allowed, pss_mib(p))
        lines, took = timed(lambda: listing(p, 'list'))
        check('the listing has them all', lines >= messages, lines)
        print(f'row million: listed in {took:.1f} s, {took / messages * 1e6:.0f} µs a message; summary in {timed(lambda: listing(p, "summary"))[1]:.1f} s')
        p.stop(120)
        p.log.unlink()
        _, greeting = timed(p.start)
        scanned = p.wait_log(r'queue-scanned process=queue messages=(\d+) unread=\d+ ms=(\d+)', 120)
        check('after a restart the whole queue is there', scanned and int(scanned[1]) == messages, scanned and scanned[0])
        print(f'row million: greeting {greeting:.2f} s after the start, scanned in {scanned and scanned[2]} ms; memory {pss_mib(p):.0f} MiB')
        check('it greets within a second, and has scanned within ten', greeting < 1 * SLOW and scanned and int(scanned[2]) < 10000 * SLOW, (greeting, scanned and scanned[2]))
        check('memory is as small as before', pss_mib(p) <= allowed, pss_mib(p))
        p.kill()
        subprocess.run(['umount', '-l', p.spool], check=False)
    finish()


def main(messages):
    if os.geteuid() or not shutil.which('mkfs.ext4'):
        skip('a million deferred messages', 'needs root and mkfs.ext4')
        finish()
    if INSIDE not in os.environ:
        os.environ[INSIDE] = '1'
        os.execvp('unshare', ['unshare', '--mount', '--propagation', 'private', sys.executable, *sys.argv])
    run(messages)


if __name__ == '__main__':
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MILLION)
