#!/usr/bin/env python3
"""The queue's mail to receivers that are not ours: Postfix, Exim, OpenSMTPD. What an authenticated user sends arrives, small and large; what they refuse, the user is told, once and in their words."""
import email, email.policy, re, threading, traceback
from porter import Porter, Talk, check, finish, free_port, skip
from servers import Exim, OpenSMTPD, Postfix

USER = 'alice@example.test'


def login(p):
    t = Talk(p, p.submission, timeout=60)
    t.login(USER)
    return t


def reports(p, ident):
    return [m for m in (email.message_from_bytes(raw, policy=email.policy.default) for raw in p.messages('alice').values() if ident in raw) if m.get_content_type() == 'multipart/report']


class Receiver(threading.Thread):
    def __init__(self, kind, p):
        super().__init__(daemon=True)
        self.kind, self.p, self.name, self.said = kind, p, kind.__name__.lower(), []
        self.server = kind(p.dir / self.name, free_port(), [f'{self.name}.test'])

    def tell(self, sentence, good, why=''):
        self.said.append((f'{self.kind.__name__}: {sentence}', good, why))

    def send(self, talk, to, mark, size):
        body = b'%s\r\n.dot\r\n' % mark + (b'\xc3\xa4' * 35 + b'\r\n') * (size // 72)
        code = talk.deliver(b'From: %s\r\nMessage-ID: <%s@example.test>\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n' % (USER.encode(), mark[::-1]) + body, to, USER, ehlo=None)
        self.tell(f'a message of {size} bytes to {len(to)} is taken for it', code == 250, code)

    def has(self, mark):
        return self.p.wait(lambda: self.server.holds(mark) >= 1, 60)

    def talk_to(self, talk):
        for size in (100, 1000000):
            mark = f'queued-{self.name}-{size}-mark'.encode()
            self.send(talk, [f'good@{self.name}.test'], mark, size)
            self.tell(f'{size} bytes arrive', self.has(mark), self.p.log_text()[-1500:])
        mark = f'mixed-{self.name}-mark'.encode()
        self.send(talk, [f'nobody@{self.name}.test', f'good@{self.name}.test'], mark, 500)
        self.tell('of two recipients the good one has it', self.has(mark))
        ident = b'<%s@example.test>' % mark[::-1]
        got = self.p.wait(lambda: reports(self.p, ident), 60)
        text = got[0].as_string() if got else ''
        self.tell('the other is reported once, in its own words', len(got) == 1 and re.search(rf'(?i)Final-Recipient: *rfc822; *nobody@{self.name}', text) and re.search(r'(?im)^Diagnostic-Code:\s*smtp; *5[0-9]{2}', text), text[:3000])

    def run(self):
        try:
            with self.server, login(self.p) as talk:
                self.talk_to(talk)
                left = self.p.wait(lambda: f'@{self.name}.test' not in self.p.ctl('queue', 'list', '--recipient', self.name).stdout, 60)
                self.tell('nothing waits for it any more', left, self.p.ctl('queue', 'list').stdout)
        except Exception as e:      # noqa: BLE001: whatever it is, it is this receiver's failure
            traceback.print_exc()
            self.tell('was served', False, repr(e))


kinds = [k for k in (Postfix, Exim, OpenSMTPD) if k.available()]
for kind in {Postfix, Exim, OpenSMTPD} - set(kinds):
    skip(f'{kind.__name__} as a receiver of queued mail', 'the package can\'t be had, this is not root, or there is no ::1')
if kinds:
    with Porter('real-receivers', start=False, settings={'evidence': 'no', 'queue-retry-first': '1s', 'queue-retry-most': '2s'}) as p:
        receivers = [Receiver(kind, p) for kind in kinds]
        with open(p.etc / 'routes', 'a') as f:
            f.write(''.join(f'{r.name}.test [127.0.0.1]:{r.server.port}\n' for r in receivers))
        p.compile()
        p.start()
        for r in receivers:
            r.start()
        for r in receivers:
            r.join()
        for said in (s for r in receivers for s in r.said):
            check(*said)
finish()
