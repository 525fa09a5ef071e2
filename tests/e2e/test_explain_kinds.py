#!/usr/bin/env python3
"""What explain foretells of mailboxes of every kind is what the live server says: mbox files, programs, LMTP sockets, and system users with and without a ~/.forward, who are this
test's own, in a mount namespace with another /etc/passwd."""
import os, shutil, subprocess, sys, tempfile
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from foretell import compare, foretell, rcpt_all
from porter import SLOW, Porter, check, finish, skip
from sink import Sink


def other_kinds():
    hop = Sink(rcpt=lambda a: '550 5.1.1 nobody here' if a.startswith('no') else None)
    homes = Path(tempfile.mkdtemp(prefix='porter-homes-'))
    homes.chmod(0o755)
    try:
        forwards = {'plain': None, 'local': 'alice, bob', 'ghost': 'ghost@example.test', 'far': 'far@far.test', 'nofar': 'no@far.test', 'self': '\\self, alice', 'circle': 'circle', 'list': 'alice, far@far.test'}
        with open(homes / 'passwd', 'w') as f:
            f.write(Path('/etc/passwd').read_text())
            for i, user in enumerate(forwards):
                f.write(f'{user}x:x:{61000 + i}:61000::{homes}/{user}x:/bin/sh\n')
        for i, (user, text) in enumerate(forwards.items()):
            home = homes / f'{user}x'
            home.mkdir(mode=0o700)
            if text:
                (home / '.forward').write_text(text.replace('self', 'selfx').replace('circle', 'circlex') + '\n')
                shutil.chown(home / '.forward', 61000 + i, 61000)
            shutil.chown(home, 61000 + i, 61000)
        subprocess.run(['mount', '--bind', homes / 'passwd', '/etc/passwd'], check=True)
        (homes / 'box').write_text('From x\n\nhello\n')
        places = {'mbox': f'mbox:{homes}/box', 'fullmbox': f'quota=10 mbox:{homes}/box', 'prog': 'program:/bin/cat -u', 'noprog': f'program:{homes}/no', 'nosock': f'lmtp:unix:{homes}/s',
                  'nouser': 'system:nosuchuserx', 'root': 'system:root', **{u: f'system:{u}x' for u in forwards}}
        maps = {'=recipients': 'alice@example.test\nbob@example.test\n' + ''.join(f'{k}@example.test {v}\n' for k, v in places.items()), '=routes': f'far.test [127.0.0.1]:{hop.port}\n'}
        with Porter('explain-kinds', maps=maps, settings={'limit-exempt': '127.0.0.0/8'}) as p, p.smtp() as s:
            s.ehlo()
            some = [f'{k}@example.test' for k in places]
            live = rcpt_all(p, s, some, 'MAIL FROM:<someone@outside.test>', each=1)
            compare('mailboxes of other kinds', some, live, foretell(p, some, '--from', 'someone@outside.test', '--client', '127.0.0.1'))
            check('and they are of several kinds', len({l[:3] for l in live}) >= 3, list(zip(some, live)))
    finally:
        subprocess.run(['umount', '/etc/passwd'])
        shutil.rmtree(homes, ignore_errors=True)


if os.environ.get('EXPLAIN_KINDS'):
    other_kinds()
elif os.geteuid() or subprocess.run(['unshare', '--mount', 'true'], capture_output=True).returncode:
    skip('mailboxes of other kinds', 'only root has a mount namespace')
else:
    inside = subprocess.run(['unshare', '--mount', '--propagation', 'private', sys.executable, __file__], env=dict(os.environ, EXPLAIN_KINDS='1'), capture_output=True, text=True, timeout=100 * SLOW)
    print(inside.stdout, end='')
    check('the other kinds of mailboxes were compared', inside.returncode == 0, inside.stderr[-1500:])
finish()
