#!/usr/bin/env python3
"""make bench-maps: one million recipients and 220,000 aliases, compiled, proved, changed by a line. Ends with 1 where a figure is missed."""
import os, random, resource, shutil, subprocess, sys, time
from pathlib import Path

BUILD = Path(os.environ.get('PORTER_BUILD', 'build')).resolve()
N = int(os.environ.get('PORTER_RECIPIENTS', '1000000'))
top = BUILD / 'bench/maps'
shutil.rmtree(top, ignore_errors=True)
etc = top / 'etc'
etc.mkdir(parents=True)
(etc / 'porter.conf').write_text('maps-directory ../maps\nsecrets-directory ../secrets\nmail-root ../mail\nrun-directory ../run\n')
(etc / 'domains').write_text('example.test mailbox\n')
recipients = [f'r{i:07d}@example.test\n' for i in range(N)]
(etc / 'aliases').write_text(''.join(f'a{i:06d}@example.test r{i * 3 % N:07d}@example.test\n' for i in range(N // 5)) +
                             ''.join(f'l{i:06d}@example.test r{i * 3 % N:07d}, r{(i * 3 + 1) % N:07d}, x@far.test, owner=r0000001@example.test\n' for i in range(N // 50)))
missed = 0


def figure(what, argv, seconds, mib=400):
    global missed
    t0 = time.monotonic()
    r = subprocess.run([BUILD / 'porterctl', '-c', etc, *argv], capture_output=True, text=True)
    t = time.monotonic() - t0
    rss = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    good = r.returncode == 0 and t < seconds and rss < mib
    missed += not good
    print(f'{what:58} {t:6.2f} s (< {seconds})  {rss:6.0f} MiB (< {mib})  {"" if good else "MISSED " + r.stderr[-200:]}', flush=True)


for order in ('sorted', 'shuffled'):
    if order == 'shuffled':
        random.Random(1).shuffle(recipients)
    (etc / 'recipients').write_text(''.join(recipients))
    figure(f'{order}: compile --no-prove', ['compile', '--no-prove'], 3)
    figure(f'{order}: compile', ['compile'], 8)
    (etc / 'recipients').write_text(''.join(recipients[:N // 2]) + 'changed@example.test\n' + ''.join(recipients[N // 2:]))
    figure(f'{order}: compile after a change of one line', ['compile'], 2)
shutil.rmtree(top / 'etc')
subprocess.run(['chmod', '-R', 'u+w', top])
shutil.rmtree(top, ignore_errors=True)
sys.exit(1 if missed else 0)
