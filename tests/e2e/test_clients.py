#!/usr/bin/env python3
"""Clients that are not ours hand in mail, and readers that are not ours read it: swaks, msmtp, curl, smtplib, smtp-source, openssl, nullmailer, esmtp; Python's mailbox and
Dovecot by IMAP."""
import imaplib, mailbox, os, re, smtplib, ssl, subprocess
from porter import Porter, check, finish, skip
from unpack import can_inside, environment, inside, run, unpack

MESSAGE = b'From: a@outside.test\r\nTo: alice@example.test\r\nSubject: from %s\r\nMessage-ID: <%s@outside.test>\r\n\r\n.dot first\r\nbody of %s\r\n\r\n.\r\n..\r\nend\r\n'
UNIX = MESSAGE.replace(b'\r\n', b'\n')


def text_for(name, unix=False):
    n = name.encode()
    return (UNIX if unix else MESSAGE) % (n, n, n)


def has(p, name, user='alice'):
    """The message is there once, its body as it was written."""
    n = name.encode()
    found = [m for m in p.messages(user).values() if b'\nSubject: from %s\n' % n in m]
    return len(found) == 1 and found[0].rstrip(b'\n').endswith(b'\n\n.dot first\nbody of %s\n\n.\n..\nend' % n)     # some clients end text with one line more


def call(argv, data=None, **kw):
    return subprocess.run([str(a) for a in argv], input=data, capture_output=True, timeout=60, **kw)


def installed(p):
    to, host = 'alice@example.test', '127.0.0.1'
    for tls in (False, True):
        name = 'swaks-tls' if tls else 'swaks'
        r = call(['swaks', '--server', f'{host}:{p.mx}', '--from', 'a@outside.test', '--to', to, '--data', '-', '--helo', 'c.test', *(['--tls'] if tls else [])], text_for(name, True))
        check(f'swaks{" by TLS" if tls else ""}', r.returncode == 0 and has(p, name), r.stdout[-300:])
    r = call(['swaks', '--server', f'{host}:{p.mx}', '--from', 'a@outside.test', '--to', 'nobody@example.test', '--helo', 'c.test'])
    check('swaks hears of an unknown recipient', r.returncode == 24 and b'550 5.1.1' in r.stdout, r.returncode)
    r = call(['swaks', '--server', f'{host}:{p.mx}', '--from', 'a@outside.test', '--to', f'{to},bob@example.test', '--data', '-', '--pipeline'], text_for('swaks-two', True))
    check('swaks with PIPELINING, to two', r.returncode == 0 and has(p, 'swaks-two') and has(p, 'swaks-two', 'bob'), r.stdout[-300:])
    for tls in ('off', 'on'):
        name = f'msmtp-{tls}'
        r = call(['msmtp', '-C', '/dev/null', f'--host={host}', f'--port={p.mx}', '--auth=off', f'--tls={tls}', '--tls-certcheck=off', '--from=a@outside.test', to], text_for(name, True))
        check(f'msmtp, TLS {tls}', r.returncode == 0 and has(p, name), r.stderr[-300:])
    r = call(['msmtp', '-C', '/dev/null', f'--host={host}', f'--port={p.mx}', '--auth=off', '--from=a@outside.test', 'nobody@example.test'], text_for('x', True))
    check('msmtp hears of an unknown recipient', r.returncode in (65, 67) and b'5.1.1' in r.stderr, (r.returncode, r.stderr[-200:]))
    for options in ([], ['--ssl-reqd', '-k']):
        name = 'curl-tls' if options else 'curl'
        r = call(['curl', '-sS', f'smtp://{host}:{p.mx}', '--mail-from', 'a@outside.test', '--mail-rcpt', to, '-T', '-', *options], text_for(name))
        check(f'curl smtp://{" by STARTTLS" if options else ""}', r.returncode == 0 and has(p, name), r.stderr[-300:])
    with p.smtp() as s:
        s.sendmail('a@outside.test', [to], text_for('smtplib'), mail_options=['SMTPUTF8', 'BODY=8BITMIME'])
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        s.starttls(context=context)
        s.sendmail('a@outside.test', [to, 'bob@example.test'], text_for('smtplib-tls'))
        try:
            s.sendmail('a@outside.test', ['nobody@example.test'], b'x')
            refused = {}
        except smtplib.SMTPRecipientsRefused as e:
            refused = e.recipients
    check('smtplib, in the clear and by STARTTLS in one session', has(p, 'smtplib') and has(p, 'smtplib-tls') and has(p, 'smtplib-tls', 'bob'))
    check('smtplib hears of an unknown recipient', refused.get('nobody@example.test', (0,))[0] == 550, refused)
    lines = b'EHLO c.test\r\nMAIL FROM:<a@outside.test>\r\nRCPT TO:<%s>\r\nDATA\r\n' % to.encode() + re.sub(rb'(?m)^\.', b'..', text_for('openssl')) + b'.\r\nQUIT\r\n'
    r = call(['openssl', 's_client', '-starttls', 'smtp', '-connect', f'{host}:{p.mx}', '-quiet', '-crlf'], lines.replace(b'\r\n', b'\n'))
    check('openssl s_client -starttls smtp', has(p, 'openssl'), r.stdout[-300:])


def unpacked(p):
    root = unpack('postfix', 'postfix')
    if root:
        r = run(root, 'usr/sbin/smtp-source', '-s', 10, '-m', 300, '-l', 2000, '-f', 'load@outside.test', '-t', 'bob@example.test', f'127.0.0.1:{p.mx}')
        check('smtp-source: 300 messages over ten connections', r.returncode == 0 and sum(b'<load@outside.test>' in m for m in p.messages('bob').values()) == 300, r.stderr[-300:])
    else:
        skip('smtp-source', 'the package postfix can\'t be had')
    root = unpack('nullmailer', 'nullmailer')
    if root:
        mail = p.dir / 'nullmailer'
        mail.write_bytes(b'a@outside.test\nalice@example.test\n\n' + text_for('nullmailer', True))
        r = call(['sh', '-c', f'exec "{root}/usr/lib/nullmailer/smtp" 3<"$0"', mail], f'host=127.0.0.1\nport={p.mx}\n\n'.encode(), env=environment(root, HELOHOST='c.test'))
        check('nullmailer', has(p, 'nullmailer'), (r.returncode, r.stdout[-200:], r.stderr[-300:]))
    else:
        skip('nullmailer', 'the package can\'t be had')
    root = unpack('esmtp', 'esmtp')
    if root:
        home = p.dir / 'esmtp'
        home.mkdir()
        (home / '.esmtprc').write_text(f'hostname = 127.0.0.1:{p.mx}\nstarttls = disabled\n')
        os.chmod(home / '.esmtprc', 0o600)
        r = run(root, 'usr/bin/esmtp', '-f', 'a@outside.test', 'alice@example.test', input=text_for('esmtp', True), env={'HOME': str(home)})
        check('esmtp', r.returncode == 0 and has(p, 'esmtp'), (r.returncode, r.stderr[-300:]))
    else:
        skip('esmtp', 'the package can\'t be had')


def readers(p):
    box = mailbox.Maildir(p.maildir('alice'), factory=None, create=False)
    subjects = sorted(str(m['Subject']) for m in box)
    check('Python\'s mailbox reads the Maildir', len(subjects) == len(p.messages('alice')) and 'from curl' in subjects and all(m['Received'] and m['Return-Path'] for m in box), subjects)
    root = unpack('dovecot', 'dovecot-imapd')
    if not root or not can_inside(root):
        skip('Dovecot by IMAP', 'the package can\'t be had, or this is not root')
        return
    conf, owner = p.dir / 'dovecot.conf', p.maildir('alice').stat()
    conf.write_text(f'base_dir = {p.dir}/dovecot\nssl = no\nlog_path = /dev/stderr\nmail_location = maildir:{p.maildir("alice")}:INDEX=MEMORY\n'
                    f'first_valid_uid = 1\nmail_uid = {owner.st_uid}\nmail_gid = {owner.st_gid}\nstats_writer_socket_path =\nnamespace inbox {{\n inbox = yes\n}}\n')
    server = ' '.join(f"'{a}'" for a in inside(root, '/usr/lib/dovecot/imap', '-c', conf))
    expected = {re.search(rb'\nSubject: ([^\n]*)', m)[1]: m for m in p.messages('alice').values()}
    imap = imaplib.IMAP4_stream(f'USER=root HOME=/root {server} 2>{p.dir}/dovecot.log')
    kind, data = imap.select('INBOX')
    good = kind == 'OK' and int(data[0]) == len(p.messages('alice'))
    same = 0
    for n in range(1, int(data[0] or 0) + 1):
        raw = imap.fetch(str(n), '(BODY.PEEK[])')[1][0][1]
        same += expected.get(re.search(rb'\nSubject: ([^\r\n]*)', raw)[1]) == raw.replace(b'\r\n', b'\n')
    check('Dovecot serves every message over IMAP as it lies there', good and same == len(expected), (kind, data, same, len(expected)))
    kind, data = imap.store('1', '+FLAGS', r'(\Seen)')
    check('and keeps flags', kind == 'OK' and b'Seen' in data[0])
    imap.logout()


with Porter('clients', settings={'evidence': 'no'}) as p:
    installed(p)
    unpacked(p)
    readers(p)
finish()
