"""Next hops that are enemies (security-kit T5, and S2's client half): at each stage of a conversation each kind of nonsense, for a stranger's mail and for what lies in the queue; and one whose reply comes too late. An answer comes in
bounded time and is 451 or the hop's own, memory is bounded, the queue's message is whole and goes when the hop is honest again, and the log has one clean line for each connection that was lost."""
import json, re, socket, ssl, threading, time
from concurrent.futures import ThreadPoolExecutor
from fakemx import Authority
from porter import BUILD, SLOW, Porter, check, finish
from sink import Sink

PATIENCE = 2 * SLOW                 # hop-patience and hop-dot-patience
BOUND_S = 45
STAGES = ('greeting', 'EHLO', 'MAIL', 'RCPT', 'DATA', 'dot')
USUAL = {'greeting': b'220 hi\r\n', 'EHLO': b'250 far.test\r\n', 'MAIL': b'250 ok\r\n', 'RCPT': b'250 ok\r\n', 'DATA': b'354 go\r\n', 'dot': b'250 taken\r\n'}
FORMS = {'a continued 553 without text': b'553-\r\n553\r\n', 'one digit': b'5\r\n', 'two digits': b'55\r\n', 'an empty line': b'\r\n', 'two codes': b'250-a\r\n550 b\r\n', 'a bare LF': b'250 a\n',
         'half a line and the end': b'250 half', 'a megabyte without a line end': b'2' * (1 << 20), 'a million lines': b'250-x\r\n' * 1000000,
         'NUL and ESC': b'550 5.7.1 a\0b\x1b[31mc\xff\r\n', 'a byte a minute': None,
         'a second greeting': lambda usual: USUAL['greeting'] + usual, 'a close, and then what was wanted': lambda usual: b'421 4.3.2 bye\r\n' + usual + b'250 ok\r\n354 go\r\n250 taken\r\n'}
OWN = {'a continued 553 without text': 553, 'NUL and ESC': 550}      # a whole reply: what it says is the hop's own word


class Enemy:
    """Says `form` at `stage` until it is told to be honest; what it took when it was."""

    def __init__(self, stage, form):
        self.stage, self.form, self.honest, self.taken, self.tried = stage, form, False, [], 0
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=50)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self._session, args=(client,), daemon=True).start()

    def _say(self, c, stage):
        """False: nothing more is said."""
        if self.honest or stage != self.stage:
            c.sendall(USUAL[stage])
            return True
        self.tried += 1
        if FORMS[self.form] is None:
            for byte in b'250 in time':
                c.sendall(bytes([byte]))
                time.sleep(60)
        form = FORMS[self.form]
        c.sendall(form(USUAL[stage]) if callable(form) else form)
        return self.form != 'half a line and the end'

    def _session(self, c):
        try:
            with c, c.makefile('rb') as f:
                if not self._say(c, 'greeting'):
                    return
                while line := f.readline(4096):
                    verb = line[:4].upper().decode('latin-1')
                    stage = {'HELO': 'EHLO'}.get(verb, verb)
                    if stage in USUAL and not self._say(c, stage):
                        return
                    if verb == 'DATA':
                        content = b''
                        while (line := f.readline(1 << 20)) not in (b'.\r\n', b''):
                            content += line
                        if not self._say(c, 'dot'):
                            return
                        if self.honest:
                            self.taken.append(content)
                    elif stage not in USUAL:
                        c.sendall(b'250 ok\r\n')
        except OSError:
            pass


def passed(p, enemy, name):
    """(reply to RCPT, reply to the dot or None, seconds)"""
    with p.talk(timeout=60) as t:
        t.say('EHLO c.test'), t.say('MAIL FROM:<a@outside.test>')
        began = time.monotonic()
        rcpt, end = t.say(f'RCPT TO:<u@{name}>'), None
        if rcpt[0] == 250:
            t.say('DATA')
            t.raw(b'Subject: x\r\n\r\nhello\r\n.\r\n')
            end = t.reply()
        return rcpt, end, time.monotonic() - began


def login(p):
    t = p.talk(port=p.submission, timeout=60)
    t.login()
    return t


def queued(p, names):
    """The codes of a message for each domain, handed in by alice."""
    codes = []
    with login(p) as t:
        for n in names:
            t.say('MAIL FROM:<alice@example.test>'), t.say(f'RCPT TO:<u@{n}>'), t.say('DATA')
            t.raw(b'From: alice@example.test\r\nSubject: to %s\r\n\r\nhello\r\n.\r\n' % n.encode())
            codes.append(t.reply()[0])
    return codes


def judge(form, stage, rcpt, end, took):
    """What is wrong, or nothing."""
    code, text = (end or rcpt)[0], ' '.join((end or rcpt)[1])
    own = OWN.get(form) if STAGES.index(stage) >= 2 else None
    fine = {own or 451} if form != 'a bare LF' else {250, 354, 451, 553}      # some take it for a line end
    return code not in fine or took > BOUND_S * SLOW or any(ord(c) < 32 or ord(c) > 126 for c in text)


def strangers(p, enemies):
    p.forget_peaks()
    before, pids = {role: p.peak_kib(role) for role in ('delivery', 'smtpd')}, p.roles()
    with ThreadPoolExecutor(16) as pool:
        results = dict(zip(enemies, pool.map(lambda key: passed(p, enemies[key], key[0]), enemies)))
    for key, got in results.items():        # sixteen at once may be too many for a busy machine: an honest answer of theirs took longer than the patience
        if judge(key[2], key[1], *got):
            results[key] = passed(p, enemies[key], key[0])
    for stage in STAGES:
        bad = {form: got for (name, s, form), got in results.items() if s == stage and judge(form, s, *got)}
        check(f'nonsense for an answer at {stage}: 451 or the hop\'s own refusal, in bounded time, sanitised', not bad, bad)
    grown = {role: p.peak_kib(role) - before[role] for role in before}
    check('memory is bounded at every moment', max(grown.values()) < 16384, grown)
    check('no process died of it', p.roles()['delivery'] == pids['delivery'] and p.roles()['smtpd'] == pids['smtpd'])


def log_lines(p, enemies):
    text = p.log_text()
    dirty = [line[:200] for line in text.split('\n') if len(line) > 4096 or any(ord(c) < 32 or ord(c) == 127 or c == '\ufffd' for c in line)]
    check('every line of the log is clean and short', not dirty, dirty[:3])
    silent, many = [], []
    for key, e in enemies.items():
        lost = len(re.findall(rf'hop-lost .*:{e.port}\b', text))
        refused = len(re.findall(rf'rcpt-refused .*to=u@{key[0]} .*place=\S*:{e.port}\b', text))
        told = lost + refused + len(re.findall(rf' hop .*:{e.port}\b', text))
        silent += [key] * (not told)
        many += [(key, lost, e.tried)] * (lost > e.tried)
    check('each is told of in the log, with one line for each connection that was lost', not silent and not many, (silent, many))


def is_whole(key, taken):
    return len(taken) == 1 and b'\r\nSubject: to %s\r\n' % key[0].encode() in taken[0] and taken[0].endswith(b'\r\n\r\nhello\r\n')


def the_queue(p, enemies):
    """Whatever a hop says that is no refusal, the message stays, whole, and goes when the hop is honest."""
    keys = [k for k in enemies if k[2] not in OWN and k[2] not in ('a byte a minute', 'a bare LF')]      # the first is a wait of minutes (make test-slow-hop), the last may be taken for a yes
    p.stop()                            # what was found dead is forgotten
    for e in enemies.values():
        e.tried = 0
    p.start()
    codes = queued(p, [k[0] for k in keys])
    check('an authenticated sender\'s mail for them is queued', set(codes) == {250}, codes)
    p.wait(lambda: all(enemies[k].tried for k in keys), 60)
    untried = [k for k in keys if not enemies[k].tried]
    check('and each is tried', not untried, untried)
    p.wait(lambda: json_queue(p) == len(keys), 30)
    check('nothing is lost, nothing failed: all of it is still in the queue', json_queue(p) == len(keys), (json_queue(p), len(keys)))
    p.stop()
    for e in enemies.values():
        e.honest = True
    p.start()
    end = time.monotonic() + 60 * SLOW
    while time.monotonic() < end and not all(enemies[k].taken for k in keys):
        p.ctl('queue', 'retry', '--all')
        time.sleep(.5)
    wrong = [(k, enemies[k].taken) for k in keys if not is_whole(k, enemies[k].taken)]
    check('and when the hop is honest again each has its message, once and whole', not wrong, wrong[:3])


def json_queue(p):
    return len(json.loads(p.ctl('queue', 'list', '--json').stdout or '[]'))


# -- a reply that is late ---------------------------------------------------------------------------------------------------------------------------------

def alone(p, address):
    with p.talk(timeout=60) as t:
        t.say('EHLO c.test'), t.say('MAIL FROM:<a@outside.test>')
        return [t.code(f'RCPT TO:<{r}>') for r in (address, 'alice@example.test')] == [250, 452]


def late(p, sink, name, code):
    """Behind the dot the client is told 451 when its patience is over; what the hop says then is heard, and is the answer to the next try."""
    def send():
        with p.talk(timeout=60) as t:
            began = time.monotonic()
            return t.deliver(b'Subject: %s\r\nMessage-ID: <%s@outside.test>\r\n\r\nhello\r\n' % (name.encode(), name.encode()), [f'{name}@late.test'], 'a@outside.test'), time.monotonic() - began
    first, took = send()
    heard = p.wait_log(rf'hop-late .*code={code}', 30)
    p.wait(lambda: alone(p, f'{name}@late.test'))      # the ledger knows
    asked = sink.asked.count(name)
    check(f'a {code} that comes late: 451 when the patience is over, and it is waited for all the same', first == 451 and PATIENCE * .9 < took < BOUND_S * SLOW and heard, (first, took))
    again = send()[0]
    check(f'{code}: and it is the answer to the retry, without a second copy', again == code and sink.asked.count(name) == asked == 1, (again, sink.asked))


def slow_sink():
    def dot(m):
        name = m.recipients[0].partition('@')[0]
        sink.asked.append(name)
        return ('wait', 2 * PATIENCE, '250 2.0.0 at last' if name == 'good' else '554 5.7.1 not this') if sink.asked.count(name) == 1 else '250 2.0.0 a second copy'
    sink = Sink(dot=dot)
    sink.asked = []
    return sink


# -- S2, the client's half ----------------------------------------------------------------------------------------------------------------------------

class Tls:
    """A server with STARTTLS that does as its script says; `heard`: lines in plain text and inside of TLS, `raw`: bytes that came after its end of TLS."""

    def __init__(self, cert, script):
        self.cert, self.script, self.plain, self.secret, self.raw, self.sessions = cert, script, [], [], b'', 0
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=20)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            self.sessions += 1
            threading.Thread(target=self._session, args=(client,), daemon=True).start()

    def wrap(self, c):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.cert)
        return context.wrap_socket(c, server_side=True)

    def line(self, c, into):
        """One line, by single bytes: what comes behind it stays in the socket."""
        got = b''
        while not got.endswith(b'\n'):
            byte = c.recv(1)
            if not byte:
                raise OSError
            got += byte
        into.append(got)
        return got.upper()

    def _session(self, c):
        c.settimeout(20 * SLOW)
        try:
            self.script(self, c)
        except (OSError, ValueError):
            pass
        finally:
            c.close()

    def serve(self, c, into, offers=b'', content=False):
        """The usual conversation until QUIT or the end."""
        while True:
            line = self.line(c, into)
            if line.startswith(b'EHLO'):
                c.sendall(b'250-far.test\r\n' + offers + b'250 8BITMIME\r\n')
            elif line.startswith(b'STARTTLS'):
                return
            elif line.startswith(b'DATA'):
                c.sendall(b'354 go\r\n')
                while self.line(c, into) != b'.\r\n':
                    pass
                c.sendall(b'250 taken\r\n')
            elif line.startswith(b'BDAT'):
                c.sendall(b'500 not here\r\n')
            else:
                c.sendall(b'250 ok\r\n')


def two_in_one(s, c):
    c.sendall(b'220 ok\r\n250 AUTH PLAIN\r\n')
    s.serve(c, s.plain)


def injected(s, c):
    c.sendall(b'220 hi\r\n')
    s.serve(c, s.plain, b'250-STARTTLS\r\n')
    c.sendall(b'220 go\r\n250-far.test\r\n250 AUTH PLAIN\r\n')
    while piece := c.recv(4096):
        s.raw += piece


def forgets(s, c):
    """What was offered in plain text is worth nothing inside of TLS."""
    c.sendall(b'220 hi\r\n')
    s.serve(c, s.plain, b'250-SIZE 10\r\n250-CHUNKING\r\n250-STARTTLS\r\n')
    c.sendall(b'220 go\r\n')
    t = s.wrap(c)
    s.serve(t, s.secret, b'250-STARTTLS\r\n')
    s.secret.append(b'STARTTLS AGAIN')


def falls_back(s, c):
    """Ends TLS in the middle and goes on in plain text."""
    c.sendall(b'220 hi\r\n')
    s.serve(c, s.plain, b'250-STARTTLS\r\n')
    c.sendall(b'220 go\r\n')
    t = s.wrap(c)
    s.line(t, s.secret)
    t.sendall(b'250 far.test\r\n')
    s.line(t, s.secret)                                # MAIL
    try:
        plain = t.unwrap()                             # our close_notify, and the client's
    except (ssl.SSLError, OSError):
        plain = socket.socket(fileno=t.detach())
    plain.sendall(b'250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n')
    while piece := plain.recv(4096):
        s.raw += piece


def tls(p, servers):
    heads = {}
    for name, s in servers.items():
        heads[name] = passed(p, s, f'{name}.test')
    one = servers['two-in-one']
    check('S2: a second reply in the segment of the greeting: the client hangs up, and has said nothing but EHLO', heads['two-in-one'][0][0] == 451 and
          not [line for line in one.plain if not line.startswith((b'EHLO', b'QUIT'))], (heads['two-in-one'], one.plain))
    two = servers['injected']
    check('S2: bytes behind the 220 to STARTTLS: nothing more is said on that connection, no TLS, no QUIT', heads['injected'][0][0] == 451 and not two.raw and
          two.plain[-1].startswith(b'STARTTLS') and not [line for line in two.plain if line.startswith((b'MAIL', b'AUTH'))], (heads['injected'], two.plain, two.raw))
    three = servers['forgets']
    check('S2: what EHLO offered before TLS is forgotten: no limit of size, no BDAT, and no second STARTTLS', heads['forgets'][1] and heads['forgets'][1][0] == 250 and
          not [line for line in three.secret if line.startswith((b'BDAT', b'STARTTLS'))], (heads['forgets'], three.secret))
    four = servers['falls-back']
    check('S2: after its end of TLS no byte goes in plain text, and no reply in plain text is believed', heads['falls-back'][0][0] == 451 and not four.raw and
          not [line for line in four.plain if line.startswith((b'MAIL', b'RCPT'))], (heads['falls-back'], four.plain, four.raw[:80]))


def main():
    enemies = {(f's{s}f{f}.test', stage, form): Enemy(stage, form) for s, stage in enumerate(STAGES) for f, form in enumerate(FORMS)}
    cert = Authority(BUILD / 't' / 'hostile-ca').leaf('mx.far.test')
    servers = {'two-in-one': Tls(cert, two_in_one), 'injected': Tls(cert, injected), 'forgets': Tls(cert, forgets), 'falls-back': Tls(cert, falls_back)}
    domains = '\n'.join([f'{k[0]} relay [127.0.0.1]:{e.port} recipients=all' for k, e in enemies.items()] + [f'{n}.test relay [127.0.0.1]:{s.port} recipients=all' for n, s in servers.items()])
    sink = slow_sink()
    domains += f'\nlate.test relay [127.0.0.1]:{sink.port} recipients=all'
    names = ['late.test'] + [k[0] for k in enemies] + [f'{n}.test' for n in servers]
    with Porter('hostile-hop', start=False, settings={'hop-patience': f'{PATIENCE}s', 'hop-dot-patience': f'{PATIENCE}s', 'evidence': 'no', 'max-sessions-address': '1000'}, maps={'=all': 'good@late.test\nbad@late.test\n' + '\n'.join(f'u@{n}' for n in names), 'domains': domains,
            'routes': '\n'.join(f'{n}.test [127.0.0.1]:{servers[n].port} tls=encrypt' for n in ('injected', 'forgets', 'falls-back'))}) as p:
        p.start()
        with ThreadPoolExecutor(2) as pool:
            waits = [pool.submit(late, p, sink, name, code) for name, code in (('good', 250), ('bad', 554))]
            strangers(p, enemies)
        for w in waits:
            w.result()
        log_lines(p, enemies)
        tls(p, servers)
        the_queue(p, enemies)
    finish()


main()
