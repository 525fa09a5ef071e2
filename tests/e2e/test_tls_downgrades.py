#!/usr/bin/env python3
"""DANE, MTA-STS, REQUIRETLS and routes' demands: the worlds beside test_tls_policy's, one row each. What an attacker on the way, or a mistake of the domain's, can change is changed;
where TLS is promised nothing goes without it, and what must pass does."""
import re, smtplib, ssl, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
import dnsworld  # noqa: E402
from fakemx import Authority, FakeMX, Https  # noqa: E402
from faultydns import Faulty  # noqa: E402
from porter import SLOW, Porter, check, finish, free_port, skip  # noqa: E402

if dnsworld.missing():
    skip('downgrades', f'{dnsworld.missing()} not here')
    finish()

p = Porter('tls-downgrades', start=False)
port, https_port = free_port(), free_port()
ca = Authority(p.dir / 'ca')
servers, signed, plain, aliases, routes = {}, [], [], [], []
TLSA = f'_{port}._tcp.'
other = ca.leaf('other.test', signed=False)
good = ca.leaf('good.test', chain=True)
old = ca.leaf('old.test', chain=True, expired=True)
WRONG = dnsworld.tlsa(other[0])


def add(name, zone, cert=None, host=None, starttls='220 go', mx=True, offer=('REQUIRETLS',)):
    """A domain of one host, host.NAME.ZONE as a rule, and its alias here; the address that the host has."""
    address = f'127.0.2.{len(servers) + 1}'
    servers[name] = FakeMX(address, port, cert, starttls=starttls, offer=offer)
    lines = [f'mx.{name}.{zone}. A {address}'] if not host else []
    if mx:
        lines.append(f'{name}.{zone}. MX 10 {host or f"mx.{name}.{zone}."}')
    (signed if zone == 'test' else plain).extend(lines)
    aliases.append(f'{name}@example.test x@{name}.{zone}')
    return address


# -- DANE ------------------------------------------------------------------------------------------------------------------------------------------
def dane(name, records, cert, **kw):
    add(name, 'test', cert, **kw)
    signed.extend(f'{TLSA}mx.{name}.test. {r}' for r in records)


ee_old = ca.leaf('mx.ee-old.test', signed=False, expired=True)
dane('ee-old', ['TLSA ' + dnsworld.tlsa(ee_old[0])], ee_old)
dane('ee-name', ['TLSA ' + dnsworld.tlsa(other[0])], other)
dane('ee-cert', ['TLSA ' + dnsworld.tlsa(other[0], selector=0)], other)
dane('ee-two', ['TLSA ' + dnsworld.tlsa(ca.cert), 'TLSA ' + dnsworld.tlsa(other[0])], other)
ta_good, ta_domain = ca.leaf('mx.ta-good.test', chain=True), ca.leaf('ta-domain.test', chain=True)
ta = 'TLSA ' + dnsworld.tlsa(ca.cert, usage=2)
dane('ta-good', [ta], ta_good)
dane('ta-domain', [ta], ta_domain)
dane('ta-name', [ta], good)
dane('ta-old', [ta], ca.leaf('mx.ta-old.test', chain=True, expired=True))
dane('mixed', ['TLSA ' + dnsworld.tlsa(other[0], usage=1), 'TLSA ' + dnsworld.tlsa(good[0])], other)
dane('pkix', ['TLSA ' + dnsworld.tlsa(ca.cert, usage=0), 'TLSA ' + dnsworld.tlsa(other[0], usage=1)], other)
dane('pkix-plain', ['TLSA ' + dnsworld.tlsa(ca.cert, usage=0)], None)
dane('dane454', ['TLSA ' + dnsworld.tlsa(other[0])], other, starttls='454 4.7.0 TLS not available')
dane('danebroken', ['TLSA ' + dnsworld.tlsa(other[0])], other, starttls='broken')
dane('tlsa-cname', [f'CNAME {TLSA}mx.ee-name.test.'], other)
dane('tlsa-out', [f'CNAME {TLSA}mx.far.plain.'], other)
for kind in ('drop', 'servfail', 'nodata', 'nxdomain'):
    dane(f'tlsa-{kind}', ['TLSA ' + WRONG], good)
    dane(f'mx-{kind}', ['TLSA ' + WRONG], good)
dane('a-nodata', ['TLSA ' + WRONG], good)
# hosts that are aliases (RFC 7672, 2.2.2)
for name, shown in (('alias', other), ('aliasbad', good)):
    address = add(name, 'test', other, host=f'mx.{name}.test.')
    signed += [f'mx.{name}.test. CNAME real.{name}.test.', f'real.{name}.test. A {address}', f'{TLSA}real.{name}.test. TLSA {dnsworld.tlsa(shown[0])}']
address = add('aliasown', 'test', other, host='mx.aliasown.test.')
signed += ['mx.aliasown.test. CNAME real.aliasown.test.', f'real.aliasown.test. A {address}', f'{TLSA}mx.aliasown.test. TLSA {dnsworld.tlsa(good[0])}']
address = add('aliasout', 'test', other, host='mx.aliasout.test.')
signed += ['mx.aliasout.test. CNAME real.aliasout.plain.', f'{TLSA}mx.aliasout.test. TLSA {dnsworld.tlsa(good[0])}']
plain.append(f'real.aliasout.plain. A {address}')
# names or addresses that are not proven
address = add('unsigned', 'test', other, host='mx.unsigned.plain.')
plain += [f'mx.unsigned.plain. A {address}', f'{TLSA}mx.unsigned.plain. TLSA {WRONG}', f'{TLSA}mx.far.plain. TLSA {dnsworld.tlsa(good[0])}']
address = add('insecure-mx', 'plain', other, host='mx.insecure-mx.test.')
signed += [f'mx.insecure-mx.test. A {address}', f'{TLSA}mx.insecure-mx.test. TLSA {dnsworld.tlsa(good[0])}']
# two hosts
dane('second', ['TLSA ' + dnsworld.tlsa(good[0])], other)
servers['second-good'] = FakeMX('127.0.3.1', port, good)
signed += ['second.test. MX 20 mx2.second.test.', 'mx2.second.test. A 127.0.3.1', f'{TLSA}mx2.second.test. TLSA {dnsworld.tlsa(good[0])}']
# two hosts, of which one doesn't promise REQUIRETLS in turn: alone in its house, or both
for name, offer in (('turn', ('REQUIRETLS',)), ('noturn', ())):
    dane(name, ['TLSA ' + dnsworld.tlsa(other[0])], other, offer=())
    number = len(servers)
    servers[f'{name}-second'] = FakeMX(f'127.0.3.{number}', port, other, offer=offer)
    signed += [f'{name}.test. MX 20 mx2.{name}.test.', f'mx2.{name}.test. A 127.0.3.{number}', f'{TLSA}mx2.{name}.test. TLSA {dnsworld.tlsa(other[0])}']
# no promise at all
add('opp454', 'plain', other, starttls='454 4.7.0 TLS not available')
add('oppbroken', 'plain', other, starttls='broken')

# -- MTA-STS -------------------------------------------------------------------------------------------------------------------------------------------
pages, web_certs = {}, {}


def policy(name, mode='enforce', mx=None, more=''):
    return f'version: STSv1\r\nmode: {mode}\r\nmx: {mx or f"mx.{name}.plain"}\r\nmax_age: 86400\r\n{more}'


def sts(name, cert, page=None, record=1, web=None, **kw):
    add(name, 'plain', cert, **kw)
    plain.extend(f'_mta-sts.{name}.plain. TXT "v=STSv1; id={i + 1};"' for i in range(record))
    pages[f'mta-sts.{name}.plain', '/.well-known/mta-sts.txt'] = page or (200, 'text/plain', policy(name))
    web_certs[f'mta-sts.{name}.plain'] = web or ca.leaf(f'mta-sts.{name}.plain')


sts('sts-old', ca.leaf('mx.sts-old.plain', expired=True))
sts('sts454', ca.leaf('mx.sts454.plain'), starttls='454 4.7.0 TLS not available')
sts('stsbroken', ca.leaf('mx.stsbroken.plain'), starttls='broken')
sts('wild', ca.leaf('mx.wild.plain'), (200, 'text/plain', policy('wild', mx='*.wild.plain')))
sts('wilder', ca.leaf('mx.wilder.plain'), (200, 'text/plain', policy('wilder', mx='*.mx.wilder.plain')))
sts('none', other, (200, 'text/plain', policy('none', 'none')))
sts('large', other, (200, 'text/plain', policy('large', more=f'x: {"y" * 70000}\r\n')))
sts('html', other, (200, 'text/html', policy('html')))
sts('missing', other, (404, 'text/plain', policy('missing')))
sts('two', other, record=2)
sts('webname', other, web=ca.leaf('elsewhere.plain'))
sts('webself', other, web=ca.leaf('mta-sts.webself.plain', signed=False))
sts('webold', other, web=ca.leaf('mta-sts.webold.plain', expired=True))
for name in ('gone', 'fails', 'badweb', 'weak', 'nomx', 'lost'):    # known in the first round, attacked in the second
    sts(name, ca.leaf(f'mx.{name}.plain'))

# -- routes -----------------------------------------------------------------------------------------------------------------------------------------------
verified = ca.leaf('mx.r-verify.plain')
for name, cert, word in (('r-encrypt', None, 'encrypt'), ('r-encrypt-tls', other, 'encrypt'), ('r-self', other, 'verify'), ('r-verify', verified, 'verify'), ('r-name', verified, 'verify'),
                         ('r-dane', verified, 'dane'), ('r-none', other, 'may')):
    add(name, 'plain', cert)
    routes.append(f'{name}.plain mx tls={word}')
dane('r-dane-good', ['TLSA ' + dnsworld.tlsa(other[0])], other)
routes.append('r-dane-good.test mx tls=dane')
add('plain', 'plain')
add('noword', 'test', other, offer=())
signed.append(f'{TLSA}mx.noword.test. TLSA {dnsworld.tlsa(other[0])}')

faults = {f'{TLSA}mx.tlsa-{k}.test TLSA': k for k in ('drop', 'servfail', 'nodata', 'nxdomain')}
faults |= {f'mx-{k}.test MX': k for k in ('drop', 'servfail', 'nodata', 'nxdomain')} | {'mx.a-nodata.test A': 'nodata', '_mta-sts.lost.plain TXT': 'none'}
web = Https(https_port, web_certs)
web.pages.update(pages)
world = dnsworld.World(p.dir / 'dns', '\n'.join(signed), insecure={'plain.': '\n'.join(plain)})
resolver = Faulty(world.port).__enter__()
resolver.fault = lambda name: faults.get(name, 'none')
p.set({'dns-resolvers': resolver.resolver, 'dns-trust-anchor': world.anchor, 'dns-timeout': '4s', 'hop-port': port, 'tls-roots': ca.cert, 'mta-sts-connect': f'127.0.0.1:{https_port}',
       'hop-connect-timeout': '3s'})
p.map('aliases', 'postmaster alice@example.test\nabuse alice@example.test\n' + '\n'.join(aliases))
p.map('routes', '\n'.join(routes))
compiled = p.ctl('compile')
check('the maps compile', compiled.returncode == 0, compiled.stdout + compiled.stderr)
count = [0]


def expect(sentence, name, code, secure=None, how=None, at=None):
    """code: of the dot; with 250 one message came, inside TLS or not; else none."""
    count[0] += 1
    before, at = len(p.log_text()), at or name
    held = {n: len(s.messages) for n, s in servers.items()}
    got = p.send(f'Subject: {count[0]}\r\n\r\nhello\r\n'.encode(), to=f'{name}@example.test', sender='someone@outside.test')
    taken = {n: s.messages[held[n]:] for n, s in servers.items() if len(s.messages) > held[n]}
    want = {at: [secure]} if code == 250 else {}
    said = re.findall(r'hop-tls .*policy=(\S+)', p.log_text()[before:])
    check(sentence, got // 100 == code // 100 and {n: [m[0] for m in v] for n, v in taken.items()} == want and (how is None or how in said), (got, taken, said))


def submit(name, zone, requiretls, mark=''):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP('127.0.0.1', p.submission, timeout=30 * SLOW, local_hostname='client.test') as s:
        s.starttls(context=context)
        s.login('alice@example.test', 'porter-demo')
        s.sendmail('alice@example.test', [f'x@{name}.{zone}'], f'Subject: required {name}{mark}\r\n\r\nhello\r\n', ['REQUIRETLS'] if requiretls else [])


def required(sentence, name, zone, goes, at=None):
    """Submitted with REQUIRETLS: it goes inside TLS, or comes back as a report. at: to which server."""
    count[0] += 1
    mark = f'required {name} {count[0]}.'.encode()
    submit(name, zone, True, f' {count[0]}.')

    def came():
        return [m[0] for m in servers[at or name].messages if mark in m[1]]

    def reported():
        return [m for m in p.messages('alice').values() if mark in m and b'multipart/report' in m]
    p.wait(lambda: came() or reported())
    check(sentence, (came() == [True] and not reported()) if goes else (not came() and len(reported()) == 1 and re.search(rb'Status: 5\.7\.', reported()[0])),
          (came(), reported()[:1], [l for l in p.log_text().splitlines() if name in l][-4:]))


p.start()
try:
    expect('DANE-EE: the certificate is long over, and says nothing', 'ee-old', 250, True, 'dane')
    expect('DANE-EE: nor does its name', 'ee-name', 250, True, 'dane')
    expect('DANE-EE: the whole certificate', 'ee-cert', 250, True, 'dane')
    expect('DANE: one record of two fits, as while a key is changed', 'ee-two', 250, True, 'dane')
    expect('DANE-TA: a certificate of that authority for the host', 'ta-good', 250, True, 'dane')
    expect('DANE-TA: or for the domain', 'ta-domain', 250, True, 'dane')
    expect('DANE-TA: for another name: nothing goes', 'ta-name', 451)
    expect('DANE-TA: expired: nothing goes', 'ta-old', 451)
    expect('DANE: usage 1 fits, but usage 3 does not: nothing goes', 'mixed', 451)
    expect('DANE: usages 0 and 1 alone demand TLS', 'pkix', 250, True, 'dane-unusable')
    expect('DANE: and without TLS nothing goes', 'pkix-plain', 451)
    expect('DANE: STARTTLS is answered 454: nothing goes', 'dane454', 451)
    expect('DANE: what follows STARTTLS is no TLS: nothing goes', 'danebroken', 451)
    expect('DANE: a record behind an alias', 'tlsa-cname', 250, True, 'dane')
    expect('DANE: a record behind an alias into a zone that is not signed says nothing', 'tlsa-out', 250, True, 'opportunistic')
    for kind, what in (('drop', 'unanswered'), ('servfail', 'answered SERVFAIL'), ('nodata', 'denied without proof'), ('nxdomain', 'said not to exist, without proof')):
        expect(f'DANE: the records are {what}: nothing goes', f'tlsa-{kind}', 451)
        expect(f'DANE: the MX is {what}: nothing goes', f'mx-{kind}', 451)
    expect('DANE: the address is denied without proof: nothing goes', 'a-nodata', 451)
    expect('DANE: the host is an alias: the records of the name behind it', 'alias', 250, True, 'dane')
    check('which is named in the handshake', servers['alias'].names == ['real.alias.test'], servers['alias'].names)
    expect('DANE: which do not fit: nothing goes', 'aliasbad', 451)
    expect('DANE: that name has none: the alias\'s own, which do not fit: nothing goes', 'aliasown', 451)
    expect('DANE: the alias is proven, what is behind it is not: its own count', 'aliasout', 451)
    expect('DANE: a host in a zone that is not signed: opportunistic', 'unsigned', 250, True, 'opportunistic')
    expect('DANE: an MX that is not proven: opportunistic', 'insecure-mx', 250, True, 'opportunistic')
    expect('DANE: the first host does not fit, the second does', 'second', 250, True, 'dane', at='second-good')
    expect('no promise, STARTTLS answered 454: plain text', 'opp454', 250, False, 'opportunistic')
    expect('no promise, what follows STARTTLS is no TLS: plain text', 'oppbroken', 250, False)

    expect('MTA-STS: an expired certificate: nothing goes', 'sts-old', 451)
    expect('MTA-STS: STARTTLS is answered 454: nothing goes', 'sts454', 451)
    expect('MTA-STS: what follows STARTTLS is no TLS: nothing goes', 'stsbroken', 451)
    expect('MTA-STS: a pattern names hosts of one label more', 'wild', 250, True, 'sts')
    expect('MTA-STS: and no others', 'wilder', 451)
    expect('MTA-STS: mode none: opportunistic', 'none', 250, True, 'opportunistic')
    for name, what in (('large', 'of more than 64 KiB'), ('html', 'that is no text/plain'), ('missing', 'with status 404'), ('two', 'with two records'),
                       ('webname', 'from a server with another name'), ('webself', 'from a server with a certificate of its own'), ('webold', 'from a server whose certificate is over')):
        expect(f'MTA-STS: a policy {what} is none: opportunistic', name, 250, True, 'opportunistic')
    for name in ('gone', 'fails', 'badweb', 'weak', 'nomx', 'lost'):
        expect(f'MTA-STS: a good host, to be attacked: {name}', name, 250, True, 'sts')

    expect('a route\'s tls=encrypt: no TLS, nothing goes', 'r-encrypt', 451)
    expect('a route\'s tls=encrypt: any certificate', 'r-encrypt-tls', 250, True, 'encrypt')
    expect('a route\'s tls=verify: a certificate of its own: nothing goes', 'r-self', 451)
    expect('a route\'s tls=verify: another name: nothing goes', 'r-name', 451)
    expect('a route\'s tls=verify: a good one', 'r-verify', 250, True, 'verify')
    expect('a route\'s tls=dane: no records, nothing goes', 'r-dane', 451)
    expect('a route\'s tls=dane: good ones', 'r-dane-good', 250, True, 'dane')
    expect('a route\'s tls=may: as without', 'r-none', 250, True, 'opportunistic')

    required('REQUIRETLS: a host that DANE proves', 'ee-name', 'test', True)
    required('REQUIRETLS: a host that MTA-STS proves', 'gone', 'plain', True)
    required('REQUIRETLS: a host that nothing proves: it comes back', 'opp454', 'plain', False)
    required('REQUIRETLS: a host without TLS: it comes back', 'plain', 'plain', False)
    required('REQUIRETLS: a host that is proven, and does not promise it in turn: it comes back', 'noword', 'test', False)

    required('REQUIRETLS: the next host of the domain promises it', 'turn', 'test', True, at='turn-second')
    required('REQUIRETLS: once more, past the connection that was kept', 'turn', 'test', True, at='turn-second')
    required('REQUIRETLS: no host of the domain does: it comes back', 'noturn', 'test', False)

    # -- the second round: the policies are known; the attacker has the DNS and the hosts
    p.stop()
    for name in ('gone', 'fails', 'badweb', 'weak', 'nomx', 'lost'):
        servers[name].cert = other
    now = [l for l in plain if not re.match(r'(_mta-sts\.gone|nomx\.plain\. MX)', l)]
    now = [re.sub(r'^(_mta-sts\.(?:fails|badweb|weak|nomx)\..*)id=1', r'\1id=2', l) for l in now]
    now.append('nomx.plain. A ' + next(l.split()[-1] for l in plain if l.startswith('mx.nomx.plain. A')))
    web.pages['mta-sts.fails.plain', '/.well-known/mta-sts.txt'] = (500, 'text/plain', 'down')
    web.pages['mta-sts.weak.plain', '/.well-known/mta-sts.txt'] = (200, 'text/plain', policy('weak', 'none'))
    web.pages['mta-sts.badweb.plain', '/.well-known/mta-sts.txt'] = (200, 'text/plain', policy('badweb', 'none'))
    web.show('mta-sts.badweb.plain', other)
    world.__exit__()
    world = dnsworld.World(p.dir / 'dns2', '\n'.join(signed), insecure={'plain.': '\n'.join(now)})
    resolver.upstream = ('127.0.0.1', world.port)
    faults['_mta-sts.lost.plain TXT'] = 'servfail'
    p.set({'dns-trust-anchor': world.anchor})
    p.start()
    expect('MTA-STS: the record is gone, the policy known: nothing goes', 'gone', 451)
    expect('MTA-STS: the record can\'t be asked for, the policy is known: nothing goes', 'lost', 451)
    expect('MTA-STS: a new id, whose policy can\'t be fetched: the old one holds', 'fails', 451)
    expect('MTA-STS: a new id, its policy from a server that is not proven: the old one holds', 'badweb', 451)
    expect('MTA-STS: the MX is gone, too: a host that the policy does not name: nothing goes', 'nomx', 451)
    expect('MTA-STS: a new policy of mode none ends it', 'weak', 250, True, 'opportunistic')
finally:
    p.down()
    resolver.__exit__()
    world.__exit__()
    web.close()
finish()
