"""The founding rule's other side: each refusal of test_attack.py, driven by an authenticated sender. Every recipient that failed is told of exactly once: by the session's own reply, or
in exactly one report to the sender, which two RFC 3464 parsers that aren't ours read alike (Python's email, and Mail::DeliveryStatus::BounceParser). A forged sender gets none."""
import email, email.policy, os, re, subprocess, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
from dns import Dns
from porter import Porter, Talk, check, finish, free_port, skip
from sink import Sink
from unpack import unpack

USER = 'alice@example.test'
PERL = r'''
use Mail::DeliveryStatus::BounceParser;
local $/; my $b = Mail::DeliveryStatus::BounceParser->new(<STDIN>);
print $b->is_bounce ? "bounce\n" : "none\n";
print "of ", $b->orig_message_id // '', "\n";
for my $r (grep { $_->get('final-recipient') } $b->reports) {
	my @f = map { my $v = $r->get($_) // ''; chomp $v; $v =~ s/^.*;\s*//r } qw(final-recipient action status);
	print "@f\n";
}
'''


def refuse(address):
    return '550 5.1.1 unknown here' if address.startswith('no') else '450 4.2.0 later' if address.startswith('later') else None


def dot(message):
    return '554 5.7.1 refused late' if b'X-Spam' in message.content or message.recipients[0].startswith('late') else None


victims, far, inner = Sink(), Sink(rcpt=refuse, dot=dot), Sink(rcpt=refuse, dot=dot)
dead = free_port()
world = Dns({'*.far.test': {'MX': ['10 mx.sinks.test']}, 'mx.sinks.test': {'A': ['127.0.0.1']}, 'null.test': {'MX': ['0 .']}, '*.victim.test': {'MX': ['10 mx.sinks.test']}})
p = Porter('authenticated', settings={'dns-resolvers': world.resolver, 'hop-port': str(far.port), 'queue-retry-first': '1s', 'queue-retry-most': '2s', 'size-limit': '200k'}, maps={
    'domains': f'relay.test relay [127.0.0.1]:{inner.port} recipients=ask\ndown.test relay [127.0.0.1]:{dead} recipients=known\n', 'known': 'good@down.test\n',
    'routes': f'.victim.test [127.0.0.1]:{victims.port}\n',
    'recipients': 'refuser@example.test program:/bin/sh -c exit${IFS}77\nfull@example.test quota=2k maildir\n',
    'aliases': 'gone@example.test no-longer@relay.test\nlateway@example.test late@relay.test\ndeadabroad@example.test no@x.far.test\n'})
serial = 0


def session():
    t = Talk(p, p.submission)
    if t.login(USER) != 235:
        raise RuntimeError('no AUTH')
    return t


def send(recipients, extra=b'', body=b'hello\r\n', sender=USER, mail='', rcpt='', author=USER):
    """(its Message-ID, {recipient: code it heard}, whether the dot was 250)"""
    global serial
    serial += 1
    ident = f'<m{serial}@example.test>'
    with session() as t:
        code = t.code(f'MAIL FROM:<{sender}>{mail}')
        if code != 250:
            return ident, dict.fromkeys(recipients, code), False
        heard = {r: t.code(f'RCPT TO:<{r}>{rcpt}') for r in recipients}
        if 250 not in heard.values() or t.code('DATA') != 354:
            return ident, heard, False
        t.raw(b'From: %s\r\nMessage-ID: %s\r\nSubject: refused?\r\n' % (author.encode(), ident.encode()) + extra + b'\r\n' + body + b'.\r\n')
        end = t.reply()[0]
        return ident, {r: end if c == 250 else c for r, c in heard.items()}, end == 250


def reports_of(ident, user='alice'):
    found = []
    for raw in p.messages(user).values():
        m = email.message_from_bytes(raw, policy=email.policy.default)
        if m.get_content_type() == 'multipart/report' and ident.encode() in raw:
            found.append((raw, m))
    return found


def groups(m):
    """What Python's email reads: the message's group, and that of each recipient."""
    part = next(x for x in m.iter_parts() if x.get_content_type() == 'message/delivery-status')
    first, *rest = [dict((k.lower(), str(v)) for k, v in g.items()) for g in part.get_payload()]
    return first, [g for g in rest if g]


def address(field):
    return field.partition(';')[2].strip()


parser = unpack('bounceparser', 'libmail-deliverystatus-bounceparser-perl')


def second(raw):
    """The same by the other parser: {(address, action, status)}, and the Message-ID that it is about."""
    head, _, rest = raw.partition(b'\n')
    out = subprocess.run(['perl', '-e', PERL], input=rest if head.startswith(b'Return-Path') else raw, capture_output=True, timeout=60, check=True,
                         env=dict(os.environ, PERL5LIB=str(parser / 'usr/share/perl5'))).stdout.decode().splitlines()
    return out[0] == 'bounce', out[1][3:], {tuple(line.split()) for line in out[2:] if line}


def told_once(sentence, recipients, failing, leaf=None, **kw):
    """Each of `failing` (under the name of its leaf) hears of it once; the others never."""
    ident, heard, taken = send(recipients, **kw)
    due = {r for r in failing if heard[r] == 250}
    if due:
        p.wait(lambda: reports_of(ident))
        p.wait(lambda: ident not in p.ctl('queue', 'list', '--json').stdout)
    found = reports_of(ident)
    good = len(found) == (1 if due else 0) and all(heard[r] // 100 == 5 for r in set(failing) - due) and not reports_of(ident, 'bob')
    if not check(sentence, good, (heard, len(found), p.log_text()[-1500:] if not good else '')) or not found:
        return None
    raw, m = found[0]
    told = {(address(g['final-recipient']), g['action'], g['status']) for g in groups(m)[1]}
    right = {a for a, _, _ in told} == {leaf or r for r in due} and all(a == 'failed' and s.startswith('5.') for _, a, s in told)
    check(f'   ({sentence}) to the sender\'s address, null reverse-path, and Python\'s email reads who failed', right and raw.startswith(b'Return-Path: <>') and USER in m['To'], (told, m['To']))
    if parser:
        bounce, of, other = second(raw)
        check(f'   ({sentence}) and Perl\'s parser reads the same', bounce and of == ident and other == told, (bounce, of, other, told))
    return m


if not parser:
    skip('a second parser reads the reports', 'libmail-deliverystatus-bounceparser-perl can\'t be had')
told_once('1: an unknown local recipient', ['nobody@example.test'], ['nobody@example.test'])
told_once('2: an alias whose target is dead', ['gone@example.test'], ['gone@example.test'])
told_once('2: an alias whose target abroad is dead', ['deadabroad@example.test'], ['deadabroad@example.test'], leaf='no@x.far.test')
told_once('3: refused by a foreign host at RCPT', ['no@x.far.test'], ['no@x.far.test'])
told_once('3: refused by a foreign host behind the dot', ['late@x.far.test'], ['late@x.far.test'])
told_once('3: a forward refused behind the dot', ['lateway@example.test'], ['lateway@example.test'])
told_once('4: a relayed recipient that the hop does not know', ['no@relay.test'], ['no@relay.test'])
told_once('5: a full mailbox', ['full@example.test'], [], body=b'x' * 70 + b'\r\n' + (b'y' * 70 + b'\r\n') * 60)
told_once('6: a program\'s refusal', ['refuser@example.test'], ['refuser@example.test'])
told_once('9: some of five recipients fail: one report for them', ['no@x.far.test', 'none@x.far.test', 'ok@x.far.test', 'bob@example.test', 'nothing@x.far.test'],
          ['no@x.far.test', 'none@x.far.test', 'nothing@x.far.test'])
told_once('11: a relayed hop refuses content that it took recipients for', ['any@relay.test'], ['any@relay.test'], extra=b'X-Spam: yes\r\n')
told_once('13: too large', ['ok@x.far.test'], ['ok@x.far.test'], mail=' SIZE=999999999')
told_once('13: a loop', ['ok@x.far.test'], ['ok@x.far.test'], extra=b''.join(b'Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n' for _ in range(200)))
told_once('   a null MX (RFC 7505)', ['x@null.test'], ['x@null.test'])
told_once('   a domain that does not exist', ['x@nowhere.test'], ['x@nowhere.test'])

# -- what the sender asked for (RFC 3461) goes all the way ------------------------------------------------------------------------------
m = told_once('   RET, ENVID and ORCPT', ['no@x.far.test'], ['no@x.far.test'], mail=' RET=FULL ENVID=QQ+3D314159', rcpt=' NOTIFY=FAILURE,DELAY ORCPT=rfc822;Nora@elsewhere.test', body=b'secret body\r\n')
if m:
    head, each = groups(m)
    check('ENVID is in the report, decoded', head.get('original-envelope-id') == 'QQ=314159', head)
    check('ORCPT is', address(each[0].get('original-recipient', '')) == 'Nora@elsewhere.test', each)
    check('and RET=FULL brings the header section only', b'secret body' not in m.as_bytes() and b'Subject: refused?' in m.as_bytes())

# -- 10: the time is over (told now by the postmaster), a hop that is down -----------------------------------------------------------------
for recipient, sentence in (('later@x.far.test', '10: what is put off until the postmaster gives up'), ('good@down.test', '4: a relayed domain whose hop is down')):
    ident, heard, taken = send([recipient])
    tried = lambda: f'{recipient}' in p.ctl('queue', 'list', '--json').stdout and re.search(r'"attempts": ?[1-9]', p.ctl('queue', 'list', '--recipient', recipient, '--json').stdout)
    check(f'{sentence}: queued, no report yet', taken and p.wait(tried) and not reports_of(ident), heard)
    p.wait(lambda: '1 of 1 done' in p.ctl('queue', 'bounce', '--recipient', recipient).stdout)
    p.wait(lambda: reports_of(ident))
    check(f'{sentence}: then exactly one', p.wait(lambda: ident not in p.ctl('queue', 'list', '--json').stdout) and len(reports_of(ident)) == 1, len(reports_of(ident)))

# -- the same with a forged sender: none ------------------------------------------------------------------------------------------------------
for recipient in ('no@x.far.test', 'late@x.far.test', 'x@nowhere.test', 'ok@x.far.test'):
    ident, heard, taken = send([recipient], sender='user@v1.victim.test')
    check(f'a login that forges its reverse-path is 550 (to {recipient})', heard[recipient] == 550 and not taken, heard)
ident, heard, taken = send(['no@x.far.test'], author='user@v1.victim.test')
check('a login that forges From is 550', heard['no@x.far.test'] == 550 and not taken, heard)
for author, sentence in (('alice@example.test, user@v1.victim.test', 'its own address beside a forged one'), ('alice@example.test <user@v1.victim.test>', 'its own address as the name of a forged one'),
                         (f'{USER}\r\nFrom: user@v1.victim.test', 'two fields'), ('bob@example.test', 'a colleague\'s address'),
                         ('"bob@example.test"', 'one in quotes alone'), ('=?utf-8?q?bob=40example.test?=', 'one in an encoded word'), ('"bob@example.test" <root>, alice@example.test', 'one that is the name of nobody')):
    ident, heard, taken = send(['ok@x.far.test'], author=author)
    check(f'and by {sentence}', heard['ok@x.far.test'] == 550 and not taken, heard)
for author in (USER, 'Alice <alice+shop@example.test>', 'root'):
    ident, heard, taken = send(['ok@x.far.test'], author=author)
    check(f'but From: {author} is taken', taken, heard)
ident, heard, taken = send(['user@v1.victim.test'], sender='')
check('a login that sends a report of its own to one who never wrote is 550', heard['user@v1.victim.test'] == 550, heard)
time.sleep(.5)
check('no forged sender\'s server saw a connection', victims.connections == 0, victims.mails)
check('no report left the house', not far.null_senders and not inner.null_senders)
code = p.stop()
check('it ends in order', code == 0, (code, p.log_text()[-800:]))
finish()
