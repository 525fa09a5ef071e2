"""What porterctl explain foretells, beside what the live server says."""
import json
from porter import BUILD, check


def rcpt_all(p, s, some, mail, each=200):
    """What the live server says to each; addresses that are passed on have a transaction of their own, since one holds one next hop."""
    live = []
    for i, a in enumerate(some):
        if i % each == 0:
            s.docmd('RSET')
            s.docmd(mail)
        s.send(f'RCPT TO:<{a}>\r\n'.encode())
        code, text = s.getreply()
        live.append(f'{code} {text.decode()}')
    return live


def foretell(p, some, *options):
    out = p.run([BUILD / 'porterctl', '-c', p.etc, 'explain', '--json', *options, '-'], input='\n'.join(some) + '\n')
    lines = [json.loads(l) for l in out.stdout.splitlines()]
    check(f'explain answers every line ({" ".join(map(str, options))})', len(lines) == len(some), f'{len(lines)} of {len(some)}: {out.stderr[-300:]}')
    return [l['reply'] for l in lines]


def compare(what, some, live, foretold):
    lately = lambda reply: reply.replace('could not be reached lately', "can't be reached")     # what a server remembers of a dead hop, a command does not
    wrong = [(a, l, f) for a, l, f in zip(some, live, foretold) if lately(l) != lately(f)]
    codes = {}
    for l in live:
        codes[l[:3]] = codes.get(l[:3], 0) + 1
    check(f'{len(some)} replies of RCPT are those of explain ({what})', not wrong and len(foretold) == len(live), f'{len(wrong)}: {wrong[:5]}')
    print(f'# {what}: {dict(sorted(codes.items()))}')
