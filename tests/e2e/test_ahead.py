#!/usr/bin/env python3
"""Clients that don't wait: while an answer is slow (SPF, PTR, filters, policy services, a next hop, the ledger, blind mode) they pipeline whatever comes, begin anew, leave, half-close or
send junk. By chance, from a seed (argv[1], else one of its own, which is printed); what holds for all: no process dies, each command has one reply, what had 250 is somewhere."""
import random, re, socket, sys, threading, time
from dns import Dns
from milter import CONTINUE, LATER, Milter
from porter import PATIENCE, SLOW, Porter, check, finish
from sink import Sink

SEED = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(10**6)
SECONDS, CLIENTS = 8, 12
ZONE = {'*.slow.test': 'SLOW', '*.drop.test': 'DROP', 'good.test': {'TXT': ['v=spf1 ip4:127.0.0.0/8 -all']}, 'fail.test': {'TXT': ['v=spf1 -all']}, '*.in-addr.arpa': 'SLOW'}
RECIPIENTS = ['alice@example.test', 'bob@example.test', 'full@example.test', 'quota@example.test', 'u@relay.test', 'no@relay.test', 'fwd@example.test']
over, found, lock = threading.Event(), [], threading.Lock()
promised = []                     # (token, recipient)


def slowly(reply):
    def hook(argument):
        if isinstance(argument, str) and argument.startswith(('no', 'porter-')):
            return '550 5.1.1 Who?'
        return 'wait', random.random() * .05, reply if random.random() < .9 else '451 4.0.0 Later'
    return hook


def filter_says(s, data):
    time.sleep(random.random() * .03)
    return [LATER if random.random() < .02 else CONTINUE]


class Client:
    """One session: items of a script are (bytes, what they are); each has one reply, DATA its content and another one behind a 354."""

    def __init__(self, p, r):
        self.r, self.blind = r, r.random() < .5         # those of one network guess, and are blinded
        self.socket = p.connect(source=f'127.0.{40 if self.blind else 41}.{r.randrange(1, 3 if self.blind else 100)}')
        self.file, self.said = self.socket.makefile('rb'), []

    def reply(self):
        """Its code; 0 at the end."""
        line = self.file.readline()
        while line[3:4] == b'-':
            line = self.file.readline()
        self.said.append(line[:40])
        return int(line[:3] or 0)

    def send(self, data):
        while data:
            n = self.r.choice([len(data), len(data), 20, 500])
            self.socket.sendall(data[:n])
            data = data[n:]

    def transaction(self):
        r, token = self.r, f't{self.r.getrandbits(64):x}'
        sender = r.choice([f'a@n{r.randrange(10**6)}.slow.test', f'a@n{r.randrange(10**6)}.slow.test', f'a@n{r.randrange(10**6)}.drop.test', 'a@good.test', 'a@fail.test', ''])
        items = [('line', f'MAIL FROM:<{sender}>')]
        items += [('line', 'RCPT TO:<%s>' % (f'ghost{r.randrange(999)}@example.test' if self.blind and r.random() < .8 else r.choice(RECIPIENTS))) for _ in range(r.choice([1, 1, 2, 3]))]
        body = f'Subject: {token}\r\nMessage-ID: <{token}@x.test>\r\nFrom: a@good.test\r\n\r\n' + ('x' * 70 + '\r\n') * r.choice([1, 5, 1200])
        if r.random() < .5:
            items.append(('data', token, body))
        else:
            cut = r.randrange(len(body))
            items += [('bdat', '', body[:cut]), ('bdat', token, body[cut:])]
        for _ in range(r.choice([0, 0, 1, 2])):
            items.insert(r.randrange(len(items) + 1), ('line', r.choice(['RSET', 'EHLO again.test', 'NOOP', 'JUNK', 'MAIL FROM:<a@good.test>', 'RCPT TO:<alice@example.test>'])))
        return items

    @staticmethod
    def wire(item):
        if item[0] == 'line':
            return item[1].encode() + b'\r\n'
        if item[0] == 'data':
            return b'DATA\r\n' + item[2].encode() + b'.\r\n'
        return b'BDAT %d%s\r\n' % (len(item[2]), b' LAST' if item[1] else b'') + item[2].encode()

    def account(self, items):
        """False: the session is over."""
        taken = []
        for item in items:
            code = self.reply()
            if code == 354:
                code = self.reply()
            elif item[0] == 'data':            # its content was commands, then
                for _ in range(item[2].count('\n') + 1):
                    if self.reply() in (0, 421):
                        return False
                continue
            if code in (0, 421):
                return False
            if item[0] == 'line' and code == 250:
                taken = taken + [re.search('<(.*)>', item[1])[1]] if item[1].startswith('RCPT') else taken if item[1] == 'NOOP' else []
            elif item[0] != 'line' and item[1]:
                with lock:
                    promised.extend((item[1], rcpt) for rcpt in taken if code == 250)
                taken = []
        return True

    def run(self):
        if self.reply() != 220:
            return
        r = self.r
        items = [('line', f'EHLO c{r.randrange(10**6)}.slow.test')] + self.transaction() + self.transaction()
        items = items[:r.randrange(2, len(items) + 1)]
        how = r.choice(['wait', 'wait', 'wait', 'half', 'leave', 'junk'])
        self.said.append([i[1] for i in items] + [how])
        self.send(b''.join(self.wire(i) for i in items) + (b'QUIT\r\n' if how == 'wait' else b''))
        if how == 'half':
            self.socket.shutdown(socket.SHUT_WR)
        if how == 'junk':
            self.send(r.randbytes(3000) + b'y' * 250000)
        if how in ('leave', 'junk'):
            time.sleep(r.choice([0, .01, .05]))
        elif self.account(items):
            last = [self.reply(), self.reply()] if how == 'wait' else [221, self.reply()]
            if last != [221, 0]:
                with lock:
                    found.append((last, self.said))


def go_on(p, number):
    r = random.Random(SEED * 100 + number)
    while not over.is_set():
        try:
            c = Client(p, r)
        except OSError:
            continue
        try:
            c.run()
        except TimeoutError:
            found.append(('no answer', c.said))
        except ValueError as e:
            found.append((repr(e), c.said))
        except OSError:
            pass                    # it has closed before all was written
        c.file.close(), c.socket.close()


def is_somewhere(p, token, where):
    return any(token.encode() in m for u in ('alice', 'bob', 'quota') for m in p.messages(u).values()) if where.endswith('@example.test') and not where.startswith('fwd') else \
        any(token.encode() in m.content for m in hop.messages)


hop, filters = Sink(rcpt=slowly('250 2.1.5 ok'), dot=slowly('250 2.0.0 ok')), Milter({c: filter_says for c in 'CHMRTE'})
with Dns(ZONE) as d, Porter('ahead', settings={
        'limit-exempt': '10.0.0.0/8', 'greet-delay': '5', 'evidence': 'yes', 'spf-helo': 'yes', 'dns-resolvers': d.resolver, 'dns-timeout': '1', 'score-no-name': '1', 'score-tag': '9', 'dnsbl-zones': 'x.slow.test*1',
        'milters': f'one={filters.address}', 'harvest-slow': '3', 'harvest-blind': '5', 'harvest-good': '100000', 'harvest-refuse': '1000000', 'rate-client': '0', 'rate-network': '0', 'rate-reverse-path': '0',
        'max-errors': '1000', 'max-sessions-address': '1000', 'max-sessions-network': '1000', 'smtpd-processes': '1'}, maps={
        'domains': f'relay.test relay [127.0.0.1]:{hop.port} recipients=ask', 'aliases': 'fwd@example.test u@relay.test', 'recipients': 'full@example.test quota=50\nquota@example.test quota=100M'}) as p:
    before = p.roles()
    clients = [threading.Thread(target=go_on, args=(p, n), daemon=True) for n in range(CLIENTS)]
    for t in clients:
        t.start()
    time.sleep(SECONDS * SLOW ** .5)
    over.set()
    for t in clients:
        t.join(PATIENCE * SLOW)
    check(f'no process dies of clients that run ahead (seed {SEED})', p.roles() == before and 'child-died' not in p.log_text(), [l for l in p.log_text().splitlines() if 'child-died' in l][:3])
    check('each of their commands has one reply', not found, (SEED, found[:2]))
    nowhere = p.wait(lambda: not [x for x in set(promised) if not is_somewhere(p, *x)], 5)
    check('and what had its 250 is there', promised and nowhere, (SEED, len(promised), [x for x in set(promised) if not is_somewhere(p, *x)][:3]))
filters.close(), hop.stop()
finish()
