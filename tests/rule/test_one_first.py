"""Which recipients may share a transaction (rule.md, "One transaction, several outcomes"): every pair and many triples of each kind of place, from a stranger and from a login. What was answered 250
lies at each place that its recipient leads to, once; what was answered 452 lies nowhere; and no process dies of a mixture (transaction_commit asserts that one place commits first)."""
import atexit, itertools, os, random, re, shutil, tempfile
from collections import Counter
from pathlib import Path
from login import Secure, b64, LOGIN, PASSWORD
from porter import Porter, check, finish
from sink import Sink

SEED = int(os.environ.get('PORTER_SEED', random.randrange(1 << 30)))
TRIPLES = int(os.environ.get('PORTER_TRIPLES', '150'))
folder = Path(tempfile.mkdtemp(prefix='porter-first-'))      # what programs have taken; they run as somebody else
folder.chmod(0o777)
atexit.register(shutil.rmtree, folder, True)
hop, known, far, lmtp, other = Sink(), Sink(), Sink(), Sink(lmtp=True), Sink(lmtp=True)
# recipient: the places that it leads to
PLACES = {'alice@example.test': ['box alice'], 'bob@example.test': ['box bob'], 'run1@example.test': ['program run1'], 'run2@example.test': ['program run2'],
          'la1@example.test': ['lmtp la1@example.test'], 'la2@example.test': ['lmtp la2@example.test'], 'lb@example.test': ['other lb@example.test'],
          'x@hop.test': ['hop x@hop.test'], 'y@hop.test': ['hop y@hop.test'], 'x@known.test': ['known x@known.test'], 'away@example.test': ['hop z@hop.test'],
          'runs@example.test': ['program run1', 'box bob'], 'crew@example.test': ['lmtp la1@example.test', 'lmtp la2@example.test', 'box alice'],
          'list@example.test': ['box alice', 'far u@far.test'], 'runlist@example.test': ['program run2', 'far v@far.test'], 'lmtplist@example.test': ['other lb@example.test', 'far v@far.test', 'box bob']}
ALIASES = {'away': 'z@hop.test', 'runs': 'run1 bob', 'crew': 'la1 la2 alice', 'list': 'alice u@far.test', 'runlist': 'owner=bob@example.test run2 v@far.test', 'lmtplist': 'owner=bob@example.test lb bob v@far.test'}
SINKS = {'hop': hop, 'known': known, 'far': far, 'lmtp': lmtp, 'other': other}
p = Porter('one-first', settings={'evidence': 'no', 'max-commands': '1000000'}, maps={
    'domains': f'hop.test relay [127.0.0.1]:{hop.port} recipients=ask\nknown.test relay [127.0.0.1]:{known.port} recipients=known\n',
    '=known': 'x@known.test', 'routes': f'far.test [127.0.0.1]:{far.port}',
    'recipients': ''.join(f'run{n}@example.test program:/bin/sh -c cat>>{folder}/run{n}\n' for n in (1, 2)) + ''.join(
        f'{u}@example.test lmtp:127.0.0.1:{s.port}\n' for u, s in (('la1', lmtp), ('la2', lmtp), ('lb', other))),
    'aliases': ''.join(f'{k}@example.test {v}\n' for k, v in ALIASES.items())})


def marks(text):
    return re.findall(rb'<\d+-one-first@outside\.test>', text)


def lying():
    """(mark, place): how often."""
    found = Counter()
    for place in {place for places in PLACES.values() for place in places}:
        kind, name = place.split()
        file = folder / name
        texts = p.messages(name).values() if kind == 'box' else [file.read_bytes() if file.exists() else b''] if kind == 'program' else [m.content for m in list(SINKS[kind].messages) if name in m.recipients]
        found.update((mark, place) for text in texts for mark in marks(text))
    return found


def give(t, sender, recipients, number):
    """(codes of RCPT, code of the dot, the message's mark)"""
    mark = b'<%d-one-first@outside.test>' % number
    t.say(f'MAIL FROM:<{sender}>')
    codes = [t.code(f'RCPT TO:<{r}>') for r in recipients]
    t.say('DATA')
    t.raw(b'From: %s\r\nMessage-ID: %s\r\n\r\nhello\r\n.\r\n' % (sender.encode(), mark))
    return codes, t.reply()[0], mark


def wrongs(done):
    found = lying()
    wrong = {}
    for mark, (recipients, codes) in done.items():
        wanted = {place for r, c in zip(recipients, codes) if c == 250 for place in PLACES[r]}
        count = {place: n for (m, place), n in found.items() if m == mark}
        if count != dict.fromkeys(wanted, 1):
            wrong[recipients] = codes, count
    return wrong


def all_of(who, t, sender, first):
    rng = random.Random(SEED)
    sets = list(itertools.permutations(PLACES, 2)) + [tuple(rng.sample(list(PLACES), 3)) for _ in range(TRIPLES)]
    done, bad, pids = {}, [], p.roles()
    for number, recipients in enumerate(sets):
        codes, end, mark = give(t, sender, recipients, first + number)
        done[mark] = recipients, codes
        if codes[0] != 250 or set(codes) - {250, 452} or end != 250:
            bad.append((recipients, codes, end))
    check(f'{who}: the first recipient is taken, and each other one, or 452; then 250 ({len(sets)} mixtures)', not bad, bad[:5])
    check(f'{who}: the queue ends', p.wait(lambda: '0 messages' in p.ctl('queue', 'list').stdout, 60))
    wrong = wrongs(done)
    check(f'{who}: what was answered 250 is at each place once, what was answered 452 nowhere', not wrong, (SEED, dict(list(wrong.items())[:5])))
    check(f'{who}: no process died of it', p.roles() == pids)
    return done


with p.talk(timeout=60) as t:
    t.say('EHLO c.test')
    strangers = all_of('a stranger', t, 'someone@outside.test', 0)
t = Secure(p, timeout=60)
t.say('AUTH PLAIN ' + b64(f'\0{LOGIN}\0{PASSWORD}'))
logins = all_of('a login', t, LOGIN, 100000)
t.close()
seconds = {r for (recipients, codes) in strangers.values() for r, c in zip(recipients, codes) if c == 452}
check('(the control: for a stranger whatever commits first was put off in some mixture, and mailboxes never)', not seconds & {'alice@example.test', 'bob@example.test', 'list@example.test'} and
      {'run1@example.test', 'la1@example.test', 'x@hop.test', 'runlist@example.test'} <= seconds, seconds)
check('it ends in order', p.stop() == 0)
finish()
