"""Next hops for tests: an SMTP or LMTP server in threads that does what the test says and remembers everything.

    hop = Sink(rcpt=lambda a: '550 5.1.1 no such user' if a.startswith('no') else None, dot=lambda m: '550 5.7.1 spam' if b'spam' in m.content else None)
    hop.port, hop.messages, hop.connections, hop.null_senders

A hook returns a reply, None for the usual one, or 'close' / ('wait', seconds, reply)."""
import re, socket, socketserver, threading, time


class Message:
    def __init__(self, sender, recipients, content, line='', peer=None):
        self.sender, self.recipients, self.content, self.mail, self.peer = sender, recipients, content, line, peer


def path(line):
    """Between the angle brackets, of which quotes may hold more."""
    return re.search(r'<((?:"(?:\\.|[^"\\])*")?[^">]*)>', line)[1]


class Sink:
    def __init__(self, rcpt=None, dot=None, mail=None, greet=None, offer=('PIPELINING', '8BITMIME', 'SMTPUTF8', 'SIZE 10000000', 'DSN'), lmtp=False, host='127.0.0.1', port=0,
                 family=socket.AF_INET):
        self.hooks = {'rcpt': rcpt, 'dot': dot, 'mail': mail, 'greet': greet}
        self.offer, self.lmtp = offer, lmtp
        self.messages, self.mails, self.rcpts, self.wire = [], [], [], []
        self.connections, self.sockets = 0, []
        self.lock = threading.Lock()
        sink = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with sink.lock:
                    sink.connections += 1
                    sink.sockets.append(self.request)
                try:
                    sink._serve(self.request, self.client_address[0])
                except (OSError, EOFError):
                    pass

        class Server(socketserver.ThreadingTCPServer):
            address_family, allow_reuse_address, daemon_threads, request_queue_size = family, True, True, 200

        self.server = Server((host, port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(.05,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        for s in self.sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    @property
    def null_senders(self):
        return [m for m in self.mails if m == '']

    def _decide(self, kind, argument, usual):
        hook = self.hooks[kind]
        reply = hook(argument) if hook else None
        if isinstance(reply, tuple):
            time.sleep(reply[1])
            reply = reply[2]
        if reply == 'close':
            raise EOFError
        return reply or usual

    def _say(self, sock, kind, argument, usual):
        reply = self._decide(kind, argument, usual)
        sock.sendall((reply + '\r\n').encode())
        return reply[0] == '2'

    def _serve(self, sock, peer):
        sock.settimeout(60)
        f = sock.makefile('rb')
        self._say(sock, 'greet', None, '220 sink.test')
        sender, recipients, line = None, [], ''
        while True:
            raw = f.readline(100000)
            if not raw:
                return
            with self.lock:
                self.wire.append(raw)
            line = raw.decode('utf-8', 'replace').strip()
            verb = line.upper()
            if verb.startswith(('EHLO', 'LHLO')):
                words = ['sink.test', *self.offer]
                sock.sendall(''.join(f'250{"-" if i + 1 < len(words) else " "}{w}\r\n' for i, w in enumerate(words)).encode())
            elif verb.startswith('HELO'):
                sock.sendall(b'250 sink.test\r\n')
            elif verb.startswith('MAIL FROM:'):
                sender, recipients, mail = path(line), [], line
                with self.lock:
                    self.mails.append(sender)
                if not self._say(sock, 'mail', sender, '250 2.1.0 ok'):
                    sender = None
            elif verb.startswith('RCPT TO:'):
                address = path(line)
                with self.lock:
                    self.rcpts.append(line)
                if sender is None:
                    sock.sendall(b'503 5.5.1 MAIL first\r\n')
                elif self._say(sock, 'rcpt', address, '250 2.1.5 ok'):
                    recipients.append(address)
            elif verb == 'DATA' and not recipients:
                sock.sendall(b'503 5.5.1 no recipients\r\n')
            elif verb == 'DATA':
                sock.sendall(b'354 go\r\n')
                lines = []
                while True:
                    l = f.readline(10000000)
                    if not l:
                        return
                    if l == b'.\r\n':
                        break
                    lines.append(l)
                self._end(sock, Message(sender, recipients, b''.join(l[1:] if l.startswith(b'.') else l for l in lines), mail, peer), lines)
                sender, recipients = None, []
            elif verb.startswith('BDAT'):
                content = f.read(int(line.split()[1]))
                self._end(sock, Message(sender, recipients, content, mail, peer), [content])
                sender, recipients = None, []
            elif verb == 'RSET':
                sender, recipients = None, []
                sock.sendall(b'250 ok\r\n')
            elif verb == 'QUIT':
                sock.sendall(b'221 bye\r\n')
                return
            else:
                sock.sendall(b'250 ok\r\n')

    def _end(self, sock, message, lines):
        with self.lock:
            self.wire.extend(lines)
        # what is remembered is so before the reply is said: whoever heard it may look
        with self.lock:
            self.messages.append(message)
        said = closes = False
        try:
            if self.lmtp:
                replies = []
                try:
                    for r in message.recipients:
                        replies.append(self._decide('dot', Message(message.sender, [r], message.content), '250 2.0.0 taken'))
                except EOFError:               # those before hear theirs
                    closes = True
                message.recipients = [r for r, reply in zip(message.recipients, replies) if reply[0] == '2']
                good = bool(message.recipients)
            else:
                replies = [self._decide('dot', message, '250 2.0.0 taken')]
                good = replies[0][0] == '2'
            if not good:
                with self.lock:
                    self.messages.remove(message)
            said = True
            for reply in replies:
                sock.sendall((reply + '\r\n').encode())
            if closes:
                raise EOFError
        finally:
            if not said:
                with self.lock:
                    self.messages.remove(message)
