#!/usr/bin/env python3
"""Programs that are not ours hand in an authenticated user's mail, as each of them logs in: msmtp, swaks, curl, smtplib, mutt, and Postfix as a client with SASL."""
import os, re, smtplib, ssl, subprocess
from pathlib import Path
from porter import Porter, check, finish, free_port, has_ipv6, skip
from servers import Postfix
from unpack import environment, unpack

USER, PASSWORD, TO, HOST = 'alice@example.test', 'porter-demo', 'bob@example.test', '127.0.0.1'
MESSAGE = 'From: alice@example.test\nTo: bob@example.test\nSubject: from {0}\n\n.dot first\nbody of {0}\n\n.\n..\nend\n'


def has(p, name):
    """It is there once, its body as it was written."""
    name = name.encode()
    found = [m for m in p.messages('bob').values() if b'\nSubject: from %s\n' % name in m]
    return len(found) == 1 and found[0].rstrip(b'\n').endswith(b'.dot first\nbody of %s\n\n.\n..\nend' % name)


def call(argv, name=None, **kw):
    return subprocess.run([str(a) for a in argv], input=MESSAGE.format(name).encode() if name else None, capture_output=True, timeout=60, **kw)


def mechanism(p, before):
    """How somebody logged in since."""
    return re.findall(r' auth .*mechanism=(\S+) login=alice@example\.test', p.log_text()[before:])


def takes(p, sentence, name, argv, good=0, how=None, **kw):
    before = len(p.log_text())
    r = call(argv, name, **kw)
    check(sentence, r.returncode == good and has(p, name) and (how is None or mechanism(p, before) == [how]), (r.returncode, r.stdout[-300:], r.stderr[-300:], mechanism(p, before)))


def msmtp(p):
    common = ['msmtp', '-C', '/dev/null', f'--host={HOST}', f'--user={USER}', '--tls=on', '--tls-certcheck=off', f'--from={USER}']
    for auth, how in (('plain', 'PLAIN'), ('login', 'LOGIN'), ('scram-sha-256', 'SCRAM-SHA-256')):
        takes(p, f'msmtp, STARTTLS, --auth={auth}', f'msmtp-{auth}', [*common, f'--port={p.submission}', f'--auth={auth}', f'--passwordeval=echo {PASSWORD}', TO], how=how)
    takes(p, 'msmtp, implicit TLS, its own choice', 'msmtp-on', [*common, f'--port={p.submissions}', '--tls-starttls=off', '--auth=on', f'--passwordeval=echo {PASSWORD}', TO])
    r = call([*common, f'--port={p.submission}', '--auth=plain', '--passwordeval=echo wrong', TO], 'msmtp-wrong')
    check('msmtp with a wrong password hears so', r.returncode == 77 and b'535' in r.stderr and not has(p, 'msmtp-wrong'), (r.returncode, r.stderr[-300:]))


def swaks(p):
    common = ['swaks', '--helo', 'c.test', '--from', USER, '--to', TO, '--data', '-', '--auth-user', USER, '--auth-password', PASSWORD]
    for auth, options, port in (('PLAIN', '--tls', p.submission), ('LOGIN', '--tls', p.submission), ('PLAIN', '--tls-on-connect', p.submissions)):
        takes(p, f'swaks {options} --auth {auth}', f'swaks{options}-{auth}', [*common, '--server', f'{HOST}:{port}', options, '--auth', auth], how=auth)
    r = call([*common, '--server', f'{HOST}:{p.submission}', '--auth', 'PLAIN'], 'swaks-clear')
    check('swaks finds no AUTH before TLS', r.returncode == 28 and not has(p, 'swaks-clear'), (r.returncode, r.stdout[-300:]))


def curl(p):
    for name, url, options, how in (('curl-plain', f'smtp://{HOST}:{p.submission}', ['--ssl-reqd', '--login-options', 'AUTH=PLAIN'], 'PLAIN'),
                                    ('curl-login', f'smtp://{HOST}:{p.submission}', ['--ssl-reqd', '--login-options', 'AUTH=LOGIN'], 'LOGIN'), ('curl-tls', f'smtps://{HOST}:{p.submissions}', [], None)):
        takes(p, f'curl {url[:url.index(":")]}:// {options[-1] if options else ""}', name,
              ['curl', '-sS', '-k', url, '--user', f'{USER}:{PASSWORD}', '--mail-from', USER, '--mail-rcpt', TO, '--crlf', '-T', '-', *options], how=how)


def python(p):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP(HOST, p.submission, timeout=60) as s:
        s.starttls(context=context)
        s.login(USER, PASSWORD)
        s.sendmail(USER, [TO], MESSAGE.format('smtplib'))
    with smtplib.SMTP_SSL(HOST, p.submissions, timeout=60, context=context) as s:
        s.login(USER, PASSWORD)
        s.sendmail(USER, [TO], MESSAGE.format('smtplib-tls'))
    check('smtplib, STARTTLS and implicit TLS', has(p, 'smtplib') and has(p, 'smtplib-tls'))


def mutt(p):
    root = unpack('mutt', 'mutt', 'libsasl2-modules')
    if not root:
        skip('mutt', 'the package can\'t be had')
        return
    home = p.dir / 'mutt'
    home.mkdir()
    env = environment(root, HOME=str(home), SASL_PATH=str(root / 'usr/lib/x86_64-linux-gnu/sasl2'), LANG='C.UTF-8')
    for name, scheme, port, how in (('mutt-scram', 'smtp', p.submission, 'SCRAM-SHA-256'), ('mutt-plain', 'smtps', p.submissions, 'PLAIN')):
        (home / name).write_text(f'set smtp_url="{scheme}://alice%40example.test@{HOST}:{port}/"\nset smtp_pass="{PASSWORD}"\nset smtp_authenticators="{how.lower()}"\nset ssl_starttls=yes\n'
                                 f'set ssl_force_tls=yes\nset ssl_verify_host=no\nset certificate_file="{p.etc}/tls/cert.pem"\nset from="{USER}"\nset use_envelope_from=yes\nset copy=no\nset realname="Alice"\n')
        before = len(p.log_text())
        body = MESSAGE.format(name).split('\n\n', 1)[1]
        r = subprocess.run([root / 'usr/bin/mutt', '-n', '-F', home / name, '-s', f'from {name}', '--', TO], input=body.encode(), capture_output=True, timeout=60, env=env)
        check(f'mutt, {scheme}://, {how}', r.returncode == 0 and has(p, name) and mechanism(p, before) == [how], (r.returncode, r.stdout[-500:], r.stderr[-500:], mechanism(p, before)))


class Submitter(Postfix):
    """A machine's own Postfix, whose relayhost is our submission port."""
    packages = ('postfix-sasl', 'postfix', 'libsasl2-modules')
    hub = 0

    def configure(self):
        super().configure()
        with open(self.dir / 'etc/postfix/master.cf', 'a') as f:
            f.write('smtp unix - - n - - smtp\nrelay unix - - n - - smtp\ntlsmgr unix - - n 1000? 1 tlsmgr\n')
        with open(self.dir / 'etc/postfix/main.cf', 'a') as f:
            f.write(f'''mynetworks = 127.0.0.0/8
relay_domains =
relay_recipient_maps =
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_end_of_data_restrictions =
relayhost = [{HOST}]:{self.hub}
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = inline:{{ {{[{HOST}]:{self.hub} = {USER}:{PASSWORD}}} }}
smtp_sasl_security_options = noanonymous
smtp_sasl_tls_security_options = noanonymous
smtp_tls_security_level = encrypt
''')


def postfix(p):
    if not has_ipv6() or not Submitter.available():
        skip('Postfix as a client with SASL', 'the package can\'t be had, this is not root, or there is no ::1')
        return
    with Submitter(p.dir / 'postfix', free_port(), ['outside.test']) as s:
        s.hub = p.submission
        s.configure()
        s.die(), s.start()
        before = len(p.log_text())
        with smtplib.SMTP(HOST, s.port, timeout=60) as client:
            client.sendmail(USER, [TO], MESSAGE.format('postfix'))
        good = p.wait(lambda: has(p, 'postfix'), 60)
        check('Postfix with a relayhost, TLS and SASL', good and len(mechanism(p, before)) == 1, (p.log_text()[before:][-1500:], (s.dir / 'out').read_text()[-1500:]))


with Porter('submission-clients', settings={'evidence': 'no'}) as p:
    for client in (msmtp, swaks, curl, python, mutt, postfix):
        client(p)
    seen = [m for m in p.messages('bob').values() if not re.search(rb'^Message-ID: <\S+@\S+>$', m, re.M | re.I) or not re.search(rb'^Date: ', m, re.M)]
    check('each message has a Message-ID and a Date, its program\'s or ours', not seen, seen[:1])
    check('and no trace of the password', PASSWORD.encode() not in b''.join(p.messages('bob').values()))
finish()
