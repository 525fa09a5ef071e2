#!/usr/bin/env python3
"""tests/bench/rndr.py BENCH OUT [PEER[+best] ...]: who backscatters how. `porterctl rndr-check` against each server, as shipped and as its own documentation
hardens it, in the network namespace and the world of names that BENCH (the folder that measures mail servers side by side) makes for it; beside its verdicts the
counts of BENCH's attacks S5 (OUT/S5.jsonl). Writes OUT/rndr.json and prints the table of etc/doc/rndr.md. As root; each server takes up to eight minutes."""
import json, os, sys, threading
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
BENCH, OUT = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
sys.path.insert(0, str(BENCH / 'lib'))
os.environ.setdefault('BENCH_DRIVER_PORTER', str(TOP / 'tests/bench/porter'))
import host  # noqa: E402

PEERS = sys.argv[3:] or ['porter', 'postfix', 'postfix+best', 'exim', 'exim+best', 'opensmtpd', 'opensmtpd+best']
CTL = TOP / os.environ.get('PORTER_BUILD', 'build') / 'porterctl'
CATCHER = '127.0.1.20'

# Row: what is tried, the check's way, the same attack in S5 ('' where S5 has none); grouped by the addresses that a call of the check is given.
CALLS = [
    (['--known', 'user0@example.test', '--dead-alias', 'dangling@example.test', '--full', 'full@example.test', '--forward', 'dead@example.test', '--relayed', 'relay.test'], [
        ('unknown recipient', 'unknown', 'unknown'),
        ('one known and nine unknown', 'mixed', 'mixed'),
        ('dead alias', 'dead-alias', 'dangling'),
        ('full mailbox (LMTP store refuses)', 'full', 'full'),
        ('forward, refused at RCPT', 'forward', 'alias-rcpt'),
        ('relayed domain, refused at RCPT', 'relayed', 'relay-rcpt'),
        ('success report asked by a stranger', 'success-dsn', 'success-dsn'),
        ('too large, and not said', 'oversize', 'oversize'),
        ('120 Received fields', 'loop', 'loop'),
        ('unknown, quoted', 'quoted', ''),
        ('unknown, with a subaddress', 'subaddress', ''),
        ('null reverse-path to an unknown', 'null-sender', ''),
        ('a report to be passed on', 'report', '')]),
    (['--known', 'user0@example.test', '--forward', 'late@example.test', '--relayed', 'relaylate.test'], [
        ('forward, refused after the content', 'forward', 'alias-data'),
        ('relayed domain, refused after the content', 'relayed', 'relay-data'),
        ('several outcomes in one transaction', 'outcomes', '')]),
    (['--forward', 'fred@sys.example.test'], [
        ('a user\'s .forward, refused at RCPT', 'forward', 'forward')]),
]
WAIT_S = 120        # OpenSMTPD's queue takes a minute and more for some ways

real_zone = host.zone
host.zone = lambda: real_zone() + f'probe.test. MX 10 mx.probe.test.\nmx.probe.test. A {CATCHER}\nprobe.test. TXT "v=spf1 ?all"\n'


def check(peer, addresses, rows):
    flush = threading.Timer(WAIT_S / 2, peer.verb, ('flush',), {'check': False})      # as S5 does: what waits for the next run of the queue
    flush.start()
    p = peer.in_net(CTL, 'rndr-check', '127.0.0.1:25', '--domain', 'example.test', '--catch', f'{CATCHER}:25', '--probe-domain', 'probe.test', '--resolver', host.DNS,
                    '--ways', ','.join(way for _, way, _ in rows), *addresses, '--source', host.STRANGERS[0], '--wait', f'{WAIT_S}s', '--again', '5s', '--yes', '--json', timeout=WAIT_S + 300)
    flush.cancel()
    try:
        said = json.loads(p.stdout)
    except json.JSONDecodeError:
        raise RuntimeError(f'rndr-check {addresses}: exit {p.returncode}: {p.stdout[-300:]}{p.stderr[-300:]}') from None
    ways = {r['way']: r for r in said['ways']}
    return [dict(ways[way], row=what, s5=s5) for what, way, s5 in rows]


def verdicts(spec):
    name, _, variant = spec.partition('+')
    with host.Peer(name, variant or 'default') as peer:
        return [row for addresses, rows in CALLS for row in check(peer, addresses, rows)]


def counts(spec):
    """{way: (reports, attacks)} of the last S5 run of this server."""
    try:
        lines = [json.loads(line) for line in (OUT / 'S5.jsonl').read_text().splitlines()]
    except OSError:
        return {}
    return {r['way']: (r['backscatter'], r['n']) for r in lines if r['peer'] == spec and 'backscatter' in r}


def cell(row, counted):
    v = row['verdict']
    if 'bounced' in v:
        v = f'**bounced**, {row["returned_bytes"]:,} B' + (' with the body' if row['body_returned'] else '')
    return v + (f' · {counted[0]} of {counted[1]}' if counted else '')


def main():
    host.build()
    OUT.mkdir(parents=True, exist_ok=True)
    found = json.loads((OUT / 'rndr.json').read_text()) if (OUT / 'rndr.json').exists() else {}
    for spec in PEERS:
        found[spec] = verdicts(spec)
        (OUT / 'rndr.json').write_text(json.dumps(found, indent=1))
        print(f'# {spec}: {sum("bounced" in r["verdict"] for r in found[spec])} ways backscatter', file=sys.stderr, flush=True)
    specs = [s for s in PEERS if s in found]
    print('| way | ' + ' | '.join(specs) + ' |')
    print('|---' * (len(specs) + 1) + '|')
    for i, row in enumerate(found[specs[0]]):
        print(f'| {row["row"]} | ' + ' | '.join(cell(found[s][i], counts(s).get(row['s5'])) for s in specs) + ' |')


main()
