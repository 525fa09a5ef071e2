#!/usr/bin/env python3
"""The extensions of submission all the way through the queue: RFC 3461 (NOTIFY, RET, ENVID, ORCPT) to hops that speak DSN and to hops that don't, delay notices, DELIVERBY (RFC 2852),
FUTURERELEASE (RFC 4865), MT-PRIORITY (RFC 6710)."""
import datetime, email, email.policy, re, threading, time
from porter import Porter, Talk, check, finish
from sink import Sink

USER = 'alice@example.test'
serial = 0


class Gate:
    """A hop that holds its first message until told, so that others queue behind it."""

    def __init__(self):
        self.open = threading.Event()
        self.sink = Sink(dot=lambda m: self.open.wait(120) and None)


def refuse(address):
    return '550 5.1.1 no such user' if address.startswith('no') else '450 4.2.0 later' if address.startswith('later') else None


speaking, plain, narrow = Sink(rcpt=refuse), Sink(rcpt=refuse, offer=('PIPELINING', '8BITMIME')), Gate()
prompt = Sink(rcpt=refuse, offer=('PIPELINING', '8BITMIME', 'DSN', 'DELIVERBY', 'MT-PRIORITY MIXER', 'FUTURERELEASE 1000 2030-01-01T00:00:00Z'))
strict = Sink(rcpt=refuse, offer=('PIPELINING', '8BITMIME', 'DELIVERBY 300'))
p = Porter('dsn', settings={'queue-retry-first': '1s', 'queue-retry-most': '1s', 'queue-place-jobs': '1', 'queue-delay-notice': '2s', 'report-rate': '100000'},
           maps={'routes': f'dsn.test [127.0.0.1]:{speaking.port}\nplain.test [127.0.0.1]:{plain.port}\nnarrow.test [127.0.0.1]:{narrow.sink.port}\n'
                             f'prompt.test [127.0.0.1]:{prompt.port}\nstrict.test [127.0.0.1]:{strict.port}\n'})


def login():
    t = Talk(p, p.submission)
    t.login(USER)
    offered = t.offered
    return t, offered


def send(to, mail='', rcpt=''):
    """Its Message-ID, once the message is taken."""
    global serial
    serial += 1
    t = talk
    codes = [t.code(f'MAIL FROM:<{USER}>{mail}'), t.code(f'RCPT TO:<{to}>{rcpt}'), t.code('DATA')]
    t.raw(b'From: %s\r\nMessage-ID: <dsn%d@example.test>\r\nSubject: dsn\r\n\r\nsecret body\r\n.\r\n' % (USER.encode(), serial))
    end = t.reply()[0]
    check(f'taken: {to}{mail}{rcpt}', codes == [250, 250, 354] and end == 250, (codes, end))
    return f'dsn{serial}@example.test'


def reports(ident):
    found = []
    for raw in p.messages('alice').values():
        m = email.message_from_bytes(raw, policy=email.policy.default)
        if m.get_content_type() == 'multipart/report' and ident.encode() in raw:
            part = next(x for x in m.iter_parts() if x.get_content_type() == 'message/delivery-status')
            fields = {}
            for group in part.get_payload():
                fields.update((k.lower(), str(v)) for k, v in group.items())
            found.append((fields, raw))
    return found


def one_report(ident, action, what):
    got = p.wait(lambda: [r for r in reports(ident) if r[0]['action'].startswith(action)])
    check(what, got and len(got) == 1, ([r[0] for r in reports(ident)], p.log_text()[-1500:] if not got else ''))
    return got[0] if got else ({}, b'')


def words_pass():
    send('good@dsn.test', ' RET=FULL ENVID=a+2Bb', ' NOTIFY=SUCCESS,DELAY ORCPT=rfc822;first+2Bgood@dsn.test')
    check('it arrives at the hop that speaks DSN', p.wait(lambda: speaking.messages))
    check('RET and ENVID came with it', ' RET=FULL' in speaking.messages[-1].mail and ' ENVID=a+2Bb' in speaking.messages[-1].mail, speaking.messages[-1].mail)
    check('and NOTIFY and ORCPT, word for word', ' NOTIFY=SUCCESS,DELAY' in speaking.rcpts[-1] and ' ORCPT=rfc822;first+2Bgood@dsn.test' in speaking.rcpts[-1], speaking.rcpts[-1])


def words_end_here():
    quiet = send('no1@plain.test', '', ' NOTIFY=NEVER')
    silent = send('good@plain.test')
    ident = send('good@plain.test', ' ENVID=e1', ' NOTIFY=SUCCESS ORCPT=rfc822;first@plain.test')
    fields, _ = one_report(ident, 'relayed', 'where a hop speaks no DSN, a success that was asked for is told as relayed')
    check('with ENVID and ORCPT', fields.get('original-envelope-id') == 'e1' and fields.get('original-recipient', '').replace(' ', '') == 'rfc822;first@plain.test', fields)
    check('and the hop got no word that it doesn\'t know', 'NOTIFY' not in plain.rcpts[-1] and not re.search('RET=|ENVID', plain.messages[-1].mail), (plain.rcpts, plain.messages[-1].mail))
    ident = send('no2@plain.test', ' RET=FULL ENVID=e2', ' ORCPT=rfc822;second@plain.test')
    fields, raw = one_report(ident, 'failed', 'a failure is told where nothing was said')
    check('with ENVID and ORCPT as well', fields.get('original-envelope-id') == 'e2' and fields.get('original-recipient', '').replace(' ', '') == 'rfc822;second@plain.test', fields)
    check('and RET=FULL brings no body back', b'secret body' not in raw)
    ident = send('bob@example.test', '', ' NOTIFY=SUCCESS')
    one_report(ident, 'delivered', 'a success in a mailbox of ours is told as delivered')
    check('NOTIFY=NEVER, and a success that nobody asked for: nothing', not reports(quiet) and not reports(silent))


def delays():
    told = send('later1@plain.test', '', ' NOTIFY=DELAY')
    untold = send('later2@plain.test', '', ' NOTIFY=FAILURE')
    fields, _ = one_report(told, 'delayed', 'after queue-delay-notice a delay is told to who wants to hear of it')
    check('with the time until which it is tried', 'will-retry-until' in fields, fields)
    p.wait(lambda: len([l for l in p.log_text().splitlines() if ' deferred ' in l and 'to=later2@plain.test' in l]) >= 5)
    check('once', len(reports(told)) == 1, len(reports(told)))
    check('and to nobody else', not reports(untold))


def deadlines():
    fields, _ = one_report(send('later3@prompt.test', ' BY=1;R'), 'failed', 'BY=1;R: what is not there by then has failed')
    check('as time that is over', fields.get('status', '').startswith('5.4.7') or fields.get('status', '').startswith('4.4.7'), fields)
    ident = send('later4@plain.test', ' BY=1;N')
    one_report(ident, 'delayed', 'BY=1;N: is told as delayed')
    check('and tried on', 'later4@plain.test' in p.ctl('queue', 'list').stdout)


def arrives(hop, ident):
    return p.wait(lambda: next((m for m in hop.messages if ident.encode() in m.content), None))


def by_of(message):
    """Seconds and mode of the BY that a hop heard."""
    m = message and re.search(r' BY=(-?\d+);(\w+)', message.mail)
    return (int(m[1]), m[2]) if m else None


def handed_on():
    """RFC 2852: the deadline goes with the message, in mode R only to who takes it over; the sender hears of it where it ends, and with T each time."""
    quiet = send('good@prompt.test', ' BY=900;N')
    got = by_of(arrives(prompt, quiet))
    check('BY=900;N goes on with the time that is left', got and 0 < got[0] <= 900 and got[1] == 'N', got)
    ident = send('good@prompt.test', ' BY=900;RT')
    got = by_of(arrives(prompt, ident))
    check('and so does BY=900;RT', got and 0 < got[0] <= 900 and got[1] == 'RT', got)
    fields, _ = one_report(ident, 'relayed', 'T: the hand-over is told')
    check('with the deadline', 'deliver-by-date' in fields, fields)
    never = send('good@prompt.test', ' BY=900;NT', ' NOTIFY=NEVER')
    check('T does not outdo NOTIFY=NEVER', by_of(arrives(prompt, never)))
    before = len(plain.messages)
    fields, _ = one_report(send('good@plain.test', ' BY=900;R'), 'failed', 'BY=900;R: a hop without DELIVERBY gets nothing, the sender hears of it')
    check('in so many words', fields.get('status') == '5.3.3' and 'DELIVERBY' in fields.get('diagnostic-code', ''), fields)
    check('nothing went there', len(plain.messages) == before)
    ident = send('good@plain.test', ' BY=900;N')
    message = arrives(plain, ident)
    check('BY=900;N: a hop without DELIVERBY gets the message, and no BY', message and ' BY=' not in message.mail, message and message.mail)
    one_report(ident, 'relayed', 'which is told, since its deadline ends there')
    fields, _ = one_report(send('good@strict.test', ' BY=200;R'), 'failed', 'BY=200;R: a hop that wants 300 seconds gets nothing')
    check('as time that is over', fields.get('status') == '5.4.7', fields)
    check('with more time it gets it', by_of(arrives(strict, send('good@strict.test', ' BY=900;R'))))
    check('and mode N knows no least', by_of(arrives(strict, send('good@strict.test', ' BY=-5;N')))[0] <= -5)
    local = send('bob@example.test', ' BY=900;R')
    check('a mailbox of ours is in time', p.wait(lambda: any(local.encode() in m for m in p.messages('bob').values())))
    check('what nobody asked to hear of is not told', not reports(quiet) and not reports(never) and not reports(local))


def more_words():
    ident = send('good@prompt.test', ' RET=HDRS MT-PRIORITY=-3')
    message = arrives(prompt, ident)
    check('RET=HDRS and MT-PRIORITY go on', message and ' RET=HDRS' in message.mail and ' MT-PRIORITY=-3' in message.mail, message and message.mail)
    head = message.content.split(b'\r\n\r\n')[0] if message else b''
    check('the priority stands in Received (RFC 6710, 6), and in no field of its own', re.search(rb'^Received:(?:.|\r\n\t)*PRIORITY -3;', head, re.M) and b'MT-Priority:' not in head, head)
    message = arrives(plain, send('good@plain.test', ' MT-PRIORITY=5'))
    check('a hop that does not know it does not hear it', message and 'MT-PRIORITY' not in message.mail, message and message.mail)
    message = arrives(prompt, send('good@prompt.test', ' HOLDFOR=1'))
    check('what was held here is not held again', message and 'HOLD' not in message.mail, message and message.mail)
    check('a release behind the deadline is refused at once', talk.code(f'MAIL FROM:<{USER}> BY=60;R HOLDFOR=90') == 501)
    words = next(line.split()[1:] for line in offered if line[4:].startswith('FUTURERELEASE'))
    last = datetime.datetime.fromisoformat(words[1].replace('Z', '+00:00')).timestamp()
    check('the latest release date is as far as the longest time', abs(last - time.time() - int(words[0])) < 3600, words)


def release():
    before, began = len(speaking.messages), time.time()
    ident = send('good@dsn.test', ' HOLDFOR=6')
    check('what is to be released later is listed meanwhile', p.wait(lambda: 'good@dsn.test' in p.ctl('queue', 'list').stdout))
    check('it arrives', p.wait(lambda: len(speaking.messages) > before and ident.encode() in speaking.messages[-1].content))
    check('and not before its time', time.time() - began >= 5, time.time() - began)       # of whole seconds


def priorities():
    order = [send('good@narrow.test')]
    p.wait(lambda: narrow.sink.rcpts)        # it is on its way
    order += [send('good@narrow.test', f' MT-PRIORITY={n}' if n else '') for n in (-5, 0, 9)]
    p.wait(lambda: p.ctl('queue', 'list').stdout.count('good@narrow.test') >= 4)
    narrow.open.set()
    p.wait(lambda: len(narrow.sink.messages) >= 4)
    came = [next(i for i, ident in enumerate(order) if ident.encode() in m.content) for m in narrow.sink.messages]
    check('behind the one that was on its way, the urgent go first and the others by their turn', came == [0, 3, 2, 1], came)


with p:
    talk, offered = login()
    words = {line[4:].split()[0] for line in offered}
    check('what is advertised: DSN, FUTURERELEASE, DELIVERBY, MT-PRIORITY, REQUIRETLS, not BURL', {'DSN', 'FUTURERELEASE', 'DELIVERBY', 'MT-PRIORITY', 'REQUIRETLS'} <= words and 'BURL' not in words, words)
    for step in (words_pass, words_end_here, delays, deadlines, handed_on, more_words, release, priorities):
        step()
    talk.close()
finish()
