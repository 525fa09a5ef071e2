#!/usr/bin/env python3
"""Maps at the command line and under a running server: prove, explain, lookup, list, diff, rollback, editing, and generations that come and go."""
import json, os, pty, re, select, subprocess, sys, threading, time
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from dns import Dns
from porter import PATIENCE, Porter, check, finish, may_look, skip, BUILD, SLOW, TOP
from sink import Sink


def rcpt(p, address, source=None):
    with p.smtp() as s:
        s.ehlo()
        s.docmd('MAIL FROM:<someone@outside.test>')
        return s.docmd(f'RCPT TO:<{address}>')[0]


def soon(what, seconds=PATIENCE):
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(.05)
    return False


def prove(p, **kw):
    r = p.ctl('prove', '--json')
    return r.returncode, json.loads(r.stdout) if r.stdout.startswith('{') else r.stdout + r.stderr


with Porter('maps') as p:
    # -- the demo -----------------------------------------------------------------------------------------------------
    code, got = prove(p)
    check('the demo proves', code == 0 and got['verdict'] == 'proved' and got['addresses'] >= 2, got)
    text = p.ctl('prove').stdout
    check('prove ends with a summary of the three ways and of the fifteen leaks', re.search(r'mailbox: delivered inside', text) and ' 15  ' in text and text.rstrip().splitlines()[-1].startswith('proved'), text)

    # -- refutations, each with its line and way ------------------------------------------------------------------------
    def prove_with(maps):
        old = {m: (p.etc / m).read_text() if (p.etc / m).exists() else None for m in maps}
        for m, t in maps.items():
            p.map(m, (old[m] or '') + t)
        rc, got = prove(p)
        for m, t in old.items():
            (p.etc / m).unlink() if t is None else (p.etc / m).write_text(t)
        return rc, got

    def refuted(name, maps, *pieces, code=1):
        rc, got = prove_with(maps)
        found = json.dumps(got)
        check(f'prove refutes {name}', rc == code and all(x in found for x in pieces), (rc, got))

    refuted('a loop', {'aliases': '\nx@example.test y@example.test\ny@example.test x@example.test\n'}, 'leads back to itself', 'aliases:', 'x@example.test')
    refuted('a dangling target', {'aliases': '\nx@example.test ghost@example.test\n'}, 'leads nowhere', '550')
    refuted('one dead target among several, by its name', {'aliases': '\nx alice, ghost@example.test\n'}, 'x@example.test leads nowhere: ghost@example.test: 550', '(the first mailbox domain)')
    check('and shows the way to it alone, without what other targets led to', 'recipients:' not in prove_with({'aliases': '\nx alice, ghost@example.test\n'})[1]['findings'][-1]['path'])
    refuted('a target at localhost', {'aliases': '\nx@example.test x@localhost\n'}, 'this server itself')
    refuted('a line that can not be read', {'recipients': '\nx y z\n'}, '"verdict": "refuted"', '"map": "recipients"', 'an address with its domain is wanted')
    refuted('a list without an owner, with the way to it', {'aliases': '\nx@example.test a@far.test, b@far.test\n'}, 'has no owner', '> aliases:')
    refuted('a map of valid recipients that is not there, with its line', {'domains': '\nr.test relay mx recipients=nomap\n'}, 'names a map that is not there', f'"line": {(p.etc / "domains").read_text().count(chr(10)) + 2}')
    refuted('an owner that is not a mailbox here', {'aliases': '\nx@example.test a@far.test, b@far.test, owner=o@example.test\no@example.test c@far.test\n'}, 'no local mailbox')
    refuted('a relayed domain without a source of recipients', {'domains': '\nr.test relay mx\n'}, 'source of valid recipients')
    refuted('a next hop that is this server', {'domains': f'\nr.test relay 127.0.0.1:{p.mx} recipients=ask\n'}, 'this server itself')
    refuted('a next hop at the unspecified address, which is this server', {'domains': f'\nr.test relay [0.0.0.0]:{p.mx} recipients=ask\n'}, 'this server itself')
    refuted('a route to this server', {'routes': f'\nfar.test localhost:{p.mx}\n'}, 'this server itself')
    refuted('a socket that does not exist', {'recipients': '\nx@example.test lmtp:unix:/nowhere/lmtp\n'}, 'LMTP socket')
    refuted('a program that does not exist', {'recipients': '\nx@example.test program:/nowhere/prog\n'}, 'program it leads to')
    refuted('a system user who does not exist', {'recipients': '\nx@example.test system:nobodyofthisname\n'}, 'no system user')
    refuted('a trusted range that is too wide', {'clients': '\n10.0.0.0/8 *\n'}, 'wide')
    refuted('credentials of a route that are not there', {'routes': '\nfar.test mx credentials=ghost\n'}, 'credentials names ghost')
    rc, got = prove_with({'access': '\n192.0.2.1 by-pass dnsbls, by-pass spf, by-pass greylist\n'})
    said = [f for f in got['findings'] if f['map'] == 'access']
    check('prove notes a by-pass of what is no check', rc == 0 and len(said) == 1 and 'dnsbls' in said[0]['text'] and said[0]['grade'] == 'note', got)

    def with_settings(settings, *argv):
        conf = (p.etc / 'porter.conf').read_text()
        p.set(settings)
        r = p.ctl('prove', '--json', *argv)
        (p.etc / 'porter.conf').write_text(conf)
        return r.returncode, json.loads(r.stdout)

    code, got = with_settings({'mail-root': '/nowhere/mail'})
    check('prove refutes a mail root that does not exist', code == 1 and 'mail-root /nowhere/mail: it does not exist' in json.dumps(got), (code, got))
    if os.geteuid() == 0:
        locked = p.dir / 'locked'
        locked.mkdir(mode=0o700)
        code, got = with_settings({'mail-root': locked, 'mail-user': 'nobody'})
        check('prove refutes a mail root that its user may not write to', code == 1 and 'may not write there' in json.dumps(got), (code, got))
    everybody, careful = Sink(), Sink(rcpt=lambda a: '550 5.1.1 nobody' if a.startswith('probe-') else None)
    before = (p.etc / 'domains').read_text()
    with Dns({'all.test': {'MX': ['10 mx.all.test']}, 'mx.all.test': {'A': ['127.0.0.1']}, 'down.test': {'MX': ['10 mx.down.test']}, 'mx.down.test': {'A': ['127.0.0.9']}}) as d:
        def probed(line, port=everybody.port):
            p.map('domains', before + '\n' + line + '\n')
            code, got = with_settings({'dns-resolvers': d.resolver, 'hop-port': port, 'dns-timeout': '3'}, '--probe')
            p.map('domains', before)
            return code, got, json.dumps(got)
        code, got, said = probed('r.test relay mx:down.test recipients=ask')
        check('prove ends with 2, and says why, where it could not tell', code == 2 and got['verdict'] == 'could not tell' and 'did not say' in said, got)
        code, got, said = probed('all.test relay mx recipients=ask')
        check('prove --probe refutes a hop behind an MX that accepts everybody', code == 1 and 'random name' in said, got)
        check('and proves one that does not', probed('all.test relay mx recipients=ask', careful.port)[0] == 0)
        p.map('somebody', 'ann@all.test')
        code, got, said = probed('all.test relay mx recipients=somebody')
        check('in front of which a map of recipients is noted, and proved', code == 0 and 'map of recipients alone' in said, got)
        check('a probe brings no message', not everybody.messages and not careful.messages)
    for name, maps, piece in (('a catch-all', {'domains': '\n*.c.test mailbox catch-all=alice@example.test\n'}, 'hides typing errors'),
                              ('a quota below the size limit', {'recipients': '\nq@example.test quota=1k\n'}, 'below the size limit')):
        refuted_note = {m: (p.etc / m).read_text() for m in maps}
        for m, t in maps.items():
            p.map(m, refuted_note[m] + t)
        rc, got = prove(p)
        for m, t in refuted_note.items():
            (p.etc / m).write_text(t)
        check(f'prove notes {name} and still proves', rc == 0 and any(piece in f['text'] and f['grade'] == 'note' for f in got['findings']), got)

    # -- an accept-all hop, by --probe -------------------------------------------------------------------------------------
    import socket
    hop = socket.create_server(('127.0.0.1', 0))

    def accept_all():
        while True:
            try:
                c, _ = hop.accept()
            except OSError:
                return
            with c, c.makefile('rb') as f:
                c.sendall(b'220 hop\r\n')
                for line in f:
                    c.sendall(b'250 fine\r\n' if not line.startswith(b'QUIT') else b'221 bye\r\n')
    threading.Thread(target=accept_all, daemon=True).start()
    domains = (p.etc / 'domains').read_text()
    p.map('domains', domains + f'\nall.test relay 127.0.0.1:{hop.getsockname()[1]} recipients=ask\n')
    r = p.ctl('prove', '--probe', '--json')
    check('prove --probe refutes a hop that accepts everybody', r.returncode == 1 and 'random name' in r.stdout, r.stdout[-500:])
    hop.close()
    p.map('domains', domains)

    # -- looking up ---------------------------------------------------------------------------------------------------------
    r = p.ctl('lookup', 'recipients', 'ALICE@Example.TEST')
    check('lookup finds a key in any spelling, with its line', r.returncode == 0 and 'alice@example.test' in r.stdout and 'recipients:' in r.stdout, r.stdout + r.stderr)
    r = p.ctl('lookup', 'recipients', 'no address')
    check('a key that can be none ends with 2, and one complaint', r.returncode == 2 and r.stderr.count('\n') == 1, (r.returncode, r.stderr))
    keep_access = (p.etc / 'access').read_text() if (p.etc / 'access').exists() else ''
    p.map('access', '198.51.100.0/24 refuse Not from here.\n')
    check('lookup finds the network of an address, also as the map writes it', all('198.51.100.0/24' in p.ctl('lookup', '--text', 'access', x).stdout for x in ('198.51.100.7', 'client:198.51.100.7')))
    p.map('access', keep_access)
    check('lookup of an absent key ends with 1', p.ctl('lookup', 'recipients', 'ghost@example.test').returncode == 1)
    r = p.ctl('list', 'recipients', 'a*@example.test')
    check('list takes a pattern', r.returncode == 0 and 'alice@' in r.stdout and 'bob@' not in r.stdout, r.stdout)
    check('list keeps secrets', '$argon2' not in p.ctl('list', 'credentials').stdout)

    # -- editing, seen by the running server at once --------------------------------------------------------------------------
    p.map('recipients', (p.etc / 'recipients').read_text() + '# a comment that stays\n')
    check('an unknown recipient is refused first', rcpt(p, 'carol@example.test') == 550)
    r = p.ctl('user', 'add', '--quota', '10M', 'carol@example.test')
    check('user add adds a line and compiles', r.returncode == 0 and 'carol@example.test' in (p.etc / 'recipients').read_text(), r.stdout + r.stderr)
    check('the running server takes it without a restart', soon(lambda: rcpt(p, 'carol@example.test') == 250))
    check('comments stay', '# a comment that stays' in (p.etc / 'recipients').read_text())
    check('user add twice is told with its line', 'line' in p.ctl('user', 'add', 'carol@example.test').stderr)
    check('user quota changes the line', p.ctl('user', 'quota', 'carol@example.test', '20M').returncode == 0 and 'quota=20M' in (p.etc / 'recipients').read_text())
    r = p.ctl('user', 'passwd', 'carol@example.test', input='secret word\n')
    line = (p.etc / 'credentials').read_text()
    check('user passwd writes an argon2id hash and a SCRAM verifier from standard input', r.returncode == 0 and '$argon2id$' in line and 'SCRAM-SHA-256$' in line, r.stderr)
    check('the password is in no file', 'secret word' not in line)
    check('a password is never taken from the arguments', p.ctl('user', 'passwd', 'carol@example.test', 'secret').returncode == 64 and (p.etc / 'credentials').read_text() == line)

    meanwhile = []

    def on_terminal():
        pid, fd = pty.fork()
        if pid == 0:
            os.execv(BUILD / 'porterctl', ['porterctl', '-c', str(p.etc), 'user', 'passwd', 'carol@example.test'])
        said, sent = b'', 0
        end = time.monotonic() + PATIENCE * SLOW
        while time.monotonic() < end:
            if select.select([fd], [], [], .2)[0]:
                try:
                    got = os.read(fd, 4096)
                except OSError:
                    break
                if not got:
                    break
                said += got
            if sent < said.count(b': '):
                if not sent:
                    meanwhile.append(p.ctl('alias', 'add', 'meanwhile@example.test', 'alice').returncode)
                sent += 1
                os.write(fd, b'another word\n')
        os.close(fd)     # a hang-up ends it, if it still waits
        status = os.waitpid(pid, 0)[1]
        return status == 0 and b'another word' not in said
    check('user passwd asks twice on a terminal, without echo', on_terminal())
    check('and while it asks others may edit', meanwhile == [0], meanwhile)
    p.ctl('alias', 'del', 'meanwhile@example.test')
    check('alias add makes an alias', p.ctl('alias', 'add', 'team@example.test', 'alice', 'carol').returncode == 0 and soon(lambda: rcpt(p, 'team@example.test') == 250))
    before = (p.etc / 'recipients').read_text()
    r = p.ctl('user', 'del', 'carol@example.test')
    check('what the rule refuses is put back', r.returncode != 0 and (p.etc / 'recipients').read_text() == before and 'aliases:' in r.stderr, r.stderr)
    kept = (p.etc / 'aliases').read_text()
    p.map('aliases', kept + '\ncrew: alice, # the first\n  # and\n\tbob   # the second "#2"\n# below\nlast: alice\n')
    r = p.ctl('alias', 'add', 'crew', 'carol')
    text = (p.etc / 'aliases').read_text()
    check('an edit keeps the comments of an entry of several lines', r.returncode == 0 and all(text.count(x) == 1 for x in ('crew: alice, bob, carol # the first\n', '\t# and\n', '\t# the second "#2"\n', '# below\n', 'last: alice')), text)
    p.map('aliases', kept)
    before = (p.etc / 'recipients').read_text()
    r = p.ctl('user', 'add', 'x@nowhere-served.test')
    check('user add tells where no domain has its line', r.returncode == 0 and 'no line of domains serves nowhere-served.test' in r.stderr, r.stderr)
    p.map('recipients', before)
    r = p.ctl('user', 'quota', 'carol@example.test', '12Q')
    check('user quota says what is no size', r.returncode == 64 and '12Q is no size' in r.stderr, r.stderr)
    check('alias del takes one target away', p.ctl('alias', 'del', 'team@example.test', 'carol').returncode == 0 and 'carol' not in (p.etc / 'aliases').read_text())
    check('user del takes recipients and credentials away', p.ctl('user', 'del', 'carol@example.test').returncode == 0 and 'carol' not in (p.etc / 'credentials').read_text())
    check('and the running server refuses again', soon(lambda: rcpt(p, 'carol@example.test') == 550))
    check('domain add takes a U-label', p.ctl('domain', 'add', 'bücher.test', 'alias-of', 'example.test').returncode == 0 and soon(lambda: rcpt(p, 'alice@xn--bcher-kva.test') == 250))
    check('domain del takes its A-label', p.ctl('domain', 'del', '--yes', 'xn--bcher-kva.test').returncode == 0 and 'bücher' not in (p.etc / 'domains').read_text())
    check('user list shows the mailboxes', 'alice@example.test' in p.ctl('user', 'list').stdout)

    # -- two at once ----------------------------------------------------------------------------------------------------------
    some = [subprocess.Popen([BUILD / 'porterctl', '-c', p.etc, 'alias', 'add', f'crowd{i}@example.test', 'alice'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for i in range(6)]
    ended = [(c.communicate(timeout=120 * SLOW), c.returncode) for c in some]
    text = (p.etc / 'aliases').read_text()
    check('of edits at the same moment each is either made or told that nothing was changed', all((f'crowd{i}@' in text) == (code == 0) and (code == 0 or said[1]) for i, (said, code) in enumerate(ended))
          and any(code == 0 for _, code in ended), (ended, text))
    for i in range(6):
        p.ctl('alias', 'del', f'crowd{i}@example.test')

    # -- diff and rollback ---------------------------------------------------------------------------------------------------
    check('diff of nothing ends with 0', p.ctl('diff').returncode == 0)
    keep = {m: (p.etc / m).read_text() for m in ('recipients', 'aliases')}
    p.map('recipients', keep['recipients'].replace('bob@example.test', '# bob') + '\ndora@example.test maildir:d/ora\n')
    p.map('aliases', 'postmaster: alice\nteam@example.test alice@example.test, dora@example.test\n')
    r = p.ctl('diff')
    check('diff says who is added, gone, and led elsewhere', r.returncode == 1 and re.search(r'added\s+dora@', r.stdout) and re.search(r'gone\s+bob@', r.stdout) and re.search(r'changed\s+team@', r.stdout), r.stdout)
    check('compile takes it', p.ctl('compile').returncode == 0 and soon(lambda: rcpt(p, 'dora@example.test') == 250))
    check('rollback returns to the generation before', p.ctl('rollback').returncode == 0 and soon(lambda: rcpt(p, 'dora@example.test') == 550) and soon(lambda: rcpt(p, 'bob@example.test') == 250))
    for m, t in keep.items():
        p.map(m, t)

    # -- bad input under a running server -----------------------------------------------------------------------------------------
    p.map('recipients', keep['recipients'] + '\x00\x01 binary\n')
    r = p.ctl('compile')
    check('a bad map is refused with file and line, and the old generation serves', r.returncode == 65 and 'recipients:' in r.stderr and rcpt(p, 'alice@example.test') == 250, r.stderr)
    before = {m: (p.etc / m).read_text() for m in ('recipients', 'aliases', 'routes')}
    for m, text in (('recipients', 'alice@example.test\nx y z\n\nbob@example.test mailbox:?\n' + 'nobody\n' * 8), ('aliases', 'a: "\nb: ghost@example.test\nc: :include:/nowhere\n'), ('routes', 'x\ny\n')):
        p.map(m, text)
    for command in ('compile', 'check'):
        said = [(m[1], int(m[2])) for m in re.finditer(r'^(\w+):(\d+): ', p.ctl(command).stderr, re.M)]
        check(f'{command} tells what is wrong by file and line', said == sorted(said) and len({f for f, _ in said}) == 3 and max(n for _, n in said) >= 10, said)
    for m, text in before.items():
        p.map(m, text)
    p.map('recipients', 'nonsense\n' * 300000)
    r = p.ctl('compile')
    check('of 300,000 errors the first fifty are shown, then their number', r.returncode == 65 and 'recipients:50:' in r.stderr and 'recipients:51:' not in r.stderr
          and re.search(r'300,?000|299,?950', r.stderr) and len(r.stderr.splitlines()) < 60, r.stderr[-600:])
    p.map('recipients', keep['recipients'])
    serving = os.readlink(p.dir / 'maps/current')
    p.map('recipients', keep['recipients'] + 'never@example.test\n')
    check('compile --no-prove publishes nothing', p.ctl('compile', '--no-prove').returncode == 0 and os.readlink(p.dir / 'maps/current') == serving and rcpt(p, 'never@example.test') == 550)
    p.map('recipients', keep['recipients'])

    def terminal(argv, seconds=60):
        """What a command says to a terminal, and its exit code."""
        pid, fd = pty.fork()
        if pid == 0:
            os.execv(BUILD / 'porterctl', ['porterctl', '-c', str(p.etc), *argv])
        said, end = b'', time.monotonic() + seconds * SLOW
        while time.monotonic() < end:
            if select.select([fd], [], [], .2)[0]:
                try:
                    got = os.read(fd, 65536)
                except OSError:
                    break
                if not got:
                    break
                said += got
        os.close(fd)
        return said, os.waitpid(pid, 0)[1]

    p.map('recipients', keep['recipients'] + ''.join(f'k{i}@example.test\n' for i in range(300000)))
    said, status = terminal(['compile'])
    check('a long compile shows its progress on a terminal', status == 0 and re.search(rb'\r[^\n]*\d+ ?%', said), said[-500:])
    check('and nothing of the kind elsewhere', '%' not in (lambda r: r.stdout + r.stderr)(p.ctl('compile')))
    two = [subprocess.Popen([BUILD / 'porterctl', '-c', p.etc, 'compile'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ended = [(c.communicate(timeout=120 * SLOW)[1], c.returncode) for c in two]
    check('of compiles at once one works; the others are told, or wait their turn', any(code == 0 for _, code in ended) and all(code == 0 or 'another compile is under way' in said for said, code in ended), ended)
    check('and what serves is whole', rcpt(p, 'k299999@example.test') == 250 or soon(lambda: rcpt(p, 'k299999@example.test') == 250))

    # -- maps cost a process nothing of its own -----------------------------------------------------------------------------------------
    def own_pages(pid):
        """KiB of map files that are mapped, and KiB of those that are this process's alone (copied pages)."""
        mapped = own = 0
        name = ''
        for line in Path(f'/proc/{pid}/smaps').read_text().splitlines():
            if re.match(r'[0-9a-f]+-[0-9a-f]+ ', line):
                name = line.split()[-1]
            elif name.endswith('.db') and line.startswith('Rss:'):
                mapped += int(line.split()[1])
            elif name.endswith('.db') and line.startswith('Anonymous:'):
                own += int(line.split()[1])
        return mapped, own

    for i in range(0, 300000, 30000):
        rcpt(p, f'k{i}@example.test')
    pages = [own_pages(pid) for pid in p.roles()['smtpd']] if may_look() else []
    if pages:
        check('maps are pages of the page cache, which all processes share: none has any of its own', sum(m for m, _ in pages) > 0 and not any(own for _, own in pages), pages)

    # -- kill -9 of a compile at any moment ----------------------------------------------------------------------------------------
    big = keep['recipients'] + ''.join(f'k{i}@example.test\n' for i in range(60000))
    p.map('recipients', big)
    t0 = time.monotonic()
    ok = p.ctl('compile').returncode == 0
    length = time.monotonic() - t0
    good = True
    for i in range(12):
        p.map('recipients', big + f'extra{i}@example.test\n')
        c = subprocess.Popen([BUILD / 'porterctl', '-c', p.etc, 'compile'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(length * (i + .5) / 12)
        c.kill()
        c.wait()
        current = os.readlink(p.dir / 'maps/current')
        good = good and rcpt(p, 'alice@example.test') == 250 and p.ctl('explain', 'k59999@example.test').returncode == 0 and current.isdigit()
    check('kill -9 of a compile at any moment leaves the old generation', ok and good)
    r = p.ctl('compile')
    check('and the next compile cleans up and works', r.returncode == 0 and not list((p.dir / 'maps').glob('*.tmp')), r.stderr)

    # -- a damaged generation ---------------------------------------------------------------------------------------------------------------
    import shutil
    now = os.readlink(p.dir / 'maps/current')
    for folder in ('maps', 'secrets'):
        shutil.copytree(p.dir / folder / now, p.dir / folder / '900')
    damaged = p.dir / 'maps/900/recipients.db'
    damaged.chmod(0o644)
    bytes_ = bytearray(damaged.read_bytes())
    bytes_[5000] ^= 0x55
    damaged.write_bytes(bytes_)
    r = p.ctl('rollback', '900')
    check('a damaged generation is not rolled back to', r.returncode == 65 and 'damaged' in r.stderr and os.readlink(p.dir / 'maps/current') == now, r.stderr)
    os.symlink('900', p.dir / 'maps/new')
    os.rename(p.dir / 'maps/new', p.dir / 'maps/current')
    p.ctl('reload')
    check('a damaged generation is not taken: the old one serves, with an alert', soon(lambda: 'damaged' in json.dumps(p.status())) and rcpt(p, 'alice@example.test') == 250)
    damaged.write_bytes(b'not one of ours')
    r = p.ctl('lookup', 'recipients', 'alice@example.test')
    check('and lookup says what to do', r.returncode == 65 and 'damaged, or of another version; porterctl compile' in r.stderr, r.stderr)
    check('and the next compile mends it', p.ctl('compile').returncode == 0 and os.readlink(p.dir / 'maps/current') == '901' and soon(lambda: p.status()['maps'] == 901))

    # -- a source that fails is an alert of the running server --------------------------------------------------------------------------
    p.map('sync', 'inner command every=1h /nowhere/list')
    p.ctl('sync', 'inner')
    check('a synchronised map that fails is an alert in status', p.wait(lambda: 'sync inner' in json.dumps(p.status())), json.dumps(p.status())[:500])

    p.map('sync', 'inner command every=soon /nowhere/list\nother exec /x\n')
    r = p.ctl('check')
    check('check reads the file sync, too', r.returncode == 65 and 'sync:1: inner' in r.stderr and 'sync:2: other' in r.stderr, r.stderr)
    p.ctl('sync', '--due')
    check('a line of it that is wrong is an alert as well', p.wait(lambda: 'sync other' in json.dumps(p.status())), json.dumps(p.status())[:500])
    p.map('sync', 'inner command /x\ninner command /y\n')
    check('and so is a file that can not be read', p.ctl('sync', '--due').returncode == 65 and p.wait(lambda: 'a line of the file sync' in json.dumps(p.status())), json.dumps(p.status())[:2000])
    r = p.ctl('check')
    check('which check tells with its lines', r.returncode == 65 and 'sync:2:' in r.stderr, r.stderr)
    p.map('sync', 'inner command /bin/false\n')
    check('a command that fails is told with its exit code', 'exit code 1;' in p.ctl('sync', 'inner').stderr)
    p.map('sync', '')

    # -- maps removed under the running server ----------------------------------------------------------------------------------------
    (p.etc / 'aliases').unlink()
    r = p.ctl('compile')
    check('a text map that is gone is told, and the generation that has it stays', r.returncode == 65 and 'aliases:' in r.stderr and 'its text is gone' in r.stderr and rcpt(p, 'team@example.test') == 250, r.stderr)
    (p.etc / 'aliases').symlink_to('/nowhere/aliases')
    r = p.ctl('compile')
    check('as is a link to what is not there', r.returncode == 65 and 'leads nowhere' in r.stderr, r.stderr)
    (p.etc / 'aliases').unlink()
    os.mkfifo(p.etc / 'aliases')
    r = p.ctl('compile')
    check('a pipe in a map\'s place is no map, and is not waited for', r.returncode == 65 and 'no regular file' in r.stderr, r.stderr)
    (p.etc / 'aliases').unlink()
    p.map('aliases', '')
    check('an empty file is an empty map', p.ctl('compile').returncode == 0 and soon(lambda: rcpt(p, 'team@example.test') == 550))
    generation = p.dir / 'maps' / os.readlink(p.dir / 'maps/current')
    subprocess.run(['chmod', '-R', 'u+w', generation]), subprocess.run(['rm', '-rf', generation])
    check('a generation removed under a running server goes on serving', rcpt(p, 'alice@example.test') == 250)
    p.map('aliases', keep['aliases'])
    check('and a compile makes a new one', p.ctl('compile').returncode == 0 and soon(lambda: rcpt(p, 'team@example.test') == 250))

# -- a full disk --------------------------------------------------------------------------------------------------------------------------------
with Porter('fulldisk', start=False) as p:
    small = p.dir / 'small'
    small.mkdir()
    if os.geteuid() or subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1500k', 'tmpfs', small]).returncode:
        skip('a compile on a full disk leaves the old generation', 'no tmpfs can be mounted')
    else:
        try:
            p.set({'maps-directory': small / 'maps'})
            first = p.ctl('compile')
            p.map('recipients', (p.etc / 'recipients').read_text() + ''.join(f'k{i}@example.test\n' for i in range(60000)))
            r = p.ctl('compile')
            check('a compile on a full disk is told and leaves the old generation', first.returncode == 0 and r.returncode != 0 and 'space' in r.stderr and os.readlink(small / 'maps/current') == '2'
                  and not list((small / 'maps').glob('*.tmp')) and p.ctl('explain', 'alice@example.test').returncode == 0, first.stderr + r.stderr)
        finally:
            subprocess.run(['umount', small])

# -- the examples -----------------------------------------------------------------------------------------------------------------------------
with Porter('examples', start=False) as p:
    for f in (TOP / 'etc/examples').iterdir():
        if f.name in ('porter.conf', 'sync'):
            continue
        text = f.read_text()
        p.map(f.name, '\n'.join(l[1:] if re.match(r'#(\S|  +\S)', l) else l for l in text.splitlines()))
    p.map('inner-recipients', 'known@inner.example.org')
    (p.etc / 'lists').mkdir(exist_ok=True)
    (p.etc / 'lists/everyone').write_text('alice@example.org\nbob@example.org\n')
    r = p.ctl('compile')
    check('every line of the examples compiles', r.returncode == 0, r.stderr)
    page = (TOP / 'etc/man/porter-maps.5').read_text()
    maps = [m for line in re.findall(r'^\.Ss (.+)$', page.split('.Sh MAPS')[1].split('.Sh SYNCHRONISED')[0], re.M) for m in line.split(', ')]
    check('each map of porter-maps(5) has an example', len(maps) > 11 and not [m for m in maps if not (TOP / 'etc/examples' / m).exists()], maps)
    missing = [f.name for f in (TOP / 'etc/examples').iterdir() if f.name not in page]
    check('porter-maps(5) names every map that has an example', not [m for m in missing if m != 'porter.conf'], missing)
finish()
