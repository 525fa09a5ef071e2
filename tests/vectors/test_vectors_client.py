#!/usr/bin/env python3
"""Dialogues that play a server for our client: those of Exim's tests, and what the fake server of the STARTTLS study answers. What is asked of the client (which
recipients, with content or not) is read off each dialogue, and so is what it must make of the replies; build/vectors/client_driver is the client of pass-through and queue."""
import ast, json, os, re, socket, ssl, subprocess, sys, tempfile, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from vectors import BUILD, Suite, need  # noqa: E402

exim, fake = need('smtp-exim', 'smtp-client-fakeserver')
from client_reasons import EXIM, FAKE  # noqa: E402
from fakemx import Authority  # noqa: E402
from porter import SLOW  # noqa: E402

DRIVER = BUILD / 'vectors/client_driver'
NOT_SMTP = ('QUERY-', '>>ANSWER', '>LF>', '<zINSTREAM', '<REPORT', '<CPID', '<SCAN', 'SCAN')


# -- the client ---------------------------------------------------------------------------------------------------------------------------
def drive(port, plan, *options):
    """[[codes of RCPT], [codes of content]] for each transaction of the plan, or the reason why there is none."""
    p = subprocess.run([DRIVER, str(port), *options], input='\n'.join(plan) + '\n', text=True, capture_output=True, timeout=120 * SLOW)
    if p.returncode:
        return f'the driver ended with {p.returncode} {p.stdout[-100:]} {p.stderr[-300:]}'
    return [[[int(c) for c in half.split()] for half in line.split('/')] for line in p.stdout.splitlines()]


# -- Exim's dialogues ----------------------------------------------------------------------------------------------------------------------
def unescape(text):
    return re.sub(r'\\(x[0-9a-fA-F]{2}|.)', lambda m: chr(int(m[1][1:], 16)) if m[1][0] == 'x' and len(m[1]) == 3 else {'r': '\r', 'n': '\n'}.get(m[1], m[1]), text)


def connections(lines):
    """The script of each connection: lists of ('C', what is expected), ('S', bytes), ('sleep',), ('close',), ('eof',), ('dot',)."""
    found, now = [], []
    for line in lines:
        if line.startswith(('*eof', '>*eof')):
            now.append(('close',) if line[0] == '>' else ('eof',))
            found.append(now)
            now = []
        elif line.startswith('*sleep'):
            now.append(('sleep',))
        elif line == '.':
            now.append(('dot',))
        elif line == '':
            continue
        elif line.startswith('>>'):
            now.append(('S', unescape(line[2:]).encode('latin1')))
        elif line[0] == '>' or line[0].isdigit():
            now.append(('S', unescape(line.lstrip('>')).encode('latin1') + b'\r\n'))
        elif not line.startswith('<<'):
            now.append(('C', unescape(line.lstrip('<'))))
    return found + ([now] if now else [])


def replies(script):
    """The script as a list of (command, code of its reply or 0, how many replies): what the client must learn from it."""
    steps, command, last = [], 'GREETING', b''
    for step in script:
        if step[0] == 'S' and not re.match(rb'\d{3}-', step[1].rstrip().rpartition(b'\n')[2]):
            steps.append((command, int(step[1][:3]) if re.match(rb'\d{3}', step[1]) else 0))
        elif step[0] in ('C', 'dot'):
            if command != 'SAID' and (not steps or steps[-1][0] != command):
                steps.append((command, 0))
            command = step[1].upper() if step[0] == 'C' else '.'
    if not steps or steps[-1][0] != command:
        steps.append((command, 0))
    return steps


class Transaction:
    def __init__(self, mail, code):
        self.mail, self.code, self.rcpts, self.data, self.dots, self.whole = mail, code, [], None, [], False

    def plan(self):
        path = re.search(r'<[^>]*>', self.mail)
        words = [path[0] if path else '<ann@outside.test>', *(['size=99'] if 'SIZE' in self.mail else []), *(['prdr'] if 'PRDR' in self.mail else [])]
        return ['MAIL ' + ' '.join(words), *(f'RCPT <{self.address(i, line)}>' for i, (line, _) in enumerate(self.rcpts)), 'GO' if self.whole else 'ASK']

    @staticmethod
    def address(number, line):
        """The one that the script wants to see; scripts name it whole, by its beginning, or not at all."""
        begun = line.partition('<')[2].rstrip('>').lower()
        local, _, domain = begun.partition('@')
        return f'{local + ("" if local[-1:].isalnum() else str(number))}@{domain or "far.test"}' if begun else f'user{number}@far.test'

    def expected(self):
        """(class or code for each RCPT, for each content)"""
        heard = [r if self.code // 100 == 2 else self.code for _, r in self.rcpts]
        codes = [c if 200 <= c < 600 and c // 100 in (2, 4, 5) else 451 for c in heard]
        taken = sum(c // 100 == 2 for c in codes)
        dots = self.dots
        if 'PRDR' in self.mail and dots and dots[0] == 353:
            dots = [c if dots[-1] // 100 == 2 or c // 100 != 2 else dots[-1] for c in dots[1:-1]]
        end = self.data if self.data and self.data // 100 != 3 else None
        content = [end] * taken if end else dots if len(dots) == taken else (dots[:1] or [0]) * taken
        return [c // 100 if c != 451 else 4 for c in codes], [c // 100 if c and c // 100 in (2, 4, 5) else 4 for c in content]


def transactions(script):
    found = []
    for command, code in replies(script):
        if command.startswith('MAIL'):
            found.append(Transaction(command, code))
        elif found and command.startswith('RCPT'):
            found[-1].rcpts.append((command, code))
        elif found and command.startswith('DATA'):
            found[-1].whole, found[-1].data = True, code
        elif found and command == '.':
            found[-1].dots.append(code)
    if found and script[-1] == ('sleep',):
        found[-1].whole = True
    if not found:
        found = [Transaction('MAIL FROM', 0)]
        found[0].whole = True
    for t in found:
        t.rcpts = t.rcpts or [('RCPT', 0)]
    return found


class Player:
    """Plays a dialogue's server; `wrong` says how the client left the script. RSET where the script has QUIT, MAIL or the end may be said at any time (RFC 5321, 4.1.1.5)."""

    def __init__(self, scripts, patience):
        self.scripts, self.wrong, self.patience = scripts, '', patience
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=1)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        self.listener.settimeout(self.patience)
        try:
            for number, script in enumerate(self.scripts):
                c, _ = self.listener.accept()
                if number + 1 == len(self.scripts):
                    self.listener.close()
                c.settimeout(self.patience)
                with c, c.makefile('rb') as f:
                    self._play(c, f, script)
                if self.wrong:
                    break
        except OSError as e:
            self.wrong = self.wrong or f'connection {e!r}'
        finally:
            self.listener.close()

    def _line(self, f, want):
        line = f.readline(100000)
        if not line:
            raise EOFError(f'it closed where the script has {want!r}')
        return line.rstrip(b'\r\n').decode('latin1')

    @staticmethod
    def _end(c, f, quit_heard):
        try:
            c.shutdown(socket.SHUT_WR)
            rest = [line.strip() for line in f]
        except OSError:
            rest = []
        if quit_heard and rest:
            raise EOFError(f'it said {rest!r} behind the end of the script')

    def _play(self, c, f, script):
        try:
            for number, step in enumerate(script):
                last = all(s[0] in ('eof', 'close') for s in script[number + 1:])
                if step[0] == 'S':
                    c.sendall(step[1])
                elif step[0] == 'dot':
                    while self._line(f, '.') != '.':
                        pass
                elif step[0] == 'sleep' and last:
                    while f.readline(100000):   # it waits until the client is tired of it
                        pass
                elif step[0] == 'C':
                    got = self._line(f, step[1])
                    while got.upper() == 'RSET' and not step[1].upper().startswith('RSET'):
                        c.sendall(b'250 reset\r\n')
                        got = self._line(f, step[1])
                    if not got.upper().startswith(step[1].upper().rstrip()):
                        raise EOFError(f'it said {got!r} where the script has {step[1]!r}')
                elif step[0] == 'close':
                    return
            self._end(c, f, ('C', 'QUIT') in script)
        except EOFError as e:
            self.wrong = str(e)
        except OSError as e:
            self.wrong = f'{e!r}'


def run_dialogue(d):
    """'' or how it differs. One that differs for no reason that is listed has a second try: the client has a second and a half where the server falls silent, which a busy machine may need before."""
    differs = play_dialogue(d, 1)
    return play_dialogue(d, 6) if differs and d['id'] not in EXIM else differs


def play_dialogue(d, patience):
    scripts = connections(d['lines'])
    plans = [transactions(s) for s in scripts]
    options = ['lmtp'] if any(s[1].startswith('LHLO') for script in scripts for s in script if s[0] == 'C') else []
    if any(s == ('sleep',) and i + 1 == len(script) for script in scripts for i, s in enumerate(script)):
        options.append(f'budget={1500 * patience * SLOW}')
    if ('C', 'STARTTLS') in [s for script in scripts for s in script]:
        options.append('tls=may')
    player = Player(scripts, SLOW if d['id'] in EXIM else 10 * patience * SLOW)   # those that are listed may well wait for each other
    got = drive(player.port, [line for connection in plans for line in [*(l for t in connection for l in t.plan()), 'QUIT']], *options)
    plans = [t for connection in plans for t in connection]
    player.thread.join(90 * SLOW)
    if isinstance(got, str):
        return got
    if player.wrong:
        return player.wrong
    for t, (rcpts, content) in zip(plans, got):
        want = t.expected()
        heard = [c // 100 for c in rcpts], [c // 100 for c in content]
        if heard[0] != want[0] or (t.whole and want[1] and heard[1] != want[1]):
            return f'it made {rcpts} / {content} of what is {want}'
    return '' if len(got) == len(plans) else f'{len(got)} of {len(plans)} transactions'


def exim_suite():
    suite = Suite('smtp-exim, dialogues that play a server', EXIM, steady=False)
    dialogues = [d for d in json.loads((exim / 'dialogues-open.json').read_text()) if d['kind'] == 'server' and not d['cmd'].startswith('server DIR')
                 and d['lines'] and not any(line.startswith(NOT_SMTP) for line in d['lines'])]
    with ThreadPoolExecutor(6) as pool:
        for d, differs in zip(dialogues, pool.map(run_dialogue, dialogues)):
            suite.case(d['id'], not differs, differs)
    return suite.end()


# -- the fake server --------------------------------------------------------------------------------------------------------------------------
def read_case(path):
    """A case of the fake server (RON) as a dictionary: the few fields that say how it talks."""
    text = re.sub(r'(?m)^\s*//.*$', '', path.read_text())
    def lists(name):
        m = re.search(rf'\b{name}:\s*\[(.*?)\],?\s*$', text, re.S | re.M)
        return m[1] if m else ''
    def text_of(name):
        m = re.search(rf'\b{name}:\s*("(?:[^"\\]|\\.)*")', text)
        return ast.literal_eval(m[1]) if m else None
    over = re.search(r'override_response:\s*\{(.*?)\}', text, re.S)
    return {'greeting': text_of('greeting'), 'tls_reply': text_of('stls_response'), 'moves': 'stls_make_transition: false' not in text,
            'starttls': 'StartTLS' in lists('capabilities').replace('capabilities_tls', ''), 'auth': re.findall(r'"([^"]+)"', lists('capabilities')),
            'hidden': re.findall(r'"([^"]+)"', lists('hide_commands')),
            'over': {k.lower(): ast.literal_eval(v) for k, v in re.findall(r'"(\w+)":\s*("(?:[^"\\]|\\.)*")', over[1])} if over else {}}


class FakeServer:
    """What that fake server says (its source is not here, only its cases): each command its usual reply, or the case's own."""

    def __init__(self, case, cert):
        self.case, self.cert, self.said, self.taken, self.sessions = case, cert, [], 0, []
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=9)
        self.port = self.listener.getsockname()[1]
        self.acceptor = threading.Thread(target=self._serve, daemon=True)
        self.acceptor.start()

    def stop(self):
        """When what was said on every connection is read."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.acceptor.join(20 * SLOW)
        self.listener.close()
        for session in self.sessions:
            session.join(20 * SLOW)

    def _serve(self):
        while True:
            try:
                c, _ = self.listener.accept()
            except OSError:
                return
            self.sessions.append(threading.Thread(target=self._session, args=(c,), daemon=True))
            self.sessions[-1].start()

    def _usual(self, verb, secure):
        if verb in ('ehlo', 'lhlo') and verb not in self.case['hidden']:
            offers = ['example.org', *(['STARTTLS'] if self.case['starttls'] and not secure else []),
                      *(['AUTH ' + ' '.join(self.case['auth'])] if self.case['auth'] and not secure else []), *(['AUTH PLAIN'] if secure else [])]
            return ''.join(f'250{"-" if i + 1 < len(offers) else " "}{o}\r\n' for i, o in enumerate(offers))
        if verb in self.case['hidden'] or verb not in ('helo', 'mail', 'rcpt', 'data', 'rset', 'noop', 'quit', 'starttls'):
            return '500 unknown\r\n'
        if verb == 'starttls':
            return self.case['tls_reply'] or '220 go\r\n'
        return {'data': '354 go\r\n', 'quit': '221 bye\r\n'}.get(verb, '250 ok\r\n')

    def _session(self, c):
        secure = False
        try:
            c.settimeout(60 * SLOW)
            f = c.makefile('rb')
            c.sendall((self.case['greeting'] or '220 example.org ESMTP\r\n').encode())
            while line := f.readline(100000):
                verb = line.split()[0].decode('latin1').lower() if line.split() else ''
                self.said.append(('tls ' if secure else '') + verb)
                over = self.case['over'].get(verb) if not secure else None
                c.sendall((over or self._usual(verb, secure)).encode())
                if verb == 'starttls' and not over and self.case['moves'] and not self.case['tls_reply'] and 'starttls' not in self.case['hidden']:
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(*self.cert)
                    f.close()
                    c = context.wrap_socket(c, server_side=True)
                    f, secure = c.makefile('rb'), True
                elif verb == 'data':
                    while f.readline(100000) not in (b'.\r\n', b''):
                        pass
                    self.taken += 1
                    c.sendall(b'250 taken\r\n')
                elif verb == 'quit':
                    return
        except (OSError, ssl.SSLError):
            pass


def wanted(case, must):
    """What RFC 5321 and 3207 want of a client: True if the message gets there. must: without TLS it may not."""
    first = lambda text: int(text[:3]) if text else 0   # noqa: E731
    over = case['over']
    ehlo = 500 if 'ehlo' in case['hidden'] else first(over.get('ehlo')) or 250
    helo = first(over.get('helo')) or 250
    if first(case['greeting'] or '220') != 220 or ehlo == 421 or ehlo // 100 in (3, 4):
        return False
    if ehlo // 100 == 5:
        return not must and helo // 100 == 2
    offered = case['starttls'] and 'ehlo' not in over
    tls = first(over.get('starttls')) or first(case['tls_reply']) or 220
    if offered and tls == 421:
        return False
    return not must or (offered and tls == 220 and case['moves'] and 'starttls' not in over)


def run_case(path, cert, must):
    case = read_case(path)
    server = FakeServer(case, cert)
    got = drive(server.port, ['MAIL <ann@outside.test>', 'RCPT <user@far.test>', 'GO'], 'tls=encrypt' if must else 'tls=may')
    server.stop()
    if isinstance(got, str):
        return got
    good = got[0][1] == [250]
    if good != wanted(case, must) or good != bool(server.taken):
        return f'it made {got} of it, having said {server.said}'
    if not good and any(c // 100 != 4 for half in got[0] for c in half):
        return f'{got} is no 4xx'
    if must and any(s in ('mail', 'rcpt', 'data') for s in server.said):
        return f'it spoke in the clear: {server.said}'
    if case['greeting'] and not case['greeting'].startswith(('220', '421')) and server.said != ['quit']:
        return f'after that greeting it said {server.said}'
    return ''


def fake_suite():
    folder = fake / 'testcases/smtp'
    cases = sorted(p for p in folder.rglob('*.ron') if not p.name.startswith('setup'))
    bad = 0
    with tempfile.TemporaryDirectory() as t, ThreadPoolExecutor(6) as pool:
        cert = Authority(t).leaf('example.org', signed=False)
        for name, must in (('TLS where it works', False), ('TLS or nothing', True)):
            suite = Suite(f'smtp-client-fakeserver, {name}', FAKE, steady=False)
            for path, differs in zip(cases, pool.map(lambda p, m=must: run_case(p, cert, m), cases)):
                suite.case(str(path.relative_to(folder)), not differs, differs)
            bad += suite.end()
    return bad


if not DRIVER.exists():
    print(f'not ok {DRIVER} is not there: make units')
    sys.exit(1)
sys.exit(1 if exim_suite() + fake_suite() else 0)
