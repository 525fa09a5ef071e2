"""The RNDR check against servers that behave in known ways: one that refuses in session, one that accepts and bounces, one that swallows, one that defers once,
and some that are no mail servers at all."""
import json, os, re, smtplib, socket, socketserver, subprocess, tempfile, threading, time
from dns import Dns
from porter import BUILD, PATIENCE, SLOW, check, finish, free_port

DOMAIN = 'example.test'
KNOWN = {'postmaster', 'alice'}


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, how, catch=None):
        self.how, self.catch, self.seen, self.deferred, self.clients = how, catch, [], set(), set()
        super().__init__(('127.0.0.1', 0), Session)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def bounce(self, to, content):
        for _ in range(40):             # a queue would come again, too
            try:
                with smtplib.SMTP('127.0.0.1', self.catch, timeout=10) as s:
                    s.sendmail('', [to], b'From: MAILER-DAEMON\r\nSubject: Undelivered\r\n\r\n' + content)
                return
            except (OSError, smtplib.SMTPException):
                time.sleep(.2)


class Session(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b'\r\n')

    def handle(self):
        try:
            self.talk()
        except OSError:
            pass

    def talk(self):
        s, how = self.server, self.server.how
        s.clients.add(self.client_address[0])
        if how == 'http':
            return self.say('HTTP/1.1 400 Bad Request')
        if how == 'endless':
            while True:
                self.wfile.write(b'x' * 4096)
        self.say('220 fake ESMTP')
        sender, rcpts = '', []
        if how == 'tarpit':             # each reply takes its time, byte by byte
            how = s.how_then
            def slowly(text):
                for byte in text.encode() + b'\r\n':
                    time.sleep(.02)
                    self.wfile.write(bytes((byte,)))
            self.say = slowly
        while True:
            line = self.rfile.readline(4096)
            if not line:
                return
            verb = line[:4].upper()
            if verb == b'EHLO':
                self.wfile.write(b'250-fake\r\n250-SIZE 100000\r\n250 DSN\r\n')
            elif verb == b'MAIL':
                sender, rcpts = re.search(rb'<(.*?)>', line)[1].decode(), []
                if how == 'greylist' and sender not in s.deferred:
                    s.deferred.add(sender)
                    self.say('451 4.7.1 Greylisted')
                    continue
                self.say('250 ok')
            elif verb == b'RCPT':
                to = re.search(rb'<(.*?)>', line)[1].decode()
                local = to.split('@')[0].split('+')[0].strip('"')
                if how == 'refuse' and b'NOTIFY' in line:
                    self.say('555 5.5.4 No reports for strangers')
                elif how in ('refuse', 'greylist') and local not in KNOWN:
                    self.say('550 5.1.1 No such user')
                elif how == 'alone' and local not in KNOWN and rcpts:
                    self.say('452 4.5.3 Comes alone')
                else:
                    rcpts.append(to)
                    self.say('250 ok')
            elif verb == b'DATA':
                self.say('354 go')
                content = b''
                while not content.endswith(b'\r\n.\r\n'):
                    piece = self.rfile.readline(8192)
                    if not piece:
                        return
                    content += piece
                s.seen.append((sender, rcpts, content))
                if how == 'alone' and len(rcpts) == 1 and rcpts[0].split('@')[0] not in KNOWN:
                    self.say('554 5.7.1 Not wanted there')
                    continue
                if how == 'bounce' and sender and any(r.split('@')[0] not in KNOWN for r in rcpts):
                    s.bounce(sender, content)       # before its 250: whoever is told that it was taken need not be waited for
                self.say('552 5.3.4 too large' if how == 'refuse' and len(content) > 100000 else '250 taken')
            elif verb == b'QUIT':
                return self.say('221 bye')
            else:
                self.say('250 ok')


def run(server, *more, timeout=240, wait='2s'):
    catch = free_port()
    server.catch = catch
    p = subprocess.run([BUILD / 'porterctl', '--json', '--yes', 'rndr-check', f'127.0.0.1:{server.port}', '--domain', DOMAIN, '--catch', f'127.0.0.1:{catch}',
                        '--wait', wait, '--again', '1s', *more], capture_output=True, text=True, timeout=timeout)
    try:
        result = json.loads(p.stdout)
    except ValueError:
        result = {'ways': [], 'stderr': p.stderr}
    result['ways'], result['said'] = {w['way']: w for w in result['ways']}, p.stderr
    return p.returncode, result


code, r = run(Server('refuse'))
check('a server that refuses in session is found clear, with exit code 0', code == 0 and r['leaks'] == 0, (code, r))
check('each refusal is told with the server\'s own words', '5.1.1' in r['ways']['unknown']['note'], r['ways'].get('unknown'))
check('where only the one who exists was taken, the others were refused in session', r['ways']['mixed']['verdict'] == 'refused in session' and '5.1.1' in r['ways']['mixed']['note'], r['ways']['mixed'])
check('a success report that is asked for is refused in session', r['ways']['success-dsn']['verdict'] == 'refused in session' and '5.5.4' in r['ways']['success-dsn']['note'],
      r['ways']['success-dsn'])
check('what needs an address that was not given could not be tested, and says which option', '--forward' in r['ways']['forward']['note'])
check('a message past the SIZE limit is sent to its end', r['ways']['oversize']['verdict'] == 'refused in session' and r['ways']['oversize']['sent_bytes'] > 100000,
      r['ways']['oversize'])

code, r = run(Server('bounce'), '--forward', 'gone@example.test')
check('a server that accepts and returns is found out, with exit code 1', code == 1 and r['result'] == 'backscatters', (code, r))
for way in ('unknown', 'mixed', 'forward', 'quoted', 'subaddress'):
    w = r['ways'][way]
    check(f'the return of the way {way} is counted: bytes, time, and the body in it', w['verdict'] == 'accepted and bounced' and w['returned_bytes'] > 200 and w['body_returned'], w)
check('a probe to one who exists is accepted and silent', r['ways']['success-dsn']['verdict'] == 'accepted and silent', r['ways']['success-dsn'])
check('a null reverse-path gets nothing back', r['ways']['null-sender']['returns'] == 0)

code, r = run(Server('swallow'))
check('a server that swallows is not called clear: exit code 2', code == 2 and r['ways']['unknown']['verdict'] == 'accepted and silent', (code, r['ways'].get('unknown')))

code, r = run(Server('greylist'))
check('a greylisting server is asked again, and that is said', code == 0 and r['ways']['unknown']['deferred'] and r['ways']['unknown']['verdict'] == 'refused in session', (code, r))
check('while it waits it says for what, and how long', re.search(r'told to come again later \(greylisting\); waiting \d+ s', r['said']), r['said'])

server = Server('alone')
code, r = run(server, '--ways', 'outcomes', '--known', 'alice@example.test', '--forward', 'gone@example.test')
w = r['ways']['outcomes']
check('a recipient who was told to come later comes again without those who are settled, and his own refusal counts',
      w['verdict'] == 'refused in session' and '5.7.1' in w['note'] and [rcpts for _, rcpts, _ in server.seen] == [['alice@example.test'], ['gone@example.test']], (w, server.seen))

server = Server('refuse')
code, r = run(server, '--ways', 'unknown', '--source', '127.0.0.77')
check('the probes come from the address that was asked for', code == 0 and server.clients == {'127.0.0.77'}, (code, server.clients))
code, r = run(server, '--ways', 'unknown', '--source', 'there')
check('a source that is no address is refused', code == 64 and '--source' in r['stderr'], (code, r))

code, r = run(Server('http'), '--ways', 'unknown')
check('a server of another protocol could not be tested', code == 2 and 'SMTP' in r['ways']['unknown']['note'], (code, r))
code, r = run(Server('endless'), '--ways', 'unknown')
check('a line without an end is bounded', code == 2 and r['ways']['unknown']['verdict'] == 'could not test', (code, r))

tarpit = Server('tarpit')
tarpit.how_then = 'refuse'
code, r = run(tarpit, '--ways', 'unknown')
check('a tarpit is waited for, and its refusal counts', code == 0 and r['ways']['unknown']['verdict'] == 'refused in session', (code, r))
for target, words, what in (('no.such.host.invalid', '', 'does not resolve'), (f'127.0.0.1:{free_port()}', 'no connection', 'refuses the connection')):
    p = subprocess.run([BUILD / 'porterctl', '--json', '--yes', 'rndr-check', target, '--domain', DOMAIN, '--catch', f'127.0.0.1:{free_port()}', '--wait', '1s', '--ways', 'unknown',
                        '--resolver', '127.0.0.1@1'], capture_output=True, text=True, timeout=60)
    check(f'a host that {what} could not be tested, and is named', p.returncode == 2 and words in p.stdout and (p.stdout or target in p.stderr), p)

# the listener for returns is itself attacked while the check goes on
def attack_catcher(server):
    held = []
    while not server.catch:
        time.sleep(.01)
    for i in range(300):
        try:
            s = socket.create_connection(('127.0.0.1', server.catch), timeout=5)
            s.sendall((b'x' * 70000, b'RCPT TO:<' + b'a' * 1500 + b'>\r\n', b'DATA\r\n' * 50, b'\0\xff\r\n' * 100)[i % 4])
            held.append(s)
        except OSError:
            time.sleep(.01)
    for s in held:
        s.close()


server = Server('bounce')
attackers = [threading.Thread(target=attack_catcher, args=(server,), daemon=True) for _ in range(2)]
for t in attackers:
    t.start()
code, r = run(server, '--ways', 'unknown,mixed', wait='20s')
check('an attack on the listener for returns changes no verdict', code == 1 and all(r['ways'][w]['verdict'] == 'accepted and bounced' for w in ('unknown', 'mixed')), (code, r))
for t in attackers:
    t.join(30)

# a forged return: a guessed mark, and one without any
server = Server('swallow')
catch = free_port()
p = subprocess.Popen([BUILD / 'porterctl', '--json', '--yes', 'rndr-check', f'127.0.0.1:{server.port}', '--domain', DOMAIN, '--catch', f'127.0.0.1:{catch}', '--wait', '10s',
                      '--ways', 'unknown'], stdout=subprocess.PIPE, text=True)
end = time.monotonic() + PATIENCE * SLOW
while not server.seen and time.monotonic() < end:
    time.sleep(.05)
sender = server.seen[0][0]
codes = []
with smtplib.SMTP('127.0.0.1', catch, timeout=10) as s:
    s.helo('x')
    for guess in ('nobody@[127.0.0.1]', re.sub(r'-[0-9a-f]{16}@', '-0123456789abcdef@', sender)):
        s.mail('')
        codes.append(s.rcpt(guess)[0])
        s.rset()
out = json.loads(p.communicate(timeout=240)[0])
check('a return without our mark, or with a guessed one, is refused and not counted', codes == [550, 550] and out['leaks'] == 0, (codes, out))
check('each probe is marked in header, Message-ID and reverse-path', server.seen[0][2].count(sender.split('@')[0].encode()) >= 3, server.seen[0])

p = subprocess.run([BUILD / 'porterctl', 'rndr-check', '192.0.2.1', '--domain', DOMAIN, '--resolver', '127.0.0.1@1'], capture_output=True, text=True, timeout=60)
check('a server that is not ours is not tested without consent, and the record to set is named', p.returncode == 2 and '_rndr-check.example.test' in p.stderr, p.stderr)
# limits of rate, for what is not an address of this machine
with tempfile.TemporaryDirectory() as run_dir, Dns({'mx.far.test': {'A': ['127.0.0.1']}}) as dns:
    server = Server('refuse')
    argv = [BUILD / 'porterctl', '--json', '--yes', 'rndr-check', f'mx.far.test:{server.port}', '--domain', DOMAIN, '--ways', 'unknown', '--wait', '1s', '--resolver', dns.resolver]
    first, second = (subprocess.run(argv, capture_output=True, text=True, timeout=60, env=dict(os.environ, XDG_RUNTIME_DIR=run_dir)) for _ in range(2))
    check('a second check within half a minute has to wait', first.returncode == 0 and second.returncode == 75 and 'wait' in second.stderr and len(server.seen) == 0, (first, second))
finish()
