#!/usr/bin/env python3
"""A program as a mailbox: exact arguments from the map and no shell, the message on standard input, sysexits as the fate, standard output discarded, the first line of standard error in the log."""
import atexit, os, re, shutil, signal, sys, tempfile, threading
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import BUILD, Porter, check, finish

ARGUMENTS = ['$(id)', ';reboot', '*', '"a', '${IFS}', '`id`', '-x', '|cat']
folder = Path(tempfile.mkdtemp(prefix='porter-program-'))
folder.chmod(0o777)
atexit.register(shutil.rmtree, folder, True)
script = folder / 'take'
script.write_text(f'''#!/bin/sh
ls /proc/$$/fd >{folder}/files
cat >{folder}/text
printf '%s\\n' "$@" >{folder}/words
env >{folder}/environment
id -u >{folder}/user
echo 'a word on standard output'
echo 'the first line of standard error' >&2
echo 'the second one' >&2
case $1 in [0-9]*) exit $1;; esac
''')
script.chmod(0o755)
slow = folder / 'slow'
slow.write_text(f'''#!/bin/sh
trap '' TERM HUP INT
setsid sleep 1000 &
echo $! $$ >{folder}/slow-pids.tmp
echo 'on my way' >&2
mv {folder}/slow-pids.tmp {folder}/slow-pids
wait
''')
slow.chmod(0o755)
bad = folder / 'bad'
bad.write_text(f'''#!/bin/sh
case $1 in
flood) head -c 3000000 /dev/zero | tr '\\0' x >&2;;
closes) exec <&-;;
forks) sleep 1000 & setsid sh -c "setsid sleep 1000 & echo \\$! >{folder}/hidden; sleep 1000" & echo $! >{folder}/left; while [ ! -s {folder}/hidden ]; do sleep .01; done;;
limits) ulimit -v >{folder}/limits; ulimit -c >>{folder}/limits;;
many) for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 1000 & done;;
esac
exit 0
''')
bad.chmod(0o755)
bomb = folder / 'bomb'
bomb.write_text(f'''#!/usr/bin/perl
use POSIX;
my $end = time + 30;
while (time < $end) {{
	my $pid = fork();
	POSIX::setsid() if defined $pid && $pid == 0;
}}
''')
bomb.chmod(0o755)


def bombs():
    """Those that still run."""
    found = []
    for p in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            found += [p] if str(bomb).encode() in p.read_bytes().split(b'\0') else []
        except OSError:
            pass
    return found


def is_gone(pid):
    """It is no more, or waits only to be reaped by whoever got it."""
    try:
        return open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()[0] in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return True


CODES = {0: 250, 65: 554, 67: 550, 68: 550, 69: 550, 77: 550, 75: 451, 1: 451, 64: 451, 78: 451, 255: 451}
with Porter('program', settings={'evidence': 'no'}, maps={
        'recipients': f'words@example.test program:{script} {" ".join(ARGUMENTS)}\n' + ''.join(f'exit{c}@example.test program:{script} {c}\n' for c in CODES)
        + f'slow@example.test program:{slow}\nbomb@example.test program:{bomb}\n' + ''.join(f'{w}@example.test program:{bad} {w}\n' for w in ('flood', 'closes', 'forks', 'limits', 'many'))}) as p:
    check('a program takes a message', p.send(b'Subject: for a program\r\n\r\n.a line\r\n', to='words@example.test') == 250)
    text, words, environment, files, user = ((folder / name).read_text() for name in ('text', 'words', 'environment', 'files', 'user'))
    check('its arguments are the map\'s words, and no shell has seen them', words.splitlines() == ARGUMENTS, words)
    check('the message is on its standard input, with lines as files have them', text.startswith('Return-Path: <someone@outside.test>\nReceived: ') and text.endswith('\nSubject: for a program\n\n.a line\n'), text)
    check('it is not root', user.strip() != '0', user)
    check('it has no descriptors but its own three', [f for f in files.split() if 2 < int(f) < 10] == [], files)    # a shell has its script, and what it saves, from 10 on
    check('the first line of its standard error is in the log', p.wait_log('helper-said.*text="the first line of standard error"$'), p.log_text()[-2000:])
    check('the second is not, nor what it says on standard output', 'the second one' not in p.log_text() and 'on standard output' not in p.log_text())
    check('nothing of the environment comes from us', 'PYTHONPATH' not in environment and 'PORTER' not in environment, environment)
    said = re.search(r'helper-said .*?\bid=(\S+) .*text="the first line of standard error"', p.log_text())
    check('with the id of the transaction that the program was run for', said and re.search(rf'program-ended .*\bid={said[1]} ', p.log_text()), said)
    got = {c: p.send(to=f'exit{c}@example.test') for c in CODES}
    check('an exit code of sysexits.h is the fate, an unknown one is temporary', got == CODES, got)
    big = b'Subject: big\r\n\r\n' + b'x' * 70 * 1000 + b'\r\n'
    got = {w: p.send(big, to=f'{w}@example.test') for w in ('flood', 'closes', 'forks', 'limits')}
    check('one that floods its standard error, reads nothing, or leaves children behind has the message when it says so', got == dict.fromkeys(got, 250), got)
    check('of a flood the log has one short line', p.wait_log('helper-said .*text="?x{300,400}"?$'), [len(line) for line in p.log_text().splitlines() if 'helper-said' in line])
    left = [(folder / name).read_text().strip() for name in ('left', 'hidden')]
    check('children that it leaves behind end with it, also in a session of their own', p.wait(lambda: all(map(is_gone, left))), left)
    limits = (folder / 'limits').read_text().split()
    check('its memory has a limit, and it leaves no core', limits == ['1048576', '0'] or 'asan' in str(BUILD), limits)
    threading.Thread(target=p.send, kwargs={'to': 'slow@example.test'}, daemon=True).start()
    p.wait((folder / 'slow-pids').exists)
    pids = (folder / 'slow-pids').read_text().split()
    family = [pid for pid in p.pids() if pid != p.process.pid]
    os.kill(p.process.pid, signal.SIGKILL)
    p.process.wait()
    check('when the parent is killed the program ends with it, and what it started, and its guard',
          len(pids) == 2 and p.wait(lambda: all(map(is_gone, [*pids, *family]))), [x for x in [*pids, *family] if not is_gone(x)])
    for pid in pids:
        is_gone(pid) or os.kill(int(pid), signal.SIGKILL)
    (folder / 'slow-pids').unlink()
    p.start()
    if os.geteuid() == 0:
        check('a program may start others', p.send(to='many@example.test') == 250)
        p.set({'program-processes': '10'})
        p.ctl('reload')
        code = p.wait(lambda: (c := p.send(to='many@example.test')) != 250 and c)
        limited = code == 451 and p.wait_log('helper-said .*[Ff]ork')
        check('more than program-processes it can\'t', limited, (code, p.log_text()[-1500:]))
    p.set({'program-timeout': '2s'})
    p.ctl('reload')
    code = p.wait(lambda: p.send(to='slow@example.test'))
    pids = (folder / 'slow-pids').read_text().split()
    check('a program that takes longer than program-timeout is killed, and the client is answered 451', code == 451 and p.wait_log('helper-killed .*kind=program .*after_s=2'), (code, p.log_text()[-1500:]))
    check('and all that it started with it', len(pids) == 2 and p.wait(lambda: all(map(is_gone, pids))), pids)
    if os.geteuid() == 0 and limited:      # else it would be a bomb indeed
        code = p.send(to='bomb@example.test')
        check('so is one that starts others, each in a session of its own, as fast as it can', code == 451 and p.wait(lambda: not bombs()), (code, len(bombs())))
    check('what it had said until then is in the log, with the id of its transaction', p.wait_log(r'helper-said .*id=\S+ .*text="on my way"'), p.log_text()[-1500:])
finish()
