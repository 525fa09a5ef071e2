#!/usr/bin/env python3
"""Harvesting (rule.md, "Both horns"): slowed, then blind, then refused; never with 5xx for what is blind, never an accepted message. Limits of sessions and rates."""
import base64, json, os, re, signal, subprocess, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from dns import Dns  # noqa: E402
from porter import BUILD, SLOW, Porter, Talk, check, finish  # noqa: E402
from sink import Sink  # noqa: E402


INSIDE = {'a': '550 Unknown user', 'b': '550 5.1.10 RESOLVER.ADR.RecipientNotFound', 'c': '550 5.4.1 Recipient address rejected: Access denied'}


def guess(t, n, first=0):
    """Codes of n unknown recipients, up to a 421."""
    codes = []
    while len(codes) < n and 421 not in codes:
        codes.append(t.code(f'RCPT TO:<ghost{first + len(codes)}@example.test>'))
    return codes


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
    """Who goes on though blind is refused; the sessions that it had open learn no name either."""
    held = [begin(porter, '127.0.1.30') for _ in range(2)]
    codes = []
    while len(codes) < 400 and 421 not in codes:
        with begin(porter, '127.0.1.30') as t:
            codes += guess(t, 20, len(codes)) if t.greeting[0] == 220 else [421]
    first = codes.index(250)
    check('whoever goes on, though blind, is refused with 421 in the end, and never learns a name', 421 in codes and set(codes[:first]) == {550} and set(codes[first:codes.index(421)]) == {250}, codes)
    with Talk(porter, source='127.0.1.30') as t:
        check('its connections are refused', t.greeting[0] == 421, t.greeting)
    blind_ids = re.findall(r' harvest .*id=(\S+) client=127\.0\.1\.30 .*level=blind', porter.log_text())
    check('and the log says why: one line for each transaction that is blind, and for each connection that is refused', blind_ids and len(set(blind_ids)) == len(blind_ids) and
          re.search(r' harvest process=smtpd session=\S+ client=127\.0\.1\.30 level=refuse', porter.log_text()), re.findall(r' harvest .*127\.0\.1\.30.*', porter.log_text())[:9])
    said = [held[0].code('RCPT TO:<alice@example.test>'), held[1].code('RCPT TO:<ghost@example.test>')]
    check('a session of before hears 421 for whomever it names', said == [421, 421], said)
    for t in held:
        t.close()


def blind(porter, hop):
    """Nothing that a blind client says is looked into: one 451 4.7.1, whatever it is."""
    with begin(porter, '127.0.6.60') as t:
        guess(t, 10)
        codes = [t.code(f'RCPT TO:<{r}>') for r in ('alice@example.test', 'good@relay.test', 'ghost@relay.test', 'x@far.test')]
        check('a blind client is told 250 for everybody, and no next hop is asked', codes == [250] * 4 and not hop.rcpts, (codes, hop.rcpts))
        ends = {}
        for what, content in (('a field that a rule refuses with 554', b'Subject: cheap\r\n\r\nx\r\n'), ('a loop', b'Received: x\r\n' * 200 + b'\r\nx\r\n'), ('three megabytes', b'Subject: x\r\n\r\n' + b'y' * 76 * 40000 + b'\r\n'),
                              ('a long header section', b'Subject: x\r\n' + b'X-A: b\r\n' * 300000 + b'\r\n')):
            t.say('MAIL FROM:<a@outside.test>'), t.say('RCPT TO:<alice@example.test>'), t.say('DATA')
            t.raw(content + b'.\r\n')
            ends[what] = t.reply()
        check('and its content is answered 451 4.7.1, whatever stands in it', all(c == 451 and lines[-1].startswith('451 4.7.1') for c, lines in ends.values()), ends)
        t.say('MAIL FROM:<a@outside.test>'), t.say('RCPT TO:<alice@example.test>')
        t.raw(b'BDAT 16 LAST\r\nSubject: x\r\n\r\nx\r\n')
        check('by BDAT, too', t.reply()[0] == 451)


def takes_the_same_time():
    """Whatever a blind client names: not looked up, not expanded, nobody asked. Of many tries the quickest shows what the work is."""
    hop = Sink(rcpt=lambda a: ('wait', .5, None))
    names = {'a mailbox': 'alice@example.test', 'nobody': 'ghost@example.test', 'an alias of two hundred': 'all@example.test', 'a slow hop\'s': 'x@relay.test', 'a foreign one': 'x@far.test'}
    with Porter('blind-time', settings={'limit-exempt': '10.0.0.0/8', 'greet-delay': '0', 'harvest-slow': '1', 'harvest-blind': '2', 'harvest-refuse': '1000000', 'smtpd-processes': '1', 'evidence': 'no'},
                maps={'domains': f'relay.test relay [127.0.0.1]:{hop.port} recipients=ask', 'recipients': '\n'.join(f'm{n}@example.test' for n in range(200)),
                      'aliases': 'all@example.test ' + ' '.join(f'm{n}@example.test' for n in range(200))}) as p:
        with begin(p, '127.0.0.20') as t:
            guess(t, 4)
        quickest, codes = dict.fromkeys(names, 9), set()
        for _ in range(20):
            with begin(p, '127.0.0.20') as t:
                for _ in range(10):
                    for what, name in names.items():
                        began = time.monotonic()
                        codes.add(t.code(f'RCPT TO:<{name}>'))
                        quickest[what] = min(quickest[what], time.monotonic() - began)
        check('a blind client hears 250 as soon for whomever it names', codes == {250} and max(quickest.values()) < 2 * min(quickest.values()) + .0001, (codes, quickest))


def named_only(porter):
    """Only what was delivered speaks for a network: anybody can name a postmaster."""
    with begin(porter, '127.0.7.70') as t:
        codes = [t.code('RCPT TO:<alice@example.test>') for _ in range(30)]
        codes += guess(t, 12)
        check('to name good recipients and send nothing is no history: such a client is blinded as any other', codes[-1] == 250 and 550 in codes, codes)


def postmaster_only(porter):
    with Talk(porter, source='127.0.8.80') as t:
        codes = [t.deliver(b'Subject: x\r\n\r\nx\r\n', ['postmaster@example.test']) for _ in range(8)]
        t.say('MAIL FROM:<a@outside.test>')
        check('nor are messages for the postmaster', set(codes) == {250} and guess(t, 10)[-1] == 250)


def delivered(porter):
    with Talk(porter, source='127.0.13.80') as t:
        codes = [t.deliver(b'Subject: x\r\n\r\nx\r\n') for _ in range(8)]
    with begin(porter, '127.0.13.81') as t:
        codes += guess(t, 11)
        check('a network whose messages were delivered is slowed and never blinded', codes == [250] * 8 + [550] * 11, codes)


def known(porter):
    """Those whom we know are never counted."""
    with Talk(porter, port=porter.submission, source='127.0.9.90') as t:
        t.login()
        t.say('MAIL FROM:<alice@example.test>')
        codes = guess(t, 60)
        check('a client that has logged in is never slowed, blinded or refused', set(codes) == {550}, codes)
    with begin(porter, '127.0.10.1') as t:
        t.say('RSET'), t.say('MAIL FROM:<a@partner.test>')
        codes = guess(t, 60)
        check('nor is one that `clients` knows for its reverse-path', set(codes) == {550}, codes)


def proven():
    """Where SPF or DKIM proves a domain the budget is its own, and names below it have no other one."""
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / 'key.pem'
        subprocess.run(['openssl', 'genrsa', '-out', key, '2048'], check=True, capture_output=True)
        der = subprocess.run(['openssl', 'pkey', '-in', key, '-pubout', '-outform', 'der'], check=True, capture_output=True).stdout
        mail = subprocess.run([BUILD / 'porterctl', 'auth', 'sign', '-', '--domain', 'dk.test', '--selector', 's', '--key', key], check=True, capture_output=True,
                              input=b'From: a@dk.test\r\nSubject: x\r\n\r\nx\r\n').stdout
    zone = {'*.many.test': {'TXT': ['v=spf1 ip4:127.0.11.1 -all']}, 's._domainkey.dk.test': {'TXT': ['v=DKIM1; k=rsa; p=' + base64.b64encode(der).decode()]}, 'dk.test': {'A': ['192.0.2.1']}}
    with Dns(zone) as d, Porter('harvest-proven', settings={'limit-exempt': '10.0.0.0/8', 'greet-delay': '0', 'evidence': 'yes', 'dns-resolvers': d.resolver, 'harvest-slow': '50', 'harvest-blind': '60'}) as p:
        def counted():
            return {r['who']: r['unknown'] for r in json.loads(p.ctl('harvest', 'list', '--json').stdout)}
        for n in range(6):
            with Talk(p, source='127.0.11.1') as t:
                t.say('EHLO t'), t.say(f'MAIL FROM:<a@s{n}.many.test>')
                guess(t, 1)
        check('unknown recipients draw on the budget of the domain that SPF proves, one for all names below it', list(counted()) == ['domain many.test'] and counted()['domain many.test'] in (5, 6), counted())
        with Talk(p, source='127.0.12.1') as t:
            code = t.deliver(mail, sender='a@dk.test')
            t.say('MAIL FROM:<b@dk.test>')
            guess(t, 3)
        check('and, once a signature was seen to be good, of the domain that DKIM proves', code == 250 and counted().get('domain dk.test') in (2, 3), (code, counted()))


def giant():
    """All that a giant's users send is proven; beside them somebody guesses from the same address, for domains that prove nothing."""
    zone = {'giant.test': {'TXT': ['v=spf1 ip4:127.0.16.0/24 -all']}}
    mail = b'From: u@giant.test\r\nSubject: x\r\n\r\nx\r\n'
    with Dns(zone) as d, Porter('giant', settings={'limit-exempt': '10.0.0.0/8', 'greet-delay': '0', 'evidence': 'yes', 'dns-resolvers': d.resolver, 'harvest-slow': '3', 'harvest-blind': '6',
                                                   'harvest-refuse': '300', 'harvest-good': '5'}) as p:
        def row(who):
            return next((r for r in json.loads(p.ctl('harvest', 'list', '--json').stdout) if r['who'] == who), {})
        with begin(p, '127.0.16.9') as t:
            codes = guess(t, 12)
            check('an address that proves nothing is blinded', codes[-1] == 250, codes)
        with Talk(p, source='127.0.16.9') as t:
            codes = [t.deliver(mail, ['alice@example.test'], 'u@giant.test') for _ in range(7)]
            check('a proven domain\'s users who share it are not: the budget is the domain\'s', codes == [250] * 7, codes)
            t.say('MAIL FROM:<a@giant.test>')
            guess(t, 2)
            t.say('RSET'), t.say('MAIL FROM:<a@outside.test>')
            before = row('domain giant.test')['unknown'], row('127.0.16.0/24')['unknown']
            codes = guess(t, 3)
            after = row('domain giant.test')['unknown'], row('127.0.16.0/24')['unknown']
            check('what is named for another domain in the same session is not on its budget', after[0] <= before[0] and after[1] >= before[1] + 2, (before, after))
            check('and proven mail speaks for its network as any other does', codes == [550] * 3, codes)
        check('which the list shows', row('127.0.16.9')['level'] == 'slow', row('127.0.16.9'))
        check('a domain is forgiven by any name below it, in capitals, too', p.ctl('harvest', 'forgive', 'domain', 'Mail.GIANT.test').returncode == 0 and not row('domain giant.test'))
        check('a network by the name that the list has for it', p.ctl('harvest', 'forgive', '127.0.16.0/24').returncode == 0 and not row('127.0.16.0/24') and
              p.ctl('harvest', 'forgive', '127.0.16.0/25').returncode == 64)


def blind_and_hasty():
    """SPF is waited for before a client is answered blindly: what it has written meanwhile, and that it goes away, is nobody's end."""
    zone = {'slow.test': 'DROP', 'giant.test': {'TXT': ['v=spf1 ip4:127.0.17.0/24 -all']}}
    with Dns(zone) as d, Porter('hasty', settings={'limit-exempt': '10.0.0.0/8', 'greet-delay': '0', 'evidence': 'yes', 'dns-resolvers': d.resolver, 'dns-timeout': '2', 'harvest-slow': '2', 'harvest-blind': '4',
                                                   'harvest-refuse': '5000', 'smtpd-processes': '1'},
                                    maps={'domains': 'down.test relay [127.0.0.1]:9 recipients=downs', '=downs': 'known@down.test'}) as p:
        with begin(p, '127.0.17.1') as t:
            guess(t, 6)
        before = p.roles()['smtpd']
        for _ in range(10):
            with Talk(p, source='127.0.17.1') as t:
                t.raw(b'EHLO t\r\nMAIL FROM:<a@slow.test>\r\nRCPT TO:<alice@example.test>\r\n')
                time.sleep(.02)
        with Talk(p, source='127.0.17.1') as t:
            t.raw(b'EHLO t\r\nMAIL FROM:<a@slow.test>\r\nRCPT TO:<alice@example.test>\r\nRSET\r\nMAIL FROM:<u@giant.test>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<ghost@example.test>\r\nDATA\r\n')
            codes = [t.reply()[0] for _ in range(8)]
            t.raw(b'Subject: x\r\n\r\nx\r\n.\r\n')
            codes.append(t.reply()[0])
        check('who is blind in one transaction and proven in the next, all in one write, has each answer', codes == [250] * 6 + [550, 354, 250], codes)
        with Talk(p, source='127.0.17.1') as t:
            codes = [t.say(line)[0] for line in ('EHLO t', 'MAIL FROM:<u@giant.test>', 'RCPT TO:<ghost@example.test>', 'RCPT TO:<known@down.test>', 'DATA')]
            codes.append(t.say('Subject: x\r\n\r\nx\r\n.')[0])
        queued = p.wait_log(r' queued .* from=u@giant.test .* evidence=spf who=(\S*)', 5)
        check('what SPF proved while a recipient waited outlives that recipient\'s refusal', codes == [250, 250, 550, 250, 354, 250] and queued and queued[1] == 'giant.test', (codes, queued))
        check('and no process dies over clients that go away meanwhile', p.roles()['smtpd'] == before, p.log_text()[-600:])


def unknown_inside(porter, hop):
    """What an inner server says of a name that it doesn't know is as many kinds as there are servers."""
    for n, (who, said) in enumerate(INSIDE.items()):
        source = f'127.0.{20 + n}.1'
        with begin(porter, source) as t:
            codes = [t.code(f'RCPT TO:<{who}{i}@inside.test>') for i in range(10)]
        check(f'who guesses behind a hop that says {said!r} is blinded', codes[-1] == 250 and 550 in codes, codes)
    with begin(porter, '127.0.19.1') as t:
        codes = [t.code(f'RCPT TO:<p{i}@inside.test>') for i in range(10)]
    check('a refusal by its policy is none for the name', codes == [550] * 10, codes)


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


def crowds(porter):
    held = [Talk(porter, source=f'127.0.5.{n}') for n in range(1, 10)]
    greetings = [t.greeting[0] for t in held]
    check('sessions of one network are limited', greetings == [220] * 6 + [421] * 3, greetings)
    for t in held:
        t.close()


def over_processes():
    """Limits of sessions hold over all smtpd processes; what one that was killed had counted is free again, and nothing else."""
    def fill(porter, talks, source):
        for _ in range(40):
            talks.append(Talk(porter, source=source))
            if talks[-1].greeting[0] == 421:
                talks.pop().close()
                return

    def alive(t):
        try:
            return t.say('NOOP')[0] == 250
        except (OSError, EOFError, ValueError, IndexError):
            return False

    for name, source, settings in (('address', '127.0.14.1', {'max-sessions-address': '12'}), ('network', None, {'max-sessions-network': '12'}), ('all', '127.0.14.1', {'max-sessions': '12'})):
        with Porter(f'crowd-{name}', settings={'limit-exempt': '127.0.0.0/8' if name == 'all' else '10.0.0.0/8', 'greet-delay': '0', 'smtpd-processes': '3', 'evidence': 'no'} | settings) as porter:
            talks = []
            fill(porter, talks, source or '127.0.15.7')
            check(f'the limit of sessions ({name}) holds over all processes', len(talks) == 12, len(talks))
            before = porter.roles()['smtpd']
            os.kill(before[0], signal.SIGKILL)

            def is_again():
                now = porter.roles().get('smtpd', [])
                return len(now) == 3 and before[0] not in now
            check(f'another process is started ({name})', porter.wait(is_again), porter.roles())
            left = [t for t in talks if alive(t)]
            more = []
            porter.wait(lambda: fill(porter, more, source or '127.0.15.8') or len(left) + len(more) >= 12)
            check(f'what a killed process had counted is free again, and no more ({name})', len(left) + len(more) == 12, (len(talks), len(left), len(more)))
            for t in talks + more:
                t.close()


def spend(porter, said):
    """How many were taken before the first 450; `said` gives a source, a sender and a recipient for each try."""
    for n in range(40):
        source, sender, recipient = said(n)
        with Talk(porter, source=source) as t:
            t.say('EHLO t')
            code = t.code(f'MAIL FROM:<{sender}>')
            if code == 250:
                code = t.code(f'RCPT TO:<{recipient}>')
            if code == 450:
                return n
    return None


def rates(porter):
    """A tenth of an hour's may come at once, the rest as the hour goes: a slow machine sees some more of it."""
    for what, burst, said in (('client', 6, lambda n: ('127.0.3.50', f'a{n}@outside.test', f'{"ab"[n % 2]}l@example.test')),
                              ('network', 20, lambda n: (f'127.0.4.{n + 1}', f'b{n}@outside.test', f'n{n}@example.test')),
                              ('reverse-path', 10, lambda n: (f'127.1.{n}.1', 'same@outside.test', f'p{n}@example.test')),
                              ('recipient', 8, lambda n: (f'127.2.{n}.1', f'c{n}@outside.test', 'alice@example.test')),
                              ('recipient, however it is written,', 8, lambda n: (f'127.3.{n}.1', f'd{n}@outside.test', f'{"bB"[n % 2]}o{"bB"[n // 2 % 2]}+{n}@example.test')),
                              ('reverse-path in capitals and not', 10, lambda n: (f'127.4.{n}.1', f'{"sS"[n % 2]}al{"lL"[n // 2 % 2]}y@outside.test', f'q{n}@example.test'))):
        got = spend(porter, said)
        check(f'messages of one {what} are limited by the hour with 450', got is not None and burst <= got <= burst + 4, got)
    limits = {l.split('limit=')[1].split()[0]: l.split('key=')[1].split()[0] for l in porter.log_text().splitlines() if ' rate ' in l}
    check('the log says which limit it was, and whose', limits == {'rate-client': '127.0.3.50', 'rate-network': '127.0.4.0/24', 'rate-reverse-path': 'sally@outside.test', 'rate-recipient': 'bob@example.test'}, limits)


def main():
    hop, inside = Sink(), Sink(rcpt=lambda a: INSIDE.get(a.strip('<>')[0], '550 5.7.1 Not from you'))
    with Porter('limits', settings={'limit-exempt': '10.0.0.0/8', 'greet-delay': '0', 'harvest-slow': '5', 'harvest-blind': '8', 'harvest-refuse': '30',
                                    'harvest-good': '5', 'smtpd-processes': '1', 'max-sessions-address': '3', 'max-sessions-network': '6', 'evidence': 'no'},
                maps={'domains': f'relay.test relay [127.0.0.1]:{hop.port} recipients=ask\ninside.test relay [127.0.0.1]:{inside.port} recipients=ask', 'clients': '127.0.10.0/24 partner.test', '=header': 'subject /cheap/ refuse 554 5.7.1 No'}) as porter:
        harvest(porter)
        with ThreadPoolExecutor(8) as pool:      # each in networks of its own; most of it is waiting
            for part in [pool.submit(f, porter) for f in (refused, lambda p: blind(p, hop), lambda p: unknown_inside(p, inside), named_only, postmaster_only, delivered, known)] + [pool.submit(proven), pool.submit(giant), pool.submit(blind_and_hasty)]:
                part.result()
        sessions(porter)
        crowds(porter)
    with Porter('rates', settings={'limit-exempt': '10.0.0.0/8', 'greet-delay': '0', 'evidence': 'no', 'rate-client': '60', 'rate-network': '200', 'rate-reverse-path': '100', 'rate-recipient': '80',
                                   'harvest-slow': '1000'}) as porter:
        rates(porter)
    with Porter('exempt') as porter:
        with begin(porter, '127.0.0.20') as t:
            codes = guess(t, 300)
            check('loopback is exempt as it is shipped', set(codes) == {550}, set(codes))
        porter.set({'limit-exempt': ' '.join(f'10.0.{n}.0/24' for n in range(256)) + ' 127.0.0.0/8'})
        told = porter.ctl('check')
        check('more networks than are exempted are no good configuration', told.returncode and 'more than 256' in told.stdout + told.stderr, told.stdout + told.stderr)
    takes_the_same_time()
    over_processes()
    with Porter('full', settings={'max-sessions': '6', 'smtpd-processes': '1'}) as porter:
        porter.wait(lambda: not any((r['status'] or {}).get('open_sessions') for r in porter.status()['processes'] if r['role'] == 'smtpd'))   # who saw it greet is gone
        held = [Talk(porter) for _ in range(9)]
        greetings = [t.greeting[0] for t in held]
        check('sessions have a number in all that nobody is exempt from; further ones are answered 421', set(greetings[:5]) == {220} and greetings[-2:] == [421, 421], greetings)
        for t in held:
            t.close()
        check('and when some have left others are served', porter.wait(lambda: porter.send() == 250))
    finish()


if __name__ == '__main__':
    main()
