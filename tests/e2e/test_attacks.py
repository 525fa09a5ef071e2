#!/usr/bin/env python3
"""The account of attacks (porterctl attacks): what was tried is counted by its way, its network, its forged domain and its answer, and lives over restarts."""
import json, re, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import Porter, check, finish
from sink import Sink

FORGED = 'MAIL FROM:<a@victim.test>'


def account(p):
    return json.loads(p.ctl('attacks', '--json').stdout)


def counts(p):
    """{(way, answer): number}, without the noughts."""
    return {(way, answer): n for way, answers in account(p)['kinds'].items() for answer, n in answers.items() if n}


def say(p, *commands, port=None):
    with p.talk(port=port) as t:
        t.code('EHLO mx.far.test')
        return [t.code(c) for c in commands]


def content(p, text):
    with p.talk() as t:
        for command in ('EHLO mx.far.test', FORGED, 'RCPT TO:<alice@example.test>', 'DATA'):
            t.code(command)
        t.raw(text + b'.\r\n')
        return t.reply()[0]


def by_way(p):
    check('nothing was tried yet', counts(p) == {}, counts(p))
    check('each is refused', say(p, FORGED, 'RCPT TO:<no1@example.test>', 'RCPT TO:<no2@example.test>', 'RCPT TO:<x@elsewhere.test>') == [250, 550, 550, 550])
    check('recipients that do not exist, and relaying', counts(p) == {('unknown recipient', 'refused at RCPT'): 2, ('relaying', 'refused at RCPT'): 1}, counts(p))
    say(p, FORGED + ' RET=FULL')
    say(p, FORGED, 'RCPT TO:<alice@example.test> NOTIFY=SUCCESS')
    check('a success report that a stranger asks for', counts(p).get(('success report asked', 'refused at RCPT')) == 2, counts(p))
    say(p, FORGED + ' SIZE=999999999999')
    check('a message that is too large', counts(p).get(('too large', 'refused at RCPT')) == 1, counts(p))
    check('content that is refused at the dot', content(p, b'Subject: x\r\n\r\nNUL \0\r\n') == 550 and counts(p).get(('late verdict', 'refused at the dot')) == 1, counts(p))


def who(p):
    a = account(p)
    total = a['attempts']
    check('by the network it came from', [(n['name'], n['count']) for n in a['networks']] == [('127.0.0.0/24', total)], a['networks'])
    check('by the domain that was forged', [(n['name'], n['count']) for n in a['domains']] == [('victim.test', total)], a['domains'])
    check('and by the hour', sum(a['hours']) == total and a['hours'][-1] + a['hours'][-2] == total, a['hours'][-3:])


def no_attacks(p):
    before = counts(p)
    check('a good message', content(p, b'Subject: x\r\n\r\nhello\r\n') == 250)
    say(p, 'MAIL FROM:<alice@example.test> SIZE=999999999999', port=p.submission)
    check('good mail, and what people of ours do, is no attack', counts(p) == before, (before, counts(p)))


def by_hop(p):
    """What a next hop refuses, and what only our own access map refuses on the way there."""
    way = ('unknown in a relayed domain', 'refused at RCPT')
    check('both are refused', say(p, FORGED, 'RCPT TO:<no1@relay.test>', 'RCPT TO:<barred@relay.test>') == [250, 550, 550])
    check('the hop\'s refusal is counted, the access map\'s is not', counts(p).get(way) == 1, counts(p))


def digest(p):
    """The postmaster (alice, in the demo) hears of it once a day, or when somebody asks."""
    p.clean()
    check('the digest is asked for', p.ctl('digest').returncode == 0 and p.wait(lambda: p.messages('alice')))
    text = next(iter(p.messages('alice').values()), b'').decode()
    a = account(p)
    check('it tells of attempts, ways, networks, forged domains and what the reports would have cost', f'{a["attempts"]} attempts' in text and f'have sent {a["spared_messages"]} report(s)' in text
          and 'unknown recipient' in text and '127.0.0.0/24' in text and 'victim.test' in text, text)
    check('it answers to nothing', 'Auto-Submitted: auto-generated' in text and 'Return-Path: <>' in text, text[:600])


def written(p):
    page = p.dir / 'attacks.html'
    told = p.ctl('attacks', '--html', page)
    html = page.read_text()
    check('the report as a page holds the time line as a picture, the network, the domain, and nothing that runs or comes from elsewhere',
          told.returncode == 0 and '<svg' in html and '127.0.0.0/24' in html and 'victim.test' in html and not re.search(r'<script|https?://(?!www\.w3\.org)|\son\w+=', html), (told, html[:500]))
    text = p.ctl('attacks', '--since', '7d').stdout
    check('on a terminal the time line is a row of bars', re.search('[▁▂▃▄▅▆▇█]', text) and 'victim.test' in text, text)
    check('a time that is none is refused', p.ctl('attacks', '--since', 'soon').returncode == 64, p.ctl('attacks', '--since', 'soon'))


def refuse(address):
    return '550 5.1.1 nobody' if address.startswith('no') else None


sink = Sink(rcpt=refuse)
maps = {'domains': f'relay.test relay [127.0.0.1]:{sink.port} recipients=ask\n', 'access': 'to:barred@relay.test refuse not from here\n'}
with Porter('attacks', maps=maps) as p:
    by_way(p)
    who(p)
    no_attacks(p)
    by_hop(p)
    digest(p)
    written(p)
    was = account(p)['attempts']
    p.stop()
    check('the account is read without the server, and lives over its end', account(p)['attempts'] == was)
finish()
