#!/usr/bin/env python3
"""What has a say beside milters: policy services, DNS lists, greylisting, header rules; each with a partner that lies, hangs up or is dead."""
import json, re, socket, threading, time
from dns import Dns
from porter import PATIENCE, SLOW, Porter, check, finish

MAIL = b'Subject: %s\r\nX-Mailer: Acme Bulk 2\r\n\r\nhello\r\n'


class Policy:
    """Answers each question by a function of its attributes, or with the bytes it is told to; keeps the questions."""

    def __init__(self, says):
        self.says, self.asked, self.connections = says, [], 0
        self.server = socket.create_server(('127.0.0.1', 0))
        self.address = '127.0.0.1:%d' % self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                s, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        try:
            self._talk(s)
        except OSError:
            pass

    def _talk(self, s):
        with s, s.makefile('rb') as f:
            q = {}
            for line in f:
                line = line.rstrip(b'\n').decode(errors='replace')
                if line:
                    k, _, v = line.partition('=')
                    q[k] = v
                    continue
                self.asked.append(q)
                says = self.says(q) if callable(self.says) else self.says
                q = {}
                if says is None:
                    return
                try:
                    if isinstance(says, list):      # this, and the end
                        return s.sendall(says[0])
                    s.sendall(says if isinstance(says, bytes) else f'action={says}\n\n'.encode())
                except OSError:
                    return

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


def policy():
    service = Policy('DUNNO')
    with Porter('policy', settings={'policy-services': f'test={service.address},timeout=60s end={service.address},at=dot,timeout=60s', 'smtpd-processes': '1', 'evidence': 'no'}) as p:
        good = p.send(MAIL % b'x', to=['alice@example.test', 'bob@example.test']) == 250
        q = service.asked
        check('a policy service is asked at each RCPT and at the dot', good and [a['protocol_state'] for a in q] == ['RCPT', 'RCPT', 'END-OF-MESSAGE'], q)
        check('it is told client, EHLO name, sender, recipient, size', q[0]['client_address'] == '127.0.0.1' and q[0]['helo_name'] == 'client.test' and q[0]['recipient'] == 'alice@example.test'
              and q[0]['sender'] == 'someone@outside.test' and int(q[2]['size']) == len(MAIL % b'x') and q[2]['recipient_count'] == '2' and q[0]['instance'] == q[2]['instance'], q)
        with p.talk(port=p.submission) as t:
            good = t.login() == 235 and t.deliver(b'From: alice@example.test\r\n' + MAIL % b'x', ['bob@example.test'], 'alice@example.test') == 250
        check('and who is logged in, and how', good and (q[-1]['sasl_method'], q[-1]['sasl_username']) == ('PLAIN', 'alice@example.test') and not q[0]['sasl_method'], q[-1])
        for _ in range(5):
            p.send()
        check('connections are kept over sessions', service.connections <= 2, service.connections)
        for says, code in (('REJECT go away', 554), ('550 5.7.1 no', 550), ('450 4.2.0 full', 450), ('DEFER later', 450), ('DEFER_IF_PERMIT later', 450), ('DISCARD', 554), ('OK', 250), ('dunno', 250),
                           ('WARN hm', 250), ('DEFER_IF_REJECT', 250), ('REDIRECT x@y.test', 451), ('FILTER smtp:x', 451), ('BCC a@b.test', 451), ('nonsense', 451),
                           (b'action=\n\n', 451), (b'hello\n\n', 451), (b'x' * 20000, 451), (b'action=DUNNO\n\naction=DUNNO\n\n', 250), (None, 451)):
            service.says = says
            got = p.send()
            check(f'{says if not isinstance(says, bytes) else says[:30]!r} is answered {code}', got == code, got)
        service.says = b'action=DUNNO\n\naction=REJECT for whom?\n\n'
        first, service.says = p.send(), 'DUNNO'
        check('a second answer is nobody\'s, not the next question\'s', (first, p.send(), p.send()) == (250, 250, 250), p.log_text()[-500:])
        for what, says in (('a line', b'x' * 100000000), ('lines', b'reason=none\n' * 8000000), ('half an answer and the end', b'action=DUN')):
            p.forget_peaks()
            rest, lines, began = p.peak_kib('smtpd'), p.log_text().count('policy-down'), time.monotonic()
            service.says = [says]
            got = p.send()
            lines, grown = p.log_text().count('policy-down') - lines, p.peak_kib('smtpd') - rest
            check(f'{what} without end: 451, one line of the log, bounded in time and memory', (got, lines) == (451, 1) and time.monotonic() - began < PATIENCE * SLOW and grown < 4096, (got, lines, grown))
        service.says = 'REJECT go away'
        p.map('access', 'to:bob@example.test by-pass test, by-pass end\nfrom:free@outside.test by-pass test, by-pass end, tag free\nhelo:free.test by-pass test\nhelo:many.test ' + ''.join(f'tag {"x" * 50}-{n}, ' for n in range(12)) + 'by-pass test\nfrom:later@outside.test defer 450 4.7.1 ' + 'x' * 150)
        p.compile()

        def named():
            with p.talk() as t:
                t.say('EHLO x.test'), t.say('MAIL FROM:<a@b.test>')
                return [t.code(f'RCPT TO:<{u}@example.test>') for u in ('alice', 'bob', 'alice')]
        check('access spares a recipient what it names, and no other one', p.wait(lambda: named() == [554, 250, 554]), named())
        with p.talk() as t:
            codes = [t.deliver(MAIL % b'free', sender=s) for s in ('free@outside.test', 'other@outside.test')]
        check('or a reverse-path, and no other transaction of that session', codes == [250, 554], codes)
        with p.talk() as t:
            codes = []
            for name in ('x.test', 'free.test', 'x.test', 'free.test'):
                t.say(f'EHLO {name}'), t.say('MAIL FROM:<a@b.test>')
                codes.append(t.code('RCPT TO:<alice@example.test>'))
            t.say('RSET'), t.starttls(), t.say('EHLO x.test'), t.say('MAIL FROM:<a@b.test>')
            codes.append(t.code('RCPT TO:<alice@example.test>'))
        check('or an EHLO name, until there is another one, or TLS', codes == [554, 250, 554, 250, 554], codes)
        with p.talk() as t:
            t.say('EHLO x.test'), t.raw(b'MAIL FROM:<later@outside.test>\r\n' * 2000)
            answers = {str(t.reply()) for _ in range(2000)}
            check('who is put off two thousand times in a session hears the same each time, and may give another name then', len(answers) == 1 and 'xxx' in str(answers) and t.code('EHLO y.test') == 250, answers)
        with p.talk() as t:
            t.raw(b'EHLO many.test\r\n' * 100)
            answers = {t.reply()[0] for _ in range(100)}
            t.say('MAIL FROM:<a@b.test>')
            check('who says an EHLO name a hundred times is spared from no less, and tagged', answers == {250} and t.code('RCPT TO:<alice@example.test>') == 250, answers)
        service.says = 'DUNNO'
        p.clean()
        with p.talk() as t:
            codes = [t.deliver(MAIL % b'x', sender=s) for s in ('free@outside.test', 'other@outside.test')]
        tagged = [b'X-Porter-Tags: free\n' in m for m in p.messages().values()]
        check('so it is with tags', codes == [250, 250] and sorted(tagged) == [False, True], (codes, tagged))
        p.clean()
        forged = b'X-Porter-Tags: partner\r\nx-porter-tags : free\r\n'
        codes = p.send(forged + MAIL % b'x'), p.send(forged + MAIL % b'x' + b'y' * 70 + b'\r\n' + (b'z' * 70 + b'\r\n') * 5000)
        found = [b'x-porter-tags' in m.lower() for m in p.messages().values()]
        check('tags that a stranger writes are none', codes == (250, 250) and found == [False, False], (codes, found))
        p.map('access', '127.0.0.1 by-pass tags')
        p.compile()
        p.clean()
        check('but for whom access says so: another Porter in front of this one', p.wait(lambda: p.send(forged + MAIL % b'x') == 250 and any(b'X-Porter-Tags: partner\n' in m for m in p.messages().values())))
        service.says = 'REJECT'
        p.map('access', '')
        p.compile()
        p.wait(lambda: named() == [554, 554, 554])
        service.says = lambda q: 'PREPEND X-Policy: seen' if q['protocol_state'] == 'RCPT' else 'DUNNO'
        p.clean()
        p.send()
        check('PREPEND adds a field', all(m.count(b'X-Policy: seen\n') == 1 for m in p.messages().values()) and p.messages())
        service.says = lambda q: 'PREPEND no field' if q['protocol_state'] == 'RCPT' else 'DUNNO'
        check('what is no field defers the message', p.send() == 451)
        service.says = lambda q: 'HOLD too odd' if q['protocol_state'] == 'RCPT' else 'DUNNO'
        code, rows = p.send(), json.loads(p.ctl('dead', 'list', '--json').stdout)
        told = p.wait(lambda: [m for m in p.messages().values() if b'Subject: A message was held back' in m])
        check('HOLD is a dead letter, and the postmaster is told', code == 250 and len(rows) == 1 and 'too odd' in p.ctl('dead', 'show', rows[0]['id']).stdout and told, (code, rows))
        service.says = lambda q: 'REJECT' if q['recipient'].startswith('bob') else 'DUNNO'
        p.clean()
        p.send(to=['alice@example.test', 'bob@example.test'])
        check('one recipient is refused, the other gets it', len(p.messages()) == 1 and not p.messages('bob'))
        service.close()
        service.says = None
        p.send()
        check('mail is deferred while a policy service is down', p.send() == 451 and 'policy-down' in p.log_text())
    service = Policy('DUNNO')
    with Porter('policy-early', settings={'policy-services': f'early={service.address},at=helo', 'evidence': 'no'}) as p:
        for says, wants in (('HOLD odd', 'HOLD'), ('PREPEND X-A: b', 'PREPEND')):
            service.says = says
            with p.talk() as t:
                got = t.code('EHLO x.test')
            check(f'{wants} before there is a message is not passed over: 451, and an error in the log', got == 451 and p.wait_log(f'policy-unknown-action .*at=EHLO wants={wants}'), (got, p.log_text()[-300:]))
    service.close()
    service = Policy('550 5.1.1 No such user')
    with Porter('policy-knows', settings={'policy-services': service.address, 'evidence': 'no', 'limit-exempt': '192.0.2.1/32', 'greet-delay': '0', 'harvest-slow': '3', 'harvest-blind': '6'}) as p:
        with p.talk() as t:
            t.say('EHLO x.test'), t.say('MAIL FROM:<a@b.test>')
            codes = [t.code('RCPT TO:<alice@example.test>') for _ in range(8)]
        check('who guesses at names that a policy service alone knows draws on the budget, too', codes[0] == 550 and codes[-1] == 250, codes)
    service.close()
    over = threading.Event()
    service = Policy(lambda q: over.wait() and 'OK')
    with Porter('policy-hangs', settings={'policy-services': f'test={service.address},timeout=1s', 'evidence': 'no'}) as p:
        check('one that hangs is waited for as long as is set', p.send() == 451)
        over.set()
    service.close()
    service_that_sinks()


def service_that_sinks():
    """It hangs up on a connection that was idle before, and can't be dialled again before its time is over."""
    service, crowd = Policy('DUNNO'), []
    with Porter('policy-sinks', settings={'policy-services': f'test={service.address},timeout=2s', 'evidence': 'no', 'smtpd-processes': '1'}) as p:
        before, host, port = p.roles()['smtpd'], '127.0.0.1', int(service.address.split(':')[1])
        code = p.send()

        def sink(question):
            service.server.shutdown(socket.SHUT_RDWR), service.server.close()
            with socket.socket() as full:
                full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                full.bind((host, port)), full.listen(0)
                service.server = full.dup()
            for _ in range(4):              # what is more than its queue holds is not answered at all
                crowd.append(socket.socket())
                crowd[-1].setblocking(False)
                crowd[-1].connect_ex((host, port))
            time.sleep(1)
        service.says = sink
        with p.talk() as t:
            check('a policy service that hangs up and is not there again in time defers', (code, t.deliver(MAIL % b'x')) == (250, 451), p.log_text()[-600:])
            time.sleep(2)
            check('and the connection that comes too late is nobody\'s end', t.code('NOOP') == 250 and p.roles()['smtpd'] == before, p.log_text()[-600:])
    service.close()


def dns_lists():
    zone = {'1.0.0.127.dead.test': 'DROP', '1.0.0.127.black.test': {'A': ['127.0.0.2']}, '1.0.0.127.grey.test': {'A': ['127.0.0.4']}, '1.0.0.127.white.test': {'A': ['127.0.0.9']},
            '1.0.0.127.closed.test': {'A': ['127.255.255.254']}, '*.lapsed.test': {'A': ['203.0.113.9']}}
    common = {'limit-exempt': '192.0.2.1/32', 'greet-delay': '0', 'score-refuse': '5', 'smtpd-processes': '1', 'evidence': 'no', 'harvest-slow': '1000', 'harvest-blind': '10000',
              'harvest-refuse': '100000'}
    with Dns(zone) as d:
        for lists, code in (('black.test*5', 550), ('black.test*3 grey.test*2', 550), ('black.test*3 grey.test*1', 250), ('black.test*9 white.test*-5', 250), ('black.test=127.0.0.3*9', 250),
                            ('grey.test=127.0.0.4/31*9', 550), ('closed.test*9 lapsed.test*9 nowhere.test*9', 250)):
            with Porter('dnsbl', settings=dict(common, **{'dnsbl-zones': lists, 'dns-resolvers': d.resolver})) as p:
                got = p.send()
                check(f'lists {lists}: {code}', got == code, (got, p.log_text()[-300:]))
        with Porter('dnsbl-spare', settings=dict(common, **{'dnsbl-zones': 'black.test*5 dead.test*9', 'dns-resolvers': d.resolver, 'dns-timeout': '2'})) as p:
            began = time.monotonic()
            codes = p.send(to='postmaster@example.test'), p.send()
            check('postmaster is written to from a listed address; a dead list has no say, and holds nobody up', codes == (250, 550) and time.monotonic() - began < PATIENCE * SLOW, codes)
            check('one line of the log has the score and the lists', re.search(r'score .*score=5 lists=black.test', p.log_text()), p.log_text()[-500:])
        with Porter('score', settings=dict(common, **{'score-no-name': '3', 'score-bad-helo': '2', 'dns-resolvers': d.resolver})) as p:
            def helo(name):
                with p.talk() as t:
                    return t.deliver(MAIL % b'x', ehlo=name)
            codes = helo('mail.outside.test'), helo('localhost'), helo('mx.example.test')
            check('a missing name and a bad EHLO name are weights, not cliffs', codes == (250, 550, 550), codes)


def greylist():
    settings = {'limit-exempt': '192.0.2.1/32', 'greet-delay': '0', 'greylist-delay': '1h', 'evidence': 'no'}
    with Porter('greylist', settings=settings, maps={'access': 'from:new@outside.test tag greylist'}) as p:
        codes = p.send(sender='new@outside.test'), p.send(sender='new@outside.test'), p.send(sender='other@outside.test')
        check('who is tagged for it is greylisted, nobody else', codes == (451, 451, 250), codes)
        p.stop()
        p.set({'greylist-delay': '1s'})
        p.start()
        check('and taken when it comes again', p.wait(lambda: p.send(sender='new@outside.test') == 250))
        check('and from then on at once', p.send(sender='new@outside.test') == 250 and p.send(sender='new@outside.test', to='bob@example.test') == 451)
        p.stop()
        p.start()
        check('a restart forgets nobody', p.send(sender='new@outside.test') == 250)
    with Porter('greylist-all', settings=dict(settings, greylist='yes')) as p:
        check('all strangers, where so set', p.send() == 451)
        p.stop()
        with open(p.spool / 'greylist', 'r+b') as f:
            f.write(b'\xff' * 4096)
        p.start()
        check('also when the table was damaged: it begins anew, and is told', p.send() == 451 and p.wait_log('table-begun-anew .*/greylist'), p.log_text()[-500:])


def header_rules():
    rules = 'subject /cheap\\s+watches/i refuse 554 5.7.1 No watches, please.\nx-mailer /^Acme Bulk/ tag bulk\n* /^X-Worm:/ refuse\nx-slow /^(a+)+$/ refuse\nx-total /(?:a+)+[^ab]/ refuse\nsubject /later/ defer\n'
    with Porter('header', settings={'evidence': 'no'}, maps={'=header': rules}) as p:
        codes = [p.send(MAIL % s) for s in (b'Cheap\r\n watches', b'hello', b'later')]
        check('header rules refuse by pattern, over folds, and defer', codes == [554, 250, 450], codes)
        check('and tag', [m for m in p.messages().values() if re.search(rb'X-Porter-Tags?: bulk\n', m)], p.messages())
        check('a rule for all fields sees their names', p.send(b'x-worm: 1\r\n\r\nx\r\n') == 250 and p.send(b'X-Worm: 1\r\n\r\nx\r\n') == 550)
        check('and what stands behind a padding', p.send(b'Subject: ' + b'p' * 200000 + b' cheap watches\r\n\r\nx\r\n') == 554, p.log_text()[-500:])
        began = time.monotonic()
        check('a pattern without end is 451 in bounded time', p.send(b'X-Slow: ' + b'a' * 60 + b'b\r\n\r\nx\r\n') == 451 and time.monotonic() - began < PATIENCE * SLOW)
        before = p.log_text().count('header-limit')
        code = p.send(b''.join(b'X-Total: ' + (b'a' * 11 + b'b') * 5000 + b'\r\n' for _ in range(16)) + b'\r\nx\r\n')
        check('all patterns over all fields have a limit together: 451, one line', code == 451 and p.log_text().count('header-limit') == before + 1 and 'header-time-limit' in p.log_text(), (code, p.log_text()[-800:]))
        check('of 9,000 fields that a rule finds, the log has one line', p.send(b'X-Mailer: Acme Bulk\r\n' * 9000 + b'\r\nx\r\n') == 250 and p.log_text().count('field=X-Mailer') == 2)
        p.map('header', 'subject /(/ refuse')
        check('compile refuses what is no pattern', p.ctl('compile').returncode != 0)


policy()
dns_lists()
greylist()
header_rules()
finish()
