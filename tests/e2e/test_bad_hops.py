"""Next hops that are not there, names that lead nowhere, a flood of recipients for one of them, programs that misbehave: 451 or the hop's own 5xx, in bounded time and memory, the server goes on."""
import os, re, socket, threading, time
from pathlib import Path
from dns import Dns
from porter import BUILD, SLOW, Porter, check, finish, free_port, may_look
from sink import Sink

FLOOD = int(os.environ.get('PORTER_FLOOD', '3000'))     # recipients of one hop that knows none of them (make test-flood: a million)
unknown = Sink(rcpt=lambda a: '550 5.1.1 nobody of that name' if not a.startswith('good') else None)
silent = socket.create_server(('127.0.0.1', 0), backlog=1)              # connects, and never says a word
deaf = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)                 # a resolver that never answers
deaf.bind(('127.0.0.1', 0))
LIES = {'loop.test': {'MX': ['10 mx.loop.test'], 'A': ['127.0.0.1']}, 'mx.loop.test': {'A': ['127.0.0.1']}, 'null.test': {'MX': ['0 .']}, 'nohost.test': {'MX': ['10 not.there.test']},
        'many.test': {'MX': [f'{n} m{n}.many.test' for n in range(200)]}, 'self.test': {'MX': ['10 self.test']}}


def memory_kib(p, role):
    return may_look() and sum(int(re.search(r'Private_Dirty: +(\d+)', Path(f'/proc/{pid}/smaps_rollup').read_text())[1]) for pid in p.roles()[role])


def rcpt(p, address):
    """(its reply, seconds)"""
    with p.talk(timeout=70) as t:
        t.say('EHLO c.test'), t.say('MAIL FROM:<a@out.test>')
        began = time.monotonic()
        return t.say(f'RCPT TO:<{address}>'), time.monotonic() - began


def flood(t, addresses):
    """The codes of pipelined RCPTs."""
    threading.Thread(target=t.raw, args=(b''.join(f'RCPT TO:<{a}>\r\n'.encode() for a in addresses),), daemon=True).start()
    return [t.reply()[0] for _ in addresses]


def floods(p):
    # warm: the tables of both processes are made when they are first written to
    with p.talk(timeout=120) as t:
        t.say('EHLO c.test'), t.say('MAIL FROM:<a@out.test>')
        codes = flood(t, [f'warm{n}@unknown.test' for n in range(500)])
        before = memory_kib(p, 'delivery'), memory_kib(p, 'smtpd')
        t.say('RSET')
        for part in range(3):
            t.say('MAIL FROM:<a@out.test>')
            codes += flood(t, [f'x{part}-{n}@unknown.test' for n in range(FLOOD // 3)])
            t.say('RSET')
        after = memory_kib(p, 'delivery'), memory_kib(p, 'smtpd')
        check('thousands of recipients that one hop does not know: each is refused by the hop, or put off to another transaction', set(codes) <= {550, 452} and codes.count(550) >= 2000,
              {c: codes.count(c) for c in set(codes)})
        one = re.findall(r'^.*\bto=x1-7@unknown\.test\b.*$', p.log_text(), re.M)
        check('each is one line of the log, with place and host', len(one) == 1 and f' place=[127.0.0.1]:{unknown.port} host=127.0.0.1 code=550 ' in one[0], one)
        if 'asan' not in BUILD.parts and may_look():        # which keeps what is freed
            most = 4096 if FLOOD < 10000 else 24 << 10      # a transaction's arena ends at 16 MiB
            check('and memory is bounded', after[0] - before[0] < 4096 and after[1] - before[1] < most, (before, after))
        t.say('MAIL FROM:<a@out.test>')
        check('the next recipient is asked for as ever', t.code('RCPT TO:<good@unknown.test>') == 250)
        codes = flood(t, [f'y{n}@unknown.test' for n in range(20000)])
        t.say('DATA')
        t.raw(b'Subject: x\r\n\r\nhello\r\n.\r\n')
        end = t.reply()
        check('twenty thousand beside it in one transaction: the hop\'s refusal, then 452; and it has its message', (set(codes), end[0]) == ({550, 452}, 250), ({c: codes.count(c) for c in set(codes)}, end))
    with p.talk(timeout=120) as t:
        t.say('EHLO c.test'), t.say('MAIL FROM:<a@out.test>')
        began = time.monotonic()
        codes = flood(t, [f'x{n}@dead.test' for n in range(500)])
        check('as many for one that is not there: 451 each, without waiting for each', set(codes) <= {451, 452} and time.monotonic() - began < 30 * SLOW, {c: codes.count(c) for c in set(codes)})


def names(p):
    for domain, codes, what in (('loop.test', (550,), 'leads to ourselves'), ('null.test', (550, 556), 'takes no mail'), ('nohost.test', (451, 550), 'has an MX without an address'),
                                ('many.test', (451, 550), 'has two hundred MX without addresses'), ('self.test', (451, 550), 'is its own MX, without an address')):
        reply, took = rcpt(p, f'x@{domain}')
        check(f'a relayed domain that {what}: {codes}, in bounded time', reply[0] in codes and took < 65 * SLOW, (reply, took))


# A map's line is split at blanks and nowhere else: a shell makes its own.
PROGRAMS = {'forks': 'sleep 25&exit 0', 'orphans': '(sleep 25&);exit 67', 'closes': 'exec<&->&-; exit 0', 'talks': 'head -c 3000000 /dev/zero; head -c 3000000 /dev/zero>&2; exit 0',
            'grows': 'exec dd if=/dev/zero of=/dev/null bs=3000000000 count=1'}


def programs(p):
    """What a program leaves behind is not waited for, what it says is not kept; its exit code alone counts."""
    big = b'Subject: x\r\n\r\n' + b'y' * 70 * 20000 + b'\r\n'
    for name, codes, content in (('forks', (250,), b'Subject: x\r\n\r\nx\r\n'), ('orphans', (550,), b'Subject: x\r\n\r\nx\r\n'), ('closes', (250,), big), ('talks', (250, 451), big),
                                 ('grows', (451,) if 'asan' not in BUILD.parts else (250, 451), b'Subject: x\r\n\r\nx\r\n')):
        began = time.monotonic()
        with p.talk(timeout=60) as t:
            code = t.deliver(content, [f'{name}@example.test'])
        check(f'a program that {name}: {codes}, and nobody waits', code in codes and time.monotonic() - began < 30 * SLOW, (code, time.monotonic() - began, p.log_text()[-600:]))
    check('the next message is taken', p.send() == 250)


def main():
    with Dns(LIES) as world, Porter('bad-hops', start=False, settings={'dns-resolvers': world.resolver, 'evidence': 'no', 'dns-timeout': '2', 'hop-connect-timeout': '2s', 'max-errors': '100000'}, maps={
            'recipients': ''.join(f'{n}@example.test program:/bin/sh -c ' + c.replace(' ', '${IFS}') + '\n' for n, c in PROGRAMS.items()),
            'domains': f'unknown.test relay [127.0.0.1]:{unknown.port} recipients=ask\ndead.test relay [127.0.0.1]:{free_port()} recipients=ask\n'
                       f'silent.test relay [127.0.0.1]:{silent.getsockname()[1]} recipients=ask\n' + ''.join(f'{d} relay mx recipients=ask\n' for d in ('loop.test', 'null.test', 'nohost.test', 'many.test', 'self.test'))}) as p:
        p.set({'hop-port': str(p.mx)})
        p.start()
        floods(p)
        names(p)
        programs(p)
        heard, port = {}, silent.getsockname()[1]
        slow = threading.Thread(target=lambda: heard.update(silent=rcpt(p, 'x@silent.test')))
        slow.start()
        check('while one hop is silent others are served', rcpt(p, 'good@unknown.test')[0][0] == 250)
        p.set({'dns-resolvers': f'127.0.0.1@{deaf.getsockname()[1]}'})
        check('a resolver that never answers is 451', p.ctl('reload').returncode == 0 and p.wait(lambda: rcpt(p, 'x@nohost.test')[0][0] == 451), p.log_text()[-500:])
        silent.close()          # (how long it may be silent: unit/test_attempt)
        slow.join(80 * SLOW)
        check('and when it ends its client hears 451, the log why', heard.get('silent') and heard['silent'][0][0] == 451 and p.wait_log(f'hop-(lost|unreachable).*:{port}'), heard)
    finish()


main()
