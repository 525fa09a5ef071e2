#!/usr/bin/env python3
"""A host that takes so many messages a minute and then says 421, or 450: the rate to its house adapts, everything arrives, and few are refused on the way."""
import json, smtplib, ssl, sys, threading, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import Porter, SLOW, check, finish  # noqa: E402
from sink import Sink  # noqa: E402

ALLOWED, SECONDS, MORE = 20, 10, 4
USER = 'alice@example.test'


class Strict:
    """So many in so many seconds; then its refusal."""

    def __init__(self, refusal, host):
        self.lock, self.times, self.refused, self.refusal = threading.Lock(), [], 0, refusal
        self.sink = Sink(mail=self.mail, host=host)

    def mail(self, _):
        with self.lock:
            now = time.monotonic()
            self.times = [t for t in self.times if t > now - SECONDS]
            if len(self.times) >= ALLOWED:
                self.refused += 1
                return self.refusal
            self.times.append(now)


hops = {'by421': Strict('421 4.7.0 Too many messages, come back later', '127.0.0.31'), 'by450': Strict('450 4.7.1 Rate limit exceeded', '127.0.0.32')}
seen = set()


def greylist(sender):
    """Each sender's first message is told to come again."""
    if sender in seen:
        return None
    seen.add(sender)
    return '450 4.7.1 Greylisted, try again later'


grey = Sink(mail=greylist, host='127.0.0.33')
routes = [f'{name}.test [127.0.0.3{i + 1}]:{h.sink.port}' for i, (name, h) in enumerate(hops.items())] + [f'grey.test [127.0.0.33]:{grey.port}']


def houses(x):
    """Rate by house, of whatever holds them."""
    if isinstance(x, list):
        x = dict(enumerate(x))
    if not isinstance(x, dict):
        return {}
    found = {x['house']: x['rate']} if 'house' in x else {}
    for v in x.values():
        found |= houses(v)
    return found


def send(p, name, count):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP('127.0.0.1', p.submission, timeout=60 * SLOW, local_hostname='client.test') as s:
        s.starttls(context=context)
        s.login('alice@example.test', 'porter-demo')
        for i in range(count):
            s.sendmail('alice@example.test', [f'x@{name}.test'], b'Subject: x\r\n\r\nhello\r\n')


with Porter('rate', settings={'evidence': 'no', 'hop-rate': '1200', 'queue-retry-first': '1s', 'queue-retry-most': '2s', 'hop-tls': 'none'}, maps={'routes': '\n'.join(routes)}) as p:
    send(p, 'grey', 2)
    check('greylisting is waited for', p.wait(lambda: len(grey.messages) == 2), len(grey.messages))
    check('and slows nobody down', houses(p.status()).get('127.0.0.33', 1200) == 1200, houses(p.status()))
    for name in hops:
        send(p, name, ALLOWED + MORE)
    for i, (name, h) in enumerate(hops.items()):
        check(f'{name}: a host that says so has its rate shrunk', p.wait(lambda: houses(p.status()).get(f'127.0.0.3{i + 1}', 1200) < 60), houses(p.status()))
        check(f'{name}: everything arrives', p.wait(lambda: len(h.sink.messages) == ALLOWED + MORE, 150), len(h.sink.messages))
        check(f'{name}: and few were refused on the way', h.refused <= 2 * MORE, h.refused)
    rate = houses(p.status())
    check('the rates are told', all(1 <= rate[f'127.0.0.3{i + 1}'] < 60 for i in range(2)), rate)
finish()
