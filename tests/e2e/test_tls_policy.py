#!/usr/bin/env python3
"""DANE and MTA-STS towards next hops, in a signed world of DNS on loopback; each downgrade is tried, none succeeds."""
import os, re, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
import dnsworld  # noqa: E402
from fakemx import Authority, FakeMX, Https  # noqa: E402
from porter import PATIENCE, SLOW, Porter, check, finish, free_port, skip  # noqa: E402

if dnsworld.missing():
    skip('DANE and MTA-STS', f'{dnsworld.missing()} not here')
    finish()

WORLD = {}          # domain: (its host's address)


def policy(mx, mode='enforce'):
    return f'version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 86400\r\n'


p = Porter('tls-policy', start=False)
port, https_port = free_port(), free_port()
ca = Authority(p.dir / 'ca')
own = {n: ca.leaf(f'mx.{n}.test', signed=False) for n in ('dane', 'danebad', 'bogus', 'requsage')}
sts = {n: ca.leaf(f'mx.{n}.plain') for n in ('sts', 'strip', 'policyless')}
sts['self'] = ca.leaf('mx.self.plain', signed=False)
sts['wrong'] = ca.leaf('elsewhere.plain')
sts['testing'] = ca.leaf('mx.testing.plain', signed=False)
sts['redirect'] = ca.leaf('mx.redirect.plain', signed=False)
sts['opp'] = ca.leaf('mx.opp.plain', signed=False)
sts['malformed'] = ca.leaf('mx.malformed.plain', signed=False)
sts['forged'] = ca.leaf('mx.forged.plain', signed=False)
servers, root, plain = {}, '', ''


def add(name, zone, cert):
    address = f'127.0.1.{len(servers) + 1}'
    servers[name] = FakeMX(address, port, cert)
    return f'{name}.{zone}. MX 10 mx.{name}.{zone}.\nmx.{name}.{zone}. A {address}\n'


for name in ('dane', 'danebad', 'danestrip', 'bogus', 'requsage'):
    root += add(name, 'test', own.get(name))
    shown = own['dane' if name in ('danebad', 'danestrip') else name][0]
    root += f'_{port}._tcp.mx.{name}.test. TLSA {dnsworld.tlsa(shown, usage=1 if name == "requsage" else 3)}\n'
for name in ('sts', 'strip', 'self', 'wrong', 'other', 'testing', 'redirect', 'malformed', 'forged', 'opp', 'nothing'):
    plain += add(name, 'plain', {'strip': None, 'other': sts['self'], 'nothing': None}.get(name, sts.get(name)))
    if name not in ('opp', 'nothing'):
        plain += f'_mta-sts.{name}.plain. TXT "v=STSv1; id=1;"\n'
root += '_smtp._tls.danebad.test. TXT "v=TLSRPTv1; rua=mailto:reports@danebad.test"\n'
REPORTED = {'bogus.test': ('tlsa', 'dnssec-invalid'), 'requsage.test': ('tlsa', 'tlsa-invalid'), 'other.plain': ('sts', 'validation-failure'), 'redirect.plain': ('sts', 'sts-policy-fetch-error'),
            'malformed.plain': ('sts', 'sts-policy-invalid'), 'forged.plain': ('sts', 'sts-webpki-invalid')}
root += ''.join(f'_smtp._tls.{d}. TXT "v=TLSRPTv1; rua=mailto:reports@danebad.test"\n' for d in REPORTED if d.endswith('.test'))
plain += ''.join(f'_smtp._tls.{d}. TXT "v=TLSRPTv1; rua=mailto:reports@danebad.test"\n' for d in REPORTED if d.endswith('.plain'))
plain += f'_{port}._tcp.mx.opp.plain. TLSA 3 1 1 {"00" * 32}\n'     # not validated: says nothing


def spoil(text):
    return re.sub(r'(_\d+\._tcp\.mx\.bogus\.test\.\s.*TLSA\s+3 1 1 )(..)', lambda m: m[1] + f'{int(m[2], 16) ^ 1:02x}', text)


web = Https(https_port, {f'mta-sts.{n}.plain': ca.leaf(f'mta-sts.{n}.plain') for n in ('sts', 'strip', 'self', 'wrong', 'other', 'testing', 'redirect', 'malformed')} | {'mta-sts.forged.plain': ca.leaf('mta-sts.forged.plain', signed=False)})
for name in ('sts', 'strip', 'self', 'wrong', 'testing', 'other'):
    web.pages[f'mta-sts.{name}.plain', '/.well-known/mta-sts.txt'] = (200, 'text/plain', policy(
        'mx.good.plain' if name == 'other' else f'mx.{name}.plain', 'testing' if name == 'testing' else 'enforce'))
web.pages['mta-sts.redirect.plain', '/.well-known/mta-sts.txt'] = (301, 'text/plain', 'https://mta-sts.sts.plain/.well-known/mta-sts.txt')
web.pages['mta-sts.malformed.plain', '/.well-known/mta-sts.txt'] = (200, 'text/plain', policy('mx.malformed.plain').replace('max_age', 'maxage'))
web.pages['mta-sts.forged.plain', '/.well-known/mta-sts.txt'] = (200, 'text/plain', policy('mx.elsewhere.plain'))

dns = dnsworld.World(p.dir / 'dns', root, insecure={'plain.': plain}, spoil=spoil)
p.set({'dns-resolvers': dns.resolver, 'dns-trust-anchor': dns.anchor, 'hop-port': port, 'tls-roots': ca.cert, 'mta-sts-connect': f'127.0.0.1:{https_port}',
       'hop-connect-timeout': '3s'})
p.map('aliases', 'postmaster alice@example.test\nabuse alice@example.test\n' + ''.join(
    f'{n}@example.test x@{n}.{"test" if n in own or n == "danestrip" else "plain"}\n' for n in servers))
check('the maps compile', p.ctl('compile').returncode == 0, p.ctl('compile').stdout + p.ctl('compile').stderr)


def send(name, n=[0]):
    n[0] += 1
    return p.send(f'Subject: {n[0]}\r\n\r\nhello\r\n'.encode(), to=f'{name}@example.test', sender='someone@outside.test')


def expect(sentence, name, code, secure=None, how=None):
    before = len(servers[name].messages)
    got = send(name)
    taken = servers[name].messages[before:]
    good = got // 100 == code // 100 and (len(taken) == 1 and taken[0][0] == secure if code == 250 else taken == [])
    logged = re.findall(rf'hop-tls .*host=mx\.{name}\.\S+ policy=(\S+)', p.log_text())
    check(sentence, good and (how is None or logged[-1:] == [how]), (got, taken, logged[-3:]))


p.start()
try:
    expect('DANE: the published key is verified', 'dane', 250, True, 'dane')
    expect('DANE: another key than the published one: nothing goes', 'danebad', 451)
    expect('DANE: STARTTLS was taken out: nothing goes', 'danestrip', 451)
    expect('DANE: a record whose signature is broken: nothing goes', 'bogus', 451)
    expect('DANE: records of unusable kinds demand TLS, any certificate', 'requsage', 250, True, 'dane-unusable')
    expect('TLSA that DNSSEC does not prove says nothing: opportunistic', 'opp', 250, True, 'opportunistic')
    expect('no TLS offered and no policy: plain text', 'nothing', 250, False, 'opportunistic')
    expect('MTA-STS: a host of the policy with a good certificate', 'sts', 250, True, 'sts')
    expect('MTA-STS: STARTTLS was taken out: nothing goes', 'strip', 451)
    expect('MTA-STS: a self-signed certificate: nothing goes', 'self', 451)
    expect('MTA-STS: a certificate of another name: nothing goes', 'wrong', 451)
    expect('MTA-STS: an MX that the policy does not name: nothing goes', 'other', 451)
    expect('MTA-STS: mode testing: it goes all the same', 'testing', 250, True, 'sts-testing')
    expect('MTA-STS: a redirect is not followed, no policy is known', 'redirect', 250, True, 'opportunistic')
    expect('MTA-STS: a policy that is malformed is none', 'malformed', 250, True, 'opportunistic')
    expect('MTA-STS: one from a host that proves nothing is none', 'forged', 250, True, 'opportunistic')
    kept = lambda: sorted(f.name for f in (p.dir / 'sts').iterdir())       # noqa: E731
    check('policies are kept on disk', p.wait(lambda: kept() == sorted(f'{n}.plain' for n in ('sts', 'strip', 'self', 'wrong', 'testing', 'other'))), kept())
    said = {n: p.ctl('tls', n) for n in ('dane.test', 'other.plain', 'bogus.test', 'sts.plain', 'malformed.plain', 'forged.plain')}
    check('porterctl tls tells what the process decides', said['dane.test'].returncode == 0 and 'dane: TLS must' in said['dane.test'].stdout and
          said['other.plain'].returncode == 1 and 'sts: TLS unusable' in said['other.plain'].stdout and said['bogus.test'].returncode == 1 and
          'mx: mx.sts.plain' in said['sts.plain'].stdout, {k: v.stdout + v.stderr for k, v in said.items()})
    check('and what a report would say of the policy itself', 'sts-policy-invalid' in said['malformed.plain'].stdout and 'sts-webpki-invalid' in said['forged.plain'].stdout and
          'sts-' not in said['sts.plain'].stdout and '"failed":"sts-policy-invalid"' in p.ctl('tls', 'malformed.plain', '--json').stdout, {k: v.stdout for k, v in said.items()})
    asked = len(web.asked)
    expect('a policy is fetched once', 'sts', 250, True)
    check('and not again', len(web.asked) == asked)
    p.stop()
    web.close()
    dns.__exit__()
    again = dnsworld.World(p.dir / 'dns2', root, insecure={'plain.': re.sub(r'_mta-sts\S+ TXT.*\n', '', plain)}, spoil=spoil)
    drop = p.spool / 'drop'
    drop.mkdir(exist_ok=True)
    drop.chmod(0o1733)
    over = p.dir / 'sts/over.plain'
    over.write_text('sts1 1000000000 1\nversion: STSv1\nmode: enforce\nmx: mx.over.plain\nmax_age: 86400\n')
    os.chown(over, (p.dir / 'sts').stat().st_uid, (p.dir / 'sts').stat().st_gid)
    counts = bytearray((p.spool / 'tls-report').read_bytes())
    size = int.from_bytes(counts[12:16], 'little')                       # all of today becomes the day before yesterday: yesterday's may still have to wait for hours
    for at in range(32, len(counts) - size + 1, size):
        day = int.from_bytes(counts[at:at + 4], 'little')
        counts[at:at + 4] = (day - 2 if day else 0).to_bytes(4, 'little')
    (p.spool / 'tls-report').write_bytes(counts)
    p.set({'tls-report-from': 'tls-reports@example.test'})
    p.set({'dns-resolvers': again.resolver, 'dns-trust-anchor': again.anchor})
    p.start()
    report = p.wait_log(r'tls-report .*domain=danebad\.test')
    check('policies whose time is over are gone, the others stay', p.wait(lambda: not over.exists()) and 'sts.plain' in kept(), kept())
    check('a day that is over is reported to who asks for it', report)
    end = time.monotonic() + PATIENCE * SLOW
    said = lambda: {m[1].decode(): f for f in drop.iterdir() if not f.name.startswith('tmp.') and (m := re.search(rb'TLS-Report-Domain: (\S+)', f.read_bytes()))}    # noqa: E731
    while len(said()) < 1 + len(REPORTED) and time.monotonic() < end:
        time.sleep(.1)
    for domain, (kind, result) in REPORTED.items():
        content = said()[domain].read_bytes() if domain in said() else b''
        (p.dir / 'report').write_bytes(content[content.index(b'From: <'):] if content else b'')
        told = p.ctl('tls-reports', p.dir / 'report').stdout
        check(f'what is wrong with the policy itself is reported: {result}', re.search(rf'{re.escape(domain)}  {kind}  good 0 bad [1-9]', told) and result in told, told)
    left = [f.read_bytes() for f in drop.iterdir() if b'TLS-Report-Domain: danebad.test' in f.read_bytes()]
    check('by one mail, left for the queue', len(left) == 1 and b'TLS-Report-Domain: danebad.test' in left[0] and b'reports@danebad.test' in left[0], left)
    (p.dir / 'report').write_bytes(left[0][left[0].index(b'From: <'):] if left else b'')
    told = p.ctl('tls-reports', p.dir / 'report')
    check('which our own reader understands', told.returncode == 0 and re.search(r'danebad\.test  tlsa  good 0 bad 1', told.stdout) and
          'validation-failure mx.danebad.test' in told.stdout, told.stdout + told.stderr)
    expect('an attacker who hides record and policy gains nothing: it was kept', 'self', 451)
    expect('and good hosts are served by it', 'sts', 250, True, 'sts')
    again.__exit__()
finally:
    p.down()
    dns.__exit__()
finish()
