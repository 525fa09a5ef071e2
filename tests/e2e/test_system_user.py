#!/usr/bin/env python3
"""A system user's mailbox is the Maildir in its home, written by a short-lived process of that user inside the transaction. The users are this test's own, in a mount namespace with another /etc/passwd."""
import functools, os, shutil, stat, subprocess, sys, tempfile
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import SLOW, Porter, check, finish, skip
from sink import Sink

USERS = {'ann': 61100, 'ben': 61101, 'shut': 61102, 'gone': 61103}


def make_homes(top):
    with open(top / 'passwd', 'w') as f:
        f.write(Path('/etc/passwd').read_text())
        for user, uid in USERS.items():
            f.write(f'{user}x:x:{uid}:{uid}::{top}/{user}x:/bin/sh\n')
    for user, uid in USERS.items():
        if user == 'gone':
            continue
        home = top / f'{user}x'
        home.mkdir(mode=0o700)
        shutil.chown(home, uid, uid)
    (top / 'shutx').chmod(0o500)        # its own user can't make a Maildir there


def mail_of(home):
    return sorted(home.glob('Maildir/new/*'))


def set_forward(top, user, text):
    file = top / f'{user}x/.forward'
    file.unlink(missing_ok=True)
    if text:
        file.write_text(text)
        shutil.chown(file, USERS[user], USERS[user])


def deliveries(top, p):
    check('mail to a system user is taken', p.send(b'Subject: one\r\n\r\nfirst\r\n', to='ann@example.test') == 250)
    files = mail_of(top / 'annx')
    check('it lies in the Maildir of its home before the 250', len(files) == 1 and b'first' in files[0].read_bytes(), files)
    st = files[0].stat()
    check('and is the user\'s, for nobody else to read', st.st_uid == USERS['ann'] and stat.S_IMODE(st.st_mode) == 0o600, (st.st_uid, oct(st.st_mode)))
    told = [line for line in p.log_text().splitlines() if ' delivered ' in line and 'to=ann@example.test' in line]
    check('one line tells of it', len(told) == 1 and 'process=mailbox' in told[0], told)
    check('the short-lived process measures no file system', ' store process=helper' not in p.log_text())

    several = ['ann@example.test', 'alice@example.test', 'ben@example.test']
    before = len(p.messages())
    check('a transaction to two system users and a virtual mailbox is taken', p.send(b'Subject: two\r\n\r\nsecond\r\n', to=several) == 250)
    check('and each has it once', (len(mail_of(top / 'annx')), len(mail_of(top / 'benx')), len(p.messages())) == (2, 1, before + 1))

    for who, why in (('shut', 'a home that can\'t be written to'), ('gone', 'a home that is away')):
        code = p.send(b'Subject: x\r\n\r\nx\r\n', to=f'{who}@example.test')
        check(f'{why}: for now no mail is taken', 400 <= code < 500, code)
        code = p.send(b'Subject: both\r\n\r\nx\r\n', to=['ben@example.test', f'{who}@example.test'])
        held = len(mail_of(top / 'benx'))
        check(f'{why}: nothing is kept that was not answered 250', held == 1 + (code == 250), (code, held))
        for f in mail_of(top / 'benx')[1:]:
            f.unlink()
    check('no process of a system user is left', p.wait(lambda: not [pid for pid, args in p.pids().items() if '--helper=' in args]), p.pids())
    check('each process bears the name of its role', all(Path(f'/proc/{pid}/comm').read_text().strip() == f'porterd:{role}'[:15] for role, pids in p.roles().items() if role != 'parent' for pid in pids))


def forwards(top, p):
    lines = lambda: [line for line in p.log_text().splitlines() if 'forward-refused' in line]

    def given(text):
        """Mail to ben with this ~/.forward: the answer, how many messages came to his home and to alice, how many lines tell of what was refused."""
        set_forward(top, 'ben', text)
        count = lambda: (len(mail_of(top / 'benx')), len(p.messages('alice')), len(lines()))
        before = count()
        code = p.send(b'Subject: on\r\n\r\nx\r\n', to='ben@example.test')
        return code, *(now - then for now, then in zip(count(), before))

    def check_given(sentence, text, wanted):
        got = given(text)
        check(sentence, got == wanted, (got, p.log_text()[-800:]))

    check_given('a ~/.forward counts as an alias', 'alice\n"|/usr/bin/vacation ben"\n/tmp/everything\n', (250, 0, 1, 1))
    told = (lines() or [''])[0]
    check('what is no address in it is refused, with one line that names the first, the user and how many, and says why',
          '|/usr/bin/vacation ben' in told and ' refused=2' in told and f' uid={USERS["ben"]}' in told and 'only addresses' in told, told)
    check('and nothing is written there', not Path('/tmp/everything').exists())
    check_given('where nothing is left of it the home\'s Maildir has the message', '"|/usr/bin/vacation ben"\n', (250, 1, 0, 1))
    check_given('an address with a name in front is taken, one with a comment is refused like a pipe, and makes nobody unknown',
                'Al <alice@example.test>\nbob (at home), |cat <bob>\n', (250, 0, 1, 1))
    check_given('quotes that nobody needs change no address', '"alice"@example.test\n', (250, 0, 1, 0))
    check_given('of 20,000 such items there is one line', '|x\n' * 20000, (250, 1, 0, 1))
    for text, what in (('alice\n' * 51, 'too many addresses'), ('#' * 70000, 'too many bytes')):
        check_given(f'{what} in it: 451, and one line', text, (451, 0, 0, 1))


def said(*sinks):
    return sorted((m.sender, m.recipients[0]) for s in sinks for m in s.messages)


def lists(top, p):
    """What a ~/.forward makes of a recipient: one place elsewhere is passed through, several places of which one is elsewhere are a list, whose owner is the user where the alias names none."""
    no = Sink(rcpt=lambda a: '550 5.1.1 nobody of that name')
    hop, other = Sink(), Sink()
    p.map('domains', 'example.test mailbox\n' + ''.join(f'{n}.test relay [127.0.0.1]:{s.port} recipients=ask\n' for n, s in (('hop', hop), ('other', other), ('no', no))))
    p.map('aliases', 'both@example.test ben@example.test ann@example.test\nruns@example.test run@example.test ben@example.test\nlist@example.test owner=bob@example.test ben@example.test ann@example.test\n')
    p.compile()
    forward = functools.partial(set_forward, top)

    def given(to, mark):
        hop.messages.clear(), other.messages.clear()
        before = {u: len(mail_of(top / f'{u}x')) for u in ('ann', 'ben')}
        code = p.send(b'Subject: %s\r\n\r\nx\r\n' % mark.encode(), to=to)
        return code, {u: len(mail_of(top / f'{u}x')) - n for u, n in before.items()}

    forward('ben', 'u@no.test')
    code, home = given('ben@example.test', 'refused')
    check('a ~/.forward to one place elsewhere is passed through: its refusal is ours', (code, home['ben']) == (550, 0), (code, home))
    forward('ben', 'u@hop.test')
    code, home = given('ben@example.test', 'through')
    check('and its 250, in the sender\'s name', (code, home['ben'], said(hop)) == (250, 0, [('someone@outside.test', 'u@hop.test')]), (code, home, said(hop)))
    forward('ben', '\\benx, u@hop.test')
    code, home = given('ben@example.test', 'copy')
    check('with a copy kept it is a list: the copy is there with the 250, the other one leaves in the user\'s name',
          (code, home['ben']) == (250, 1) and p.wait(lambda: said(hop) == [('ben@example.test', 'u@hop.test')]), (code, home, said(hop)))
    forward('ben', 'u@hop.test, v@other.test')
    code, home = given('ben@example.test', 'two')
    wanted = [('ben@example.test', 'u@hop.test'), ('ben@example.test', 'v@other.test')]
    check('so it is with two places elsewhere and no copy', (code, home['ben']) == (250, 0) and p.wait(lambda: said(hop, other) == wanted), (code, home, said(hop, other)))
    forward('ben', 'u@hop.test, v@no.test')
    before = len(mail_of(top / 'benx'))
    code, _ = given('ben@example.test', 'half')
    reports = lambda: [f for f in mail_of(top / 'benx')[before:] if b'v@no.test' in f.read_bytes()]
    check('what one of them refuses is reported to the user, into his home and no further', code == 250 and p.wait(reports) and p.wait(lambda: 'hop.test' not in p.ctl('queue', 'list').stdout)
          and said(hop) == [('ben@example.test', 'u@hop.test')] and b'Return-Path: <>' in reports()[0].read_bytes(), (code, said(hop), p.log_text()[-800:]))
    forward('ben', 'u@hop.test')
    code, home = given('both@example.test', 'beside')
    check('an alias of his and of one who forwards nothing is one, too: no recipient is a mailbox and a hop at once',
          (code, home['ann']) == (250, 1) and p.wait(lambda: said(hop) == [('ben@example.test', 'u@hop.test')]), (code, home, said(hop)))
    forward('ann', 'v@other.test')
    code, home = given('both@example.test', 'both')
    check('and one of two users who forward to two hops: each copy in the name of who forwards it',
          code == 250 and p.wait(lambda: said(hop, other) == [('ann@example.test', 'v@other.test'), ('ben@example.test', 'u@hop.test')]), (code, said(hop, other)))
    code, home = given('list@example.test', 'list')
    check('where the alias names an owner it is he', code == 250 and p.wait(lambda: said(hop, other) == [('bob@example.test', 'u@hop.test'), ('bob@example.test', 'v@other.test')]), (code, said(hop, other)))
    code, home = given('runs@example.test', 'runs')
    check('a program beside it runs within the transaction', code == 250 and p.wait(lambda: said(hop) == [('ben@example.test', 'u@hop.test')]), (code, said(hop)))
    forward('ben', 'ann, u@hop.test'), forward('ann', 'ben, v@other.test')
    code, home = given('ben@example.test', 'round')
    check('two who forward to each other and elsewhere: met again they are mailboxes, and each place has one copy', code == 250 and sum(home.values()) == 1
          and p.wait(lambda: [r for _, r in said(hop, other)] == ['u@hop.test', 'v@other.test']), (code, home, said(hop, other)))
    forward('ben', 'u@hop.test'), forward('ann', 'v@other.test')
    told = p.ctl('explain', 'both@example.test')
    check('porterctl explain says whose list it is', 'ben@example.test' in told.stdout and told.returncode == 0, told.stdout)


def main():
    top = Path(tempfile.mkdtemp(prefix='porter-users-'))
    top.chmod(0o755)
    try:
        make_homes(top)
        subprocess.run(['mount', '--bind', top / 'passwd', '/etc/passwd'], check=True)
        recipients = 'alice@example.test\nbob@example.test\nrun@example.test program:/bin/true\n' + ''.join(f'{user}@example.test system:{user}x\n' for user in USERS)
        with Porter('system-user', maps={'=recipients': recipients}) as p:
            deliveries(top, p)
            forwards(top, p)
            lists(top, p)
    finally:
        subprocess.run(['umount', '/etc/passwd'])
        shutil.rmtree(top, ignore_errors=True)


if os.environ.get('SYSTEM_USER'):
    main()
elif os.geteuid() or subprocess.run(['unshare', '--mount', 'true'], capture_output=True).returncode:
    skip('mail to system users', 'only root has a mount namespace')
else:
    inside = subprocess.run(['unshare', '--mount', '--propagation', 'private', sys.executable, __file__], env=dict(os.environ, SYSTEM_USER='1'), capture_output=True, text=True, timeout=100 * SLOW)
    print(inside.stdout, end='')
    check('the users\' mailboxes were tried', inside.returncode == 0, inside.stderr[-1500:])
finish()
