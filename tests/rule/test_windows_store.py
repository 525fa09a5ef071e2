"""rule.md's windows in the mail store: a second sync that failed after a reader had moved the message; and what is looked for there after a crash. strace lets calls of the mailbox process fail."""
import atexit, os, shutil, signal, sys, tempfile, time
from pathlib import Path
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
from crash import Crash, failing
from porter import Porter, check, finish, skip, SLOW
from sink import Sink

NAMES = 'fsync,syncfs'                            # what makes names durable, whichever way this file system is served; content goes before, by fdatasync or as a range
BOTH = ['alice@example.test', 'bob@example.test']


def mailbox_pid():
    return p.roles()['mailbox'][0]


def move_as_a_reader_does(mark, box, seconds):
    """From new/ to cur/, as soon as it is seen there."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for f in (box / 'new').iterdir():
            try:
                if mark in f.read_bytes():
                    f.rename(box / 'cur' / (f.name + ':2,S'))
                    return True
            except OSError:
                pass                                # it was taken back before
        time.sleep(.005)
    return False


def second_sync_fails():
    """The sync behind the names is held open, a reader moves alice's copy, then the sync fails. (mark, sender, the answer), or None: the reader came too late."""
    for wait_s in (3, 10, 30):
        mark = c.new_mark()
        sender = f'{mark.decode()}@out.test'
        with failing(mailbox_pid(), NAMES, wait_s=wait_s) as f:
            if not f.good:
                return None
            t, _ = c.begin(sender, BOTH, c.content(mark))
            moved = move_as_a_reader_does(mark, p.maildir('alice'), wait_s + 10 * SLOW)
            answer = t.reply()
            t.close()
        if moved:
            return mark, sender, answer
    return None


def store_windows():
    got = second_sync_fails()
    if not got:
        skip('window: a second sync that failed after a reader moved the message', 'strace may not attach, or the reader is too slow here')
        return
    mark, sender, answer = got
    copies = (c.here(mark), c.here(mark, 'bob'))
    check('window: a second sync fails after a reader moved the message: 451, the others\' copies are taken back, the moved one is beyond reach', answer[0] == 451 and copies == (1, 0), (answer, copies))
    due = c.retry(sender, BOTH, c.content(mark))
    copies = (c.here(mark), c.here(mark, 'bob'))
    check('window: its retry leaves one second copy with that reader, and one with who had not moved it', not due and copies == (2, 1), (due, copies))


def crash_behind_commit(recipients, seen, kill=('smtpd',), message_id=True):
    """The mailbox has committed, its answer is not heard, `kill` die. (mark, sender)"""
    mark = c.new_mark()
    sender = f'{mark.decode()}@out.test'
    for again in range(5):                          # until the question was on its way when the mailbox went on
        t, _ = c.begin(sender, recipients, c.content(mark, message_id), before=lambda: c.signal_all(['mailbox'], signal.SIGSTOP))
        c.is_asked(t)
        c.let_mailbox_commit(mark, lambda: seen(mark))
        c.signal_all(kill, signal.SIGKILL)
        c.signal_all(['smtpd'], signal.SIGCONT)
        t.close()
        c.up()
        if seen(mark):
            break
    return mark, sender


def what_is_found_is_synced():
    """It was committed, smtpd died before its 250: the retry is a 250 only when what is found there is durable."""
    mark, sender = crash_behind_commit(BOTH[:1], c.here)
    with failing(mailbox_pid(), NAMES) as f:
        t, codes = c.begin(sender, BOTH[:1], c.content(mark))
        answer = t.reply()[0] if codes == [250] else codes[0]
        t.close()
    if f.good:
        check('what is found in a mailbox after a crash is called delivered only when it is synced', answer == 451 and c.here(mark) == 1, (answer, c.here(mark)))
    due = c.retry(sender, BOTH[:1], c.content(mark))
    check('and then it is one copy', not due and c.here(mark) == 1, (due, c.here(mark)))


def mailbox_dies_behind_the_name(kill):
    """The name is there, its sync is held open, and `kill` die; smtpd lives, and nobody may be there whom it could tell."""
    for wait_s in (2, 6, 15):
        mark = c.new_mark()
        sender = f'{mark.decode()}@out.test'
        with failing(mailbox_pid(), NAMES, error=None, wait_s=wait_s) as f:
            if not f.good:
                return
            t, _ = c.begin(sender, BOTH, c.content(mark))
            p.wait(lambda: c.here(mark) and c.here(mark, 'bob'), wait_s)
            c.signal_all(['parent'], signal.SIGSTOP)        # who is dead stays so
            for role in kill:
                gone = p.log_text().count('peer=' + role)
                c.signal_all([role], signal.SIGKILL)
                p.wait(lambda: p.log_text().count('peer=' + role) > gone, 5)
            answer = t.reply()[0]
            t.close()
            c.signal_all(['parent'], signal.SIGCONT)
        c.up()
        due = c.retry(sender, BOTH[::-1], c.content(mark))
        if answer != 250:
            copies = (c.here(mark), c.here(mark, 'bob'))
            check(f'{" and ".join(kill)} die between the names and their sync: 451, and one copy each', answer == 451 and not due and copies == (1, 1), (answer, due, copies, p.log_text()[-2000:]))
            return


def in_box(mark):
    return box.read_bytes().count(b'Subject: ' + mark) if box.exists() else 0


def runs(mark):
    return taken.read_bytes().count(b'Subject: ' + mark) if taken.exists() else 0


def looked_for():
    """An mbox names the transactions of its messages; that a program said yes is remembered while the process lives that ran it."""
    mark, sender = crash_behind_commit(['box@example.test', 'alice@example.test'], in_box, message_id=False)
    due = c.retry(sender, ['alice@example.test', 'box@example.test'], c.content(mark, False))
    check('smtpd dies between an mbox\'s commit and its 250: one copy there, one in the Maildir beside it', not due and (in_box(mark), c.here(mark)) == (1, 1), (due, in_box(mark), c.here(mark)))
    mark, sender = crash_behind_commit(['box@example.test'], in_box, kill=('smtpd', 'mailbox'))
    due = c.retry(sender, ['box@example.test'], c.content(mark))
    check('smtpd and the mailbox process die there: one copy', not due and in_box(mark) == 1, (due, in_box(mark)))
    p.stop()                                        # the parent waits longer and longer before it starts what dies again and again
    p.start()
    mark, sender = crash_behind_commit(['prog@example.test'], runs)
    due = c.retry(sender, ['prog@example.test'], c.content(mark))
    check('smtpd dies between a program\'s yes and its 250: it runs once', not due and runs(mark) == 1, (due, runs(mark)))
    mark, sender = crash_behind_commit(['prog@example.test', 'alice@example.test'], lambda m: runs(m) and c.here(m))
    due = c.retry(sender, ['alice@example.test', 'prog@example.test'], c.content(mark))
    check('the same beside a mailbox: one copy each', not due and (runs(mark), c.here(mark)) == (1, 1), (due, runs(mark), c.here(mark)))
    mark, sender = crash_behind_commit(['prog@example.test'], runs, kill=('mailbox',))
    due = c.retry(sender, ['prog@example.test'], c.content(mark))
    check('window: a program\'s yes is lost with the mailbox process, as a hop\'s 250 with its connection: at most one second run', not due and runs(mark) in (1, 2), (due, runs(mark)))
    print(f'row runs too many in the window of a program\'s yes: {runs(mark) - 1}')


def programs_count_as_hops():
    """Its refusal of the content is not the mailboxes', what it took it has."""
    mark = c.new_mark()
    sender, both = f'{mark.decode()}@out.test', ['refuser@example.test', 'alice@example.test']
    t, codes = c.begin(sender, both, c.content(mark))
    answer = t.reply()[0]
    t.close()
    check('a program refuses what a mailbox would take: nothing is committed, 451', (codes, answer, c.here(mark)) == ([250, 250], 451, 0), (codes, answer, c.here(mark)))
    t, codes = c.begin(sender, both[:1], c.content(mark))
    answer = t.reply()[0]
    t.close()
    check('and on the retry it refuses alone', codes == [250] and answer == 550, (codes, answer))
    due = c.retry(sender, both[1:], c.content(mark))
    check('and the mailbox has one copy', not due and c.here(mark) == 1, (due, c.here(mark)))
    mark = c.new_mark()
    sender, both = f'{mark.decode()}@out.test', ['prog@example.test', 'alice@example.test']
    if strace:
        with failing(mailbox_pid(), 'linkat,renameat,renameat2'):
            t, _ = c.begin(sender, both, c.content(mark))
            answer = t.reply()[0]
            t.close()
        check('a program took it and then no mailbox could: 451', answer == 451 and (runs(mark), c.here(mark)) == (1, 0), (answer, runs(mark), c.here(mark)))
    due = c.retry(sender, both, c.content(mark))
    check('and it has run once when all have it', not due and (runs(mark), c.here(mark)) == (1, 1), (due, runs(mark), c.here(mark)))
    mark = c.new_mark()
    t, codes = c.begin('bob@example.test', ['refuser@example.test', 'x@far.test'], c.content(mark))
    answer = t.reply()[0]
    t.close()
    check('a program refuses before the queue has taken anything: 451, and nothing leaves', answer == 451 and mark.decode() not in p.ctl('queue', 'list').stdout, answer)
    due = c.retry('bob@example.test', ['x@far.test', 'refuser@example.test'], c.content(mark))
    check('and its retry is one copy abroad', not due and p.wait(lambda: any(mark in m.content for m in far.messages)) and sum(mark in m.content for m in far.messages) == 1, due)
    mark = c.new_mark()
    due = c.retry('bob@example.test', ['x@far.test', 'prog@example.test', 'alice@example.test'], c.content(mark))
    copies = (p.wait(lambda: sum(mark in m.content for m in far.messages)), runs(mark), c.here(mark))
    check('a program, a mailbox and the queue in one transaction: one copy each', not due and copies == (1, 1, 1), (due, copies))


far = Sink()
folder = tempfile.mkdtemp(prefix='porter-windows-')
os.chmod(folder, 0o777)
atexit.register(shutil.rmtree, folder, True)
taken = Path(folder) / 'taken'
strace = os.geteuid() == 0 and shutil.which('strace')
p = Porter('windows-store', settings={'smtpd-processes': '1'}, maps={
    'recipients': f'box@example.test mbox:boxes/box\nprog@example.test program:/bin/sh -c cat>>{taken}\nrefuser@example.test program:/bin/sh -c exit${{IFS}}77\n',
    'routes': f'far.test [127.0.0.1]:{far.port}\n'})
box = p.mail / 'boxes/box'
c = Crash(p)
p.send(to=BOTH)                                     # their folders are there
if strace:
    store_windows()
    what_is_found_is_synced()
    mailbox_dies_behind_the_name(['mailbox'])
    mailbox_dies_behind_the_name(['queue', 'mailbox'])
else:
    skip('what fails in the mail store when a commit is under way', 'needs root and strace')
looked_for()
programs_count_as_hops()
check('it ends in order', c.up() and p.stop() == 0)
finish()
