"""porterctl rndr-check: each of the sixteen ways finds the server that leaks by it alone; what it says of itself; whom it may test; that it asks; the check of the running Porter."""
import json, os, pty, re, select, subprocess, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor
from dns import Dns
from leaky import ADDRESSES, Leaky
from porter import BUILD, PATIENCE, SLOW, Porter, check, finish, free_port, skip

WAYS = ('unknown', 'mixed', 'dead-alias', 'forward', 'relayed', 'full', 'oversize', 'loop', 'success-dsn', 'report', 'delay', 'auto-reply', 'null-sender', 'quoted', 'subaddress', 'outcomes')
WITHOUT_BODY = {'delay', 'auto-reply', 'success-dsn'}
CTL = BUILD / 'porterctl'


def ctl(*argv, env=None, timeout=120):
    return subprocess.run([CTL, *map(str, argv)], capture_output=True, text=True, timeout=timeout * SLOW, stdin=subprocess.DEVNULL, env=env)


def run(server, *more, catch=True, wait='6s'):
    """(exit code, {way: row}, the whole answer)."""
    listen = []
    if catch:
        server.catch = free_port()
        listen = ['--catch', f'127.0.0.1:{server.catch}']
    p = ctl('--json', '--yes', 'rndr-check', f'127.0.0.1:{server.port}', '--domain', 'example.test', *listen, '--wait', wait, '--again', '0s', *more)
    try:
        said = json.loads(p.stdout)
    except ValueError:
        said = {'ways': [], 'stderr': p.stderr}
    return p.returncode, {w['way']: w for w in said['ways']}, said


# -- way by way ---------------------------------------------------------------------------------------------------------
def leak(way):
    server = Leaky(way)
    try:
        return run(server, *ADDRESSES)
    finally:
        server.close()


def each_way():
    free_port()         # the pool of ports is made before threads ask for it
    with ThreadPoolExecutor(len(WAYS) + 1) as pool:
        found = dict(zip(('',) + WAYS, pool.map(leak, ('',) + WAYS)))
    code, rows, said = found['']
    check('a server without a leak that is tried in all sixteen ways is clear: exit code 0', code == 0 and set(rows) == set(WAYS) and said['could_not'] == 0 and said['leaks'] == 0, (code, said))
    for way in WAYS:
        code, rows, said = found[way]
        bounced = [w for w, r in rows.items() if r['verdict'] == 'accepted and bounced']
        check(f'the way {way} finds the server that leaks by it alone: exit code 1', code == 1 and bounced == [way], (code, bounced, rows.get(way), said.get('stderr')))
        r = rows.get(way, {})
        check(f'and tells what came back by {way}: bytes, how long it took, whether the body was in it', r.get('returned_bytes', 0) > 50 and 0 <= r['returned_after_ms'] < 60000 * SLOW and
              r['body_returned'] == (way not in WITHOUT_BODY), r)


def verdict_words():
    """What was taken and is never heard of again is called a suspicion, and the server is not called clear."""
    for way in ('forward', 'relayed', 'full', 'subaddress'):
        server = Leaky(way)
        server.send = lambda to, content: None
        code, rows, said = run(server, *ADDRESSES, wait='1s')
        check(f'a message that was accepted by {way} and not heard of again leaves it open: exit code 2', code == 2 and rows[way]['verdict'] == 'accepted and silent' and said['result'] == 'unsure', (code, rows.get(way)))
        server.close()
    server = Leaky('subaddress')
    server.send = lambda to, content: None
    text = ctl('--yes', 'rndr-check', f'127.0.0.1:{server.port}', '--domain', 'example.test', '--catch', f'127.0.0.1:{free_port()}', '--wait', '1s', '--ways', 'unknown,subaddress').stdout
    check('it is told as a suspected drop that is unproved', 'suspected drop' in text and 'unproved' in text, text)
    server.close()
    server = Leaky('')
    code, rows, said = run(server, '--ways', 'unknown,mixed,loop,auto-reply', '--vacation', 'away@example.test', '--probe-domain', 'nobody.invalid', catch=False, wait='1s')
    check('where nothing listens for what comes back, what was accepted leaves it open: exit code 2', code == 2 and rows['auto-reply']['verdict'] == 'accepted and silent', (code, said))
    server.close()


# -- what it says of itself ----------------------------------------------------------------------------------------------
def help_text():
    page = ' '.join(ctl('rndr-check', '--help').stdout.split())
    manual = ' '.join(ctl('help', '--man').stdout.replace('\\', '').split())
    for what, words in (('that it plays the attack harmlessly', 'harmlessly'), ('every way', WAYS), ('how many messages it sends', 'at most one message'), ('how they are marked', 'Message-ID'),
                        ('whom it may test', ('own addresses', '_rndr-check.', 'banner')), ('that it asks', '--yes'), ('its rate', 'half a minute'), ('every verdict', ('refused in session', 'accepted and silent',
                        'accepted and bounced', 'could not test', 'unproved')), ('its exit codes', ('Exit 0', '1:', '2:')), ('how returns are caught', '--catch')):
        words = (words,) if isinstance(words, str) else words
        check(f'its help and its manual page tell {what}', all(w in page and w in manual for w in words), [w for w in words if w not in page or w not in manual])
    check('no line of its help is longer than a screen', all(len(l) <= 160 for l in ctl('rndr-check', '--help').stdout.splitlines()))


def ask(server, answer):
    """The check on a terminal, answered by a person: (exit code, what was asked)."""
    master, slave = pty.openpty()
    p = subprocess.Popen([CTL, 'rndr-check', f'127.0.0.1:{server.port}', '--domain', 'example.test', '--catch', f'127.0.0.1:{free_port()}', '--ways', 'unknown', '--wait', '1s'], stdin=slave, stderr=slave,
                         stdout=subprocess.DEVNULL)
    os.close(slave)
    asked, end = b'', time.monotonic() + PATIENCE * SLOW
    while b'[y/N]' not in asked and time.monotonic() < end:
        if select.select([master], [], [], .2)[0]:
            asked += os.read(master, 4096)
    before = server.connections
    os.write(master, answer)
    end = time.monotonic() + 60 * SLOW
    while p.poll() is None and time.monotonic() < end:
        if select.select([master], [], [], .1)[0]:
            try:
                os.read(master, 4096)
            except OSError:
                break
    code = p.wait(60 * SLOW)
    os.close(master)
    return code, asked.decode(), before


def asks_first():
    server = Leaky('')
    code, asked, before = ask(server, b'n\n')
    check('it asks before anything is sent, and says how much', before == 0 and re.search(r'Send up to 16 marked messages to 127\.0\.0\.1 for example\.test\?', asked), asked)
    check('answered no, nothing is sent: exit code 2', code == 2 and server.connections == 0, (code, server.connections))
    p = ctl('rndr-check', f'127.0.0.1:{server.port}', '--domain', 'example.test', '--ways', 'unknown')
    check('where there is no terminal and no --yes, nothing is sent either', p.returncode == 2 and server.connections == 0, p)
    code, _, _ = ask(server, b'y\n')
    check('answered yes, it goes on', code == 0 and server.connections > 0, (code, server.connections))
    server.close()


# -- whom it may test: in a network of its own, where 192.0.2.0/24 is reached and is not ours ------------------------------------
def other(server, dns, *more, host='mx.far.test'):
    with tempfile.TemporaryDirectory() as stamps:
        return ctl('--json', '--yes', 'rndr-check', f'{host}:{server.port}', '--domain', 'far.test', '--ways', 'unknown', '--wait', '1s', '--resolver', dns.resolver, *more,
                   env=dict(os.environ, XDG_RUNTIME_DIR=stamps))


def consent():
    zone = {'far.test': {'MX': ['10 mx.far.test']}, 'mx.far.test': {'A': ['192.0.2.7']}, 'web.far.test': {'A': ['192.0.2.8']}}
    server = Leaky('', host='0.0.0.0')
    with Dns(zone) as dns:
        p = other(server, dns)
        token = (re.search(r'_rndr-check\.far\.test\. IN TXT "(porter-rndr-\w+)"', p.stderr) or [None, ''])[1]
        check('a server of somebody else is not tested, and the record and the banner to set are named', p.returncode == 2 and token and 'banner' in p.stderr and not server.seen, p)
    for given, what in ((token, 'the token'), ('porter-rndr-0123456789', 'another token')):
        with Dns(dict(zone, **{'_rndr-check.far.test': {'TXT': [given]}})) as dns:
            p = other(server, dns)
            check(f'a TXT record with {what} ' + ('is consent' if given == token else 'is none'), p.returncode == (0 if given == token else 2), p)
            if given == token:
                p = other(server, dns, host='web.far.test')
                check('the domain does not consent for a host that is none of its MX', p.returncode == 2 and 'MX' in p.stderr, p)
    server.close()
    for greeting, what, good in ((f'far.test {token} ESMTP', 'the token', True), (f'far.test {token}0 ESMTP', 'a longer token', False), ('far.test ESMTP', 'no token', False)):
        server = Leaky('', host='0.0.0.0', greeting=greeting)
        with Dns(zone) as dns:
            p = other(server, dns, host='web.far.test')
            check(f'a banner with {what} ' + ('is consent for that server' if good else 'is none'), p.returncode == (0 if good else 2), p)
        server.close()


def in_a_network_of_its_own():
    ready = 'ip link set lo up && ip route add local 192.0.2.0/24 dev lo && exec "$0" "$@"'
    if os.geteuid() != 0 or subprocess.run(['unshare', '-n', 'sh', '-c', ready, 'true'], capture_output=True).returncode:
        return skip('whom it may test', 'a network namespace wants root')
    p = subprocess.run(['unshare', '-n', 'sh', '-c', ready, sys.executable, __file__, 'consent'], capture_output=True, text=True, timeout=120 * SLOW)
    print(p.stdout, end='')
    check('whom it may test was found out to the end', p.returncode in (0, 1) and 'ok ' in p.stdout, p.stderr[-2000:])
    if p.returncode:
        check('whom it may test', False, 'see above')


# -- catchers ---------------------------------------------------------------------------------------------------------------
def own_listener():
    """Without --catch a loopback address of its own is the forged senders' domain."""
    if os.geteuid() != 0:
        return skip('without --catch it listens by itself', 'port 25 wants root')
    server = Leaky('unknown')
    p = ctl('--json', '--yes', 'rndr-check', f'127.0.0.1:{server.port}', '--domain', 'example.test', '--ways', 'unknown', '--wait', '10s')
    rows = json.loads(p.stdout or '{"ways":[{}]}')['ways']
    check('without --catch it listens by itself, as the MX of the forged sender', p.returncode == 1 and rows[0]['returns'] == 1, p)
    server.close()


def porter_catches():
    """A probe domain whose MX is Porter: the running Porter's web process catches for porterctl."""
    catch = free_port()
    with Porter('rndr-catch', settings={'listen-rndr-catch': f'127.0.0.1:{catch}', 'rndr-probe-domain': '[127.0.0.1]'}) as p:
        server = Leaky('forward')
        server.catch = catch
        told = p.ctl('--json', '--yes', 'rndr-check', f'127.0.0.1:{server.port}', '--domain', 'example.test', '--catch', 'porter', '--wait', '6s', '--again', '0s', '--ways', 'unknown,forward',
                     '--forward', 'fwd@example.test')
        rows = {w['way']: w for w in json.loads(told.stdout or '{"ways":[]}')['ways']}
        check('the running Porter catches what comes back', told.returncode == 1 and rows['forward']['returns'] == 1 and rows['forward']['body_returned'] and rows['unknown']['returns'] == 0, told)
        server.close()
        again = ctl('-c', p.etc, 'rndr-check', '127.0.0.1:1', '--domain', 'example.test', '--catch', 'porter')
        p.set({'listen-rndr-catch': None})
        none = p.ctl('rndr-check', '127.0.0.1:1', '--domain', 'example.test', '--catch', 'porter', '--yes')
        check('a Porter that does not listen for returns is no catcher, which is said', none.returncode == 78 and 'listen-rndr-catch' in none.stderr, (again, none))


def itself():
    with Porter('rndr-self', maps={'aliases': 'away@example.test someone@far.test\n'}) as p:
        began = time.monotonic()
        told = p.ctl('rndr-check', 'self', '--json')
        took = time.monotonic() - began
        said = json.loads(told.stdout or '{}')
        check('the running Porter has no leak: exit code 0', told.returncode == 0 and said['leaks'] == 0, told)
        check('the static proof stands beside the dynamic check', said['proved'] is True and said['addresses'] > 0 and said['refuted'] == 0 and said['check']['refused'] > 0, said)
        check('the queue was asked how many reports it wrote', 'report_writer' not in said, said)
        check('a size limit of fifty megabytes is gone past', next(w for w in said['check']['ways'] if w['way'] == 'oversize')['verdict'] == 'refused in session', said)
        check('it takes a few seconds', took < PATIENCE * SLOW, took)
        text = p.ctl('rndr-check', 'self').stdout
        check('in words it ends with the number of leaks', text.endswith('Leaks: 0\n') and 'proved' in text, text[-300:])
        p.stop()
        told = p.ctl('rndr-check', 'self', '--json')
        check('of a Porter that does not run nothing can be told: exit code 2', told.returncode == 2, told)


if sys.argv[1:] == ['consent']:
    consent()
    finish()
each_way()
verdict_words()
help_text()
asks_first()
in_a_network_of_its_own()
own_listener()
porter_catches()
itself()
finish()
