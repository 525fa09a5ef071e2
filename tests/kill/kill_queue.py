#!/usr/bin/env python3
"""tests/kill/kill_queue.py [ROUNDS]: kill -9 over the states of the queue.

Authenticated clients send all the time to hops that take, put off or refuse what comes. In each round, at a random moment, either everything is killed at once and
started again, or one process of the queue's way (queue, delivery, mailbox, smtpd) is. At the end: every recipient that was promised by a 250 has its message, or its
sender has the report, of which there is one; nothing is torn; a hop saw a message twice only where a kill came between, so that its first 250 may have been lost (RFC 1047), and these are
counted, as are reports that the mailbox has twice for the same reason."""
import hashlib, os, random, re, sys, threading, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import PATIENCE, SLOW, Porter, Talk, check, finish  # noqa: E402
from sink import Sink  # noqa: E402

CLIENTS, USER, PASSWORD = 6, 'alice@example.test', 'porter-demo'
LATE_S = 3              # a hop that reads what a killed process had sent it sees it so much later at the most
ROLES = ('queue', 'delivery', 'mailbox', 'smtpd')
SHAPES = (('ok@far.test',), ('no@far.test',), ('later@slow.test',), ('ok@far.test', 'no@far.test'), ('ok@far.test', 'later@slow.test'), ('bob@example.test', 'ok@far.test'))


def make_message(ident, rng):
    """A message that knows its own digest, so that a torn one is seen."""
    body = b''.join(b'%s line %d\r\n' % (ident.encode(), i) for i in range(rng.choice((2, 60, 3000))))
    return b'Message-ID: <%s@example.test>\r\nSubject: kill\r\nX-Digest: %s\r\n\r\n%s' % (ident.encode(), hashlib.sha256(body).hexdigest().encode(), body)


class Hop:
    """A next hop that remembers when it saw what, and answers as the test says."""

    def __init__(self, rng):
        self.rng, self.lock, self.seen, self.torn, self.patient = rng, threading.Lock(), {}, [], False
        self.sink = Sink(rcpt=self.on_rcpt, dot=self.on_dot)

    def on_rcpt(self, address):
        if address.startswith('no'):
            return '550 5.1.1 no such user'
        if address.startswith('later') and not self.patient and self.rng.random() < .6:
            return '450 4.2.0 later'

    def on_dot(self, m):
        head, _, body = m.content.partition(b'\r\n\r\n')
        ident, digest = re.search(rb'^Message-ID: <(\S+)@', head, re.M), re.search(rb'^X-Digest: (\S+)', head, re.M)
        with self.lock:
            if not ident or not digest or hashlib.sha256(body).hexdigest().encode() != digest[1]:
                self.torn.append((ident and ident[1], len(m.content)))
            for r in m.recipients if ident else ():
                self.seen.setdefault((ident[1].decode(), r), []).append(time.monotonic())
        self.sink.messages.clear()          # what was looked at need not be kept
        self.sink.messages.append(m)


class Client(threading.Thread):
    """Sends until told to stop; remembers what was promised to whom."""

    def __init__(self, porter, number):
        super().__init__(daemon=True)
        self.porter, self.number, self.ending, self.talk = porter, number, False, None
        self.rng, self.promised, self.tried = random.Random(number), {}, 0

    def session(self):
        t = Talk(self.porter, self.porter.submission)
        return t if t.login(USER, PASSWORD) == 235 else None

    def run(self):
        while not self.ending:
            ident, to, code = f'k{self.number}-{self.tried}', self.rng.choice(SHAPES), 0
            self.tried += 1
            try:
                self.talk = self.talk or self.session()
                code = self.talk.deliver(make_message(ident, self.rng), to, USER, ehlo=None) if self.talk else 0
            except (OSError, RuntimeError, ValueError):
                pass
            if code == 250:
                self.promised[ident] = [r for r, c in zip(to, self.talk.rcpt_codes) if c == 250]
                time.sleep(.02)
            else:
                self.talk = None
                time.sleep(.05)


def run_rounds(p, rounds, rng, clients):
    """When something was killed, as (begin, end): each time at a random moment after one more message was promised."""
    when = []
    for _ in range(rounds):
        before = sum(len(c.promised) for c in clients)
        p.wait(lambda: sum(len(c.promised) for c in clients) > before)
        time.sleep(rng.uniform(0, .6))
        began, all_of_it = time.monotonic(), rng.random() < .4
        if all_of_it:
            p.kill()
        else:
            for pid in p.roles().get(rng.choice(ROLES), []):
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass
        when.append((began, time.monotonic()))
        if all_of_it:
            p.start()
    return when


def queue_left(p):
    return [f for f in p.spool.glob('queue/*/*') if f.is_file()]


def idents_in(p, user, report):
    """Message-ID -> the own Message-IDs of those messages of the mailbox (reports, or others) that it stands in, one for each copy."""
    found = {}
    for raw in p.messages(user).values():
        if (b'multipart/report' in raw) == report:
            own = re.search(rb'^Message-ID: (\S+)', raw, re.M)
            for ident in set(re.findall(rb'^Message-ID: <(k\d+-\d+)@', raw, re.M)):
                found.setdefault(ident.decode(), []).append(own and own[1])
    return found


def judge(p, clients, hop, rounds, kills):
    promised = {ident: to for c in clients for ident, to in c.promised.items()}
    reports, bob = idents_in(p, 'alice', True), idents_in(p, 'bob', False)
    lost = [(i, r) for i, to in promised.items() for r in to
            if not (reports.get(i) if r.startswith('no@') else bob.get(i) if r.startswith('bob@') else hop.seen.get((i, r)))]
    twice = {k: t for k, t in hop.seen.items() if len(t) > 1}
    unexplained = [k for k, t in twice.items() if not any(t[0] - LATE_S * SLOW <= end and begin <= t[-1] for begin, end in kills)]
    again = [i for i, own in reports.items() if len(set(own)) > 1]
    copies = sum(len(own) > len(set(own)) for own in reports.values())
    print(f'row kill-queue: {rounds} rounds, {sum(c.tried for c in clients)} tried, {len(promised)} promised, {len(twice)} seen twice by a hop, {copies} reports twice in the mailbox, '
          f'{len(again)} failures reported twice')
    check(f'none of the recipients that got a 250 is without message and report after {rounds} kills', promised and not lost, (len(promised), lost[:5]))
    check('no message on the wire is torn', not hop.torn, hop.torn[:2])
    check('a hop saw a message twice only where a kill came between', not unexplained, unexplained[:5])
    check('of a failure one report is made', not again, [(i, reports[i]) for i in again[:5]])
    check('no report went out of the house', not hop.sink.null_senders)
    check('nothing is set aside', not list(p.spool.glob('aside/*')), list(p.spool.glob('aside/*'))[:3])


def main(rounds):
    seed = int(os.environ.get('KILL_SEED', time.time()))
    print(f'seed {seed} (KILL_SEED)')
    rng = random.Random(seed)
    hop = Hop(random.Random(seed + 1))
    with Porter('kill-queue', settings={'queue-retry-first': '1s', 'queue-retry-most': '1s', 'report-rate': '1000000'},
                maps={'routes': f'far.test [127.0.0.1]:{hop.sink.port}\nslow.test [127.0.0.1]:{hop.sink.port}\n'}) as p:
        clients = [Client(p, i) for i in range(CLIENTS)]
        for c in clients:
            c.start()
        kills = run_rounds(p, rounds, rng, clients)
        for c in clients:
            c.ending = True
        for c in clients:
            c.join(4 * PATIENCE)
        hop.patient = True
        p.ctl('queue', 'retry', '--all')
        left = p.wait(lambda: not queue_left(p), 2 * PATIENCE)
        check('the queue is empty in the end', left, [f.name for f in queue_left(p)][:5])
        p.stop()
        judge(p, clients, hop, rounds, kills)
    finish()


if __name__ == '__main__':
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
