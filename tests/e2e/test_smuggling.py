#!/usr/bin/env python3
"""security-kit T1: nothing but CRLF.CRLF ends content. Every form, whole, one byte at a time, by DATA and BDAT, in the clear and inside TLS; the controls cut at every place."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import Porter, Talk, check, finish  # noqa: E402

FORMS = [b'\n.\n', b'\n.\r', b'\r.\n', b'\r.\r', b'\n.\r\n', b'\r.\r\n', b'\r\n.\n', b'\r\n.\r', b'\r\n\x00.\r\n', b'\r\n.\x00\r\n', b'\r\n.\r\r\n',
         b'\r\r\n.\r\r\n']
PLAIN = [b'\r\n. \r\n', b'\r\n.\t\r\n']          # lines of text
SECOND = b'MAIL FROM:<smuggled@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n'
HEAD = b'Subject: first\r\n\r\nfirst text'


def begin(porter, tls=False):
    t = Talk(porter)
    t.say('EHLO t')
    if tls:
        t.starttls()
        t.say('EHLO t')
    t.say('MAIL FROM:<a@outside.test>')
    t.say('RCPT TO:<alice@example.test>')
    return t


def send(t, data, size):
    try:
        for i in range(0, len(data), size):
            t.raw(data[i:i + size])
    except OSError:
        pass


def count(porter):
    return len(porter.messages('alice')), len(porter.messages('bob'))


def by_data(porter, form, tls, size):
    """(code of the first answer, whether the connection ended behind it, how many messages came)"""
    before = count(porter)
    with begin(porter, tls) as t:
        t.say('DATA')
        send(t, HEAD + form + SECOND, size)
        code = t.reply()[0]
        ended = code != 250 and t.reply()[0] == 0      # what was taken is followed by the next command, which nobody says here
    after = count(porter)
    return code, ended, (after[0] - before[0], after[1] - before[1])


def refused(porter):
    for form in FORMS:
        for tls in (False, True):
            for size in (100000, 1):
                got = by_data(porter, form, tls, size)
                check(f'{form!r} {"in TLS" if tls else "plain"} by {"one byte" if size == 1 else "one write"} ends nothing, is refused, and the session closes',
                      got[0] == 550 and got[1] and got[2] == (0, 0), got)


def text(porter):
    for form in PLAIN:
        for size in (100000, 1):
            got = by_data(porter, form, False, size)
            check(f'{form!r} is a line of text, by {size}', got[0] == 250 and got[2] == (1, 0), got)


def newest(porter, before):
    new = {k: v for k, v in porter.messages('alice').items() if k not in before}
    return next(iter(new.values()), b'')


def controls(porter):
    """A line "..", a line ".x", and the true end, cut at every byte over segments and records."""
    content = HEAD + b'\r\n..\r\n.x\r\n...\r\n.\r\nNOOP\r\n'
    wanted = HEAD.replace(b'\r\n', b'\n') + b'\n.\nx\n..\n'
    for tls in (False, True):
        bad = []
        for cut in range(len(HEAD), len(content)):
            before = porter.messages('alice')
            with begin(porter, tls) as t:
                t.say('DATA')
                t.raw(content[:cut])
                t.raw(content[cut:])
                codes = t.reply()[0], t.reply()[0]
            if codes != (250, 250) or not newest(porter, before).endswith(wanted):
                bad.append((cut, codes))
        check(f'dots are unstuffed and the end is found, cut at every byte {"in TLS" if tls else "over TCP"}', not bad, bad)


def chunk(porter, body, cut, tls=False):
    before = porter.messages('alice')
    with begin(porter, tls) as t:
        t.raw(b'BDAT %d\r\n' % cut + body[:cut])
        first = t.reply()[0]
        t.raw(b'BDAT %d LAST\r\n' % (len(body) - cut) + body[cut:])
        second = t.reply()[0]
        t.say('QUIT')
    return first, second, newest(porter, before)


def by_bdat(porter):
    """Whatever it looks like, it is content; bare CR and LF become line ends."""
    for form in [f for f in FORMS if b'\0' not in f] + PLAIN:
        body = HEAD + form + SECOND
        wanted = body.replace(b'\r\n', b'\n').replace(b'\r', b'\n')
        bad = []
        for cut in [0] + list(range(len(HEAD) - 1, len(HEAD) + len(form) + 3)):
            first, second, got = chunk(porter, body, cut)
            if (first, second) != (250, 250) or not got.endswith(b'\n' + wanted):
                bad.append((cut, first, second, got[-80:]))
        check(f'{form!r} by BDAT, cut at every byte, is content with clean line ends', not bad and count(porter)[1] == 0, bad[:2])
    for form in [f for f in FORMS if b'\0' in f]:
        first, second, got = chunk(porter, HEAD + form + SECOND, 5)
        check(f'{form!r} by BDAT is refused', second == 550 and not got and count(porter)[1] == 0, (first, second))


def main():
    with Porter('smuggling') as porter:
        refused(porter)
        text(porter)
        controls(porter)
        by_bdat(porter)
        check('nothing reached whom it was smuggled to', count(porter)[1] == 0)
    finish()


if __name__ == '__main__':
    main()
