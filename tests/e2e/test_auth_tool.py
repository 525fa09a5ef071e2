#!/usr/bin/env python3
"""porterctl auth: every command works without a configuration, takes --dns, --resolver, --now, --lax and --json, and tells the words of RFC 8601."""
import base64, json, subprocess, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from dns import Dns
from porter import BUILD, check, finish

CTL = BUILD / 'porterctl'
NOW = '2026-11-25T03:00:00Z'
MAIL = b'From: Ann <ann@x.test>\r\nTo: b@y.test\r\nSubject: s\r\nDate: Wed, 25 Nov 2026 02:31:09 +0000\r\nMessage-ID: <1@x.test>\r\n\r\nbody\r\n'
WORDS = {'spf': 'none neutral pass fail softfail policy temperror permerror', 'dkim': 'none pass fail policy neutral temperror permerror', 'dmarc': 'none pass fail temperror permerror',
         'arc': 'none pass fail temperror'}


def auth(*words, data=None):
    """Where no configuration is and none is named."""
    return subprocess.run([CTL, 'auth', *map(str, words)], input=data, capture_output=True, cwd='/', env={'PATH': '/usr/bin:/bin'}, timeout=60)


def told(*words, data=None):
    return json.loads(auth(*words, '--json', data=data).stdout)


def make(tmp):
    subprocess.run(['openssl', 'genrsa', '-traditional', '-out', tmp / 'key.pem', '2048'], check=True, capture_output=True)
    subprocess.run(['openssl', 'genrsa', '-traditional', '-out', tmp / 'short.pem', '512'], check=True, capture_output=True)
    public = {k: base64.b64encode(subprocess.run(['openssl', 'pkey', '-in', tmp / f'{k}.pem', '-pubout', '-outform', 'der'], check=True, capture_output=True).stdout).decode() for k in ('key', 'short')}
    records = {'x.test': ['v=spf1 ip4:192.0.2.0/24 include:inc.x.test -all'], 'inc.x.test': ['v=spf1 ?all'], 's._domainkey.x.test': ['v=DKIM1; k=rsa; p=' + public['key']],
               'short._domainkey.x.test': ['v=DKIM1; k=rsa; p=' + public['short']], '_dmarc.x.test': ['v=DMARC1; p=reject; np=quarantine']}
    text = '$ORIGIN test.\n$TTL 5m\n; neither SOA nor NS\n'
    for name, (value,) in records.items():
        text += f'{name.removesuffix(".test")} IN TXT (' + ' '.join(f'"{value[i:i + 200]}"' for i in range(0, len(value), 200)) + ')\n'
    (tmp / 'zone').write_text(text + 'x MX 10 mx.x\nmx.x A 192.0.2.1\n\tAAAA 2001:db8::1\n')
    (tmp / 'plain').write_bytes(MAIL)
    (tmp / 'signed').write_bytes(auth('sign', tmp / 'plain', '--domain', 'x.test', '--selector', 's', '--key', tmp / 'key.pem', '--now', NOW).stdout)
    (tmp / 'sealed').write_bytes(auth('seal', tmp / 'signed', *by(tmp), '--id', 'mx.x.test', '--dns', tmp / 'zone', '--now', NOW).stdout)
    (tmp / 'weak').write_bytes(auth('sign', tmp / 'plain', '--domain', 'x.test', '--selector', 'short', '--key', tmp / 'short.pem', '--now', NOW).stdout)
    return {name: {'TXT': value} for name, value in records.items()} | {'x.test': {'TXT': records['x.test'], 'MX': ['10 mx.x.test']},
                                                                            'mx.x.test': {'A': ['192.0.2.1'], 'AAAA': ['2001:db8::1']}}


def by(tmp):
    return '--domain', 'x.test', '--selector', 's', '--key', tmp / 'key.pem'


def every_command(tmp, resolver):
    envelope = '--client', '192.0.2.9', '--helo', 'h.x.test', '--from', 'ann@x.test'
    commands = {'check': ('check', tmp / 'signed', *envelope), 'spf': ('spf', 'x.test', *envelope, '--trace'), 'dkim': ('dkim', tmp / 'signed'), 'dmarc': ('dmarc', 'x.test'), 'arc': ('arc', tmp / 'sealed'),
                'sign': ('sign', tmp / 'plain', *by(tmp)), 'seal': ('seal', tmp / 'sealed', *by(tmp), '--id', 'mx.x.test'), 'dns': ('dns', 'x.test')}
    for name, words in commands.items():
        results = []
        for way in (('--dns', tmp / 'zone'), ('--resolver', resolver, '--timeout', '30000')):
            p, j = auth(*words, *way, '--now', NOW, '--lax'), auth(*words, *way, '--now', NOW, '--lax', '--json')
            check(f'auth {name} {way[0]} works without a configuration', p.returncode == j.returncode == 0 and p.stdout and not p.stderr, (p.stderr, j.stderr))
            results.append(json.loads(j.stdout))
        said = [{k: v for k, v in r.items() if k != 'dns' or name == 'dns'} for r in results]          # without the answers themselves, which tell how old they are
        check(f'auth {name}: a zone file and a resolver that serve the same give the same verdict', said[0] == said[1], said)
        for method, known in WORDS.items():
            for one in (lambda v: v if isinstance(v, list) else [v])(results[0].get(method, [])):
                check(f'auth {name}: {method} is told in RFC 8601\'s words', one['result'] in known.split(), one)
    whole = told(*commands['check'], '--dns', tmp / 'zone', '--now', NOW)
    check('check tells all verdicts', whole['spf']['result'] == 'pass' and whole['dkim'][0]['result'] == 'pass' and (whole['dkim'][0]['domain'], whole['dkim'][0]['selector']) == ('x.test', 's') and
          (whole['dmarc']['result'], whole['dmarc']['policy']) == ('pass', 'reject') and whole['arc']['result'] == 'none', whole)
    check('each DNS answer that was used', {a['name'] for a in whole['dns']} >= {'x.test', 's._domainkey.x.test', '_dmarc.x.test'} and all('records' in a and 'answer' in a for a in whole['dns']), whole['dns'])
    check('and each header\'s and body\'s hash', len(base64.b64decode(whole['dkim'][0]['header_hash'])) == len(base64.b64decode(whole['dkim'][0]['body_hash'])) == 32, whole['dkim'])
    check('check reads standard input', told('check', '-', '--dns', tmp / 'zone', '--now', NOW, data=(tmp / 'signed').read_bytes())['dkim'][0]['result'] == 'pass')


def what_the_options_do(tmp, resolver):
    zone = '--dns', tmp / 'zone'
    check('a name that is not in the zone file does not exist', told('spf', 'other.test', '--client', '192.0.2.9', *zone)['spf']['result'] == 'none')
    out = auth('spf', 'x.test', '--client', '203.0.113.5', *zone, '--trace')
    check('--trace goes step by step', out.returncode == 0 and all(w in out.stdout.decode() for w in ('ip4:192.0.2.0/24', 'include:inc.x.test', '-all')), out.stdout)
    check('and with --json, also of a policy', [a['name'] for a in told('dmarc', 'sub.x.test', *zone, '--trace')['dns']] == ['_dmarc.sub.x.test', '_dmarc.x.test', '_dmarc.test', 'sub.x.test'], told('dmarc', 'sub.x.test', *zone, '--trace'))
    check('a key of 512 bits fails', told('dkim', tmp / 'weak', *zone)['dkim'][0]['result'] == 'fail')
    check('and passes with --lax', told('dkim', tmp / 'weak', *zone, '--lax')['dkim'][0]['result'] == 'pass')
    (tmp / 'late').write_bytes(auth('sign', tmp / 'plain', *by(tmp), '--now', NOW, '--expires', '1d').stdout)
    clocks = [told('dkim', tmp / 'late', *zone, '--now', t)['dkim'][0]['result'] for t in (NOW, '1795600000', '1795700000', 'Fri, 27 Nov 2026 03:31:09 +0000')]
    check('--now is the clock', clocks == ['pass', 'pass', 'fail', 'fail'], clocks)
    fields = told('sign', tmp / 'plain', *by(tmp), '--now', NOW)['fields']
    check('sign --json tells the field alone, and it is the one that stands on top', len(fields) == 1 and (tmp / 'signed').read_bytes().startswith(fields[0].encode()), fields)
    sealed = told('seal', tmp / 'sealed', *by(tmp), '--id', 'mx.x.test', *zone)
    check('seal --json tells what the chain was worth, and the new set', sealed['arc'] == {'result': 'pass', 'instance': 1} and [f.split(':')[0] for f in sealed['fields']] ==
          ['ARC-Seal', 'ARC-Message-Signature', 'ARC-Authentication-Results'] and all('i=2' in f for f in sealed['fields']), sealed)
    again = auth('seal', tmp / 'sealed', *by(tmp), '--id', 'mx.x.test', *zone).stdout
    check('a second seal on top is good', told('arc', '-', *zone, data=again)['arc']['result'] == 'pass')
    with Dns({'s._domainkey.x.test': 'SERVFAIL'}) as d:
        p = auth('seal', tmp / 'sealed', *by(tmp), '--id', 'mx.x.test', '--resolver', d.resolver.replace('@', ':'))
        check('a chain that can not be judged now is not sealed as failed', p.returncode == 75 and b'cv=fail' not in p.stdout, (p.returncode, p.stdout[:100]))
    rows = {r['what']: r for r in told('dns', 'x.test', *zone)['dns']}
    check('dns tells what a domain should publish, and what it does', {'spf', 'dkim', 'dmarc', 'mta-sts', 'tlsrpt', 'dane'} <= rows.keys() and rows['spf']['published'].startswith('v=spf1') and
          rows['spf']['should'].startswith('v=spf1') and rows['tlsrpt']['verdict'] == 'missing', rows)
    rooted = told('spf', 'X.test.', '--client', '192.0.2.9', *zone)['spf']['result'], told('dmarc', 'x.test.', *zone)['dmarc']['policy'], told('dns', 'x.test.', *zone)['dns'][1]['verdict']
    check('a domain may end with the dot of the root', rooted == ('pass', 'reject', 'good'), rooted)
    (tmp / 'odd').write_text('$ORIGIN odd.test.\n@ MX 10 mx\n MX 20 mx2\n_mta-sts TXT "v=STSv1; id="\n_smtp._tls TXT "v=TLSRPTv1; rua=nobody"\n_25._tcp.mx TLSA 1 1 1 00\n_25._tcp.mx2 TLSA 3 1 1 ' + '00' * 32 +
                             '\nnone.odd.test. MX 0 .\n')
    rows = told('dns', 'odd.test', '--dns', tmp / 'odd')['dns']
    verdicts = [(r['what'], r['verdict']) for r in rows if r['what'] in ('mta-sts', 'tlsrpt', 'dane')]
    check('dns tells what is wrong with each', [v for _, v in verdicts] == ['no id=, or a wrong one', 'no rua= with mailto: or https:', 'SMTP takes usages 2 and 3 only', 'good'], verdicts)
    check('and all that is published', rows[0]['records'] == ['10 mx.odd.test', '20 mx2.odd.test'], rows[0])
    check('a null MX is one', told('dns', 'none.odd.test', '--dns', tmp / 'odd')['dns'][0]['verdict'].startswith('null MX'))
    (tmp / 'bad').write_text('$ORIGIN x.test.\n\n@ TXT "v=spf1 -all\n')
    p = auth('spf', 'x.test', '--client', '192.0.2.9', '--dns', tmp / 'bad')
    check('a wrong zone file is told with its line', p.returncode == 66 and f'{tmp}/bad, line 3: '.encode() in p.stderr, p.stderr)
    (tmp / 'fields').write_bytes(b'X: y\r\n' * 100001 + MAIL)
    codes = [auth('dkim', tmp / 'fields', *zone).returncode, auth('sign', tmp / 'fields', *by(tmp)).returncode, auth('seal', tmp / 'signed', '--domain', 'x.test', '--selector', 's', '--key', tmp / 'zone', '--id', 'i', *zone).returncode]
    check('what is read and makes no sense is told apart from what can not be read', codes == [65, 65, 65], codes)
    for words in (('spf', '--client', '192.0.2.9'), ('dns', 'a..b'), ('dmarc', ''), ('check',), ('check', tmp / 'none'), ('spf', 'x.test'), ('dkim', tmp / 'signed', '--what'), ('dkim', tmp / 'signed', '--now', 'soon'), ('spf', 'x.test', '--client', '1.2.3'), ('arc', tmp / 'signed', '--dns', tmp / 'none'),
                  ('dkim', tmp / 'signed', '--resolver', 'nowhere'), ('sign', tmp / 'plain', '--domain', 'x.test'), ('dmarc',)):
        p = auth(*words)
        check(f'auth {" ".join(str(w).split("/")[-1] for w in words)} is refused with a reason', p.returncode in (64, 65, 66) and p.stderr and not p.stdout, (p.returncode, p.stderr))


def main():
    tmp = BUILD / 't' / 'auth-tool'
    tmp.mkdir(parents=True, exist_ok=True)
    with Dns(make(tmp)) as d:
        resolver = d.resolver.replace('@', ':')
        every_command(tmp, resolver)
        what_the_options_do(tmp, resolver)
    finish()


main()
