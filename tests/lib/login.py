"""A client that logs in on the submission ports: sessions inside TLS, and SCRAM as its RFC has it, each step of which can be spoiled."""
import base64, hashlib, hmac, os, ssl

from porter import Talk

LOGIN, PASSWORD = 'alice@example.test', 'porter-demo'


def b64(b):
    return base64.b64encode(b if isinstance(b, bytes) else b.encode()).decode()


def unb64(s):
    return base64.b64decode(s)


def context(cert=None, version=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)     # without the system's roots, whose reading takes longer than a handshake
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    if version:
        c.maximum_version = version
    if cert:
        c.load_cert_chain(*cert)
    return c


class Secure(Talk):
    """A session inside TLS, EHLO said."""

    def __init__(self, porter, cert=None, version=None, ehlo=True, timeout=20):
        raw = porter.connect(porter.submissions, timeout=timeout)
        self.socket = context(cert, version).wrap_socket(raw, server_hostname='mx.example.test')
        self.file = self.socket.makefile('rb')
        self.greeting = self.reply()
        self.offer = self.say('EHLO client.test')[1] if ehlo else []

    def mechanisms(self):
        return next((l[4:].split()[1:] for l in self.offer if l[4:].startswith('AUTH')), [])


def plain(login=LOGIN, password=PASSWORD, authzid=''):
    return b64(f'{authzid}\0{login}\0{password}')


class Scram:
    """A client of RFC 5802 written from the RFC; each step can be spoiled."""

    def __init__(self, login=LOGIN, password=PASSWORD, gs2='n,,', binding=b'', nonce=None):
        self.password, self.gs2, self.binding = password, gs2, binding
        self.nonce = nonce or b64(os.urandom(18))
        self.bare = f'n={login},r={self.nonce}'

    def first(self):
        return b64(self.gs2 + self.bare)

    def final(self, challenge, spoil_nonce=False, spoil_binding=False, spoil_proof=False):
        self.server_first = unb64(challenge).decode()
        fields = dict(f.split('=', 1) for f in self.server_first.split(','))
        nonce = fields['r']
        if spoil_nonce:
            nonce = nonce[:-1] + ('A' if nonce[-1] != 'A' else 'B')
        channel = b64(self.gs2.encode() + (b'spoilt' if spoil_binding else self.binding))
        without = f'c={channel},r={nonce}'
        self.salted = hashlib.pbkdf2_hmac('sha256', self.password.encode(), unb64(fields['s']), int(fields['i']))
        client = hmac.digest(self.salted, b'Client Key', 'sha256')
        self.message = f'{self.bare},{self.server_first},{without}'.encode()
        signature = hmac.digest(hashlib.sha256(client).digest(), self.message, 'sha256')
        proof = bytes(a ^ b for a, b in zip(client, signature))
        if spoil_proof:
            proof = bytes([proof[0] ^ 1]) + proof[1:]
        return b64(f'{without},p={b64(proof)}')

    def server_is_right(self, last):
        key = hmac.digest(self.salted, b'Server Key', 'sha256')
        return unb64(last).decode() == 'v=' + b64(hmac.digest(key, self.message, 'sha256'))


def scram(t, mechanism='SCRAM-SHA-256', **kw):
    spoil = {k: kw.pop(k) for k in list(kw) if k.startswith('spoil')}
    s = Scram(**kw)
    code, lines = t.say(f'AUTH {mechanism} {s.first()}')
    if code != 334:
        return code
    code, lines = t.say(s.final(lines[0][4:], **spoil))
    if code != 334:
        return code
    if not s.server_is_right(lines[0][4:]):
        return -1
    return t.code('')
