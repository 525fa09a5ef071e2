#!/usr/bin/env python3
"""Milters before the 250: what they may change, what they refuse, and what becomes of mail when one is down, lies, or dies between any two frames."""
import json, re, struct, time
from milter import *
from porter import PATIENCE, SLOW, Porter, check, finish
from sink import Sink

hop = Sink(rcpt=lambda a: '550 5.1.1 not him' if a.startswith('refused') and hop.refuses else None)
hop.refuses = False
BODY = b'Subject: a subject\r\nX-Old: 1\r\nX-Old: 2\r\n folded\r\n\r\nhello\r\n.dot\r\n'
BIG = b'Subject: big\r\n\r\n' + b'0123456789abcde\r\n' * 40000


def world(name, milters, **more):
    return Porter(name, settings={'milters': ' '.join(milters), 'smtpd-processes': '1', **more}, maps={'domains': f'relay.test relay [127.0.0.1]:{hop.port} recipients=all',
                  '=all': 'x@relay.test\ny@relay.test\nz@relay.test\nrefused@relay.test', 'aliases': 'pair@example.test alice@example.test bob@example.test'})


class Case:
    """One message through p while the milter m does as told: its code and what lies in the mailboxes afterwards."""

    def __init__(self, p, m, says=None, options=0, content=BODY):
        p.clean()
        m.now(says, options)
        self.code = p.send(content)
        self.alice, self.bob = list(p.messages('alice').values()), list(p.messages('bob').values())
        self.text = self.alice[-1] if self.alice else b''
        self.commands = m.commands()

    def taken(self):
        return self.code == 250 and len(self.alice) == 1

    def kept_out(self, code):
        return self.code == code and not self.alice and not self.bob


def sees_everything(p, m):
    c = Case(p, m)
    check('a milter is told of connection, greeting, envelope, each field, body and end', c.taken() and c.commands.startswith('OCHMRTLLLNBE'), c.commands)
    data = dict(m.seen)
    check('a milter gets the address, the EHLO name and the paths', data['H'] == b'client.test\0' and data['M'].startswith(b'<someone@outside.test>\0')
          and data['R'] == b'<alice@example.test>\0' and b'127.0.0.1\0' in data['C'], data)
    fields = [d for k, d in m.seen if k == 'L']
    check('folds of a field have LF alone, the body CRLF', fields[2] == b'X-Old\x002\n folded\0' and data['B'] == b'hello\r\n.dot\r\n', fields)
    for text in b'buy my pills\r\nmore: pills\r\n', b'buy my pills\r\n\r\nmore\r\n', b'pills ' * 9000 + b'\r\n' + b'and more\r\n' * 20000, b'pills\r\n' * 20000:
        for says in None, {'E': [add_header('X-A', '1'), CONTINUE]}:
            c = Case(p, m, says, content=text)
            head, _, body = c.text.partition(b'\n\n')
            seen = b''.join(d for k, d in m.seen if k == 'B')
            check(f'content of {len(text)} bytes without fields is body for a milter, too' + (', which may add some' if says else ''), c.taken() and seen == text and 'L' not in c.commands
                  and body == text.replace(b'\r', b'') and b'pills' not in head and (b'\nX-A: 1' in head) == bool(says), (c.commands, seen[:60], c.text[:400]))
    stray = b'no field\r\nX-B: 2\r\n' + b'pills\r\n' * 5000 + b'\r\n'
    for body in b'last\r\n', b'last\r\n' * 40000:
        c = Case(p, m, {'E': [add_header('X-C', '3'), CONTINUE]}, content=b'From me Thu Nov 26 10:00:00 2026\r\nX-A: 1\r\n' + stray + body)
        seen = b''.join(d for k, d in m.seen if k == 'B')
        check('a line that is no field ends the fields that a milter is told: what follows is body', c.taken() and [d for k, d in m.seen if k == 'L'] == [b'X-A\x001\0'] and seen == stray + body
              and c.text.endswith((stray[:-2] + b'X-C: 3\r\n\r\n' + body).replace(b'\r', b'')), (c.commands, len(seen), len(stray + body), c.text[:300]))
    before = m.connections
    with p.talk() as t:
        for _ in range(3):
            t.deliver(BODY)
    check('three messages of a session need one connection', m.connections == before + 1, m.connections)
    m.now()
    with p.talk() as t:
        t.say('EHLO x.test'), t.say('MAIL FROM:<a@b.test>'), t.say('RCPT TO:<alice@example.test>'), t.say('RSET'), t.say('MAIL FROM:<a@b.test>')
    check('RSET tells a milter to forget the message', 'OCHMRAM' in m.commands(), m.commands())
    before = m.connections
    with p.talk() as t:
        t.say('EHLO x.test')
    check('who never says MAIL costs no connection', m.connections == before)
    m.now()
    with p.talk() as t:
        t.say('EHLO x.test'), t.say('FROB one')
        quiet = m.commands()
        t.say('MAIL FROM:<a@b.test>')
        usual = t.say('FROB  two three')
    check('a connected milter hears of commands that nobody knows, others are not dialled for it', quiet.strip('A') == '' and ('U', b'FROB  two three\0') in m.seen and usual[0] == 500, (m.seen, usual))
    m.now({'U': [reply('550 5.7.1 no frobbing')]})
    with p.talk() as t:
        t.say('EHLO x.test'), t.say('MAIL FROM:<a@b.test>')
        own, then = t.say('FROB two'), t.say('RCPT TO:<alice@example.test>')
    check('and may answer them in its own words, which end nothing else', own[0] == 550 and 'no frobbing' in str(own) and then[0] == 250, (own, then))
    m.now(options=0x20000 | 0x1000)
    with p.talk() as t:
        t.say('EHLO x.test'), t.say('MAIL FROM:<a@b.test>')
        own, then = t.say('FROB two'), t.say('RCPT TO:<alice@example.test>')
    check('one that does not answer them is not waited for', own[0] == 500 and then[0] == 250 and 'U' in m.commands(), m.commands())
    c = Case(p, m, options=0x1f7ff & ~0x400)
    check('a milter that wants nothing is asked at the end alone', c.taken() and 'OE' in c.commands and 'M' not in c.commands, c.commands)
    c = Case(p, m, options=0x1ff080)
    check('a milter that answers nothing but the end isn\'t waited for', c.taken() and 'OCHMRTLLLNBE' in c.commands, c.commands)
    c = Case(p, m, options=0x1ff080, content=BIG)
    check('nor is it with a large body', c.taken() and c.commands.count('B') > 5, c.commands)


def changes(p, m):
    says = {'E': [add_header('X-End', 'e'), insert_header(0, 'X-Top', 't'), insert_header(1, 'X-First', 'f\n more'), change_header(2, 'X-Old', 'new'), change_header(1, 'x-old', ''),
                  change_from('<changed@outside.test>'), replace_body(b'an'), replace_body(b'other\n'), PROGRESS, CONTINUE]}
    c = Case(p, m, says)
    head, _, body = c.text.partition(b'\n\n')
    names = [l.split(b':')[0] for l in head.split(b'\n') if l[:1] not in (b' ', b'\t') and not l.startswith(b'Authentication-Results')]
    check('a new body replaces the old one', c.taken() and body == b'another\n', c.text)
    check('fields are put on top, before, behind, changed and removed', names == [b'Return-Path', b'X-Top', b'Received', b'X-First', b'Subject', b'X-Old', b'X-End']
          and b'X-Old: new\n' in c.text and b'X-First: f\n more\n' in c.text, c.text)
    check('the reverse-path is the changed one', b'Return-Path: <changed@outside.test>' in c.text, c.text)
    c = Case(p, m, says, content=BIG)
    check('the body of a large message is replaced, too', c.taken() and c.text.endswith(b'\n\nanother\n'), (c.code, c.text[-200:]))
    c = Case(p, m, {'E': [add_header('X-A', '1'), CONTINUE]}, content=BIG)
    body = BIG.split(b'\r\n\r\n')[1]
    check('a large body goes through whole where only a field is added', c.taken() and c.text.endswith(body.replace(b'\r\n', b'\n')) and b'\nX-A: 1\n' in c.text, c.code)
    check('a large body comes in pieces of at most 65535 bytes', all(len(d) <= 65535 for k, d in m.seen if k == 'B') and b''.join(d for k, d in m.seen if k == 'B') == body, c.commands)
    c = Case(p, m, {'E': [delete_rcpt('<alice@example.test>'), add_rcpt('<bob@example.test>'), CONTINUE]})
    check('a milter takes a recipient away and adds another', c.code == 250 and not c.alice and len(c.bob) == 1, c.code)
    p.clean()
    m.now({'E': [delete_rcpt('<pair@example.test>'), CONTINUE]})
    code = p.send(BODY, to=('pair@example.test', 'alice@example.test'))
    got = len(p.messages('alice')), len(p.messages('bob'))
    check('who is left keeps the mailbox that he shares with the one that a milter took away', (code, got) == (250, (1, 0)), (code, got))
    for bad, why in (('nobody@example.test', 'unknown'), ('x@outside.test', 'foreign')):
        check(f'an added recipient that is {why} defers the message', Case(p, m, {'E': [add_rcpt(bad), CONTINUE]}).kept_out(451))
    check('a field that can\'t be defers the message', Case(p, m, {'E': [add_header('Bad Name', 'x'), CONTINUE]}).kept_out(451))
    c = Case(p, m, {'E': [add_header('X-A', '1\r\n\r\nInjected: body'), CONTINUE]})
    check('no value ends the header section', c.taken() and b'X-A: 1\n Injected: body\n' in c.text, c.text)


def other_places(p, m, hop):
    """Whoever a filter adds or takes away, each place has all of a large message, in its own form of line ends."""
    crlf, lf = BIG.split(b'\r\n\r\n')[1], BIG.split(b'\r\n\r\n')[1].replace(b'\r\n', b'\n')
    c = Case(p, m, {'E': [add_rcpt('<x@relay.test>'), CONTINUE]}, content=BIG)
    check('a large message for a mailbox, to which a filter adds a next hop: both have it whole', c.taken() and c.text.endswith(b'\n\n' + lf) and len(hop.messages) == 1 and
          hop.messages[0].content.endswith(b'\r\n\r\n' + crlf), (c.code, len(c.text), [len(x.content) for x in hop.messages]))
    c = Case(p, m, {'E': [add_rcpt('<y@relay.test>'), delete_rcpt('<alice@example.test>'), change_from('<changed@outside.test>'), CONTINUE]}, content=BIG)
    check('the next hop in the mailbox\'s place: it alone has it', c.code == 250 and not c.alice and len(hop.messages) == 2 and hop.messages[1].content.endswith(b'\r\n\r\n' + crlf)
          and hop.messages[1].recipients == ['y@relay.test'], (c.code, [len(x.content) for x in hop.messages]))
    p.clean()
    m.now({'E': [add_rcpt('<bob@example.test>'), change_from('<changed@outside.test>'), CONTINUE]})
    code = p.send(BIG, to='z@relay.test')
    found = list(p.messages('bob').values())
    check('a large message for a next hop, to which a filter adds a mailbox: both have it whole', code == 250 and len(hop.messages) == 3 and len(found) == 1 and found[0].endswith(b'\n\n' + lf) and
          hop.messages[2].content.endswith(b'\r\n\r\n' + crlf) and found[0].startswith(b'Return-Path: <changed@outside.test>\n'), (code, len(hop.messages), [x[:80] for x in found]))
    check('a reverse-path that is changed when the next hop has heard the old one: the log says so', p.log_text().count('milter-change-late') == 1 and hop.messages[2].mail.startswith('MAIL FROM:<someone@outside.test>'),
          (p.log_text().count('milter-change-late'), hop.messages[2].mail))
    c = Case(p, m, {'E': [change_from('<changed@outside.test>'), CONTINUE]}, content=BIG)
    check('the reverse-path of a large message is the changed one', c.taken() and c.text.startswith(b'Return-Path: <changed@outside.test>\n'), c.text[:100])


def dead(p):
    return json.loads(p.ctl('dead', 'list', '--json').stdout or '[]')


def quarantine_is_a_dead_letter(p, m, hop):
    """Accepted, kept, and told: the postmaster looks at it, lets it go on, or removes it; nobody else hears of it."""
    says = {'E': [quarantine('looks odd'), CONTINUE]}
    c = Case(p, m, says)
    rows = dead(p)
    shown = p.ctl('dead', 'show', rows[0]['id']).stdout if rows else ''
    check('what is quarantined is taken, and is a dead letter with the reason', c.code == 250 and len(rows) == 1 and 'looks odd' in shown and 'X-Porter-Quarantine: looks odd; for alice@example.test' in shown
          and '<alice@example.test>' in shown and '<someone@outside.test>' in shown, (c.code, rows, shown))
    notice = p.wait(lambda: [x for x in p.messages('alice').values() if b'Subject: A message was held back' in x])
    check('the postmaster is told by a notice that names it', notice and rows[0]['id'].encode() in notice[0], list(p.messages('alice').values()))
    check('and nobody has it', len(p.messages('alice')) == 1 and not p.messages('bob'))
    check('dropped, it is gone', p.ctl('dead', 'drop', rows[0]['id']).returncode == 0 and not dead(p))
    p.clean()
    m.now({'E': [quarantine('odd'), add_rcpt('<alice@example.test>'), CONTINUE]})
    before = len(hop.messages)
    code = p.send(BIG, to=['bob@example.test', 'x@relay.test'])
    rows = dead(p)
    check('a large one for a mailbox, a next hop and somebody whom the filter added: one dead letter', code == 250 and len(rows) == 1 and not p.messages('bob') and not p.messages('alice') and
          len(hop.messages) == before, (code, rows))
    body = BIG.split(b'\r\n\r\n')[1]
    p.ctl('dead', 'release', rows[0]['id'] if rows else '-')
    p.wait(lambda: p.messages('bob') and p.messages('alice') and len(hop.messages) == before + 1)
    found = [*p.messages('bob').values(), *p.messages('alice').values()]
    check('released, each has it whole, once', len(found) == 2 and all(x.endswith(body.replace(b'\r\n', b'\n')) for x in found) and len(hop.messages) == before + 1 and
          hop.messages[-1].content.endswith(body) and hop.messages[-1].sender == 'someone@outside.test', (len(found), len(hop.messages) - before))
    m.now(says)
    code = p.send(BODY, to='refused@relay.test')
    rows, hop.refuses = [r['id'] for r in dead(p)], True
    p.ctl('dead', 'release', *rows)
    came = p.wait(lambda: 'refused@relay.test' in ''.join(hop.rcpts) and dead(p))
    check('released and then refused, it is a dead letter again, and no report is written', code == 250 and came and not hop.null_senders and
          not [x for u in ('alice', 'bob') for x in p.messages(u).values() if b'delivery-status' in x], (code, rows, hop.mails))
    p.ctl('dead', 'drop', '--all')
    with p.talk() as t:
        t.say('EHLO c.test'), t.say('MAIL FROM:<a@outside.test> PRDR'), t.say('RCPT TO:<alice@example.test>'), t.say('RCPT TO:<bob@example.test>'), t.say('DATA')
        t.raw(BODY + b'.\r\n')
        first = t.reply()
        codes = [first[0]] + ([t.reply()[0] for _ in range(3)] if first[0] == 353 else [])
    check('with PRDR, too: taken for all', set(codes) <= {250, 353} and codes[-1] == 250 and len(dead(p)) == 1, (codes, dead(p)))
    p.ctl('dead', 'drop', '--all')
    p.clean()


def refusals(p, m):
    cases = [('C', REJECT, 550), ('H', LATER, 451), ('M', REJECT, 550), ('R', LATER, 451), ('R', reply('553 5.1.3 not him'), 553), ('T', REJECT, 550), ('L', REJECT, 550), ('N', LATER, 451),
             ('B', REJECT, 550), ('E', reply('554 5.7.1 a virus'), 554), ('E', reply('450-4.7.0 a\n450 4.7.0 b'), 450), ('E', DISCARD, 550), ('E', REJECT, 550), ('M', frame('4'), 421)]
    for command, says, code in cases:
        c = Case(p, m, {command: says})
        check(f'{says[4:].rstrip(bytes(1)).decode()!r} to {command} is answered {code}', c.kept_out(code), c.code)
    m.now({'R': lambda s, d: REJECT if b'bob' in d else CONTINUE})
    with p.talk() as t:
        t.say('EHLO x.test'), t.say('MAIL FROM:<a@b.test>')
        codes = [t.code(f'RCPT TO:<{u}@example.test>') for u in ('alice', 'bob')]
    check('one recipient is refused, the other taken', codes == [250, 550], codes)
    for command in 'CHMRTLNB':
        c = Case(p, m, {command: ACCEPT})
        check(f'accept to {command} ends the milter\'s say', c.taken() and ('E' not in c.commands or command in 'LNB'), c.commands)  # the end is told with these
    c = Case(p, m, {'B': SKIP}, 0x400, BIG)
    check('skip ends the body', c.taken() and c.commands.count('B') == 1 and 'BE' in c.commands, c.commands)


def several_steps_in_one_go(p, m):
    held = []

    def hold(s, data):
        held.append(CONTINUE)
        return []

    def release(s, data):
        frames = held + [CONTINUE]
        held.clear()
        return frames
    c = Case(p, m, {'C': hold, 'H': hold, 'M': release})
    check('connection, greeting and path are told in one go', c.taken(), c.commands)
    c = Case(p, m, {'L': hold, 'N': hold, 'B': hold, 'E': release})
    check('and so are fields, body and end', c.taken(), c.commands)
    c = Case(p, m, {'L': hold, 'N': release}, content=BIG)
    check('a body from a file follows the answers', c.taken() and c.text.endswith(BIG[-100:].replace(b'\r\n', b'\n')), c.commands)
    many_fields = b''.join(b'X-%d: %s\r\n' % (i, b'v' * 900) for i in range(300))
    c = Case(p, m, {'L': hold, 'N': release}, content=many_fields + b'\r\nhello\r\n')
    check('many fields of 270 kB in all wait for no answer', c.taken() and c.commands.count('L') == 300, c.code)
    for command, says in (('L', REJECT), ('N', REJECT), ('B', REJECT), ('L', LATER)):
        m.now({command: [says]})
        before = m.connections
        with p.talk() as t:
            t.say('EHLO x.test')
            first = t.deliver(BODY)
            m.now()
            second = t.deliver(BODY)
        check(f'a refusal ({says[-1:].decode()}) amid them ({command}) is the message\'s; the next one has a new connection', first in (550, 451) and second == 250
              and m.connections == before + 2 and 'OCHMRTLLLNBE' in m.commands(), (first, second, m.connections - before, m.commands()))
    for command in 'CH':
        m.now({command: [ACCEPT]})
        with p.talk() as t:
            t.say('EHLO x.test')
            codes = [t.deliver(BODY), t.deliver(BODY)]
        check(f'accept to {command} while more was told holds for the session', codes == [250, 250] and 'R' not in m.commands(), (codes, m.commands()))
        m.now({command: [REJECT]})
        with p.talk() as t:
            t.say('EHLO x.test')
            codes = [t.say('MAIL FROM:<a@b.test>')[0], t.say('MAIL FROM:<a@b.test>')[0]]
        check(f'reject of {command}, too', codes == [550, 550], codes)
    m.now({'L': [LATER + CONTINUE * 6]})
    check('answers behind the one that ended the message are nobody\'s', p.send(BODY) == 451)
    m.now()
    check('mail goes on', p.send(BODY) == 250)


def drip(s, data):
    """Minutes, unless it is hung up on."""
    for b in reply('550 ' + 'x' * 500):
        s.sendall(bytes([b]))
        time.sleep(.5)
    return SILENCE


def endless(said):
    """Says it until it is hung up on, 100 MB at most."""
    def say(s, data):
        for _ in range(100 * 1000000 // len(said)):
            s.sendall(said)
        return CONTINUE
    return say


COMMANDS = 'OCHMRTLNBE'
BAD = {'its end': DIE, 'a wrong length': b'\xff\xff\xff\xffc', 'an empty frame': b'\0\0\0\0', 'an unknown kind': frame('Z'), 'half a head and the end': [b'\0\0', DIE], 'half a frame and the end': [b'\0\0\0\x20y550', DIE],
       'a change before the end': add_header('A', 'b'), 'HTTP': b'HTTP/1.1 400 Bad Request\r\n\r\n', 'a reply code of 250': reply('250 fine'), 'a reply without a code': reply('go away'),
       'a frame of 100 MB': endless(struct.pack('>I', 100 << 20) + b'y' + b'5' * 999995), 'frames of 100 MB': endless(frame('y', b'x' * 65000) * 15), 'answers of 100 MB': endless(CONTINUE * 200000)}
AT_END = {'a new body of 100 MB': endless(replace_body(b'x' * 65000)), '100 MB of new fields': endless(add_header('X-A', 'b' * 60000)), 'a million new fields': endless(add_header('X-A', 'b') * 1000),
          '100 MB of new recipients': endless(add_rcpt('x' * 200 + '@example.test')), '100 MB of new paths': endless(change_from('x' * 60000)), '100 MB of reasons': endless(quarantine('x' * 60000))}
MEMORY_KIB = 24 << 10      # above what smtpd has at rest: milter-body-limit, set to 8 MiB here, while its buffer grows, and the frames of a change


def worst(p, m, cases):
    """Each case: 451, one line of the log, in bounded time and memory. What wasn't so."""
    wrong, rest = {}, p.peak_kib('smtpd')
    for (what, command), says in cases.items():
        before, began = p.log_text().count('milter-down'), time.monotonic()
        p.forget_peaks()
        kept = Case(p, m, {command: says}).kept_out(451)
        lines, took, grown = p.log_text().count('milter-down') - before, time.monotonic() - began, p.peak_kib('smtpd') - rest
        if not kept or lines != 1 or took > PATIENCE * SLOW or grown > MEMORY_KIB:
            wrong[what, command] = kept, lines, took, grown
    return wrong


def nonsense(p, m):
    Case(p, m)
    p.forget_peaks()
    for what, says in BAD.items():
        wrong = worst(p, m, {(what, c): says for c in COMMANDS if (what, c) != ('a change before the end', 'E')})
        check(f'{what} is no answer, whatever it stands for: 451, one line of the log, bounded in time and memory', not wrong, wrong)
    for what, says in AT_END.items():
        wrong = worst(p, m, {(what, 'E'): says})
        check(f'{what}: 451, one line, bounded in time and memory', not wrong, wrong)
    check('and after all that mail is taken', Case(p, m).taken())


def two_answers(p, m):
    """The second of two may never be the next question's: here it would hide what the milter says of the whole."""
    options = frame('O', struct.pack('>III', 6, 0x1ff, 0))
    for what, more in (('a second answer', CONTINUE), ('the beginning of one', CONTINUE[:3])):
        for command in 'OCHMRTLNBE':
            before = p.log_text().count('milter-down')
            c = Case(p, m, {'E': REJECT, command: (options if command == 'O' else CONTINUE) + more})
            check(f'{what} to {command} is nobody\'s: 451, one line of the log', c.kept_out(451) and p.log_text().count('milter-down') == before + 1, (c.code, p.log_text()[-600:]))
    p.clean()
    m.now({'E': CONTINUE, 'A': CONTINUE})
    before = p.log_text().count('milter-down')
    with p.talk() as t:
        t.say('EHLO x.test'), t.say('MAIL FROM:<a@b.test>'), t.say('RSET')
        p.wait(lambda: p.log_text().count('milter-down') > before)
        m.now()
        t.deliver(BODY)
    check('what is said between two messages is no answer for the next one, which has a new connection', len(p.messages('alice')) == 1 and m.commands().startswith('OCHMRTLLLNBE'), m.commands())


def patience(p, m):
    """A second is set."""
    began, lines = time.monotonic(), p.log_text().count('milter-down')
    check('a milter that says nothing is waited for as long as is set', Case(p, m, {'E': SILENCE}).kept_out(451) and .8 < time.monotonic() - began)
    check('dripping bytes win no time', Case(p, m, {'H': drip}).kept_out(451))
    silent = {c: Case(p, m, {c: [b'\0\0\0\x20y550', SILENCE]}).kept_out(451) for c in COMMANDS}
    check('nor does half a frame, to whatever', all(silent.values()), silent)
    check('each is one line of the log', p.log_text().count('milter-down') == lines + 2 + len(COMMANDS), p.log_text().count('milter-down') - lines)


def at_work(s, data):
    """Says for twice the time it has that it is at work."""
    for _ in range(8):
        s.sendall(PROGRESS)
        time.sleep(SLOW)
    return CONTINUE


def progress(p, m):
    began = time.monotonic()
    check('a milter that says that it is still at work is waited for', Case(p, m, {'E': at_work}).taken() and time.monotonic() - began > 7 * SLOW)


def passed_by(p, m):
    for command in 'OCHMRTLNBE':
        check(f'a milter that dies at {command} is passed by, if so chosen', Case(p, m, {command: DIE}).taken())
    c = Case(p, m, {'E': [add_header('X-Half', '1'), replace_body(b'half'), DIE]})
    check('what a milter wanted before it died isn\'t done', c.taken() and b'X-Half' not in c.text and b'hello' in c.text)
    m.close()
    lines = len(re.findall('milter-down', p.log_text()))
    p.clean()
    check('mail goes on without a milter that isn\'t there, by choice', p.send(BODY) == 250)
    check('one line in the log says so', len(re.findall('milter-down', p.log_text())) == lines + 1)


def usual_macros(p, m):
    c, told = Case(p, m), m.told
    check('a milter that asks for no macros gets the usual ones', c.taken() and told['C'][b'j'] == b'mx.example.test' and told['C'][b'{client_addr}'] == b'127.0.0.1'
          and set(told['M']) == {b'i', b'{mail_addr}'} and set(told['E']) == {b'i'}, told)


    with p.talk(port=p.submission) as t:
        code = t.login() == 235 and t.deliver(b'From: alice@example.test\r\nSubject: x\r\n\r\nx\r\n', ['bob@example.test'], 'alice@example.test')
    check('and who is logged in, and how', code == 250 and (m.told['M'].get(b'{auth_type}'), m.told['M'].get(b'{auth_authen}')) == (b'PLAIN', b'alice@example.test'), (code, m.told))


def asked_macros(p, m):
    c, told = Case(p, m), m.told
    check('one that asks for some gets those at each place, without what is unknown there', c.taken() and set(told['C']) == {b'{client_port}'}
          and told['R'] == {b'i': told['E'][b'i'], b'{rcpt_addr}': b'alice@example.test', b'{mail_addr}': b'someone@outside.test'} and not told['T'] and set(told['E']) == {b'i'}, told)


with Milter() as m, world('milter', [m.address + ',timeout=60s'], **{'milter-body-limit': '8M'}) as p:
    usual_macros(p, m)
    sees_everything(p, m)
    changes(p, m)
    other_places(p, m, hop)
    quarantine_is_a_dead_letter(p, m, hop)
    refusals(p, m)
    several_steps_in_one_go(p, m)
    nonsense(p, m)
    two_answers(p, m)
    m.close()
    check('mail is deferred where a milter isn\'t there', p.send(BODY) == 451)
with Milter() as m, world('milter-patience', [m.address + ',timeout=1s']) as p:
    patience(p, m)
with Milter() as m, world('milter-progress', [m.address + f',timeout={4 * SLOW}s']) as p:
    progress(p, m)
with Milter() as m, world('milter-pass', [m.address + ',down=accept']) as p:
    passed_by(p, m)
with Milter({'E': [add_header('X-A', '1'), CONTINUE]}) as m, Milter(unix=True) as n, world('milter-two', [m.address, 'second=' + n.address]) as p:
    check('a milter behind a Unix socket outside of the process\'s root is asked', p.send(BODY) == 250 and 'E' in n.commands(), p.log_text()[-600:])
    check('the second milter sees what the first one changed', (b'X-A\x001\0') in [d for c, d in n.seen if c == 'L'])
    n.now(), m.now()
    with p.talk() as t:
        t.say('EHLO x.test'), t.say('MAIL FROM:<a@b.test>'), t.say('FROB two')
        check('each of two milters hears of a command that nobody knows', [d for c, d in m.seen + n.seen if c == 'U'] == [b'FROB two\0'] * 2, (m.seen, n.seen))
LISTS = b''.join(place.to_bytes(4, 'big') + names + b'\0' for place, names in ((0, b'{client_port} {no_such}'), (3, b'i {rcpt_addr} {mail_addr}'), (4, b'')))
with Milter(macros=LISTS) as m, world('milter-macros', [m.address]) as p:
    asked_macros(p, m)
    m.macros = b'\0\0\0\7j\0'
    with p.talk() as t:
        check('a list for no place is nonsense, told as such', t.deliver(BODY) == 451 and p.wait_log('milter-down.*macros'), p.log_text()[-600:])
finish()
