"""One recipient that can't take the message just now, as only the dot shows, holds up the others of its transaction; the client's next one is theirs, whatever the order, for as long as
that one can't. A client that sends again what was 4xx, to all who are left, in one transaction, as RFC 5321 (4.5.4.1) says."""
import itertools, os, sys
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
from porter import Porter, check, finish
from sink import Sink

state = {'defers': True}
hop = Sink(rcpt=lambda address: '550 5.1.1 Who?' if address.startswith('porter-') else None, dot=lambda m: '451 4.7.1 Later' if state['defers'] else None)
number = itertools.count()


class Client:
    def __init__(self, p, recipients, sender='client@out.test'):
        self.p, self.left, self.sender, self.subject, self.said = p, list(recipients), sender, f's{next(number)}', []

    def try_again(self):
        with self.p.talk() as t:
            t.say('EHLO c.test')
            t.say(f'MAIL FROM:<{self.sender}>')
            codes = {r: t.say(f'RCPT TO:<{r}>')[0] for r in self.left}
            taken = [r for r in self.left if codes[r] == 250]
            end = 0
            if taken:
                t.say('DATA')
                end = t.say(f'Subject: {self.subject}\r\nMessage-ID: <{self.subject}@out.test>\r\n\r\n'.encode() + b'x' * 300 + b'\r\n.')[0]
            self.said.append((codes, end))
            if end == 250:
                self.left = [r for r in self.left if r not in taken]
        return self.left

    def copies(self, user):
        return sum(f'Subject: {self.subject}\n'.encode() in m for m in self.p.messages(user).values())

    def at_hop(self):
        return sum(f'Subject: {self.subject}\r\n'.encode() in m.content for m in hop.messages)


def maps(quota):
    return {'=recipients': f'ann@example.test\nfull@example.test quota={quota}\nbroken@example.test\npostmaster@example.test\n',
            '=domains': f'example.test mailbox\nrelay.test relay [127.0.0.1]:{hop.port} recipients=ask\n', '=aliases': ''}


def orders(p, held_up_by):
    for order in itertools.permutations(['ann@example.test', *held_up_by]):
        c = Client(p, order)
        c.try_again()
        check(f'{order}: all wait for one, and nobody has it', len(c.left) == len(order) and c.copies('ann') == 0, c.said)
        c.try_again()
        check('the next transaction is for who can take it', set(c.left) == set(held_up_by) and c.copies('ann') == 1, c.said)
        for _ in range(2):
            c.try_again()
        check('the others go on trying', set(c.left) == set(held_up_by), c.said)
        yield c


with Porter('held-up', maps=maps(100), settings={'limit-exempt': '127.0.0.0/8'}, start=False) as p:
    p.start()
    p.send(to='ann@example.test')               # makes the domain's folder
    place = p.maildir('broken')
    place.write_text('no folder')
    waiting = [c for by in (['full@example.test'], ['full@example.test', 'broken@example.test'], ['late@relay.test']) for c in orders(p, by)]
    c = Client(p, ['full@example.test', 'ann@example.test'], 'other@out.test')
    c.try_again()
    p.stop()
    p.start()
    c.try_again()
    check('a restart in between forgets nothing', c.left == ['full@example.test'] and c.copies('ann') == 1, c.said)
    place.unlink()
    p.map('recipients', maps('1M')['=recipients'])
    p.compile()
    state['defers'] = False
    waiting.append(c)
    for c in waiting:
        for _ in range(3):
            c.try_again() if c.left else None
        named = [r.split('@')[0] for r in c.said[0][0]]
        check(f'once they can, {named} each have it, once', not c.left and all(c.copies(u) == 1 for u in named if u != 'late') and c.at_hop() == ('late' in named), (c.said[-3:], c.at_hop()))
    one = Client(p, ['full@example.test'])
    one.try_again()
    check('who is alone is never left out', not one.left, one.said)
finish()
