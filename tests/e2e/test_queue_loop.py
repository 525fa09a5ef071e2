#!/usr/bin/env python3
"""The queue's event loop waits for no disk: whatever the postmaster, sendmail, a damaged file or a dead letter makes it do, its thread opens, reads, syncs, renames and removes no file of the
spool. strace watches that thread alone, and each act is seen to have happened, and to be answered only then."""
import json, os, pwd, re, signal, smtplib, ssl, subprocess, sys, time
from porter import BUILD, SLOW, Porter, check, finish, skip
from sink import Sink
from traced import Traced, Watched

USER, PASSWORD = 'alice@example.test', 'porter-demo'


def submit(p, *to):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP('127.0.0.1', p.submission, timeout=30 * SLOW, local_hostname='client.test') as s:
        s.starttls(context=context)
        s.login(USER, PASSWORD)
        for one in to:
            s.sendmail(USER, [one], 'Subject: hello\r\n\r\nhello\r\n')


def listed(p, what):
    return json.loads(p.ctl(*what, 'list', '--json').stdout or '[]')


def queued(p):
    return {f.name: f for f in p.spool.glob('queue/*/*')}


def pauses(p):
    for word, held in (('pause', True), ('resume', False), ('pause', True)):
        r = p.ctl('queue', word, 'slow.test')
        text = (p.spool / 'paused').read_text()
        check(f'{word} is answered once it is written down', r.returncode == 0 and 'written' not in r.stderr and ('mx:slow.test' in text) == held, (r, text))
    many = [subprocess.Popen(p._argv([BUILD / 'porterctl', '-c', p.etc, 'queue', 'pause', f'p{i}.test']), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for i in range(12)]
    codes = [(m.communicate(timeout=60 * SLOW)[0], m.returncode) for m in many]
    lines = (p.spool / 'paused').read_text().split()
    check('twelve at once are all answered, and all written down', not any(c for _, c in codes) and {f'mx:p{i}.test' for i in range(12)} <= set(lines), (codes, lines))


def drops(p):
    drop = p.spool / 'drop'
    text = subprocess.run([BUILD / 'sendmail', '-C', p.etc, '-i', 'alice@example.test'], input=b'Subject: x\n\nx\n', capture_output=True)
    check('sendmail hands in', text.returncode == 0, text)
    for i in range(5):
        (drop / f'tmp.rubbish{i}').write_text('no mail')
        os.rename(drop / f'tmp.rubbish{i}', drop / f'rubbish{i}')
    p.ctl('queue', 'retry', '--all')
    check('what sendmail did not write is set aside', p.wait(lambda: len(list((p.spool / 'aside').glob('drop-rubbish*'))) == 5 and not list(drop.glob('rubbish*'))), list(drop.iterdir()))


def drops_of_sendmail(p, files):
    """Left while nobody served; put back under other names, each is a message of its own."""
    drop, before = p.spool / 'drop', len(p.messages())
    for i, content in enumerate(files):
        (drop / f'tmp.again{i}').write_bytes(content)
        os.rename(drop / f'tmp.again{i}', drop / f'again{i}')
    p.ctl('queue', 'retry', '--all')
    check('what sendmail left is taken in, each once', p.wait(lambda: len(p.messages()) == before + len(files) and not list(drop.glob('again*'))), (len(p.messages()), before, list(drop.iterdir())))
    p.ctl('queue', 'retry', '--all')
    check('and is gone from the folder', p.status() and len(p.messages()) == before + len(files), len(p.messages()))


def damaged(p):
    before = set(queued(p))
    submit(p, 'a@later.test')
    name = p.wait(lambda: sorted(set(queued(p)) - before))[0]
    held = p.wait(lambda: json.loads(p.ctl('queue', 'hold', name, '--json').stdout)['done'] == 1) and p.wait(lambda: listed(p, ['queue'])[0]['held'])
    check('a message is held', held, p.log_text()[-500:])
    path = queued(p)[name]
    os.truncate(path, os.path.getsize(path) // 2)
    p.ctl('queue', 'release', '--all')          # by what the schedule knows: its file tells nobody any more who it is
    check('a message that is found damaged when it is released is set aside, and told', p.wait(lambda: (p.spool / 'aside' / name).exists() and 'was set aside' in p.log_text()), p.log_text()[-1500:])


def acts(p):
    before = set(queued(p))
    submit(p, 'b@later.test')
    name = p.wait(lambda: sorted(set(queued(p)) - before))[0]
    for word, held in (('hold', True), ('release', False), ('hold', True)):
        said = p.wait(lambda: (r := json.loads(p.ctl('queue', word, name, '--json').stdout))['done'] == 1 and r)
        status = p.wait(lambda: (s := next(r['status'] for r in p.status()['processes'] if r['role'] == 'queue'))['held'] == held and s)
        check(f'{word} is done', said and status, (said, p.log_text()[-500:]))
    check('removed, it is gone', p.wait(lambda: json.loads(p.ctl('queue', 'remove', name, '--json').stdout)['done'] == 1) and p.wait(lambda: name not in queued(p)))


def dead_letters(p):
    submit(p, *[f'gone{i}@refused.test' for i in range(4)])
    rows = p.wait(lambda: (r := listed(p, ['dead'])) and len(r) == 4 and r)
    check('messages that failed without a report are dead letters', rows, listed(p, ['dead']))
    ids = sorted(r['id'] for r in rows or [])
    r = p.ctl('dead', 'release', *ids[:2], '--json')
    check('two are released with one command', json.loads(r.stdout)['done'] == 2, r)
    again = p.wait(lambda: len(re.findall(r'\bfailed process=queue id=(%s)' % '|'.join(ids[:2]), p.log_text())) == 4)
    check('are tried once more', again, p.log_text()[-2500:])
    check('and are dead letters again', p.wait(lambda: sorted(r['id'] for r in listed(p, ['dead'])) == ids), listed(p, ['dead']))
    r = p.ctl('dead', 'drop', '--all', '--json')
    check('all are dropped with one command, and gone when it is answered', json.loads(r.stdout)['done'] == 4 and not list((p.spool / 'dead').iterdir()), r)
    r = p.ctl('dead', 'drop', *ids[:1])
    check('what is not there is not said to be dropped', r.returncode == 1, r)


def halves(p):
    """A list's copies are an envelope of their own: its name can't be made, that of the other can."""
    before = set(queued(p))
    with Traced(p.roles()['queue'][0], 'linkat', 'error=EIO:when=2:syscall=getpid') as i:
        if not i.good:
            return skip('half a message is taken back', 'strace could not attach')
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with smtplib.SMTP('127.0.0.1', p.submission, timeout=30 * SLOW, local_hostname='client.test') as s:
            s.starttls(context=context)
            s.login(USER, PASSWORD)
            try:
                s.sendmail(USER, ['c@later.test', 'list@example.test'], 'Subject: halves\r\n\r\nx\r\n')
                code = 250
            except smtplib.SMTPDataError as e:
                code = e.smtp_code
        left = set(queued(p)) - before
    check('a message of which one half could not be published is refused for now, and the other half gone by then', code == 451 and not left, (code, left))


def queue_says(p, name):
    """Of a queue that has read all there is."""
    row = p.wait(lambda: next((r['status'] for r in p.status()['processes'] if r['role'] == 'queue' and r['status'] and r['status']['scanned']), None))
    return row and row[name]


def kept(p):
    """The queue is killed as soon as it has answered an act, while its workers open and remove files slowly: what was answered was written before."""
    before = set(queued(p))
    submit(p, 'k@later.test')
    name = p.wait(lambda: sorted(set(queued(p)) - before))[0]
    p.ctl('queue', 'pause', f'[127.0.0.1]:{later.port}')
    for word, held in (('hold', 1), ('release', 0), ('remove', 0)):
        queue_says(p, 'held')
        pid = p.roles()['queue'][0]
        with Traced(pid, 'openat,unlinkat', 'delay_enter=700000') as t:
            if not t.good:
                return skip('an act that was answered outlives the queue', 'strace could not attach')
            said = p.wait(lambda: (r := p.ctl('queue', word, name, '--json')).stdout and json.loads(r.stdout)['done'] == 1)
            os.kill(pid, signal.SIGKILL)
        p.wait(lambda: p.roles().get('queue', [pid])[0] != pid)
        check(f'{word} was answered, and outlives the queue', said and queue_says(p, 'held') == held and (name in queued(p)) == (word != 'remove'), (said, queue_says(p, 'held'), queued(p)))


refusing = Sink(rcpt=lambda a: '550 5.1.1 no such user here')
later = Sink(rcpt=lambda a: '450 4.2.0 later')
me = pwd.getpwuid(os.geteuid()).pw_name
with Porter('queue-loop', settings={'reports': 'none', 'queue-retry-first': '1s', 'queue-retry-most': '1s'},
            maps={'senders': f'unix:{me} {me}@example.test', 'aliases': f'list@example.test d@later.test, e@later.test, owner={USER}\n', 'routes': f'refused.test [127.0.0.1]:{refusing.port}\nlater.test [127.0.0.1]:{later.port}\n'}) as p:
    p.stop()
    left = [subprocess.run([BUILD / 'sendmail', '-C', p.etc, '-i', 'alice@example.test'], input=b'Subject: left\n\nx\n', capture_output=True) for _ in range(1)]
    files = [f.read_bytes() for f in (p.spool / 'drop').iterdir()]
    p.start()
    check('one that was left while nobody served comes at the start', len(files) == 1 and p.wait(lambda: len(p.messages()) == 1), (left, files))
    p.wait_log('queue-scanned')
    w = Watched(p.roles()['queue'][0], p.dir / 'loop.strace')
    if not w.good:
        skip('the loop of the queue is watched', 'strace could not attach')
    for act in (pauses, drops, lambda p: drops_of_sendmail(p, files * 8), damaged, acts, dead_letters):
        act(p)
    time.sleep(1.1)     # what is done once a second
    if w.good:
        calls = w.end()
        check('meanwhile the loop\'s own thread touched no file', not calls, calls)
    halves(p)
    kept(p)
finish()
