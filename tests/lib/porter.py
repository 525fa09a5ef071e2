"""A running Porter for a test: its own directory below build/t, its own ports, and an end that leaves nothing behind.

    from porter import Porter, check, finish
    with Porter('name', maps={'aliases': 'a@example.test alice@example.test'}) as p:
        check('a plain message is in the Maildir when 250 is said', p.send(b'Subject: x\r\n\r\nhello\r\n') == 250)
    finish()

A test prints `ok SENTENCE`, `not ok SENTENCE: why` or `skip SENTENCE: why`; finish() ends the script with the right code."""
import atexit, base64, json, os, re, shutil, signal, smtplib, socket, ssl, subprocess, sys, tempfile, time, traceback
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get('PORTER_BUILD', TOP / 'build')).resolve()
SLOW = int(os.environ.get('PORTER_SLOW', '1'))
PATIENCE = 60                   # seconds (times SLOW) for what comes at once on a quiet machine: a busy one is waited for, and only what never comes costs the time
DOMAIN = 'example.test'
SERVES = 'Porter serves '            # what a demo's parent prints, wherever its log goes
_failed = 0


# -- saying what was proved ---------------------------------------------------------------------------------------------
def check(sentence, good, why=''):
    """One line of the result; `good` may be a function, whose exception is a failure."""
    global _failed
    if callable(good):
        try:
            good = good()
        except Exception as e:      # noqa: BLE001: whatever it is, it is this test's failure
            traceback.print_exc()
            good, why = False, repr(e)
    if good:
        print(f'ok {sentence}', flush=True)
    else:
        _failed += 1
        print(f'not ok {sentence}' + (f': {why}' if why != '' else ''), flush=True)
    return bool(good)


def skip(sentence, why):
    print(f'skip {sentence}: {why}', flush=True)


def finish():
    sys.exit(1 if _failed else 0)


def vectors(name=''):
    """The folder of public conformance data, or None where this machine has none."""
    for base in (os.environ.get('PORTER_VECTORS'), TOP.parent / 'shared/vectors'):
        if base and (Path(base) / name).exists():
            return Path(base) / name
    return None


# -- places -------------------------------------------------------------------------------------------------------------
os.umask(0o022)         # the house's processes are other users, and read what a test writes


def is_reached(path):
    """Whether other users reach it: each folder on the way lets them through."""
    return all(d.stat().st_mode & 0o001 for d in [path, *path.parents] if d.is_dir())


def _folder():
    """Below build/t; where a tree lies in a private folder, as root's home is, in one of this test's own elsewhere, which goes with what lies there."""
    global _place
    if '_place' not in globals():
        _place = BUILD / 't'
        if os.geteuid() == 0 and not is_reached(_place):
            _place = Path(tempfile.mkdtemp(prefix='porter-test-'))
            _place.chmod(0o755)
            atexit.register(lambda: subprocess.run(['rmdir', _place], capture_output=True))      # what a failed test keeps stays
    return _place


def remove(path):
    """A folder with all below it; generations of maps are closed to whoever isn't root."""
    if os.geteuid():
        subprocess.run(['chmod', '-R', 'u+rwX', path], capture_output=True)
    shutil.rmtree(path, ignore_errors=True)


def may_look():
    """Whether /proc shows a process of the house to this user: they close themselves to all but root."""
    return os.geteuid() == 0


# -- ports --------------------------------------------------------------------------------------------------------------
class Ports:
    """Twenty ports in a row that no other test of this machine takes, for as long as this process lives: whoever has the abstract Unix socket of that name, which is of a network
    namespace as ports are, of no file system, and open to every user, has them."""

    def __init__(self):
        first = os.getpid() % 500
        for i in range(500):
            slot = (first + i) % 500
            handle = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                handle.bind(f'\0porter-test-ports-{slot}')
            except OSError:
                handle.close()
                continue
            self.base, self.handle = 21000 + slot * 20, handle
            if all(self._free(self.base + k) for k in range(20)):
                return
            handle.close()
        raise RuntimeError('no free ports')

    @staticmethod
    def _free(port):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(('127.0.0.1', port))
                return True
            except OSError:
                return False


def has_ipv6():
    """Whether this machine has ::1."""
    try:
        socket.create_server(('::1', 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


def free_port():
    """One more port, for a sink or a peer; kept by this process."""
    global _spare
    try:
        base, used = _spare
    except NameError:
        base, used = Ports(), 0
    if used == 20:
        base, used = Ports(), 0
    _spare = (base, used + 1)
    _kept.append(base)
    return base.base + used


_kept = []


# -- the server ---------------------------------------------------------------------------------------------------------
class Porter:
    def __init__(self, name, settings=None, maps=None, start=True, user=None, keep=False):
        """settings: porter.conf lines that replace or join the demo's; maps: text to append to the demo's maps ('=NAME' replaces it)."""
        user = user or os.environ.get('PORTER_AS')
        self.name, self.user, self.keep = name, user, keep
        self.ports = Ports()
        self.mx, self.submission, self.submissions, self.http = (self.ports.base + k for k in range(4))
        self.dir = _folder() / f'{name}-{os.getpid()}'
        remove(self.dir)
        self.dir.mkdir(parents=True)
        if user:
            shutil.chown(self.dir, user)
        self.etc, self.mail, self.spool = self.dir / 'etc', self.dir / 'mail', self.dir / 'spool'
        self.process, self.log = None, self.dir / 'log'
        atexit.register(self.down)
        self.run([BUILD / 'porterd', 'demo', self.dir, '--port-base', self.ports.base], check=True)
        self.set({'digest': 'no', **(settings or {})})       # or midnight (UTC) brings alice, who is the postmaster, one message more than a test counts
        for key, text in (maps or {}).items():
            with open(self.etc / key.lstrip('='), 'w' if key.startswith('=') else 'a') as f:
                f.write(text.rstrip('\n') + '\n')
        if maps:
            self.compile()
        if start:
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            self.keep = True
            print(self.log_text()[-4000:], file=sys.stderr)
        self.down()

    def _argv(self, argv):
        argv = [str(a) for a in argv]
        return ['setpriv', f'--reuid={self.user}', '--clear-groups', *argv] if self.user else argv

    def run(self, argv, check=False, **kw):
        return subprocess.run(self._argv(argv), check=check, text=kw.pop('text', True), capture_output=True, timeout=kw.pop('timeout', 120 * SLOW), **kw)

    def set(self, settings):
        """Replace or add lines of porter.conf; a value of None removes the line."""
        path = self.etc / 'porter.conf'
        lines = path.read_text().splitlines()
        for name, value in settings.items():
            lines = [l for l in lines if l.split(None, 1)[:1] != [name]]
            if value is not None:
                lines.append(f'{name} {value}')
        path.write_text('\n'.join(lines) + '\n')

    def map(self, name, text):
        (self.etc / name).write_text(text.rstrip('\n') + '\n')

    def start(self, wait=PATIENCE, options=()):
        """When every process of it serves; who greets says 451 to what another one has to answer until that one is there, too."""
        before = self.log_text().count(SERVES)
        self.process = subprocess.Popen(self._argv([BUILD / 'porterd', '-c', self.etc, *options]), stdin=subprocess.DEVNULL,
                                        stdout=open(self.log, 'ab'), stderr=subprocess.STDOUT, start_new_session=True)
        end = time.monotonic() + wait * SLOW
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f'porterd ended with {self.process.returncode}: {self.log_text()[-3000:]}')
            if self.log_text().count(SERVES) > before and self.greets():
                return self
            time.sleep(.02)
        raise RuntimeError(f'no greeting: {self.log_text()[-3000:]}')

    def greets(self, timeout=20):
        """True, or False where nobody greets with 220."""
        try:
            with self.connect(timeout=timeout) as s:
                return s.recv(512).startswith(b'220')
        except OSError:
            return False

    def pids(self):
        """The parent and every process below it."""
        out = subprocess.run(['ps', '-e', '-o', 'pid=,ppid=,args='], capture_output=True, text=True).stdout
        rows = [l.split(None, 2) for l in out.splitlines()]
        known = {str(self.process.pid)}
        for _ in range(4):
            known |= {r[0] for r in rows if r[1] in known}
        return {int(r[0]): r[2] if len(r) > 2 else '' for r in rows if r[0] in known}

    def roles(self):
        """pid by role: {'smtpd': [..], 'mailbox': [..]}. Helpers have none, nor has one of them that was forked just now."""
        found = {'parent': [self.process.pid]}
        for pid, args in self.pids().items():
            m = re.search(r'--role=(\w+)', args)
            if m and pid != self.process.pid:
                found.setdefault(m[1], []).append(pid)
        return found

    def forget_peaks(self):
        """From here on `peak_kib` counts."""
        for pid in self.pids() if may_look() else ():
            try:
                Path(f'/proc/{pid}/clear_refs').write_text('5')
            except OSError:
                pass        # it has just ended

    def peak_kib(self, role):
        """The most that the processes of a role have had in memory at any moment since; 0 where nobody may look, or a sanitizer keeps what is freed."""
        if not may_look() or 'asan' in BUILD.parts:
            return 0
        return max(int(re.search(r'VmHWM:\s+(\d+)', Path(f'/proc/{pid}/status').read_text())[1]) for pid in self.roles()[role])

    def stop(self, wait=PATIENCE):
        """In order, as Ctrl-C does; the exit code."""
        if not self.process:
            return None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(wait * SLOW)
        self.process = None
        return code

    def kill(self):
        """kill -9 of the parent and everything below it, at once."""
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.process = None

    def down(self):
        if self.process:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()
        told = re.search(r'^.*(?:ERROR: AddressSanitizer|ERROR: LeakSanitizer|runtime error:)', self.log_text(), re.M)
        if told:
            check(f'no sanitizer speaks in the log of {self.name}', False, self.log_text()[told.start():][:4000])
        if not self.keep:
            place = self.mail.resolve().parent      # elsewhere, below a folder that only root may enter
            if place.name.startswith('porter-demo-') and place.parent == Path('/var/lib'):
                shutil.rmtree(place, ignore_errors=True)
            remove(self.dir)

    def log_text(self):
        return self.log.read_text(errors='replace') if self.log.exists() else ''

    def wait_log(self, pattern, seconds=PATIENCE):
        """The match of a regular expression in the log, or None."""
        end = time.monotonic() + seconds * SLOW
        while True:
            m = re.search(pattern, self.log_text(), re.M)
            if m or time.monotonic() > end:
                return m
            time.sleep(.05)

    def wait(self, what, seconds=PATIENCE):
        """What `what()` says as soon as it says something, or its last word."""
        end = time.monotonic() + seconds * SLOW
        while True:
            got = what()
            if got or time.monotonic() > end:
                return got
            time.sleep(.05)

    def compile(self):
        p = self.ctl('compile')
        if p.returncode:
            raise RuntimeError(f'porterctl compile: {p.stdout}{p.stderr}')

    def ctl(self, *argv, **kw):
        """porterctl -c ETC ARGV: CompletedProcess."""
        return self.run([BUILD / 'porterctl', '-c', self.etc, *argv], **kw)

    def status(self):
        return json.loads(self.ctl('status', '--json').stdout)

    # -- talking to it ----------------------------------------------------------------------------------------------------
    def connect(self, port=None, timeout=PATIENCE, source=None, host='127.0.0.1'):
        s = socket.create_connection((host, port or self.mx), timeout=timeout * SLOW,
                                     source_address=(source, 0) if source else None)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def talk(self, **kw):
        return Talk(self, **kw)

    def smtp(self, port=None, **kw):
        return smtplib.SMTP('127.0.0.1', port or self.mx, timeout=PATIENCE * SLOW, local_hostname='client.test', **kw)

    def send(self, content=b'Subject: test\r\n\r\nhello\r\n', to=('alice@example.test',), sender='someone@outside.test'):
        """The code of the last reply: 250 is taken."""
        with self.talk() as t:
            return t.deliver(content, [to] if isinstance(to, str) else to, sender)

    # -- what it holds ----------------------------------------------------------------------------------------------------
    def maildir(self, user='alice', domain=DOMAIN):
        return self.mail / domain / user

    def messages(self, user='alice', domain=DOMAIN):
        """The bytes of each message in new/ and cur/, by file name."""
        found = {}
        for folder in ('new', 'cur'):
            d = self.maildir(user, domain) / folder
            for e in sorted(d.iterdir()) if d.is_dir() else []:
                found[e.name] = e.read_bytes()
        return found

    def clean(self):
        for f in self.mail.glob('*/*/*/*'):
            f.unlink()


class Talk:
    """A client that says exactly what the test says."""

    def __init__(self, porter, port=None, greet=True, source=None, timeout=PATIENCE, host='127.0.0.1'):
        self.socket = porter.connect(port, timeout, source, host)
        self.file = self.socket.makefile('rb')
        self.greeting = self.reply() if greet else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def raw(self, data):
        self.socket.sendall(data)

    def reply(self):
        """(code, [lines]); (0, []) when the connection ended."""
        lines = []
        while True:
            try:
                line = self.file.readline()
            except (ConnectionError, socket.timeout, ssl.SSLError):
                line = b''
            if not line:
                return (0, lines)
            lines.append(line.rstrip(b'\r\n').decode(errors='replace'))
            if line[3:4] != b'-':
                return (int(line[:3]), lines)

    def say(self, line):
        self.raw((line.encode() if isinstance(line, str) else line) + b'\r\n')
        return self.reply()

    def code(self, line):
        return self.say(line)[0]

    def starttls(self):
        if self.code('STARTTLS') != 220:
            raise RuntimeError('STARTTLS refused')
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.file.close()
        self.socket = context.wrap_socket(self.socket, server_hostname='mx.example.test')
        self.file = self.socket.makefile('rb')

    def login(self, user='alice@example.test', password='porter-demo'):
        """TLS and AUTH on a submission port; the code of AUTH. self.offered: what EHLO said behind TLS."""
        self.say('EHLO client.test')
        self.starttls()
        self.offered = self.say('EHLO client.test')[1]
        return self.code('AUTH PLAIN ' + base64.b64encode(f'\0{user}\0{password}'.encode()).decode())

    def deliver(self, content, to=('alice@example.test',), sender='someone@outside.test', ehlo='client.test'):
        """One transaction; the first refusal, or the last reply's code. RCPT refusals end it only if all are refused."""
        self.rcpt_codes = []
        if ehlo and self.code(f'EHLO {ehlo}') != 250:
            return 0
        code = self.code(f'MAIL FROM:<{sender}>')
        if code != 250:
            return code
        codes = self.rcpt_codes = [self.code(f'RCPT TO:<{r}>') for r in to]
        if 250 not in codes:
            return codes[0]
        code = self.code('DATA')
        if code != 354:
            return code
        self.raw(re.sub(rb'(?m)^\.', b'..', content) + b'.\r\n')
        return self.reply()[0]
