#!/usr/bin/env python3
"""Words of strangers, hops and filters that would act on a terminal (C1 controls, marks that turn the direction of text, line separators), or that the client can't read: shown without their power, in UTF-8 to whoever said
SMTPUTF8 alone."""
import json, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from milter import CONTINUE, Milter, quarantine  # noqa: E402
from porter import BUILD, Porter, check, finish  # noqa: E402
from sink import Sink  # noqa: E402

ACTING = '\u009b31m \u202e \u2066 \u2028'
POWER = [c.encode() for c in ACTING if not c.isascii()]


def has_power(raw):
    return [c for c in POWER if c in raw]


picky = Sink(rcpt=lambda a: '550 5.1.1 Who?' if a.startswith('porter-') else None, dot=lambda m: '550 5.7.1 Größe')
hop = Sink(rcpt=lambda a: f'550 5.1.1 kein Postfach f\u00fcr {ACTING} dich')
filters = {'E': [quarantine('odd' + ACTING), CONTINUE]}
with Milter(filters) as m, Porter('strange', settings={'evidence': 'no', 'milters': m.address},
                                                                      maps={'domains': f'relay.test relay [127.0.0.1]:{hop.port} recipients=ask\nwords.test relay [127.0.0.1]:{picky.port} recipients=ask'}) as p:
    with p.talk() as t:
        t.raw(f'EHLO m{ACTING[0]}x.test\r\n'.encode())
        t.reply()
        t.raw('MAIL FROM:<a\u009b31m\u202eb@b.test> SMTPUTF8\r\n'.encode())
        t.reply()
        t.raw('RCPT TO:<ghost\u009b\u202e@example.test>\r\n'.encode())
        t.reply()
        first = t.say('RCPT TO:<one@relay.test>')
        again = t.say('RCPT TO:<one@relay.test>')
        check('a hop\'s words reach who said SMTPUTF8, without what acts', first[0] == 550 and 'für' in first[1][0] and not has_power(first[1][0].encode()), first)
        check('and a refusal that is remembered has words, too', again[0] == 550 and len(again[1][0]) > 12, again)
        t.say('RCPT TO:<alice@example.test>'), t.say('DATA')
        t.raw(b'Subject: x\r\n\r\nhello\r\n.\r\n')
        check('what a filter holds back for such a reason is taken', t.reply()[0] == 250)
    with p.talk() as t:
        t.say('EHLO x.test'), t.say('MAIL FROM:<a@b.test>')
        got = t.say('RCPT TO:<two@relay.test>')
        check('who didn\'t say it is answered in ASCII', got[0] == 550 and got[1][0].isascii() and 'kein Postfach f?r' in got[1][0], got)
    m.says = {}
    for words, wanted in (('', 'Gr??e'), (' SMTPUTF8', 'Größe')):
        with p.talk() as t:
            t.say('EHLO x.test'), t.say('MAIL FROM:<a@b.test> PRDR' + words)
            for to in ('alice@example.test', 'big@words.test'):
                t.say(f'RCPT TO:<{to}>')
            t.say('DATA'), t.raw(b'Subject: x\r\n\r\nhello\r\n.\r\n')
            got = [t.reply() for _ in range(4)]
        check(f'with a reply for each recipient{words}, too', [c for c, _ in got] == [353, 250, 550, 250] and wanted in got[2][1][0], got)
    check('the log shows them without their power', p.wait_log(' dead-letter ') and not has_power(p.log.read_bytes()) and '\\xc2\\x9b' in p.log_text(), has_power(p.log.read_bytes()))
    listed = p.run([BUILD / 'porterctl', '-c', p.etc, 'dead', 'list', '--json'], text=False).stdout
    rows = json.loads(listed)
    check('so do lists in JSON, which lose nothing by it', not has_power(listed) and rows[0]['from'] == 'a\u009b31m\u202eb@b.test', listed[:300])
    shown = p.run([BUILD / 'porterctl', '-c', p.etc, 'dead', 'show', rows[0]['id']], text=False).stdout.split(b'\n\n')[0]
    check('and what is said of a message that is shown', shown.startswith(b'id ') and b'held back' in shown and not has_power(shown), shown)
finish()
