#!/usr/bin/env python3
"""tests/bench/milter.py MILTER [RUNS [SECONDS [CLIENTS ...]]]: what one milter in between costs. Strangers' mail (4 KiB, a message a connection, by Postfix's smtp-source) into a Maildir, in turn
without a milter and with one that is told all there is and says `continue` to all of it (tests/bench/milter.c): messages a second and Porter's CPU s
for 1,000, medians, and the share."""
import statistics, subprocess, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import Porter, free_port  # noqa: E402
from unpack import environment, unpack  # noqa: E402

MILTER, RUNS, SECONDS, CLIENTS = sys.argv[1], int((sys.argv[2:3] or ['3'])[0]), float((sys.argv[3:4] or ['4'])[0]), [int(c) for c in sys.argv[4:] or ['1', '10', '100']]


def cpu_s(porter):
    ticks = 0
    for pid in porter.pids():
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


def source(porter, root, clients, n):
    """Messages a second of n."""
    began = time.monotonic()
    subprocess.run([root / 'usr/sbin/smtp-source', '-s', str(clients), '-m', str(n), '-l', '4096', '-f', 'stranger@outside.test', '-t', 'user@bench.test', f'127.0.0.1:{porter.mx}'],
                   env=environment(root), check=True, timeout=300)
    return n / (time.monotonic() - began)


def measure(porter, root, clients):
    rough = source(porter, root, clients, 50 * clients if clients < 100 else 2000)
    n, before = max(50, int(rough * SECONDS)), cpu_s(porter)
    rate = source(porter, root, clients, n)
    return rate, (cpu_s(porter) - before) * 1000 / n


def main():
    root, port = unpack('postfix', 'postfix'), free_port()
    if not root:
        sys.exit('milter.py needs Debian\'s postfix')
    maps = {'domains': 'bench.test mailbox', 'recipients': 'user@bench.test maildir'}
    found = {}
    milter = subprocess.Popen([MILTER, str(port)], stdin=subprocess.PIPE)
    try:
        for _ in range(RUNS):
            for name, milters in (('without', ''), ('with', f'one=127.0.0.1:{port}')):
                with Porter(f'bench-milter-{name}', settings={'milters': milters, 'evidence': 'no', 'log-level': 'warn', 'max-sessions-address': '1000'}, maps=maps) as p:
                    for clients in CLIENTS:
                        found.setdefault((clients, name), []).append(measure(p, root, clients))
    finally:
        milter.stdin.close()
        milter.wait(10)
    for clients in CLIENTS:
        plain, filtered = (statistics.median(r for r, _ in found[clients, name]) for name in ('without', 'with'))
        cpu = [statistics.median(c for _, c in found[clients, name]) for name in ('without', 'with')]
        print(f'{clients} clients: {plain:.0f} messages/s without a milter, {filtered:.0f} with one: {filtered / plain:.2f}; CPU s for 1,000: {cpu[0]:.2f} and {cpu[1]:.2f}')


main()
