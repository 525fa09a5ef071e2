"""Dovecot behind its Unix socket, as the mailboxes of our own domain: what it says of each recipient behind the dot is passed on where all agree, and settled by the ledger where they don't."""
import shutil, sys, tempfile
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import Porter, check, finish, free_port, skip
from servers import Dovecot

# More than the quota of `late`, 1 KiB.
MESSAGE = b'From: a@outside.test\r\nMessage-ID: <%d@outside.test>\r\nSubject: x\r\n\r\n' + (b'y' * 70 + b'\r\n') * 60


class Socket(Dovecot):
    """Its folder has a short name: a socket's path is at most 107 bytes long."""

    def configure(self):
        super().configure()
        with open(self.dir / 'etc/lmtp.conf', 'a') as f:
            f.write('service lmtp {\n  unix_listener /srv/lmtp {\n    mode = 0666\n  }\n}\n')

    def copies(self, user):
        return len([f for f in (self.dir / 'srv/mail' / user).rglob('*') if f.is_file() and f.parent.name in ('new', 'cur')])


def run(p, dovecot):
    sent = 0

    def send(*to, new=True):
        nonlocal sent
        sent += new
        with p.talk() as t:
            return t.deliver(MESSAGE % sent, [f'{u}@example.test' for u in to], 'a@outside.test'), t.rcpt_codes

    got = send('good')
    check('Dovecot behind a Unix socket takes a message, and has it when 250 is said', got == (250, [250]) and dovecot.copies('good') == 1, (got, p.log_text()[-1500:]))
    got = send('nobody')
    check('its refusal at RCPT is ours', got[0] == 550, got)
    got = send('late')
    check('its refusal behind the dot is ours', got[1] == [250] and got[0] in (452, 552), got)
    refusal = got[0]
    got = send('good', 'alice')
    check('beside a Maildir: both have it', got == (250, [250, 250]) and (dovecot.copies('good'), len(p.messages('alice'))) == (2, 1), got)
    got = send('good', 'late')
    check('different answers: 451', got == (451, [250, 250]), got)
    got = send('good', new=False)
    check('and the retry of the one who has it is a 250 without a second copy', got == (250, [250]) and dovecot.copies('good') == 3, (got, dovecot.copies('good')))
    got = send('late', new=False)
    check('and the other one gets his refusal', got[0] == refusal, got)
    dovecot.die()
    got = send('good')
    check('when it is gone: 451', got[0] == 451, got)


if not Dovecot.available():
    skip('Dovecot behind a Unix socket', 'the package can\'t be had, this is not root, or there is no ::1')
    finish()
folder = tempfile.mkdtemp(prefix='porter-lmtp-')
try:
    Path(folder).chmod(0o755)
    with Socket(folder + '/d', free_port(), ['example.test']) as dovecot, Porter('lmtp-socket', settings={'evidence': 'no'}, maps={
            'recipients': ''.join(f'{u}@example.test lmtp:unix:{folder}/d/srv/lmtp\n' for u in ('good', 'late', 'nobody'))}) as p:
        run(p, dovecot)
finally:
    shutil.rmtree(folder, ignore_errors=True)
finish()
