#!/usr/bin/env python3
"""The account of attacks (porterctl attacks): what was tried is counted by its way, its network, its forged domain and its answer, and lives over restarts."""
import json, os, re, sys, time, urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from dns import Dns
from porter import Porter, check, finish
from sink import Sink

FORGED = 'MAIL FROM:<a@victim.test>'
LOOP = b'Received: from a by b; x\r\n' * 120 + b'Subject: x\r\n\r\nx\r\n'


def account(p):
    return json.loads(p.ctl('attacks', '--json').stdout)


def counts(p):
    """{(way, answer): number}, without the noughts."""
    return {(way, answer): n for way, answers in account(p)['kinds'].items() for answer, n in answers.items() if n}


def say(p, *commands, port=None):
    with p.talk(port=port) as t:
        t.code('EHLO mx.far.test')
        return [t.code(c) for c in commands]


def content(p, text, *to):
    with p.talk() as t:
        for command in ('EHLO mx.far.test', FORGED, *(f'RCPT TO:<{x}>' for x in to or ('alice@example.test',)), 'DATA'):
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


def total(p, way):
    return sum(n for (w, _), n in counts(p).items() if w == way)


def each_kind(p):
    """The leaks beyond those of by_way, each by the attempt that would have opened it."""
    for what, way, attempt in (
            ('a forward that its remote host refuses', 'forward refused', lambda: say(p, FORGED, 'RCPT TO:<gone@example.test>')[1] == 550),
            ('content that a next hop refuses', 'content refused by the next hop', lambda: content(p, b'Subject: refuse me\r\n\r\nx\r\n', 'yes@relay.test') == 554),
            ('content that one of two refuses', 'different outcomes', lambda: content(p, b'Subject: refuse me\r\n\r\nx\r\n', 'alice@example.test', 'yes@relay.test') == 451),
            ('a loop', 'loop', lambda: content(p, LOOP) == 554),
            ('a mailbox that is full', 'mailbox full', lambda: say(p, FORGED + ' SIZE=100000', 'RCPT TO:<full@example.test>')[1] in (452, 552)),
            ('the bounce of a forgery', 'bounce of a forgery', lambda: say(p, 'MAIL FROM:<>', 'RCPT TO:<alice@sole.test>')[1] == 550)):
        before = total(p, way)
        check(f'{what} is refused, and counted as what it was', attempt() and total(p, way) == before + 1, counts(p))
    with p.talk(source='127.0.0.20') as t:
        codes = [t.code(c) for c in ('EHLO mx.far.test', FORGED, *(f'RCPT TO:<guess{i}@example.test>' for i in range(8)))]
    check('harvesting', total(p, 'harvesting') > 0, (codes, counts(p)))


def metrics(p):
    """/metrics tells the same counters."""
    with urllib.request.urlopen(f'http://127.0.0.1:{p.http}/metrics', timeout=20) as r:
        kind, text = r.headers['Content-Type'], r.read().decode()
    told = {(k.replace('_', ' '), a.replace('_', ' ')): int(n) for k, a, n in re.findall(r'^porter_attacks_total\{kind="(\w+)",answer="(\w+)"\} (\d+)$', text, re.M)}
    a = account(p)
    check('/metrics is OpenMetrics and holds every counter of the report', 'application/openmetrics-text' in kind and text.endswith('# EOF\n') and {k: n for k, n in told.items() if n} == counts(p) and
          len(told) == sum(len(v) for v in a['kinds'].values()), (told, counts(p)))
    gate = {(k, v): int(n) for k, v, n in re.findall(r'^porter_reports_total\{kind="(\w+)",verdict="(\w+)"\} (\d+)$', text, re.M)}
    withheld = json.loads(p.ctl('top', '--json').stdout)['queue.withheld']['now']
    check('and what the gate decided, by kind of report', len(gate) == 10 and sum(n for (_, v), n in gate.items() if v == 'withheld') == withheld, (gate, withheld))
    check('what was spared, too', f'\nporter_reports_spared_total {a["spared_messages"]}\n' in text and f'\nporter_reports_spared_bytes_total {a["spared_bytes"]}\n' in text, text[-800:])


def cost(p):
    """Only what Postfix, as shipped, answers by a report is counted as spared: not what it refuses itself or would have delivered."""
    before = account(p)['spared_messages']
    say(p, FORGED + ' RET=FULL')
    content(p, b'Subject: x\r\n\r\nNUL \0\r\n')
    content(p, LOOP)
    say(p, FORGED, 'RCPT TO:<nobody@example.test>')
    check('loops, content that no mailbox refused, RET alone and unknown recipients spare nobody a report', account(p)['spared_messages'] == before, (before, account(p)['spared_messages']))
    say(p, FORGED, 'RCPT TO:<alice@example.test> NOTIFY=SUCCESS', 'RCPT TO:<gone@example.test>')
    check('a success report and a refused forward do', account(p)['spared_messages'] == before + 2, (before, account(p)['spared_messages']))


def names(p):
    rows = {n['name']: n for n in json.loads(p.ctl('attacks', '--names', '--json').stdout)['networks']}
    check('with --names a network has the reverse name of the address that came last', rows['127.0.0.0/24'].get('reverse_name') == 'bot.far.test', rows)
    check('in words, too', 'bot.far.test' in p.ctl('attacks', '--names').stdout)


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


sink = Sink(rcpt=refuse, dot=lambda m: '554 5.7.1 not wanted' if b'refuse me' in m.content else None)
maps = {'domains': f'relay.test relay [127.0.0.1]:{sink.port} recipients=ask\nsole.test mailbox sole-sender batv\n', 'access': 'to:barred@relay.test refuse not from here\n',
        'aliases': 'gone@example.test nobody@far.test\n', 'routes': f'far.test [127.0.0.1]:{sink.port}\n', 'recipients': 'full@example.test maildir quota=1K\nalice@sole.test maildir\n'}
dns = Dns({'20.0.0.127.in-addr.arpa': {'PTR': ['bot.far.test']}})
settings = {'digest': 'yes', 'limit-exempt': '127.0.0.1/32', 'harvest-slow': '3', 'harvest-blind': '5', 'dns-resolvers': dns.resolver, 'evidence': 'no', 'greet-delay': '0'}
with Porter('attacks', settings=settings, maps=maps) as p:
    by_way(p)
    who(p)
    no_attacks(p)
    by_hop(p)
    cost(p)
    each_kind(p)
    metrics(p)
    names(p)
    digest(p)
    written(p)
    was = account(p)['attempts']
    p.stop()
    check('the account is read without the server, and lives over its end', account(p)['attempts'] == was)
    p.clean()
    os.utime(p.spool / 'digest', (time.time() - 86400, time.time() - 86400))
    p.start()
    check('a day that ended while nobody served has its digest at the start', p.wait(lambda: any(b'attacks of the last day' in m.lower() for m in p.messages('alice').values())), p.log_text()[-800:])
    p.stop()
    p.start()
    check('and only once', len(p.messages('alice')) == 1 and time.time() - (p.spool / 'digest').stat().st_mtime < 3600, list(p.messages('alice')))
finish()
