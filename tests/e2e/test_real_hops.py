"""Pass-through with next hops that are not ours: Postfix, Exim, OpenSMTPD, and Dovecot by LMTP, over IPv4 and IPv6. Each takes a message, refuses at RCPT, refuses at the dot, and dies behind
the dot: at once, or with its 250 on the way. PORTER_ROUNDS: how often each dies (2; `make test-real-hops` takes more)."""
import os, re, socket, threading, time, traceback
from porter import PATIENCE, SLOW, Porter, check, finish, free_port, skip
from servers import Dovecot, Exim, OpenSMTPD, Postfix

ROUNDS = int(os.environ.get('PORTER_ROUNDS', '2'))
FAMILIES = {4: (socket.AF_INET, '127.0.0.1'), 6: (socket.AF_INET6, '::1')}


class Gate:
    """A port before a server. armed: behind the next dot the server is killed (where it waits for the reply, when that is here), and the client hears the end alone."""

    def __init__(self, family, server):
        self.family, self.address, self.server, self.armed = *FAMILIES[family], server, None
        self.listener = socket.create_server((self.address, 0), family=self.family)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self._session, args=(client,), daemon=True).start()

    def _session(self, client):
        with client, socket.socket(self.family) as server:
            try:
                server.connect((self.address, self.server.port))
                threading.Thread(target=self._back, args=(server, client), daemon=True).start()
                said = b''
                while piece := client.recv(65536):
                    said += piece
                    if self.armed and self._is_whole(said):
                        self.deaf, how, self.armed = True, self.armed, None
                        server.sendall(piece)
                        self._kill(how)
                        break
                    server.sendall(piece)
            except OSError:
                pass
            for s in (client, server):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    @staticmethod
    def _is_whole(said):
        """The content is there to its end: a dot, or the bytes of the last chunk."""
        chunk = re.search(rb'BDAT (\d+) LAST\r\n', said)
        return len(said) == chunk.end() + int(chunk[1]) if chunk else said.endswith(b'\r\n.\r\n')

    def _kill(self, how):
        if how == 'replied':
            self.heard.wait(PATIENCE * SLOW)
        self.server.die()

    def _back(self, server, client):
        """Replies; those behind the dot are not passed on."""
        try:
            while piece := server.recv(65536):
                if self.deaf:
                    self.heard.set()
                else:
                    client.sendall(piece)
            if not self.deaf:
                client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def arm(self, how):
        self.deaf, self.heard, self.armed = False, threading.Event(), how

    deaf, heard = False, threading.Event()


class Hop:
    """A server, and Porter's four ways to it: each family, straight and through a gate."""

    def __init__(self, kind, porter):
        self.kind, self.p, self.name, self.said = kind, porter, kind.__name__.lower(), []
        self.server = kind(porter.dir / self.name, free_port(), [f'{self.name}{f}.test' for f in (4, 6)] + [f'die{f}.{self.name}.test' for f in (4, 6)])
        self.gates = {f: Gate(f, self.server) for f in (4, 6)}

    def domains(self):
        """Those that lead to a death name their recipients: where only the hop knows them it is asked about a made-up one, too, and that question may be what finds it dead, which is remembered."""
        way = 'lmtp:' if self.kind.lmtp else ''
        straight = [f'{self.name}{f}.test relay {way}[{FAMILIES[f][1]}]:{self.server.port} recipients=ask' for f in (4, 6)]
        return '\n'.join(straight + [f'die{f}.{self.name}.test relay {way}[{FAMILIES[f][1]}]:{self.gates[f].port} recipients=dying' for f in (4, 6)])

    def tell(self, sentence, good, why=''):
        self.said.append((f'{self.kind.__name__}: {sentence}', good, why))

    def send(self, to, mark, sender='a@outside.test'):
        """(code of RCPT, its text), (code of the dot, its text)"""
        with self.p.talk(timeout=60) as t:
            t.say('EHLO c.test')
            t.say(f'MAIL FROM:<{sender}>')
            rcpt = t.say(f'RCPT TO:<{to}>')
            if rcpt[0] != 250:
                return rcpt, None
            t.say('DATA')
            t.raw(b'Subject: x\r\nMessage-ID: <%s@outside.test>\r\n\r\n%s\r\n..dot\r\n' % (mark[::-1], mark) + b'x' * 70 * 30 + b'\r\n.\r\n')
            return rcpt, t.reply()

    def waits_for(self, mark, count):
        return self.p.wait(lambda: self.server.holds(mark) >= count)

    def plainly(self, family):
        domain = f'{self.name}{family}.test'
        mark = f'taken-{self.name}-{family}-mark'.encode()
        rcpt, end = self.send(f'good@{domain}', mark)
        self.tell(f'takes a message over IPv{family}, and has it', rcpt[0] == 250 and end and end[0] == 250 and self.waits_for(mark, 1), (rcpt, end))
        rcpt, end = self.send(f'nobody@{domain}', b'x')
        self.tell(f'its refusal at RCPT is ours over IPv{family}', 500 <= rcpt[0] < 600 and ('nobody' in rcpt[1][0] or 'no such user' in rcpt[1][0]), rcpt)
        mark = f'late-{self.name}-{family}-mark'.encode()
        rcpt, end = self.send(f'late@{domain}', mark, 'late@outside.test')
        wanted = (552, '5.2.2') if self.kind.lmtp else (554, '5.7.1') if self.kind is not Exim else (550, '5.7.1')
        self.tell(f'its refusal at the dot is ours over IPv{family}, code and words', rcpt[0] == 250 and end and (end[0], end[1][0].split()[1]) == wanted, (rcpt, end))
        self.tell(f'and nobody has that message (IPv{family})', self.p.wait(lambda: not self.server.holds(mark)), self.server.holds(mark))     # Postfix's cleanup removes its file behind the reply

    def dying(self, number):
        family, how = (4, 6)[number % 2], ('at once', 'replied')[number // 2 % 2] if ROUNDS > 2 else ('at once', 'replied')[number % 2]
        to, mark = f'good@die{family}.{self.name}.test', f'died-{self.name}-{number}-mark'.encode()
        self.gates[family].arm(how)
        rcpt, end = self.send(to, mark)
        self.tell(f'dies behind the dot over IPv{family} ({how}, {number}): 451', rcpt[0] == 250 and end and end[0] == 451, (rcpt, end))
        self.gates[family].arm(None)
        before = self.server.holds(mark)     # it may have had it, or a piece of it
        self.server.start()
        rcpt, end = self.send(to, mark)
        late = time.monotonic() + 60 * SLOW
        while rcpt[0] == 451 and time.monotonic() < late:      # a host that was down is left alone for a while
            time.sleep(.5)
            rcpt, end = self.send(to, mark)
        self.tell(f'and has the message after the retry ({number})', rcpt[0] == 250 and end and end[0] == 250 and self.waits_for(mark, before + 1), (rcpt, end))
        return before

    def run(self):
        try:
            with self.server:
                for family in (4, 6):
                    self.plainly(family)
                copies = sum(self.dying(n) for n in range(ROUNDS))
                self.said.append(f'row {self.kind.__name__}: copies after {ROUNDS} deaths behind the dot (RFC 1047): {copies}')
        except Exception as e:      # noqa: BLE001: whatever it is, it is this hop's failure
            traceback.print_exc()
            self.tell('was served', False, repr(e))


kinds = [k for k in (Postfix, Exim, OpenSMTPD, Dovecot) if k.available()]
for kind in {Postfix, Exim, OpenSMTPD, Dovecot} - set(kinds):
    skip(f'{kind.__name__} as a next hop', 'the package can\'t be had, this is not root, or there is no ::1')
if kinds:
    with Porter('real-hops', start=False, settings={'evidence': 'no'}) as p:
        hops = [Hop(kind, p) for kind in kinds]
        with open(p.etc / 'domains', 'a') as f:
            f.write('\n'.join(h.domains() for h in hops) + '\n')
        p.map('dying', '\n'.join(f'good@die{f}.{h.name}.test' for h in hops for f in (4, 6)))
        p.compile()
        p.start()
        threads = [threading.Thread(target=h.run) for h in hops]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for said in (s for h in hops for s in h.said):
            if isinstance(said, str):
                print(said)
            else:
                check(*said)
        queued = [f for f in p.spool.glob('queue/**/*') if f.is_file() and f.suffix == '.q']
        check('nothing lies in the queue, and nobody was written a report', not queued and 'report' not in p.ctl('queue', 'list').stdout, queued)
finish()
