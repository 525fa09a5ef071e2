"""The sendmail command: what programs hand in is in the mailbox when it ends with 0; who hands in says the kernel; refusals are exit codes; while nobody serves, mail waits in the drop folder."""
import email, getpass, json, os, shutil, stat, subprocess, time
from porter import BUILD, PATIENCE, SLOW, Porter, check, finish, is_reached, skip

SENDMAIL = BUILD / 'sendmail'


def run(p, *argv, text=b'Subject: hello\n\nhi\n', user=None, program=None):
    before = ['setpriv', f'--reuid={user}', '--clear-groups'] if user else []
    return subprocess.run([*before, program or SENDMAIL, '-C', str(p.etc), *argv], input=text, capture_output=True, timeout=60 * SLOW)


me = getpass.getuser() if os.geteuid() else 'root'
others = os.geteuid() == 0 and is_reached(BUILD)      # whether another user may call it
with Porter('sendmail', maps={'senders': f'unix:{me} {me}@example.test, reports@example.test', 'routes': 'waits.test [127.0.0.1]:1'}, settings={'dkim-sign': 'no'}) as p:
    def newest(user='alice'):
        box = p.messages(user)
        return email.message_from_bytes(box[sorted(box)[-1]]) if box else None

    # -- the ways of cron, mailx, scripts ---------------------------------------------------------------------------------
    r = run(p, '-i', 'alice@example.test')
    m = newest()
    check('a message for one recipient is in the mailbox when the command has ended', r.returncode == 0 and m and m['Subject'] == 'hello', r)
    check('From, Date and Message-ID are there', m and m['From'].endswith(f'<{me}@example.test>') and m['Date'] and m['Message-ID'].endswith('@mx.example.test>'), str(m))
    check('the reverse-path is the user\'s, and Received names the user', m and m['Return-Path'] == f'<{me}@example.test>' and f'from user {me}' in m['Received'], str(m))
    p.clean()
    r = run(p, '-FCronDaemon', '-i', '-B8BITMIME', '-oem', 'alice', text=b'From: root (Cron Daemon)\nTo: alice\nSubject: Cron\n\n.\nback\n')
    m = newest()
    check('as cron calls it: bare names get the local domain, a line with a dot is content', r.returncode == 0 and m and m.get_payload().endswith('.\nback\n'), (r, str(m)))
    p.clean()
    r = run(p, 'alice@example.test', text=b'Subject: dot\n\none\n.\nnot this\n')
    check('without -i a line with a dot alone ends', r.returncode == 0 and newest().get_payload() == 'one\n', r)
    p.clean()
    r = run(p, '-t', '-i', text=b'To: Alice <alice@example.test>\nCc: "B, ob" <bob@example.test>\nBcc: postmaster@example.test\nSubject: t\n\nx\n')
    both = newest('alice'), newest('bob')
    check('-t takes To, Cc and Bcc, and Bcc is not told', r.returncode == 0 and all(both) and not any(m['Bcc'] for m in both), r)
    p.clean()
    r = run(p, '-t', '-oi', '-f', 'reports@example.test', '-F', 'Täglich "R"', text='To: alice@example.test\nSubject: x\n\nö\n'.encode())
    m = newest()
    check('-f and -F say who writes', r.returncode == 0 and m['Return-Path'] == '<reports@example.test>' and m['From'].startswith('=?utf-8?B?'), (r, str(m)))
    p.clean()
    r = run(p, 'alice@example.test', text=b'just text\nmore\n')
    check('text without a header becomes a body', r.returncode == 0 and newest().get_payload() == 'just text\nmore\n', r)
    p.clean()
    big = b'Subject: big\n\n' + b''.join(b'.%d dots and lines\n' % i for i in range(100000))
    r = run(p, '-i', 'alice@example.test', text=big)
    check('a large message whose lines begin with dots comes whole', r.returncode == 0 and list(p.messages().values())[0].endswith(big.split(b'\n\n', 1)[1]), r)
    p.clean()
    r = run(p, '-i', 'alice@example.test', text=b'Subject: cr\n\na\rb\r\nc\n')
    check('bare CRs become line ends', r.returncode == 0 and newest().get_payload() == 'a\nb\nc\n', r)
    r = run(p, '-i', 'alice@example.test', text=b'')
    check('an empty message is one', r.returncode == 0, r)
    p.clean()

    # -- refusals ------------------------------------------------------------------------------------------------------------
    r = run(p, '-i', 'alice@example.test', 'nobody@example.test')
    check('an unknown recipient refuses all of it, by name, with EX_NOUSER', r.returncode == 67 and b'nobody@example.test' in r.stderr and not p.messages(), r)
    r = run(p, '-i', '-f', 'else@example.test', 'x@outside.test')
    check('a foreign recipient for a path that senders does not grant is refused', r.returncode in (69, 77) and b'550' in r.stderr, r)
    r = run(p, '-i', '-f', 'else@example.test', 'alice@example.test')
    check('and to a mailbox of ours such a path is as good as a stranger\'s', r.returncode == 0, r)
    check('who is nobody: evidence is told in the log', p.wait_log(f'local-session.*user={me}'))
    for argv in (['-bd'], ['-Nsometimes', 'alice'], ['-Rhalf', 'alice'], ['-k', 'alice'], [], ['-i', 'a b@@'], ['-f', 'x y', 'alice']):
        r = run(p, *argv)
        check(f'{argv or "no recipient"} is wrong usage, said in a sentence', r.returncode == 64 and r.stderr.startswith(b'sendmail: '), r)
    r = run(p, '-t', text=b'To: not an address @@\nSubject: x\n\nx\n')
    check('-t with a field that holds no addresses: EX_DATAERR with its name', r.returncode == 65 and b'To' in r.stderr, r)
    r = run(p, '-i', '-f', 'a@example.test\r\nRCPT TO:<bob@example.test>', 'alice@example.test')
    check('line ends in an address are no commands', r.returncode == 64, r)
    r = run(p, '-i', 'alice@example.test', text=b'Subject: nul\n\na\0b\n')
    check('NUL in content is refused', r.returncode in (65, 69) and b'not sent' in r.stderr, r)
    p.clean()

    # -- other modes -----------------------------------------------------------------------------------------------------------
    r = run(p, '-bv', 'alice@example.test', 'nobody@example.test')
    check('-bv says what RCPT says, and sends nothing', r.returncode == 67 and b'alice@example.test ... deliverable' in r.stdout and b'nobody@example.test ... 550' in r.stdout and not p.messages(), r)
    r = run(p, '-bs', text=b'EHLO x\r\nMAIL FROM:<a@outside.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nSubject: bs\r\n\r\nx\r\n.\r\nQUIT\r\n')
    check('-bs speaks SMTP', r.returncode == 0 and r.stdout.startswith(b'220') and b'\r\n354' in r.stdout and newest()['Subject'] == 'bs', r)
    r = run(p, '-bs', text=b'EHLO x\r\nAUTH PLAIN AAA=\r\nSTARTTLS\r\nQUIT\r\n')
    check('neither AUTH nor STARTTLS is offered on the local socket', b'AUTH' not in r.stdout.split(b'502')[0] and b'STARTTLS' not in r.stdout.split(b'502')[0] and r.stdout.count(b'\r\n502') == 2, r)
    r = run(p, '-v', '-i', 'alice@example.test')
    check('-v shows the dialogue', r.returncode == 0 and b'C: MAIL FROM' in r.stdout and b'S: 250' in r.stdout, r)
    with open(p.etc / 'aliases', 'a') as f:
        f.write('robot@example.test alice@example.test\n')
    link = p.dir / 'newaliases'
    shutil.copy(SENDMAIL, p.dir / 'sendmail')
    os.symlink('sendmail', link)
    shutil.copy(BUILD / 'porterctl', p.dir / 'porterctl')
    r = run(p, program=link)
    check('newaliases compiles the maps', r.returncode == 0 and b'compiled' in r.stdout, r)
    r = run(p, '-i', 'robot')
    check('when it has ended the new alias serves', r.returncode == 0, r)
    r = run(p, '-Nsuccess,delay', '-Rhdrs', '-Vmy+id=1', '-i', 'alice@example.test')
    check('-N, -R and -V are understood', r.returncode == 0, r)
    r = run(p, '-i', '-f', '<>', 'alice@example.test')
    check('a null reverse-path to a mailbox of ours is taken', r.returncode == 0, r)
    p.clean()

    # -- another user -------------------------------------------------------------------------------------------------------------
    if others:
        os.chmod(p.dir, 0o755)
        r = run(p, '-i', 'alice@example.test', user='nobody')
        m = newest()
        check('an ordinary user hands in, and the kernel says who it is', r.returncode == 0 and m and m['Return-Path'] == '<nobody@example.test>' and 'from user nobody' in m['Received'], (r, str(m)))
        r = run(p, '-i', '-f', f'{me}@example.test', 'x@outside.test', user='nobody')
        check('and gets nothing by naming another user\'s path', r.returncode in (69, 77) and b'550' in r.stderr, r)
        p.clean()
    else:
        skip('an ordinary user beside root', 'not root, or the tree lies where no other user may look')

    # -- abroad -------------------------------------------------------------------------------------------------------------------
    r = run(p, '-i', '-Vabroad', 'someone@outside.test')
    check('a path that senders grants goes abroad by the queue, as local evidence', r.returncode == 0 and p.wait_log('id=.*to=someone@outside.test.*code=250'), (r, p.log_text()[-1500:]))
    run(p, '-i', 'someone@waits.test')
    waits = lambda: [m['recipients'][0] for m in json.loads(p.ctl('queue', 'list', '--json').stdout)]       # noqa: E731
    p.wait(lambda: [(r['address'], r['attempts']) for r in waits()] == [('someone@waits.test', 1)])
    tried = 1
    for argv, what in ((['-q'], 'all'), (['-qRwaits.test'], 'those to somebody'), ([f'-qS{me}@'], 'those of somebody')):
        r = run(p, *argv)
        check(f'{argv[0]} runs the queue: {what}', r.returncode == 0 and b'1 of 1 done' in r.stdout, r)
        tried += 1
        p.wait(lambda: waits()[0]['attempts'] >= tried)
    ident = json.loads(p.ctl('queue', 'list', '--json').stdout)[0]['id']
    r = run(p, f'-qI{ident}')
    check('-qI one message', r.returncode == 0 and b'1 of 1 done' in r.stdout, r)
    check('-q with a time is the daemon\'s', run(p, '-q30m').returncode == 64)
    run(p, '-i', '-Rhdrs', 'other@waits.test')
    p.wait(lambda: len(json.loads(p.ctl('queue', 'list', '--json').stdout)) == 2)
    ident = next(m['id'] for m in json.loads(p.ctl('queue', 'list', '--json').stdout) if m['id'] != ident)
    check('-R hdrs is kept for the hop', json.loads(p.ctl('queue', 'show', ident, '--json').stdout)['ret'] == 'HDRS')
    p.clean()
    r = run(p, '-i', 'alice@example.test,bob@example.test')
    check('several addresses in one argument are several', r.returncode == 0 and len(p.messages()) == 1 and len(p.messages('bob')) == 1, r)
    p.clean()

    # -- reload and 50 at once ---------------------------------------------------------------------------------------------------------
    many = [subprocess.Popen([SENDMAIL, '-C', p.etc, '-i', 'alice@example.test'], stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(50)]
    for i, one in enumerate(many):
        one.stdin.write(b'Subject: %d\n\nx\n' % i)
        one.stdin.close()
        if i == 25:
            p.ctl('reload')
    codes = [one.wait(60 * SLOW) for one in many]
    drop = p.spool / 'drop'
    end = time.monotonic() + PATIENCE * SLOW
    while True:                                   # what was dropped while the old processes went is taken in by the new ones, which takes a moment
        waiting = [f for f in drop.iterdir() if not f.name.startswith('tmp.')] if drop.exists() else []
        if len(p.messages()) + len(waiting) == 50 or time.monotonic() > end:
            break
        time.sleep(.05)
    check('fifty at once, over a reload: each is in the mailbox or in the drop folder', not any(codes) and len(p.messages()) + len(waiting) == 50, (codes, len(p.messages()), waiting))

    # -- nobody serves -----------------------------------------------------------------------------------------------------------------
    p.stop()
    for f in waiting:
        f.unlink(missing_ok=True)
    check('the drop folder takes from anybody and is listed by nobody', stat.S_IMODE(drop.stat().st_mode) == 0o1733, oct(drop.stat().st_mode))
    r = run(p, '-i', 'alice@example.test', text=b'Subject: waits\n\nwaits\n')
    files = list(drop.iterdir())
    check('while nobody serves mail waits in the drop folder', r.returncode == 0 and len(files) == 1 and b'Subject: waits' in files[0].read_bytes() and b'alice@example.test' in files[0].read_bytes(), (r, files))
    check('its owner is who sent it', files and files[0].stat().st_uid == os.geteuid() and stat.S_IMODE(files[0].stat().st_mode) == 0o644)
    if others:
        r = run(p, '-i', 'alice@example.test', user='nobody')
        check('an ordinary user\'s, too', r.returncode == 0 and len(list(drop.iterdir())) == 2, r)
    r = run(p, '-bs', text=b'')
    check('-bs says 421', r.returncode == 75 and r.stdout.startswith(b'421'), r)
    r = run(p, '-bv', 'alice@example.test')
    check('-bv says that it can\'t tell', r.returncode == 75, r)
    p.clean()
    p.start()
    p.wait_log(f'dropped-in .*user={me} from={me}@example.test')
    # one of the fifty may have been taken from the drop folder just before the stop: it comes now as well
    m = p.wait(lambda: next((m for m in map(email.message_from_bytes, p.messages().values()) if m['Subject'] == 'waits'), None))
    check('and is in the mailbox then, with its reverse-path', m and m['Subject'] == 'waits' and m['Return-Path'] == f'<{me}@example.test>', (str(m), p.log_text()[-1500:]))
    taken = p.wait_log(f'dropped-in .*user={me} from={me}@example.test')
    check('what waited is taken in when the server starts, with its reverse-path', taken and p.wait(lambda: not list(drop.iterdir())), (list(drop.iterdir()), p.log_text()[-1500:]))
    if others:
        check('what a user dropped whose path is not granted is set aside, told, and not lost', p.wait(lambda: any(f.name.startswith('drop-') for f in (p.spool / 'aside').iterdir())
              and 'drop folder was set aside' in json.dumps(p.status()['alerts'])), p.status()['alerts'])
    p.stop()
    shutil.move(drop, p.dir / 'away')
    r = run(p, '-i', 'alice@example.test')
    check('where the drop folder can\'t be written: EX_TEMPFAIL', r.returncode == 75 and b'not sent' in r.stderr, r)
finish()
