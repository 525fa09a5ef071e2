"""Policy services that are not ours, asked at RCPT: Dovecot's quota-status, and (PORTER_POSTGREY=1, as make test-filters sets it: 60 MB of packages) postgrey. Each dies, and is waited for no longer than is set."""
import os, socket, time
from porter import SLOW, Porter, check, finish, free_port, skip
from servers import Dovecot, Server, ids

POSTGREY = os.environ.get('PORTER_POSTGREY') == '1'


class Service(Server):
    """It doesn't greet: who accepts is there."""

    def greets(self, family):
        try:
            with socket.socket(family) as s:
                s.settimeout(10 * SLOW)
                s.connect(('127.0.0.1' if family == socket.AF_INET else '::1', self.port))
                return True
        except OSError:
            return False


class QuotaStatus(Service):
    packages = Dovecot.packages
    command = 'mkdir -p /var/lib/dovecot && /usr/sbin/dovecot -F -c /etc/quota.conf'

    def configure(self):
        number = ids()['vmail']
        self.srv('mail', owner='vmail', mode=0o700)
        self.srv('mail/full', owner='vmail', mode=0o700)
        self.etc('users', f'alice@example.test::{number}:{number}::/srv/mail/alice::\nbob@example.test::{number}:{number}::/srv/mail/full::userdb_quota_rule=*:storage=1\n')
        self.etc('quota.conf', f'''base_dir = /run/dovecot
log_path = /dev/stderr
protocols =
listen = 127.0.0.1, ::1
ssl = no
mail_location = maildir:~/Maildir
first_valid_uid = 500
mail_plugins = quota
plugin {{
  quota = count:user
  quota_vsizes = yes
  quota_grace = 0
  quota_status_success = DUNNO
  quota_status_nouser = DUNNO
  quota_status_overquota = "552 5.2.2 Mailbox is full"
}}
mailbox_list_index = yes
passdb {{
  driver = passwd-file
  args = /etc/users
}}
userdb {{
  driver = passwd-file
  args = /etc/users
}}
service quota-status {{
  executable = quota-status -p postfix
  inet_listener {{
    port = {self.port}
  }}
  client_limit = 1
}}
''')


class Postgrey(Service):
    packages = ('postgrey', 'postgrey')
    families = (socket.AF_INET,)

    @property
    def command(self):
        return f'/usr/sbin/postgrey --inet=127.0.0.1:{self.port} --dbdir=/srv/db --delay=1 --user=vmail --group=vmail --greylist-text="Greylisted, come again"'

    def configure(self):
        self.srv('db', owner='vmail', mode=0o700)


def two(p, size=0):
    """The codes of RCPT for alice and bob."""
    with p.talk(timeout=60) as t:
        t.say('EHLO c.test'), t.say('MAIL FROM:<a@outside.test>' + (f' SIZE={size}' if size else ''))
        return [t.say(f'RCPT TO:<{u}@example.test>') for u in ('alice', 'bob')]


def quota_status():
    with QuotaStatus(p.dir / 'quota', free_port(), []) as s:
        p.set({'policy-services': f'quota=127.0.0.1:{s.port},at=rcpt,timeout=10s'})
        p.stop()
        p.start()
        got = two(p, 100)
        check('quota-status: who has room is taken', [r[0] for r in got] == [250, 250], got)
        got = two(p, 3000)
        check('quota-status: a message that is too large for one mailbox is refused there in its words', [r[0] for r in got] == [250, 552] and '5.2.2 Mailbox is full' in got[1][1][0], got)
        s.die()
        check('quota-status: when it is dead RCPT is 451', two(p)[0][0] == 451)
        s.start()
        check('quota-status: and goes on when it is back', p.wait(lambda: [r[0] for r in two(p, 100)] == [250, 250]))


def postgrey():
    with Postgrey(p.dir / 'postgrey', free_port(), []) as s:
        p.set({'policy-services': f'grey=127.0.0.1:{s.port},at=rcpt,timeout=10s'})
        p.stop()
        p.start()
        got = two(p)
        check('postgrey: a stranger is told to come again', [r[0] for r in got] == [450, 450] and 'Greylisted' in got[0][1][0], got)
        check('postgrey: and taken then', p.wait(lambda: time.sleep(.3) or [r[0] for r in two(p)] == [250, 250]))


with Porter('real-policy', start=False, settings={'evidence': 'no'}) as p:
    p.start()
    if QuotaStatus.available():
        quota_status()
    else:
        skip('quota-status', 'the package can\'t be had, this is not root, or there is no ::1')
    if POSTGREY and Postgrey.available():
        postgrey()
    elif POSTGREY:
        skip('postgrey', 'the package can\'t be had, or this is not root')
finish()
