#!/usr/bin/env python3
"""Content of every size comes through byte by byte, by DATA and by BDAT, in the clear and inside TLS; and what doesn't come through leaves nothing."""
import collections, functools, os, random, re, socket, sys, threading, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import PATIENCE, SLOW, Porter, Talk, check, finish, may_look  # noqa: E402
from sink import Sink  # noqa: E402

SIZES = [0, 1, 500, 40000, 48 << 10, (48 << 10) + 1, 60000, 64 << 10, 100000, 262144, 300000, 1 << 20, 5 << 20]


@functools.lru_cache
def make(size, seed=1):
    rng = random.Random(seed)
    lines = [b'Subject: size %d' % size, b'']
    n = 0
    while n < size:
        line = bytes(rng.choice(b'abc .\xc3\xa4') for _ in range(rng.randrange(0, 100)))
        lines.append(line)
        n += len(line) + 2
    return b'\r\n'.join(lines) + b'\r\n'

hop = Sink(rcpt=lambda address: '550 5.1.1 Who?' if address.startswith('porter-') else None)


def begin(porter, to=('alice@example.test',), tls=False):
    t = Talk(porter)
    t.say('EHLO t')
    if tls:
        t.starttls()
        t.say('EHLO t')
    t.say('MAIL FROM:<a@outside.test> BODY=8BITMIME')
    for r in to:
        t.say(f'RCPT TO:<{r}>')
    return t


def by_data(t, content):
    t.say('DATA')
    t.raw(re.sub(rb'(?m)^\.', b'..', content) + b'.\r\n')
    return t.reply()[0]


def by_bdat(t, content, chunk):
    pieces = [content[i:i + chunk] for i in range(0, len(content), chunk)]
    for i, p in enumerate(pieces):
        t.raw(b'BDAT %d%s\r\n' % (len(p), b' LAST' if i == len(pieces) - 1 else b'') + p)
        code = t.reply()[0]
        if code != 250:
            return code
    return code


def newest(porter, before, user='alice'):
    new = [v for k, v in porter.messages(user).items() if k not in before]
    return new[0] if len(new) == 1 else b'%d new' % len(new)


def own_fields(got):
    """What stands in front of the client's own bytes, and those."""
    m = re.match(rb'Return-Path: <a@outside\.test>\nReceived: from t \(\[127\.0\.0\.1\]\)\n\tby mx\.example\.test \(Porter\) with ESMTPS? id \w+'
                 rb'(\n\t\(using TLS.*\))?(\n\tfor <.*>)?;\n\t\w+, \d+ \w+ \d+ \d\d:\d\d:\d\d [+-]\d{4}( *\n\t\( *\))* *\n', got)
    return (m[0], got[m.end():]) if m else (b'', got)


def sizes(porter, how, tls=False):
    bad = []
    for size in SIZES:
        content = make(size, size)
        before = porter.messages()
        with begin(porter, tls=tls) as t:
            code = how(t, content)
        got = own_fields(newest(porter, before))
        if code != 250 or not got[0] or got[1] != content.replace(b'\r\n', b'\n'):
            bad.append((size, code, got[0][:200], got[1][:100]))
    return bad


def lone_pieces(porter):
    """A header section, and nothing else; a body alone; nothing at all."""
    for name, content in (('a header section alone', b'Subject: x\r\n'), ('an empty header section', b'\r\nbody\r\n'), ('nothing', b''),
                          ('only an empty line', b'\r\n')):
        before = porter.messages()
        with begin(porter) as t:
            code = by_data(t, content)
        got = own_fields(newest(porter, before))
        check(f'{name} comes through as it is', code == 250 and got[1] == content.replace(b'\r\n', b'\n'), (code, got))


def many(porter):
    content = make(300000)
    before = [porter.messages(u) for u in ('alice', 'bob')]
    with begin(porter, ('alice@example.test', 'bob@example.test')) as t:
        code = by_data(t, content)
    got = [own_fields(newest(porter, b, u))[1] for b, u in zip(before, ('alice', 'bob'))]
    check('a large message comes to two recipients', code == 250 and got[0] == got[1] == content.replace(b'\r\n', b'\n'), code)


def headers(porter):
    with begin(porter) as t:
        t.say('DATA')
        t.raw(b'X: y\r\n' * 200000 + b'\r\nx\r\n.\r\n')
        check('a header section past its limit is refused, and the session goes on', t.reply()[0] == 552 and t.code('NOOP') == 250)
    with begin(porter) as t:
        t.say('DATA')
        t.raw(b'X: y' + b'\r\n y' * 300000 + b'\r\n\r\nx\r\n.\r\n')
        check('so is one field that is folded without end', t.reply()[0] == 552)
    for end in (b'\r\nx\r\n.\r\n', b'.\r\n'):
        with begin(porter) as t:
            t.say('DATA')
            t.raw(b'X: y\r\n' * 10001 + end)
            check('and one of more than ten thousand fields, with a body or without', t.reply()[0] == 552 and t.code('NOOP') == 250)
    before = porter.messages()
    content = (b'X: ' + b'y' * 95 + b'\r\n') * 9990 + b'\r\nx\r\n'
    with begin(porter) as t:
        code = by_data(t, content)
    got = own_fields(newest(porter, before))
    check('one just below it is taken', code == 250 and got[1] == content.replace(b'\r\n', b'\n'), (code, got[0], len(got[1])))


def counts(porter):
    return may_look() and sum(len(os.listdir(f'/proc/{p}/fd')) for pids in porter.roles().values() for p in pids)


def go_away(porter):
    for size in (100, 100000, 600000):
        for k in range(5):
            with begin(porter) as t:
                t.say('DATA')
                t.raw(re.sub(rb'(?m)^\.', b'..', make(size)))
                if k % 2:
                    t.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        with begin(porter) as t:
            t.raw(b'BDAT %d\r\n' % (2 * size) + make(size))


def settled(porter):
    """How many descriptors there are when that number has stood for a while."""
    now, since, end = counts(porter), time.monotonic(), time.monotonic() + PATIENCE * SLOW
    while time.monotonic() - since < 1 and time.monotonic() < end:
        time.sleep(.1)
        was, now = now, counts(porter)
        since = since if was == now else time.monotonic()
    return now


def aborted(porter):
    """Clients that go away in the middle leave neither files nor descriptors."""
    go_away(porter)         # once before it is counted: what a process opens when it first does something stays open
    before, fds = porter.messages(), settled(porter)
    go_away(porter)
    gone = porter.wait(lambda: counts(porter) <= fds + 2)      # the other process may have done something for the first time
    check('clients that go away in the middle of content leave no message', porter.messages() == before)
    if may_look():
        check('and no descriptor', gone, (fds, counts(porter)))
    check('and no file in tmp/', porter.wait(lambda: not list(porter.mail.glob('*/*/tmp/*'))), list(porter.mail.glob('*/*/tmp/*')))


def half_closed(porter):
    with porter.connect() as s:
        s.recv(500)
        s.sendall(b'EHLO x\r\nMAIL FROM:<a@outside.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n')
        s.shutdown(socket.SHUT_WR)
        got = b''
        while True:
            piece = s.recv(4096)
            if not piece:
                break
            got += piece
    check('a client that has shut down its side hears all replies', got.rstrip().split(b'\r\n')[-1].startswith(b'221') and b'250 2.0.0 Ok, taken' in got, got[-200:])


def trace(porter, name, parameter, wanted):
    porter.clean()
    with Talk(porter) as t:
        for line in (b'EHLO ' + name, 'MAIL FROM:<a@outside.test>' + parameter, 'RCPT TO:<alice@example.test>', 'DATA', 'Subject: x\r\n\r\nx\r\n.'):
            code = t.code(line)
    got = next(iter(porter.messages().values()), b'')
    return code == 250 and b'\nReceived: from ' + wanted + b' ([127.0.0.1])' in got, (code, got[:200])


def pipelined(porter, tls, late):
    """However many commands lie in one piece of input, each gets its reply, also where the replies fill more than one buffer."""
    with begin(porter, to=(), tls=tls) as t:
        n = 2000
        if late:        # who sends without reading is not waited for with memory, and loses nothing
            n = 20000
            sender = threading.Thread(target=t.raw, args=(b'RCPT TO:<nobody@example.test>\r\n' * n + b'QUIT\r\n',))
            sender.start()
            time.sleep(.5)
        else:
            t.raw(b'RCPT TO:<nobody@example.test>\r\n' * n + b'QUIT\r\n')
        codes = collections.Counter()
        while sum(codes.values()) <= n and not codes[0]:
            codes[t.reply()[0]] += 1
        if late:
            sender.join(PATIENCE * SLOW)
        return codes == {550: n, 221: 1}, codes


def slow(porter):
    with begin(porter) as t:
        t.say('DATA')
        for b in b'Subject: slow\r\n\r\nx\r\n.\r\n':
            t.raw(bytes([b]))
        check('one byte at a time is a message, too', t.reply()[0] == 250)


def headless(porter):
    """What has no fields is no field of ours, either: all of it is body."""
    sinks, texts = ('alice@example.test', 'x@hop.test'), {
        'a line': b'hello\r\n', 'lines': b'hello world\r\nSubject: no\r\n\r\nmore\r\n', 'a blank': b' x\r\ny: z\r\n', 'a colon': b': x\r\n', 'many lines': b'hello\r\n' * 9000,
        'one long line': b'h' * 100000 + b'\r\n', 'a long line, then more': b'h ' * 50000 + b'\r\nX: y\r\n\r\n' + b'more\r\n' * 30000}
    for to in sinks:
        for name, text in texts.items():
            for way in (by_data, lambda t, c: by_bdat(t, c, 1000)):
                porter.clean()
                hop.messages.clear()
                with begin(porter, [to]) as t:
                    code = way(t, text)
                got = next(iter(porter.messages().values()), b'').replace(b'\n', b'\r\n') if to == sinks[0] else hop.messages[-1].content if hop.messages else b''
                head, _, body = got.partition(b'\r\n\r\n')
                check(f'{name} without a field, to {to}, is body', code == 250 and body == text and b'Received: ' in head and b'hello' not in head.split(b'Received: ')[-1], (code, head[-300:], body[:100], len(body)))
    porter.clean()
    with begin(porter) as t:
        by_data(t, b'From someone Thu Nov 26 10:00:00 2026\r\nSubject: kept\r\n\r\nhello\r\n')
    got = next(iter(porter.messages().values()), b'')
    check('the line of an mbox in front of fields ends nothing', b'\nSubject: kept\n\nhello\n' in got and got.index(b'\n\n') > got.index(b'Subject: kept'), got)
    porter.clean()


def refused_often():
    """All in one session: whatever is kept for a reply is kept for that one alone."""
    with Porter('content-often', settings={'size-limit': '1k', 'max-commands': '1000000', 'max-errors': '100000'}) as porter, porter.talk() as t:
        t.say('EHLO t')
        replies = collections.Counter()
        for _ in range(30):
            t.raw((b'MAIL FROM:<a@outside.test>\r\nRCPT TO:<alice@example.test>\r\nBDAT 2000 LAST\r\n' + b'x' * 2000) * 100)
            for _ in range(100):
                t.reply(), t.reply()
                replies[str(t.reply())] += 1
        check('the three thousandth refusal in a session says what the first says', len(replies) == 1 and 'larger than what is taken' in next(iter(replies)), replies)


def main():
    with Porter('content', settings={'size-limit': '20M'}, maps={'domains': f'hop.test relay [127.0.0.1]:{hop.port} recipients=ask'}) as porter:
        bad = None
        check('every size by DATA comes through byte by byte', not (bad := sizes(porter, by_data)), bad)
        check('every size by DATA in TLS', not (bad := sizes(porter, by_data, True)), bad)
        check('every size by BDAT in one chunk', not (bad := sizes(porter, lambda t, c: by_bdat(t, c, len(c) or 1))), bad)
        check('every size by BDAT in chunks of 70000', not (bad := sizes(porter, lambda t, c: by_bdat(t, c, 70000))), bad)
        lone_pieces(porter)
        many(porter)
        headers(porter)
        headless(porter)
        half_closed(porter)
        for name, parameter, wanted in ((b'\xff\xfe', '', b'??'), ('büro'.encode(), '', b'b??ro'), ('büro'.encode(), ' SMTPUTF8', 'büro'.encode()), (b'b\xfcro', ' SMTPUTF8', b'b?ro')):
            good, got = trace(porter, name, parameter, wanted)
            check(f'the name {name!r}{parameter} stands in Received as {wanted!r}', good, got)
        for tls in (False, True):
            good, codes = pipelined(porter, tls, False)
            check(f'two thousand commands in one write are two thousand replies{" in TLS" if tls else ""}', good, codes)
        good, codes = pipelined(porter, False, True)
        check('twenty thousand from a client that reads late, too', good, codes)
        slow(porter)
        aborted(porter)
        refused_often()
        check('no process has died', 'child-died' not in porter.log_text())
    finish()


if __name__ == '__main__':
    main()
