"""A milter for tests: a thread that speaks the protocol's frames and does at each command what the test says, also what no filter should.

    with Milter({'E': [add_header('X-A', '1'), CONTINUE]}) as m:
        m.address      # for the setting `milters`
        m.seen         # [(command, data)] of all sessions, macros left out

What a test says for a command is a list of frames (bytes, sent as they are), or a function of (connection, data) that returns one. DIE hangs up; SILENCE never answers."""
import os, socket, struct, tempfile, threading

CONTINUE, ACCEPT, REJECT, LATER, DISCARD, PROGRESS, SKIP = b'\0\0\0\1c', b'\0\0\0\1a', b'\0\0\0\1r', b'\0\0\0\1t', b'\0\0\0\1d', b'\0\0\0\1p', b'\0\0\0\1s'
DIE, SILENCE = 'die', 'silence'
NO_REPLY = {'D', 'A', 'Q', 'K'}
QUIET = {'L': 0x80, 'C': 0x1000, 'H': 0x2000, 'M': 0x4000, 'R': 0x8000, 'T': 0x10000, 'U': 0x20000, 'N': 0x40000, 'B': 0x80000}


def frame(command, data=b''):
    return struct.pack('>I', len(data) + 1) + command.encode() + data


def _z(*words):
    return b''.join((w if isinstance(w, bytes) else w.encode()) + b'\0' for w in words)


def add_header(name, value): return frame('h', _z(name, value))
def insert_header(index, name, value): return frame('i', struct.pack('>I', index) + _z(name, value))
def change_header(index, name, value): return frame('m', struct.pack('>I', index) + _z(name, value))
def change_from(address): return frame('e', _z(address))
def add_rcpt(address): return frame('+', _z(address))
def delete_rcpt(address): return frame('-', _z(address))
def replace_body(data): return frame('b', data)
def quarantine(reason): return frame('q', _z(reason))
def reply(text): return frame('y', _z(text))


class Milter:
    def __init__(self, says=None, options=0, actions=0x1ff, version=6, unix=False, macros=b''):
        self.says, self.options, self.actions, self.version = says or {}, options, actions, version
        self.macros, self.told = macros, {}       # lists that it asks for (a frame's tail); what came, by the command that they are for
        self.seen, self.connections, self.closing = [], 0, False
        if unix:
            self.folder = tempfile.mkdtemp(prefix='porter-milter-')
            os.chmod(self.folder, 0o755)
            path = self.folder + '/s'
            self.server = socket.socket(socket.AF_UNIX)
            self.server.bind(path)
            os.chmod(path, 0o777)
            self.address = 'unix:' + path
        else:
            self.folder = None
            self.server = socket.create_server(('127.0.0.1', 0))
            self.address = '127.0.0.1:%d' % self.server.getsockname()[1]
        self.server.listen(100)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.closing = True
        try:
            self.server.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.server.close()
        if self.folder:
            os.unlink(self.folder + '/s')
            os.rmdir(self.folder)

    def now(self, says=None, options=0):
        """What it does from here on; what it has seen is forgotten."""
        self.says, self.options, self.seen = says or {}, options, []

    def commands(self):
        return ''.join(c for c, _ in self.seen)

    def _accept(self):
        while not self.closing:
            try:
                s, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        with s, s.makefile('rb') as f:
            try:
                while self._one(s, f):
                    pass
            except OSError:
                pass

    def _one(self, s, f):
        head = f.read(5)
        if len(head) < 5:
            return False
        length, command = struct.unpack('>I', head[:4])[0], chr(head[4])
        data = f.read(length - 1)
        if command not in 'DQ':                   # a QUIT of the session before may come when the next test has begun
            self.seen.append((command, data))
        elif command == 'D':
            words = data[1:].split(b'\0')[:-1]
            self.told[chr(data[0])] = dict(zip(words[::2], words[1::2]))
        if command == 'Q':
            return False
        says = self.says.get(command)
        if says is None:
            says = [] if command in NO_REPLY else [frame('O', struct.pack('>III', self.version, self.actions, self.options) + self.macros)] if command == 'O' else [CONTINUE]
            if self.options & QUIET.get(command, 0):
                says = []
        if callable(says):
            says = says(s, data)
        if isinstance(says, (bytes, str)):
            says = [says]
        for what in says:
            if what == DIE:
                return False
            if what == SILENCE:
                return bool(f.read(1)) and False
            s.sendall(what)
        return True
