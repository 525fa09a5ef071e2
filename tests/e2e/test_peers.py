#!/usr/bin/env python3
"""Processes that go away while somebody is served: what was under way is 451 or kept, the session goes on, and the house recovers. Sessions hear 421 when the house ends."""
import os, signal, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import PATIENCE, SLOW, Porter, Talk, check, finish, may_look  # noqa: E402


def begin(porter):
    t = Talk(porter)
    t.say('EHLO t')
    t.say('MAIL FROM:<a@outside.test>')
    return t


def kill(porter, role):
    for pid in porter.roles()[role]:
        os.kill(pid, signal.SIGKILL)


def has_pen(porter):
    """Whether a session writes into a file of the mail store: unnamed, or still in tmp/."""
    places = [os.readlink(f) for pid in porter.roles()['smtpd'] for f in Path(f'/proc/{pid}/fd').iterdir() if f.is_symlink()]
    return any(str(porter.mail.resolve()) in place for place in places)


def mailbox_dies(porter):
    before = porter.messages()
    with begin(porter) as t:
        t.say('RCPT TO:<alice@example.test>')
        t.say('DATA')
        kill(porter, 'mailbox')
        time.sleep(.05)
        t.raw(b'Subject: x\r\n\r\nx\r\n.\r\n')
        code = t.reply()[0]
        new = len(porter.messages()) - len(before)
        check('a message whose mailbox process has died is 451 and not there, or 250 and there', (code == 451 and new == 0) or (code == 250 and new == 1), (code, new))
        end, code = time.monotonic() + PATIENCE * SLOW, 0
        while code != 250 and time.monotonic() < end:
            t.say('RSET')
            t.say('MAIL FROM:<a@outside.test>')
            code = t.code('RCPT TO:<alice@example.test>')
            time.sleep(.05)
        t.say('DATA')
        t.raw(b'Subject: again\r\n\r\nx\r\n.\r\n')
        check('and the same session goes on when it is back', t.reply()[0] == 250)


def large_and_dead(porter):
    before = porter.messages()
    with begin(porter) as t:
        t.say('RCPT TO:<alice@example.test>')
        t.say('DATA')
        t.raw(b'Subject: x\r\n\r\n' + b'x' * 70 * 4000 + b'\r\n')
        porter.wait(lambda: has_pen(porter)) if may_look() else time.sleep(2)
        kill(porter, 'mailbox')
        time.sleep(.05)
        t.raw(b'.\r\n')
        code = t.reply()[0]
        check('a large message whose file is gone with the process is 451', code == 451 and porter.messages() == before, code)
    end = time.monotonic() + PATIENCE * SLOW
    while porter.send() != 250 and time.monotonic() < end:
        time.sleep(.1)


def stop(porter):
    with begin(porter) as t, Talk(porter) as idle:
        porter.stop()
        check('a session inside of a transaction hears 421 when the house ends', t.reply()[0] == 421)
        check('an idle one, too', idle.reply()[0] == 421)


def main():
    with Porter('peers') as porter:
        mailbox_dies(porter)
        large_and_dead(porter)
        stop(porter)
    finish()


if __name__ == '__main__':
    main()
