#!/usr/bin/env python3
"""Every reply that explain foretells is the reply of the live server: 10,000 random addresses, limits off, the same quotas; and next hops, and authenticated senders."""
import base64, json, os, random, ssl, sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from foretell import compare, foretell, rcpt_all
from porter import Porter, check, finish, free_port
from sink import Sink

N = int(os.environ.get('PORTER_ADDRESSES', '10200'))
rnd = random.Random(4)
users = [f'u{i}' for i in range(300)]

recipients, aliases = [], []
for i, u in enumerate(users):
    recipients.append(f'{u}@example.test' + (' quota=1k maildir' if i % 10 == 0 else ' size=2000' if i % 10 == 1 else ''))
for i in range(200):
    kind = rnd.random()
    key = f'a{i}@example.test' if i % 3 else f'a{i}'
    if kind < .1:
        aliases.append(f'{key} :refuse: 550 5.1.6 a{i} has left')
    elif kind < .2:
        aliases.append(f'{key} :defer: back soon')
    else:
        aliases.append(f'{key} ' + ', '.join(rnd.sample(users, rnd.randint(1, 4))))
MAPS = {
    '=domains': 'example.test mailbox\nexact.test mailbox case=exact delimiter=-\nother.test alias-of example.test\ngone.test refuse Moved\n'
                '*.sub.test mailbox catch-all=u1@example.test\nbücher.test alias-of example.test\nrelay.test relay [127.0.0.1]:9 recipients=relayed\n',
    '=recipients': '\n'.join(recipients) + '\nAnn@exact.test\n"john doe"@example.test\nalice@example.test\nbob@example.test\n',
    '=aliases': '\n'.join(aliases) + '\n',
    '=access': 'to:u7@example.test refuse 554 5.7.1 Not u7\nto:@x.sub.test defer\nfrom:bad@outside.test refuse\n',
    '=senders': '', '=clients': '', '=routes': '', '=relayed': 'known@relay.test\n',
}


def random_address():
    local = rnd.choice([rnd.choice(users), f'a{rnd.randint(0, 230)}', f'nobody{rnd.randint(0, 99)}', 'Ann', 'ann', 'postmaster', 'POSTMASTER', '"john doe"', '"u3"', 'ä', 'a..b', '-x',
                        "o'neil", '', 'x' * 65, '"un\\"closed'])
    if rnd.random() < .2:
        local += rnd.choice(['+tag', '-tag', '+', '++x'])
    if rnd.random() < .2:
        local = local.upper()
    domain = rnd.choice(['example.test'] * 8 + ['EXAMPLE.Test', 'other.test', 'exact.test', 'exact.test', 'gone.test', 'a.sub.test', 'x.sub.test', 'sub.test', 'xn--bcher-kva.test',
                                                'foreign.test', '[127.0.0.1]', '[300.1.1.1]', 'bad_domain', 'a..b', 'relay.test', 'x' * 64 + '.test', ''])
    return f'{local}@{domain}' if domain or rnd.random() < .5 else local


addresses = [random_address() for _ in range(N)]


def hop_rcpt(address):
    return {'no': '550 5.1.1 nobody here', 'la': '450 4.2.0 later', 'fu': '552 5.2.2 full', 'od': '521 no mail'}.get(address[:2])


hop, lmtp = Sink(rcpt=hop_rcpt), Sink(rcpt=hop_rcpt, lmtp=True)
dead = free_port()
MAPS['=domains'] += (f'asked.test relay [127.0.0.1]:{hop.port} recipients=ask\nmapped.test relay [127.0.0.1]:{hop.port} recipients=mapped size=4000\n'
                     f'down.test relay [127.0.0.1]:{dead} recipients=ask\n')
MAPS['=mapped'] = ''.join(f'{n}{i}@mapped.test\n' for n in ('yes', 'no', 'la', 'fu', 'od') for i in range(40))
MAPS['=recipients'] += ''.join(f'{n}{i}@example.test lmtp:127.0.0.1:{lmtp.port}\n' for n in ('lyes', 'no', 'la') for i in range(20))
MAPS['=aliases'] += f'away@example.test far@far.test\nrefused@example.test no@far.test\nlist@example.test u2, far@far.test, owner=u3@example.test\n'
MAPS['=routes'] = f'far.test [127.0.0.1]:{hop.port}\n'
MAPS['=recipients'] += 'one@example.test quota-messages=1\n'


def passed_on():
    domain = rnd.choice(['asked.test', 'mapped.test', 'Mapped.TEST', 'example.test', 'down.test'])
    return rnd.choice(['yes', 'no', 'la', 'fu', 'od', 'lyes', 'nobody', 'postmaster']) + (str(rnd.randint(0, 45)) if rnd.random() < .9 else '') + (rnd.choice(['', '', '+tag'])) + '@' + domain


with Porter('explain', maps=MAPS, settings={'limit-exempt': '127.0.0.0/8', 'max-errors': '100000', 'max-commands': '10000000'}) as p:
    p.ctl('user', 'passwd', 'alice@example.test', input='secret word\n')
    for user in ('one', 'u10'):         # what is in the mailboxes counts: one is full, in the other half of the quota is used
        check(f'{user} has a message', p.send(b'Subject: x\r\n\r\n' + b'x' * 78 + b'\r\n', [f'{user}@example.test']) == 250)
    some = addresses + ['one@example.test', 'u10@example.test', 'u20@example.test']
    sender = ['--from', 'someone@outside.test', '--client', '127.0.0.1']
    for size, mail, option in ((0, '', []), (5000, ' SIZE=5000', ['--size', '5000']), (800, ' SIZE=800', ['--size', '800'])):
        part = some[-len(some) // {0: 1, 5000: 3, 800: 6}[size]:]
        with p.smtp() as s:
            s.ehlo()
            compare(f'SIZE {size}', part, rcpt_all(p, s, part, 'MAIL FROM:<someone@outside.test> SMTPUTF8' + mail), foretell(p, part, *option, *sender))

    # -- next hops and LMTP servers are asked, as RCPT would --------------------------------------------------------------------------------
    away = [passed_on() for _ in range(N // 40)] + ['away@example.test', 'refused@example.test', 'list@example.test', 'known@relay.test', 'x@foreign.test']
    with p.smtp() as s:
        s.ehlo()
        compare('passed on', away, rcpt_all(p, s, away, 'MAIL FROM:<someone@outside.test>', each=1), foretell(p, away, *sender))
    before = len(hop.rcpts)
    r = p.ctl('explain', '--json', '--no-hops', *sender, 'no1@asked.test')
    check('explain --no-hops asks nobody', json.loads(r.stdout)['code'] == 250 and len(hop.rcpts) == before, r.stdout)
    check('a question brings no message to the hop', not hop.messages and not lmtp.messages)

    # -- an authenticated sender: what goes abroad is queued ----------------------------------------------------------------------------------
    known = some[:N // 20] + away[:60] + ['x@foreign.test', 'away@example.test', 'yes1@mapped.test', 'no1@mapped.test', 'no1@asked.test']
    with p.smtp(p.submission) as s:
        s.starttls(context=ssl._create_unverified_context())
        s.ehlo()
        s.login('alice@example.test', 'secret word')
        compare('AUTH', known, rcpt_all(p, s, known, 'MAIL FROM:<alice@example.test> SMTPUTF8', each=1), foretell(p, known, '--from', 'alice@example.test', '--client', '127.0.0.1', '--auth', 'alice@example.test'))
        s.docmd('RSET')
        said = s.docmd('MAIL FROM:<bob@example.test>')
        r = p.ctl('explain', '--json', '--from', 'bob@example.test', '--auth', 'alice@example.test', 'u1@example.test')
        check('what a login may not use is refused at MAIL by both', json.loads(r.stdout)['reply'] == f'{said[0]} {said[1].decode()}' and json.loads(r.stdout)['stage'] == 'MAIL', (said, r.stdout))

    # -- a login that nobody has ----------------------------------------------------------------------------------------------------------------
    with p.smtp(p.submission) as s:
        s.starttls(context=ssl._create_unverified_context())
        s.ehlo()
        said = s.docmd('AUTH PLAIN ' + base64.b64encode(b'\0ghost\0secret word').decode())
    r = p.ctl('explain', '--json', '--auth', 'ghost', 'u1@example.test')
    got = json.loads(r.stdout)
    check('an unknown login is refused at AUTH by both', r.returncode == 1 and (got['stage'], got['login'], got['reply']) == ('AUTH', 'absent', f'{said[0]} {said[1].decode()}'), (said, got))
    text = p.ctl('explain', '--auth', 'ghost', 'u1@example.test').stdout
    check('and explain says so', 'the login ghost is unknown' in text and 'AUTH: 535' in text, text)
    check('of a known one it does not', 'is unknown' not in p.ctl('explain', '--from', 'alice@example.test', '--auth', 'Alice@example.test', 'u1@example.test').stdout)
    check('a user whom this system does not have is told', 'no-such-user is no user of this system' in p.ctl('explain', '--from', 'alice@example.test', '--auth', 'unix:no-such-user', 'u1@example.test').stdout)
    conf = (p.etc / 'porter.conf').read_text()
    (p.etc / 'porter.conf').write_text(conf + '\nlogin-source dovecot\n')
    text = p.ctl('explain', '--from', 'alice@example.test', '--auth', 'ghost', 'u1@example.test').stdout
    (p.etc / 'porter.conf').write_text(conf)
    check('where others know the logins it says that it could not tell', 'could not be told' in text and '535' not in text, text)

    reply = p.ctl('explain', '--json', '--from', 'bad@outside.test', 'u1@example.test')
    check('explain tells a refusal of MAIL as such', json.loads(reply.stdout)['stage'] == 'MAIL' and reply.returncode == 1, reply.stdout)
    p.map('aliases', (p.etc / 'aliases').read_text() + '\ncrew: u1@example.test, nobody-there@example.test\n')
    text = p.ctl('explain', '--text', '--no-hops', 'crew@example.test').stdout
    check('explain says which target of an alias is refused', 'about nobody-there@example.test' in text and '550 5.1.1' in text and 'x01' not in text, text)
    text = p.ctl('explain', 'u1+x@other.test').stdout
    check('explain shows each look-up with map and line', 'domains:3' in text and 'recipients:2' in text and 'maildir' in text and '250 2.1.5' in text, text)

# -- at which command, too: the greeting, MAIL or RCPT -------------------------------------------------------------------------------------------
ACCESS = '127.0.0.5 refuse Not you\n127.0.0.6 defer\n127.0.0.7 accept\nfrom:@bad.test refuse 553 5.7.1 bad\nto:bob@example.test defer 451 4.7.1 soon\n127.0.0.8 by-pass spf\n'


def said_live(p, ip, sender, to):
    with p.talk(source=ip) as t:
        stage, (code, lines) = 'connect', t.greeting
        if code == 220:
            t.say('EHLO client.test')
            stage, (code, lines) = 'MAIL', t.say(f'MAIL FROM:<{sender}>')
        if stage == 'MAIL' and code == 250:
            stage, (code, lines) = 'RCPT', t.say(f'RCPT TO:<{to}>')
        return stage, '\n'.join(lines)


with Porter('explain-stages', maps={'=access': ACCESS}, settings={'limit-exempt': '127.0.0.0/8'}) as p:
    wrong, stages = [], set()
    for ip in ('127.0.0.5', '127.0.0.6', '127.0.0.7', '127.0.0.8', '127.0.0.1'):
        for sender in ('someone@outside.test', 'x@bad.test', ''):
            for to in ('alice@example.test', 'bob@example.test', 'x@foreign.test'):
                live = said_live(p, ip, sender, to)
                r = json.loads(p.ctl('explain', '--json', '--from', sender or '<>', '--client', ip, to).stdout)
                stages.add(live[0])
                if live != (r['stage'], r['reply']):
                    wrong.append((ip, sender, to, live, r['stage'], r['reply']))
    check('explain tells at which command a client is refused, and how', not wrong and stages == {'connect', 'MAIL', 'RCPT'}, (wrong, stages))
finish()
