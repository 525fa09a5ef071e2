#!/usr/bin/env python3
"""Addresses and header fields in UTF-8 all the way (RFC 6531, 6532, 6533), by Python's smtplib and read by Python's email: reports on SMTPUTF8 messages and to senders in UTF-8, ORCPT of
type utf-8 in each of its forms, hops with and without SMTPUTF8, lists that lead from ASCII to UTF-8, vacation for and to such mailboxes."""
import email, email.policy, os, re, smtplib, ssl, sys
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
from porter import Porter, check, finish
from sink import Sink

BASIC = ('PIPELINING', '8BITMIME', 'SIZE 10000000', 'DSN')
no_tls = ssl.create_default_context()
no_tls.check_hostname, no_tls.verify_mode = False, ssl.CERT_NONE
serial = 0


def refuse(address):
    return '550 5.1.1 niemand heißt so' if address.startswith(('nein', 'no')) else None


wide, narrow, friends = Sink(rcpt=refuse), Sink(rcpt=refuse, offer=BASIC), Sink()
p = Porter('utf8', start=False, settings={'evidence': 'no', 'report-rate': '1000'},
           maps={'clients': '127.0.0.1 freunde.test\n', 'recipients': 'jörg@example.test maildir\n', '=senders': 'alice@example.test alice@example.test, jörg@example.test\n',
                 'aliases': 'liste@example.test alice@example.test, größe@wide.test, nein-ü@wide.test, ünser@narrow.test\nbrücke@example.test größe@wide.test\nsteg@example.test größe@wide.test\n',
                 'routes': f'wide.test [127.0.0.1]:{wide.port}\nnarrow.test [127.0.0.1]:{narrow.port}\nfreunde.test [127.0.0.1]:{friends.port}\n'})
(p.etc / 'vacation').mkdir()
(p.etc / 'vacation/jörg@example.test').write_text('Bin im Mai zurück.\n')
(p.etc / 'vacation/bob@example.test').write_text('Subject: Ich bin weg\n\nBis Mai.\n')


def client(port, login=True):
    s = p.smtp(port)
    s.ehlo()
    if login:
        s.starttls(context=no_tls)
        s.ehlo()
        s.login('alice@example.test', 'porter-demo')
    return s


def give(sender, to, options=(), mail=('SMTPUTF8',), port=None, subject='Grüße', shown=None):
    """Its Message-ID, once the message is taken."""
    global serial
    serial += 1
    text = f'From: <{sender}>\r\nTo: <{shown or to}>\r\nSubject: {subject}\r\nMessage-ID: <utf{serial}@example.test>\r\n\r\nhallo\r\n'
    with client(port or p.submission, login=not port) as s:
        refused = s.sendmail(sender, [to], text.encode(), mail_options=list(mail), rcpt_options=list(options))
    check(f'taken: {sender} to {to} {" ".join(options)}', refused == {}, refused)
    return f'utf{serial}@example.test'


def report_of(user, ident):
    """(message, raw, [field groups]) of the report on one of ours, or None."""
    for raw in p.messages(user).values():
        m = email.message_from_bytes(raw, policy=email.policy.SMTPUTF8)
        if m.get_content_type() == 'multipart/report' and ident.encode() in raw:
            status = next(x for x in m.iter_parts() if x.get_content_type().endswith('delivery-status'))
            body = status.as_bytes().split(b'\n\n' if b'\r\n' not in status.as_bytes() else b'\r\n\r\n', 1)[1].decode()
            return m, raw, [email.message_from_string(g, policy=email.policy.SMTPUTF8) for g in re.split(r'\r?\n\r?\n', body.strip())]
    return None


def said(group, name):
    return re.sub(r'\s*;\s*', '; ', str(group[name] or ''))


def is_global(m, what):
    kinds = [x.get_content_type() for x in m.iter_parts()]
    check(f'{what}: a report in the form of RFC 6533', kinds == ['text/plain', 'message/global-delivery-status', 'message/global-headers'], kinds)
    check(f'{what}: no part of it is broken', not m.defects and all(not x.defects for x in m.walk()), [x.defects for x in m.walk()])


def failures():
    ident = give('jörg@example.test', 'nein-ü@wide.test', ['ORCPT=utf-8;j\\x{FC}rgen@wide.test'])
    got = p.wait(lambda: report_of('jörg', ident))
    check('a report reaches a sender whose address is UTF-8', got, p.log_text()[-2000:])
    if got:
        m, raw, groups = got
        is_global(m, 'to a sender in UTF-8')
        check('with the recipient as it is written', said(groups[1], 'Final-Recipient') == 'utf-8; nein-ü@wide.test', said(groups[1], 'Final-Recipient'))
        check('and ORCPT, decoded', said(groups[1], 'Original-Recipient') == 'utf-8; jürgen@wide.test', said(groups[1], 'Original-Recipient'))
        check('the words name the recipient', 'nein-ü@wide.test' in m.get_body(('plain',)).get_content(), m.get_body(('plain',)).get_content())
        check('the hop\'s words are kept', 'niemand heißt so' in said(groups[1], 'Diagnostic-Code'), said(groups[1], 'Diagnostic-Code'))
        headers = list(m.iter_parts())[2]
        check('the header that comes back is the message\'s', 'Subject: Grüße' in headers.as_bytes().decode(), headers.as_bytes())
        check('it goes to the sender', str(m['To']) == 'jörg@example.test', str(m['To']))
    ident = give('alice@example.test', 'nein-ü@wide.test')
    got = p.wait(lambda: report_of('alice', ident))
    check('a report on an SMTPUTF8 message reaches a sender in ASCII', got)
    if got:
        is_global(got[0], 'to a sender in ASCII')
    ident = give('alice@example.test', 'ünser@narrow.test')
    got = p.wait(lambda: report_of('alice', ident))
    check('a hop without SMTPUTF8 is told as 5.6.7', got and got[2][1]['Status'] == '5.6.7', got and got[2][1].items())
    ident = give('alice@example.test', 'nobody@narrow.test', mail=())
    got = p.wait(lambda: report_of('alice', ident))
    check('a message without SMTPUTF8 has a report of RFC 3464', got and [x.get_content_type() for x in got[0].iter_parts()] == ['text/plain', 'message/delivery-status', 'text/rfc822-headers'],
          got and got[1])
    ident = give('alice@example.test', 'jörg@example.test', ['NOTIFY=SUCCESS'])
    got = p.wait(lambda: report_of('alice', ident))
    check('a success in a mailbox whose name is UTF-8 is told', got and (got[2][1]['Action'], said(got[2][1], 'Final-Recipient')) == ('delivered', 'utf-8; jörg@example.test'), got and got[2])


def original_recipients():
    for form, what in (('utf-8;gr\\x{F6}\\x{DF}e@old.test', 'escaped'), ('utf-8;größe@old.test', 'as it is'), ('UTF-8;gr\\x{F6}ße@old.test', 'mixed')):
        ident = give('alice@example.test', 'größe@wide.test', [f'ORCPT={form}'])
        check(f'ORCPT {what} arrives', p.wait(lambda: any(ident.encode() in m.content for m in wide.messages)))
        check('and goes on as UTF-8 to a hop that takes SMTPUTF8', wide.rcpts[-1].lower().endswith('orcpt=utf-8;größe@old.test'), wide.rcpts[-1])
    ident = give('alice@example.test', 'fine@narrow.test', ['ORCPT=utf-8;gr\\x{F6}\\x{DF}e\\x{2B}x@old.test'], mail=(), subject='plain')
    check('an escaped one needs no SMTPUTF8', p.wait(lambda: any(ident.encode() in m.content for m in narrow.messages)))
    check('and stays escaped where the message is ASCII', narrow.rcpts[-1].endswith('ORCPT=utf-8;gr\\x{F6}\\x{DF}e\\x{2B}x@old.test'), narrow.rcpts[-1])
    ident = give('alice@example.test', 'nobody@narrow.test', ['ORCPT=utf-8;gr\\x{F6}\\x{DF}e@old.test'], mail=(), subject='plain')
    got = p.wait(lambda: report_of('alice', ident))
    check('also in a report in ASCII', got and said(got[2][1], 'Original-Recipient') == 'utf-8; gr\\x{F6}\\x{DF}e@old.test', got and got[2][1].items())
    with client(p.submission) as s:
        for value in ('utf-8;x\\x{A}y@old.test', 'utf-8;x\\x{0A}y@old.test', 'utf-8;x\\x{D800}y@old.test', 'utf-8;x\\x{110000}@old.test', 'utf-8;x\\x{00F6}@old.test', 'utf-8;x\\y@old.test', 'utf-8;x\\x{F6',
                      'utf-8;x\\x{f6}@old.test', 'rfc822;x+C3+B6@old.test', 'utf-8;'):
            s.command_encoding = 'utf-8'
            s.docmd('MAIL FROM:<alice@example.test> SMTPUTF8')
            code, text = s.docmd(f'RCPT TO:<fine@narrow.test> ORCPT={value}')
            check(f'refused: ORCPT={value}', code == 501, (code, text))
            s.rset()
        s.docmd('MAIL FROM:<alice@example.test>')
        s.command_encoding = 'utf-8'
        code, text = s.docmd('RCPT TO:<fine@narrow.test> ORCPT=utf-8;größe@old.test')
        check('raw UTF-8 needs SMTPUTF8', code == 553, (code, text))


def lists():
    ident = give('alice@example.test', 'liste@example.test', mail=(), subject='plain')
    mine = lambda hop: [m for m in hop.messages if ident.encode() in m.content]        # noqa: E731
    check('a list leads from an ASCII message to a recipient in UTF-8', p.wait(lambda: mine(wide)), p.log_text()[-2000:])
    check('which is announced', mine(wide) and ' SMTPUTF8' in mine(wide)[0].mail and mine(wide)[0].recipients == ['größe@wide.test'], mine(wide) and mine(wide)[0].mail)
    told = lambda: [r for r in p.messages('alice').values() if ident.encode() in r and b'multipart/report' in r]     # noqa: E731
    named = lambda: sorted(re.findall(r'Final-Recipient: (.*)', '\n'.join(r.decode('ascii', 'backslashreplace') for r in told())))        # noqa: E731
    p.wait(lambda: len(named()) == 2)
    got, names = told(), named()
    check('its failures are told in ASCII, nothing lost', [n.strip() for n in names] == ['utf-8; \\x{FC}nser@narrow.test', 'utf-8; nein-\\x{FC}@wide.test'], names)
    check('with words that people can read', all(any(w in email.message_from_bytes(r, policy=email.policy.default).get_body(('plain',)).get_content() for w in ('ünser@', 'nein-ü@')) for r in got) and got, got)
    before = len(wide.messages)
    with p.smtp() as s:
        s.sendmail('stranger@outside.test', ['steg@example.test'], b'Subject: x\r\n\r\nx\r\n')
    check('pass-through from ASCII to UTF-8 is announced, too', len(wide.messages) == before + 1 and ' SMTPUTF8' in wide.messages[-1].mail, [m.mail for m in wide.messages[before:]])


def vacations():
    to = lambda who: [m for m in friends.messages if m.recipients == [who]]     # noqa: E731
    for _ in range(5):      # who is away is told to smtpd some time after the start
        give('freund-ß@freunde.test', 'jörg@example.test', port=p.mx)
        if p.wait(lambda: to('freund-ß@freunde.test'), 3):
            break
    got = to('freund-ß@freunde.test')
    check('a mailbox whose name is UTF-8 answers a sender whose name is', got, p.log_text()[-3000:])
    if got:
        m = email.message_from_bytes(got[0].content, policy=email.policy.SMTPUTF8)
        check('by SMTPUTF8', ' SMTPUTF8' in got[0].mail, got[0].mail)
        check('in its name, to the sender', (str(m['From']), str(m['To'])) == ('jörg@example.test', 'freund-ß@freunde.test'), (str(m['From']), str(m['To'])))
        check('the text is as it was written', m.get_content().strip() == 'Bin im Mai zurück.' and not m.defects, got[0].content)
        check('the subject is the message\'s', str(m['Subject']) == 'Auto: Grüße', str(m['Subject']))
        check('encoded: no field but the addresses needs SMTPUTF8', all(l.isascii() or l.startswith((b'From:', b'To:')) for l in got[0].content.split(b'\r\n\r\n')[0].split(b'\r\n') if not l.startswith((b'Received', b'\t'))),
              got[0].content)
    give('plain@freunde.test', 'bob@example.test', port=p.mx)
    got = p.wait(lambda: to('plain@freunde.test'))
    check('an SMTPUTF8 message between ASCII addresses has a reply in ASCII', got and ' SMTPUTF8' not in got[0].mail and got[0].content.isascii(), got and (got[0].mail, got[0].content))


with p:
    p.start()
    failures()
    original_recipients()
    lists()
    vacations()
finish()
