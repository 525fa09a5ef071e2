#!/usr/bin/env python3
"""What is mended in submitted mail (RFC 6409, 8), and security-kit T2: whatever line ends a login sends, no bare CR or LF leaves, each line-initial dot is doubled, and the next command of a
content is only ever its own login's."""
import re, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import Porter, Talk, check, finish  # noqa: E402
from sink import Sink  # noqa: E402

USER = 'alice@example.test'
FORMS = [b'\n.\n', b'\n.\r', b'\r.\n', b'\r.\r', b'\n.\r\n', b'\r.\r\n', b'\r\n.\n', b'\r\n.\r', b'\r\n\x00.\r\n', b'\r\n.\x00\r\n', b'\r\n.\r\r\n', b'\r\r\n.\r\r\n', b'\r\n. \r\n', b'\r\n.\t\r\n']
SECOND = b'MAIL FROM:<smuggled@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n'
hop = Sink()


def login(p):
    t = Talk(p, p.submission)
    t.login(USER)
    return t


def give(t, raw, to='ann@far.test'):
    """raw with its end; the code of the answer."""
    codes = [t.code(f'MAIL FROM:<{USER}>'), t.code(f'RCPT TO:<{to}>'), t.code('DATA')]
    if codes != [250, 250, 354]:
        return codes
    t.raw(raw)
    return t.reply()[0]


def arrived(p, mark):
    return p.wait(lambda: next((m for m in hop.messages if b'Subject: ' + mark + b'\r\n' in m.content), None))


def fields(content):
    """[(name, value)] of a header section."""
    head = re.sub(rb'\r\n[ \t]+', b' ', content.split(b'\r\n\r\n', 1)[0])
    return [tuple(l.split(b':', 1)) for l in head.split(b'\r\n') if b':' in l]


def names(content):
    return [n.lower() for n, _ in fields(content)]


def fixups(p):
    with login(p) as t:
        check('a message without Date and Message-ID is taken', give(t, b'From: alice@example.test\r\nTo: ann@far.test\r\nBcc: secret@far.test,\r\n hidden@far.test\r\nSubject: bare\r\n\r\nx\r\n.\r\n') == 250)
        m = arrived(p, b'bare')
        got = dict((n.lower(), v.strip()) for n, v in fields(m.content)) if m else {}
        check('it leaves with both', re.fullmatch(rb'<\S+@mx\.example\.test>', got.get(b'message-id', b'')) and re.match(rb'\w{3}, \d+ \w{3} \d{4} ', got.get(b'date', b'')), got)
        check('behind what its author wrote, and without Bcc', m and names(m.content)[-2:] == [b'date', b'message-id'] and b'bcc' not in names(m.content) and b'secret@' not in m.content and b'hidden@' not in m.content,
              m and m.content)
        whole = b'From: alice@example.test\r\nDate: Thu, 26 Nov 2026 01:00:00 +0000\r\nMessage-ID: <own@example.test>\r\nSubject: whole\r\n\r\nBcc: text\r\n'
        check('one that has them', give(t, whole + b'.\r\n') == 250)
        m = arrived(p, b'whole')
        check('leaves as it came', m and m.content.endswith(whole), m and m.content)
        large = b'From: alice@example.test\r\nBcc: secret@far.test\r\nSubject: large\r\n\r\n' + (b'0123456789' * 7 + b'\r\n') * 3000
        check('a large one is mended, too', give(t, large + b'.\r\n') == 250)
        m = arrived(p, b'large')
        check('and nothing of its body is lost', m and b'secret@' not in m.content and {b'date', b'message-id'} <= set(names(m.content)) and m.content.endswith(large.split(b'\r\n\r\n', 1)[1]), m and m.content[:600])
        check('also in a mailbox of ours', give(t, b'Bcc: secret@far.test\r\nSubject: here\r\n\r\nx\r\n.\r\n', 'bob@example.test') == 250)
        here = [m for m in p.messages('bob').values() if b'Subject: here\n' in m]
        check('it has both, and no Bcc', len(here) == 1 and b'\nDate: ' in here[0] and b'\nMessage-ID: <' in here[0] and b'secret@' not in here[0], here)
    check('a stranger\'s message on the MX port is not touched', p.send(b'Bcc: bob@example.test\r\nSubject: strange\r\n\r\nx\r\n') == 250)
    strange = [m for m in p.messages('alice').values() if b'Subject: strange\n' in m]
    check('it has what it came with', len(strange) == 1 and b'\nBcc: bob' in strange[0] and b'\nMessage-ID:' not in strange[0], strange)


def line_ends(p):
    with login(p) as t:
        check('lines of LF alone, and their end', give(t, b'Subject: unix\nX-A: b\n\nline\n..dot\n.\n') == 250)
        m = arrived(p, b'unix')
        check('leave as CRLF', m and m.content.endswith(b'line\r\n.dot\r\n') and not re.search(rb'[^\r]\n|\r[^\n]', m.content), m and m.content)
        for cut in range(1, 14):
            raw = b'Subject: c%d\n\nx\n.\n' % cut
            [t.code(f'MAIL FROM:<{USER}>'), t.code('RCPT TO:<bob@example.test>'), t.code('DATA')]
            t.raw(raw[:-cut])
            t.raw(raw[-cut:])
            if not check(f'cut {cut} bytes before the end', t.reply()[0] == 250):
                break
    with p.talk() as t:
        t.say('EHLO x'), t.say('MAIL FROM:<a@outside.test>'), t.say('RCPT TO:<alice@example.test>'), t.say('DATA')
        t.raw(b'Subject: x\n\nx\n.\n\r\n.\r\n')
        check('a stranger\'s LF is refused as ever', t.reply()[0] == 550)


def outbound(p):
    """T2."""
    for i, form in enumerate(FORMS):
        for size in (100000, 1):
            mark, before = b'form %d %d' % (i, size), len(hop.messages)
            with login(p) as t:
                t.code(f'MAIL FROM:<{USER}>'), t.code('RCPT TO:<ann@far.test>'), t.code('DATA')
                data = b'Subject: ' + mark + b'\r\n\r\n.. first' + form + SECOND
                try:
                    for k in range(0, len(data), size):
                        t.raw(data[k:k + size])
                except OSError:
                    pass
                code = t.reply()[0]
                rest = [t.reply()[0] for _ in range(2)] if code == 250 and form not in (b'\r\n. \r\n', b'\r\n.\t\r\n') else []
            good = code == 550 or (code == 250 and (not rest or rest[0] == 550))
            check(f'T2 {form!r} by {size}: refused, or its end, and then nobody else\'s commands', good, (code, rest))
            if code == 250:
                arrived(p, mark)
    check('nothing was smuggled', not any(b'Subject: smuggled' in m for m in p.messages('bob').values()))
    wire = b''.join(hop.wire)
    check('no bare CR or LF was on the wire', not re.search(rb'[^\r]\n|\r[^\n]', wire) and wire.endswith(b'\r\n'))
    check('each dot at the beginning of a line was doubled', all(l.startswith(b'..') or l == b'.\r\n' for l in hop.wire if l.startswith(b'.')), [l for l in hop.wire if l.startswith(b'.')][:5])


with Porter('submission-fixups', settings={'evidence': 'no'}, maps={'routes': f'far.test [127.0.0.1]:{hop.port}\n'}) as p:
    fixups(p)
    line_ends(p)
    outbound(p)
finish()
