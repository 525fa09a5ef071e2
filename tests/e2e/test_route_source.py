#!/usr/bin/env python3
"""The address that a route connects from: each route its own, on connections of its own, in the transaction and from the queue; never another one in its place."""
import re, smtplib, socket, ssl, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import Porter, check, finish, has_ipv6, skip, SLOW  # noqa: E402
from sink import Sink  # noqa: E402

hop, six, away = Sink(), None, '192.0.2.77'
routes = {'one': '127.0.0.21', 'two': '127.0.0.22', 'any': None, 'away': away}
lines = [f'{name}.test [127.0.0.1]:{hop.port}' + (f' source={source}' if source else '') for name, source in routes.items()]
lines.append(f'tabs.test\t[127.0.0.1]:{hop.port}\ttls=may\tsource=127.0.0.1')  # as people align columns: delivery hung up on it, with everybody's transactions
if has_ipv6():
    six = Sink(host='::1', family=socket.AF_INET6)
    lines += [f'six.test [::1]:{six.port} source=::1', f'both.test [::1]:{six.port} source=127.0.0.23,::1', f'four.test [::1]:{six.port} source=127.0.0.24',
              f'also.test [127.0.0.1]:{hop.port} source=127.0.0.23,::1']


def send(p, name, mark):
    return p.send(f'Subject: {mark}\r\n\r\nhello\r\n'.encode(), to=f'{name}@example.test')


def submit(p, name, mark):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP('127.0.0.1', p.submission, timeout=30 * SLOW, local_hostname='client.test') as s:
        s.starttls(context=context)
        s.login('alice@example.test', 'porter-demo')
        s.sendmail('alice@example.test', [f'x@{name}.test'], f'Subject: {mark}\r\n\r\nhello\r\n')


def came_from(sink, mark):
    """The address behind each message of that mark."""
    return [m.peer for m in sink.messages if f'Subject: {mark}\r\n'.encode() in m.content]


with Porter('route-source', settings={'queue-retry-first': '1s', 'queue-retry-most': '2s'},
            maps={'routes': '\n'.join(lines) + '\n', 'aliases': ''.join(f'{n}@example.test x@{n}.test\n' for n in (*routes, 'tabs', 'six', 'both', 'four', 'also'))}) as p:
    for turn in (1, 2):
        for name in ('one', 'two', 'any'):
            mark = f'{name} {turn}'
            got = send(p, name, mark), came_from(hop, mark)
            check(f'a stranger\'s mail leaves from the route\'s address: {mark}', got == (250, [routes[name] or '127.0.0.1']), got)
    for name in ('one', 'two'):
        submit(p, name, f'queued {name}')
        check(f'the queue\'s mail leaves from the route\'s address: {name}', p.wait(lambda: came_from(hop, f'queued {name}')) == [routes[name]], came_from(hop, f'queued {name}'))
    submit(p, 'tabs', 'queued tabs')
    check('tabs may stand between the words of a route', (send(p, 'tabs', 'tabs'), came_from(hop, 'tabs')) == (250, ['127.0.0.1']) and p.wait(lambda: came_from(hop, 'queued tabs')) == ['127.0.0.1'],
          [l for l in p.log_text().splitlines() if 'peer-gone' in l])
    before = len(hop.messages)
    code = send(p, 'away', 'away')
    check('an address that this machine does not have is a 4xx, and nothing goes from another one', code == 451 and len(hop.messages) == before, code)
    check('the log says why', re.search(r'hop-unreachable .*address=\S*127\.0\.0\.1\S* .*Cannot assign', p.log_text()), [l for l in p.log_text().splitlines() if 'unreachable' in l])
    check('the hop is not held for dead by it: other routes go on', send(p, 'one', 'after') == 250)
    for l in list(hop.sockets):     # nor when nothing is kept
        l.close() if l.fileno() < 0 else l.shutdown(socket.SHUT_RDWR)
    check('nor where they have to dial', p.wait(lambda: send(p, 'any', 'dialled') == 250))
    if six:
        check('IPv6 has its own source', (send(p, 'six', 'six'), came_from(six, 'six')) == (250, ['::1']), p.log_text()[-800:])
        check('a route may name one of each family', (send(p, 'both', 'both'), came_from(six, 'both'), send(p, 'also', 'also'), came_from(hop, 'also')) ==
              (250, ['::1'], 250, ['127.0.0.23']), p.log_text()[-800:])
        before = six.connections
        check('a family without a source is not used', send(p, 'four', 'four') == 451 and six.connections == before, p.log_text()[-800:])
    else:
        skip('sources of IPv6', 'this machine has no ::1')
    p.map('routes', 'one.test host.test source=127.0.0.1,127.0.0.2\n')
    told = p.ctl('compile')
    check('two sources of one family are refused', told.returncode and 'source' in told.stdout + told.stderr, told.stdout + told.stderr)
finish()
