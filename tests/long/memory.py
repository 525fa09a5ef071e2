#!/usr/bin/env python3
"""tests/long/memory.py [MESSAGES [ABORTED]]: memory stays flat. Proportional set sizes of all processes together, and of each role, after a tenth
of the messages and after all of them; then the same for sessions that are cut off in the middle of their content."""
import re, socket, sys, threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import Porter, check, finish  # noqa: E402

THREADS = 20
CONTENT = b'Subject: memory\r\n\r\n' + b'x' * 70 + b'\r\n'


def pss_kib(pid):
    try:
        return int(re.search(r'^Pss:\s+(\d+)', Path(f'/proc/{pid}/smaps_rollup').read_text(), re.M)[1])
    except (OSError, TypeError):
        return 0


def memory(porter):
    return {role: sum(pss_kib(p) for p in pids) for role, pids in porter.roles().items()}


def one_message(porter, talk):
    for line in ('MAIL FROM:<a@outside.test>', 'RCPT TO:<alice@example.test>', 'DATA'):
        talk.say(line)
    talk.raw(CONTENT + b'.\r\n')
    return talk.reply()[0] == 250


def send_many(porter, count):
    with porter.talk() as talk:
        talk.say('EHLO client.test')
        for i in range(count):
            if not one_message(porter, talk):
                return


def abort_many(porter, count):
    for _ in range(count):
        try:
            with porter.talk() as talk:
                talk.raw(b'EHLO c\r\nMAIL FROM:<a@outside.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n' + CONTENT)
                talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        except OSError:
            pass


def together(work, porter, count):
    threads = [threading.Thread(target=work, args=(porter, count // THREADS)) for _ in range(THREADS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    porter.clean()


def stays_flat(what, work, porter, count):
    together(work, porter, count // 10)
    before = memory(porter)
    together(work, porter, count - count // 10)
    after = memory(porter)
    grown = sum(after.values()) - sum(before.values())
    print(f'row memory: {what}: {before} KiB -> {after} KiB')
    check(f'memory is flat after {count} {what}', grown < 2048, f'{grown} KiB more')


def main():
    messages, aborted = (int(a) for a in (sys.argv[1:] + ['100000', '100000'])[:2])
    with Porter('memory', settings={'log-level': 'error'}) as porter:
        stays_flat('messages', send_many, porter, messages)
        stays_flat('aborted sessions', abort_many, porter, aborted)
    finish()


if __name__ == '__main__':
    main()
