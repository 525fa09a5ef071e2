"""Pass-through: a stranger's mail for a relayed domain is asked for at RCPT and handed on at the dot; the hop's answers are ours."""
import os, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
from porter import Porter, check, finish, free_port, SLOW
from sink import Sink


def refuse(address):
    if address.startswith(('no', 'porter-')):      # the second is a made-up one, by which a hop that takes everybody is found out
        return '550 5.1.1 There is no ' + address
    if address.startswith('later'):
        return '450 4.2.1 Come back'
    if address.startswith('over'):
        return '421 4.3.2 I am leaving'
    if one.mails[-1] == 'forged@relay.test' and address.endswith('@relay.test'):
        return '550 5.1.0 <forged@relay.test>: Sender address rejected: User unknown'      # as Postfix says it of its own domain's
    if address.startswith('slow'):
        return ('wait', 1, '550 5.1.1 thought about it')


def dot(message):
    if b'SPAM' in message.content:
        return '554 5.7.1 We do not like this'
    if b'OVER' in message.content:
        return '421 4.3.2 I am leaving'
    if b'NEVER' in message.content:
        return '521 5.3.2 I take no mail'
    if b'DROP' in message.content:
        return 'close'


one = Sink(rcpt=refuse, dot=dot, mail=lambda s: '550 5.1.1 I do not know that sender' if s == 'unknown@out.test' else '421 4.3.2 I am leaving' if s == 'over@out.test' else None)
two = Sink(rcpt=refuse, dot=dot, offer=())
says_once = {}                                     # by LMTP, of a recipient at the dot
three = Sink(lmtp=True, rcpt=refuse, dot=lambda m: '552 5.2.2 full' if m.recipients[0].startswith('full') else says_once.pop(m.recipients[0], None))
dead, backup, all_taking = free_port(), Sink(rcpt=refuse, mail=lambda s: '550 5.1.1 I do not know that sender' if s == 'unknown@out.test' else None), Sink()
asked = {}


def slow_at_last(address):
    """Refuses x-NAME the first time at once, thinks long about it when asked again, and then takes it."""
    asked[address] = asked.get(address, 0) + 1
    if address.startswith('porter-'):
        return '450 4.7.1 greylisted'
    return '550 5.1.1 not yet' if asked[address] == 1 else ('wait', 3 * SLOW, '250 ok') if asked[address] == 2 else None


fresh = Sink(rcpt=slow_at_last)
maps = {'domains': f'relay.test relay [127.0.0.1]:{one.port} recipients=ask\nplain.test relay [127.0.0.1]:{two.port} recipients=ask\n'
                   f'also.test relay [127.0.0.1]:{one.port} recipients=ask\ndead.test relay [127.0.0.1]:{dead} recipients=ask\n'
                   f'lmtp.test relay lmtp:127.0.0.1:{three.port} recipients=ask\n'
                   f'back.test relay [127.0.0.1]:{backup.port} recipients=ask\n'
                   f'all.test relay [127.0.0.1]:{all_taking.port} recipients=ask\nfresh.test relay [127.0.0.1]:{fresh.port} recipients=ask\n',
        'aliases': 'away@example.test good@relay.test\n', 'recipients': 'full@example.test maildir quota=1K\n'}


def made_up(sink):
    return [r for r in sink.rcpts if '<porter-' in r]


def login(p):
    t = p.talk(port=p.submission)
    t.login()
    return t


def talk(p, sender, recipients, content=None):
    """[codes of RCPT], reply to the dot (None: no DATA)"""
    with p.talk() as t:
        t.say('EHLO c.test')
        t.say(f'MAIL FROM:<{sender}>' if '>' not in sender else f'MAIL FROM:<{sender}')
        replies = [t.say(f'RCPT TO:<{r}>') for r in recipients]
        codes = [r[0] for r in replies]
        if content is None or 250 not in codes:
            return replies, None
        t.say('DATA')
        t.raw(content + b'.\r\n')
        return replies, t.reply()


p = Porter('hop', start=False)
p.set({'listen-mx': f'*:{p.mx}', 'hop-refusal-cache': f'{6 * SLOW}s'})                      # every address of this host is ours
for name, text in maps.items():
    with open(p.etc / name, 'a') as f:
        f.write(text)
p.compile()
with p.start():
    mail = b'Subject: x\r\n\r\nhello\r\n'
    r, end = talk(p, 'a@out.test', ['good@relay.test'], mail)
    check('a relayed recipient is taken and the content is there when 250 is said', r[0][0] == 250 and end and end[0] == 250 and len(one.messages) == 1, (r, end))
    m = one.messages[-1] if one.messages else None
    check('our Received field stands in front', m and m.content.startswith(b'Received:') and m.content.endswith(mail), m and m.content)
    check('no Return-Path goes to a next hop', m and b'Return-Path' not in m.content)
    large = b'Subject: large\r\n\r\n' + (b'x' * 70 + b'\r\n') * 8000
    pids = p.roles()['smtpd']
    r, end = talk(p, 'a@out.test> SIZE=1000000', ['full@example.test', 'good@relay.test'], large)
    check('a large message goes on to its hop though a mailbox had refused it', [x[0] for x in r] == [452, 250] and end and end[0] == 250 and one.messages[-1].content.endswith(large), (r, end))
    r, end = talk(p, 'a@out.test', ['no0@relay.test', 'alice@example.test'], large)
    check('and into its mailbox though a hop had', [x[0] for x in r] == [550, 250] and end and end[0] == 250, (r, end))
    check('no process died of it', p.roles()['smtpd'] == pids, p.log_text()[-500:])
    r, _ = talk(p, 'a@out.test', ['no1@relay.test'])
    check('its refusal at RCPT is ours, with code and text', r[0][0] == 550 and '5.1.1 There is no no1@relay.test' in r[0][1][0], r)
    p.wait(lambda: made_up(one))
    before = len(one.rcpts)
    r, _ = talk(p, 'a@out.test', ['no1@relay.test'])
    check('a refusal just heard is not asked for again', r[0][0] == 550 and len(one.rcpts) == before, r)
    r, _ = talk(p, 'a@out.test', ['later1@relay.test'])
    check('its 4xx is ours', r[0][0] == 450 and '4.2.1' in r[0][1][0], r)
    r, end = talk(p, 'a@out.test', ['good@relay.test'], b'Subject: SPAM\r\n\r\nx\r\n')
    check('its refusal of the content is ours', end[0] == 554 and '5.7.1' in end[1][0], end)
    r, end = talk(p, 'a@out.test', ['good@relay.test', 'good@plain.test', 'other@also.test'], mail)
    check('a second next hop is answered 452 4.5.3, another domain behind the same one is not', [x[0] for x in r] == [250, 452, 250] and '4.5.3' in r[1][1][0] and end[0] == 250, (r, end))
    check('both recipients of one hop go in one transaction', one.messages[-1].recipients == ['good@relay.test', 'other@also.test'])
    r, end = talk(p, 'a@out.test', ['good@plain.test'], mail)
    check('a hop without any extension is served', end and end[0] == 250 and two.messages[-1].content.endswith(mail), (r, end))
    r, end = talk(p, 'a@out.test', ['good@plain.test'], b'Subject: x\r\n\r\n\xc3\xa4\r\n')
    check('8-bit content for a hop without 8BITMIME is refused 550 5.6.3', end[0] == 550 and '5.6.3' in end[1][0], end)
    n, k = len(p.messages('alice')), len(one.messages)
    r, end = talk(p, 'a@out.test', ['alice@example.test', 'good@relay.test'], mail)
    check('mailbox and next hop in one transaction: both have it', end[0] == 250 and len(p.messages('alice')) == n + 1 and len(one.messages) == k + 1, end)
    r, end = talk(p, 'a@out.test', ['alice@example.test', 'good@relay.test'], b'Subject: SPAM\r\n\r\nx\r\n')
    check('a hop that refuses content that a mailbox would take: neither has it, no 250', end[0] == 451 and len(p.messages('alice')) == n + 1 and len(one.messages) == k + 1, end)
    r, end = talk(p, 'a@out.test', ['no9@relay.test', 'alice@example.test'], mail)
    check('a hop that refused its recipient does not stand in the way of others', [x[0] for x in r] == [550, 250] and end[0] == 250, (r, end))
    r, end = talk(p, 'a@out.test', ['away@example.test'], mail)
    check('an alias that leads to a remote address is passed through', end and end[0] == 250 and one.messages[-1].recipients == ['good@relay.test'], (r, end))
    r, end = talk(p, 'a@out.test', ['good@relay.test'], b'Subject: DROP\r\n\r\nx\r\n')
    check('a reply lost behind the dot is a 451', end[0] == 451, end)
    r, _ = talk(p, 'a@out.test', ['x@dead.test'])
    check('a dead hop is a 451', r[0][0] == 451, r)
    r, _ = talk(p, 'a@out.test', ['x@dead.test'])
    check('and remembered', r[0][0] == 451 and 'lately' in r[0][1][0], r)
    r, _ = talk(p, 'a@out.test', ['x@far.test'])
    check('a foreign domain is not relayed for strangers', r[0][0] == 550, r)
    r, end = talk(p, 'a@out.test', ['u@lmtp.test', 'v@lmtp.test'], mail)
    check('LMTP: an all-equal answer is passed on', end[0] == 250 and three.messages[-1].recipients == ['u@lmtp.test', 'v@lmtp.test'], end)
    r, end = talk(p, 'a@out.test', ['full@lmtp.test', 'full2@lmtp.test'], mail)
    check('LMTP: refused for all is refused', end[0] == 552, end)
    r, end = talk(p, 'a@out.test', ['u@lmtp.test', 'full@lmtp.test'], mail)
    check('LMTP: different answers are a 451', end[0] == 451, end)
    big = b'Subject: big\r\n\r\n' + b'.x' * 39 + b'\r\n' + (b'y' * 76 + b'\r\n') * 4000
    k = len(one.messages)
    r, end = talk(p, 'a@out.test', ['good@relay.test'], big.replace(b'\r\n.', b'\r\n..'))
    if p.roles().get('queue'):
        check('a large message goes by a file', end[0] == 250 and one.messages[-1].content.endswith(big), end)
    r, end = talk(p, '', ['good@relay.test'], mail)
    check('a null reverse-path is passed on as such', end and end[0] == 250 and one.messages[-1].sender == '', (r, end))
    check('connections are used again', one.connections < len(one.mails) / 2, (one.connections, len(one.mails)))
    quickest = 9
    with p.talk() as t:
        t.say('EHLO c.test')
        for _ in range(200):        # one that does not wait is enough, on a busy machine too
            t.say('MAIL FROM:<a@out.test>')
            began = time.monotonic()
            t.say('RCPT TO:<good@relay.test>')
            quickest = min(quickest, time.monotonic() - began)
            t.say('RSET')
            if quickest < .035:
                break
    check('a hop that answers MAIL and RCPT in two pieces does not wait for a delayed acknowledgement (40 ms) between them', quickest < .035, quickest)
    bare = [w for s in (one, two, three) for w in s.wire if b'\r' in w.replace(b'\r\n', b'') or (b'\n' in w.replace(b'\r\n', b''))]
    check('no bare CR or LF went out', not bare, bare[:3])
    # the ledger: outcomes that can't be one answer
    spam, left = b'Subject: SPAM mixed\r\n\r\nx\r\n', ['alice@example.test', 'good@relay.test']
    n, k = len(p.messages('alice')), len(one.messages)
    r, end = talk(p, 'mixed@out.test', left, spam)
    check('a hop refuses what a mailbox would take: 451, and nobody has it', end[0] == 451 and (len(p.messages('alice')), len(one.messages)) == (n, k), end)
    r, end = talk(p, 'mixed@out.test', left, spam)
    check('the retry: the mailbox has it, the refused one travels alone', [x[0] for x in r] == [250, 452] and end[0] == 250 and len(p.messages('alice')) == n + 1, (r, end))
    before = len(one.mails)
    r, end = talk(p, 'mixed@out.test', ['good@relay.test'], spam)
    check('alone it gets the refusal of its hop', r[0][0] == 250 and end[0] == 554 and '5.7.1' in end[1][0], (r, end))
    n = len(p.messages('alice'))
    r, end = talk(p, 'mixed@out.test', ['good@relay.test', 'alice@example.test'], b'Subject: another\r\n\r\nx\r\n')
    check('what was told is closed: another message of that sender to that recipient travels with others', [x[0] for x in r] == [250, 250] and end[0] == 250 and
          one.messages[-1].content.endswith(b'another\r\n\r\nx\r\n') and len(p.messages('alice')) == n + 1, (r, end))
    each = b'Subject: each\r\n\r\nx\r\n'
    k = len(three.messages)
    r, end = talk(p, 'mixed@out.test', ['u9@lmtp.test', 'full9@lmtp.test'], each)
    check('LMTP with different answers: 451', end[0] == 451 and len(three.messages) == k + 1, end)
    r, end = talk(p, 'mixed@out.test', ['u9@lmtp.test', 'full9@lmtp.test'], each)
    check('the retry of the one who has it is a 250 without a second copy', [x[0] for x in r] == [250, 452] and end[0] == 250 and len(three.messages) == k + 1, (r, end))
    r, end = talk(p, 'mixed@out.test', ['full9@lmtp.test'], each)
    check('and the other one gets its own refusal', end[0] == 552, end)
    for what, reply, first in (('hangs up', 'close', True), ('talks nonsense', '999 what', True), ('says 421 of the other one', '421 4.3.2 I am leaving', False)):
        kept, lost = f'u-{reply[:3]}@lmtp.test', f'v-{reply[:3]}@lmtp.test'
        says_once[lost] = reply
        both = [kept, lost] if first else [lost, kept]
        _, end = talk(p, f'{reply[:3]}@out.test', both, mail)
        r, again = talk(p, f'{reply[:3]}@out.test', both, mail)
        _, other = talk(p, f'{reply[:3]}@out.test', [lost], mail)
        copies = [a for m in three.messages for a in m.recipients if a in both]
        check(f'LMTP: who was taken before a hop {what} has no second copy, and the other one gets his', (end[0], again[0], other[0]) == (451, 250, 250) and sorted(copies) == sorted(both), (end, r, again, other, copies))
    r, end = talk(p, 'mixed@out.test', ['u9@lmtp.test', 'v9@lmtp.test'], each)
    check('an alarm without Message-ID that says the same again is delivered again', [x[0] for x in r] == [250, 250] and end[0] == 250 and three.messages[-1].recipients == ['u9@lmtp.test', 'v9@lmtp.test'], (r, end))
    each = b'Message-ID: <each@out.test>\r\n' + each
    talk(p, 'mixed@out.test', ['u9@lmtp.test', 'full9@lmtp.test'], each)
    k = len(three.messages)
    replies = [talk(p, 'mixed@out.test', ['u9@lmtp.test'], each)[1] for _ in range(2)]
    check('a 250 without a second copy that was not heard is said once more, by Message-ID and network', [x[0] for x in replies] == [250, 250] and len(three.messages) == k, replies)
    r, end = talk(p, 'mixed@out.test', ['u9@lmtp.test', 'v9@lmtp.test'], each)
    check('who has it already beside one who has not: no second copy, and a retry serves both', end[0] == 451 and len(three.messages) == k, (r, end))
    r, end = talk(p, 'mixed@out.test', ['v9@lmtp.test', 'u9@lmtp.test'], each)
    check('the retry: each gets his own', [x[0] for x in r] == [250, 452] and end[0] == 250 and len(three.messages) == k + 1 and three.messages[-1].recipients == ['v9@lmtp.test'], (r, end))
    r, end = talk(p, 'mixed@out.test', ['u9@lmtp.test'], each)
    check('and the one who has it gets no second copy', end[0] == 250 and len(three.messages) == k + 1, (r, end))
    # PRDR: each recipient its own reply, in one transaction

    def each(sender, recipients, content):
        """[codes of RCPT], [replies to the dot]"""
        with p.talk() as t:
            t.say('EHLO c.test')
            t.say(f'MAIL FROM:<{sender}> PRDR')
            codes = [t.say(f'RCPT TO:<{r}>')[0] for r in recipients]
            t.say('DATA')
            t.raw(content + b'.\r\n')
            first = t.reply()
            replies = [t.reply() for _ in range(codes.count(250) + 1)] if first[0] == 353 else []
            return codes, [r[0] for r in [first] + replies]
    n, k = len(p.messages('alice')), len(one.messages)
    codes, got = each('prdr@out.test', ['alice@example.test', 'good@relay.test', 'bob@example.test'], spam)
    check('PRDR: a hop refuses what mailboxes take: they have it, and each hears its own', got == [353, 250, 554, 250, 250] and len(p.messages('alice')) == n + 1 and len(one.messages) == k, (codes, got))
    codes, got = each('prdr@out.test', ['good@relay.test', 'alice@example.test'], mail)
    check('PRDR: nothing stays open in the ledger: the sender need not travel alone', codes == [250, 250] and got == [353, 250, 250, 250] and len(one.messages) == k + 1, (codes, got))
    codes, got = each('prdr@out.test', ['good@relay.test', 'two@relay.test'], spam)
    check('PRDR: refused for all is refused for the message', got == [353, 554, 554, 554], got)
    k, n = len(three.messages), len(p.messages('alice'))
    codes, got = each('prdr@out.test', ['u1@lmtp.test', 'full1@lmtp.test', 'alice@example.test'], mail)
    check('PRDR: LMTP with different answers: each its own, and no second try', got == [353, 250, 552, 250, 250] and three.messages[-1].recipients == ['u1@lmtp.test'] and
          len(three.messages) == k + 1 and len(p.messages('alice')) == n + 1, got)
    n = len(p.messages('alice'))
    codes, got = each('prdr@out.test', ['good@relay.test', 'alice@example.test'], b'Subject: DROP\r\n\r\nx\r\n')
    check('PRDR: a hop whose reply is lost is a 451 for its own recipient alone', got == [353, 451, 250, 250] and len(p.messages('alice')) == n + 1, got)
    codes, got = each('prdr@out.test', ['away@example.test', 'good@relay.test'], mail)
    check('PRDR: an alias and its target are two replies and one copy', got == [353, 250, 250, 250] and one.messages[-1].recipients == ['good@relay.test'], got)
    # backup MX: known good while the hop is down
    r, end = talk(p, 'a@out.test', ['known@back.test'], mail)
    check('a hop says that a recipient is good', end and end[0] == 250, (r, end))
    talk(p, 'unknown@out.test', ['known@back.test'])       # whom it refuses has no say about a recipient
    backup.stop()
    time.sleep(.3)
    r, _ = talk(p, 'a@out.test', ['known@back.test'])
    check('hop down, a stranger: 451', r[0][0] == 451, r)
    with login(p) as t:
        t.say('MAIL FROM:<alice@example.test>')
        good, bad = t.say('RCPT TO:<known@back.test>'), t.say('RCPT TO:<unheard@back.test>')
        t.say('DATA')
        t.raw(b'From: alice@example.test\r\n' + mail + b'.\r\n')
        end = t.reply()
    check('hop down, authenticated: what is known good is queued, what is not is 451', (good[0], bad[0], end[0]) == (250, 451, 250), (good, bad, end))
    check('it lies in the queue', 'known@back.test' in p.ctl('queue', 'list').stdout, p.ctl('queue', 'list').stdout)
    for what, sender in (('MAIL', 'unknown@out.test'), ('RCPT', 'forged@relay.test')):
        refused, _ = talk(p, sender, [f'boss-{what}@relay.test'])
        r, end = talk(p, 'a@out.test', [f'boss-{what}@relay.test'], mail)
        check(f'a hop that refuses a sender at {what}, as 5.1.x even, has said nothing of the recipient: others reach him', refused[0][0] == 550 and r[0][0] == 250 and end[0] == 250, (refused, r, end))
    r, end = talk(p, 'over@out.test', ['good@relay.test', 'alice@example.test'], mail)
    check('a 421 of a hop at MAIL is a 451 of ours, and ends no session of ours', [x[0] for x in r] == [451, 250] and end[0] == 250, (r, end))
    r, end = talk(p, 'a@out.test', ['over@relay.test', 'alice@example.test'], mail)
    check('at RCPT', [x[0] for x in r] == [451, 250] and end[0] == 250, (r, end))
    for word, code in ((b'OVER', 451), (b'NEVER', 554)):
        with p.talk() as t:
            end = t.deliver(mail + word + b'\r\n', ['good@relay.test'], 'a@out.test')
            check(f'a 421 or 521 behind the dot is a {code}, and the session goes on', (end, t.say('NOOP')[0]) == (code, 250), end)
    for sink, domain in ((one, 'relay.test'), (three, 'lmtp.test')):
        for local in ('"victim@outside.test> orcpt=rfc822;x"', '"a b"', '"a@b"', r'"a\"b\\c"', r'"\"a\""', '"<>"'):
            codes = [r[0] for r in talk(p, 'a@out.test', [f'{local}@{domain}'], mail)[0]]
            told = f'RCPT TO:<{local}@{domain}>'
            check(f'a quoted local-part comes to {domain} in its quotes, and ends no path: {local}', codes == [250] and told in sink.rcpts and 'RCPT TO:<victim' not in '\n'.join(sink.rcpts), (codes, sink.rcpts[-2:]))
    before = len(one.messages)
    with login(p) as t:
        code = t.deliver(mail, ['"victim@outside.test> orcpt=rfc822;x"@relay.test'], 'alice@example.test')
    check('also out of the queue', code == 250 and p.wait(lambda: len(one.messages) > before) and one.messages[-1].recipients == ['"victim@outside.test> orcpt=rfc822;x"@relay.test'], (code, one.rcpts[-3:]))
    # what `ask` remembers
    p.wait(lambda: len(made_up(one)) >= 2)
    check('a hop is asked about a made-up recipient once for each of its domains, though many of its recipients were taken', sorted(r.partition('@')[2] for r in made_up(one)) == ['also.test>', 'relay.test>'], made_up(one))
    check('one that refuses it is not said to take all', 'domain=relay.test' not in '\n'.join(l for l in p.log_text().splitlines() if 'hop-takes-all' in l))
    r, end = talk(p, 'a@out.test', ['x@all.test'], mail)
    check('one that takes it is: logged', end and end[0] == 250 and p.wait_log('hop-takes-all.*domain=all.test'), (r, end))
    r, end = talk(p, 'a@out.test', ['x@all.test'], mail)
    all_taking.stop()
    with login(p) as t:
        t.say('MAIL FROM:<alice@example.test>')
        heard = p.wait(lambda: t.code('RCPT TO:<x@all.test>') == 451)
    check('its word is worth nothing when it is down: 451, not the queue', heard and 'all.test' not in p.ctl('queue', 'list').stdout)

    def refreshed(who):
        """Refused from memory until the second question was asked, and nobody waited for that. A machine that slept through the last part of the refusal's time shows nothing."""
        longest, end_by, code = 0, time.monotonic() + 30 * SLOW, 550
        while asked.get(who, 0) < 2 and code == 550 and time.monotonic() < end_by:
            began = time.monotonic()
            code = talk(p, 'a@out.test', [who])[0][0][0]
            longest = max(longest, time.monotonic() - began)
            time.sleep(.1)
        print(f'# {who}: {code}, asked {asked.get(who)} times, longest answer {longest:.3f} s')
        return asked[who] == 2 and code == 550 and longest < 3 * SLOW
    found = next((who for who in ('x@fresh.test', 'y@fresh.test', 'z@fresh.test') if refreshed(who)), None)
    check('near the end of its time a refusal is asked about again behind the answer, which nobody waits for', found, asked)
    check('and who exists by then is taken', p.wait(lambda: talk(p, 'a@out.test', [found or 'x@fresh.test'])[0][0][0] == 250), asked)
    check('a hop that puts a made-up recipient off is not tried with one at each message', len(made_up(fresh)) <= 1, made_up(fresh))
    check('delivery is alive', len(p.roles().get('delivery', [])) == 1)
finish()
