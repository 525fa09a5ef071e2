#!/usr/bin/env python3
"""Where passwords may lie beside our own map: token verifiers, Dovecot (one that says what it is told, and a real one), PAM; and that no answer's time tells who exists."""
import hashlib, os, socket, subprocess, sys, threading, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from login import LOGIN, Secure, b64, plain, unb64  # noqa: E402
from porter import Porter, check, finish, skip, SLOW  # noqa: E402
from servers import Dovecot  # noqa: E402


def equal_time(p):
    def took(login, password):
        with Secure(p) as t:
            began = time.monotonic()
            t.code(f'AUTH PLAIN {plain(login, password)}')
            return time.monotonic() - began

    def same(sentence, known, password, rounds):
        pairs = []
        while len(pairs) < 120:
            pairs += [(took(known, password), took('nobody@example.test', password)) for _ in range(rounds)]
            a, b = min(x for x, _ in pairs), min(y for _, y in pairs)       # what the machine does beside only adds, so a busy one is measured for longer
            if abs(a - b) < max(max(a, b) * .3, .01):
                break
        check(sentence, abs(a - b) < max(max(a, b) * .3, .01), (a, b))
    same('an unknown login takes as long as a wrong password', LOGIN, 'wrong', 8)
    same('also with a password that is compared in two forms', LOGIN, 'wr\u00f6ng\u00a0', 3)
    same('also with one that can be nobody\'s', LOGIN, 'x' * 600, 3)
    lines = (p.etc / 'credentials').read_text()
    verifier = next(w for w in lines.split() if w.startswith('SCRAM-SHA-256$'))
    p.map('credentials', f'{lines}\nfiona@example.test {verifier}\n')
    p.compile()
    check('a login with a verifier alone proves itself', p.wait(lambda: Secure(p).code(f'AUTH PLAIN {plain("fiona@example.test")}') == 235))
    same('also where a login has a SCRAM verifier alone', 'fiona@example.test', 'wrong', 3)
    hashes = imported()
    p.map('credentials', ''.join(f'{kind}{i}@example.test {h}\n' for kind, h in hashes.items() for i in range(4)))
    p.compile()
    check('a login with an imported hash proves itself', p.wait(lambda: Secure(p).code(f'AUTH PLAIN {plain("sha0@example.test", "known-word")}') == 235))
    times = {kind: quickest(took, f'{kind}0@example.test') for kind in hashes}
    names = [f'nobody{i}@example.test' for i in range(16)]
    unknown = {name: quickest(took, name) for name in names}
    nearest = {name: min(times, key=lambda kind: abs(times[kind] - t)) for name, t in unknown.items()}
    check('unknown logins take as long as imported ones, some as those of one kind, some as those of another', set(nearest.values()) == set(times), (times, unknown))
    check('and the password of the login whose hash is taken for theirs is not theirs', all(Secure(p).code(f'AUTH PLAIN {plain(name, "known-word")}') == 535 for name in names))


def imported():
    """Hashes as other systems have them, of two costs that are far from each other and from our own."""
    word = ['openssl', 'passwd', '-6', '-salt']
    cheap = subprocess.run([*word, 'rounds=1000$saltsalt', 'known-word'], capture_output=True, text=True).stdout.strip()
    dear = subprocess.run([*word, 'rounds=300000$saltsalt', 'known-word'], capture_output=True, text=True).stdout.strip()
    return {'sha': cheap, 'dear': dear}


def quickest(took, login):
    return min(took(login, 'wrong') for _ in range(2))


def tokens(p):
    verifier = p.dir / 'verifier'
    verifier.write_text('#!/bin/sh\nread token\n[ "$token" = good ] && { echo alice@example.test; exit 0; }\n[ "$token" = broken ] && exit 70\nexit 1\n')
    verifier.chmod(0o755)
    p.stop()
    p.set({'login-token-verifier': verifier})
    p.start()

    def bearer(token, user='alice@example.test'):
        return b64(f'n,a={user},\1host=x\1port=587\1auth=Bearer {token}\1\1')

    def xoauth2(token, user='alice@example.test'):
        return b64(f'user={user}\1auth=Bearer {token}\1\1')
    with Secure(p) as t:
        check('OAUTHBEARER is offered where there is a verifier', {'OAUTHBEARER', 'XOAUTH2'} <= set(t.mechanisms()), t.offer)
        code, lines = t.say(f'AUTH OAUTHBEARER {bearer("bad")}')
        check('a bad token gets an error and then 535', code == 334 and b'invalid_token' in unb64(lines[0][4:]) and t.code('AQ==') == 535)
        check('somebody else\'s token is refused', t.code(f'AUTH XOAUTH2 {xoauth2("good", "bob@example.test")}') == 334 and t.code('') == 535)
        check('a verifier that fails is 454', t.code(f'AUTH OAUTHBEARER {bearer("broken")}') == 454)
        check('a good token is 235', t.code(f'AUTH OAUTHBEARER {bearer("good")}') == 235)
    with Secure(p) as t:
        check('XOAUTH2 with a good token is 235', t.code(f'AUTH XOAUTH2 {xoauth2("good")}') == 235)


def dovecot(p):
    """A server that speaks Dovecot's protocol, version 1."""
    path = p.dir / 'auth-client'

    def serve(listener):
        while True:
            try:
                c, _ = listener.accept()
            except OSError:
                return
            with c, c.makefile('rb') as f:
                c.sendall(b'VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\tx\nDONE\n')
                for line in f:
                    if line.startswith(b'AUTH\t'):
                        _, user, password = unb64(line.strip().split(b'resp=')[1]).split(b'\0')
                        if user == b'busy':
                            c.sendall(b'FAIL\t1\tuser=busy\ttemp\n')
                        elif (user, password) == (b'carol', b'secret'):
                            c.sendall(b'OK\t1\tuser=carol@example.test\n')
                        else:
                            c.sendall(b'FAIL\t1\tuser=x\n')
                        break
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o666)
    listener.listen(8)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    p.stop()
    p.set({'login-source': 'dovecot', 'login-dovecot-socket': path})
    p.start()
    with Secure(p) as t:
        check('SCRAM is not offered where passwords are Dovecot\'s', not any('SCRAM' in m for m in t.mechanisms()), t.offer)
        check('Dovecot says no: 535', t.code(f'AUTH PLAIN {plain("carol", "wrong")}') == 535)
        check('Dovecot can\'t tell: 454', t.code(f'AUTH PLAIN {plain("busy", "x")}') == 454)
        check('Dovecot says yes: 235', t.code(f'AUTH PLAIN {plain("carol", "secret")}') == 235)
    listener.close()
    path.unlink()
    with Secure(p) as t:
        check('without Dovecot: 454', t.code(f'AUTH PLAIN {plain("carol", "secret")}') == 454)


class RealDovecot(Dovecot):
    """Its auth process alone, with a client socket."""
    packages = ('dovecot-core', 'dovecot-core')
    command = 'mkdir -p /var/lib/dovecot && /usr/sbin/dovecot -F -c /etc/auth.conf'
    families = (socket.AF_UNIX,)

    @property
    def path(self):
        return self.dir / 'srv/auth-client'

    def greets(self, family):
        with socket.socket(family) as s:
            try:
                s.settimeout(10 * SLOW)
                s.connect(str(self.path))
                return s.recv(100).startswith(b'VERSION')
            except OSError:
                return False

    def configure(self):
        self.etc('auth-users', 'carol:{PLAIN}secret\ndora@example.test:{SHA256}' + b64(hashlib.sha256('g\u00f6ld'.encode()).digest()) + '\n')
        self.etc('auth.conf', '''base_dir = /run/dovecot
log_path = /dev/stderr
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
auth_username_format = %Lu
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%u /etc/auth-users
}
userdb {
  driver = static
  args = uid=vmail gid=vmail home=/srv/mail
}
service auth {
  unix_listener /srv/auth-client {
    mode = 0666
  }
}
''')


def real_dovecot(p):
    if not RealDovecot.available():
        skip('a real Dovecot\'s auth socket', 'the package can\'t be had, or this is not root')
        return
    with RealDovecot(p.dir / 'dovecot', 0, []) as s:
        p.stop()
        p.set({'login-source': 'dovecot', 'login-dovecot-socket': s.path})
        p.start()
        with Secure(p) as t:
            got = [t.code(f'AUTH PLAIN {plain("carol", "wrong")}'), t.code(f'AUTH PLAIN {plain("nobody", "secret")}'), t.code(f'AUTH PLAIN {plain("carol", "secret")}')]
            check('a real Dovecot: a wrong password and an unknown login are 535, the right one 235', got == [535, 535, 235], (got, (s.dir / 'out').read_text()[-1500:]))
        with Secure(p) as t:
            check('a real Dovecot: LOGIN, and a password that is not ASCII', [t.code('AUTH LOGIN'), t.code(b64('dora@example.test')), t.code(b64('g\u00f6ld'))] == [334, 334, 235], (s.dir / 'out').read_text()[-1500:])
            check('and its login may use its address', t.code('MAIL FROM:<dora@example.test>') == 250)
    with Secure(p) as t:
        check('a real Dovecot that has ended: 454', t.code(f'AUTH PLAIN {plain("carol", "secret")}') == 454)


def pam(p):
    """A PAM service of its own, whose passwords are a script's."""
    service, script = f'porter-test-{os.getpid()}', p.dir / 'pam-script'
    path = Path('/etc/pam.d') / service
    if os.geteuid() or not path.parent.is_dir():
        skip('PAM', 'no root, or no /etc/pam.d')
        return
    script.write_text('#!/bin/sh\n[ "$PAM_USER" = dave ] && [ "$(tr -d "\\000")" = secret ]\n')
    script.chmod(0o755)
    path.write_text(f'auth [success=1 default=ignore] pam_exec.so expose_authtok quiet {script}\nauth requisite pam_deny.so\nauth required pam_permit.so\n'
                    'account required pam_permit.so\n')
    try:
        p.stop()
        p.set({'login-source': 'pam', 'login-pam-service': service})
        p.start()
        with Secure(p) as t:
            check('PAM says no: 535', t.code(f'AUTH PLAIN {plain("dave", "wrong")}') == 535)
            check('PAM says yes: 235', t.code(f'AUTH PLAIN {plain("dave", "secret")}') == 235)
    finally:
        path.unlink()


with Porter('auth-sources') as p:
    equal_time(p)
    tokens(p)
    dovecot(p)
    real_dovecot(p)
    pam(p)
finish()
