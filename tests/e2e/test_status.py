#!/usr/bin/env python3
"""porterctl status for a reader: every process with what it counts, pauses, restarts and alerts; and where nobody serves, how to start."""
import os, re, signal
from porter import Porter, check, finish

with Porter('status') as p:
    p.send(b'Subject: x\r\n\r\nhello\r\n')
    p.ctl('queue', 'pause', 'far.test')
    told, rows = p.ctl('status').stdout, p.status()['processes']
    lines = told.splitlines()
    check('the first line tells of the whole', re.fullmatch(rf'porterd, pid \d+, up \d+ s, {len(rows)} processes, generation 1 of the maps', lines[0]) is not None, lines[0])
    named = re.findall(r'^  (\w+) (\d+), pid (\d+), up .+', told, re.M)
    check('then each process in the order of their start', sorted(named) == sorted((r['role'], str(r['index']), str(r['pid'])) for r in rows) and
          [int(n[2]) for n in named] == sorted(r['pid'] for r in rows), told)
    check('with what is not nought', re.search(r'\bscanned=yes\b', told) and re.search(r'\btaken=1\b', told) and not re.search(r'=0\b', told), told)
    check('and what is paused', 'paused=mx:far.test' in told, told)
    check('it fits a terminal', max(map(len, lines)) <= 100, max(lines, key=len))
    check('nobody has restarted, and nothing is amiss', 'restarted' not in told and 'alert:' not in told, told)
    old = next(r['pid'] for r in rows if r['role'] == 'login')
    os.kill(old, signal.SIGKILL)
    check('a process that came back is told as such', p.wait(lambda: re.search(r'login 0, pid \d+, up .*restarted 1 times', p.ctl('status').stdout)), p.ctl('status').stdout)
    text = p.ctl('attacks').stdout
    check('porterctl attacks says that there were none, and no more', re.fullmatch(r'Attacks since [^\n]*: none\n', text), text)
    check('an argument is an error', p.ctl('status', 'all').returncode == 64)
    p.stop()
    r = p.ctl('status')
    check('where nobody serves it says how to start', r.returncode == 69 and f'porterd -c {p.etc}' in r.stderr, r.stderr)
finish()
