"""The founding rule, the rows of rule.md's last table that an attack reaches through the inside: automatic replies (8), the queue's lifetime (10), a crash behind the 250 (12), reports from inside or
back through SRS (15). Forged senders, IPv4 and IPv6: their servers see no connection, and no null reverse-path leaves the house. The controls are senders who may have a report: ours."""
import email, json, os, re, socket, subprocess, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
from dns import Dns
from porter import BUILD, SLOW, Porter, Talk, check, finish, has_ipv6
from sink import Sink

FAMILIES = ['127.0.0.1', '::1'] if has_ipv6() else ['127.0.0.1']
victims = Sink()
victims6 = Sink(family=socket.AF_INET6, host='::1', port=victims.port) if len(FAMILIES) == 2 else victims
later = Sink(rcpt=lambda a: '450 4.2.0 later')          # a friend's server that never takes it
inner = Sink()
world = Dns({'*.victim.test': {'MX': ['10 mx.sinks.test'], 'A': ['127.0.0.1']}, 'mx.sinks.test': {'A': ['127.0.0.1'], 'AAAA': ['::1']}})
p = Porter('attack-inside', start=False, settings={'dns-resolvers': world.resolver, 'hop-port': str(victims.port), 'queue-retry-first': '1s', 'queue-retry-most': '2s', 'max-errors': '1000'})
p.set({'listen-mx': ' '.join(f'[{host}]:{p.mx}' if ':' in host else f'{host}:{p.mx}' for host in FAMILIES)})
MAPS = {'domains': f'relay.test relay [127.0.0.1]:{inner.port} recipients=ask\nsrs.test mailbox srs\n', 'routes': f'friend.test [127.0.0.1]:{later.port}\npass.test [127.0.0.1]:{inner.port}\n',
        'aliases': 'keep@example.test alice@example.test, pal@friend.test\nfwd@srs.test pal@pass.test\nowned@srs.test pal@pass.test, owner=carol@srs.test\n', 'recipients': 'carol@srs.test maildir\n',
        'clients': '127.0.0.7 example.test\n'}
for name, text in MAPS.items():
    with open(p.etc / name, 'a') as f:
        f.write(text)
(p.etc / 'vacation').mkdir()
(p.etc / 'vacation/bob@example.test').write_text('Subject: away\n\nI am away.\n')
p.compile()
serial = 0


def forged():
    global serial
    serial += 1
    return f'user{serial}@v{serial}.victim.test'


def start():
    """When every process serves: each kind of recipient is answered 250."""
    p.start()
    def served():
        with p.talk() as t:
            t.say('EHLO client.test'), t.say('MAIL FROM:<probe@example.test>')
            return [t.code('RCPT TO:<alice@example.test>'), t.code('RCPT TO:<keep@example.test>'), t.code('RCPT TO:<good@relay.test>')] == [250] * 3
    p.wait(served)


def give(recipients, sender, host='127.0.0.1', source=None, mark='', talk=None):
    """([code of each RCPT], code of the dot or None); ([], code) where MAIL is refused."""
    t = talk or p.talk(host=host, source=source)
    with t:
        t.say('EHLO client.test')
        mail = t.code(f'MAIL FROM:<{sender}>')
        if mail != 250:
            return [], mail
        codes = [t.code(f'RCPT TO:<{r}>') for r in recipients]
        if 250 not in codes:
            return codes, None
        t.code('DATA')
        t.raw(f'From: <{sender}>\r\nTo: {recipients[0]}\r\nSubject: attack\r\nX-Mark: {mark}.\r\n\r\nhello\r\n.\r\n'.encode())
        return codes, t.reply()[0]


def login():
    t = Talk(p, p.submission)
    t.login()
    return t


def queue(*argv):
    return json.loads(p.ctl('queue', 'list', *argv, '--json').stdout or '[]')


start()

# -- 8: automatic replies ------------------------------------------------------------------------------------------------------------------
for host in FAMILIES:
    got = give(['bob@example.test'], forged(), host, mark=f'vacation{host}')
    check(f'8: a forged sender\'s mail to one who is away is taken (from {host})', got == ([250], 250), got)
for way, talk in (('a login', login), ('a listed client', lambda: p.talk(source='127.0.0.7'))):
    got = give([forged()], '', talk=talk())
    check(f'8: a reply that {way} writes of its own, to one who never wrote, is 550', got == ([550], None), got)

# -- 10: the queue's lifetime is over ---------------------------------------------------------------------------------------------------------
for host in FAMILIES:
    sender = forged()
    got = give(['keep@example.test'], sender, host, mark=f'list{host}')
    check(f'10: what is kept and sent on for a forged sender is taken (from {host})', got == ([250], 250), got)
rows = p.wait(lambda: len(queue('--recipient', 'pal@friend.test')) == len(FAMILIES) and queue('--recipient', 'pal@friend.test'))
check('10: it lies in the queue under its owner\'s name alone', rows and 'victim.test' not in json.dumps(rows) and all('alice@example.test' in json.dumps(r) for r in rows), rows)
check('10: nothing else a stranger sent does', 'victim.test' not in p.ctl('queue', 'list', '--json').stdout, p.ctl('queue', 'list', '--json').stdout)


def owners_reports():
    return sum(b'multipart/report' in m and b'pal@friend.test' in m for m in p.messages('alice').values())


p.wait(lambda: p.ctl('queue', 'bounce', '--recipient', 'pal@friend.test').returncode == 0 and not queue('--recipient', 'pal@friend.test'))
check('10: when its time is over the owner is told', p.wait(lambda: owners_reports() == len(FAMILIES)), owners_reports())

# -- 12: 250, and then the crash --------------------------------------------------------------------------------------------------------------
missing, taken = [], 0
for number in range(4):
    mark, sender = f'crash{number}', forged()
    try:
        got = give(['alice@example.test', 'good@relay.test'] if number % 2 else ['alice@example.test', 'keep@example.test'], sender, FAMILIES[number // 2 % len(FAMILIES)], mark=mark)
    except OSError:
        got = None
    p.kill()
    held = sum(f'X-Mark: {mark}.'.encode() in m for m in p.messages('alice').values()), sum(f'X-Mark: {mark}.'.encode() in m.content for m in inner.messages)
    if got and got[1] == 250:
        taken += 1
        if held[0] < 1 or (number % 2 and held[1] < 1):
            missing.append((number, got, held))
    start()
check('12: after a kill -9 behind the 250 everything is there', taken == 4 and not missing, (taken, missing))
check('12: and nothing of it lies under a forged sender\'s name', 'victim.test' not in p.ctl('queue', 'list', '--json').stdout)

# -- 15: a report from inside, or back through SRS ----------------------------------------------------------------------------------------------
got = give([forged()], '', source='127.0.0.7')
check('15: an inner server\'s report to a forged sender is 550', got == ([550], None), got)
r = subprocess.run([BUILD / 'sendmail', '-C', p.etc, '-i', '-f', '<>', forged()], input=b'Subject: failed\n\nsorry\n', capture_output=True, timeout=60 * SLOW)
check('15: and a local program\'s', r.returncode in (69, 77) and b'550' in r.stderr, r)
got = give(['alice@example.test'], '', source='127.0.0.7')
check('15: (the control: one for a colleague is taken)', got == ([250], 250), got)
for to in ('fwd@srs.test', 'owned@srs.test'):
    before, sender = len(inner.messages), forged()
    got = give([to], sender, FAMILIES[-1])
    path = inner.messages[-1].sender if len(inner.messages) > before else ''
    check(f'15: a forward of a forged sender\'s mail bears a path of ours ({to})', got == ([250], 250) and path.startswith('SRS0='), (got, path))
    got = give([path], '', FAMILIES[0])
    check(f'15: the report that comes back to it is a dead letter, or its owner\'s ({to})', got == ([250], 250), got)
letters = json.loads(p.ctl('dead', 'list', '--json').stdout)
check('15: one is a dead letter', len(letters) >= 1, letters)
check('15: the other is in the owner\'s mailbox', len(p.messages('carol', 'srs.test')) == 1, p.messages('carol', 'srs.test'))

# -- the sum -----------------------------------------------------------------------------------------------------------------------------------------
time.sleep(.5)
check('no forged sender\'s server saw a single connection', victims.connections == victims6.connections == 0, (victims.mails[:3], victims6.mails[:3]))
nulls = {n: s.mails for n, s in (('victims', victims), ('victims6', victims6), ('later', later), ('inner', inner)) if s.null_senders}
check('no null reverse-path went anywhere', not nulls, nulls)
check('no report, reply or dead letter in the queue leads to one', 'victim.test' not in p.ctl('queue', 'list', '--json').stdout)
code = p.stop()
check('it ends in order', code == 0, (code, p.log_text()[-800:]))
finish()
