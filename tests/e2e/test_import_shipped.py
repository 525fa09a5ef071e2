#!/usr/bin/env python3
"""The configurations that Debian's packages of Postfix, Exim and OpenSMTPD themselves ship, turned into ours; from packages that are unpacked below build/, as tests/lib/servers does."""
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from importing import imported, put
from porter import Porter, check, finish, skip
from unpack import unpack

PACKAGES = {'postfix': 'postfix', 'exim': 'exim4-daemon-light', 'opensmtpd': 'opensmtpd'}


def shipped(p, kind, name, *pieces, into=None, **wanted):
    root = unpack(kind, PACKAGES[kind])
    if not root:
        skip(f"import {kind}: {name} of Debian's package", 'the package can not be had')
        return
    source = root / name
    if into:
        source = put(p.dir / f'shipped-{kind}-{Path(name).name}', {into: source.read_text()})
    to, said = imported(p, kind, source, **wanted)
    check(f"import {kind}: {name} of Debian's package, and what it could not carry over", all(x in said for x in pieces), said)
    empty = [f.name for f in to.iterdir() if not f.is_file()]
    r = p.ctl('compile')
    check(f'import {kind}: the maps that serve are untouched', not empty and r.returncode == 0, r.stderr)


with Porter('shipped', start=False) as p:
    shipped(p, 'postfix', 'usr/share/postfix/main.cf.debian', 'carried over', into='main.cf', domains=['localhost mailbox'])
    shipped(p, 'postfix', 'usr/share/postfix/main.cf.dist', 'carried over', into='main.cf', domains=['localhost mailbox'], clients=['127.0.0.0/8 wide, *'])
    shipped(p, 'exim', 'etc/exim4/exim4.conf.template', 'MAIN_LOCAL_DOMAINS is no whole domain', 'DCsmarthost is not defined here', 'system:USER', 'the router hubbed_hosts')
    shipped(p, 'opensmtpd', 'etc/smtpd.conf', '/etc/aliases', 'listen on localhost', 'system:USER')
finish()
