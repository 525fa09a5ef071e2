"""What is missing here (helpers, descriptors) is no fault of a next hop's: it is waited for, or the answer is 451, and nobody is called dead for it. Nor do recipients of one kind use up what
those of another need."""
import collections, os, shutil, socket, sys, tempfile, threading
from pathlib import Path
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
from crash import failing
from porter import Porter, check, finish, may_look, skip
from sink import Sink

MANY, PROGRAMS = 150, 210


def listen_at(path, backlog):
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    os.chmod(path, 0o666)
    s.listen(backlog)
    return s


def serve(listener, sink):
    def one(c):
        try:
            sink._serve(c, '')
        except (OSError, EOFError):
            pass
    while True:
        threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()


def at_once(p, address, count):
    """That many clients ask for one recipient at the same time, and stay; their replies."""
    talks = [p.talk() for _ in range(count)]
    for t in talks:
        t.say('EHLO c.test')
        t.say('MAIL FROM:<a@out.test>')
    for t in talks:
        t.raw(f'RCPT TO:<{address}>\r\n'.encode())
    replies = [t.reply() for t in talks]
    for t in talks:
        t.close()
    return replies


def codes(replies):
    return dict(collections.Counter(r[0] for r in replies))


def beside_programs(p):
    """As many programs at once as may run, and some: they all wait for the test."""
    talks = [p.talk() for _ in range(PROGRAMS)]
    for t in talks:
        t.raw(b'EHLO c.test\r\nMAIL FROM:<a@out.test>\r\nRCPT TO:<prog@example.test>\r\nDATA\r\n')
    for t in talks:
        while t.reply()[0] not in (354, 0):
            pass
        t.raw(b'Subject: x\r\n\r\nx\r\n.\r\n')
    late = p.wait_log('helper-not-started')
    code = p.send(to='u@example.test')
    check('programs that use up their helpers leave a Unix socket its own', late and code == 250, (late, code))
    Path(folder, 'go').touch()
    got = codes([t.reply() for t in talks])
    check('they are taken, what was too many is put off', set(got) == {250, 451} and got[250] >= 200, got)
    for t in talks:
        t.close()


def run(p, sink):
    beside_programs(p)
    replies = at_once(p, 'u@example.test', MANY)
    check(f'{MANY} clients at once for one Unix socket: each is asked for', codes(replies) == {250: MANY}, (codes(replies), replies[-1]))
    replies = at_once(p, 'h@example.test', MANY)
    check('one that takes no connection: 451 each', codes(replies) == {451: MANY}, codes(replies))
    check('and the other one is served', p.send(to='u@example.test') == 250)
    if not may_look():
        skip('no descriptor for a connection', 'only root may attach strace to these processes')
        return
    with failing(p.roles()['delivery'][0], 'socket', 'EMFILE') as f:
        if not f.good:
            skip('no descriptor for a connection', 'strace can\'t attach')
            return
        code = p.send(to='u@relay.test')
    check('no descriptor for a connection: 451', code == 451, code)
    check('and the hop is asked again as soon as there is one', p.send(to='u@relay.test') == 250 and len(sink.messages) == 1, p.log_text()[-1500:])


folder = tempfile.mkdtemp(prefix='porter-hops-')
try:
    os.chmod(folder, 0o755)
    hung = listen_at(f'{folder}/hung', 0)        # and never accepts
    filler = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    for s in filler:
        s.setblocking(False)
        s.connect_ex(f'{folder}/hung')
    threading.Thread(target=serve, args=(listen_at(f'{folder}/good', 200), Sink(lmtp=True)), daemon=True).start()
    sink = Sink()
    program = Path(folder, 'program')
    program.write_text(f'#!/bin/sh\nuntil [ -e {folder}/go ]; do sleep 1; done\n')
    program.chmod(0o755)
    with Porter('hop-shortage', settings={'evidence': 'no'}, maps={'domains': f'relay.test relay [127.0.0.1]:{sink.port} recipients=ask\n',
            'recipients': f'u@example.test lmtp:unix:{folder}/good\nh@example.test lmtp:unix:{folder}/hung\nprog@example.test program:{folder}/program\n'}) as p:
        run(p, sink)
finally:
    shutil.rmtree(folder, ignore_errors=True)
finish()
