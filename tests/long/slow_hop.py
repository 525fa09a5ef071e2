#!/usr/bin/env python3
"""tests/long/slow_hop.py [MESSAGES [SECONDS]]: MESSAGES (10,000) for a hop that answers a byte a minute. It gets few connections, somebody else's mail goes on at once, memory is bounded, and Porter
ends in order. SECONDS (400): how long the hop is watched; past its patience for a greeting (RFC 5321 4.5.3.2.1: five minutes) what hung there is put off."""
import socket, sys, threading, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from fairness import Hop, flood, submit  # noqa: E402
from memory import memory  # noqa: E402
from porter import BUILD, Porter, check, finish  # noqa: E402

BYTE_S, MESSAGES, WATCH_S = 60, 10000, 400


class Dribble:
    """One byte of `220 ...` a minute to each connection; how many there were, and at once."""

    def __init__(self):
        self.lock, self.total, self.open, self.most = threading.Lock(), 0, 0, 0
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=200)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            threading.Thread(target=self.session, args=(self.listener.accept()[0],), daemon=True).start()

    def session(self, client):
        with self.lock:
            self.total += 1
            self.open += 1
            self.most = max(self.most, self.open)
        try:
            with client:
                for byte in b'220 slow.test ESMTP, and much more that nobody waits for':
                    client.sendall(bytes([byte]))
                    client.settimeout(BYTE_S)
                    try:
                        if not client.recv(1000):
                            return
                    except TimeoutError:
                        pass
        except OSError:
            pass
        finally:
            with self.lock:
                self.open -= 1


def main(messages, seconds):
    slow, quick = Dribble(), Hop(0)
    quick.open.set()
    with Porter('slow-hop', settings={'evidence': 'no'},
                maps={'clients': '127.0.0.1 flood.test\n', 'routes': f'far.test [127.0.0.1]:{slow.port}\nother.test [127.0.0.1]:{quick.sink.port}\n'}) as p:
        began = time.monotonic()
        flood(p, messages)
        check('the slow hop is tried', p.wait(lambda: slow.total))
        code, said, _ = submit(p, quick, 'quick@example.test', 'ann@other.test')
        check('somebody else\'s message is taken', code == 250, code)
        check('and is there while all that waits', p.wait(lambda: quick.others.get('quick@example.test')) and sum(1 for _ in p.spool.glob('queue/*/*')) >= messages, slow.total)
        if 'quick@example.test' in quick.others:
            print(f'row slow-hop: somebody else\'s message {(quick.others["quick@example.test"][0] - said) * 1000:.0f} ms after its 250')
        if seconds:
            time.sleep(max(0, began + seconds - time.monotonic()))
            check('what hung is put off, with the reason', p.wait_log(r' deferred process=queue .*to=u\d+@far\.test'), p.log_text()[-500:])
        print(f'row slow-hop: {messages} messages, {slow.total} connections, {slow.most} at once, {sum(memory(p).values()) / 1024:.0f} MiB')
        check('it had few connections at once', slow.most <= 20, (slow.most, slow.total))
        if 'asan' not in str(BUILD):
            check('memory is bounded', sum(memory(p).values()) / 1024 < 60 + messages * 200 / 2**20, memory(p))
        check('it ends in order', p.stop(60) == 0, p.log_text()[-1000:])
        check('and everything waits on disk', sum(1 for _ in p.spool.glob('queue/*/*')) == messages)
    finish()


if __name__ == '__main__':
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES, float(sys.argv[2]) if len(sys.argv) > 2 else WATCH_S)
