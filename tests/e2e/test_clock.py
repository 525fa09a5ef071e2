#!/usr/bin/env python3
"""The wall clock jumps while messages wait, or while nobody runs: forward, nothing expires, is told as delayed or is too old by it until it has stood for an hour; back, nothing waits for a time that won't come soon. Both are told."""
import os, re, struct, subprocess, time
from pathlib import Path
from porter import Porter, check, finish, skip
from sink import Sink

DAY = 86400
hop = Sink(rcpt=lambda a: '450 4.2.0 later')


def deferred(p, to):
    return len(re.findall(rf' deferred .*to={to} ', p.log_text()))


def put_in(p, to):
    check(f'taken for {to}', p.send(b'Subject: x\r\n\r\nhello\r\n', to, 'ann@remote.test') == 250)
    check('and put off', p.wait(lambda: deferred(p, to)))


def goes_on(p, to, what):
    before = deferred(p, to)
    check(what, p.wait(lambda: deferred(p, to) >= before + 2), p.log_text()[-2000:])


def calmly(p, to, what):
    """Tried once a second, as the settings say: what is past its time is no reason to ask a host without a pause."""
    begun, before = time.monotonic(), deferred(p, to)
    p.wait(lambda: deferred(p, to) >= before + 3)
    times = deferred(p, to) - before
    check(what, 3 <= times <= time.monotonic() - begun + 2, (times, time.monotonic() - begun))


def since(p):
    """From when on the ledger of sent mail is believed to be complete."""
    return next(r for r in p.status()['processes'] if r['role'] == 'queue')['status']['ledger']['since']


def doubt(p):
    """How long the clock is doubted yet: by the queue, by the longest of smtpd, and what a reader is told."""
    left = {role: max(r['status']['clock_doubt_s'] for r in p.status()['processes'] if r['role'] == role) for role in ('queue', 'smtpd')}
    return left['queue'], left['smtpd'], re.findall(r'^clock: .*', p.ctl('status').stdout, re.M)


def run(p, turn):
    put_in(p, 'before@far.test')
    check('status says nothing of a clock that goes on', doubt(p) == (0, 0, []), doubt(p))
    began = since(p)
    turn(10 * DAY)
    check('a clock that was set forward is told', p.wait_log(r'clock was set forward'))
    queue, smtpd, told = doubt(p)
    check('status says how long it is doubted, and why', 3000 < queue <= 3600 and 3000 < smtpd <= 3600 and len(told) == 1 and re.search(r'^clock: doubted for (59 m \d+ s|5\d m|1 h)\b.*set forward', told[0]), (queue, smtpd, told))
    check('and what that means', re.search(r'^clock: (.*\n +)+.*\b451\b', p.ctl('status').stdout, re.M), p.ctl('status').stdout)
    check('the ledger of sent mail is no older by it', p.wait(lambda: since(p) > began + 9 * DAY), since(p) - began)
    goes_on(p, 'before@far.test', 'what came before is tried on, though its time would be over')
    calmly(p, 'before@far.test', 'and no more often than ever')
    check('and nobody is told that it failed', ' failed ' not in p.log_text() and not hop.null_senders, hop.mails)
    put_in(p, 'after@far.test')
    turn(-10 * DAY)
    check('one that was set back is told', p.wait_log(r'clock was set back'))
    check('and the ledger of sent mail not from then', p.wait(lambda: since(p) < began + DAY), since(p) - began)
    goes_on(p, 'after@far.test', 'what was put off until a time that is far away now is tried soon')
    goes_on(p, 'before@far.test', 'and so is the other')
    hop.hooks['rcpt'] = None
    check('both arrive', p.wait(lambda: {r for m in hop.messages for r in m.recipients} == {'before@far.test', 'after@far.test'}))
    check('nobody had a report', ' failed ' not in p.log_text() and not hop.null_senders, hop.mails)


def tags(p, turn):
    """Addresses that were made while the clock was a year and more ahead."""
    turn(400 * DAY)
    check('a forward is passed on', p.send(b'Subject: x\r\n\r\nhello\r\n', 'fwd@srs.test', 'someone@outside.test') == 250)
    path = hop.messages[-1].sender

    def report():
        with p.talk() as t:
            t.code('EHLO mx.far.test'), t.code('MAIL FROM:<>')
            return t.code(f'RCPT TO:<{path}>')
    check('a report to it is taken', path.startswith('SRS0=') and report() == 250, path)
    turn(0)
    check('with the clock set right it is put off: nobody knows which of them was wrong', report() == 451)
    turn(430 * DAY)
    check('once it looks old it is put off, too: the clock was set', report() == 451)
    hop.hooks['rcpt'] = lambda a: '450 4.2.0 later'
    put_in(p, 'asleep@far.test')
    p.stop()
    turn(440 * DAY)
    again(p, turn)
    check('also by processes that never saw it set', p.wait_log(r'queue was away for \d+ s') and report() == 451)
    queue, smtpd, told = doubt(p)
    check('status tells of a doubt that only the queue has', queue > 3000 and smtpd == 0 and len(told) == 1, (queue, smtpd, told))
    goes_on(p, 'asleep@far.test', 'which end nothing by it, either')
    check('and tell nobody', ' failed ' not in p.log_text() and not hop.null_senders, hop.mails)
    p.stop()
    again(p, turn)
    check('nor do those that come within that hour', p.wait(lambda: report() == 451) and p.log_text().count('queue was away for') >= 2)
    p.stop()
    again(p, turn, 440 * DAY - 3600)
    check('and once the clock has stood it is refused', p.wait(lambda: report() == 550))
    check('and status says no more of it', doubt(p) == (0, 0, []), doubt(p))
    check('the queue marks what the clock says', p.wait(lambda: (p.spool / 'clock').stat().st_mtime > time.time() + 440 * DAY - 600))
    check('and what waited too long ends', p.wait_log(r' failed .*asleep@far.test'))


def again(p, turn, seen=None):
    """Another start; the queue saw the clock last at what it is now, turned by so much."""
    if seen:
        os.utime(p.spool / 'clock', (time.time() + seen,) * 2)
    os.environ.update(turn.environment)
    p.start()
    for name in turn.environment:
        del os.environ[name]


def main():
    p = Porter('clock', start=False, settings={'evidence': 'no', 'queue-retry-first': '1s', 'queue-retry-most': '1s'},
               maps={'domains': 'srs.test mailbox srs', 'aliases': 'fwd@srs.test ann@far.test', 'clients': '127.0.0.1 remote.test\n', 'routes': f'far.test [127.0.0.1]:{hop.port}\nremote.test [127.0.0.1]:{hop.port}\n'})
    library, file = p.dir / 'turn.so', p.dir / 'turn'
    if subprocess.run(['cc', '-shared', '-fPIC', '-O1', '-o', library, Path(__file__).resolve().parent.parent / 'lib/turn.c', '-ldl'], capture_output=True).returncode or 'asan' in str(p.dir):
        skip('the clock jumps both ways', 'needs cc, and processes that nothing else is preloaded into')
        finish()

    def turn(seconds):
        with open(file, 'r+b' if file.exists() else 'wb') as f:
            f.write(struct.pack('=q', seconds))
    turn(0)
    turn.environment = {'LD_PRELOAD': str(library), 'TURN_FILE': str(file)}
    os.environ.update(turn.environment)
    with p:
        p.start()
        for name in turn.environment:
            del os.environ[name]
        run(p, turn)
        tags(p, turn)
    finish()


main()
