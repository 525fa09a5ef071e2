#!/usr/bin/env python3
"""Milters before the 250: what they may change, what they refuse, and what becomes of mail when one is down, lies, or dies between any two frames."""
import re, struct, time
from milter import *
from porter import Porter, check, finish

BODY = b'Subject: a subject\r\nX-Old: 1\r\nX-Old: 2\r\n folded\r\n\r\nhello\r\n.dot\r\n'


def world(name, milters, **more):
    return Porter(name, settings={'milters': ' '.join(milters), 'smtpd-processes': '1', **more})


def last(p, user='alice'):
    found = p.messages(user)
    return list(found.values())[-1] if found else b''


def sees_everything():
    with Milter() as m, world('milter-see', [m.address]) as p:
        good = p.send(BODY) == 250
        check('a milter is told of connection, greeting, envelope, each field, body and end', good and m.commands().startswith('OCHMRTLLLNBE'), m.commands())
        data = dict(m.seen)
        check('a milter gets the address, the EHLO name and the paths', data['H'] == b'client.test\0' and data['M'].startswith(b'<someone@outside.test>\0')
              and data['R'] == b'<alice@example.test>\0' and b'127.0.0.1\0' in data['C'], data)
        fields = [d for c, d in m.seen if c == 'L']
        check('folds of a field have LF alone, the body CRLF', fields[2] == b'X-Old\x002\n folded\0' and data['B'] == b'hello\r\n.dot\r\n', fields)
        with p.talk() as t:
            for _ in range(3):
                t.deliver(BODY)
        check('three messages of a session need one connection', m.connections == 2, m.connections)
        before = len(m.seen)
        with p.talk() as t:
            t.say('EHLO x.test'), t.say('MAIL FROM:<a@b.test>'), t.say('RCPT TO:<alice@example.test>'), t.say('RSET'), t.say('MAIL FROM:<a@b.test>')
        time.sleep(.3)
        said = ''.join(c for c, _ in m.seen[before:])
        check('RSET tells a milter to forget the message', said.startswith('OCHMRAM'), said)
        with p.talk() as t:
            t.say('EHLO x.test')
        check('who never says MAIL costs no connection', m.connections == 3, m.connections)
    with Milter(options=0x1f7ff & ~0x400) as m, world('milter-quiet', [m.address]) as p:
        check('a milter that wants nothing is asked at the end alone', p.send(BODY) == 250 and m.commands() == 'OE', m.commands())
    with Milter(options=0x1fff80 & ~0x700) as m, world('milter-silent', [m.address]) as p:
        check('a milter that answers nothing but the end isn\'t waited for', p.send(BODY) == 250 and m.commands().startswith('OCHMRTLLLNBE'), m.commands())


def changes():
    says = {'E': [add_header('X-End', 'e'), insert_header(0, 'X-Top', 't'), insert_header(1, 'X-First', 'f\n more'), change_header(2, 'x-old', 'new'), change_header(1, 'X-Old', ''),
                  change_from('<changed@outside.test>'), replace_body(b'an'), replace_body(b'other\n'), PROGRESS, CONTINUE]}
    with Milter(says) as m, world('milter-change', [m.address]) as p:
        good = p.send(BODY) == 250
        text = last(p)
        head, _, body = text.partition(b'\n\n')
        names = [l.split(b':')[0] for l in head.split(b'\n') if l[:1] not in b' \t']
        check('a new body replaces the old one', good and body == b'another\n', text)
        check('fields are put on top, before, behind, changed and removed', names == [b'Return-Path', b'X-Top', b'Received', b'X-First', b'Subject', b'X-Old', b'X-End']
              and b'X-Old: new\n' in text and b'X-First: f\n more\n' in text, text)
        check('the reverse-path is the changed one', b'Return-Path: <changed@outside.test>' in text, text)
        big = b'Subject: big\r\n\r\n' + b'0123456789abcde\r\n' * 40000
        check('the body of a large message is replaced, too', p.send(big) == 250 and last(p).endswith(b'\n\nanother\n'), last(p)[-200:])
    with Milter({'E': [add_header('X-A', '1'), CONTINUE]}) as m, Milter() as n, world('milter-two', [m.address, n.address]) as p:
        big = b'Subject: big\r\n\r\n' + b'0123456789abcde\r\n' * 40000
        check('a large body goes through whole where only a field is added', p.send(big) == 250 and last(p).endswith(big.split(b'\r\n\r\n')[1].replace(b'\r\n', b'\n'))
              and b'\nX-A: 1\n' in last(p))
        check('the second milter sees what the first one changed', (b'X-A\x001\0') in [d for c, d in n.seen if c == 'L'])
        check('a large body comes in pieces of at most 65535 bytes', all(len(d) <= 65535 for c, d in m.seen if c == 'B')
              and b''.join(d for c, d in m.seen if c == 'B') == big.split(b'\r\n\r\n')[1])
    with Milter({'E': [delete_rcpt('<alice@example.test>'), add_rcpt('<bob@example.test>'), CONTINUE]}) as m, world('milter-rcpt', [m.address]) as p:
        check('a milter takes a recipient away and adds another', p.send(BODY) == 250 and not p.messages('alice') and len(p.messages('bob')) == 1)
    for bad, why in (('nobody@example.test', 'unknown'), ('x@outside.test', 'foreign')):
        with Milter({'E': [add_rcpt(bad), CONTINUE]}) as m, world('milter-badrcpt', [m.address]) as p:
            check(f'an added recipient that is {why} defers the message', p.send(BODY) == 451 and not p.messages('alice'))
    with Milter({'E': [add_header('Bad Name', 'x'), CONTINUE]}) as m, world('milter-badname', [m.address]) as p:
        check('a field that can\'t be defers the message', p.send(BODY) == 451 and not p.messages())
    with Milter({'E': [add_header('X-A', '1\r\n\r\nInjected: body'), CONTINUE]}) as m, world('milter-inject', [m.address]) as p:
        check('no value ends the header section', p.send(BODY) == 250 and b'X-A: 1\n Injected: body\n' in last(p), last(p))


def refusals():
    cases = [('C', REJECT, 550), ('H', LATER, 451), ('M', REJECT, 550), ('R', LATER, 451), ('R', reply('553 5.1.3 not him'), 553), ('T', REJECT, 550), ('L', REJECT, 550), ('N', LATER, 451),
             ('B', REJECT, 550), ('E', reply('554 5.7.1 a virus'), 554), ('E', reply('450-4.7.0 a\n450 4.7.0 b'), 450), ('E', DISCARD, 550), ('E', REJECT, 550), ('M', frame('4'), 421)]
    for command, says, code in cases:
        with Milter({command: says}) as m, world('milter-no', [m.address]) as p:
            got = p.send(BODY)
            check(f'{says[4:].rstrip(bytes(1)).decode()!r} to {command} is answered {code}', got == code and not p.messages(), got)
    with Milter({'R': lambda s, d: REJECT if b'bob' in d else CONTINUE}) as m, world('milter-one', [m.address]) as p:
        with p.talk() as t:
            t.say('EHLO x.test'), t.say('MAIL FROM:<a@b.test>')
            codes = [t.code(f'RCPT TO:<{u}@example.test>') for u in ('alice', 'bob')]
        check('one recipient is refused, the other taken', codes == [250, 550], codes)
    for command in 'CHMRTLNB':
        with Milter({command: ACCEPT}) as m, world('milter-yes', [m.address]) as p:
            check(f'accept to {command} ends the milter\'s say', p.send(BODY) == 250 and 'E' not in m.commands() and len(p.messages()) == 1, m.commands())
    with Milter({'B': SKIP}, options=0x400) as m, world('milter-skip', [m.address]) as p:
        p.send(b'Subject: big\r\n\r\n' + b'0123456789abcde\r\n' * 40000)
        check('skip ends the body', m.commands().count('B') == 1 and m.commands().endswith('E') and len(p.messages()) == 1, m.commands())


def down():
    hang = {c: DIE for c in 'OCHMRTLNBE'}
    for command in hang:
        for accept in (False, True):
            with Milter({command: DIE}) as m, world('milter-die', [m.address + (',down=accept' if accept else '')]) as p:
                code = p.send(BODY)
                check(f'a milter that dies at {command} {"is passed by" if accept else "defers"}', code == (250 if accept else 451) and len(p.messages()) == accept, code)
    with Milter({'E': [add_header('X-Half', '1'), replace_body(b'half'), DIE]}) as m, world('milter-half', [m.address + ',down=accept']) as p:
        check('what a milter wanted before it died isn\'t done', p.send(BODY) == 250 and b'X-Half' not in last(p) and b'hello' in last(p))
    bad = {'a wrong length': b'\xff\xff\xff\xffc', 'an empty frame': b'\0\0\0\0', 'an unknown kind': frame('Z'), 'half a frame and the end': [b'\0\0\0\x20y550', DIE],
           'a change before the end': add_header('A', 'b'), 'HTTP': b'HTTP/1.1 400 Bad Request\r\n\r\n', 'two answers': CONTINUE + CONTINUE, 'a reply code of 250': reply('250 fine'),
           'a reply without a code': reply('go away')}
    for what, says in bad.items():
        with Milter({'H': says}) as m, world('milter-bad', [m.address]) as p:
            code = p.send(BODY)
            check(f'{what} is no answer: 451', code == 451 and not p.messages() and p.send(BODY) == 451, code)

    def flood(s, data):
        for _ in range(1600):
            s.sendall(replace_body(b'x' * 65000))
        return CONTINUE
    with Milter({'E': flood}) as m, world('milter-flood', [m.address]) as p:
        began = time.monotonic()
        code = p.send(BODY)
        check('a new body of 100 MB is refused with 451, in bounded time', code == 451 and time.monotonic() - began < 10 and not p.messages(), code)

    def many(s, data):
        for _ in range(100):
            s.sendall(add_header('X-A', 'b') * 1000)
        return CONTINUE
    with Milter({'E': many}) as m, world('milter-many', [m.address]) as p:
        check('100,000 new fields are refused with 451', p.send(BODY) == 451 and not p.messages())
    with Milter({'E': SILENCE}) as m, world('milter-slow', [m.address + ',timeout=1s']) as p:
        began = time.monotonic()
        code = p.send(BODY)
        check('a milter that says nothing is waited for as long as is set', code == 451 and .8 < time.monotonic() - began < 5, code)

    def drip(s, data):
        for b in CONTINUE[:4]:
            s.sendall(bytes([b]))
            time.sleep(.5)
        return SILENCE
    with Milter({'H': drip}) as m, world('milter-drip', [m.address + ',timeout=1s']) as p:
        began = time.monotonic()
        check('dripping bytes win no time', p.send(BODY) == 451 and time.monotonic() - began < 5)
    with Milter() as m:
        gone = m.address
    for accept in (False, True):
        with world('milter-gone', [gone + (',down=accept' if accept else '')]) as p:
            check('mail goes on without a milter that isn\'t there, by choice' if accept else 'mail is deferred where a milter isn\'t there',
                  p.send(BODY) == (250 if accept else 451))
            check('one line in the log says so', len(re.findall('milter-down', p.log_text())) == 1)


def unix_socket():
    with Milter(unix=True) as m, world('milter-unix', ['test=' + m.address]) as p:
        check('a milter behind a Unix socket outside of the process\'s root is asked', p.send(BODY) == 250 and 'E' in m.commands(), p.log_text()[-600:])


sees_everything()
changes()
refusals()
down()
unix_socket()
finish()
