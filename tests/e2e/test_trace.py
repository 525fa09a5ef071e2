"""porterctl trace, send and top: the life of a message out of the log, a test message with its dialogue, a live picture."""
import json, os, re, subprocess
from porter import BUILD, SLOW, Porter, check, finish


def traces(form):
    with Porter(f'trace-{form}', settings={'log-form': form}, start=False, maps={'aliases': 'friends@example.test alice@example.test, bob@example.test'}) as p:
        p.set({'log': 'here'})
        r = p.ctl('check')
        check(f'{form}: a log that is nowhere is refused, with its line', r.returncode == 78 and 'porter.conf:' in r.stderr and 'log' in r.stderr, r.stderr)
        for value in ('localhost', '127.0.0.1:53', '127.0.0.1@53 9.9.9.9@x'):
            p.set({'log': p.dir / 'log.txt', 'dns-resolvers': value})
            r = p.ctl('check')
            check(f'{form}: a resolver that is no address is refused, too: {value}', r.returncode == 78 and 'dns-resolvers' in r.stderr, r.stderr)
        p.set({'dns-resolvers': None})
        p.start()
        with p.talk() as t:
            t.deliver(b'Message-ID: <one@outside.test>\r\nSubject: 1\r\n\r\nx\r\n', ['friends@example.test'], 'first@outside.test')
            t.deliver(b'Subject: 2\r\n\r\nx\r\n', ['bob@example.test'], 'second@outside.test', ehlo=None)
        p.send(to='nobody@example.test', sender='third@outside.test')
        r = p.ctl('trace', 'first@outside.test')
        lines = r.stdout.splitlines()
        check(f'{form}: both deliveries and the reply of one message are told', r.returncode == 0 and sum('delivered' in l for l in lines) == 2 and sum('taken' in l and '250' in l for l in lines) == 1, r.stdout)
        check(f'{form}: from the greeting on', re.search(r'"event":"session"|info session ', lines[0]) is not None, r.stdout)
        check(f'{form}: and nothing of the session\'s other message', 'second@outside.test' not in r.stdout and 'third@' not in r.stdout, r.stdout)
        check(f'{form}: in time order', lines == sorted(lines, key=lambda l: l.removeprefix('{"time":"')[:27]), r.stdout)
        check(f'{form}: an address in any letters is the same', p.ctl('trace', 'First@OUTSIDE.test').stdout == r.stdout, p.ctl('trace', 'First@OUTSIDE.test').stdout)
        r = p.ctl('trace', 'nobody@example.test')
        check(f'{form}: a refusal is found by its recipient', r.returncode == 0 and 'third@outside.test' in r.stdout, r.stdout)
        r = p.ctl('trace', 'stranger@nowhere.test')
        check(f'{form}: what the log does not name is said so', r.returncode == 1 and 'names no' in r.stderr, r.stderr)
        r = p.ctl('trace', '--json', 'first@outside.test')
        check(f'{form}: --json is an array', len(json.loads(r.stdout)) == len(p.ctl('trace', 'first@outside.test').stdout.splitlines()), r.stdout)
        text = (p.dir / 'log.txt').read_text()
        r = p.ctl('trace', '--log', '-', 'second@outside.test', input=text)
        check(f'{form}: the log is taken from a pipe', r.returncode == 0 and 'second@outside.test' in r.stdout, r)
        if form != 'text':
            return
        r = p.ctl('trace')
        check('trace without a word is wrong usage', r.returncode == 64)
        r = p.ctl('trace', '--log', '/nonexistent', 'x')
        check('a log that is not there is named', r.returncode == 66 and '/nonexistent' in r.stderr, r.stderr)
        noise = p.dir / 'noise'
        noise.write_bytes(os.urandom(1 << 20) + b'\n id=\n' * 1000 + b' id=1m12908z3ljkljxr' + b'\n')
        r = p.run([BUILD / 'porterctl', '-c', p.etc, 'trace', '--log', noise, 'id'], text=False)
        check('noise in a log harms nobody', r.returncode in (0, 1), r.returncode)

        # -- send ---------------------------------------------------------------------------------------------------------
        p.clean()
        r = p.ctl('send', 'alice@example.test')
        check('send shows the dialogue and the message is there', r.returncode == 0 and 'C: RCPT TO:<alice@example.test>' in r.stdout and 'S: 250' in r.stdout and len(p.messages()) == 1, r)
        r = p.ctl('send', '--json', 'alice@example.test')
        check('as JSON the reply that decided', r.returncode == 0 and json.loads(r.stdout)['taken'] and json.loads(r.stdout)['code'] == 250 and 'taken as' in json.loads(r.stdout)['reply'], r)
        r = p.ctl('send', 'jörg@example.test')
        check('an address in UTF-8 is asked for as such', 'SMTPUTF8\n' in r.stdout.split('C: MAIL')[1] and r.returncode == 1 and '5.1.1' in r.stdout and 'C: QUIT' in r.stdout, r)
        r = p.ctl('send', '--json', 'nobody@example.test')
        check('a refusal is the answer no', r.returncode == 1 and json.loads(r.stdout)['code'] == 550, r)
        r = p.ctl('send', '--file', '-', '--from', '', 'bob@example.test', input='Subject: own\n\n.dot\n')
        check('a file of one\'s own, from the null path', r.returncode == 0 and any(m.endswith(b'\n.dot\n') and b'Return-Path: <>' in m for m in p.messages('bob').values()), r)
        r = p.ctl('send', '--via', '127.0.0.1:1', 'bob@example.test')
        check('a server that is not there is said so', r.returncode == 69 and '127.0.0.1:1: ' in r.stderr, r)

        # -- top ----------------------------------------------------------------------------------------------------------
        r = p.ctl('top')
        check('top tells sessions, rates, queue and reports', r.returncode == 0 and all(w in r.stdout for w in ('sessions', 'taken/s', 'queue', 'withheld')), r)
        r = p.ctl('top', '--json', '--times', '2')
        shots = [json.loads(l) for l in r.stdout.splitlines()]
        check('top --json is one object each time', r.returncode == 0 and len(shots) == 2 and shots[0]['smtpd.taken']['now'] >= 4, r)
        p.stop()
        r = p.ctl('top')
        check('top without a running server says what to do', r.returncode == 69 and 'porterd -c' in r.stderr, r)
        p.set({'log': None})
        r = p.ctl('trace', 'x')
        check('where the log goes to stderr, trace says how to give it', r.returncode == 69 and '--log' in r.stderr, r.stderr)


for form in ('text', 'json'):
    traces(form)
finish()
