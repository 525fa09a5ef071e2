#!/usr/bin/env python3
"""tests/kill/kill.py [ROUNDS]: kill -9 under load.

Twenty clients send all the time. In each round, at a random moment, either everything is killed at once and started again, or one process (of a
random role) is. At the end: every message that got a 250 to its final dot lies, whole, in every mailbox that it was promised to; every file in a
mailbox is whole; nothing is left in tmp/."""
import hashlib, os, random, re, sys, threading, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import PATIENCE, Porter, check, finish  # noqa: E402

CLIENTS = 20
USERS = ('alice', 'bob')


def make_message(ident, rng):
    """A message that knows its own digest, so that a torn one is seen."""
    size = rng.choice((60, 2000, 4000, 9000, 120000))
    body = b''.join(b'%s line %d of this message\r\n' % (ident.encode(), i) for i in range(size // 40 + 1))
    digest = hashlib.sha256(body.replace(b'\r\n', b'\n')).hexdigest().encode()
    return b'Subject: kill\r\nX-Ident: %s\r\nX-Digest: %s\r\n\r\n%s' % (ident.encode(), digest, body)


class Client(threading.Thread):
    """Sends until told to stop; remembers what was promised to whom."""

    def __init__(self, porter, number):
        super().__init__(daemon=True)
        self.porter, self.number, self.ending = porter, number, False
        self.rng, self.promised, self.tried, self.died = random.Random(number), {}, 0, True

    def run(self):
        self.send_all()
        self.died = False

    def send_all(self):
        while not self.ending:
            to = self.rng.choice(((USERS[0],), (USERS[1],), USERS))
            ident = f'c{self.number}-{self.tried}'
            self.tried += 1
            try:
                with self.porter.talk() as t:
                    code = t.deliver(make_message(ident, self.rng), [f'{u}@example.test' for u in to])
                    to = tuple(u for u, rcpt in zip(to, t.rcpt_codes) if rcpt == 250)      # a recipient that was refused was promised nothing
            except OSError:
                code = 0
            if code == 250:
                self.promised[ident] = to
            else:
                time.sleep(.02)


def kill_one(porter, rng):
    """kill -9 of one process below the parent; the parent starts it again."""
    roles = {r: pids for r, pids in porter.roles().items() if r != 'parent'}
    if not roles:
        return
    role = rng.choice(sorted(roles))
    try:
        os.kill(rng.choice(roles[role]), 9)
    except ProcessLookupError:
        pass


def run_rounds(porter, rounds, rng, clients):
    """Each time at a random moment after more was promised."""
    for _ in range(rounds):
        before = sum(len(c.promised) for c in clients)
        porter.wait(lambda: sum(len(c.promised) for c in clients) > before + 1)
        time.sleep(rng.uniform(.05, .5))
        if rng.random() < .5:
            porter.kill()
            porter.start()
        else:
            kill_one(porter, rng)


def read_mailbox(porter, user):
    """ident -> number of whole copies, and the names of files that are torn."""
    whole, torn = {}, []
    for name, content in porter.messages(user).items():
        head, _, body = content.partition(b'\n\n')
        ident = re.search(rb'^X-Ident: (\S+)$', head, re.M)
        digest = re.search(rb'^X-Digest: (\S+)$', head, re.M)
        if not ident or not digest or hashlib.sha256(body).hexdigest().encode() != digest[1]:
            torn.append(name)
        else:
            whole[ident[1].decode()] = whole.get(ident[1].decode(), 0) + 1
    return whole, torn


def judge(porter, clients, rounds):
    promised = {ident: to for c in clients for ident, to in c.promised.items()}
    boxes = {user: read_mailbox(porter, user) for user in USERS}
    torn = [f'{user}/{name}' for user in USERS for name in boxes[user][1]]
    missing = [f'{ident} for {user}' for ident, to in promised.items() for user in to if ident not in boxes[user][0]]
    twice = [f'{ident} for {user}' for user in USERS for ident, n in boxes[user][0].items() if n > 1]
    died = [c.number for c in clients if c.died]
    left = [str(p) for p in porter.mail.glob('**/tmp/*')]
    print(f'row kill: {rounds} rounds, {sum(c.tried for c in clients)} tried, {len(promised)} promised')
    check(f'none of the messages that got a 250 is missing after {rounds} kills', not missing and len(promised) > rounds, f'{len(missing)}: {missing[:5]}')
    check('all clients went on to the end', not died, died)
    check('no message in a mailbox is torn', not torn, torn[:5])
    check('no message lies there twice that was sent once', not twice, twice[:5])
    check('nothing is left in tmp/', not left, left[:5])


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(os.environ.get('KILL_SEED', time.time()))
    print(f'seed {seed} (KILL_SEED)')
    with Porter('kill') as porter:
        clients = [Client(porter, i) for i in range(CLIENTS)]
        for c in clients:
            c.start()
        run_rounds(porter, rounds, random.Random(seed), clients)
        time.sleep(.5)
        for c in clients:
            c.ending = True
        for c in clients:
            c.join(4 * PATIENCE)
        porter.stop()
        judge(porter, clients, rounds)
    finish()


if __name__ == '__main__':
    main()
