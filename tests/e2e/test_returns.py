#!/usr/bin/env python3
"""Forwards and what comes back: SRS reverse-paths, ARC seals at pass-through, reports to SRS addresses, and null reverse-paths for a sole-sender domain."""
import getpass, json, os, re, subprocess, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from dns import Dns
from porter import BUILD, Porter, check, finish, free_port
from sink import Sink

ZONE = {'proven.test': {'TXT': ['v=spf1 ip4:127.0.0.1 -all']}, 'nobody.test': {'TXT': ['v=spf1 ?all']}}


def paths(sink):
    return [m.sender for m in sink.messages]


def forward(p, sink, sender, to='fwd@srs.test'):
    before = len(sink.messages)
    code = p.send(b'From: <%s>\r\nSubject: forwarded\r\nMessage-ID: <1@x.test>\r\n\r\nhello\r\n' % sender.encode(), [to], sender)
    p.wait(lambda: len(sink.messages) > before or code != 250)
    return code, (paths(sink)[-1] if len(sink.messages) > before else None)


def submit(p, content, to, sender):
    with p.talk(port=p.submission) as t:
        t.login()
        return t.deliver(content, to, sender)


def dead(p):
    return json.loads(p.ctl('dead', 'list', '--json').stdout)


def report(p, to, sender='', subject=b'failed'):
    with p.talk() as t:
        t.code('EHLO mx.far.test')
        t.code(f'MAIL FROM:<{sender}>')
        code, lines = t.say(f'RCPT TO:<{to}>')
        if code != 250:
            return code, lines
        t.code('DATA')
        t.raw(b'Subject: ' + subject + b'\r\n\r\nno\r\n.\r\n')
        return t.reply()


def srs(p, sink):
    code, path = forward(p, sink, 'ann@proven.test')
    check('a forward is passed through', code == 250, code)
    check('with a reverse-path of ours', re.fullmatch(r'SRS0=\w{4}=\w\w=proven\.test=ann@srs\.test', path or '') is not None, path)
    code, other = forward(p, sink, 'bob@nobody.test')
    check('also where the sender is not proven', code == 250 and (other or '').startswith('SRS0='), (code, other))
    code, lines = report(p, path)
    check('a report to a proven sender\'s address goes back to it', code == 250, lines)
    check('with the null reverse-path', paths(sink)[-1] == '', paths(sink)[-1:])
    unproven(p, sink, other)
    owned(p, sink)
    code, lines = report(p, path.replace('proven.test=ann', 'proven.test=bob'))
    check('a changed tag is no address', code == 550, lines)
    code, lines = report(p, path, 'spammer@nobody.test')
    check('it is no address for anything but reports', code == 550, lines)
    code, again = forward(p, sink, 'SRS0=abcd=EF=first.test=carl@one.test')
    check('a forward of a forward is SRS1', code == 250 and re.fullmatch(r'SRS1=\w{4}=one\.test==abcd=EF=first\.test=carl@srs\.test', again or '') is not None, again)
    long = 'bounces+' + 'x' * 100 + '-fwd=list.test@proven.test'
    for sender in ('"a b> SIZE=1"@proven.test', long, 'y' * 64 + '@proven.test'):
        code, path = forward(p, sink, sender)
        check(f'the address of a forward is one, whatever the sender\'s is: {sender[:20]}', code == 250 and re.fullmatch(r'"?SRS0=\w{4}=\w\w=proven\.test=.*"?@srs\.test', path or '') is not None and
              ('"' in sender) == (path[0] == '"'), (code, path))
        code, lines = report(p, path)
        check('and a report to it comes back', code == 250 and f'RCPT TO:<{sender}>' in sink.rcpts[-1], (lines, sink.rcpts[-1:]))
    code, path = forward(p, sink, 'z' * 240 + '@proven.test')
    check('one that would be too long for anybody is left as it was', (code, path) == (250, 'z' * 240 + '@proven.test'), (code, path))
    code, plain = forward(p, sink, 'alice@example.test')
    check('our own senders keep their path', plain == 'alice@example.test', (code, plain))


def unproven(p, sink, path):
    """A report that comes back for a sender who was not proven, on a forward that names no owner."""
    before = len(sink.messages)
    code, lines = report(p, path, subject=b'withheld')
    check('one to an address of an unproven sender is taken', code == 250, lines)
    rows = dead(p)
    check('and is a dead letter, on disk when the 250 is said', len(rows) == 1 and rows[0]['evidence'] == 'none', rows)
    shown = p.ctl('dead', 'show', rows[0]['id']).stdout if rows else ''
    check('which says why, and holds the report', 'whose sender was not proven' in shown and 'Subject: withheld' in shown, shown)
    time.sleep(.5)
    check('nobody hears of it', len(sink.messages) == before, paths(sink)[before:])
    p.ctl('dead', 'release', '--all')
    p.wait(lambda: len(sink.messages) > before and not dead(p))
    got = sink.messages[before:]
    check('unless the postmaster releases it: then the sender gets it', len(got) == 1 and got[0].sender == '' and got[0].recipients == ['bob@nobody.test'] and not dead(p),
          [(m.sender, m.recipients) for m in got])


def owned(p, sink):
    """The same where the forward names an owner."""
    code, path = forward(p, sink, 'bob@nobody.test', 'owned@srs.test')
    check('a forward with an owner is passed through', code == 250 and (path or '').startswith('SRS0='), (code, path))
    before = len(sink.messages)
    code, lines = report(p, path, subject=b'for the owner')
    check('a report on an unproven sender\'s mail goes to the forward\'s owner', code == 250 and
          any(b'Subject: for the owner' in m for m in p.messages('carol', 'srs.test').values()), (lines, p.messages('carol', 'srs.test')))
    check('and to nobody else', len(sink.messages) == before and not dead(p), (paths(sink)[before:], dead(p)))
    code, path = forward(p, sink, 'ann@proven.test', 'owned@srs.test')
    code, lines = report(p, path)
    check('one on a proven sender\'s mail goes back to him', code == 250 and sink.messages[-1].recipients == ['ann@proven.test'], (path, lines))
    with p.talk() as t:
        t.code('EHLO c.far.test'), t.code('MAIL FROM:<bob@nobody.test>')
        codes = [t.code('RCPT TO:<fwd@srs.test>'), t.code('RCPT TO:<owned@srs.test>')]
    check('forwards of different owners do not share a reverse-path', codes == [250, 452], codes)


def seals(p, sink, zone):
    raw = sink.messages[-1].content
    (p.dir / 'm').write_bytes(raw)
    found = json.loads(subprocess.run([BUILD / 'porterctl', 'auth', 'arc', p.dir / 'm', '--dns', zone, '--json'], capture_output=True).stdout)['arc']
    check('what was passed through is sealed, and the seal is good', found['result'] == 'pass' and found['instance'] == 1 and found['sealer'] == 'srs.test', (found, raw[:800]))


def sole_sender(p, sink):
    def say(to, text, sender=''):
        with p.talk() as t:
            t.code('EHLO mx.far.test'), t.code(f'MAIL FROM:<{sender}>')
            code = t.code(f'RCPT TO:<{to}>')
            if code != 250:
                return code
            t.code('DATA')
            t.raw(text + b'.\r\n')
            return t.reply()[0]
    def tagged(subject):
        return any(b'Subject: ' + subject in m and b'unproven-report' in m for m in p.messages('alice', 'sole.test').values())

    code = submit(p, b'From: alice@example.test\r\nMessage-ID: <ours-1@example.test>\r\nSubject: out\r\n\r\nx\r\n', ['x@far.test'], 'alice@example.test')
    check('something is sent', code == 250, code)
    for what, text in (('what a listed client gives no Message-ID', b'Subject: printer\r\n\r\nx\r\n'), ('what has a comment beside it', b'Subject: odd\r\nMessage-ID: <ours-2@example.test> (by hand)\r\n\r\nx\r\n')):
        with p.talk(source='127.0.0.2') as t:
            check(f'also {what}', t.deliver(text, ['x@far.test'], 'alice@sole.test') == 250)
    with p.talk(source='127.0.0.2') as t:
        check('also what was passed through to a server inside', t.deliver(b'Subject: in\r\nMessage-ID: <inner-1@sole.test>\r\n\r\nx\r\n', ['x@inner.test'], 'alice@sole.test') == 250)
    check('all of it arrives', p.wait(lambda: any(b'Subject: odd' in m.content for m in sink.messages) and any(b'Subject: printer' in m.content for m in sink.messages)))
    time.sleep(.5)
    check('a report on something else is taken and tagged, as long as the ledger is young', say('alice@sole.test', b'Subject: false\r\n\r\nMessage-ID: <never@sole.test>\r\n') == 250
          and tagged(b'false'), list(p.messages('alice', 'sole.test').values()))
    real = (b'Subject: true\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nsorry\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\n'
            b'Message-ID: <ours-1@example.test>\r\nSubject: out\r\n--b--\r\n')
    check('one on what was sent is not tagged', say('alice@sole.test', real) == 250 and not tagged(b'true'))
    check('nor one on what was passed through, when the server inside can\'t keep it after all', say('alice@sole.test', real.replace(b'ours-1@example', b'inner-1@sole').replace(b'true', b'inside')) == 250 and
          not tagged(b'inside'))
    away = b'From: ann@proven.test\r\nAuto-Submitted: auto-replied (vacation)\r\nIn-Reply-To: <%s@example.test>\r\nSubject: %s\r\n\r\naway\r\n'
    read = (b'From: ann@proven.test\r\nContent-Type: multipart/report;\r\n report-type="disposition-notification"; boundary=b\r\nSubject: %s\r\n\r\n--b\r\n\r\nread\r\n--b\r\n'
            b'Content-Type: message/disposition-notification\r\n\r\nOriginal-Message-ID: <%s@example.test>\r\n--b--\r\n')
    for what, text, wanted in (('an automatic reply to what was sent is not tagged', away % (b'ours-1', b'away1'), False), ('one to something else is', away % (b'never', b'away2'), True),
                               ('also behind three thousand fields', b'X: y\r\n' * 3000 + away % (b'never', b'away3'), True),
                               ('a disposition notification of what was sent is not tagged', read % (b'read1', b'ours-1'), False), ('one of something else is', read % (b'read2', b'never'), True),
                               ('a person\'s answer is not asked', b'From: ann@proven.test\r\nIn-Reply-To: <never@example.test>\r\nSubject: person\r\n\r\nyes\r\n', False)):
        subject = re.search(rb'Subject: (\w+)', text)[1]
        code = say('alice@sole.test', text, 'ann@proven.test')
        check(what, code == 250 and tagged(subject) == wanted, (code, subject))


def old_ledger(p, sink):
    """Once the ledger reaches back further than its window, what it doesn't know was not sent."""
    code, forwarded = forward(p, sink, 'ann@proven.test', 'fwd@both.test')
    before = len(sink.messages)
    sent = submit(p, b'From: alice@both.test\r\nSubject: tagged\r\n\r\nx\r\n', ['x@far.test'], 'alice@both.test')
    p.wait(lambda: len(sink.messages) > before)
    tagged = sink.messages[-1].sender
    check('a sole-sender domain may have SRS and tags beside it', (code, sent) == (250, 250) and forwarded.startswith('SRS0=') and tagged.startswith('prvs='), (forwarded, tagged))
    p.stop()
    aged = subprocess.run([BUILD / 'e2e/ledger_age', p.spool / 'ledger', str(15 * 86400)], capture_output=True, text=True, timeout=60)
    check('the ledger is made two weeks older', aged.returncode == 0, aged.stderr)
    r = subprocess.run([BUILD / 'sendmail', '-C', str(p.etc), '-i', '-f', 'alice@sole.test', 'x@far.test'], input=b'From: alice@sole.test\nMessage-ID: <dropped-1@sole.test>\nSubject: dropped\n\nx\n',
                       capture_output=True, timeout=60)
    p.start()

    def say(to, text):
        with p.talk() as t:
            t.code('EHLO mx.far.test'), t.code('MAIL FROM:<>')
            codes = [t.code(f'RCPT TO:<{to}>'), t.code('DATA')]
            t.raw(text + b'.\r\n')
            return codes + [t.reply()[0]]
    forged = b'Subject: forged\r\n\r\nMessage-ID: <never@sole.test>\r\n'
    check('then a report on something else is refused at the dot', say('alice@sole.test', forged) == [250, 354, 550])
    check('one on what waited in the drop folder is taken', r.returncode == 0 and p.wait(lambda: any(b'Subject: dropped' in m.content for m in sink.messages)) and
          say('alice@sole.test', b'Subject: real\r\nReferences: <dropped-1@sole.test>\r\n\r\nx\r\n') == [250, 354, 250], r)
    check('one that names nothing, too', say('alice@sole.test', b'Subject: nothing\r\n\r\nx\r\n') == [250, 354, 550])
    check('one on what was sent is taken', say('alice@sole.test', b'Subject: real\r\nReferences: <ours-1@example.test>\r\n\r\nx\r\n') == [250, 354, 250])
    head = next(m.content for m in sink.messages if b'Subject: printer' in m.content).partition(b'\r\n\r\n')[0]
    returned = b'Subject: %s\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nsorry\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n%s\r\n\r\nx\r\n--b--\r\n'
    check('one on what had no Message-ID is known by our trace field', b'Message-ID' not in head and say('alice@sole.test', returned % (b'trace', head)) == [250, 354, 250], head)
    check('also where it is quoted as text', say('alice@sole.test', b'Subject: quoted\r\n\r\nsorry\r\n\r\n' + b''.join(b'> ' + l + b'\r\n' for l in head.split(b'\r\n'))) == [250, 354, 250])
    check('a trace field that we did not write proves nothing', say('alice@sole.test', returned % (b'false', re.sub(rb'(\(Porter\) with \w+ id )\w+', rb'\g<1>17abcdef', head))) == [250, 354, 550])
    for what, quoted in (('on the line below', b'Message-ID:\r\n\t<ours-1@example.test>\r\nSubject: out\r\n'), ('quoted there', b'> Message-ID:\r\n>  <ours-1@example.test>\r\n'),
                         ('without the comment beside it', b'Message-ID: <ours-2@example.test>\r\n')):
        check(f'a Message-ID in plain text is found {what}', say('alice@sole.test', b'Subject: plain\r\n\r\nsorry\r\n\r\n' + quoted) == [250, 354, 250])
    check('a report to an SRS address answers a forward of ours, whatever it names', say(forwarded, forged) == [250, 354, 250] and sink.messages[-1].recipients == ['ann@proven.test'])
    check('one to a tag answers mail of ours', say(tagged, forged) == [250, 354, 250])
    check('postmaster takes any', say('postmaster@sole.test', forged) == [250, 354, 250])
    check('other domains, too', say('alice@example.test', forged) == [250, 354, 250])
    p.kill()
    p.start()
    check('a kill -9 makes it doubt nothing', [say('alice@sole.test', t)[2] for t in (forged, b'Subject: real\r\nReferences: <dropped-1@sole.test>\r\n\r\nx\r\n')] == [550, 250])


def joe_job(p):
    """Bounces of what somebody forged in our name."""
    def status():
        return json.loads(p.ctl('status', '--json').stdout)['joe_job'], p.ctl('status').stdout
    before, text = status()
    check('a few refused bounces are no joe-job', not before['rising'] and before['last_hour'] < 20 and 'joe-job' not in text, (before, text))
    with p.talk() as t:
        t.code('EHLO mx.far.test')
        codes = []
        for _ in range(25):
            codes += [t.code('MAIL FROM:<>'), t.code('RCPT TO:<alice@tagged.test>'), t.code('RSET')]
    check('each of them is refused', codes == [250, 550, 250] * 25, codes)
    now, text = status()
    check('porterctl status says that they rise', now['rising'] and now['last_hour'] >= 20 and 'joe-job:' in text, (now, text))


def batv(p, sink):
    def say(to):
        with p.talk() as t:
            t.code('EHLO mx.far.test'), t.code('MAIL FROM:<>')
            code = t.code(f'RCPT TO:<{to}>')
            if code != 250:
                return code
            t.code('DATA')
            t.raw(b'Subject: a report\r\n\r\nx\r\n.\r\n')
            return t.reply()[0]

    before = len(sink.messages)
    code = submit(p, b'From: alice@tagged.test\r\nSubject: tagged\r\n\r\nx\r\n', ['x@far.test'], 'alice@tagged.test')
    p.wait(lambda: len(sink.messages) > before)
    path = sink.messages[-1].sender
    check('mail of a domain with BATV leaves with a tagged reverse-path', code == 250 and re.fullmatch(r'prvs=\d{4}[0-9a-f]{6}=alice@tagged\.test', path) is not None, (code, path))
    check('a report to it is taken', say(path) == 250)
    check('and in the mailbox of the plain address', any(b'Subject: a report' in m for m in p.messages('alice', 'tagged.test').values()))
    check('one to the plain address is not', say('alice@tagged.test') == 550)
    check('a report to the tag in other letters is taken, as remote hosts may fold them', [say(path.upper()), say(path.capitalize().replace('alice', 'Alice'))] == [250, 250], path)
    before = len(sink.messages)
    code = submit(p, b'From: Alice@tagged.test\r\nSubject: tagged\r\n\r\nx\r\n', ['x@far.test'], 'Alice@Tagged.test')
    p.wait(lambda: len(sink.messages) > before)
    path = sink.messages[-1].sender
    check('so is one to the folded tag of a path with upper-case letters', code == 250 and say(path.lower()) == 250, (code, path))
    check('nor to a forged tag', say('prvs=0999123456=alice@tagged.test') == 550)
    check('other mail needs no tag', p.send(to='alice@tagged.test', sender='ann@proven.test') == 250)


def main():
    me = getpass.getuser() if os.geteuid() else 'root'
    zone_file = BUILD / 't' / f'returns-{free_port()}.zone'
    zone_file.parent.mkdir(parents=True, exist_ok=True)
    sink = Sink()
    with Dns(ZONE) as d:
        maps = {'domains': f'srs.test mailbox srs\nsole.test mailbox sole-sender\ntagged.test mailbox batv\nboth.test mailbox sole-sender srs batv\ninner.test relay [127.0.0.1]:{sink.port} recipients=ask', 'aliases': 'fwd@srs.test ann@far.test\nfwd@both.test ann@far.test\nowned@srs.test ann@far.test, owner=carol@srs.test', 'recipients': 'carol@srs.test maildir\nalice@sole.test maildir\nalice@tagged.test maildir\nalice@both.test maildir', '=senders': f'alice@example.test alice@example.test, alice@tagged.test, alice@both.test\nunix:{me} alice@sole.test',
                'clients': '127.0.0.2 sole.test', 'routes': f'* [127.0.0.1]:{sink.port}'}
        with Porter('returns', settings={'dns-resolvers': d.resolver, 'evidence': 'yes', 'arc-seal': 'srs.test', 'sole-sender-replies': 'yes'}, maps=maps) as p:
            out = p.ctl('dkim', 'new', 'srs.test', '--only', 'rsa', '--sign')
            zone_file.write_text(out.stdout)
            p.stop()
            p.start()
            srs(p, sink)
            seals(p, sink, zone_file)
            sole_sender(p, sink)
            batv(p, sink)
            old_ledger(p, sink)
            joe_job(p)
    zone_file.unlink()
    finish()


main()
