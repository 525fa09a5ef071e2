#!/usr/bin/env python3
"""A client that says all at once: sessions of many transactions, by DATA and BDAT, of all sizes, with commands that are refused or answered at length between them, in one stream that
is cut anywhere, in the clear and inside TLS. Each command has its reply, in order, and the session comes to its QUIT. PIPELINE_SEED and PIPELINE_SESSIONS try others."""
import os, random, select, socket, ssl, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import SLOW, Porter, Talk, check, finish  # noqa: E402

SEED = int(os.environ.get('PIPELINE_SEED', '7'))
SESSIONS = int(os.environ.get('PIPELINE_SESSIONS', '24'))
SIZES = (0, 10, 1000, 50000, 70000, 200000, 1000000)


def chunks(rng, body):
    pieces = []
    while body:
        n = len(body) if len(pieces) > 30 else min(len(body), rng.choice((1, 100, 65536, len(body))))
        pieces.append(body[:n])
        body = body[n:]
    return b''.join(b'BDAT %d%s\r\n' % (len(x), b' LAST' if i == len(pieces) - 1 else b'') + x for i, x in enumerate(pieces)), [250] * len(pieces)


def content(rng):
    return b'Subject: z\r\n\r\n' + (b'y' * rng.randrange(1, 71) + b'\r\n') * (rng.choice(SIZES) // 50)


def turn(rng):
    """What is said, and the codes of its replies."""
    kind = rng.randrange(10)
    if kind == 0:
        n = rng.choice((1, 300))
        return b'HELP\r\n' * n, [214] * n
    if kind == 1:
        n = rng.choice((1, 10, 700))
        return b'MAIL FROM:<a@outside.test>\r\n' + b'RCPT TO:<nobody@example.test>\r\n' * n + b'RSET\r\n', [250] + [550] * n + [250]
    said, codes = b'MAIL FROM:<a@outside.test>\r\nRCPT TO:<alice@example.test>\r\n', [250, 250]
    if kind < 6:
        return said + b'DATA\r\n' + content(rng) + b'.\r\n', codes + [354, 250]
    more, its = chunks(rng, content(rng))
    return said + more, codes + its


def session(rng):
    turns = [turn(rng) for _ in range(rng.randrange(1, 20))]
    return b'EHLO t\r\n' + b''.join(said for said, _ in turns) + b'QUIT\r\n', [250] + [c for _, codes in turns for c in codes] + [221]


def exchange(rng, s, data, whole):
    """Sends and reads side by side; what came until the end, or until nothing has moved for a while."""
    got, at, piece = b'', 0, 0
    s.setblocking(False)
    moved = time.monotonic()
    while time.monotonic() - moved < 20 * SLOW:
        piece = piece or (65536 if whole else rng.choice((1, 7, 1460, 16384, 65536)))    # one that was not taken is offered again as it was
        idle = True
        try:
            if at < len(data):
                at += s.send(data[at:at + piece])
                piece, idle = 0, False
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        try:
            came = s.recv(65536)
            if not came:
                return got
            got += came
            idle = False
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        if idle:
            select.select([s], [s] if at < len(data) else [], [], 1)
        else:
            moved = time.monotonic()
    return got


def main():
    rng = random.Random(SEED)
    with Porter('pipelines', settings={'max-commands': '1000000', 'max-errors': '100000'}) as porter:
        for i in range(SESSIONS):
            tls, whole = i % 2 == 1, i % 3 == 0
            data, codes = session(rng)
            with Talk(porter) as t:
                if tls:
                    t.say('EHLO t')
                    t.starttls()
                got = exchange(rng, t.socket, data, whole)
            told = [int(line[:3]) for line in got.split(b'\r\n') if line[3:4] == b' ']
            first = next((k for k, (a, b) in enumerate(zip(told, codes)) if a != b), min(len(told), len(codes)))
            check(f'session {i} of {len(codes)} replies{" in TLS" if tls else ""}{"" if whole else ", cut anywhere"}', told == codes,
                  f'seed {SEED}: {len(told)} replies; from {first}: {told[first:first + 3]} for {codes[first:first + 3]}')
            porter.clean()
        check('no process has died', 'child-died' not in porter.log_text())
    finish()


if __name__ == '__main__':
    main()
