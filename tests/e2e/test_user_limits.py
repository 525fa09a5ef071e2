#!/usr/bin/env python3
"""Limits of each user: messages and recipients by hour and day, a clear 4xx past them, counts that live over a restart, and porterctl user usage."""
import getpass, json, re, shutil, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import BUILD, Porter, Talk, check, finish  # noqa: E402


def login(p, user):
    t = Talk(p, p.submission)
    t.login(user)
    return t


def give(t, user, to=('bob@example.test',)):
    """(stage, code, text) of the first refusal, or the dot's reply."""
    for stage, line in (('mail', f'MAIL FROM:<{user}>'), *(('rcpt', f'RCPT TO:<{r}>') for r in to), ('data', 'DATA')):
        code, lines = t.say(line)
        if code not in (250, 354):
            t.say('RSET')
            return stage, code, lines[0]
    t.raw(b'Subject: x\r\n\r\nx\r\n.\r\n')
    code, lines = t.reply()
    return 'dot', code, lines[0]


def usage(p, user=None):
    answers = []
    p.wait(lambda: answers.append(p.ctl('user', 'usage', '--json')) or answers[-1].returncode == 0)     # nobody may be there for a moment after a reload
    rows = json.loads(answers[-1].stdout)
    return next((r for r in rows if r['user'] == user), None) if user else rows


ALICE, BOB = 'alice@example.test', 'bob@example.test'
with Porter('user-limits', settings={'evidence': 'no', 'user-messages-hour': 3, 'user-recipients-day': 8}, maps={'aliases': ''.join(f'r{i}@example.test bob@example.test\n' for i in range(20))}) as p:
    with login(p, ALICE) as t, login(p, ALICE) as second:
        got = [give(t, ALICE)[1] for _ in range(3)]
        check('within the limit messages are taken', got == [250] * 3, got)
        stage, code, text = give(t, ALICE)
        check('the one past it is 451 at MAIL, and says which user, how many and for how long', (stage, code) == ('mail', 451) and '4.7.1' in text and f'{ALICE} may hand in 3 an hour' in text, text)
        check('in another session, too', give(second, ALICE)[:2] == ('mail', 451))
    with login(p, BOB) as t:
        check('another user is not touched', give(t, BOB, [f'r{i}@example.test' for i in range(5)])[1] == 250)
        stage, code, text = give(t, BOB, [f'r{i}@example.test' for i in range(5)])
        check('the recipient past the limit is 452 at RCPT', (stage, code) == ('rcpt', 452) and '4.7.1' in text and f'{BOB} may hand in 8 a day' in text, text)
        check('three more are taken, as many as are left', give(t, BOB, [f'r{i}@example.test' for i in range(3)])[1] == 250)
    check('what was refused is not counted', usage(p, BOB)['recipients_day'] == 8 and usage(p, ALICE)['messages_hour'] == 3 and usage(p, ALICE)['messages_hour_limit'] == 3, usage(p))
    r = p.ctl('user', 'usage', ALICE)
    check('porterctl user usage shows one user', r.returncode == 0 and re.search(rf'^{ALICE} +3 of 3 +3 +3 +3 of 8$', r.stdout, re.M) and BOB not in r.stdout, r.stdout)
    check('and says so where there is none', p.ctl('user', 'usage', 'nobody@example.test').returncode == 1)
    check('strangers are nobody\'s users', p.send() == 250 and len(usage(p)) == 2, usage(p))
    p.stop()
    p.start()
    with login(p, ALICE) as t:
        check('a restart forgets nothing', give(t, ALICE)[:2] == ('mail', 451))
    me = getpass.getuser()
    with open(p.etc / 'senders', 'a') as f:
        f.write(f'unix:{me} {me}@example.test\n')
    p.compile()
    p.ctl('reload')

    def by_command():
        return p.run([BUILD / 'sendmail', '-C', p.etc, 'bob@example.test'], input='Subject: x\n\nx\n')
    codes = []

    def handed_in():
        return (usage(p, f'unix:{me}') or {}).get('messages_hour', 0)
    while handed_in() < 3 and len(codes) < 20:       # what a reload leaves to the drop folder counts for nobody
        codes.append(by_command().returncode)
    check('the sendmail command is counted by the user of this system', handed_in() == 3 and not any(codes), (codes, usage(p)))
    r = by_command()
    check('and hears of it: EX_TEMPFAIL with the reason; the drop folder is no way around', r.returncode == 75 and '3 an hour' in r.stderr and not list((p.spool / 'drop').iterdir()) and
          usage(p, f'unix:{me}')['messages_hour'] == 3, (r, usage(p)))
    p.stop()
    p.set({'user-messages-hour': 5})
    drop = p.spool / 'drop'
    waiting = lambda: [f for f in drop.iterdir() if not f.name.startswith('tmp.')]      # noqa: E731
    codes = [by_command().returncode for _ in range(4)]
    check('while nobody serves mail waits in the drop folder', not any(codes) and len(waiting()) == 4, (codes, waiting()))
    p.start()
    check('what is taken in counts', p.wait(lambda: usage(p, f'unix:{me}')['messages_hour'] == 5), usage(p))
    check('what is past the limit is told in one line', p.wait_log(f'drop-waits .*user={me} .*may hand in 5 an hour'), p.log_text()[-1500:])
    check('and stays where it is', len(waiting()) == 2, waiting())
    for _ in range(3):
        p.run([BUILD / 'sendmail', '-C', p.etc, '-q'])
    p.ctl('reload')
    p.wait(lambda: usage(p, f'unix:{me}')['messages_hour'] == 5)
    check('looking again changes nothing: it counts once, and is told once', len(waiting()) == 2 and len(re.findall('drop-waits', p.log_text())) <= 2, (waiting(), re.findall('drop-waits.*', p.log_text())))
    before = len(p.messages('bob'))
    p.set({'user-messages-hour': 7})
    p.ctl('reload')
    check('when it fits it is taken in', p.wait(lambda: not waiting() and len(p.messages('bob')) == before + 2), (waiting(), p.log_text()[-1500:]))
    check('and counted', usage(p, f'unix:{me}')['messages_hour'] == 7, usage(p))
    p.stop()
    by_command()
    one = waiting()[0]
    for i in range(250):
        shutil.copy(one, drop / f'copy{i}')
    others = 20 if getpass.getuser() == 'root' else 0
    for i in range(others):
        shutil.copy(one, drop / f'other{i}')
        shutil.chown(drop / f'other{i}', 'daemon')
    p.start()
    if others:
        check('nobody waits behind somebody else\'s many', p.wait(lambda: len(list((p.spool / 'aside').glob('drop-other*'))) == others), len(waiting()))
    check('all of which are still there', len(waiting()) == 251, len(waiting()))
    before = len(p.messages('bob'))
    p.set({'user-messages-hour': None, 'user-recipients-day': None})
    p.ctl('reload')
    check('without a limit all are taken in, a hundred at a time', p.wait(lambda: not waiting()) and p.wait(lambda: len(p.messages('bob')) == before + 251), (len(waiting()), len(p.messages('bob')) - before))
    check('without a limit nothing is refused', p.wait(lambda: give(login(p, ALICE), ALICE)[1] == 250))
with Porter('user-held', settings={'evidence': 'no', 'user-held-messages': 2}) as p:
    def hold(user, seconds=3600):
        with login(p, user) as t:
            codes = [t.code(x) for x in (f'MAIL FROM:<{user}>' + (f' HOLDFOR={seconds}' if seconds else ''), 'RCPT TO:<bob@example.test>', 'RCPT TO:<alice@example.test>', 'DATA')]
            check('a message that is to wait is taken up to its dot', codes == [250, 250, 250, 354], codes)
            t.raw(b'Subject: x\r\n\r\nx\r\n.\r\n')
            return t.reply()

    def waiting():
        return [m['id'] for m in json.loads(p.ctl('queue', 'list', '--json').stdout)]
    check('two may wait for a time that their user named', [hold(ALICE)[0] for _ in range(2)] == [250, 250])
    code, lines = hold(ALICE)
    check('the third is 452 and says why', code == 452 and '4.7.1' in lines[0] and 'wait' in lines[0], lines)
    check('what needn\'t wait is taken, and another user is not touched', hold(ALICE, 0)[0] == 250 and hold(BOB)[0] == 250)
    p.stop()
    p.start()
    check('a restart forgets none of them', p.wait(lambda: len(waiting()) == 3) and hold(ALICE)[0] == 452, waiting())
    check('one that is removed makes room', p.ctl('queue', 'remove', min(waiting())).returncode == 0 and p.wait(lambda: len(waiting()) == 2) and hold(ALICE, 2)[0] == 250)
    check('so does one whose time has come', p.wait(lambda: len(waiting()) == 2) and hold(ALICE)[0] == 250)
finish()
