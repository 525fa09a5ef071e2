#!/usr/bin/env python3
"""The queue process is killed at the 1st, 2nd, 3rd ... system call that changes a file, while a message fails and its report is made and delivered: whatever the call, its sender has one report
in the end. (A hop may see that report twice, where its 250 was not noted yet: RFC 1047.) strace kills; a call that is killed at is not made."""
import os, re, shutil, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import Porter, check, finish, skip  # noqa: E402
from sink import Sink  # noqa: E402
from traced import Traced  # noqa: E402

CALLS = ['linkat', 'renameat2', 'unlinkat', 'fdatasync', 'fsync'] + (['openat', 'write', 'ftruncate', 'pread64'] if '--all' in sys.argv else [])
KINDS = {'fdatasync': 'sync', 'fsync': 'sync'}      # which of them is called, and how often, depends on the file system and on the thread that comes first: strace counts for each thread
MOST = 40


def queue_pid(p):
    return (p.roles().get('queue') or [None])[0]


def is_dead(pid):
    """Gone, or waiting for its parent to look."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return True


def lies(p):
    return [f for folder in ('queue/*', 'made') for f in p.spool.glob(folder + '/*') if f.is_file()]


def one(p, hop, call, n):
    """Whether it was killed, what the client heard, and how many reports came."""
    before, pid = len(hop.messages), p.wait(lambda: queue_pid(p))
    p.wait(lambda: p.ctl('queue', 'summary').returncode == 0)
    with Traced(pid, call, f'signal=KILL:when={n}') as k:      # of one thread
        if not k.good:
            return None, 0, 0
        # A content of its own: after a 451 in a crash, the same once more is the client's retry, which the ledger may know as done.
        code = p.send(f'Subject: {call} {n}\r\n\r\nhi\r\n'.encode(), to='no@far.test', sender='ann@remote.test')
        p.wait(lambda: queue_pid(p) != pid or (not lies(p) and (code != 250 or len(hop.messages) > before)))
    killed = is_dead(pid)
    if killed:
        p.kill()            # a process that ends again and again is started ever later: not to be waited for here
        p.start()
    settled = lambda: not lies(p) and (code != 250 or len(hop.messages) > before)     # noqa: E731
    if not p.wait(settled):     # a process that strace has left standing is no end: what lies there goes on with the next one
        print(f'# {call} {n}: killed {killed}, heard {code}; {[f.name for f in lies(p)]} before a second start; {p.log_text()[-1500:]}')
        p.kill()
        p.start()
        p.wait(settled)
    return killed, code, len({re.search(rb'^Message-ID: (\S+)', m.content, re.M)[1] for m in hop.messages[before:]})


def main():
    if os.geteuid() or not shutil.which('strace'):
        skip('the queue is killed at every call that changes a file, and one report comes', 'needs root and strace')
        finish()
    hop = Sink(rcpt=lambda a: '550 5.1.1 no such user' if a.startswith('no') else None)
    wrong, kills, reached = [], 0, set()
    with Porter('kill-report', settings={'evidence': 'no', 'smtpd-processes': '1', 'report-rate': '1000000', 'queue-retry-first': '1s'},
                maps={'clients': '127.0.0.1 remote.test\n', 'routes': f'far.test [127.0.0.1]:{hop.port}\nremote.test [127.0.0.1]:{hop.port}\n'}) as p:
        for call in CALLS:
            for n in range(1, MOST):
                killed, code, reports = one(p, hop, call, n)
                if killed is None:
                    skip('the queue is killed at every call that changes a file, and one report comes', 'strace may not attach')
                    finish()
                kills += killed
                reached |= {KINDS.get(call, call)} if killed else set()
                if reports > 1 or (reports == 0 and code == 250):
                    wrong.append((call, n, code, reports))
                if not killed:
                    break
        check('a message, its removal and a sync were each killed at', reached >= {'linkat', 'unlinkat', 'sync'}, (kills, reached))
        check(f'killed at any of {kills} calls that change a file, a failure is reported once', not wrong, wrong)
        check('and nothing is left in the queue or set aside', not lies(p) and not list(p.spool.glob('aside/*')), lies(p)[:5])
    finish()


main()
