"""Mail servers of others as next hops: Postfix, Exim, OpenSMTPD and Dovecot's LMTP from Debian's packages (lib/unpack), each in namespaces of its own for processes, mounts and System V
memory, on the machine's loopback, IPv4 and IPv6. What they need of users, /etc, /run and /var is laid over the machine's and is gone with them. As root.

    with Exim(folder, port, ['a.test', 'b.test']) as s:       # listens on 127.0.0.1 and ::1
        s.die()                         # kill -9 of every process of it
        s.start()

Each takes good@ its domains, refuses nobody@ them at RCPT, and at the end of content what late@outside.test sends to late@ them."""
import os, shutil, signal, socket, subprocess, time
from pathlib import Path
from porter import PATIENCE, SLOW, has_ipv6
from unpack import can_inside, unpack

USERS = ('postfix', 'Debian-exim', 'opensmtpd', 'opensmtpq', 'dovecot', 'dovenull', 'vmail')
GROUPS = (*USERS, 'postdrop')
FIRST_ID = 64100

# $0: the folder of this server, $1: of the package. Its own /etc lies over the package's over the machine's; what it writes lies below /srv.
SCRIPT = '''set -e
mount -t overlay overlay -o lowerdir="$1/usr:/usr" /usr
if [ -d "$1/etc" ]; then lower="$0/etc:$1/etc:/etc"; else lower="$0/etc:/etc"; fi
mount -t overlay overlay -o lowerdir="$lower" /etc
mount --bind "$0/srv" /srv
for d in /run /var/lib /var/spool /var/mail /var/log; do mount -t tmpfs tmpfs $d; done
mkdir -p /run/lock
shift 1
exec "$@"'''


def ids():
    """Name to number, in passwd and group alike."""
    return {name: FIRST_ID + i for i, name in enumerate(GROUPS)}


class Server:
    """port is free on both families. name, packages, configure() and command are the server's own."""
    lmtp, families = False, (socket.AF_INET, socket.AF_INET6)

    def __init__(self, folder, port, domains):
        self.dir, self.port, self.domains, self.process = Path(folder), port, domains, None
        self.root = unpack(*self.packages)
        shutil.rmtree(self.dir, ignore_errors=True)
        (self.dir / 'etc').mkdir(parents=True)
        (self.dir / 'srv').mkdir()
        numbers = ids()
        for file, form in (('passwd', '{0}:x:{1}:{1}::/nonexistent:/usr/sbin/nologin'), ('group', '{0}:x:{1}:')):
            names = USERS if file == 'passwd' else GROUPS
            theirs = [line for line in Path('/etc', file).read_text().splitlines() if line.split(':')[0] not in names]
            (self.dir / 'etc' / file).write_text('\n'.join([*theirs, *(form.format(n, numbers[n]) for n in names)]) + '\n')
        (self.dir / 'etc/hosts').write_text('127.0.0.1 localhost mx.far.test\n::1 localhost\n')

    @classmethod
    def available(cls):
        root = unpack(*cls.packages)
        return root is not None and can_inside(root) and (has_ipv6() or socket.AF_INET6 not in cls.families)

    def srv(self, name, text='', owner='root', mode=0o644):
        """A file (or, without text, a folder) that the server sees as /srv/NAME."""
        path = self.dir / 'srv' / name
        if text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        else:
            path.mkdir(parents=True, exist_ok=True)
            mode |= 0o111
        os.chmod(path, mode)
        os.chown(path, ids().get(owner, 0), ids().get(owner, 0))
        return path

    def etc(self, name, text):
        path = self.dir / 'etc' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def start(self):
        if self.process and self.process.poll() is None:
            self.die()
        # whoever starts it (a thread) takes it along when it ends, however it ends
        self.process = subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', 'unshare', '--mount', '--pid', '--ipc', '--uts', '--fork', '--kill-child', '--mount-proc', '--propagation', 'private', 'sh', '-c', SCRIPT,
                                         str(self.dir), str(self.root), 'sh', '-c', self.command + '; exit 1'], stdin=subprocess.DEVNULL, stdout=open(self.dir / 'out', 'ab'),
                                        stderr=subprocess.STDOUT, start_new_session=True)
        end = time.monotonic() + PATIENCE * SLOW
        while not all(self.greets(f) for f in self.families):
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError(f'{type(self).__name__} does not greet: {(self.dir / "out").read_text()[-2000:]}')
            time.sleep(.05)
        return self

    def greets(self, family):
        try:
            with socket.socket(family) as s:
                s.settimeout(10 * SLOW)
                s.connect(('127.0.0.1' if family == socket.AF_INET else '::1', self.port))
                return s.recv(100).startswith(b'220')
        except OSError:
            return False

    def die(self):
        """kill -9 of unshare takes the first process of its namespace (a shell) with it, and that takes all."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        end = time.monotonic() + PATIENCE * SLOW
        while any(self.greets(f) for f in self.families) and time.monotonic() < end:
            time.sleep(.02)

    def __enter__(self):
        self.configure()
        return self.start()

    def __exit__(self, *_):
        self.die()

    def holds(self, mark):
        """How many files of it hold this word."""
        return sum(mark in _read(p) for p in self.dir.joinpath('srv').rglob('*') if p.is_file() and not p.is_symlink())


def _read(path):
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b''


class Exim(Server):
    packages = ('exim', 'exim4-daemon-light')
    command = '/usr/sbin/exim4 -bdf -C /etc/exim.conf'

    def configure(self):
        self.srv('spool', owner='Debian-exim', mode=0o750)
        self.etc('exim.conf', f'''primary_hostname = mx.far.test
local_interfaces = <; 127.0.0.1 ; ::1
daemon_smtp_ports = {self.port}
spool_directory = /srv/spool
log_file_path = /srv/spool/%slog
exim_user = Debian-exim
exim_group = Debian-exim
keep_environment =
tls_advertise_hosts =
queue_only
queue_run_in_order
rfc1413_query_timeout = 0s
acl_smtp_rcpt = rcpt
acl_smtp_data = data
begin acl
rcpt:
  deny    local_parts = ^no
          message = 5.1.1 no such user here
  accept
data:
  deny    condition = ${{if match{{$recipients}}{{late}}}}
          message = 5.7.1 refused late
  accept
begin routers
all:
  driver = accept
  transport = none
begin transports
none:
  driver = smtp
''')


class Postfix(Server):
    packages = ('postfix', 'postfix')
    command = 'install -d -o postfix /var/lib/postfix; /usr/lib/postfix/sbin/master -s'

    def configure(self):
        private = ('rewrite', 'anvil', 'bounce', 'defer', 'proxymap')
        services = '\n'.join(f'{n} {kind} {"y" if n in private else "n"} - n - {limit} {command}' for n, kind, limit, command in (
            (f'127.0.0.1:{self.port}', 'inet', '-', 'smtpd'), (f'[::1]:{self.port}', 'inet', '-', 'smtpd'), ('cleanup', 'unix', '0', 'cleanup'), ('rewrite', 'unix', '-', 'trivial-rewrite'),
            ('postlog', 'unix-dgram', '1', 'postlogd'), ('anvil', 'unix', '1', 'anvil'), ('pickup', 'unix', '1', 'pickup'), ('qmgr', 'unix', '1', 'qmgr'), ('showq', 'unix', '-', 'showq'),
            ('bounce', 'unix', '0', 'bounce'), ('defer', 'unix', '0', 'bounce'), ('proxymap', 'unix', '-', 'proxymap')))
        self.etc('postfix/master.cf', services + '\n')
        known = ', '.join(f'{{{u}@{d} = x}}' for u in ('good', 'late') for d in self.domains)
        late = ', '.join(f'{{late@{d} = REJECT 5.7.1 refused late}}' for d in self.domains)
        self.etc('postfix/main.cf', f'''compatibility_level = 3.6
myhostname = mx.far.test
mydestination =
mynetworks =
relay_domains = {' '.join(self.domains)}
inet_protocols = all
inet_interfaces = all
queue_directory = /srv/spool
data_directory = /var/lib/postfix
maillog_file = /dev/stdout
alias_maps =
alias_database =
local_recipient_maps =
relay_recipient_maps = inline:{{ {known} }}
smtpd_recipient_restrictions = reject_unauth_destination, reject_unlisted_recipient, check_recipient_access static:HOLD
smtpd_end_of_data_restrictions = check_recipient_access inline:{{ {late} }}
smtpd_peername_lookup = no
notify_classes =
''')
        shutil.copytree(self.root / 'etc/postfix', self.dir / 'etc/postfix', dirs_exist_ok=True)
        for folder in ('', 'pid', 'etc'):
            self.srv('spool/' + folder, mode=0o755)
        for folder in ('active', 'bounce', 'corrupt', 'defer', 'deferred', 'flush', 'hold', 'incoming', 'private', 'saved', 'trace'):
            self.srv('spool/' + folder, owner='postfix', mode=0o700)
        for folder, mode in (('public', 0o2710), ('maildrop', 0o1730)):
            os.chown(self.srv('spool/' + folder, owner='postfix'), ids()['postfix'], ids()['postdrop'])
            os.chmod(self.dir / 'srv/spool' / folder, mode)


class OpenSMTPD(Server):
    packages = ('opensmtpd', 'opensmtpd')
    command = 'mkdir -p -m 711 /var/spool/smtpd /var/lib/opensmtpd/empty && /usr/sbin/smtpd -d -f /etc/smtpd.conf'

    def configure(self):
        self.srv('mail', owner='vmail', mode=0o700)
        self.etc('mailname', 'mx.far.test\n')
        users = ', '.join(f'"{u}@{d}" = vmail' for u in ('good', 'late') for d in self.domains)
        self.etc('smtpd.conf', f'''table users {{ {users} }}
table domains {{ {', '.join(f'"{d}"' for d in self.domains)} }}
table late {{ "late@outside.test" }}
filter "late" phase commit match mail-from <late> reject "554 5.7.1 refused late"
listen on 127.0.0.1 port {self.port} hostname mx.far.test filter "late"
listen on ::1 port {self.port} hostname mx.far.test filter "late"
action "store" maildir "/srv/mail" virtual <users>
match from any for domain <domains> action "store"
''')


class Dovecot(Server):
    packages, lmtp = ('dovecot-lmtpd', 'dovecot-lmtpd'), True
    command = 'mkdir -p /var/lib/dovecot && /usr/sbin/dovecot -F -c /etc/lmtp.conf'

    def configure(self):
        self.srv('mail', owner='vmail', mode=0o700)
        number = ids()['vmail']
        self.etc('lmtp-users', ''.join(f'good@{d}::{number}:{number}::/srv/mail/good::\nlate@{d}::{number}:{number}::/srv/mail/late::userdb_quota_rule=*:storage=1\n' for d in self.domains))
        self.etc('lmtp.conf', f'''base_dir = /run/dovecot
log_path = /dev/stderr
protocols = lmtp
listen = 127.0.0.1, ::1
ssl = no
hostname = mx.far.test
mail_location = maildir:~/Maildir
first_valid_uid = 500
mail_plugins = quota
plugin {{
  quota = count:user
  quota_vsizes = yes
  quota_full_tempfail = no
}}
mailbox_list_index = yes
passdb {{
  driver = passwd-file
  args = /etc/lmtp-users
}}
userdb {{
  driver = passwd-file
  args = /etc/lmtp-users
}}
service lmtp {{
  inet_listener lmtp {{
    port = {self.port}
  }}
}}
''')
