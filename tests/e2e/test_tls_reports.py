#!/usr/bin/env python3
"""porterctl tls-reports: what others tell of TLS with us (RFC 8460), as mail, packed or plain; members in any order, several policies, numbers as numbers, what is none."""
import copy, email.mime.application, email.mime.multipart, gzip, json, random, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import Porter, check, finish  # noqa: E402

p = Porter('tls-reports', start=False)
report = {
    'organization-name': 'Example "Inc"', 'date-range': {'start-datetime': '2026-04-01T00:00:00Z', 'end-datetime': '2026-04-01T23:59:59Z'}, 'contact-info': 'tls@there.test', 'report-id': '1',
    'policies': [
        {'policy': {'policy-type': 'sts', 'policy-string': ['version: STSv1', 'mode: testing', 'mx: *.mail.here.test', 'max_age: 86400'], 'policy-domain': 'here.test', 'mx-host': '*.mail.here.test'},
         'summary': {'total-successful-session-count': 5326, 'total-failure-session-count': 303},
         'failure-details': [{'result-type': 'certificate-expired', 'sending-mta-ip': '2001:db8::1', 'receiving-mx-hostname': 'mx1.mail.here.test', 'failed-session-count': 100},
                             {'result-type': 'validation-failure', 'receiving-ip': '203.0.113.58', 'receiving-mx-hostname': 'mx2.mail.here.test', 'failed-session-count': 203,
                              'failure-reason-code': 'PROXY\x1b[31m'}]},
        {'policy': {'policy-type': 'no-policy-found', 'policy-domain': 'other.test'}, 'summary': {'total-successful-session-count': 7, 'total-failure-session-count': 0}}]}
WANTED = ['2026-04-01  here.test  sts  good 5326 bad 303  from Example \\"Inc\\"', '    100 certificate-expired mx1.mail.here.test',
          '    203 validation-failure mx2.mail.here.test 203.0.113.58 PROXY\\x1b[31m', '2026-04-01  other.test  no-policy-found  good 7 bad 0  from Example \\"Inc\\"']


def read(content, *words):
    (p.dir / 'file').write_bytes(content)
    return p.ctl(*words, 'tls-reports', p.dir / 'file')


def shuffled(x, chance):
    """The same, members of each object in another order."""
    if isinstance(x, list):
        return [shuffled(v, chance) for v in x]
    if not isinstance(x, dict):
        return x
    names = list(x)
    chance.shuffle(names)
    return {n: shuffled(x[n], chance) for n in names}


plain = json.dumps(report).encode()
mail = email.mime.multipart.MIMEMultipart('report', report_type='tlsrpt')
mail.attach(email.mime.application.MIMEApplication(gzip.compress(plain), 'tlsrpt+gzip'))
for what, content in (('plain JSON', plain), ('packed JSON', gzip.compress(plain)), ('a mail', mail.as_bytes())):
    r = read(content)
    check(f'{what} is read: each policy with its failures, where they were and why', r.returncode == 0 and r.stdout.splitlines() == WANTED, r.stdout + r.stderr)
orders = [read(json.dumps(shuffled(copy.deepcopy(report), random.Random(n))).encode()).stdout.splitlines() for n in range(10)]
check('members in any order', all(o == WANTED for o in orders), [o for o in orders if o != WANTED][:1])
rows = json.loads(read(plain, '--json').stdout)
check('as JSON, numbers are numbers', [r.get('good', r.get('count')) for r in rows] == [5326, 100, 203, 7] and rows[2]['reason'] == 'PROXY\x1b[31m' and rows[2]['domain'] == 'here.test', rows)
for what, content in (('half a report', plain[:200]), ('something else', b'{"a": 1}'), ('nothing', b''), ('a policy past any count', b'{"policies": {"99999999999": {"policy": {"policy-type": "sts"}}}}')):
    r = read(content)
    check(f'{what} is none', r.returncode == 65 and 'no TLS report' in r.stderr and not r.stdout, r)
p.down()
finish()
