#!/usr/bin/env python3
"""Harvesting (rule.md, "Both horns"): slowed, then blind, then refused; never with 5xx for what is blind, never an accepted message. Limits of sessions and rates."""
import json, socket, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import SLOW, Porter, Talk, check, finish  # noqa: E402


def guess(t, n, first=0):
    """Codes of n unknown recipients."""
    return [t.code(f'RCPT TO:<ghost{first + i}@example.test>') for i in range(n)]


def timed(t, number):
    """Its code, and the seconds that it took."""
    began = time.monotonic()
    return guess(t, 1, number)[0], time.monotonic() - began


def begin(porter, source):
    t = Talk(porter, source=source)
    if t.greeting[0] == 220:
        t.say('EHLO t')
        t.say('MAIL FROM:<a@outside.test>')
    return t


def harvest(porter):
    with begin(porter, '127.0.0.20') as t:
        codes, took = zip(*(timed(t, i) for i in range(4)))
        check('the first unknown recipients are refused at once', codes == (550,) * 4 and min(took) < .4, took)       # each would wait that long; one that does not is enough, on a busy machine too
        started = time.monotonic()
        codes = guess(t, 2, 4)
        check('past the first limit the refusal waits', codes == [550] * 2 and time.monotonic() - started >= .8, time.monotonic() - started)
        codes = guess(t, 5, 6)
        check('past the second everything is answered 250', codes[-1] == 250 and set(codes) <= {250, 550}, codes)
        check('valid recipients, too', t.code('RCPT TO:<alice@example.test>') == 250)
        before = porter.messages()
        t.say('DATA')
        t.raw(b'Subject: x\r\n\r\nx\r\n.\r\n')
        code, lines = t.reply()
        check('and the dot 451 4.7.1, with nothing delivered', code == 451 and lines[-1].startswith('451 4.7.1') and porter.messages() == before, lines)
    rows = json.loads(porter.ctl('harvest', 'list', '--json').stdout)
    mine = [r for r in rows if r['who'] == '127.0.0.20']
    check('porterctl harvest list shows the client', mine and mine[0]['level'] == 'blind' and mine[0]['unknown'] >= 6, rows)
    check('porterctl harvest test tells how it stands', 'blind' in porter.ctl('harvest', 'test', '127.0.0.20').stdout)
    check('and what it doesn\'t know, it says', porter.ctl('harvest', 'test', 'nonsense').returncode == 64)
    with begin(porter, '127.0.0.20') as t:
        check('the next session is blind from its first RCPT', guess(t, 1) == [250])
    check('porterctl harvest forgive forgets it', porter.ctl('harvest', 'forgive', '127.0.0.20').returncode == 0)
    with begin(porter, '127.0.0.20') as t:
        check('and the client is as new', guess(t, 1) == [550])


def refused(porter):
    codes = []
    for k in range(4):
        with begin(porter, '127.0.1.30') as t:
            if t.greeting[0] != 220:
                codes.append(t.greeting[0])
                break
            codes += guess(t, 8, 8 * k)
    check('whoever goes on is refused with 421 and never learns a name', codes[-1] in (421, 250) and 5 not in {c // 100 for c in codes[12:]}, codes)


def sessions(porter):
    held = [Talk(porter, source='127.0.2.40') for _ in range(5)]
    greetings = [t.greeting[0] for t in held]
    check('sessions of one address are limited', greetings.count(220) >= 3 and 421 in greetings, greetings)
    for t in held:
        t.close()

    def greeted():
        with Talk(porter, source='127.0.2.40') as t:
            return t.greeting[0] == 220
    check('and count down again', porter.wait(greeted))


def rates(porter):
    codes = []
    for k in range(9):
        with Talk(porter, source='127.0.3.50') as t:
            t.say('EHLO t')
            codes.append(t.code(f'MAIL FROM:<a{k}@outside.test>'))
    check('messages of one client are limited by the hour with 450', codes[0] == 250 and codes[-1] == 450, codes)


def main():
    with Porter('limits', settings={'limit-exempt': '10.0.0.0/8', 'greet-delay': '0', 'harvest-slow': '5', 'harvest-blind': '8', 'harvest-refuse': '30',
                                    'smtpd-processes': '1', 'max-sessions-address': '3'}) as porter:
        harvest(porter)
        refused(porter)
        sessions(porter)
    with Porter('rates', settings={'limit-exempt': '10.0.0.0/8', 'greet-delay': '0', 'rate-client': '6'}) as porter:
        rates(porter)
    with Porter('exempt') as porter:
        with begin(porter, '127.0.0.20') as t:
            codes = guess(t, 300)
            check('loopback is exempt as it is shipped', set(codes) == {550}, set(codes))
    finish()


if __name__ == '__main__':
    main()
