#!/usr/bin/env python3
"""Every reply that explain foretells is the reply of the live server: 10,000 random addresses, limits off, the same quotas."""
import json, os, random, sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import Porter, check, finish, skip

N = int(os.environ.get('PORTER_ADDRESSES', '10200'))
rnd = random.Random(4)
users = [f'u{i}' for i in range(300)]

recipients, aliases = [], []
for i, u in enumerate(users):
    recipients.append(f'{u}@example.test' + (' quota=1k maildir' if i % 10 == 0 else ' size=2000' if i % 10 == 1 else ''))
for i in range(200):
    kind = rnd.random()
    key = f'a{i}@example.test' if i % 3 else f'a{i}'
    if kind < .1:
        aliases.append(f'{key} :refuse: 550 5.1.6 a{i} has left')
    elif kind < .2:
        aliases.append(f'{key} :defer: back soon')
    else:
        aliases.append(f'{key} ' + ', '.join(rnd.sample(users, rnd.randint(1, 4))))
MAPS = {
    '=domains': 'example.test mailbox\nexact.test mailbox case=exact delimiter=-\nother.test alias-of example.test\ngone.test refuse Moved\n'
                '*.sub.test mailbox catch-all=u1@example.test\nbücher.test alias-of example.test\nrelay.test relay [127.0.0.1]:9 recipients=relayed\n',
    '=recipients': '\n'.join(recipients) + '\nAnn@exact.test\n"john doe"@example.test\nalice@example.test\nbob@example.test\n',
    '=aliases': '\n'.join(aliases) + '\n',
    '=access': 'to:u7@example.test refuse 554 5.7.1 Not u7\nto:@x.sub.test defer\nfrom:bad@outside.test refuse\n',
    '=senders': '', '=clients': '', '=routes': '', '=relayed': 'known@relay.test\n',
}


def random_address():
    local = rnd.choice([rnd.choice(users), f'a{rnd.randint(0, 230)}', f'nobody{rnd.randint(0, 99)}', 'Ann', 'ann', 'postmaster', 'POSTMASTER', '"john doe"', '"u3"', 'ä', 'a..b', '-x',
                        "o'neil", '', 'x' * 65, '"un\\"closed'])
    if rnd.random() < .2:
        local += rnd.choice(['+tag', '-tag', '+', '++x'])
    if rnd.random() < .2:
        local = local.upper()
    domain = rnd.choice(['example.test'] * 8 + ['EXAMPLE.Test', 'other.test', 'exact.test', 'exact.test', 'gone.test', 'a.sub.test', 'x.sub.test', 'sub.test', 'xn--bcher-kva.test',
                                                'foreign.test', '[127.0.0.1]', '[300.1.1.1]', 'bad_domain', 'a..b', 'relay.test', 'x' * 64 + '.test', ''])
    return f'{local}@{domain}' if domain or rnd.random() < .5 else local


addresses = [random_address() for _ in range(N)]
addresses = [a for a in addresses if a.lower().lstrip('"') and '@relay.test' not in a.lower() or not a.lower().startswith(('known', 'postmaster'))]

with Porter('explain', maps=MAPS, settings={'limit-exempt': '127.0.0.0/8', 'max-recipients': '20000', 'max-errors': '100000', 'max-commands': '10000000'}) as p:
    full = p.maildir('u10') / 'new'
    for size in ('none', 'announced'):
        extra, size_option = ('', []) if size == 'none' else (' SIZE=5000', ['--size', '5000'])
        out = p.run([str(Path(os.environ.get('PORTER_BUILD', 'build')) / 'porterctl'), '-c', p.etc, 'explain', '--json', *size_option, '--from', 'someone@outside.test', '--client', '127.0.0.1', '-'],
                    input='\n'.join(addresses) + '\n')
        lines = out.stdout.splitlines()
        check(f'explain answers every line (SIZE {size})', len(lines) == len(addresses), f'{len(lines)} of {len(addresses)}: {out.stderr[-300:]}')
        foretold = [json.loads(l)['reply'] for l in lines]
        wrong, codes = [], {}
        with p.smtp() as s:
            s.ehlo()
            for i, a in enumerate(addresses):
                if i % 900 == 0:
                    s.docmd('RSET')
                    s.docmd('MAIL FROM:<someone@outside.test> SMTPUTF8' + extra)
                s.send(f'RCPT TO:<{a}>\r\n'.encode())
                code, text = s.getreply()
                live = f'{code} {text.decode()}'
                codes[code] = codes.get(code, 0) + 1
                if live != foretold[i]:
                    wrong.append((a, live, foretold[i]))
        check(f'{len(addresses)} replies of RCPT are those of explain (SIZE {size}), codes {codes}', not wrong, f'{len(wrong)}: {wrong[:5]}')
    reply = p.ctl('explain', '--json', '--from', 'bad@outside.test', 'u1@example.test')
    check('explain tells a refusal of MAIL as such', json.loads(reply.stdout)['stage'] == 'MAIL' and reply.returncode == 1, reply.stdout)
    text = p.ctl('explain', 'u1+x@other.test').stdout
    check('explain shows each look-up with map and line', 'domains:3' in text and 'recipients:2' in text and 'maildir' in text and '250 2.1.5' in text, text)
finish()
