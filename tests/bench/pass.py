#!/usr/bin/env python3
"""tests/bench/pass.py [MESSAGES [CLIENTS [REFUSALS]]]: pass-through to a sink, and refusals at RCPT in one pipelined run, with the memory before and behind it.

Postfix's own smtp-source (one message a connection, 4 KiB) hands in mail of strangers for a relayed domain (recipients=ask) whose next hop is Postfix's own smtp-sink: each message is asked for there at
RCPT and is there when the client hears 250. The clock is from the first connection to the last 250. The refusals are of one client that is exempt from limits, all in one transaction."""
import subprocess, sys, threading, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import Porter, free_port  # noqa: E402
from unpack import environment, unpack  # noqa: E402

MESSAGES, CLIENTS, REFUSALS = (int(a) for a in [*sys.argv[1:4], *('20000', '100', '400000')[len(sys.argv) - 1:]])


def cpu_s(porter):
    ticks = 0
    for pid in porter.pids():
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


def memory_kib(porter, role):
    return sum(int(line.split()[1]) for pid in porter.roles()[role] for line in Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines() if line.startswith('Pss:'))


def pass_through(porter, root, count):
    def source(n):
        subprocess.run([root / 'usr/sbin/smtp-source', '-s', str(CLIENTS), '-m', str(n), '-l', '4096', '-f', 'stranger@outside.test', '-t', 'user@relay.test', f'127.0.0.1:{porter.mx}'],
                       check=True, env=environment(root), stdout=subprocess.DEVNULL)
    source(500)
    cpu, began = cpu_s(porter), time.monotonic()
    source(count)
    took = time.monotonic() - began
    print(f'pass-through, {CLIENTS} clients: {count / took:.0f} messages/s, {(cpu_s(porter) - cpu) / count * 1000:.2f} CPU s for 1,000')


def refusals(porter, count):
    with porter.talk(timeout=300) as t:
        t.say('EHLO c.test'), t.say('MAIL FROM:<stranger@outside.test>')
        t.code('RCPT TO:<nobody@example.test>')
        before = memory_kib(porter, 'smtpd')
        began = time.monotonic()

        def say():
            for first in range(0, count, 1000):
                t.raw(b''.join(b'RCPT TO:<no%d@example.test>\r\n' % n for n in range(first, first + 1000)))
        speaker = threading.Thread(target=say)
        speaker.start()
        heard = bad = 0
        rest = b''
        while heard < count:
            piece = t.socket.recv(1 << 20)
            if not piece:
                break
            lines = (rest + piece).split(b'\r\n')
            rest = lines.pop()
            heard += len(lines)
            bad += sum(not line.startswith(b'550 5.1.1') for line in lines)
        took = time.monotonic() - began
        speaker.join()
        print(f'RCPT refusals, one pipelined run: {heard / took:.0f}/s ({heard} heard, {bad} other than 550 5.1.1), smtpd {before} -> {memory_kib(porter, "smtpd")} KiB')


def main():
    root, port = unpack('postfix', 'postfix'), free_port()
    if not root:
        sys.exit('pass.py needs the package postfix for smtp-source and smtp-sink')
    sink = subprocess.Popen([root / 'usr/sbin/smtp-sink', '-u', 'nobody', f'127.0.0.1:{port}', '1000'], env=environment(root), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with Porter('bench-pass', maps={'domains': f'relay.test relay [127.0.0.1]:{port} recipients=ask'}, settings={'log': '/dev/null'}) as p:
            pass_through(p, root, MESSAGES)
            refusals(p, REFUSALS)
    finally:
        sink.terminate()
        sink.wait()


main()
