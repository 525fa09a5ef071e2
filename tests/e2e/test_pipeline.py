"""PIPELINING without end: each of a hundred thousand commands in one run is answered, in one transaction, and leaves nothing behind."""
import os, re, threading, time
from pathlib import Path
from porter import BUILD, Porter, check, finish, may_look

COUNT = int(os.environ.get('PORTER_ROUNDS', '100000'))


def memory_kib(p):
    return may_look() and sum(int(re.search(r'Private_Dirty: +(\d+)', Path(f'/proc/{pid}/smaps_rollup').read_text())[1]) for pid in p.roles()['smtpd'])


def run(p, talk, count, command, reply):
    """(how many replies came, how many were others)"""
    def say():
        for first in range(0, count, 1000):
            talk.raw(b''.join(command % n for n in range(first, first + 1000)))
    speaker = threading.Thread(target=say, daemon=True)
    speaker.start()
    heard, other, rest = 0, 0, b''
    while heard < count:
        try:
            piece = talk.socket.recv(1 << 20)
        except TimeoutError:
            break
        if not piece:
            break
        *lines, rest = (rest + piece).split(b'\r\n')
        heard += len(lines)
        other += sum(not line.startswith(reply) for line in lines)
    return heard, other


with Porter('pipeline', settings={'log-level': 'error', 'max-commands': '10000000'}) as p:
    with p.talk(timeout=60) as t:
        t.say('EHLO c.test'), t.say('MAIL FROM:<stranger@outside.test>')
        run(p, t, 1000, b'RCPT TO:<first%d@example.test>\r\n', b'550 5.1.1')
        before, began = memory_kib(p), time.monotonic()
        got = run(p, t, COUNT, b'RCPT TO:<no%d@example.test>\r\n', b'550 5.1.1')
        took, after = time.monotonic() - began, memory_kib(p)
        print(f'row unknown recipients refused in one pipelined run: {got[0] / took:.0f}/s')
        check('every unknown recipient of one pipelined run is refused', got == (COUNT, 0), got)
        if 'asan' not in BUILD.parts and may_look():        # which keeps what is freed
            check('and costs the transaction no memory', after - before < 1024, (before, after))
        codes = [t.code('RCPT TO:<alice@example.test>'), t.code('RCPT TO:<nobody@example.test>'), t.code('RCPT TO:<bob@example.test>'), t.code('DATA')]
        t.raw(b'Subject: behind them\r\n\r\nx\r\n.\r\n')
        end = t.reply()[0]
        check('who is known among and behind them gets the message', codes == [250, 550, 250, 354] and end == 250 and len(p.messages('alice')) == len(p.messages('bob')) == 1, (codes, end))
        got = run(p, t, COUNT // 2, b'NOOP %d\r\n', b'250')
        check('so is every other command', got == (COUNT // 2, 0), got)
        check('the session goes on', t.code('MAIL FROM:<stranger@outside.test>') == 250 and t.code('RCPT TO:<alice@example.test>') == 250)
finish()
