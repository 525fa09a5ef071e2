#!/usr/bin/env python3
"""tests/long/fairness.py [MESSAGES]: one user's flood of MESSAGES (100,000) waits for a slow hop; a message of somebody else, to the same hop and to another, doesn't wait behind it: it is there
before a hundred of the flood's, and in the long form within two seconds."""
import re, sys, threading, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import SLOW, Porter, Talk, check, finish  # noqa: E402
from sink import Sink  # noqa: E402

USER, PASSWORD, SESSIONS, IN_SESSION, LONG = 'alice@example.test', 'porter-demo', 32, 200, 100000
HOP_S = .3              # what the hop takes for one message; twenty at once. It answers nothing while the flood is put in


class Hop:
    """Counts what comes of the flood, and when each other message came."""

    def __init__(self, seconds):
        self.lock, self.seconds, self.flood, self.others, self.open = threading.Lock(), seconds, 0, {}, threading.Event()
        self.sink = Sink(dot=self.on_dot)

    def on_dot(self, m):
        self.open.wait()
        with self.lock:
            if m.sender == USER:
                self.others[re.search(rb'^Message-ID: <(\S+?)>', m.content, re.M)[1].decode()] = (time.monotonic(), self.flood)
                return None
            self.flood += 1
            self.sink.messages.clear()
            self.sink.messages.append(m)
        time.sleep(self.seconds)


def send_flood(p, first, count, failed):
    """Pipelined, since it is the queue that is looked at."""
    at = first
    while at < first + count:
        n = min(IN_SESSION, first + count - at)
        with p.connect() as s, s.makefile('rb') as f:
            f.readline()
            s.sendall(b'EHLO client.test\r\n')
            while f.readline()[3:4] == b'-':
                pass
            for i in range(at, at + n):
                s.sendall(b'MAIL FROM:<flood@flood.test>\r\nRCPT TO:<u%d@far.test>\r\nDATA\r\n' % i)
                codes = [f.readline()[:3] for _ in range(3)]
                s.sendall(b'Subject: flood %d\r\n\r\nx\r\n.\r\n' % i)
                if codes != [b'250', b'250', b'354'] or f.readline()[:3] != b'250':
                    failed.append((i, codes))
                    return
            s.sendall(b'QUIT\r\n')
        at += n


def flood(p, messages):
    failed, each = [], -(-messages // SESSIONS)
    threads = [threading.Thread(target=send_flood, args=(p, i * each, min(each, messages - i * each), failed), daemon=True) for i in range(SESSIONS)]
    began = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(f'one user sends {messages} messages', not failed, failed[:3])
    return time.monotonic() - began


def submit(p, hop, ident, to):
    with Talk(p, p.submission) as t:
        t.login(USER, PASSWORD)
        code = t.deliver(f'Message-ID: <{ident}>\r\nSubject: one\r\n\r\nx\r\n'.encode(), [to], USER, ehlo=None)
        return code, time.monotonic(), hop.flood


def one(p, hop, ident, to, what, messages):
    code, said, before = submit(p, hop, ident, to)
    check(f'a message of another user to {what} is taken', code == 250, code)
    there = p.wait(lambda: hop.others.get(ident), 60)
    if not check(f'and is there behind {messages} queued ones', there, hop.flood):
        return
    delay, overtaken = there[0] - said, there[1] - before
    print(f'row fairness: {messages} queued, to {what}: {delay * 1000:.0f} ms after its 250, {overtaken} of the flood between')
    check(f'before a hundred of them, to {what}', overtaken < 100, overtaken)
    if messages >= LONG:
        check(f'within two seconds, to {what}', delay < 2 * SLOW, delay)


def main(messages):
    slow, quick = Hop(HOP_S), Hop(0)
    with Porter('fairness', settings={'evidence': 'no', 'queue-retry-first': '1s'},
                maps={'clients': '127.0.0.1 flood.test\n', 'routes': f'far.test [127.0.0.1]:{slow.sink.port}\nother.test [127.0.0.1]:{quick.sink.port}\n'}) as p:
        seconds = flood(p, messages)
        left = sum(1 for _ in p.spool.glob('queue/*/*'))
        print(f'row flood: {messages} in {seconds:.1f} s, {left} of them wait')
        check('all of them wait', left == messages, (left, slow.flood))
        slow.open.set(), quick.open.set()
        one(p, slow, 'same@example.test', 'ann@far.test', 'the same hop', messages)
        one(p, quick, 'other@example.test', 'ann@other.test', 'another hop', messages)
        p.kill()
    finish()


if __name__ == '__main__':
    main(int(sys.argv[1]) if len(sys.argv) > 1 else LONG)
