"""The house's processes: a child that dies comes back and the service goes on; a parent that dies takes all with it; reload drains; SIGTERM to the whole group ends in order;
an ordinary user runs the same processes; the control socket and the channels bear nonsense."""
import json, os, random, re, shutil, signal, socket, subprocess, threading, time
from pathlib import Path
from porter import BUILD, PATIENCE, SLOW, Porter, check, finish, is_reached, skip


def wait_for(what, seconds=PATIENCE):
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end:
        try:
            if what():
                return True
        except OSError:
            pass
        time.sleep(.05)
    return False


def port_is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(('127.0.0.1', port))
            return True
        except OSError:
            return False


with Porter('processes') as p:
    roles = p.roles()
    check('the parent, two smtpd or as many as processors, mailbox and keeper run', {'parent', 'smtpd', 'mailbox', 'keeper'} <= set(roles), roles)
    if os.geteuid() == 0:
        import pwd
        last = 'NoNewPrivs:\t1' if 'asan' in BUILD.parts else 'Seccomp:\t2'
        wait_for(lambda: all(last in open(f'/proc/{pid}/status').read() for role, pids in p.roles().items() if role != 'parent' for pid in pids))
        roles = p.roles()
        owner = {role: pwd.getpwuid(int(open(f'/proc/{pids[0]}/status').read().split('Uid:')[1].split()[0])).pw_name for role, pids in roles.items()}
        check('each role runs as its own user', owner['smtpd'] == '_porter' and owner['mailbox'] == '_portermail' and owner['keeper'] == '_porterkey', owner)
        status = {role: open(f'/proc/{pids[0]}/status').read() for role, pids in roles.items() if role != 'parent'}
        check('no child may gain privileges', all('NoNewPrivs:\t1' in s for s in status.values()))
        check('each child has a system call filter', 'asan' in BUILD.parts or all('Seccomp:\t2' in s for s in status.values()), [r for r, s in status.items() if 'Seccomp:\t2' not in s])
        check('no child has a capability', all('CapEff:\t0000000000000000' in s for s in status.values()))
        check('smtpd\'s root is the folder of map generations', os.readlink(f'/proc/{roles["smtpd"][0]}/root') == str((p.dir / 'maps').resolve()), os.readlink(f'/proc/{roles["smtpd"][0]}/root'))

    # -- a child dies -------------------------------------------------------------------------------------------------
    for role in sorted(set(roles) - {'parent'}):
        before = set(p.roles()[role])
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        back = wait_for(lambda: (now := p.roles().get(role, [])) and len(now) == len(before) and victim not in now)
        check(f'{role} is killed and comes back', back, p.roles())
        check(f'mail is taken after {role} came back', wait_for(lambda: p.send() == 250))
    count = len(p.messages())
    state = p.status()
    check('status tells the restarts and an alert for each', sum(c['restarts'] for c in state['processes']) >= len(roles) - 1 and state['alerts'], state['alerts'])

    # -- log level, nonsense on the control socket ------------------------------------------------------------------------
    check('log-level answers', p.ctl('log-level', 'debug').returncode == 0 and p.ctl('log-level', 'loud').returncode == 64)
    control = str(p.dir / 'run/control')
    rng = random.Random(7)
    for i in range(200):
        s = socket.socket(socket.AF_UNIX)
        s.connect(control)
        s.settimeout(5)
        try:
            s.sendall(rng.randbytes(rng.randrange(1, 400)))
            if i % 3:
                s.shutdown(socket.SHUT_WR)
                s.recv(100)
        except OSError:
            pass
        s.close()
    check('random bytes on the control socket are cut off, and it answers on', p.ctl('status').returncode == 0)

    held = []
    for i in range(100):                                   # half frames that stay
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(PATIENCE * SLOW)
        s.connect(control)
        s.sendall(b'\0\0\0')
        held.append(s)
    check('a hundred half questions that never end keep nobody from asking', p.ctl('status').returncode == 0)
    for s in held:
        s.close()
    submit, full = str(p.dir / 'run/submit'), 0
    for i in range(10000):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(5)
        try:
            s.connect(control if i % 2 else submit)
        except OSError:
            full += 1
        s.close()
    check('ten thousand connects to the local sockets, and both answer on', wait_for(lambda: p.ctl('status').returncode == 0) and
          subprocess.run([BUILD / 'sendmail', '-C', p.etc, '-bv', 'alice@example.test'], capture_output=True, timeout=30 * SLOW).returncode == 0, full)
    held, closed = [], 0
    for i in range(400):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(PATIENCE * SLOW)
        s.connect(submit)
        held.append(s)
    for s in held:
        try:
            closed += not s.recv(4).startswith(b'220')
        except OSError:
            closed += 1
    check('one user gets as many local sessions as an address, and the port serves on', closed >= 400 - 50 * len(p.roles()['smtpd']) and p.send() == 250, closed)
    for s in held:
        s.close()
    if os.geteuid() == 0:
        r = subprocess.run(['setpriv', '--reuid=nobody', '--clear-groups', BUILD / 'porterctl', '-c', p.etc, 'stop'], capture_output=True, text=True, timeout=60)
        check('another user asks in vain', r.returncode != 0 and p.send() == 250, r)

    # -- reload ------------------------------------------------------------------------------------------------------------
    old = set(p.roles()['smtpd'])
    with p.talk() as t:
        check('a session begins', t.code('EHLO a') == 250 and t.code('MAIL FROM:<x@outside.test>') == 250)
        check('reload answers', p.ctl('reload').returncode == 0)
        new = wait_for(lambda: set(p.roles().get('smtpd', [])) - old)
        check('new smtpd processes serve', new and wait_for(lambda: p.send() == 250))
        check('the session of before goes on to its 250', t.code('RCPT TO:<bob@example.test>') == 250 and t.code('DATA') == 354 and
              (t.raw(b'Subject: old\r\n\r\nx\r\n.\r\n') or t.reply()[0] == 250))
        t.say('QUIT')
    check('after a reload there is one of each role, the queue anew', wait_for(lambda: all(len(v) == (len(old) if r == 'smtpd' else 1) for r, v in p.roles().items()) and 'queue' in p.roles()), p.roles())
    check('the old processes end with their last session', wait_for(lambda: not old & set(p.roles().get('smtpd', []))), (old, p.roles()))
    conf = (p.etc / 'porter.conf').read_text()
    (p.etc / 'porter.conf').write_text(conf + 'nonsense yes\n')
    r = p.ctl('reload')
    check('a reload with a wrong porter.conf changes nothing and names the line', r.returncode == 78 and 'porter.conf:' in r.stdout and p.send() == 250, r.stdout)
    (p.etc / 'porter.conf').write_text(conf)

    # -- a second one ------------------------------------------------------------------------------------------------------
    other = p.dir / 'other'
    shutil.copytree(p.etc, other)
    (other / 'porter.conf').write_text(re.sub(r'(?m)^run-directory.*', f'run-directory {other}', conf))
    r = subprocess.run([BUILD / 'porterd', '-c', other], capture_output=True, text=True, timeout=60)
    check('a second porterd with a run-directory of its own is refused the spool, and the first serves on', r.returncode == 78 and 'already served by another' in r.stderr and p.send() == 250, r)
    (p.etc / 'porter.conf').write_text(re.sub(r'(?m)^spool-directory.*', f'spool-directory {other}', conf))
    r = p.ctl('reload')
    check('a reload that would change the spool is refused', r.returncode == 78 and 'keeps its spool' in r.stdout and p.send() == 250, r.stdout)
    (p.etc / 'porter.conf').write_text(conf)

    # -- maps ----------------------------------------------------------------------------------------------------------------
    check('an unknown recipient is refused', p.send(to='carol@example.test') == 550)
    with open(p.etc / 'recipients', 'a') as f:
        f.write('carol@example.test maildir\n')
    check('compile switches the running server', p.ctl('compile').returncode == 0 and wait_for(lambda: p.send(to='carol@example.test') == 250))
    (p.etc / 'recipients').rename(p.etc / 'recipients.away')
    check('a map removed under the running server does not disturb it', p.send(to='carol@example.test') == 250)
    (p.etc / 'recipients.away').rename(p.etc / 'recipients')
    generation = os.readlink(p.dir / 'maps/current')
    db = p.dir / 'maps' / generation / 'recipients.db'
    os.chmod(db.parent, 0o755)
    raw = bytearray(db.read_bytes())
    raw[len(raw) // 2] ^= 0xff
    damaged = db.with_suffix('.new')
    damaged.write_bytes(raw)
    damaged.rename(db)
    r = p.ctl('reload')
    time.sleep(1)
    check('a generation that was damaged on disk serves on in those who have it', p.send(to='carol@example.test') == 250)

    # -- the end ----------------------------------------------------------------------------------------------------------------
    with p.talk() as t:
        t.say('EHLO a')
        os.killpg(p.process.pid, signal.SIGTERM)
        said = t.reply()
        code = p.process.wait(PATIENCE * SLOW)
        check('SIGTERM to the whole group: open sessions get 421, and all ends', said[0] == 421 and code == 0, (said, code))
    p.process = None
    check('nothing is left behind, and the ports are free', wait_for(lambda: port_is_free(p.mx)) and not (p.dir / 'run/control').exists())

    p.start()
    check('a start on the same directory keeps the mail, and an older generation serves where the newest is damaged', len(p.messages()) >= count and p.send(to='alice@example.test') == 250)
    r = subprocess.run([BUILD / 'porterd', '-c', p.etc], capture_output=True, text=True, timeout=PATIENCE * SLOW)
    check('a second porterd on the same directory refuses to begin', r.returncode == 78 and 'already' in r.stderr, r.stderr)
    pids = p.pids()
    os.kill(p.process.pid, signal.SIGKILL)
    p.process.wait()
    check('the parent is killed: all children end and the port is free at once', wait_for(lambda: not any(Path(f'/proc/{pid}').exists() for pid in pids) and port_is_free(p.mx)), pids)
    with socket.socket() as held:                   # as a child of the one before would that has not yet heard
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(('127.0.0.1', p.http))
        held.listen()
        threading.Timer(.5, held.close).start()
        p.start()
    check('and it serves again after that, though a port came free only half a second later', p.send() == 250)

with Porter('installed', start=False) as p:
    porterd, parts = p.dir / 'usr/sbin/porterd', p.dir / 'usr/libexec/porter'
    porterd.parent.mkdir(parents=True)
    shutil.copy2(BUILD / 'porterd', porterd)

    def complains_of(name):
        r = subprocess.run([porterd, '-c', p.etc], capture_output=True, text=True, timeout=PATIENCE * SLOW)
        return r.returncode == 78 and f'{name} should be there' in r.stderr, (r.returncode, r.stderr[-600:])
    check('porterd without the programs of its roles says what is missing', *complains_of(porterd.parent / 'porterd-helper'))
    parts.mkdir(parents=True)
    for program in BUILD.glob('porterd-*'):
        shutil.copy2(program, (porterd.parent if program.name == 'porterd-smtpd' else parts) / program.name)
    check('one that lies beside porterd is not taken where libexec/porter is: it is of another version', *complains_of(f'{porterd.parent}/../libexec/porter/porterd-smtpd'))
    (porterd.parent / 'porterd-smtpd').rename(parts / 'porterd-smtpd')
    p.process = subprocess.Popen(p._argv([porterd, '-c', p.etc]), stdin=subprocess.DEVNULL, stdout=open(p.log, 'ab'), stderr=subprocess.STDOUT, start_new_session=True)
    check('with all in libexec/porter it serves', wait_for(p.greets) and wait_for(lambda: p.send() == 250) and 'mailbox' in p.roles(), p.log_text()[-600:])

with Porter('own-programs') as p:
    def libraries(pid):
        return {m for m in ('libcrypto', 'libssl', 'libunbound', 'libdb', 'libldap', 'libcurl', 'libargon2') if m in Path(f'/proc/{pid}/maps').read_text()}
    roles = {**p.roles(), 'parent': [p.process.pid]}
    mine = {name: libraries(pids[0]) for name, pids in roles.items()}
    wanted = {'parent': '', 'mailbox': '', 'keeper': 'crypto', 'resolver': 'unbound', 'queue': 'db', 'login': 'db argon2', 'delivery': 'ssl crypto db', 'smtpd': 'ssl crypto db'}
    check('a process loads only the libraries that its role needs', all(mine[r] == {f'lib{w}' for w in words.split()} for r, words in wanted.items()), mine)

if os.geteuid() == 0 and subprocess.run(['unshare', '--mount', 'true'], capture_output=True).returncode == 0:
    with Porter('no-users', start=False) as p:
        (p.dir / 'passwd').write_text(''.join(line for line in open('/etc/passwd') if not line.startswith('_porterq:')))
        r = subprocess.run(['unshare', '--mount', '--propagation', 'private', 'sh', '-c', 'mount --bind "$0" /etc/passwd && exec "$1" -c "$2"', p.dir / 'passwd', BUILD / 'porterd', p.etc],
                           capture_output=True, text=True, timeout=PATIENCE * SLOW)
        check('where a user of ours is missing it does not begin, and says how to make it', r.returncode == 78 and 'useradd --system --user-group _porterq' in r.stderr, (r.returncode, r.stderr[-600:]))
else:
    skip('a start without one of our users', 'only root has a mount namespace')

if os.geteuid() == 0 and is_reached(BUILD):
    try:
        maps = {'recipients': 'prog@example.test program:/bin/sh -c [${IFS}$(id${IFS}-un)${IFS}=${IFS}daemon${IFS}]||exit${IFS}77\nroot@example.test system:nobody\n'}
        with Porter('ordinary', user='daemon', maps=maps) as p:     # who is not the one of the setting program-user
            check('an ordinary user runs the same processes', {'parent', 'smtpd', 'mailbox', 'keeper'} <= set(p.roles()) and p.send() == 250)
            check('and his programs as himself', p.send(to='prog@example.test') == 250, p.log_text()[-600:])
            check('but writes to nobody else\'s mailbox', p.send(to='root@example.test') // 100 == 4, p.log_text()[-600:])
            check('and ends them in order', p.stop() == 0)
    except (RuntimeError, subprocess.CalledProcessError) as e:
        check('an ordinary user runs the same processes', False, f'{e} {getattr(e, "stderr", "")}')
else:
    skip('an ordinary user beside root', 'not root, or the tree lies where no other user may look')
finish()
