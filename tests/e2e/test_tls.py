#!/usr/bin/env python3
"""TLS at the listeners: STARTTLS injection (T3), tickets (S15), wrong protocols (S13), names, renewed certificates, the keeper's death, memory."""
import os, re, signal, socket, ssl, subprocess, sys, time, warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import PATIENCE, SLOW, Porter, Talk, check, finish, may_look, skip  # noqa: E402


def context(version=None, alpn=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    if version:
        warnings.simplefilter('ignore', DeprecationWarning)
        c.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        c.set_ciphers('DEFAULT:@SECLEVEL=0')
        c.maximum_version = version
    if alpn:
        c.set_alpn_protocols(alpn)
    return c


def inside(p, name='mx.example.test', **kw):
    return context(**kw).wrap_socket(p.connect(p.submissions), server_hostname=name)


def certificate(p, name='mx.example.test'):
    with inside(p, name) as s:
        return s.getpeercert(True)


def make(p, cert, key, name):
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-days', '9', '-subj', f'/CN={name}',
                    '-addext', f'subjectAltName=DNS:{name}'], check=True, capture_output=True)


def injection(p):
    for tail in (b'EHLO injected\r\n', b'NOOP\r\n', b'RSET\r\n', b'MAIL FROM:<a@outside.test>\r\n', b'EHL'):
        with p.talk() as t:
            t.say('EHLO client.test')
            t.raw(b'STARTTLS\r\n' + tail)
            first, then = t.reply(), t.reply()
            check(f'STARTTLS with {tail!r} behind it: 554 and the end', first[0] == 554 and then[0] == 0, (first, then))
    with p.talk() as t:
        t.say('EHLO client.test')
        t.starttls()
        check('after TLS an unknown command is 5xx', t.code('FAKE x') // 100 == 5)
        check('after TLS EHLO must come anew', t.code('MAIL FROM:<a@outside.test>') == 503)
        check('STARTTLS twice is 503', t.say('EHLO client.test')[0] == 250 and t.code('STARTTLS') == 503)
    with p.talk() as t:
        t.say('EHLO client.test')
        t.say('MAIL FROM:<a@outside.test>')
        check('STARTTLS inside of MAIL is 503', t.code('STARTTLS') == 503)
    with p.talk() as t:
        t.say('EHLO client.test')
        t.starttls()
        raw = socket.socket(fileno=os.dup(t.socket.fileno()))
        raw.settimeout(PATIENCE * SLOW)
        try:
            t.socket.unwrap()
        except (ssl.SSLError, OSError):
            pass                                    # it needs no close_notify back
        try:
            raw.sendall(b'EHLO plain\r\n')
            got = raw.recv(100)
        except OSError:
            got = b''
        raw.close()
        check('behind close_notify nothing is said in plain text', got == b'', got)


def protocol(p):
    out = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{p.submissions}', '-msg', '-tls1_3'], input=b'QUIT\r\n', capture_output=True, timeout=PATIENCE * SLOW).stdout
    check('no session ticket is sent in TLS 1.3', b'ServerHello' in out and b'NewSessionTicket' not in out)
    out = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{p.mx}', '-starttls', 'smtp', '-msg', '-tls1_2'], input=b'QUIT\r\n', capture_output=True, timeout=PATIENCE * SLOW).stdout
    check('nor in TLS 1.2, and nothing is compressed', b'ServerHello' in out and b'NewSessionTicket' not in out and b'Compression: NONE' in out)
    with open(p.dir / 'renegotiation', 'w+b') as told, open(p.dir / 'greeting', 'w+b') as said:      # its input stays open until it has heard the answer
        client = subprocess.Popen(['openssl', 's_client', '-connect', f'127.0.0.1:{p.submissions}', '-tls1_2', '-state', '-crlf'], stdin=subprocess.PIPE, stdout=said, stderr=told)
        p.wait(lambda: b'\n220 ' in (p.dir / 'greeting').read_bytes())      # a greeting that came behind its question would end it
        client.stdin.write(b'R\n')
        client.stdin.flush()
        check('renegotiation is refused', p.wait(lambda: b'no renegotiation' in (p.dir / 'renegotiation').read_bytes()), (p.dir / 'renegotiation').read_bytes()[-500:])
        client.kill()
        client.wait()
    for version, name in ((ssl.TLSVersion.TLSv1_1, 'TLS 1.1'), (ssl.TLSVersion.TLSv1, 'TLS 1.0')):
        try:
            with inside(p, version=version):
                good = False
        except (ssl.SSLError, ConnectionError):
            good = True
        check(f'{name} is refused', good)
    try:
        with inside(p, alpn=['h2', 'http/1.1']):
            said = 'taken'
    except ssl.SSLError as e:
        said = str(e)
    check('a client of HTTP (ALPN) gets an alert', 'no application protocol' in said, said)
    with inside(p, alpn=['smtp']) as s:
        check('a client of SMTP (ALPN) is served', s.selected_alpn_protocol() == 'smtp')
    with inside(p) as s:
        s.recv(200)
        s.sendall(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
        check('GET inside of TLS is 421', s.recv(200).startswith(b'421'))


def names(p):
    make(p, p.etc / 'tls/two.pem', p.etc / 'tls/two.key', 'two.example.test')
    p.set({'tls-certificates': 'tls/cert.pem,tls/key.pem tls/two.pem,tls/two.key', 'tls-look': '1s'})
    first = certificate(p)
    check('a second certificate comes by reload', p.ctl('reload').returncode == 0)
    two = lambda: certificate(p, 'two.example.test') != first       # noqa: E731: those of before may take one connection more as they go
    check('each name gets its own certificate', p.wait(lambda: two() and two() and certificate(p) == first and certificate(p, 'nobody.test') == first))


def renewal(p):
    before, pids = certificate(p, 'two.example.test'), p.roles()    # those of before the reload may be there still
    make(p, p.etc / 'tls/new.pem', p.etc / 'tls/new.key', 'two.example.test')
    os.rename(p.etc / 'tls/new.key', p.etc / 'tls/two.key')
    os.rename(p.etc / 'tls/new.pem', p.etc / 'tls/two.pem')
    end, seen, failures = time.monotonic() + PATIENCE * SLOW, before, 0
    while seen == before and time.monotonic() < end:
        try:
            seen = certificate(p, 'two.example.test')
        except (ssl.SSLError, OSError):
            failures += 1
        time.sleep(.02)
    check('a renewed certificate is used without a restart, and no handshake fails meanwhile', seen != before and failures == 0 and set(p.roles()['smtpd']) <= set(pids['smtpd']),
          (seen != before, failures))


def keeper(p):
    pid = 0
    for _ in range(3):
        pid = p.wait(lambda: next((k for k in p.roles().get('keeper', []) if k != pid), 0))
        os.kill(pid, signal.SIGKILL)
        try:
            good = bool(certificate(p))
        except (ssl.SSLError, OSError) as e:
            good = repr(e)
        check('a handshake survives the death of the keeper', good is True, good)


def rss(pids):
    return sum(int(re.search(r'Pss:\s+(\d+)', Path(f'/proc/{pid}/smaps_rollup').read_text())[1]) for pid in pids)


def memory(p):
    if not may_look():
        skip('memory of idle sessions', 'only root may look into the process')
        return
    p.stop()
    p.set({'smtpd-processes': 1, 'max-sessions-address': 5000, 'max-sessions-network': 5000})
    p.start()
    pid = p.roles()['smtpd']
    shared = context()

    def one():
        return shared.wrap_socket(p.connect(p.submissions), server_hostname='mx.example.test')
    n, warm = 500, [one() for _ in range(20)]
    before = rss(pid)
    plain = [p.connect() for _ in range(n)]
    for s in plain:
        s.recv(200)
        s.sendall(b'EHLO x\r\n')
        s.recv(1000)
    idle = (rss(pid) - before) / n
    for s in plain:
        s.close()
    time.sleep(.5)
    before = rss(pid)
    secure = [one() for _ in range(n)]
    for s in secure:
        s.recv(200)
        s.sendall(b'EHLO x\r\n')
        s.recv(1000)
    time.sleep(.5)
    tls = (rss(pid) - before) / n
    for s in secure + warm:
        s.close()
    print(f'# memory: {idle:.1f} KiB a plain session, {tls:.1f} KiB more a session inside TLS')
    if SLOW > 1:
        skip('memory of idle sessions', 'a sanitizer keeps what was freed')
        return
    check('an idle plain session costs less than 12 KiB', idle < 12, idle)
    check('an idle session inside of TLS costs less than 24 KiB more', tls < 24, tls)


with Porter('tls') as p:
    injection(p)
    protocol(p)
    names(p)
    renewal(p)
    keeper(p)
    memory(p)
finish()
