#!/usr/bin/env python3
"""Domains whose mail hosts are one house share its window and its pace; others don't wait for them."""
import sys, threading, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from dns import Dns  # noqa: E402
from porter import Porter, Talk, check, finish, free_port  # noqa: E402
from sink import Sink  # noqa: E402

DOMAINS, WINDOW = 30, 4


class Slow:
    """Counts how many messages are at their dot at once; holds each until `open`."""

    def __init__(self, host, port):
        self.lock, self.now, self.most, self.open = threading.Lock(), 0, 0, threading.Event()
        self.sink = Sink(dot=self.dot, host=host, port=port)

    def dot(self, _):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.open.wait(100)
        with self.lock:
            self.now -= 1


def login(p):
    t = Talk(p, p.submission)
    t.login()
    return t


def send(t, domain, mark):
    return t.deliver(f'Subject: {mark}\r\n\r\nx\r\n'.encode(), [f'x@{domain}'], 'alice@example.test', ehlo=None)


port = free_port()
slow, quick = Slow('127.0.4.1', port), Sink(host='127.0.4.2', port=port)
zone = {f'd{i}.test': {'MX': [f'10 d{i}-test.mail.big.example']} for i in range(DOMAINS)} | {f'd{i}-test.mail.big.example': {'A': ['127.0.4.1']} for i in range(DOMAINS)}
zone |= {'other.test': {'MX': ['10 mx.other.example']}, 'mx.other.example': {'A': ['127.0.4.2']}}
with Dns(zone) as dns, Porter('houses', start=False, settings={'evidence': 'no', 'hop-port': port, 'hop-concurrency': WINDOW, 'hop-tls': 'none', 'mta-sts': 'no', 'dns-resolvers': dns.resolver}) as p:
    p.start()
    slow.open.set()
    with login(p) as t:
        codes = {send(t, f'd{i}.test', 'first') for i in range(DOMAINS)}
        check('a first message for each domain is taken', codes == {250}, codes)
        check('and arrives: whose house it is is learnt by it', p.wait(lambda: len(slow.sink.messages) == DOMAINS), len(slow.sink.messages))
        check('and is told', p.wait(lambda: '\n0 messages' in p.ctl('queue', 'list').stdout), p.ctl('queue', 'list').stdout)
        slow.open.clear()
        slow.most = 0
        for i in range(DOMAINS):
            send(t, f'd{i}.test', 'second')
        check('then they fill the window of their house', p.wait(lambda: slow.now == WINDOW), slow.now)
        code = send(t, 'other.test', 'other')
        check('mail for another house goes on beside them', code == 250 and p.wait(lambda: len(quick.messages) == 1), quick.messages)
        time.sleep(.5)
        check(f'which have never more than {WINDOW} under way, though they are {DOMAINS} destinations', slow.most == WINDOW, slow.most)
        slow.open.set()
        check('all of them arrive', p.wait(lambda: len([m for m in slow.sink.messages if b'second' in m.content]) == DOMAINS), len(slow.sink.messages))
        check('and the window held', slow.most == WINDOW, slow.most)
    p.stop()
    p.set({'hop-concurrency': None, 'hop-rate': 120})
    p.start()
    with login(p) as t:
        send(t, 'd0.test', 'learn')
        p.wait(lambda: len([m for m in slow.sink.messages if b'learn' in m.content]) == 1)
        began = time.monotonic()
        for i in range(4):
            send(t, 'd0.test', 'paced')
        check('with hop-rate they arrive', p.wait(lambda: len([m for m in slow.sink.messages if b'paced' in m.content]) == 4))
        check('and no faster than that', time.monotonic() - began > 1.4, time.monotonic() - began)
finish()
