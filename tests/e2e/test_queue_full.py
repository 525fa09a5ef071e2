#!/usr/bin/env python3
"""A spool whose disk fills up: 452 before anything is sent, 451 at the dot where it came meanwhile, deliveries go on and free what they had, and mail is taken again. And a destination that the postmaster pauses. On a
small tmpfs in a mount namespace of its own; as root."""
import os, subprocess, sys
from porter import SLOW, Porter, Talk, check, finish, skip
from sink import Sink

SIZE, RESERVE, SENDER, TO = 64 << 20, 16 << 20, 'ann@remote.test', 'far@far.test'
INSIDE = 'QUEUE_FULL'


def fill(p, leave):
    """Takes the disk's space but for so much, by the blocks that are free."""
    with open(p.spool / 'filler', 'ab') as f:
        s = os.statvfs(p.spool)
        left = s.f_bavail * s.f_frsize - leave
        while left > 0:
            left -= f.write(b'x' * min(left, 1 << 20))


def said(p, *lines):
    """The code of the last reply."""
    with p.talk() as t:
        t.say('EHLO client.test')
        return [t.code(line) for line in lines][-1]


def user_said(p):
    """The code of MAIL to one who has logged in."""
    with Talk(p, p.submission) as t:
        t.login()
        return t.code('MAIL FROM:<alice@example.test>')


def queued(p):
    return len(list(p.spool.glob('queue/*/*')))


def disk(p, hop):
    for i in range(3):
        check('what waits is taken', p.send(b'Subject: %d\r\n\r\nx\r\n' % i, TO, SENDER) == 250)
    check('and tried', p.wait(lambda: p.log_text().count(' deferred ') >= 3))
    with p.talk() as t:
        t.say('EHLO client.test')
        before = [t.code(line) for line in (f'MAIL FROM:<{SENDER}>', f'RCPT TO:<{TO}>', 'DATA')]
        fill(p, 0)
        t.raw(b'Subject: late\r\n\r\n' + b'y' * 70 + b'\r\n.\r\n')
        code = t.reply()[0]
        check('a disk that is full at the dot: 451, or 452', before == [250, 250, 354] and code in (451, 452), (before, code))
    check('before: 452 at MAIL to a user', p.wait(lambda: user_said(p) == 452), user_said(p))
    check('and to others at RCPT, where it is for the queue', p.wait(lambda: said(p, f'MAIL FROM:<{SENDER}>', f'RCPT TO:<{TO}>') == 452))
    check('mail for a mailbox elsewhere is taken', p.send() == 250)
    check('nothing of it lies there', queued(p) == 3, queued(p))
    hop.hooks['rcpt'] = None
    check('deliveries go on', p.wait(lambda: len(hop.messages) >= 3, 40), len(hop.messages))
    check('and what was delivered is gone', p.wait(lambda: queued(p) == 0), queued(p))
    check('each once', len(hop.messages) == 3, len(hop.messages))
    (p.spool / 'filler').unlink()
    check('with room again mail is taken', p.wait(lambda: p.send(b'Subject: again\r\n\r\nx\r\n', TO, SENDER) == 250))
    check('and goes out', p.wait(lambda: len(hop.messages) >= 4))
    check('no process died', 'child-died' not in p.log_text())


def pauses(p, hop):
    place = f'[127.0.0.1]:{hop.port}'
    check('a destination is paused', p.ctl('queue', 'pause', place).returncode == 0)
    before = len(hop.messages)
    check('mail for it is taken', p.send(b'Subject: paused\r\n\r\nx\r\n', TO, SENDER) == 250)
    p.ctl('queue', 'retry', '--all')
    check('and waits', queued(p) == 1 and len(hop.messages) == before)
    check('it is resumed', p.ctl('queue', 'resume', place).returncode == 0)
    check('and the mail goes out', p.wait(lambda: len(hop.messages) == before + 1), len(hop.messages))


def run():
    hop = Sink(rcpt=lambda a: '450 4.2.0 later')
    with Porter('queue-full', start=False, settings={'evidence': 'no', 'queue-retry-first': '1s', 'queue-retry-most': '1s', 'queue-reserve': str(RESERVE)},
                maps={'clients': '127.0.0.1 remote.test\n', 'routes': f'far.test [127.0.0.1]:{hop.port}\n'}) as p:
        p.spool.mkdir(exist_ok=True)
        st = os.stat(p.spool)
        subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={SIZE},uid={st.st_uid},gid={st.st_gid},mode={st.st_mode & 0o7777:o}', 'tmpfs', p.spool], check=True)
        p.start()
        disk(p, hop)
        pauses(p, hop)
        p.stop()
        subprocess.run(['umount', '-l', p.spool])
    finish()


if INSIDE in os.environ:
    run()
elif os.geteuid() or subprocess.run(['unshare', '--mount', 'true'], capture_output=True).returncode:
    skip('a spool whose disk fills up', 'needs root and mount namespaces')
    finish()
else:
    inside = subprocess.run(['unshare', '--mount', '--propagation', 'private', sys.executable, __file__], env=dict(os.environ, **{INSIDE: '1'}), timeout=150 * SLOW)
    sys.exit(inside.returncode)
