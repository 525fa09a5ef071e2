"""Submission, the queue, delivery and the one gate, end to end: what an authenticated user sends abroad arrives; what fails is reported to the user, exactly once; a stranger gets
nothing. Queue and report survive kill -9, and the postmaster can look and act."""
import email, email.policy, json, os, re, signal, smtplib, ssl, subprocess, threading, time
from porter import PATIENCE, SLOW, Porter, check, finish
from sink import Sink

USER, PASSWORD = 'alice@example.test', 'porter-demo'


def wait_for(what, seconds=PATIENCE):
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end:
        value = what()
        if value:
            return value
        time.sleep(.05)
    return what()


def submit(p, to, content='Subject: hello\r\n\r\nhello\r\n', sender=USER, mail_options=(), rcpt_options=(), user=USER):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP('127.0.0.1', p.submission, timeout=30 * SLOW, local_hostname='client.test') as s:
        s.starttls(context=context)
        s.login(user, PASSWORD)
        return s.sendmail(sender, [to] if isinstance(to, str) else to, content, mail_options, rcpt_options)


def is_taken(p, to):
    """Not while a process of the way is away."""
    try:
        return not submit(p, to)
    except smtplib.SMTPException:
        return False


def queue_says(p, what):
    """A number of the queue's status; 0 while it starts."""
    for c in p.status()['processes']:
        if c['role'] == 'queue' and c['status']:
            return c['status'][what]
    return 0


def reports(p, user='alice'):
    found = []
    for raw in p.messages(user).values():
        m = email.message_from_bytes(raw, policy=email.policy.default)
        if m.get_content_type() == 'multipart/report':
            found.append(m)
    return found


def report_fields(m):
    """The per-recipient groups of the message/delivery-status part."""
    part = next(x for x in m.iter_parts() if x.get_content_type() == 'message/delivery-status')
    return [dict((k.lower(), str(v)) for k, v in group.items()) for group in part.get_payload()]


good = Sink()
picky = Sink(rcpt=lambda a: '550 5.1.1 no such user here' if a.startswith('no') else '451 4.2.1 come back' if a.startswith('later') else None,
             dot=lambda m: '550 5.7.1 content refused' if b'refuse me' in m.content else None)
ROUTES = (f'far.test [127.0.0.1]:{good.port}\npicky.test [127.0.0.1]:{picky.port}\nslow.test [127.0.0.1]:1\n'
          f'victim.test [127.0.0.1]:{good.port}\n')
with Porter('queue', settings={'queue-retry-first': '2s', 'queue-retry-most': '5s'}, maps={'routes': ROUTES, 'aliases': f'list@example.test bob@example.test, ann@far.test, owner={USER}\n'
            'badlist@example.test bob@example.test, nobody@picky.test, owner=alice@example.test\n'}) as p:
    # -- out -----------------------------------------------------------------------------------------------------------------
    submit(p, ['ann@far.test', 'bob@example.test'])
    check('what an authenticated user sends abroad arrives there', wait_for(lambda: good.messages))
    m = good.messages[0]
    check('with the user as reverse-path, and only to whom it was for', m.sender == USER and m.recipients == ['ann@far.test'], (m.sender, m.recipients))
    check('and the local recipient has it in the mailbox', wait_for(lambda: p.messages('bob')))
    check('no line of the wire has a bare CR or LF', not re.search(rb'[^\r]\n|\r[^\n]', m.content))
    check('the queue is empty then', wait_for(lambda: queue_says(p, 'done') >= 1) and wait_for(lambda: queue_says(p, 'messages') == 0))

    # -- failures -----------------------------------------------------------------------------------------------------------------
    submit(p, ['nobody@picky.test', 'noone@picky.test', 'ok@picky.test'], 'Message-ID: <m1@example.test>\r\nSubject: one of three\r\n\r\nsecret body\r\n')
    check('a failure is reported to the authenticated sender', wait_for(lambda: reports(p)), p.log_text()[-1500:])
    found = reports(p)
    check('exactly one report tells of all recipients that failed at that moment', len(found) == 1, len(found))
    if found:
        r = found[0]
        groups = report_fields(r)
        failed = [g for g in groups if g.get('action', '').startswith('failed')]
        check('an RFC 3464 parser reads two failed recipients with their status', len(failed) == 2 and all(g['status'].startswith('5.1.1') for g in failed), groups)
        check('the remote\'s own words are in it', all('no such user here' in g.get('diagnostic-code', '') for g in failed), groups)
        check('its header section comes back, never its body', 'one of three' in r.as_string() and 'secret body' not in r.as_string())
        check('it says that it is automatic', r['Auto-Submitted'] and r['Auto-Submitted'].startswith('auto-'), r['Auto-Submitted'])
        raw = next(v for v in p.messages('alice').values() if b'multipart/report' in v)
        check('its reverse-path is null', raw.startswith(b'Return-Path: <>'), raw[:80])
    check('the recipient that was good has it once', wait_for(lambda: len([m for m in picky.messages if m.recipients == ['ok@picky.test']]) == 1))
    before = len(reports(p))
    submit(p, 'x@picky.test', 'Subject: c\r\n\r\nrefuse me\r\n')
    check('content refused after the dot is reported', wait_for(lambda: len(reports(p)) == before + 1))
    before = len(reports(p))
    submit(p, 'nobody@picky.test', rcpt_options=['NOTIFY=NEVER'])
    time.sleep(2 * SLOW)
    check('NOTIFY=NEVER: no report', len(reports(p)) == before)
    submit(p, 'bob@picky.test', rcpt_options=['NOTIFY=SUCCESS', 'ORCPT=rfc822;bob@picky.test'], mail_options=['ENVID=abc123'])
    ok = wait_for(lambda: picky.messages and 'bob@picky.test' in picky.messages[-1].recipients)
    check('a success report is asked of a hop that speaks DSN', ok)

    # -- lists ---------------------------------------------------------------------------------------------------------------------
    n = len(good.messages)
    check('a stranger writes to a list: taken', p.send(to='list@example.test', sender='stranger@victim.test') == 250)
    check('the remote copy goes out under the owner', wait_for(lambda: len(good.messages) > n) and good.messages[-1].sender == USER, good.messages[-1].sender)
    before, n = len(reports(p)), len(good.messages)
    check('a stranger writes to a list with a dead member: taken', p.send(to='badlist@example.test', sender='stranger@victim.test') == 250)
    check('its failure is the owner\'s to hear', wait_for(lambda: len(reports(p)) == before + 1))
    check('and never the stranger\'s', len(good.messages) == n and not any(m.sender == '' for m in good.messages))
    check('a stranger can\'t send abroad', p.send(to='ann@far.test', sender='stranger@victim.test') == 550)

    # -- deferrals, kill -9 -----------------------------------------------------------------------------------------------------------
    submit(p, 'later@picky.test')
    submit(p, 'gone@slow.test')
    check('what is deferred waits', wait_for(lambda: queue_says(p, 'messages') >= 2))
    wait_for(lambda: all(r['attempts'] for m in json.loads(p.ctl('queue', 'list', '--json').stdout) for r in m['recipients']))
    listed = json.loads(p.ctl('queue', 'list', '--json').stdout)
    later = [m for m in listed if m['recipients'][0]['address'] == 'later@picky.test']
    check('porterctl queue list tells each message with the reason word for word', later and later[0]['recipients'][0]['reason'] == 'come back', listed)
    if later:
        ident = later[0]['id']
        text = p.ctl('queue', 'show', ident).stdout
        check('queue show tells envelope, attempts and header section, not the body', ident in text and 'come back' in text and 'Subject: hello' in text and '\nhello' not in text, text)
        check('and the body on demand', '\nhello' in p.ctl('queue', 'show', ident, '--body').stdout.replace('\r', ''))
        check('a dry run touches nothing', '1 message would be touched' in p.ctl('queue', 'remove', '--recipient', 'later@', '--dry-run').stdout)
        check('without a query nothing is done', p.ctl('queue', 'remove').returncode == 64)
        r = p.ctl('queue', 'hold', ident)
        check('hold', wait_for(lambda: json.loads(p.ctl('queue', 'list', '--held', '--json').stdout)), r.stdout + r.stderr)
        check('release', p.ctl('queue', 'release', ident).returncode == 0 and wait_for(lambda: not json.loads(p.ctl('queue', 'list', '--held', '--json').stdout)))
    check('queue summary counts by destination', '[127.0.0.1]:1' in p.ctl('queue', 'summary').stdout)
    submit(p, 'giveup@slow.test')
    before = len(reports(p))
    wait_for(lambda: json.loads(p.ctl('queue', 'list', '--recipient', 'giveup', '--json').stdout))
    end = time.monotonic() + PATIENCE * SLOW
    while '1 of 1 done' not in p.ctl('queue', 'bounce', '--recipient', 'giveup').stdout and time.monotonic() < end:
        time.sleep(.2)
    check('bounce reports now', wait_for(lambda: len(reports(p)) == before + 1))
    before = len(reports(p))
    for n in range(2):
        submit(p, f'insist{n}@slow.test')
    wait_for(lambda: len(json.loads(p.ctl('queue', 'list', '--recipient', 'insist', '--json').stdout)) == 2)

    def insist():       # the act meets a message that another one's act has sent into its report already
        while json.loads(p.ctl('queue', 'list', '--recipient', 'insist', '--json').stdout) and time.monotonic() < end:
            p.ctl('queue', 'bounce', '--recipient', 'insist')
    end = time.monotonic() + PATIENCE * SLOW
    insisting = [threading.Thread(target=insist) for _ in range(4)]
    for t in insisting:
        t.start()
    for t in insisting:
        t.join()
    check('an act upon a message that settles makes one report, as without it', wait_for(lambda: len(reports(p)) == before + 2), len(reports(p)) - before)
    for _ in range(10):
        submit(p, 'after@far.test')
    p.kill()
    p.start()
    check('after kill -9 of everything the queue is there again', wait_for(lambda: queue_says(p, 'messages') >= 2))
    check('and what had a 250 arrives', wait_for(lambda: len([m for m in good.messages if m.recipients == ['after@far.test']]) >= 10), len(good.messages))
    picky.hooks['rcpt'] = None
    check('what was deferred is delivered when the hop takes it', wait_for(lambda: any('later@picky.test' in m.recipients for m in picky.messages)))
    pid = p.roles()['queue'][0]
    os.kill(pid, signal.SIGKILL)
    check('a killed queue process comes back', wait_for(lambda: p.roles().get('queue', [pid])[0] != pid))
    check('and takes mail again', wait_for(lambda: is_taken(p, 'again@far.test')) and wait_for(lambda: any('again@far.test' in m.recipients for m in good.messages)))
    check('no null reverse-path ever left the house', not good.null_senders and not picky.null_senders)
finish()
