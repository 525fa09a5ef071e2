"""Mail servers of others, on loopback addresses of their own and one port: with STARTTLS and a certificate, or without."""
import base64, http.server, socket, ssl, subprocess, threading
from pathlib import Path


class Authority:
    """A certificate authority of this test."""

    def __init__(self, folder):
        self.dir = Path(folder)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.cert = self.dir / 'ca.pem'
        self._run('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '9', '-subj', '/CN=test CA',
                  '-addext', 'basicConstraints=critical,CA:TRUE')

    def _run(self, *argv):
        subprocess.run(['openssl', *argv], cwd=self.dir, check=True, capture_output=True)

    def leaf(self, name, signed=True, days=9, expired=False, chain=False):
        """(cert, key) for a host; signed=False: its own. chain: the authority's own certificate comes with it."""
        stem = f'{name}{"" if signed else "-self"}{"-old" if expired else ""}'
        if signed or expired:
            self._run('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', f'{stem}.key', '-out', f'{stem}.csr', '-subj', f'/CN={name}')
            (self.dir / f'{stem}.ext').write_text(f'subjectAltName=DNS:{name}\n')
        if expired:
            self._expired(stem, signed)
        elif signed:
            self._run('x509', '-req', '-in', f'{stem}.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-out', f'{stem}.pem', '-days', str(days),
                      '-extfile', f'{stem}.ext')
        else:
            self._run('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', f'{stem}.key', '-out', f'{stem}.pem', '-days', str(days),
                      '-subj', f'/CN={name}', '-addext', f'subjectAltName=DNS:{name}')
        if chain:
            with open(self.dir / f'{stem}.pem', 'a') as f:
                f.write(self.cert.read_text())
        return self.dir / f'{stem}.pem', self.dir / f'{stem}.key'

    def _expired(self, stem, signed):
        """Valid for a day of 2020: only `openssl ca` is told dates."""
        (self.dir / f'{stem}.index').write_text('')
        (self.dir / f'{stem}.serial').write_text('%016x\n' % (abs(hash(stem)) % 2 ** 60))
        (self.dir / f'{stem}.cnf').write_text(f'[ca]\ndefault_ca=x\n[x]\ndatabase={stem}.index\nserial={stem}.serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\nunique_subject=no\n'
                                              '[p]\ncommonName=supplied\n')
        self._run('ca', '-batch', '-notext', '-config', f'{stem}.cnf', '-in', f'{stem}.csr', '-out', f'{stem}.pem', '-extfile', f'{stem}.ext', '-startdate', '20200101000000Z',
                  '-enddate', '20200102000000Z', *(['-cert', 'ca.pem', '-keyfile', 'ca.key'] if signed else ['-selfsign', '-keyfile', f'{stem}.key']))


class FakeMX:
    """Takes every message; messages: [(inside TLS, content)]; mails: its MAIL line. starttls: its answer to the word; 'broken': what follows is no TLS. names: the hosts that clients named (SNI)."""

    def __init__(self, address, port, cert=None, login=None, starttls='220 go', offer=('REQUIRETLS',)):
        self.starttls, self.offer, self.names, self.mails = starttls, offer, [], []
        self.cert, self.messages, self.sessions, self.login, self.tried = cert, [], 0, login, []
        self.listener = socket.create_server((address, port), backlog=20)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                c, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._session, args=(c,), daemon=True).start()

    def _session(self, c):
        self.sessions += 1
        secure = good = False
        mail = b''
        try:
            c.settimeout(20)
            f = c.makefile('rb')
            c.sendall(b'220 fake ESMTP\r\n')
            while line := f.readline():
                verb = line.strip().upper()
                mail = line.strip() if verb.startswith(b'MAIL') else mail
                if verb.startswith((b'EHLO', b'HELO')):
                    c.sendall(b'250-fake\r\n250-PIPELINING\r\n' + (b'250-STARTTLS\r\n' if self.cert and not secure else b'') + (b'250-AUTH PLAIN LOGIN\r\n' if self.login and secure else b'') +
                              b''.join(f'250-{w}\r\n'.encode() for w in self.offer) + b'250 8BITMIME\r\n')
                elif verb == b'STARTTLS' and self.starttls == 'broken':
                    c.sendall(b'220 go\r\n')
                    c.recv(100)
                    c.sendall(b'this is no TLS\r\n' * 9)
                    break
                elif verb == b'STARTTLS' and not self.starttls.startswith('220'):
                    c.sendall(f'{self.starttls}\r\n'.encode())
                elif verb == b'STARTTLS' and self.cert:
                    c.sendall(b'220 go\r\n')
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.sni_callback = lambda s, name, _: self.names.append(name)
                    context.load_cert_chain(*self.cert)
                    f.close()
                    c = context.wrap_socket(c, server_side=True)
                    f, secure = c.makefile('rb'), True
                elif verb.startswith(b'AUTH PLAIN ') and self.login and secure:
                    self.tried.append(tuple(base64.b64decode(line.split()[2]).split(b'\0')[1:]))
                    good = self.tried[-1] == self.login
                    c.sendall(b'235 ok\r\n' if good else b'535 no\r\n')
                elif verb.startswith(b'MAIL') and self.login and not good:
                    c.sendall(b'530 authenticate\r\n')
                elif verb == b'DATA':
                    c.sendall(b'354 go\r\n')
                    content = b''
                    while (line := f.readline()) not in (b'.\r\n', b''):
                        content += line
                    self.mails.append(mail.decode())
                    self.messages.append((secure, content))
                    c.sendall(b'250 taken\r\n')
                elif verb == b'QUIT':
                    c.sendall(b'221 bye\r\n')
                    break
                else:
                    c.sendall(b'250 ok\r\n')
        except (OSError, ssl.SSLError):
            pass
        finally:
            c.close()

    def close(self):
        self.listener.close()


class Https:
    """Serves pages {(host, path): (status, type, body)} by the certificate of each host (SNI). posted: [(path, type, body)], answered by what stands in answers, then 201."""

    def __init__(self, port, certs):
        self.pages, self.asked, self.posted, self.answers = {}, [], [], []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                key = (self.headers['Host'].split(':')[0], self.path)
                outer.asked.append(key)
                status, kind, body = outer.pages.get(key, (404, 'text/plain', 'no'))
                self.send_response(status)
                self.send_header('Content-Type', kind)
                if status // 100 == 3:
                    self.send_header('Location', body)
                self.end_headers()
                self.wfile.write(body.encode())

            def do_POST(self):
                outer.posted.append((self.path, self.headers['Content-Type'], self.rfile.read(int(self.headers['Content-Length']))))
                self.send_response(outer.answers.pop(0) if outer.answers else 201)
                self.end_headers()

            def log_message(self, *_):
                pass
        self.contexts = {}
        for host, pair in certs.items():
            self.show(host, pair)

        def choose(s, name, _):
            if name in outer.contexts:
                s.context = outer.contexts[name]
        first = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        first.load_cert_chain(*next(iter(certs.values())))
        first.sni_callback = choose
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', port), Handler)
        self.server.handle_error = lambda *_: None      # who doesn't like the certificate leaves
        self.server.socket = first.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def show(self, host, pair):
        """The certificate of a host, from now on."""
        self.contexts[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.contexts[host].load_cert_chain(*pair)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
