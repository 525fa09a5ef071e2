"""A mail server that returns mail in one way of the reverse NDR attack and refuses in session in every other.

    server = Leaky('forward'); server.catch = PORT      # of the forged sender's listener
`way` is a word of rndr-check's sixteen, '' for a server without a leak."""
import re, smtplib, socketserver, threading, time

KNOWN = {'postmaster', 'alice'}
SPECIAL = {'gone': 'dead-alias', 'fwd': 'forward', 'full': 'full', 'slow': 'delay', 'away': 'auto-reply'}
ADDRESSES = ['--known', 'alice@example.test', '--dead-alias', 'gone@example.test', '--forward', 'fwd@example.test', '--full', 'full@example.test', '--deferred', 'slow@example.test',
             '--vacation', 'away@example.test', '--relayed', 'relay.test']
LIMIT = 50000


class Leaky(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 64

    def __init__(self, way='', catch=None, host='127.0.0.1', port=0, greeting='leaky.test ESMTP'):
        self.way, self.catch, self.greeting, self.seen, self.connections = way, catch, greeting, [], 0
        super().__init__((host, port), Session)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, kwargs={'poll_interval': .05}, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()

    def send(self, to, content):
        for _ in range(100):            # a queue would come again, too
            try:
                host, port = ('127.0.0.1', self.catch) if self.catch else (to.rpartition('@')[2].strip('[]'), 25)    # an address literal leads where it says
                with smtplib.SMTP(host, port, timeout=10, local_hostname='leaky.test') as s:
                    s.sendmail('', [to], b'From: MAILER-DAEMON\r\nSubject: Returned\r\n\r\n' + content)
                return
            except (OSError, smtplib.SMTPException):
                time.sleep(.1)

    def takes(self, sender, rcpts, to, parameters):
        """The code of RCPT."""
        local, _, domain = to.rpartition('@')
        special = SPECIAL.get(local)
        if domain not in ('example.test', 'relay.test'):
            return 250 if self.way == 'report' and not sender else 550
        if 'NOTIFY' in parameters.upper() and self.way != 'success-dsn':
            return 555
        if special == 'auto-reply' or local in KNOWN:
            return 250
        if domain == 'relay.test':
            leak = 'relayed'
        elif rcpts:
            leak = 'outcomes' if special else 'mixed'
        elif special:
            leak = special
        else:
            leak = 'null-sender' if not sender else 'quoted' if local[0] == '"' else 'subaddress' if '+' in local else 'unknown'
        return 250 if self.way == leak else 451 if special == 'delay' else 550

    def takes_content(self, sender, rcpts, content, notify):
        """The code of the dot; what is returned goes to the forged sender."""
        large, loops = len(content) > LIMIT, content.count(b'\nReceived:') + content.startswith(b'Received:') > 100
        if large and self.way != 'oversize':
            return 552
        if loops and self.way != 'loop':
            return 554
        sender = sender or re.search(rb'(?m)^From: <(.*?)>', content)[1].decode()
        plain = all(r.rpartition('@')[0] in KNOWN for r in rcpts)
        if self.way == 'report' and rcpts[0].endswith('[127.0.0.1]'):
            self.send(rcpts[0], content)
        elif self.way == 'delay' and rcpts[0].startswith('slow@') or self.way == 'auto-reply' and rcpts[0].startswith('away@') or self.way == 'success-dsn' and notify:
            self.send(sender, b'A notice, without the message.\r\n')
        elif large or loops or not plain and not rcpts[0].startswith('away@'):
            self.send(sender, content)
        return 250


class Session(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b'\r\n')

    def handle(self):
        self.server.connections += 1
        try:
            self.talk(self.server)
        except OSError:
            pass

    def talk(self, server):
        self.say('220 ' + server.greeting)
        sender, rcpts, notify = '', [], False
        while True:
            line = self.rfile.readline(4096)
            verb = line[:4].upper()
            if not line or verb == b'QUIT':
                return
            path = re.search(rb'<(.*)>(.*)', line)
            if verb == b'EHLO':
                self.say(f'250-leaky\r\n250-SIZE {LIMIT}\r\n250 DSN')
            elif verb == b'MAIL':
                sender, rcpts, notify = path[1].decode(), [], False
                self.say('250 ok')
            elif verb == b'RCPT':
                code = server.takes(sender, rcpts, path[1].decode(), path[2].decode())
                if code == 250:
                    rcpts.append(path[1].decode())
                    notify = b'NOTIFY' in path[2].upper()
                self.say(f'{code} so it is')
            elif verb == b'DATA':
                self.say('354 go')
                content = b''
                while not content.endswith(b'\r\n.\r\n'):
                    piece = self.rfile.readline(8192)
                    if not piece:
                        return
                    content += piece
                server.seen.append((sender, rcpts, content))
                self.say(f'{server.takes_content(sender, rcpts, content, notify)} so it is')
            else:
                self.say('250 ok')
