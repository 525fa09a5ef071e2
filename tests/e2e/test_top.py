#!/usr/bin/env python3
"""porterctl top on a terminal: a picture that fits its window, also a changed one; q, ^C and ^Z leave the terminal as it was; no terminal, and nobody who serves."""
import fcntl, json, os, pty, re, select, signal, struct, subprocess, termios, time
from porter import BUILD, PATIENCE, SLOW, Porter, check, finish

MESSAGES, PLACES = 120, 60


def as_a_shell_does():
    """In the child: its own terminal, and the signals of one who types; whoever started the tests in the background ignores SIGINT, and so would everything below."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_DFL)


class Terminal:
    """A window of so many rows and columns with a program in it, drawn as a VT100 draws: lines wrap, the last one scrolls."""

    def __init__(self, argv, rows, columns, env=None):
        self.rows, self.columns, self.scrolled = rows, columns, 0
        self.clear()
        self.master, self.slave = pty.openpty()
        self.size(rows, columns, tell=False)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen([str(a) for a in argv], stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True, env={**os.environ, 'TERM': 'vt100', **(env or {})},
                                        preexec_fn=as_a_shell_does)

    def clear(self):
        self.grid, self.at = [[' '] * self.columns for _ in range(self.rows)], [0, 0]

    def size(self, rows, columns, tell=True):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))      # the kernel sends SIGWINCH
        if tell:
            self.rows, self.columns, self.scrolled = rows, columns, 0
            self.clear()

    def newline(self):
        self.at[0] += 1
        if self.at[0] == self.rows:
            self.grid = self.grid[1:] + [[' '] * self.columns]
            self.at[0] -= 1
            self.scrolled += 1

    def draw(self, text):
        for token in re.findall(r'\x1b\[[0-9;?]*[A-Za-z]|.', text, re.S):
            y, x = self.at
            if token == '\x1b[H':
                self.at = [0, 0]
            elif token == '\x1b[K':
                self.grid[y][x:] = [' '] * (self.columns - x)
            elif token == '\x1b[J':
                self.grid[y][x:] = [' '] * (self.columns - x)
                self.grid[y + 1:] = [[' '] * self.columns for _ in range(self.rows - y - 1)]
            elif token == '\r':
                self.at[1] = 0
            elif token == '\n':
                self.newline()
            elif token[0] >= ' ':
                if x == self.columns:
                    self.newline()
                    self.at[1] = x = 0
                self.grid[self.at[0]][x] = token
                self.at[1] += 1

    def look(self, seconds=.2):
        """What stands in the window after so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.master], [], [], .05)[0]:
                try:
                    self.draw(os.read(self.master, 65536).decode())
                except OSError:
                    break
        return self.text()

    def text(self):
        return '\n'.join(''.join(row).rstrip() for row in self.grid).rstrip('\n')

    def wait(self, what):
        end = time.monotonic() + PATIENCE * SLOW
        while not what(self.look()) and time.monotonic() < end:
            pass
        return what(self.text())

    def key(self, text):
        os.write(self.master, text.encode())

    def state(self):
        """True while it runs, 'stopped', or its exit code."""
        if self.process.returncode is not None:
            return self.process.returncode
        pid, status = os.waitpid(self.process.pid, os.WNOHANG | os.WUNTRACED)
        if pid and os.WIFSTOPPED(status):
            self.stopped = True
            return 'stopped'
        if pid:
            self.process.returncode = os.waitstatus_to_exitcode(status)
            return self.process.returncode
        return True

    def ends(self, state=None):
        """How it ends, or that it comes to a state."""
        end = time.monotonic() + PATIENCE * SLOW
        while (s := self.state()) is True and time.monotonic() < end:
            self.look(.05)
        self.look(.05)
        return s

    def is_right(self):
        """Modes are as they were found, and the cursor stands at the front of a line of its own."""
        return termios.tcgetattr(self.slave) == self.before and self.at[1] == 0

    def close(self):
        if self.state() is True or self.process.returncode is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self.master)


def top(p, rows, columns, *argv, **kw):
    return Terminal(p._argv([BUILD / 'porterctl', '-c', p.etc, 'top', *argv]), rows, columns, **kw)


def fits(t):
    return t.scrolled == 0 and t.at[0] < t.rows


def is_whole(text):
    return all(w in text for w in ('porter  up', 'sessions', 'queue', 'reports', 'destination'))


def windows(p):
    t = top(p, 24, 80)
    check('at 80 x 24 all is there', t.wait(is_whole), t.text())
    check('nothing wraps or scrolls', fits(t) and t.text().count('mx:d') >= 5, t.text())
    check('what there is no room for is counted', re.search(r'^and \d+ more$', t.text(), re.M), t.text())
    sessions = [p.talk() for _ in range(3)]
    check('sessions are counted while they are open', t.wait(lambda text: re.search(r'sessions +3 open', text)), t.text())
    for s in sessions:
        s.close()
    check('and gone when they are', t.wait(lambda text: re.search(r'sessions +0 open', text)), t.text())
    t.size(50, 200)
    check('a larger window is filled', t.wait(lambda text: is_whole(text) and text.count('mx:d') > 25) and fits(t), t.text())
    t.size(6, 30)
    check('a tiny one is kept to', t.wait(lambda text: 'sessions' in text) and fits(t), t.text())
    t.size(24, 80)
    check('and back', t.wait(is_whole) and fits(t), t.text())
    t.key('x')
    check('a key that means nothing is not shown', 'x' not in t.look(.3).replace('mx:', '') and t.state() is True, t.text())
    t.key('q')
    check('q ends it', t.ends() == 0 and t.is_right(), (t.state(), t.at))
    t.close()


def signals(p):
    t = top(p, 24, 80)
    t.wait(is_whole)
    t.key('\x1a')
    check('^Z stops it and gives the terminal back', t.ends() == 'stopped' and t.is_right(), (t.state(), t.at))
    t.size(24, 80)
    os.kill(t.process.pid, signal.SIGCONT)
    check('it goes on', t.wait(is_whole) and not termios.tcgetattr(t.slave)[3] & termios.ICANON, t.text())
    t.key('\x03')
    check('^C ends it as a signal does', t.ends() == -signal.SIGINT and t.is_right(), (t.state(), t.at))
    t.close()
    t = top(p, 24, 80, '--every', '3600')
    check('the first picture does not wait for an hour', t.wait(is_whole), t.text())
    t.size(30, 90)
    check('nor does a new window', t.wait(is_whole) and fits(t), t.text())
    t.key('q')
    check('nor q', t.ends() == 0, t.state())
    t.close()
    t = top(p, 24, 80, '--times', '2')
    check('--times ends on a terminal, too', t.ends() == 0 and is_whole(t.text()) and t.is_right(), (t.state(), t.text()))
    t.close()
    t = top(p, 24, 80, env={'TERM': 'dumb'})
    check('a terminal that places no cursor gets lines, once', t.ends() == 0 and t.scrolled > PLACES - 24 and t.text().count('mx:d') > 20, (t.state(), t.text()))
    t.close()


def no_terminal(p):
    r = p.ctl('top')
    check('without a terminal it is told once, in plain lines', r.returncode == 0 and is_whole(r.stdout) and '\x1b' not in r.stdout and r.stdout.count('mx:d') == PLACES, r)
    r = p.ctl('top', '--json')
    told = json.loads(r.stdout)
    check('as JSON with the queue and how many destinations', r.returncode == 0 and told['queue.messages']['now'] == MESSAGES and told['destinations'] == PLACES, told)
    for wrong in (['--every', '0'], ['--every', 'x'], ['--times', '0'], ['more'], ['--colour']):
        r = p.ctl('top', *wrong)
        check(f'wrong usage: {" ".join(wrong)}', r.returncode == 64 and 'top [--every' in r.stderr, r)


def nobody_serves(p):
    t = top(p, 24, 80)
    t.wait(is_whole)
    p.stop()
    check('the end of the house is told, and the terminal is right', t.ends() == 69 and 'nothing runs here' in t.text() and t.is_right(), (t.state(), t.text()))
    t.close()
    t = top(p, 24, 80)
    check('nobody who serves is told at once', t.ends() == 69 and 'nothing runs here' in t.text() and t.is_right(), (t.state(), t.text()))
    t.close()


with Porter('top', start=False, settings={'dns-resolvers': '127.0.0.1@9', 'evidence': 'no'}) as p:
    p.start()
    p.stop()
    subprocess.run([BUILD / 'e2e/fill_spool', p.spool, str(MESSAGES), str(PLACES)], check=True, timeout=60)
    p.start()
    p.wait_log('queue-scanned')
    p.ctl('queue', 'retry', '--all')
    ready = p.wait(lambda: json.loads(p.ctl('top', '--json').stdout)['destinations'] == PLACES)
    check('the destinations rest', ready, p.ctl('top').stdout)
    windows(p)
    signals(p)
    no_terminal(p)
    nobody_serves(p)
finish()
