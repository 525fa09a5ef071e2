#!/usr/bin/env python3
"""Keys by porterctl dkim: made, published, signing, rotated; and what submitted mail looks like then."""
import getpass, json, os, re, subprocess, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import BUILD, Porter, check, finish
from sink import Sink

DOMAIN = 'example.test'


def keys_and_records(p):
    zone = p.dir / 'zone'
    zone.write_text('')
    out = p.ctl('dkim', 'new', DOMAIN, '--bits', '1024')
    check('dkim new makes two keys and prints their records', out.returncode == 0 and out.stdout.count('IN TXT ("') + out.stdout.count('IN TXT ( "') == 2, out.stdout + out.stderr)
    keys = json.loads(p.ctl('dkim', 'show', DOMAIN, '--json').stdout)['keys']
    check('one of RSA and one of Ed25519, neither signs yet', sorted(k['algorithm'] for k in keys) == ['ed25519', 'rsa'] and not any(k['signing'] for k in keys), keys)
    files = list((p.etc / 'keys').glob(f'*._domainkey.{DOMAIN}.pem'))
    check('their files are for root alone', len(files) == 2 and all(f.stat().st_mode & 0o77 == 0 for f in files), files)
    out = p.ctl('dkim', 'rotate', DOMAIN, '--dns', zone)
    check('they don\'t sign before they are published', out.returncode == 1 and 'not published' in out.stderr, out.stderr)
    zone.write_text(p.ctl('dkim', 'show', DOMAIN).stdout)
    out = p.ctl('dkim', 'check', DOMAIN, '--dns', zone)
    check('what show prints is what DNS should say', out.returncode == 0 and out.stdout.count('published: yes') == 2, out.stdout + out.stderr)
    out = p.ctl('dkim', 'rotate', DOMAIN, '--dns', zone)
    check('then they do', out.returncode == 0, out.stdout + out.stderr)
    keys = json.loads(p.ctl('dkim', 'show', DOMAIN, '--json').stdout)['keys']
    rows = json.loads(subprocess.run([BUILD / 'porterctl', '-c', p.etc, 'auth', 'dns', DOMAIN, '--dns', zone, '--json'], capture_output=True).stdout)['dns']
    check('auth dns with this configuration asks for its keys and its host', {(r['should'], r['published'], r['verdict']) for r in rows if r['what'] == 'dkim'} == {(k['record'], k['record'], 'good') for k in keys} and
          rows[0]['should'] == '10 mx.example.test', rows)
    check('and show says so', all(k['signing'] for k in keys), keys)
    return zone


def submit(p, subject, sender='alice@example.test'):
    with p.talk(port=p.submission) as t:
        code = t.login()
        if code != 235:
            return code
        return t.deliver(f'From: {sender}\r\nTo: bob@example.test\r\nSubject: {subject}\r\n\r\nsigned  text \r\n'.encode(), ['bob@example.test'], sender)


def delivered(p, subject):
    for raw in p.messages('bob').values():
        if f'Subject: {subject}\n'.encode() in raw:
            return raw
    return b''


def verdicts(p, raw, zone):
    head, _, rest = raw.partition(b'\n')
    out = subprocess.run([BUILD / 'porterctl', 'auth', 'dkim', '-', '--dns', zone, '--json'], input=rest if head.startswith(b'Return-Path') else raw, capture_output=True)
    return [(d['result'], d['selector']) for d in json.loads(out.stdout)['dkim']]


def mail_is_signed(p, zone):
    code = submit(p, 'first')
    check('submitted mail is taken', code == 250, code)
    raw = delivered(p, 'first')
    found = verdicts(p, raw, zone)
    check('and bears two good signatures', [r for r, _ in found] == ['pass', 'pass'], (found, raw[:600]))
    check('that oversign From, To, Subject and Date', re.search(rb'h=From:From', raw) is not None and all(raw.count(n) >= 1 for n in (b':To:To', b':Subject:Subject')), raw[:600])
    return found


def keys_are_rotated(p, zone, old):
    out = p.ctl('dkim', 'rotate', DOMAIN, '--dns', zone)
    check('rotate makes the next keys', out.returncode == 0 and out.stdout.count('IN TXT') == 2, out.stdout + out.stderr)
    check('the old ones sign still', submit(p, 'second') == 250 and verdicts(p, delivered(p, 'second'), zone) == old)
    zone.write_text(p.ctl('dkim', 'show', DOMAIN).stdout)
    out = p.ctl('dkim', 'rotate', DOMAIN, '--dns', zone)
    check('and once they are published, lets them sign', out.returncode == 0, out.stderr)
    code = submit(p, 'third')       # the house had taken the new generation of maps when the command ended
    new = verdicts(p, delivered(p, 'third'), zone) if code == 250 else []
    check('new mail is signed by the new keys', code == 250 and [r for r, _ in new] == ['pass', 'pass'] and {s for _, s in new}.isdisjoint({s for _, s in old}), (code, new, old))
    check('old signatures can be checked still', all(r == 'pass' for r, _ in verdicts(p, delivered(p, 'first'), zone)))


def reports_are_signed(p, zone, hop):
    check('a client that is listed for its domain writes to somebody abroad who does not exist', p.send(b'Subject: out\r\n\r\nx\r\n', 'no@far.test', 'ann@remote.test') == 250)
    check('its report goes out of the house', p.wait(lambda: hop.messages), p.log_text()[-1500:])
    if hop.messages:
        m = hop.messages[0]
        found = verdicts(p, m.content, zone)
        check('to the proven reverse-path, under a null one', (m.sender, m.recipients) == ('', ['ann@remote.test']), (m.sender, m.recipients))
        check('and bears two good signatures of its From', [r for r, _ in found] == ['pass', 'pass'], (found, m.content[:1500]))


def written(sender, subject):
    return f'From: {sender}\r\nTo: bob@example.test\r\nSubject: {subject}\r\n\r\nx\r\n'.encode()


def keys_vouch_for_nobody_else(p, zone):
    def hand_in(subject, sender, path):
        r = subprocess.run([BUILD / 'sendmail', '-C', str(p.etc), '-i', '-f', path, 'bob@example.test'], input=written(sender, subject), capture_output=True, timeout=60)
        return r.returncode == 0 and [v for v, _ in verdicts(p, delivered(p, subject), zone)]
    mine = f'{me}@example.test'
    check('what a user writes under his own address is signed', hand_in('his own', mine, mine) == ['pass', 'pass'])
    check('under another one of the domain it is not', hand_in('not his', 'alice@example.test', mine) == [])
    check('nor under the null reverse-path', hand_in('null', 'alice@example.test', '<>') == [])
    p.send(written('alice@example.test', 'client'), 'bob@example.test', 'ann@remote.test')
    check('a client signs for no domain that clients does not grant it', delivered(p, 'client') and verdicts(p, delivered(p, 'client'), zone) == [])
    p.map('clients', '127.0.0.1 remote.test, example.test\n')
    p.compile()
    p.send(written('alice@example.test', 'granted'), 'bob@example.test', 'ann@remote.test')
    check('for one that it does, on port 25, too', [v for v, _ in verdicts(p, delivered(p, 'granted'), zone)] == ['pass', 'pass'], delivered(p, 'granted')[:800])


me = getpass.getuser() if os.geteuid() else 'root'
def signing_can_be_switched_off(p, zone):
    p.stop()
    p.set({'dkim-sign': 'no'})
    p.start()
    check('with dkim-sign no nothing that is handed in is signed', submit(p, 'bare') == 250 and delivered(p, 'bare') and verdicts(p, delivered(p, 'bare'), zone) == [], delivered(p, 'bare')[:800])


def shown(p, domain=DOMAIN):
    return {k['selector']: k for k in json.loads(p.ctl('dkim', 'show', domain, '--json').stdout)['keys']}


def file_of(p, selector, ending='pem', domain=DOMAIN):
    return p.etc / 'keys' / f'{selector}._domainkey.{domain}.{ending}'


def old_keys_end(p, zone, old):
    keys, selectors = shown(p), {s for _, s in old}
    check('show says which keys are old, and that their records stay for a week', {s for s, k in keys.items() if k['state'] == 'old'} == selectors and
          all(abs(keys[s]['publish_until'] - time.time() - 7 * 86400) < 600 for s in selectors), keys)
    whole = zone.read_text()
    new = ''.join(l + '\n' for l in whole.splitlines() if not any(l.startswith(s + '._') for s in selectors))
    zone.write_text(new)
    out = p.ctl('dkim', 'check', DOMAIN, '--dns', zone)
    check('check says that an old key\'s record is gone too early', out.returncode == 1 and 'before its time' in out.stderr, (out.returncode, out.stderr))
    zone.write_text(whole)
    check('with it, all is well', p.ctl('dkim', 'check', DOMAIN, '--dns', zone).returncode == 0)
    for k in keys:              # as after a restore of the folder without its times
        os.utime(file_of(p, k), (1e9, 1e9))
    out = p.ctl('dkim', 'rotate', DOMAIN, '--dns', zone)
    check('old keys don\'t sign again, whatever their files\' times', out.returncode == 0 and 'Publish' in out.stderr and {s for s, k in shown(p).items() if k['signing']}.isdisjoint(selectors), out.stderr)
    made = {s for s, k in shown(p).items() if k['state'] == 'made'}
    for s in made:
        file_of(p, s).unlink()
    for s in selectors:
        os.utime(file_of(p, s, 'old'), (time.time() - 8 * 86400,) * 2)
    check('past the week show gives their records no more', not any(l.startswith(tuple(s + '._' for s in selectors)) for l in p.ctl('dkim', 'show', DOMAIN).stdout.splitlines()))
    p.ctl('dkim', 'rotate', DOMAIN, '--dns', zone)
    check('they are kept as long as their records are there', selectors <= shown(p).keys(), shown(p))
    zone.write_text(new)
    out = p.ctl('dkim', 'rotate', DOMAIN, '--dns', zone)
    check('and go with them', selectors.isdisjoint(shown(p)) and not any(file_of(p, s, 'old').exists() for s in selectors) and 'is removed' in out.stderr, (shown(p), out.stderr))


def wrong_ways(p, zone):
    d = 'other.test'
    for what, words in (('a selector that leads elsewhere', ('new', d, '--selector', '../x')), ('one with a blank', ('new', d, '--selector', 'a b')), ('a long one', ('new', d, '--selector', 'a' * 51)),
                        ('a domain that leads elsewhere', ('new', '../../x')), ('bits with something behind them', ('new', d, '--bits', '2048x')), ('a resolver that is none', ('check', d, '--resolver', 'nowhere'))):
        out = p.ctl('dkim', *words)
        check(f'{what} is refused', out.returncode == 64 and out.stderr and not list(p.dir.glob('**/x._domainkey*')), (out.returncode, out.stderr))
    p.ctl('dkim', 'new', d, '--bits', '1024', '--sign')
    zone.write_text(p.ctl('dkim', 'show', d).stdout)
    p.ctl('dkim', 'rotate', d, '--dns', zone)
    made = {s: k['algorithm'] for s, k in shown(p, d).items() if k['state'] == 'made'}
    check('both kinds are made', sorted(made.values()) == ['ed25519', 'rsa'], made)
    ed = next(s for s, a in made.items() if a == 'ed25519')
    file_of(p, ed, domain=d).unlink()
    zone.write_text(p.ctl('dkim', 'show', d).stdout)
    out = p.ctl('dkim', 'rotate', d, '--dns', zone)
    check('where one is missing it is made first: RSA alone does not follow both', out.returncode == 0 and 'Publish' in out.stderr and not any(shown(p, d)[s]['signing'] for s in made if s != ed), out.stderr)
    zone.write_text(p.ctl('dkim', 'show', d).stdout)
    file_of(p, ed, domain=d).chmod(0o644)
    out = p.ctl('dkim', 'rotate', d, '--dns', zone)
    check('a key that others may read does not begin to sign', out.returncode == 1 and 'chmod' in out.stderr and not shown(p, d)[ed]['signing'], out.stderr)
    file_of(p, ed, domain=d).chmod(0o600)
    file_of(p, 'half', domain=d).write_text('-----BEGIN')
    out = p.ctl('dkim', 'rotate', d, '--dns', zone)
    signing = sorted(k['algorithm'] for k in shown(p, d).values() if k['signing'])
    check('half a key file stops nothing', out.returncode == 0 and signing == ['ed25519', 'rsa'], (out.stderr, signing))
    key = next(s for s, k in shown(p, d).items() if k['signing'])
    file_of(p, key, domain=d).chmod(0o644)
    p.ctl('reload')
    check('a running house says whose file others may read', p.wait_log(rf'key-file-readable.*{key}'))


def side_by_side(p, zone):
    """Commands at once, and some killed in the middle: after each the domain has whole keys, and both kinds sign or both don't."""
    d = 'busy.test'
    def rotate():
        return subprocess.Popen([BUILD / 'porterctl', '-c', p.etc, 'dkim', 'rotate', d, '--dns', zone], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    two = [rotate(), rotate()]
    codes = [(q.wait(), q.stderr.read()) for q in two]
    kinds = sorted(k['algorithm'] for k in shown(p, d).values())
    check('two at once make one pair', kinds == ['ed25519', 'rsa'], (codes, shown(p, d)))
    wrong, killed = [], 0
    for i in range(12):
        zone.write_text(p.ctl('dkim', 'show', d).stdout)
        q = rotate()
        time.sleep(.02 * i)
        killed += q.poll() is None
        q.kill()
        q.wait()
        keys = shown(p, d)
        if sorted(k['algorithm'] for k in keys.values() if k['signing']) not in ([], ['ed25519', 'rsa']) or not all(k['record'] for k in keys.values()):
            wrong.append(keys)
    check('a rotate that is killed leaves neither half a key nor half a change', not wrong and killed, (killed, wrong))
    for _ in range(3):
        zone.write_text(p.ctl('dkim', 'show', d).stdout)
        out = p.ctl('dkim', 'rotate', d, '--dns', zone)
    signing = [s for s, k in shown(p, d).items() if k['signing']]
    check('and the next one goes on from there', out.returncode == 0 and len(signing) == 2 and 'busy.test' in (p.etc / 'signers').read_text(), (out.stderr, shown(p, d)))
    macs = p.etc / 'keys/mac-keys'
    two = [subprocess.Popen([BUILD / 'porterctl', '-c', p.etc, 'keys', 'rotate', 'srs'], stdout=subprocess.DEVNULL) for _ in range(3)]
    before = [q.wait() for q in two]
    check('three new keys for SRS at once are three', before == [0, 0, 0] and sum(l.startswith('srs ') for l in macs.read_text().splitlines()) == 4, macs.read_text().count('srs '))


def many_domains(p):
    """A house of three hundred domains, each with a key of its own."""
    key = next((p.etc / 'keys').glob(f'*e*._domainkey.{DOMAIN}.pem'))
    for i in range(300):
        shutil.copy(key, key.with_name(f'{key.name.split(".")[0]}._domainkey.d{i}.test.pem'))
    p.ctl('reload')
    def held():
        return [(r['status'] or {}).get('keys') for r in p.status()['processes'] if r['role'] == 'keeper' and not r['draining']]
    check('the keeper holds the keys of three hundred domains', p.wait(lambda: any(n and n > 300 for n in held())), held())


hop = Sink(rcpt=lambda a: '550 5.1.1 no such user' if a.startswith('no') else None)
with Porter('dkim', maps={'senders': f'unix:{me} {me}@example.test\n', 'clients': '127.0.0.1 remote.test\n', 'routes': f'far.test [127.0.0.1]:{hop.port}\nremote.test [127.0.0.1]:{hop.port}\n'}) as p:
    zone = keys_and_records(p)
    old = mail_is_signed(p, zone)
    reports_are_signed(p, zone, hop)
    keys_are_rotated(p, zone, old)
    keys_vouch_for_nobody_else(p, zone)
    signing_can_be_switched_off(p, zone)
finish()
