#!/usr/bin/env python3
"""Credentials of routes: read by the login process alone, said by the delivery process, over TLS only."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from fakemx import Authority, FakeMX  # noqa: E402
from porter import Porter, check, finish, free_port  # noqa: E402

p = Porter('route-login', start=False)
ca, port = Authority(p.dir / 'ca'), free_port()
hop = FakeMX('127.0.1.77', port, ca.leaf('smart.test'), login=(b'us', b'pass word'))
token = 'T' * 1999       # as long as some make them: the process delivery hung up on who told it
long = FakeMX('127.0.1.79', port, ca.leaf('long.test'), login=(b'us', token.encode()))
plain = FakeMX('127.0.1.78', port, None, login=(b'us', b'pass word'))
p.map('aliases', 'postmaster alice@example.test\nabuse alice@example.test\nsmart@example.test x@smart.test\nwrong@example.test x@wrong.test\n'
                 'none@example.test x@none.test\nopen@example.test x@open.test\nlong@example.test x@long.test\n')
p.map('routes', ''.join(f'{n}.test [127.0.1.{a}]:{port} tls={tls} credentials={c}\n' for n, a, tls, c in (
    ('smart', 77, 'encrypt', 'smarthost'), ('wrong', 77, 'encrypt', 'badhost'), ('none', 77, 'encrypt', 'nohost'), ('open', 78, 'may', 'smarthost'), ('long', 79, 'encrypt', 'longhost'))))
with open(p.etc / 'credentials', 'a') as f:
    f.write('smarthost hop us "pass word"\nbadhost hop us wrong\n' + f'longhost hop us {token}\n')
compiled = p.ctl('compile')
check('the maps compile', compiled.returncode == 0 or 'nohost' in compiled.stderr, compiled.stdout + compiled.stderr)
if compiled.returncode:             # a name without a line may be refused at once, which is better still
    p.map('routes', (p.etc / 'routes').read_text().replace('nohost', 'smarthost'))
    p.ctl('compile')
p.start()


def send(name):
    return p.send(f'Subject: {name}\r\n\r\nhello\r\n'.encode(), to=f'{name}@example.test', sender='someone@outside.test')


try:
    check('the next hop hears user and password inside TLS and takes the mail', send('smart') == 250 and hop.tried == [(b'us', b'pass word')] and hop.messages[0][0], hop.tried)
    check('wrong credentials are a 4xx, and nothing goes', send('wrong') // 100 == 4 and len(hop.messages) == 1, hop.tried)
    if not compiled.returncode:
        tried = len(hop.tried)
        check('credentials that are not there are a 4xx, and nobody is asked', send('none') // 100 == 4 and len(hop.tried) == tried)
    check('a password may be a token', send('long') == 250 and len(long.messages) == 1, [l for l in p.log_text().splitlines() if 'peer-gone' in l])
    send('open')
    check('without TLS no password is said', plain.sessions > 0 and plain.tried == [])
    check('nor is it in the log', 'pass word' not in p.log_text())
finally:
    p.down()
finish()
