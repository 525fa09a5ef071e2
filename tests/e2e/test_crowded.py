#!/usr/bin/env python3
"""Transactions of very many: all mailboxes of one go to their process in one record, so what would make them too many is for another transaction. Two aliases of 600 members each, in
one transaction, made that process hang up, with everybody's transactions, and the message was 451 for ever."""
import json, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from milter import CONTINUE, Milter, add_rcpt, quarantine
from porter import Porter, check, finish

MEMBERS = 600


def user(i):
    return f'u{i}@example.test'


def began(s, recipients):
    """Replies to RCPT."""
    s.docmd('MAIL FROM:<someone@outside.test>')
    return [s.docmd(f'RCPT TO:<{r}>') for r in recipients]


def taken(s):
    return s.data(b'Subject: x\r\n\r\nx\r\n')[0] == 250


def has(porter, n, first=0):
    """Of mailboxes first.. below n, those with a message, and how many messages."""
    counts = [len(porter.messages(f'u{i}')) for i in range(first, n)]
    return sum(c > 0 for c in counts), sum(counts)


def main():
    maps = {'recipients': '\n'.join(f'{user(i)} maildir' for i in range(2 * MEMBERS)),
            'aliases': ''.join(f'{name}@example.test ' + ', '.join(user(i) for i in range(first, first + MEMBERS)) + '\n' for name, first in (('these', 0), ('those', MEMBERS)))}
    with Milter() as m, Porter('crowded', maps=maps, settings={'milters': f'one={m.address}', 'limit-exempt': '127.0.0.0/8'}) as p, p.smtp() as s:
        s.ehlo()
        said = began(s, ['these@example.test', 'those@example.test', user(0)])
        check('an alias that makes it too many is for another transaction', [code for code, _ in said] == [250, 452, 250] and said[1][1].startswith(b'4.5.3 Too much'), said)
        check('the other one is taken', taken(s))
        check('and each member has it, once', has(p, MEMBERS) == (MEMBERS, MEMBERS) and has(p, 2 * MEMBERS, MEMBERS) == (0, 0), has(p, 2 * MEMBERS))
        check('alone it goes', began(s, ['those@example.test'])[0][0] == 250 and taken(s) and has(p, 2 * MEMBERS, MEMBERS) == (MEMBERS, MEMBERS))
        said = began(s, [user(i) for i in range(1001)])
        check('a thousand recipients are taken in one, as max-recipients says, and no more', [code for code, _ in said] == [250] * 1000 + [452], said[-2:])
        check('they get it', taken(s) and has(p, 1000)[1] == 2000)
        m.says = {'E': [add_rcpt('<those@example.test>'), CONTINUE]}
        check('a filter may add to a full one', all(code == 250 for code, _ in began(s, [user(i) for i in range(1000)])) and taken(s))
        check('and each is served', has(p, 2 * MEMBERS)[1] == 2000 + 200 + 2 * MEMBERS, has(p, 2 * MEMBERS))
        m.says = {'E': [quarantine('odd'), CONTINUE]}
        before = has(p, MEMBERS)[1]
        check('so many can be quarantined', all(code == 250 for code, _ in began(s, [user(i) for i in range(MEMBERS)])) and taken(s))
        check('the line in the log says why, as far as it goes', p.wait_log(r'quarantine .*text="odd; for u0@example\.test u1@') is not None, p.log_text()[-1000:])
        letter = json.loads(p.ctl('dead', 'list', '--json').stdout)[0]['id']
        check('and released', p.ctl('dead', 'release', letter).returncode == 0)
        check('to each at the first attempt', p.wait(lambda: has(p, MEMBERS)[1] == before + MEMBERS, 60) and not any(' deferred process=queue' in l for l in p.log_text().splitlines()), (before, has(p, MEMBERS)))
        check('nobody hung up meanwhile', 'peer-gone' not in p.log_text())
    finish()


main()
