#!/usr/bin/env python3
"""What senders ask of TLS (RFC 8689) and what is told of it (RFC 8460): TLS-Required: No of our own users gets through where DANE or MTA-STS would not let it, and of nobody else; reports on
REQUIRETLS messages ask for REQUIRETLS, and come back all the same where it is not offered; TLS reports reach a host whose TLS they are about, and a web server."""
import email, email.policy, getpass, gzip, json, re, smtplib, ssl, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
import dnsworld  # noqa: E402
from fakemx import Authority, FakeMX, Https  # noqa: E402
from porter import SLOW, Porter, check, finish, free_port, skip  # noqa: E402

if dnsworld.missing():
    skip('waived', f'{dnsworld.missing()} not here')
    finish()

p = Porter('tls-waived', start=False)
port, https_port = free_port(), free_port()
ca = Authority(p.dir / 'ca')
own = ca.leaf('other.test', signed=False)
signed, plain, servers, serial = [], [], {}, 0
WRONG = dnsworld.tlsa(ca.cert)


def add(name, zone, cert, offer=('REQUIRETLS',)):
    address = f'127.0.5.{len(servers) + 1}'
    servers[name] = FakeMX(address, port, cert, offer=offer)
    (signed if zone == 'test' else plain).extend([f'mx.{name}.{zone}. A {address}', f'{name}.{zone}. MX 10 mx.{name}.{zone}.'])
    if zone == 'test':
        signed.append(f'_{port}._tcp.mx.{name}.test. TLSA {WRONG}')


add('dane', 'test', own)
add('danenone', 'test', None)
add('sts', 'plain', own)
add('route', 'plain', own)
add('back', 'plain', ca.leaf('mx.back.plain'))
add('backnone', 'plain', None, offer=())
plain += ['_mta-sts.sts.plain. TXT "v=STSv1; id=1;"', f'_smtp._tls.sts.plain. TXT "v=TLSRPTv1; rua=https://localhost:{https_port}/up"']
signed.append('_smtp._tls.dane.test. TXT "v=TLSRPTv1; rua=mailto:nowhere,mailto:reports@dane.test"')
web = Https(https_port, {'mta-sts.sts.plain': ca.leaf('mta-sts.sts.plain'), 'localhost': ca.leaf('localhost')})
web.pages['mta-sts.sts.plain', '/.well-known/mta-sts.txt'] = (200, 'text/plain', 'version: STSv1\r\nmode: enforce\r\nmx: mx.sts.plain\r\nmx: *.more.plain\r\nmax_age: 9999999999\r\n')
world = dnsworld.World(p.dir / 'dns', '\n'.join(signed), insecure={'plain.': '\n'.join(plain)})
p.set({'dns-resolvers': world.resolver, 'dns-trust-anchor': world.anchor, 'hop-port': port, 'tls-roots': ca.cert, 'mta-sts-connect': f'127.0.0.1:{https_port}', 'queue-retry-first': '1h',
       'evidence': 'no', 'tls-report-retry': '2s', 'tls-report-from': 'tls-reports@example.test'})
p.map('routes', 'route.plain mx tls=verify')
p.map('aliases', 'postmaster alice@example.test\nabuse alice@example.test\npass@example.test x@dane.test\n')
users = {getpass.getuser(), '_porter'}
p.map('senders', 'alice@example.test alice@example.test, x@back.plain, x@backnone.plain\n' + ''.join(f'unix:{u} tls-reports@example.test\n' for u in users))
compiled = p.ctl('compile')
check('the maps compile', compiled.returncode == 0, compiled.stdout + compiled.stderr)


def submit(to, head='', options=(), sender='alice@example.test'):
    global serial
    serial += 1
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP('127.0.0.1', p.submission, timeout=60 * SLOW, local_hostname='client.test') as s:
        s.starttls(context=context)
        s.login('alice@example.test', 'porter-demo')
        s.sendmail(sender, [to], f'From: <{sender}>\r\nSubject: waived{serial}.\r\n{head}\r\nhello\r\n', list(options))
    return f'waived{serial}.'.encode()


def came(name, mark):
    return [m[0] for m in servers[name].messages if mark in m[1]]


def listed(to):
    return [m for m in json.loads(p.ctl('queue', 'list', '--json').stdout) if m['recipients'][0]['address'] == to and m['recipients'][0]['attempts']]


NO = 'TLS-Required: No\r\n'
p.start()
try:
    for name, zone, what, secure in (('dane', 'test', 'DANE', True), ('danenone', 'test', 'DANE, of a host without TLS', False), ('sts', 'plain', 'MTA-STS', True)):
        to = f'x@{name}.{zone}'
        submit(to)
        check(f'{what}: what can\'t be proven doesn\'t go', p.wait(lambda: listed(to)) and not servers[name].messages, servers[name].messages)
        mark = submit(to, NO)
        check(f'{what}: TLS-Required: No lets it go, inside TLS where there is any', p.wait(lambda: came(name, mark)) == [secure], (came(name, mark), p.log_text()[-1500:]))
        check('the log says why', p.wait_log('hop-tls .*policy=waived'))
    for head, what in ((NO + NO, 'twice'), ('TLS-Required: Yes\r\n', 'Yes'), ('X-TLS-Required: No\r\n', 'of another name')):
        before = len(listed('x@dane.test'))
        mark = submit('x@dane.test', head)
        check(f'a field {what} is none', p.wait(lambda: len(listed('x@dane.test')) == before + 1) and not came('dane', mark))
    mark = submit('x@dane.test', NO, ['REQUIRETLS'])
    told = lambda: [m for m in p.messages('alice').values() if mark in m] or len(listed('x@dane.test')) == before + 2      # noqa: E731
    check('REQUIRETLS outdoes it', p.wait(told) and not came('dane', mark), (len(listed('x@dane.test')), p.log_text()[-1500:]))
    mark = submit('x@route.plain', NO)
    check('so does a route\'s demand', p.wait(lambda: listed('x@route.plain')) and not came('route', mark))
    before = len(servers['dane'].messages)
    code = p.send(f'Subject: x\r\n{NO}\r\nx\r\n'.encode(), to='pass@example.test')
    check('a stranger waives nothing', code == 451 and len(servers['dane'].messages) == before, code)

    # -- reports on REQUIRETLS messages
    for name in ('back', 'backnone'):
        mark = submit('x@backnone.plain', '', ['REQUIRETLS', 'RET=FULL'], f'x@{name}.plain')
        p.wait(lambda: came(name, mark))
        told = [(m[0], line) for m, line in zip(servers[name].messages, servers[name].mails) if mark in m[1]]
        check(f'{name}: a message that REQUIRETLS keeps back comes back as a report', len(told) == 1 and 'FROM:<>' in told[0][1], (told, p.log_text()[-1500:]))
        check('asking for REQUIRETLS where that is offered', told and told[0][0] == (' REQUIRETLS' in told[0][1]) == (name == 'back'), told)

    # -- TLS reports
    p.stop()
    counts = bytearray((p.spool / 'tls-report').read_bytes())
    size = int.from_bytes(counts[12:16], 'little')                       # all of today becomes the day before yesterday: yesterday's may still have to wait for hours
    for at in range(32, len(counts) - size + 1, size):
        day = int.from_bytes(counts[at:at + 4], 'little')
        counts[at:at + 4] = (day - 2 if day else 0).to_bytes(4, 'little')
    (p.spool / 'tls-report').write_bytes(counts)
    web.answers += [503]
    p.start()
    check('a report that a web server does not take waits', p.wait_log('tls-report-waits .*domain=sts.plain') and p.wait(lambda: web.posted), p.log_text()[-1500:])
    p.kill()
    kept = len(web.posted)
    web.answers += [404]
    p.start()
    check('and is not forgotten when the house dies', p.wait(lambda: len(web.posted) > kept), p.log_text()[-1500:])
    p.wait(lambda: len(re.findall('tls-report-waits .*domain=sts.plain', p.log_text())) > 1)
    p.ctl('reload')
    check('a report goes to a web server that asks for it; one that is not taken goes again, over a reload, too', p.wait(lambda: len(web.posted) >= 3 and not web.answers), (len(web.posted), p.log_text()[-1500:]))
    check('the same report', len({gzip.decompress(x[2]) for x in web.posted}) == 1, web.posted)
    told_once = len(web.posted)
    path, kind, body = web.posted[0] if web.posted else ('', '', b'')
    report = json.loads(gzip.decompress(body)) if body else {}
    check('as RFC 8460 says', (path, kind) == ('/up', 'application/tlsrpt+gzip') and report['policies'][0]['policy']['policy-domain'] == 'sts.plain', (path, kind, report))
    got = report['policies'][0] if report else {}
    check('with the policy and its hosts', got and got['policy']['policy-type'] == 'sts' and got['policy']['mx-host'] == ['mx.sts.plain', '*.more.plain'] and 'mode: enforce' in got['policy']['policy-string'], got)
    check('and what failed where; what the sender waived is not told of', got and got['summary'] == {'total-successful-session-count': 0, 'total-failure-session-count': 1} and
          got['failure-details'][0]['receiving-ip'] == '127.0.5.3', got)
    check('and from where it was tried', got and got['failure-details'][0].get('sending-mta-ip', '').startswith('127.0.'), got)
    (p.dir / 'report').write_bytes(body)
    told = p.ctl('tls-reports', p.dir / 'report')
    check('our own reader understands it', told.returncode == 0 and re.search(r'sts\.plain  sts  good 0 bad 1', told.stdout), told.stdout + told.stderr)
    sent = p.wait_log(r'tls-report .*domain=dane\.test')
    p.wait(lambda: list((p.spool / 'drop').glob('[!t]*')) or 'dropped-in' in p.log_text())
    arrived = lambda: [m for m in servers['dane'].messages if b'TLS-Report-Domain: dane.test' in m[1]]    # noqa: E731
    for _ in range(20):
        p.ctl('queue', 'retry', '--all')        # the drop folder, too; and again, where the first try met a resolver that was late
        if p.wait(arrived, 3):
            break
    mine = arrived()
    check('a report by mail reaches the host whose TLS it is about', sent and len(mine) == 1, p.log_text()[-2000:])
    check('a place that is none is not tried again', 'to=mailto:nowhere' in p.log_text() and not re.search('tls-report-waits .*nowhere', p.log_text()))
    check('what was taken is not told again', len(web.posted) == told_once and len(mine) == 1, (told_once, len(web.posted)))
    m = email.message_from_bytes(mine[0][1], policy=email.policy.default) if mine else None
    check('as a message of its own kind', m and m.get_content_type() == 'multipart/report' and m['TLS-Required'] == 'No' and
          [x.get_content_type() for x in m.iter_parts()] == ['text/plain', 'application/tlsrpt+gzip'], mine)
finally:
    p.down()
    world.__exit__()
    web.close()
finish()
