#!/usr/bin/env python3
"""What porterctl queue says, sentence by sentence: queries by what still waits, ids that are nowhere, pausing a destination by its name, a message shown whole and harmless, the summary."""
import json, os, pty, re, smtplib, ssl, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import BUILD, SLOW, Porter, check, finish  # noqa: E402
from sink import Sink  # noqa: E402

hop = Sink(rcpt=lambda a: '450 4.2.0 later "quoted" \\ words' if a.startswith('later') else None)
USER = 'alice@example.test'
p = Porter('queue-words', settings={'evidence': 'no', 'queue-retry-first': '1h'}, maps={'routes': f'slow.test [127.0.0.1]:{hop.port}\nother.test [127.0.0.1]:{hop.port}\n'})
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE


def send(to, mail=(), rcpt=(), content=b'Subject: x\r\n\r\nhello\r\n'):
    with smtplib.SMTP('127.0.0.1', p.submission, timeout=60 * SLOW, local_hostname='client.test') as s:
        s.starttls(context=context)
        s.login(USER, 'porter-demo')
        s.sendmail(USER, to, content, list(mail), list(rcpt))


def queue(*words, **kw):
    return p.ctl('queue', *words, **kw)


def rows(*words):
    """Without the report that the first hop, which keeps no deadline, is the reason for, unless it is asked for: it is on its way to our own mailbox."""
    return [r for r in json.loads(queue('list', '--json', '--sort', 'age', *words).stdout) if r['from'] or '<>' in words]


def on_terminal(*words):
    """What stands on a terminal."""
    said = bytearray()
    pid, fd = pty.fork()
    if not pid:
        os.execv(BUILD / 'porterctl', [str(w) for w in (BUILD / 'porterctl', '-c', p.etc, *words)])
    try:
        while piece := os.read(fd, 65536):
            said += piece
    except OSError:
        pass
    os.waitpid(pid, 0)
    os.close(fd)
    return bytes(said)


with p:
    send(['later1@slow.test', 'good@other.test'], ['RET=HDRS', 'ENVID=a+2Bb', 'MT-PRIORITY=3', 'BY=3600;N'], ['NOTIFY=FAILURE,DELAY', 'ORCPT=rfc822;first@slow.test'],
         b'Subject: \x1b[31mred \xc3\xb6\xc2\x9b31m\r\n\r\nbody \x1b]0;owned\x07\r\n')
    check('one waits', p.wait(lambda: [m['recipients'][0]['attempts'] for m in rows()] == [1]), rows())
    ident = rows()[0]['id']

    # -- queries
    check('a recipient that is done with is none of the query\'s', not rows('--domain', 'other.test') and not rows('--recipient', 'good@'), rows('--domain', 'other.test'))
    check('one that waits is', [m['id'] for m in rows('--domain', 'slow.test', '--recipient', 'LATER', '--reason', '*words')] == [ident])
    check('the null path is named <>', p.wait(lambda: not rows('--sender', '<>')) and len(rows('--sender', USER)) == 1, (rows('--sender', '<>'), rows()))
    r = queue('list', '--evidence', 'trust')
    check('a grade that is none is told', r.returncode == 64 and 'auth' in r.stderr, r)

    # -- acts
    for word in ('retry', 'hold', 'release', 'remove', 'bounce'):
        r = queue(word, '0123456789abcdef')
        check(f'{word} of an id that is nowhere says so', r.returncode == 1 and '0123456789abcdef' in r.stderr, r)
    r = queue('hold', ident, 'nonsense')
    check('what is there is acted on, what isn\'t is told', r.returncode == 1 and '1 of 1 done' in r.stdout and 'nonsense' in r.stderr and rows()[0]['held'], r)
    check('show says that it is held', f'id {ident}, held' in queue('show', ident).stdout)
    check('and release lets it go', queue('release', ident).returncode == 0 and p.wait(lambda: not rows()[0]['held']))

    # -- show
    text = queue('show', ident).stdout
    wanted = ['ENVID a+b', 'RET HDRS', 'MT-PRIORITY 3', 'deliver by (or tell)', 'NOTIFY=FAILURE,DELAY', 'ORCPT=rfc822;first@slow.test', 'later recipient 1', 'later \\"quoted\\" \\\\ words',
              'done recipient 2']
    check('show tells all of the envelope, and the attempts', all(w in text for w in wanted), ([w for w in wanted if w not in text], text))
    said = on_terminal('queue', 'show', ident, '--body')
    check('on a terminal nothing of the message is a control character', b'\\x1b[31mred' in said and b'body \\x1b]0;owned\\x07' in said and not re.search(rb'[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f]', said), said)
    check('nor a C1 character, where bytes are UTF-8', b'\xc2\x9b' not in said and 'ö'.encode() in said, said)
    check('in a pipe it is what it is', b'\x1b[31mred' in p.run([BUILD / 'porterctl', '-c', p.etc, 'queue', 'show', ident], text=False).stdout)
    m = json.loads(queue('show', ident, '--json', '--body').stdout)
    check('as JSON with the history', [(e['event'], e['recipient']) for e in m['history'] if e['event'] in ('later', 'done')] in ([('later', 0), ('done', 1)], [('done', 1), ('later', 0)]), m['history'])
    check('the wishes', (m['envid'], m['ret'], m['priority'], m['options'][0]['notify'], m['options'][0]['original']) == ('a+b', 'HDRS', 3, 'FAILURE,DELAY', 'rfc822;first@slow.test'), m)
    check('header and body', m['header'].startswith('Received: ') and m['header'].endswith('\r\n') and m['body'] == 'body \x1b]0;owned\x07\r\n', (m['header'], m['body']))
    check('the body on demand alone', 'body' not in json.loads(queue('show', ident, '--json').stdout))

    # -- pause
    r = queue('pause', 'slow.test')
    check('a domain is paused by its name; how many wait for it is told', r.returncode == 0 and 'mx:slow.test is paused; 0 recipients wait for it' in r.stdout, r)
    place = f'[127.0.0.1]:{hop.port}'
    r = queue('pause', place)
    check('a next hop as routes has it', r.returncode == 0 and f'{place} is paused; 1 recipient waits for it' in r.stdout, r)
    check('what is paused is listed', sorted(queue('pause').stdout.split()) == sorted(['mx:slow.test', place]) and sorted(json.loads(queue('pause', '--json').stdout)) == sorted(['mx:slow.test', place]),
          queue('pause', '--json').stdout)
    p.ctl('reload')
    p.wait(lambda: queue('pause').returncode == 0 and queue('pause').stdout)
    check('a reload keeps it', len(queue('pause').stdout.split()) == 2, queue('pause'))
    p.stop()
    p.start()
    check('and a restart', len(queue('pause').stdout.split()) == 2, queue('pause'))
    before = len(hop.rcpts)
    queue('retry', ident)
    check('resumed it goes on', 'resumed' in queue('resume', place).stdout and queue('retry', ident).returncode == 0 and p.wait(lambda: len(hop.rcpts) > before), hop.rcpts)
    queue('resume', 'slow.test')
    check('then nothing is', queue('pause').stdout == '' and json.loads(queue('pause', '--json').stdout) == [])

    # -- summary
    send(['later2@slow.test'])
    other = p.wait(lambda: next((m['id'] for m in rows() if m['id'] != ident), None))
    queue('reroute', '127.0.0.1:1', other)
    p.wait(lambda: len(json.loads(queue('summary', '--json').stdout)) == 2)
    text = queue('summary').stdout
    check('the summary has a line for all, and one for each', [l.split()[:2] for l in text.splitlines()[1:]] == [['all', '2'], ['[127.0.0.1]:1', '1'], [place, '1']], text)
finish()
