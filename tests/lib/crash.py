"""What the tests of rule.md's windows share: messages with a mark, a client that retries as RFC 5321 says, processes that are stopped and killed by role, calls of theirs that fail."""
import os, signal, time
from porter import PATIENCE, SLOW
from traced import Traced


class Crash:
    """Around one Porter, whose domain is example.test, and which has one smtpd: what is asked of it is asked of all."""

    def __init__(self, porter):
        self.porter, self.serial = porter, 0

    def new_mark(self):
        self.serial += 1
        return b'mark-%d-end' % self.serial

    @staticmethod
    def content(mark, message_id=True):
        return b'From: bob@example.test\r\n' + (b'Message-ID: <%s@out.test>\r\n' % mark if message_id else b'') + b'Subject: %s\r\n\r\nhello\r\n' % mark

    def signal_all(self, roles, number):
        now = self.porter.roles()
        for role in roles:
            for pid in now.get(role, []):
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass

    def log_in(self, sender):
        t = self.porter.talk(port=self.porter.submission)
        t.login(sender)
        t.say(f'MAIL FROM:<{sender}>')
        return t

    def begin(self, sender, recipients, text, before=lambda: None):
        """The dot is sent, its reply not waited for. A sender of ours logs in. before: what happens between 354 and content."""
        if sender.endswith('@example.test'):
            t = self.log_in(sender)
        else:
            t = self.porter.talk()
            t.say('EHLO c.test')
            t.say(f'MAIL FROM:<{sender}>')
        codes = [t.say(f'RCPT TO:<{r}>')[0] for r in recipients]
        if 250 not in codes or t.say('DATA')[0] != 354:
            return t, codes
        before()
        t.raw(text + b'.\r\n')
        return t, codes

    def retry(self, sender, recipients, text):
        """RFC 5321, 4.5.4.1: those that were put off are tried again, until each has a 250 or a 5xx. Who is still due."""
        due = list(recipients)
        end = time.monotonic() + PATIENCE * SLOW
        while due and time.monotonic() < end:
            try:
                t, codes = self.begin(sender, due, text)
                answer = t.reply()[0] if 250 in codes else 0
                t.close()
            except (OSError, RuntimeError, ValueError):
                answer, codes = 0, []
            if answer // 100 in (2, 5):
                due = [r for r, c in zip(due, codes) if c == 450 or c == 451 or c == 452]
            else:
                time.sleep(.1)
        return due

    def here(self, mark, user='alice'):
        return sum(mark in m for m in self.porter.messages(user).values())

    def up(self):
        """Every process is there again, and smtpd has its channel to the queue."""
        p = self.porter
        return p.wait(lambda: p.greets() and all(p.roles().get(r) for r in ('smtpd', 'mailbox', 'queue', 'delivery')) and self.queue_is_heard())

    def queue_is_heard(self):
        try:
            t = self.log_in('bob@example.test')
            code = t.say('RCPT TO:<probe@abroad.test>')[0]
            t.close()
            return code == 250
        except (OSError, RuntimeError, ValueError):
            return False

    @staticmethod
    def is_read(talk):
        """smtpd has read all that this client has sent: nothing of it waits in its socket."""
        ends = f':{talk.socket.getpeername()[1]:04X}', f':{talk.socket.getsockname()[1]:04X}'
        rows = [line.split() for line in open('/proc/net/tcp')]
        return any(r[1].endswith(ends[0]) and r[2].endswith(ends[1]) and r[4].endswith(':00000000') for r in rows)

    def is_asked(self, talk):
        """A moment after that the mailbox process, which stands still, has been asked."""
        self.porter.wait(lambda: self.is_read(talk))
        time.sleep(.3)

    def let_mailbox_commit(self, mark, seen=None):
        """smtpd stands still, the mailbox does what it was asked for."""
        self.signal_all(['smtpd'], signal.SIGSTOP)
        self.signal_all(['mailbox'], signal.SIGCONT)
        self.porter.wait(seen or (lambda: self.here(mark)), 5)


def failing(pid, calls, error='EIO', wait_s=0):
    """As long as it lasts, these system calls of one process fail, or with error=None are made after all; they wait before they do."""
    what = [f'error={error}:syscall=getpid'] * bool(error) + [f'delay_enter={int(wait_s * 1000000)}'] * bool(wait_s)
    return Traced(pid, calls, ':'.join(what))
