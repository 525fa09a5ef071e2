#!/usr/bin/env python3
"""tests/long/attack.py [MESSAGES [RATE]]: an attack with forged senders while real mail flows. Real mail's 99th percentile rises by less than half, the account of
attacks equals what the generator counted itself, memory is flat, and nothing waits in the queue."""
import json, sys, threading, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from porter import Porter, check, finish  # noqa: E402
from memory import memory  # noqa: E402

BATCH, QUIET_S, PACE_S = 20, 30, .02        # a session ends itself after 20 refused commands, unknown recipients not counted
REAL = b'Subject: real\r\n\r\n' + b'x' * 70 + b'\r\n'

# Each way: what follows MAIL FROM:<forged>, the recipient's command, and how the account calls it.
WAYS = (('', 'RCPT TO:<no{n}@example.test>', ('unknown recipient', 'refused at RCPT')),
        ('', 'RCPT TO:<"no one {n}"@example.test>', ('unknown recipient', 'refused at RCPT')),
        ('', 'RCPT TO:<x{n}@elsewhere.test>', ('relaying', 'refused at RCPT')),
        (' SIZE=999999999999', None, ('too large', 'refused at RCPT')),
        (' RET=FULL', None, ('success report asked', 'refused at RCPT')))


class RealMail(threading.Thread):
    """One message after the other, with a pause, each in a session of its own; `times` in ms."""

    def __init__(self, porter):
        super().__init__(daemon=True)
        self.porter, self.times, self.failed, self.ending = porter, [], 0, False

    def run(self):
        while not self.ending:
            began = time.monotonic()
            with self.porter.talk() as t:
                self.failed += t.deliver(REAL, sender='friend@outside.test') != 250
            self.times.append((time.monotonic() - began) * 1e3)
            time.sleep(PACE_S)

    def take(self):
        taken, self.times = sorted(self.times), []
        return taken[len(taken) * 99 // 100], taken[len(taken) // 2], len(taken)


def batch(first, count):
    """The commands of `count` attacks, how many replies they get, and what they count as."""
    text, replies, kinds = '', 0, []
    for n in range(first, first + count):
        more, rcpt, kind = WAYS[n % len(WAYS)]
        text += f'MAIL FROM:<victim{n % 997}@victim.test>{more}\r\n' + (rcpt.format(n=n) + '\r\n' if rcpt else '') + 'RSET\r\n'
        replies += 3 if rcpt else 2
        kinds.append(kind)
    return text.encode(), replies, kinds


def attack(porter, messages, rate):
    counted, began, n, forbidden = {}, time.monotonic(), 0, 0
    while n < messages:
        with porter.talk() as t:
            t.say('EHLO bot.victim.test')
            text, replies, kinds = batch(n, BATCH)
            t.raw(text)
            codes = [t.reply()[0] for _ in range(replies)]
        forbidden += sum(c == 250 for c in codes) - BATCH - sum(k[0] in ('unknown recipient', 'relaying') for k in kinds)     # 250 is for RSET and for a MAIL that is no attack yet
        for k in kinds:
            counted[k] = counted.get(k, 0) + 1
        n += BATCH
        time.sleep(max(0, n / rate - (time.monotonic() - began)))
    return counted, forbidden, time.monotonic() - began


def account(porter):
    kinds = json.loads(porter.ctl('attacks', '--json').stdout)['kinds']
    return {(way, answer): n for way, answers in kinds.items() for answer, n in answers.items() if n}


def main():
    messages, rate = (int(a) for a in (sys.argv[1:] + ['100000', '1000'][len(sys.argv) - 1:])[:2])
    with Porter('attack-long', settings={'log-level': 'error'}) as porter:
        real = RealMail(porter)
        real.start()
        time.sleep(QUIET_S / 6)
        real.take()
        time.sleep(QUIET_S)
        quiet = real.take()
        attack_counts, forbidden, _ = attack(porter, messages // 10, rate)
        before = memory(porter)
        real.take()
        more, also, took = attack(porter, messages - messages // 10, rate)
        during = real.take()
        after = memory(porter)
        real.ending = True
        real.join(60)
        for k, n in more.items():
            attack_counts[k] = attack_counts.get(k, 0) + n
        print(f'row attack: {messages} messages at {(messages - messages // 10) / took:.0f}/s; real mail p50 {quiet[1]:.2f} -> {during[1]:.2f} ms, p99 {quiet[0]:.2f} -> {during[0]:.2f} ms '
              f'({quiet[2]} and {during[2]} messages); memory {sum(before.values())} -> {sum(after.values())} KiB')
        check('real mail goes on', real.failed == 0, real.failed)
        check('its 99th percentile rises by less than half', during[0] < quiet[0] * 1.5, (quiet, during))
        check('no attack got further than its refusal', forbidden + also == 0, (forbidden, also))
        check('the account equals the generator\'s own', account(porter) == attack_counts, (account(porter), attack_counts))
        check('memory is flat', sum(after.values()) - sum(before.values()) < 2048, (before, after))
        check('nothing waits in the queue, and no report was written', not json.loads(porter.ctl('queue', 'list', '--json').stdout or '[]') and not json.loads(porter.ctl('dead', 'list', '--json').stdout or '[]'),
              (porter.ctl('queue', 'list', '--json').stdout, porter.ctl('dead', 'list', '--json').stdout))
    finish()


if __name__ == '__main__':
    main()
