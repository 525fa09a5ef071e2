#!/usr/bin/env python3
"""Sender evidence through SMTP: Authentication-Results, DMARC's policy at the dot, tags, overrides, and DNS that misbehaves."""
import base64, re, subprocess, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from dns import Dns
from porter import BUILD, Porter, check, finish

CTL = BUILD / 'porterctl'


def make_key(folder, name='key'):
    subprocess.run(['openssl', 'genrsa', '-out', folder / f'{name}.pem', '2048'], check=True, capture_output=True)
    der = subprocess.run(['openssl', 'pkey', '-in', folder / f'{name}.pem', '-pubout', '-outform', 'der'], check=True, capture_output=True).stdout
    return folder / f'{name}.pem', 'v=DKIM1; k=rsa; p=' + base64.b64encode(der).decode()


def signed(key, domain, message, selector='s'):
    return subprocess.run([CTL, 'auth', 'sign', '-', '--domain', domain, '--selector', selector, '--key', key], input=message, capture_output=True, check=True).stdout


def mail(domain, subject='x', more=b''):
    return more + f'From: Ann <ann@{domain}>\r\nTo: alice@example.test\r\nSubject: {subject}\r\nMessage-ID: <{subject}@{domain}>\r\n\r\nhello\r\n'.encode()


def results(p, subject):
    """The Authentication-Results of the message with this subject, unfolded; all of them."""
    for raw in p.messages().values():
        head = raw.split(b'\n\n')[0].decode(errors='replace')
        if f'Subject: {subject}\n' in head + '\n':
            return re.sub(r'\n[ \t]+', ' ', head)
    return ''


ZONE = {
    'good.test': {'TXT': ['v=spf1 ip4:127.0.0.1 -all'], 'A': ['127.0.0.1']},
    '_dmarc.good.test': {'TXT': ['v=DMARC1; p=reject']},
    'bad.test': {'TXT': ['v=spf1 -all']},
    '_dmarc.bad.test': {'TXT': ['v=DMARC1; p=reject']},
    'odd.test': {'TXT': ['v=spf1 ?all']},
    '_dmarc.odd.test': {'TXT': ['v=DMARC1; p=quarantine']},
    'testing.test': {'TXT': ['v=spf1 ?all']},
    '_dmarc.testing.test': {'TXT': ['v=DMARC1; p=reject; t=y']},
    'none.test': {'A': ['192.0.2.1']},
    'everybody.test': {'TXT': ['v=spf1 +all']},
    'hosted.test': {'TXT': ['v=spf1 a:relay.hoster.test -all']},
    'mxed.test': {'TXT': ['v=spf1 mx -all'], 'MX': ['10 mx.hoster.test']},
    'named.test': {'TXT': ['v=spf1 include:named.hoster.test -all']},
    'named.hoster.test': {'TXT': ['v=spf1 ip4:127.0.0.1 -all']},
    'relay.hoster.test': {'A': ['127.0.0.1']},
    'mx.hoster.test': {'A': ['127.0.0.1']},
    'lame.test': {'TXT': ['v=spf1 ?all']},
    '_dmarc.lame.test': 'SERVFAIL',
    **{f'u._domainkey.{d}.test': 'SERVFAIL' for d in ('bad', 'soft', 'lame', 'lists')},
    '_dmarc.soft.test': {'TXT': ['v=DMARC1; p=none']},
    'garbage.test': 'GARBAGE',
    'cut.test': 'TRUNCATE',
    '=cut.test': {'TXT': ['v=spf1 ip4:127.0.0.1 -all']},
    'lists.test': {'TXT': ['v=spf1 ip4:127.0.0.1 -all']},
}


def what_is_found_is_written_down(p):
    check('mail with SPF pass is taken', p.send(mail('good.test', 'one'), sender='ann@good.test') == 250)
    head = results(p, 'one')
    check('and Authentication-Results say so, every method', all(w in head for w in (
        'Authentication-Results: mx.example.test;', 'spf=pass smtp.mailfrom=ann@good.test', 'dkim=none', 'dmarc=pass header.from=good.test policy.dmarc=reject')), head)
    check('the log has the grade and its reason', p.wait_log(r'evidence .*grade=spf.*SPF passed for good\.test') is not None)
    false = b'Authentication-Results: mx.example.test; spf=pass; dmarc=pass header.from=bank.test\r\nAuthentication-Results: other.test; spf=pass\r\n' \
            b'authentication-results: "MX.example.test" 1; dkim=pass header.d=bank.test\r\n' \
            b'Authentication-Results: (x) "mx\\.example.tes\\t"; dmarc=pass header.from=bank.test\r\n'
    check('results of others', p.send(mail('none.test', 'two', false), sender='ann@none.test') == 250)
    head = results(p, 'two')
    check('that bear our name are removed, those of other names stay', 'bank.test' not in head and 'other.test; spf=pass' in head, head)
    check('and there is one of ours', len(re.findall(r'(?i)authentication-results: mx\.example\.test;', head)) == 1, head)
    check('+all passes', p.send(mail('none.test', 'three'), sender='ann@everybody.test') == 250)
    check('and proves nothing', p.wait_log(r'evidence .*spf=pass.*grade=none.*SPF passes for everybody') is not None)


def a_shared_hoster_proves_nobody(p):
    for count, (domain, by) in enumerate((('hosted', 'the host that a: names'), ('mxed', 'the hosts that mx names'), ('named', 'a record that is included')), 1):
        check(f'a pass by {by} below a listed hoster is taken', p.send(mail('none.test'), sender=f'ann@{domain}.test') == 250)
        check('and proves nothing', p.wait(lambda: len(re.findall(r'evidence .*spf=pass.*grade=none.*shared hoster', p.log_text())) == count), p.log_text()[-600:])


def the_policy_is_applied(p, key, other):
    check('p=reject is 550', p.send(mail('bad.test'), sender='ann@bad.test') == 550)
    with p.talk() as t:
        t.code('EHLO client.test'), t.code('MAIL FROM:<ann@bad.test>'), t.code('RCPT TO:<alice@example.test>'), t.code('DATA')
        t.raw(mail('bad.test') + b'.\r\n')
        code, lines = t.reply()
        check('5.7.1, and the text names the domain', code == 550 and '5.7.1' in lines[0] and 'bad.test' in lines[0], lines)
    check('a signature of the author makes it pass', p.send(signed(key, 'bad.test', mail('bad.test', 'four')), sender='ann@none.test') == 250)
    check('and is written down', 'dkim=pass header.d=bad.test' in results(p, 'four') and 'dmarc=pass' in results(p, 'four'), results(p, 'four'))
    broken = signed(key, 'bad.test', mail('bad.test', 'five')).replace(b'hello', b'hallo')
    check('a changed body does not', p.send(broken, sender='ann@none.test') == 550)
    check('a signature of another domain does not', p.send(signed(other, 'none.test', mail('bad.test', 'six')), sender='ann@none.test') == 550)
    check('p=quarantine is taken', p.send(mail('odd.test', 'seven'), sender='ann@odd.test') == 250)
    check('and tagged', 'X-Porter-Tags: dmarc-quarantine' in results(p, 'seven'), results(p, 'seven'))
    check('t=y is one step milder', p.send(mail('testing.test', 'eight'), sender='ann@testing.test') == 250)
    two = mail('good.test', 'nine', b'From: ceo@bank.test\r\n')
    check('two From fields are refused', p.send(two, sender='ann@good.test') == 550)
    check('a From that names two domains, too', p.send(mail('good.test').replace(b'From: Ann <ann@good.test>', b'From: a@good.test, b@bank.test'), sender='ann@good.test') == 550)
    for odd in ('ceo@bad.test <', '(ceo@bad.test', 'ceo@bad.test, root', '"Smith, Inc." , <ceo@bad.test>>', ', '.join(['ceo@bad.test'] * 200), 'Bad <c e o@ bad.test>',
                'Bad <c e o@ bad.test> (ann@none.test)', 'c e o @\t(x)bad.test', 'c e o@bad .test'):
        check(f'nor is it hidden by what is no address: {odd[:40]}', p.send(mail('bad.test').replace(b'Ann <ann@bad.test>', odd.encode()), sender='ann@none.test') == 550)
    for odd in (b'a b@"bad.test"', b'a b@[bad.test]', b'ann@[bad.test]', b'ceo@ba\xadd.test', b'=?utf-8?q?ceo=40bad.test?=', b'=?utf-8?b?Y2VvQGJhZC50ZXN0?=', b'"ceo@bad.test"', b'"ceo@bad.test"@none.test', b'c e o@bad (x).test',
                b'Bad <ceo@=?utf-8?q?bad.test?=>'):
        check(f'nor by what nobody can read for certain: {odd.decode("latin1")}', p.send(mail('bad.test').replace(b'Ann <ann@bad.test>', odd), sender='ann@none.test') == 550)
    for plain in (b'root', b'root@', b'Cron Daemon <root>', b'=?iso-8859-1?q?J=F6rg?=', b'=?utf-8?q?J=C3=B6rg?= <j@none.test>'):
        check(f'a From that shows no domain is taken: {plain.decode()}', p.send(mail('bad.test').replace(b'Ann <ann@bad.test>', plain), sender='ann@none.test') == 250)
    check('the subdomain of a rejecting domain is rejected', p.send(mail('sub.bad.test'), sender='ann@none.test') == 550)
    large = mail('bad.test', 'large').replace(b'hello', b'hello\r\n' + b'line of text  with blanks \r\n' * 8000)
    code = p.send(signed(key, 'bad.test', large), sender='ann@none.test')
    check('a large signed message passes, its body in a file', code == 250, code)
    check('with its results on top', 'dkim=pass header.d=bad.test' in results(p, 'large'), results(p, 'large')[:600])


def access_overrides(p):
    check('by-pass dmarc in the map access overrides the policy', p.send(mail('bad.test', 'passed'), sender='friend@none.test') == 250)
    check('for whom it names alone, and what was found is told all the same', p.send(mail('bad.test'), sender='foe@none.test') == 550 and 'dmarc=fail' in results(p, 'passed'), results(p, 'passed'))


def more_fields_than_can_be_read_hide_no_author(p):
    """A header section of nearly 1 MiB in fields of four bytes: what can't be walked can't be judged, and isn't taken."""
    code = p.send(mail('bad.test', 'fields', b'a:\r\n' * 250000), sender='ann@bad.test')
    check('a quarter of a million fields hide no forged author', code == 552, code)
    code = p.send(mail('bad.test', 'below', b'a:\r\n' * 9900), sender='ann@bad.test')
    check('and ten thousand are walked', code == 550, code)


def dns_misbehaves(p, key):
    check('SERVFAIL for the policy is 451', p.send(mail('lame.test'), sender='ann@lame.test') == 451)
    check('SERVFAIL for a key of the author is 451', p.send(signed(key, 'bad.test', mail('bad.test'), 'u'), sender='ann@none.test') == 451)
    check('for the key of somebody whose signature would not count it changes nothing: 550', p.send(signed(key, 'lame.test', mail('bad.test'), 'u'), sender='ann@none.test') == 550)
    check('nor does SPF that nobody can tell of a domain that would not count', p.send(mail('bad.test'), sender='ann@garbage.test') == 550)
    check('where the policy asks for nothing, nothing is put off', p.send(signed(key, 'soft.test', mail('soft.test', 'soft'), 'u'), sender='ann@none.test') == 250)
    check('and what was found is said', 'dkim=temperror' in results(p, 'soft') and 'dmarc=temperror' in results(p, 'soft'), results(p, 'soft'))
    check('garbage for SPF is a temperror and taken', p.send(mail('none.test', 'ten'), sender='ann@garbage.test') == 250)
    check('and said', 'spf=temperror' in results(p, 'ten'), results(p, 'ten'))
    check('a truncated answer is asked again over TCP', p.send(mail('none.test', 'eleven'), sender='ann@cut.test') == 250)
    check('and heard', 'spf=pass' in results(p, 'eleven'), results(p, 'eleven'))


def believed_seals_override(p, tmp, key, zone):
    text = mail('bad.test', 'twelve', b'Authentication-Results: lists.test; dmarc=pass header.from=bad.test\r\n')
    seal = lambda *more, selector='s': subprocess.run([CTL, 'auth', 'seal', '-', '--domain', 'lists.test', '--selector', selector, '--key', key, '--id', 'lists.test',
                                   '--dns', zone, *more], input=text, capture_output=True, check=True).stdout
    check('a sealed message that passed there, whose sealer is believed, is taken', p.send(seal(), sender='list@lists.test') == 250)
    check('with a tag', 'dmarc-arc' in results(p, 'twelve') and 'arc=pass' in results(p, 'twelve'), results(p, 'twelve'))
    unbelieved = subprocess.run([CTL, 'auth', 'seal', '-', '--domain', 'none.test', '--selector', 's', '--key', key, '--id', 'none.test', '--dns', zone],
                                input=text.replace(b'lists.test; dmarc', b'none.test; dmarc'), capture_output=True, check=True).stdout
    check('one of anybody else is not', p.send(unbelieved, sender='list@lists.test') == 550)
    code = p.send(seal(selector='u'), sender='list@lists.test')
    check('a believed seal whose key can not be asked for is 451: it would decide', code == 451, code)
    text = signed(key, 'bad.test', mail('bad.test', 'both', b'Authentication-Results: lists.test; dmarc=pass header.from=bad.test\r\n'), 'u')
    check('where a believed seal decides, a key that can not be asked for puts nothing off', p.send(seal(), sender='list@lists.test') == 250)
    text = mail('bad.test', 'nothing')
    code = p.send(seal(selector='u'), sender='list@lists.test')
    check('one that would not is 550', code == 550, code)
    text = mail('bad.test', 'thirteen', b'Authentication-Results: lists.test; dmarc=pass header.from=good.test\r\n')
    check('what passed for another author is no word for this one', p.send(seal(), sender='list@lists.test') == 550)
    text = mail('good.test', 'fourteen', b'Authentication-Results: lists.test; dmarc=pass\r\n')
    loose = seal('--headers', 'Subject').replace(b'ann@good.test', b'ann@bad.test')
    check('a seal that does not cover From says nothing about it', p.send(loose, sender='list@lists.test') == 550)


def spf_refuses(p):
    """spf-fail refuse: whoever is named, however often; by-pass spares whom it names, and nobody behind him."""
    def say(t, sender, names):
        t.say(f'MAIL FROM:<{sender}>')
        return [t.code(f'RCPT TO:<{n}@example.test>') for n in names]
    with p.talk() as t:
        t.say('EHLO c.test')
        codes = say(t, 'a@bad.test', ('alice', 'bob', 'alice')) + [t.code('DATA')]
        check('spf-fail refuse: each recipient is refused, not the first alone', codes == [550, 550, 550, 503], codes)
        t.say('RSET')
        codes = say(t, 'friend@bad.test', ('alice', 'bob'))
        t.say('RSET')
        codes += say(t, 'a@bad.test', ('alice',))
        check('by-pass spf spares the reverse-path that it names, and not the next one of that session', codes == [250, 250, 550], codes)


def main():
    tmp = BUILD / 't'
    tmp.mkdir(parents=True, exist_ok=True)
    key, record = make_key(tmp, 'evidence-1')
    other, other_record = make_key(tmp, 'evidence-2')
    zone = dict(ZONE)
    zone['s._domainkey.bad.test'] = zone['s._domainkey.lists.test'] = {'TXT': [record]}
    zone['s._domainkey.none.test'] = {'TXT': [other_record]}
    (tmp / 'evidence.zone').write_text('')
    with Dns(zone) as d, Porter('evidence', settings={'dns-resolvers': d.resolver, 'dns-timeout': '3', 'evidence': 'yes'}, maps={'sealers': 'lists.test', 'hosters': 'hoster.test', 'access': 'from:friend@none.test by-pass dmarc'}) as p:
        what_is_found_is_written_down(p)
        a_shared_hoster_proves_nobody(p)
        the_policy_is_applied(p, key, other)
        access_overrides(p)
        more_fields_than_can_be_read_hide_no_author(p)
        dns_misbehaves(p, key)
        believed_seals_override(p, tmp, key, tmp / 'evidence.zone')
    with Dns(zone) as d, Porter('spf-refuse', settings={'dns-resolvers': d.resolver, 'evidence': 'yes', 'spf-fail': 'refuse', 'dmarc-suffixes': 'builtin'}, maps={'access': 'from:friend@bad.test by-pass spf'}) as p:
        spf_refuses(p)
        codes = [p.send(mail(f'{d}.test'), sender='ann@none.test') for d in ('bad', 'sub.bad', 'none')]
        check('with dmarc-suffixes a subdomain has the policy of its organization, as RFC 7489 had it', codes == [550, 550, 250], codes)
    with Porter('anchor', start=False) as p:
        (p.etc / 'root.key').write_text('. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n')
        p.set({'dns-resolvers': '127.0.0.1@1', 'dns-timeout': '3', 'evidence': 'yes', 'dns-local-zones': 'yes', 'dns-trust-anchor': 'root.key'})
        p.start()
        p.send(sender='ann@local.test')
        check('a trust anchor beside porter.conf is read before the resolver has its own root', 'spf=none' in (p.wait_log(r'evidence .*spf=\S+') or [''])[0], p.log_text()[-600:])
        p.stop()
        p.set({'dns-trust-anchor': 'gone.key'})
        try:
            p.start(wait=0)                      # it never serves whole
        except RuntimeError:
            pass
        check('and one that can not be read is told', p.wait_log('dns-unusable .*trust anchor') is not None, p.log_text()[-600:])
    finish()


main()
