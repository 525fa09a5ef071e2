"""The founding rule under attack (security-kit T9): every row of rule.md's last table with forged senders, then thousands of random mixed transactions beside a small
model of the rule. All outside domains lead to one sink: it must see no connection, hence no report, whatever happened."""
import atexit, os, random, re, shutil, signal, socket, sys, tempfile, time
from pathlib import Path
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
from dns import Dns
from porter import Porter, check, finish, free_port, has_ipv6, skip, PATIENCE, SLOW
from sink import Sink

SEED = int(os.environ.get('PORTER_SEED', '0')) or random.SystemRandom().randrange(1 << 30)
ROUNDS = int(os.environ.get('PORTER_ROUNDS', '2000'))
chance = random.Random(SEED)
print(f'# seed {SEED}')


def refuse(address):
    return '550 5.1.1 unknown here' if address.startswith('no') else '450 4.2.0 later' if address.startswith('later') else None


def dot(message):
    return '554 5.7.1 refused late' if b'X-Spam' in message.content or message.recipients[0].startswith('late') else '451 4.7.1 not now' if b'X-Defer' in message.content else None


victims = Sink()
inner = Sink(rcpt=refuse, dot=dot)
all_taking, listed, mailstore = Sink(dot=dot), Sink(), Sink(dot=dot, lmtp=True)
FAMILIES = ['127.0.0.1', '::1'] if has_ipv6() else ['127.0.0.1']
if len(FAMILIES) == 1:
    skip('the attack over IPv6', 'this machine has no ::1')
inner6 = Sink(rcpt=refuse, dot=dot, family=socket.AF_INET6, host='::1') if len(FAMILIES) == 2 else inner
victims6 = Sink(family=socket.AF_INET6, host='::1', port=victims.port) if len(FAMILIES) == 2 else victims
dead = free_port()
folder = Path(tempfile.mkdtemp(prefix='porter-attack-'))    # what a program has taken; it runs as nobody
folder.chmod(0o777)
atexit.register(shutil.rmtree, folder, True)
world = Dns({**{f'*.{d}.test': {'MX': ['10 mx.sinks.test'], 'A': ['127.0.0.1']} for d in ('victim', 'far')}, 'mx.sinks.test': {'A': ['127.0.0.1'], 'AAAA': ['::1']}})
p = Porter('attack', start=False, settings={'dns-resolvers': world.resolver, 'hop-port': str(victims.port), 'size-limit': '200k', 'max-errors': '100000', 'max-commands': '10000000',
                                            'dns-timeout': '5'})
MAPS = {
    'domains': f'relay.test relay [127.0.0.1]:{inner.port} recipients=ask\nall.test relay [127.0.0.1]:{all_taking.port} recipients=ask\n'
               f'down.test relay [127.0.0.1]:{dead} recipients=ask\nsix.test relay [{FAMILIES[-1]}]:{inner6.port} recipients=ask\nmap.test relay [127.0.0.1]:{inner.port} recipients=known\n'
               f'lmtp.test relay lmtp:127.0.0.1:{mailstore.port} recipients=ask\n',
    'routes': f'listed.test [127.0.0.1]:{listed.port}\n',
    'known': 'good@map.test\nlate@map.test\n',
    'recipients': 'full@example.test quota=2k maildir\nrefuser@example.test program:/bin/sh -c exit${IFS}77\nunsure@example.test program:/bin/sh -c exit${IFS}3\n'
                  'homeless@example.test maildir:/nowhere/that/exists\n'
                  f'box@example.test mbox:boxes/box\nprog@example.test program:/bin/sh -c cat>>{folder}/taken\n',
    'aliases': 'away@example.test good@relay.test\ngone@example.test no-longer@relay.test\nlateway@example.test late@relay.test\n'
               'pair@example.test alice@example.test, bob@example.test\ncrew@example.test bob@example.test, pal@listed.test, owner=bob@example.test\n',
    'header': 'Subject /forbidden/ refuse 5.7.1 not here\n',
}
for name, text in MAPS.items():
    with open(p.etc / name, 'a') as f:
        f.write(text)
compiled = p.ctl('compile')
if compiled.returncode:            # what this build's maps do not know is left out, and said
    print('#', compiled.stdout, compiled.stderr)
    for name in ('header', 'known'):
        (p.etc / name).write_text('')
    (p.etc / 'domains').write_text(re.sub(r'map\.test.*\n', '', (p.etc / 'domains').read_text()))
    p.compile()
p.set({'listen-mx': ' '.join(f'[{host}]:{p.mx}' if ':' in host else f'{host}:{p.mx}' for host in FAMILIES)})
p.start()
serial = 0


def forged():
    global serial
    serial += 1
    return f'user{serial}@v{serial}.victim.test'


def run(recipients, extra=b'', sender=None, body=b'hello\r\n', mail_options='', rcpt_options='', talk=None):
    """(MAIL, [RCPT], dot or None)"""
    t = talk or p.talk(host=HOST)
    try:
        if not talk:
            t.say('EHLO client.test')
        mail = t.say(f'MAIL FROM:<{forged() if sender is None else sender}>{mail_options}')
        if mail[0] != 250:
            return mail, [], None
        rcpt = [t.say(f'RCPT TO:<{r}>{rcpt_options}') for r in recipients]
        if 250 not in [r[0] for r in rcpt]:
            t.say('RSET')
            return mail, rcpt, None
        if t.say('DATA')[0] != 354:
            return mail, rcpt, (0, [])
        t.raw(b'Subject: attack\r\n' + extra + b'\r\n' + body + b'.\r\n')
        return mail, rcpt, t.reply()
    finally:
        if not talk:
            t.close()


def refused(got, codes):
    """No 250 for any recipient, or none at the dot; the refusal is one of codes."""
    mail, rcpt, end = got
    last = end if end is not None else rcpt[0] if rcpt else mail
    return last[0] in codes


# -- every row ------------------------------------------------------------------------------------------------------------------------
def every_row(host):
    """Each from this client address."""
    global HOST
    HOST = host

    def told(sentence, good, why=''):
        check(sentence + (' (over IPv6)' if ':' in host else ''), good, why)

    told('1: an unknown local recipient is 550 at RCPT', refused(run(['nobody@example.test']), [550]))
    told('2: an alias whose target is dead is refused at RCPT by the target\'s own answer', refused(run(['gone@example.test']), [550]))
    got = run(['gone@example.test'])
    told('3: a forward refused by the remote at RCPT: its refusal is ours', refused(got, [550]), got)
    got = run(['lateway@example.test'])
    told('3: a forward refused by the remote behind the dot: its refusal is ours', got[1][0][0] == 250 and got[2][0] == 554, got)
    told('4: a relayed recipient that the hop does not know is 550 at RCPT', refused(run(['no-one@relay.test']), [550]))
    told('4: the same from the map', refused(run(['nobody@map.test']), [550]))
    told('4: a relayed domain whose hop is down is a 451', refused(run(['x@down.test']), [451]))
    got = run(['full@example.test'], body=b'x' * 70 + b'\r\n' + (b'y' * 70 + b'\r\n') * 60)
    told('5: a full mailbox is 4xx or 552', refused(got, [452, 552]), got)
    got = run(['homeless@example.test'])
    told('5: a mailbox without a home is a 4xx', refused(got, [450, 451, 452]), got)
    got = run(['refuser@example.test'])
    told('6: a program\'s refusal is a 5xx at the dot', refused(got, [550]) and got[1][0][0] == 250, got)
    got = run(['unsure@example.test'])
    told('6: an unknown exit code is temporary', refused(got, [451]), got)
    got = run(['alice@example.test'], extra=b'X: y\r\n', body=b'x\r\n')
    told('   (and a good message is taken)', got[2] and got[2][0] == 250, got)
    got = run(['alice@example.test'], rcpt_options=' NOTIFY=SUCCESS')
    told('7: NOTIFY is 555 on the MX port', refused(got, [555]), got)
    got = run(['alice@example.test'], mail_options=' RET=FULL ENVID=x')
    told('7: RET and ENVID are 555 on the MX port', refused(got, [555]), got)
    got = run(['alice@example.test', 'late@relay.test'])
    told('9: a hop that refuses content beside a mailbox: no 250', got[2][0] in (451, 554), got)
    before = len(p.messages('alice'))
    t = p.talk(host=HOST)
    t.say('EHLO client.test')
    got = run(['alice@example.test', 'any@all.test'], extra=b'X-Spam: yes\r\n', mail_options=' PRDR', talk=t)
    each = [t.reply()[0] for _ in range(3)] if got[2] and got[2][0] == 353 else []
    t.close()
    told('9: who asks for a reply for each (PRDR) hears that the mailbox has it and the hop refused it', each == [250, 554, 250] and len(p.messages('alice')) == before + 1, (got, each))
    got = run(['any@all.test'], extra=b'X-Spam: yes\r\n')
    told('11: an inner hop that takes every recipient and refuses late: its refusal is ours', got[1][0][0] == 250 and got[2][0] == 554, got)
    told('13: too large is 552 at MAIL', refused(run(['alice@example.test'], mail_options=' SIZE=999999999'), [552]))
    got = run(['alice@example.test'], extra=b''.join(b'Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n' for _ in range(200)))
    told('13: a loop is 554 at the dot', refused(got, [554]), got)
    got = run(['x@y.far.test'])
    told('    relaying for strangers is 550', refused(got, [550]), got)
    got = run(['nobody@example.test'], sender='')
    told('14: a null reverse-path to nobody is 550', refused(got, [550]), got)
    got = run(['no-one@six.test'])
    told('4: a hop that is reached over IPv6: its refusal at RCPT is ours', refused(got, [550]), got)
    got = run(['late@six.test'])
    told('3: and its refusal behind the dot', got[1][0][0] == 250 and got[2][0] == 554, got)


HOST = FAMILIES[0]
for family in reversed(FAMILIES):
    every_row(family)


# -- random mixed transactions beside a model ------------------------------------------------------------------------------------------
LOCAL = ['alice@example.test', 'bob@example.test']
KINDS = {'local': LOCAL, 'unknown': ['nobody@example.test', 'none@example.test'], 'hop': ['good@relay.test', 'two@relay.test', 'away@example.test'],
         'hop-no': ['no@relay.test', 'gone@example.test'], 'hop-later': ['later@relay.test'], 'other-hop': ['any@all.test', 'two@all.test'], 'down': ['x@down.test'],
         'foreign': ['x@y.far.test'], 'late': ['late@relay.test'], 'six': ['good@six.test', 'two@six.test'], 'mbox': ['box@example.test'], 'fan-out': ['pair@example.test'],
         'list': ['crew@example.test'], 'program': ['prog@example.test'], 'program-no': ['refuser@example.test'], 'lmtp': ['u@lmtp.test', 'v@lmtp.test'], 'lmtp-late': ['late@lmtp.test']}
if inner6 is inner:
    del KINDS['six']


class Model:
    """What the rule says of one transaction."""

    def __init__(self):
        self.hop, self.taken = None, []

    def rcpt(self, kind, address):
        if kind in ('local', 'mbox', 'fan-out', 'list'):
            return self.take(address)
        if kind in ('unknown', 'foreign'):
            return 5
        hop = {'hop': 'inner', 'hop-no': 'inner', 'hop-later': 'inner', 'late': 'inner', 'other-hop': 'all', 'down': 'dead', 'six': 'six',
               'lmtp': 'lmtp', 'lmtp-late': 'lmtp', 'program': 'program', 'program-no': 'refuser'}[kind]
        if self.hop and self.hop != hop:
            return 4                         # 452: one next hop, or one program
        if kind == 'hop-no':
            return 5
        if kind in ('hop-later', 'down'):
            return 4
        self.hop = hop
        return self.take(address)

    def take(self, address):
        self.taken.append(address)
        return 2

    def end(self, spam, late_first):
        hop_refuses = self.hop == 'refuser' or (self.hop not in (None, 'program') and (spam or late_first)) or 'late@lmtp.test' in self.taken
        if not hop_refuses:
            return (2,)
        return (4, 5)                        # alone: the hop's own answer; beside mailboxes: 451


LEAVES = {'away@example.test': ['good@relay.test'], 'pair@example.test': LOCAL, 'crew@example.test': ['bob@example.test', 'pal@listed.test']}


def leaves(address):
    return LEAVES.get(address, [address])


def without_shared_leaves(plan):
    """A copy for each recipient: who goes twice to one place in two transactions has it twice."""
    seen, kept = set(), []
    for kind, address in plan:
        if not seen & set(leaves(address)):
            kept.append((kind, address))
            seen |= set(leaves(address))
    return kept


def settle(plan, first, **message):
    """The client goes on as RFC 5321 says, until each has a 250 or a 5xx; whose hop never takes anybody stays due. Those who have it, or None: it had no end."""
    due, have, hopeless = [a for _, a in plan], [], {a for kind in ('hop-later', 'down') for a in KINDS[kind]}
    for _ in range(12):
        mail, rcpt, end = first or run(due, **message)
        first, code = None, end[0] // 100 if end else 4
        taken = [a for a, r in zip(due, rcpt) if r[0] == 250]
        if code == 2:
            have += taken
        due = [a for a, r in zip(due, rcpt) if r[0] // 100 == 4 or (r[0] == 250 and code == 4)]
        if not set(due) - hopeless:
            return have
    return None


def drain_check(promised, denied):
    """Everything promised is there once; nothing denied is anywhere."""
    texts = {u: list(p.messages(u).values()) for u in ('alice', 'bob')}
    texts['box'], texts['prog'] = ([path.read_bytes()] if path.exists() else [] for path in (p.mail / 'boxes/box', folder / 'taken'))
    p.wait(lambda: not list(p.spool.glob('queue/*/*')))                          # copies of lists, under their owner
    hops = [(m.recipients, m.content) for s in dict.fromkeys((inner, inner6, all_taking, mailstore, listed)) for m in s.messages]
    found = {}
    for user, list_ in texts.items():
        for m in list_:
            for mark in re.findall(rb'X-Mark: (\d+)', m):
                found.setdefault(int(mark), []).append(f'{user}@example.test')
    for recipients, content in hops:
        for mark in re.findall(rb'X-Mark: (\d+)', content):
            found.setdefault(int(mark), []).extend(recipients)
    lost = [(m, r, found.get(m)) for m, r in promised.items() if sorted({x for a in r for x in leaves(a)}) != sorted(found.get(m, []))]
    leaked = [m for m in denied if found.get(m)]
    return lost, leaked


promised, denied, wrong, count, retried, unsettled = {}, [], [], 0, 0, 0
talks = [p.talk(host=host) for host in FAMILIES]
for talk in talks:
    talk.say('EHLO client.test')
end_by = time.monotonic() + 100 * SLOW
for number in range(1, ROUNDS + 1):
    if time.monotonic() > end_by:
        break
    count += 1
    model, plan = Model(), []
    for _ in range(chance.randint(1, 5)):
        kind = chance.choice(list(KINDS))
        plan.append((kind, chance.choice(KINDS[kind])))
    spam, settled = chance.random() < .2, chance.random() < .15
    plan = without_shared_leaves(plan) if settled else [x for x in plan if x[0] != 'lmtp-late'] or [('unknown', 'nobody@example.test')]
    message = {'extra': b'X-Mark: %d\r\n' % number + (b'X-Spam: 1\r\n' if spam else b'') + (b'Message-ID: <%d@out.test>\r\n' % number if chance.random() < .5 else b''), 'talk': talks[number % len(talks)],
               'sender': forged()}
    mail, rcpt, end = run([a for _, a in plan], **message)
    if mail[0] != 250:
        wrong.append((number, plan, mail))
        break
    expected, seen_late, hop_order = [], False, []
    for kind, address in plan:
        answer = model.rcpt(kind, address)
        expected.append(answer)
        if answer == 2 and kind in ('hop', 'late'):
            hop_order.append(address)
    got = [r[0] // 100 for r in rcpt]
    if got != expected:
        wrong.append((number, plan, expected, rcpt))
        continue
    if settled:
        have = settle(plan, (mail, rcpt, end), **message)
        unsettled += have is None
        if have:
            promised[number] = have
        else:
            denied.append(number)
        retried += 1
    if end is None:
        continue
    late_first = bool(hop_order) and hop_order[0].startswith('late')
    if end[0] // 100 not in model.end(spam, late_first):
        wrong.append((number, plan, model.end(spam, late_first), end))
    if settled:
        continue
    if end[0] == 250:
        promised[number] = model.taken
    else:
        denied.append(number)
for talk in talks:
    talk.close()
lost, leaked = drain_check(promised, denied)
check(f'{count} random transactions were answered as the model says', not wrong, wrong[:3])
check(f'and each of {retried} whose client tried again came to an end', not unsettled, unsettled)
check('what was answered 250 is everywhere it was promised, once', not lost, lost[:5])
check('what was not is nowhere', not leaked, leaked[:5])


# -- kill -9 of each process at any moment ------------------------------------------------------------------------------------------------
def retry(recipients, mark):
    """A client as RFC 5321 has it: sends again what it heard no 250 or 5xx for, in transactions of its own for those that were put off."""
    due, done, never, sender = list(recipients), [], [], forged()
    end_by = time.monotonic() + PATIENCE * SLOW
    while due and time.monotonic() < end_by:
        try:
            mail, rcpt, end = run(due, extra=b'X-Mark: %d\r\n' % mark, sender=sender)
        except (OSError, ValueError):
            time.sleep(.2)
            continue
        good = [r for r, c in zip(due, rcpt) if c[0] == 250]
        never += [r for r, c in zip(due, rcpt) if c[0] // 100 == 5]
        if end and end[0] == 250:
            done += good
            due = [r for r, c in zip(due, rcpt) if c[0] not in (250,) and c[0] // 100 != 5]
        elif end and end[0] // 100 == 5:
            never += good
            due = [r for r in due if r not in good and r not in never]
        else:
            due = [r for r in due if r not in never]
            time.sleep(.15)
    return done, due


base, killed, missing, second, copies = 100000, 0, [], [], 0
for role in ('delivery', 'mailbox', 'smtpd', 'queue', 'keeper', 'login', 'delivery', 'mailbox'):
    for delay in (0, .002, .01):
        base += 1
        pids = p.roles().get(role, [])
        if not pids:
            continue
        import threading
        def shoot(which=pids, wait=delay):
            time.sleep(wait)
            for pid in which:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        shooter = threading.Thread(target=shoot)
        shooter.start()
        done, due = retry(['alice@example.test', 'good@relay.test'], base)
        shooter.join()
        killed += 1
        mark = b'X-Mark: %d' % base
        here = sum(mark in m for m in p.messages('alice').values())
        there = sum(mark in m.content for m in inner.messages)
        if due or here < 1 or there < 1:
            missing.append((role, delay, due, here, there))
        copies += max(0, there - 1)
        if here > 1 or there > 2:
            second.append((role, delay, here, there))
check(f'after {killed} kill -9 everything that was promised is there', not missing, missing[:3])
check('and nobody has a second copy, but for a hop whose own 250 was lost with us (RFC 1047): one', not second, second)
print(f'row second copies at a hop after {killed} kill -9: {copies}')
time.sleep(1)
check('no forged sender\'s server saw a single connection', victims.connections == victims6.connections == 0, (victims.connections, victims.mails[:3], victims6.mails[:3]))
nulls = [s for s in (victims, victims6, inner, inner6, all_taking, listed, mailstore) for m in s.null_senders]
check('no null reverse-path went anywhere', not nulls)
check('nothing lies in the queue', not list(p.spool.glob('queue/*/*')) and not list(p.spool.glob('queue/*.q')), list(p.spool.glob('queue/**/*'))[:5])
check('it ends in order', p.stop() == 0)
finish()
