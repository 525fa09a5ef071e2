#!/usr/bin/env python3
"""Files of the spool that are truncated, altered, of another version, somebody else's, or links, before the start and while it runs: each is set aside with a reason and an alert, and the rest goes on."""
import os, re, shutil
from porter import Porter, check, finish
from sink import Sink

hop = Sink(rcpt=lambda a: '450 4.2.0 later')


def flip(path, at):
    with open(path, 'r+b') as f:
        f.seek(at if at >= 0 else os.path.getsize(path) + at)
        byte = f.read(1)
        f.seek(-1, 1)
        f.write(bytes([byte[0] ^ 4]))


def other_version(path):
    with open(path, 'r+b') as f:
        f.seek(7)
        f.write(b'\x63')


def link(path):
    shutil.move(path, str(path) + '-real')
    shutil.move(str(path) + '-real', hop_folder / path.name)
    path.symlink_to(hop_folder / path.name)


DAMAGE = {
    'truncated': lambda f: os.truncate(f, os.path.getsize(f) // 2),
    'empty': lambda f: os.truncate(f, 0),
    'altered in its head': lambda f: flip(f, 20),
    'altered in its envelope': lambda f: flip(f, 64 + content_length(f) + 40),
    'altered in its content': lambda f: flip(f, 64 + content_length(f) - 3),
    'of another version': other_version,
    'a link': link,
    'a folder': lambda f: (f.unlink(), f.mkdir(), shutil.chown(f, f.parent.owner())),
    'somebody else\'s': lambda f: os.chown(f, 12345, 12345),
}


def content_length(path):
    return int.from_bytes(path.read_bytes()[16:24], 'big')


def queued(p):
    return {f.name: f for f in p.spool.glob('queue/*/*')}


def put_in(p, count):
    before = set(queued(p))
    for _ in range(count):
        check('taken', p.send(b'Subject: x\r\n\r\nhello\r\n', 'ann@far.test', 'ann@remote.test') == 250)
    return sorted(set(queued(p)) - before)


def damage(p, names):
    files = queued(p)
    kinds = [k for k in DAMAGE if os.geteuid() == 0 or k != 'somebody else\'s']
    done = dict(zip(kinds, names))
    for kind, name in done.items():
        DAMAGE[kind](files[name])
    return done


def look(p, done, when):
    def missing():
        return {k: n for k, n in done.items() if not os.path.lexists(p.spool / 'aside' / n)}
    p.wait(lambda: not missing())
    for kind, name in done.items():
        check(f'a file that is {kind} is set aside, {when}', kind not in missing(), p.log_text()[-1500:] if kind in missing() else '')
    check(f'and told, {when}', re.search(r'set aside', p.log_text()), p.log_text()[-2000:])


with Porter('damage', settings={'evidence': 'no', 'queue-retry-first': '1s', 'queue-retry-most': '1s'},
            maps={'clients': '127.0.0.1 remote.test\n', 'routes': f'far.test [127.0.0.1]:{hop.port}\n'}) as p:
    hop_folder = p.dir / 'elsewhere'
    hop_folder.mkdir()
    names = put_in(p, len(DAMAGE) + 2)
    p.stop()
    done = damage(p, names)
    (p.spool / 'queue' / names[0][-2:] / 'junk').write_bytes(b'junk')
    (p.spool / 'queue' / 'nofolder').write_bytes(b'junk')
    p.start()
    look(p, done, 'at start')
    names = put_in(p, len(DAMAGE) + 2)
    p.wait(lambda: all(re.search(f' deferred .*id={n}', p.log_text()) for n in names))
    done = damage(p, names)
    look(p, done, 'while it runs')
    listed = p.ctl('queue', 'list')
    check('the rest is listed', listed.returncode == 0 and listed.stdout.count('ann@far.test') >= 4, listed.stdout + listed.stderr)
    hop.hooks['rcpt'] = None
    check('and delivered', p.wait(lambda: len(hop.messages) >= 4), len(hop.messages))
    check('and what the link led to is untouched', len(list(hop_folder.iterdir())) >= 1 and all(f.stat().st_size for f in hop_folder.iterdir()))
    check('the queue is as empty as it can be', p.wait(lambda: set(queued(p)) == {'junk'}), list(queued(p)))
    check('no process ended of it', 'child-died' not in p.log_text(), re.findall('.*child-died.*', p.log_text())[:2])
finish()
