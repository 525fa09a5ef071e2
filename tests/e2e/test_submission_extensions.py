#!/usr/bin/env python3
"""MT-PRIORITY (RFC 6710), DELIVERBY (RFC 2852), FUTURERELEASE (RFC 4865) and BURL (not offered), sentence by sentence: what EHLO says, what MAIL refuses and how, that nothing is released before
its time wherever it leads, what reports say, what next hops hear. test_dsn.py has the ways of DSN; test_tls_downgrades.py has REQUIRETLS."""
import datetime, email, email.policy, email.utils, re, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import Porter, Talk, check, finish  # noqa: E402
from sink import Sink  # noqa: E402

USER = 'alice@example.test'
MOST = 2592000
serial = 0


def refuse(address):
    return '550 5.1.1 no such user' if address.startswith('no') else '450 4.2.0 later' if address.startswith('later') else None


able, speaking, asked = Sink(rcpt=refuse, offer=('PIPELINING', '8BITMIME', 'MT-PRIORITY', 'DELIVERBY')), Sink(rcpt=refuse), Sink(rcpt=refuse)
store = Sink(lmtp=True, offer=('PIPELINING', '8BITMIME', 'MT-PRIORITY'))
p = Porter('extensions', settings={'queue-retry-first': '1s', 'queue-retry-most': '1s', 'report-rate': '100000', 'evidence': 'no'}, maps={
    'domains': f'asked.test relay [127.0.0.1]:{asked.port} recipients=ask',
    'recipients': f'store@example.test lmtp:127.0.0.1:{store.port}',
    'routes': f'able.test [127.0.0.1]:{able.port}\ndsn.test [127.0.0.1]:{speaking.port}\n',
    '=senders': f'{USER} alice@example.test, away@able.test\nbob@example.test bob@example.test',
    'aliases': 'both@example.test bob@example.test, far@dsn.test\ncrew@example.test alice@example.test, bob@example.test\n'
               'direct@example.test bob@example.test, |/bin/cat\nother@example.test store@example.test, bob@example.test'})


def login(port=None):
    t = Talk(p, port or p.submission)
    t.login(USER)
    return t


def stamp(seconds, zone='Z'):
    return datetime.datetime.fromtimestamp(time.time() + seconds, datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%S') + zone


def words():
    with Talk(p, p.submission) as t:
        clear = {l[4:].split()[0] for l in t.say('EHLO client.test')[1]}
        check('in the clear none of them is offered', not clear & {'DSN', 'DELIVERBY', 'FUTURERELEASE', 'MT-PRIORITY', 'REQUIRETLS', 'BURL'}, clear)
    with Talk(p, p.mx) as t:
        mx = {l[4:].split()[0] for l in t.say('EHLO client.test')[1]}
        check('nor on the port of strangers (RFC 4865, 4.2)', not mx & {'DSN', 'DELIVERBY', 'FUTURERELEASE', 'MT-PRIORITY', 'REQUIRETLS', 'BURL'}, mx)
        for parameter in ('HOLDFOR=10', f'HOLDUNTIL={stamp(60)}', 'BY=60;N', 'MT-PRIORITY=3', 'REQUIRETLS'):
            check(f'{parameter} is unknown there', t.code(f'MAIL FROM:<a@outside.test> {parameter}') == 555)
    with login() as t:
        offered = {l[4:].split()[0]: l[4:].split()[1:] for l in t.offered}
        interval, last = offered['FUTURERELEASE']
        check('FUTURERELEASE has a longest time and a last moment in UTC (RFC 4865, 3)', re.fullmatch('[1-9][0-9]{0,8}', interval) and re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', last), (interval, last))
        check('MT-PRIORITY names its policy, DELIVERBY no least time, BURL is not there', offered['MT-PRIORITY'] == ['MIXER'] and offered['DELIVERBY'] == [] and 'BURL' not in offered, offered)
        check('BURL is no command', t.code('BURL imap://alice@imap.example.test/Sent;UID=1 LAST') == 500)


GOOD = ['HOLDFOR=1', f'HOLDFOR={MOST}', 'holdfor=9', f'HOLDUNTIL={stamp(3600)}', f'HOLDUNTIL={stamp(7200, "+01:00")}', f'HOLDUNTIL={stamp(-60)}', 'HOLDFOR=5 BY=6;R', 'HOLDFOR=5 BY=60;N',
        'BY=1;R', 'BY=+1;RT', 'BY=0;N', 'BY=-999999999;N', 'BY=999999999;NT', 'BY=1;rt', 'MT-PRIORITY=0', 'MT-PRIORITY=-9', 'MT-PRIORITY=9', 'MT-PRIORITY=4 BY=60;R HOLDFOR=9 RET=HDRS ENVID=x REQUIRETLS SIZE=100']
BAD = ['HOLDFOR', 'HOLDFOR=', 'HOLDFOR=0', 'HOLDFOR=007', 'HOLDFOR=-1', 'HOLDFOR=+1', 'HOLDFOR=1.5', f'HOLDFOR={MOST + 1}', 'HOLDFOR=9999999999', 'HOLDFOR=5 HOLDFOR=5', f'HOLDFOR=5 HOLDUNTIL={stamp(60)}',
       f'HOLDUNTIL={stamp(-60)} HOLDFOR=5', f'HOLDUNTIL={stamp(60, "")}', 'HOLDUNTIL=2026-02-30T00:00:00Z', 'HOLDUNTIL=tomorrow', f'HOLDUNTIL={stamp(MOST + 3600)}', 'HOLDFOR=5 BY=3;R', 'HOLDFOR=5 BY=5;R',
       'HOLDFOR=5 BY=3;N', 'BY=-5;N HOLDFOR=1', 'BY', 'BY=', 'BY=1', 'BY=0;R', 'BY=-1;R', 'BY=1000000000;N', 'BY=1;X', 'BY=1;RTT', 'BY=1;NR', 'BY=1;N BY=1;N', 'MT-PRIORITY', 'MT-PRIORITY=', 'MT-PRIORITY=10',
       'MT-PRIORITY=-10', 'MT-PRIORITY=+3', 'MT-PRIORITY=-0', 'MT-PRIORITY=00', 'MT-PRIORITY=3.5', 'MT-PRIORITY=1 MT-PRIORITY=1', 'REQUIRETLS=yes', 'REQUIRETLS REQUIRETLS']


def values():
    t = login()
    for parameter in GOOD:
        said = t.say(f'MAIL FROM:<{USER}> {parameter}')
        check(f'{parameter} is taken', said[0] == 250, said)
        t.say('RSET')
    t.close()
    for i, parameter in enumerate(BAD):
        if i % 10 == 0:                     # before too many errors
            t = login()
        said = t.say(f'MAIL FROM:<{USER}> {parameter}')
        check(f'{parameter} is 501 5.5.4', said[0] == 501 and said[1][0][4:9] == '5.5.4', said)


def send(to, mail='', rcpt='', sender=USER):
    """Its Message-ID, once it is taken."""
    global serial
    serial += 1
    with login() as t:
        codes = [t.code(f'MAIL FROM:<{sender}>{mail}')] + [t.code(f'RCPT TO:<{a}>{rcpt}') for a in ([to] if isinstance(to, str) else to)] + [t.code('DATA')]
        t.raw(b'From: %s\r\nMessage-ID: <ext%d@example.test>\r\nSubject: x\r\n\r\nbody\r\n.\r\n' % (USER.encode(), serial))
        end = t.reply()[0]
        check(f'taken: {to}{mail}{rcpt}', codes[:-1] == [250] * (len(codes) - 1) and end == 250, (codes, end))
    return f'ext{serial}@example.test'


def in_mailbox(user, ident):
    return [m for m in p.messages(user).values() if f'Message-ID: <{ident}>'.encode() in m and b'multipart/report' not in m]


def at(hop, ident):
    return [m for m in hop.messages if f'Message-ID: <{ident}>'.encode() in m.content]


def report(ident, action):
    """The fields of the one report on a message."""
    def found():
        got = []
        for raw in p.messages('alice').values():
            m = email.message_from_bytes(raw, policy=email.policy.default)
            if m.get_content_type() == 'multipart/report' and ident.encode() in raw:
                part = next(x for x in m.iter_parts() if x.get_content_type() == 'message/delivery-status')
                got.append({k.lower(): str(v) for group in part.get_payload() for k, v in group.items()})
        return [f for f in got if f.get('action', '').startswith(action)]
    got = p.wait(found)
    check(f'one report says {action}', got and len(got) == 1, (got, p.log_text()[-1000:] if not got else ''))
    return got[0] if got else {}


def later():
    """Wherever it leads: a mailbox, an alias, LMTP, a server that is asked, abroad."""
    began = time.time()
    places = {'bob': ('bob@example.test', lambda i: in_mailbox('bob', i)), 'an alias of two mailboxes': ('crew@example.test', lambda i: in_mailbox('alice', i) + in_mailbox('bob', i)),
              'LMTP': ('store@example.test', lambda i: at(store, i)), 'a domain that is asked': ('good@asked.test', lambda i: at(asked, i)),
              'a mailbox and abroad': ('both@example.test', lambda i: in_mailbox('bob', i) + at(speaking, i)), 'LMTP and a mailbox': ('other@example.test', lambda i: at(store, i) + in_mailbox('bob', i))}
    want = {'bob': 1, 'an alias of two mailboxes': 2, 'LMTP': 1, 'a domain that is asked': 1, 'a mailbox and abroad': 2, 'LMTP and a mailbox': 2}
    sent = {what: send(to, ' HOLDFOR=12') for what, (to, _) in places.items()}
    several = send(['bob@example.test', 'store@example.test', 'x@dsn.test'], f' HOLDUNTIL={stamp(12)}')
    took = time.time() - began
    for what, (_, find) in places.items():
        early = find(sent[what])
        check(f'HOLDFOR: nothing has come yet: {what}', not early or time.time() > began + 12, early)
    listed = p.ctl('queue', 'list', '--json').stdout
    check('all of it is in the queue meanwhile', listed.count('"address"') == sum(want.values()) + 3 or took > 10, listed)
    for what, (_, find) in places.items():
        got = p.wait(lambda: len(find(sent[what])) == want[what] and time.time())
        check(f'and in its time it is there: {what}', got and got >= began + 11, (len(find(sent[what])), got and got - began))       # of whole seconds
    everywhere = lambda: in_mailbox('bob', several) + at(store, several) + at(speaking, several)      # noqa: E731
    check('HOLDUNTIL: one message for three places', p.wait(lambda: len(everywhere()) == 3), len(everywhere()))
    check('the queue is empty then', p.wait(lambda: p.ctl('queue', 'list', '--json').stdout.split() == ['[', ']'] or p.ctl('queue', 'list', '--json').stdout.strip() == '[]'), p.ctl('queue', 'list').stdout)
    check('and each came once', all(len(find(sent[w])) == want[w] for w, (_, find) in places.items()) and len(everywhere()) == 3)
    with login() as t:
        t.code(f'MAIL FROM:<{USER}> HOLDFOR=60')
        said = [t.say('RCPT TO:<direct@example.test>'), t.say('RCPT TO:<nobody@example.test>'), t.say('RCPT TO:<no1@asked.test>')]
        check('an alias that could not be told apart at its release is refused; who is unknown, as always', [s[0] for s in said] == [550, 550, 550] and '5.3.3' in said[0][1][0] and '5.1.1' in said[1][1][0], said)


def releases():
    """RFC 4865, 5.1.2: what is asked for stands in each report, with the time of arrival."""
    fields = report(send('no1@dsn.test', ' HOLDFOR=1'), 'failed')
    check('Future-Release-Request tells the interval', fields.get('future-release-request') == 'for;1' and 'arrival-date' in fields, fields)
    until = stamp(1)
    fields = report(send('no2@dsn.test', f' HOLDUNTIL={until}'), 'failed')
    check('or the moment', fields.get('future-release-request') == f'until;{until}', fields)
    fields = report(send('bob@example.test', ' HOLDFOR=1', ' NOTIFY=SUCCESS'), 'delivered')
    check('a success as well', fields.get('future-release-request') == 'for;1', fields)
    fields = report(send('bob@example.test', ' BY=900;N', ' NOTIFY=SUCCESS'), 'delivered')
    came = email.utils.parsedate_to_datetime(fields.get('arrival-date', 'Thu, 1 Jan 1970 00:00:00 +0000')).timestamp()
    due = email.utils.parsedate_to_datetime(fields.get('deliver-by-date', 'Thu, 1 Jan 1970 00:00:00 +0000')).timestamp()
    check('a success of now has its arrival, and its deadline, too', abs(time.time() - came) < 600 and 890 <= due - came <= 900, fields)
    fields = report(send('no3@dsn.test'), 'failed')
    check('and in no other', 'future-release-request' not in fields, fields)


def deadlines():
    fields = report(send('later1@dsn.test', ' BY=1;N'), 'delayed')
    check('BY N past its time is told as 4.4.7 (RFC 2852, 4.1.3)', fields.get('status', '').startswith('4.4.7') and 'deliver-by-date' in fields and 'arrival-date' in fields, fields)
    fields = report(send('later2@able.test', ' BY=1;R'), 'failed')
    check('BY R past its time as 5.4.7', fields.get('status', '').startswith('5.4.7') and 'deliver-by-date' in fields, fields)
    for wish, want in (('', 'FAILURE,DELAY'), (' NOTIFY=SUCCESS', 'SUCCESS,DELAY'), (' NOTIFY=NEVER', 'NEVER'), (' NOTIFY=DELAY,FAILURE', 'FAILURE,DELAY')):
        ident = send('y@dsn.test', ' BY=900;N', wish)
        got = p.wait(lambda: at(speaking, ident)) and [r for r in speaking.rcpts if 'y@dsn.test' in r][-1]
        check(f'BY N to a hop with DSN alone asks it for delays (4.1.4.2):{wish or " nothing said"}', got and f'NOTIFY={want}' in got, got)
    ident = send('y@dsn.test', '', ' NOTIFY=FAILURE')
    check('no deadline, no such wish', p.wait(lambda: at(speaking, ident)) and 'DELAY' not in [r for r in speaking.rcpts if 'y@dsn.test' in r][-1], speaking.rcpts)


def priorities():
    ident = send('x@able.test', ' MT-PRIORITY=-4')
    got = p.wait(lambda: at(able, ident))
    check('the priority goes on as it came', got and ' MT-PRIORITY=-4' in got[0].mail, got and got[0].mail)
    check('and is logged (RFC 6710, 4.1)', re.search(r' taken .* priority=-4', p.log_text()), p.log_text()[-600:])
    ident = send('store@example.test', ' MT-PRIORITY=6')
    got = p.wait(lambda: at(store, ident))
    check('by LMTP, too', got and ' MT-PRIORITY=6' in got[0].mail, got and got[0].mail)
    ident = send('crew@example.test', ' MT-PRIORITY=2')
    check('a mailbox sees it in Received', p.wait(lambda: in_mailbox('bob', ident)) and re.search(rb'PRIORITY 2', in_mailbox('bob', ident)[0]))
    ident = send('no4@dsn.test', ' MT-PRIORITY=-2', sender='away@able.test')
    got = p.wait(lambda: [m for m in able.messages if ident.encode() in m.content and b'multipart/report' in m.content])
    check('a report has the priority of its message (4.6)', got and ' MT-PRIORITY=-2' in got[0].mail, got and got[0].mail)


with p:
    for step in (words, values, later, releases, deadlines, priorities):
        step()
finish()
