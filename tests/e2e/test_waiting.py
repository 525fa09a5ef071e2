#!/usr/bin/env python3
"""Messages that are not tried, since they wait behind others for a place that answers nobody: their sender is told of the delay and of the end all the same."""
import re, socket, subprocess, threading
from porter import BUILD, Porter, check, finish
from sink import Sink

MESSAGES, OVER, DEAD, AT_ONCE, LIFETIME_S, DELAYED_S = 60, 30, 40, 20, 5 * 86400, 5 * 3600


class Mute:
    """Takes connections and never says a word."""

    def __init__(self):
        self.clients, self.listener = [], socket.create_server(('127.0.0.1', 0), backlog=200)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            self.clients.append(self.listener.accept()[0])


def told_of(sink, action):
    """The recipients of whom reports told that."""
    return [m[1] for r in sink.messages if re.search(rb'^Action: ' + action, r.content, re.M) and (m := re.search(rb'^Final-Recipient: rfc822; *(\S+)', r.content, re.M))]


def check_told(what, action, least, most):
    """At least so many, each once: who is tried just now may have been told before he was."""
    check(what, p.wait(lambda: len(told_of(told, action)) >= least, 30), len(told_of(told, action)))
    names = told_of(told, action)
    check('and once', len(set(names)) == len(names) <= most, sorted(names))


def fill(p, count, place, age):
    subprocess.run([BUILD / 'e2e/fill_spool', p.spool, str(count), '1', '0', place, str(age)], check=True, timeout=60)


mute, told = Mute(), Sink()
with Porter('waiting', start=False, settings={'evidence': 'no', 'report-rate': '100000', 'queue-place-jobs': str(AT_ONCE)},
            maps={'clients': '127.0.0.1 flood.test\n', 'routes': f'flood.test [127.0.0.1]:{told.port}\n'}) as p:
    p.start()
    p.stop()
    fill(p, MESSAGES, f'[127.0.0.1]:{mute.port}', DELAYED_S)
    p.start()
    check('the place is tried', p.wait(lambda: mute.clients))
    check_told('who waits behind what is tried is told of the delay', b'delayed', MESSAGES - AT_ONCE, MESSAGES)
    p.kill()
    fill(p, OVER, f'[127.0.0.1]:{mute.port}', LIFETIME_S + 60)
    p.start()
    check_told('and of the end, when the time is over', b'failed', OVER, OVER)
    failed = next((m.content for m in told.messages if re.search(rb'^Action: failed', m.content, re.M)), b'')
    check('with the last answer word for word', b'the last answer was: 451 No host of the destination can be reached: Connection refused' in failed.replace(b'\r\n ', b' '), failed)
    p.kill()
    for f in p.spool.glob('queue/*/*'):
        f.unlink()
    told.messages.clear()
    fill(p, DEAD, '[127.0.0.1]:1', DELAYED_S)
    p.start()
    check_told('nobody waits for a dead place to be tried again, either', b'delayed', DEAD, DEAD)
    p.kill()
finish()
