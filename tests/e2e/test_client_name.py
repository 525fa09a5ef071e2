#!/usr/bin/env python3
"""A client's name: what the reverse of its address says, believed only where the name leads back to the address. Who wants it: the keys ptr: of access, score-no-name, filters."""
import re, time
from dns import Dns
from porter import PATIENCE, SLOW, Porter, check, finish

MAIL = b'Subject: x\r\n\r\nhello\r\n'
ZONE = {'1.0.0.127.in-addr.arpa': {'PTR': ['mail.partner.test']}, 'mail.partner.test': {'A': ['127.0.0.1']},
        '2.0.0.127.in-addr.arpa': {'PTR': ['mail.partner.test']},                                   # a lie: it doesn't lead back
        '3.0.0.127.in-addr.arpa': {'PTR': ['away.test', 'Host-3.DIALUP.test']}, 'host-3.dialup.test': {'A': ['192.0.2.9', '127.0.0.3']},
        '5.0.0.127.in-addr.arpa': 'SERVFAIL', '6.0.0.127.in-addr.arpa': 'DROP',
        '7.0.0.127.in-addr.arpa': {'PTR': ['broken.test']}, 'broken.test': 'SERVFAIL',
        '8.0.0.127.in-addr.arpa': {'PTR': ['od\x01d (name].partner.test']}, 'od\x01d (name].partner.test': {'A': ['127.0.0.8']}}
COMMON = {'limit-exempt': '192.0.2.1/32', 'greet-delay': '0', 'evidence': 'no', 'dns-timeout': '2'}


def said(p, source):
    """The greeting's code, or the dot's where the client is greeted."""
    with p.talk(source=source, greet=False) as t:
        code = t.reply()[0]
        return t.deliver(MAIL) if code == 220 else code


def sessions(p):
    return sum(r['status']['open_sessions'] for r in p.status()['processes'] if r['role'] == 'smtpd' and r['status'])


def by_access(d):
    access = 'ptr:.dialup.test refuse 554 5.7.1 no dialup\nptr:mail.partner.test tag partner\n'
    with Porter('client-name', settings=dict(COMMON, **{'dns-resolvers': d.resolver}), maps={'access': access}) as p:
        check('a key ptr: tags the client whose confirmed name it is', said(p, '127.0.0.1') == 250 and [m for m in p.messages().values() if re.search(rb'X-Porter-Tags?: partner\n', m)], p.messages())
        check('the name stands in Received', any(b'(mail.partner.test [127.0.0.1])' in m for m in p.messages().values()), p.messages())
        p.clean()
        check('a name that does not lead back to the address is none', said(p, '127.0.0.2') == 250 and not [m for m in p.messages().values() if b'partner' in m], p.messages())
        check('of several names the one that leads back counts, in any case; its refusal is the greeting', said(p, '127.0.0.3') == 554 and 'key=ptr:.dialup.test' in p.log_text(), p.log_text()[-500:])
        p.clean()
        check('a name that is no host name is none', said(p, '127.0.0.8') == 250 and not [m for m in p.messages().values() if b'partner' in m], p.messages())
        began = time.monotonic()
        codes = [said(p, f'127.0.0.{n}') for n in (4, 5, 6, 7)]
        check('who has no name, or none that can be learnt, is served in bounded time', codes == [250] * 4 and time.monotonic() - began < PATIENCE * SLOW, codes)
        pids = p.roles()['smtpd']
        for _ in range(5):
            p.connect(source='127.0.0.6').close()
        check('who leaves while the name is asked for disturbs nobody', p.wait(lambda: sessions(p) == 0) and said(p, '127.0.0.4') == 250 and p.roles()['smtpd'] == pids, p.log_text()[-500:])
        p.map('access', '')
        check('where nobody wants a name none is asked for', p.ctl('compile').returncode == 0 and p.wait(lambda: not asks_for_name(d, p)))


def asks_for_name(d, p):
    with d.lock:
        d.asked.clear()
    said(p, '127.0.0.4')
    with d.lock:
        return [name for name, kind in d.asked if kind == 'PTR']


def by_score(d):
    with Porter('client-score', settings=dict(COMMON, **{'score-no-name': '5', 'score-refuse': '5', 'dns-resolvers': d.resolver})) as p:
        codes = [said(p, f'127.0.0.{n}') for n in (1, 2, 4)]
        check('score-no-name counts against who has no confirmed name, and nobody else', codes == [250, 550, 550], (codes, p.log_text()[-500:]))
        codes = [said(p, f'127.0.0.{n}') for n in (5, 6, 7)]
        check('but not while DNS can not tell', codes == [250] * 3, (codes, p.log_text()[-500:]))


with Dns(ZONE) as dns:
    by_access(dns)
    by_score(dns)
finish()
