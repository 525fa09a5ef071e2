"""opendkim as others run it: the daemon, and a client that hands it messages as a mail server's milter does. It signs what comes from 127.0.0.1 and verifies all else.

    with OpenDkim(folder, domain, selector, key, 'relaxed/relaxed', records) as o:     # None as program: it is not to be had
        field = o.sign(mail)                  # b'DKIM-Signature: ...\\r\\n', None where it would not
        result = o.verify(signed)             # 'pass', 'fail' ... of Authentication-Results"""
import re, shutil, socket, struct, subprocess, time

from unpack import environment, unpack

NO_STEPS, LEADING_SPACE = 0x37f, 0x100000                 # steps that a filter may leave out; blanks behind a field's colon are handed on as they stand


def program():
    """The command, and its environment; (None, None) where it is neither installed nor in Debian's reach."""
    found = shutil.which('opendkim', path='/usr/sbin:/usr/bin')
    if found:
        return found, None
    root = unpack('opendkim', 'opendkim')
    return (str(root / 'usr/sbin/opendkim'), environment(root)) if root else (None, None)


class Milter:
    """One connection: negotiation, then any number of messages."""

    def __init__(self, path, address):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.s.settimeout(60)
        self.s.connect(str(path))
        self.steps = 0
        self.send(b'O', struct.pack('>III', 6, 0x1ff, NO_STEPS | LEADING_SPACE))
        kind, data = self.read()
        assert kind == b'O', kind
        self.steps = struct.unpack('>III', data[:12])[2]
        self.step(1, b'C', b'client.test\0' + b'4' + struct.pack('>H', 25) + address.encode() + b'\0')
        self.step(2, b'H', b'client.test\0')

    def send(self, kind, data=b''):
        self.s.sendall(struct.pack('>I', len(data) + 1) + kind + data)

    def exactly(self, n):
        out = b''
        while len(out) < n:
            piece = self.s.recv(n - len(out))
            if not piece:
                raise EOFError('the milter closed the connection')
            out += piece
        return out

    def read(self):
        n, = struct.unpack('>I', self.exactly(4))
        data = self.exactly(n)
        return data[:1], data[1:]

    def step(self, unwanted, kind, data=b''):
        """Sends what the filter wants to hear; its verdict is 'go on' or 'accepted'."""
        if not self.steps & unwanted:
            self.send(kind, data)
            answer, _ = self.read()
            assert answer in (b'c', b'a'), (kind, answer)

    def message(self, raw):
        """The fields that it wants added."""
        head, _, body = raw.partition(b'\r\n\r\n') if not raw.startswith(b'\r\n') else (b'', b'', raw[2:])
        self.step(4, b'M', b'<ann@example.org>\0')
        self.step(8, b'R', b'<bob@example.net>\0')
        self.step(0x200, b'T')
        for field in re.split(rb'\r\n(?![ \t])', head):
            name, _, value = field.partition(b':')
            value = value.replace(b'\r\n', b'\n')
            self.step(0x20, b'L', name + b'\0' + (value if self.steps & LEADING_SPACE else value.lstrip(b' ')) + b'\0')
        self.step(0x40, b'N')
        for i in range(0, len(body), 60000):
            self.step(0x10, b'B', body[i:i + 60000])
        self.send(b'E')
        added = []
        while True:
            kind, data = self.read()
            if kind == b'i':
                data = data[4:]
            if kind in (b'i', b'h'):
                name, value, _ = data.split(b'\0')
                added.append((name, value.replace(b'\r\n', b'\n').replace(b'\n', b'\r\n')))
            elif kind not in (b'p', b'm'):
                return added

    def close(self):
        try:
            self.send(b'Q')
        except OSError:
            pass
        self.s.close()


class OpenDkim:
    def __init__(self, folder, domain, selector, key, forms, records):
        self.folder = folder / ('opendkim-' + forms.replace('/', '-'))
        self.folder.mkdir()
        self.socket = self.folder / 'socket'
        (self.folder / 'records').write_text(''.join(f'{name} {text}\n' for name, text in records.items()))
        (self.folder / 'conf').write_text(f'Mode sv\nDomain {domain}\nSelector {selector}\nKeyFile {key}\nCanonicalization {forms}\nSignatureAlgorithm rsa-sha256\nInternalHosts 127.0.0.1\n'
                                          f'Socket local:{self.socket}\nTestDNSData {self.folder}/records\nRequireSafeKeys no\nSyslog no\nBackground no\nAlwaysAddARHeader yes\n'
                                          'AuthservID opendkim.test\nOn-Default accept\nMinimumKeyBits 1024\n')
        self.process = None

    def __enter__(self):
        self.serve()
        return self

    def serve(self):
        command, environ = program()
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen([command, '-f', '-x', str(self.folder / 'conf')], env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.signer, self.verifier = Milter(self.socket, '127.0.0.1'), Milter(self.socket, '192.0.2.1')
                return
            except OSError:
                time.sleep(.05)
        self.__exit__()
        raise RuntimeError('opendkim does not serve')

    def __exit__(self, *_):
        for connection in ('signer', 'verifier'):
            if hasattr(self, connection):
                getattr(self, connection).close()
        self.process.kill()
        self.process.wait()

    def ask(self, connection, mail):
        """It is another's program: one that died is started again, thrice in a row at most."""
        for left in (2, 1, 0):
            try:
                return getattr(self, connection).message(mail)
            except (EOFError, OSError):
                if not left:
                    raise
                self.__exit__()
                self.serve()

    def sign(self, mail):
        fields = [value for name, value in self.ask('signer', mail) if name == b'DKIM-Signature']
        return b'DKIM-Signature:' + (fields[0] if fields[0][:1] in b' \t' else b' ' + fields[0]) + b'\r\n' if fields else None

    def verify(self, mail):
        for name, value in self.ask('verifier', mail):
            found = re.search(rb'dkim=(\w+)', value) if name == b'Authentication-Results' else None
            if found:
                return found[1].decode()
        return 'none'
