#!/usr/bin/env python3
"""The demo below a folder that nobody but root may enter, as root's home is: the processes' users have theirs elsewhere, and DIR leads there."""
import os, shutil, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import BUILD, Porter, check, finish, skip  # noqa: E402


def main():
    if os.geteuid() or os.environ.get('PORTER_AS'):
        skip('the demo in a private folder', 'only root has other users')
        return
    home = BUILD / 't' / f'home-{os.getpid()}'
    home.mkdir(parents=True)
    home.chmod(0o700)
    place = None
    try:
        with Porter('inner', start=False) as p:
            demo = home / 'demo'
            shutil.rmtree(p.dir)
            p.dir, p.etc, p.mail, p.spool, p.log = demo, demo / 'etc', demo / 'mail', demo / 'spool', home / 'log'
            p.run([BUILD / 'porterd', 'demo', demo, '--port-base', p.ports.base], check=True)
            place = Path(os.readlink(demo / 'mail')).parent
            p.start()
            check('mail is taken, and lies below DIR/mail', p.send() == 250 and len(p.messages()) == 1, p.log_text()[-1500:])
            check('no process has died', 'child-died' not in p.log_text())
            p.stop()
            r = p.run([BUILD / 'porterd', 'demo', demo, '--port-base', p.ports.base])
            p.start()
            check('starting it again keeps the mail', r.returncode == 0 and p.send() == 250 and len(p.messages()) == 2, r.stderr)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        if place and place.name.startswith('porter-demo-'):
            shutil.rmtree(place, ignore_errors=True)


main()
finish()
