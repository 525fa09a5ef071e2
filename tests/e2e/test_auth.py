#!/usr/bin/env python3
"""AUTH on the submission ports: each mechanism, what is refused, and that guesses delay nobody (security kit T7)."""
import hashlib, socket, ssl, statistics, subprocess, sys, threading, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from login import LOGIN, PASSWORD, Scram, Secure, b64, context, plain, scram, unb64  # noqa: E402
from porter import Porter, Talk, check, finish  # noqa: E402


def handshake_ms(porter):
    began = time.monotonic()
    with porter.connect(porter.submissions, timeout=60) as raw:
        with context().wrap_socket(raw, server_hostname='mx.example.test') as s:
            s.recv(100)
    return (time.monotonic() - began) * 1000


def mechanisms(p):
    with Talk(p, p.submission) as t:
        offer = t.say('EHLO client.test')[1]
        check('AUTH is not offered before TLS', not any('AUTH' in l for l in offer), offer)
        check('AUTH before TLS is 538', t.code(f'AUTH PLAIN {plain()}') == 538)
        t.starttls()
        offer = t.say('EHLO client.test')[1]
        check('AUTH is offered inside TLS', any(l[4:].startswith('AUTH ') for l in offer), offer)
        check('STARTTLS is not offered inside TLS', not any('STARTTLS' in l for l in offer))
        check('AUTH after STARTTLS is 235', t.code(f'AUTH PLAIN {plain()}') == 235)
        check('AUTH a second time is 503', t.code(f'AUTH PLAIN {plain()}') == 503)
        check('STARTTLS after AUTH is 503', t.code('STARTTLS') == 503)
    with p.talk() as t:
        offer = t.say('EHLO client.test')[1]
        check('AUTH is neither offered nor taken on the MX port', not any('AUTH' in l for l in offer) and t.code(f'AUTH PLAIN {plain()}') == 502)
    with Secure(p) as t:
        check('the password mechanisms and SCRAM are offered', {'PLAIN', 'LOGIN', 'SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS'} == set(t.mechanisms()), t.offer)
        check('PLAIN without an initial response', t.say('AUTH PLAIN') == (334, ['334 ']) and t.code(plain()) == 235)
    with Secure(p) as t:
        check('LOGIN asks twice', t.say('AUTH LOGIN') == (334, ['334 ' + b64('Username:')]) and t.say(b64('ALICE@Example.Test')) ==
              (334, ['334 ' + b64('Password:')]) and t.code(b64(PASSWORD)) == 235)
    with Secure(p) as t:
        check('SCRAM-SHA-256 proves both sides', scram(t) == 235)
    for name, kw, want in (('a wrong password', {'password': 'x'}, 535), ('a wrong nonce', {'spoil_nonce': True}, 535), ('a wrong proof', {'spoil_proof': True}, 535),
                           ('a wrong channel binding', {'spoil_binding': True}, 535), ('a login that does not exist', {'login': 'nobody@example.test'}, 535),
                           ('"y" although -PLUS is offered', {'gs2': 'y,,'}, 535), ('a binding without -PLUS', {'gs2': 'p=tls-exporter,,'}, 535),
                           ('somebody else as authzid', {'gs2': 'n,a=bob@example.test,'}, 535)):
        with Secure(p) as t:
            got = scram(t, **kw)
            check(f'SCRAM with {name} is refused', got == want, got)
    with Secure(p, version=ssl.TLSVersion.TLSv1_2) as t:
        der = t.socket.getpeercert(True)
        binding = hashlib.sha256(der).digest()
        check('SCRAM-SHA-256-PLUS by tls-server-end-point', scram(t, 'SCRAM-SHA-256-PLUS', gs2='p=tls-server-end-point,,', binding=binding) == 235)
    with Secure(p) as t:
        check('SCRAM-SHA-256-PLUS with another certificate is refused', scram(t, 'SCRAM-SHA-256-PLUS', gs2='p=tls-server-end-point,,', binding=b'\1' * 32) == 535)
    with Secure(p) as t:
        check('SCRAM-SHA-256-PLUS without a binding is refused', scram(t, 'SCRAM-SHA-256-PLUS') == 535)
    with Secure(p) as t:
        first = [unb64(t.say(f'AUTH SCRAM-SHA-256 {Scram(login="nobody@example.test").first()}')[1][0][4:]).decode(), t.code('*')][0]
        second = unb64(t.say(f'AUTH SCRAM-SHA-256 {Scram(login="Nobody@example.test").first()}')[1][0][4:]).decode()
        check('the salt of a login that does not exist stays the same', first.split(',s=')[1] == second.split(',s=')[1])


def spellings(p):
    """RFC 4013: a login and its password are the same however they were typed; a client that prepares nothing meets one that does."""
    typed, form, other = 'gold\u00a0\ufb01sh\u00ad', 'gold fish', 'gold\u3000\uff46ish'
    made = p.ctl('user', 'passwd', 'eric@example.test', input=typed + '\n')
    bad = p.ctl('user', 'passwd', 'eric@example.test', input='a\u0627b\n')
    p.compile()
    check('a password of blanks, ligatures and soft hyphens is taken', made.returncode == 0, made.stderr)
    check('one that SASLprep refuses is not, and the reason is told', bad.returncode != 0 and 'RFC 4013' in bad.stderr, bad.stderr)

    def login(name, password):
        with Secure(p) as t:
            return t.code(f'AUTH PLAIN {plain(name, password)}')
    check('the login is there', p.wait(lambda: login('eric@example.test', form) == 235))
    check('PLAIN compares what both passwords mean', [login('eric@example.test', x) for x in (typed, form, other, 'gold  fish', 'goldfish')] == [235, 235, 235, 535, 535])
    check('PLAIN knows a login by its prepared form', login('er\u00adic@example.test', form) == 235 and login('\uff45ric@example.test', typed) == 235)
    check('a login that can not be one is 535', login('er\tic@example.test', form) == 535)
    with Secure(p) as t:
        got = [t.code('AUTH LOGIN'), t.code(b64('\uff45ric@example.test')), t.code(b64(typed))]
        check('LOGIN, too', got == [334, 334, 235], got)
    with Secure(p) as t:
        check('SCRAM with a client that prepares the password', scram(t, login='eric@example.test', password=form) == 235)
    with Secure(p) as t:
        check('SCRAM knows a login by its prepared form', scram(t, login='\uff45ric@example.test', password=form) == 235)
    with Secure(p) as t:
        t.code(f'AUTH PLAIN {plain(chr(0xff45) + "ric@example.test", form)}')
        check('and its prepared form is the one whose addresses it may use', t.code('MAIL FROM:<eric@example.test>') == 250)


def refusals(p):
    """T7."""
    with Secure(p) as t:
        check('unknown mechanisms are 504', t.code('AUTH CRAM-MD5') == 504 and t.code('AUTH GSSAPI =') == 504 and t.code('AUTH EXTERNAL =') == 504)
        check('bad base64 is 501', t.code('AUTH PLAIN ????') == 501 and t.code('AUTH PLAIN AGE') == 501 and t.say('AUTH PLAIN')[0] == 334 and t.code('=') == 501)
        for nuls, text in ((0, 'alice'), (1, 'alice\0x'), (3, '\0alice\0x\0y')):
            check(f'PLAIN with {nuls} NULs is 501', t.code(f'AUTH PLAIN {b64(text)}') == 501)
        check('"*" cancels', t.code('AUTH PLAIN') == 334 and t.code('*') == 501 and t.code('NOOP') == 250)
        check('AUTH without a mechanism is 501', t.code('AUTH') == 501 and t.code('AUTH PLAIN x y') == 501)
        check('AUTH inside of a transaction is 503', t.code('MAIL FROM:<alice@example.test>') in (250, 530) and t.code('RSET') == 250)
    with Secure(p) as t:
        t.code('AUTH PLAIN')
        t.raw(b'A' * 1000000 + b'\r\n')
        check('1 MB of base64 is 500, and the exchange is over', t.reply()[0] in (500, 421))
    with Secure(p) as t:
        check('a password of 8000 bytes is refused', t.code(f'AUTH PLAIN {plain(password="x" * 8000)}') == 535)
    with Secure(p) as t:
        check('a wrong password is 535', t.code(f'AUTH PLAIN {plain(password="wrong")}') == 535)
        check('acting for somebody else is 535', t.code(f'AUTH PLAIN {plain(authzid="bob@example.test")}') == 535)
        codes = [t.code(f'AUTH PLAIN {plain(password="wrong")}') for _ in range(3)]
        check('after five failures the session ends', codes == [535, 535, 421], codes)
    with Secure(p) as t:
        t.raw(f'AUTH PLAIN {plain(password="wrong")}\r\nAUTH PLAIN {plain()}\r\nNOOP\r\n'.encode())
        check('pipelined AUTH is answered in order', [t.reply()[0] for _ in range(3)] == [535, 235, 250])
    with Secure(p) as t:
        t.raw(f'AUTH PLAIN {plain()}\r\n'.encode())
    with Secure(p) as t:
        check('a client that leaves in the middle hurts nobody', t.code('NOOP') == 250)
    events = '\n'.join(l for l in p.log_text().splitlines() if l[:2] == '20')     # not the demo's hint
    check('no password is in the log', 'auth' in events and PASSWORD not in events and plain() not in events)


def guesses(p):
    """50 guesses at once: the pool is bounded, its queue answers in turn, and handshakes go on."""
    quiet = statistics.median(handshake_ms(p) for _ in range(10))
    results, sessions = [], [Secure(p, timeout=100) for _ in range(50)]

    def guess(t):
        results.append(t.code(f'AUTH PLAIN {plain(password="guess")}'))
    threads = [threading.Thread(target=guess, args=(t,)) for t in sessions]
    began = time.monotonic()
    for t in threads:
        t.start()
    times = []
    while any(t.is_alive() for t in threads) and len(times) < 200:
        times.append(handshake_ms(p))
    for t in threads:
        t.join()
    total = time.monotonic() - began
    for t in sessions:
        t.close()
    check('50 guesses at once are all answered, none with yes', results.count(535) + results.count(454) == 50 and 535 in results, results)
    print(f'# handshake {quiet:.1f} ms alone, {statistics.median(times):.1f} ms median and {max(times):.1f} ms at most during {total:.1f} s of guesses ({len(times)} handshakes)')
    check('and delay no handshake', len(times) > 4 and statistics.median(times) < total * 1000 / 8, (quiet, statistics.median(times), max(times)))     # one that queued behind them would take half of that time


def certificate(p):
    cert, key = p.dir / 'client.pem', p.dir / 'client.key'
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key, '-out', cert, '-days', '9',
                    '-subj', '/CN=client'], check=True, capture_output=True)
    der = ssl.PEM_cert_to_DER_cert(cert.read_text())
    with open(p.etc / 'clients', 'a') as f:
        f.write(f'sha256:{hashlib.sha256(der).hexdigest()} example.test\n')
    check('a certificate in the map clients compiles', p.ctl('compile').returncode == 0, p.ctl('compile').stdout)
    with Secure(p, cert=(cert, key)) as t:
        check('EXTERNAL is offered to a client with a certificate', 'EXTERNAL' in t.mechanisms(), t.offer)
        check('EXTERNAL for another domain is refused', t.code(f'AUTH EXTERNAL {b64("x@elsewhere.test")}') == 535)
        check('EXTERNAL names a login of its domain', t.code(f'AUTH EXTERNAL {b64("alice@example.test")}') == 235)
    with Secure(p, cert=(cert, key)) as t:
        check('EXTERNAL without a name', t.code('AUTH EXTERNAL =') == 235)


def slowing(p):
    """Loopback is exempt as a rule; here it isn't."""
    p.stop()
    p.set({'login-source': None, 'login-dovecot-socket': None, 'login-pam-service': None, 'limit-exempt': '192.0.2.0/24', 'harvest-slow': 2, 'harvest-blind': 5, 'harvest-refuse': 100})
    p.start()
    codes, times = [], []
    for i in range(8):
        with Secure(p) as t:
            began = time.monotonic()
            codes.append(t.code(f'AUTH PLAIN {plain(f"u{i}@example.test", "x")}'))
            times.append(time.monotonic() - began)
    check('an address that keeps guessing is slowed, then not asked about any more', codes[0] == 535 and codes[-1] == 454 and max(times[3:]) > .4, (codes, times))
    with Secure(p) as t:
        check('and hears 454 with the right password, too', t.code(f'AUTH PLAIN {plain()}') == 454)


with Porter('auth') as p:
    mechanisms(p)
    spellings(p)
    refusals(p)
    guesses(p)
    certificate(p)
    slowing(p)
finish()
