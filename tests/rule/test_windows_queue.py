"""A crash in a delivery to the queue leaves one copy, too: what has left the queue can't be looked for, so that it was taken is known otherwise (queue/flight.h). smtpd, the queue process or both die at each step,
the client retries, and what leaves is counted."""
import collections, os, shutil, signal, subprocess, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
from crash import Crash, failing
from porter import Porter, check, finish, skip, SLOW
from sink import Sink

SENDER = 'bob@example.test'
MANY = [f'{"long" * 12}-{i}@far.test' for i in range(9)]
far = Sink()
crashes = 0


def left(mark):
    """How often whoever got it most often got it: of a retry one recipient may be put off, and come alone."""
    return max(collections.Counter(r for m in list(far.messages) if mark in m.content for r in m.recipients).values(), default=0)


def copies(mark):
    """What has left, when nothing more is to leave."""
    p.wait(lambda: left(mark) and 'far.test' not in p.ctl('queue', 'list').stdout)
    return left(mark)


def rest():
    """The parent waits longer and longer before it starts what dies again and again."""
    global crashes
    crashes += 1
    if crashes % 3 == 0:
        p.stop()
        p.start()


def crash(kill, recipients=('x@far.test', 'y@far.test'), queue_works=True, message_id=True):
    """smtpd has asked the queue and stands still; the queue takes the message and delivers it, or stands still as well; then `kill` die; None: all. (mark, what is still due after the retry)"""
    rest()
    mark = c.new_mark()
    recipients = [f'{mark.decode()}-{r}' for r in recipients]       # of whom the ledger knows nothing: else it is asked before
    text = c.content(mark, message_id)
    for again in range(5):          # until the question was on its way when smtpd stood still
        t, _ = c.begin(SENDER, recipients, text, before=lambda: c.signal_all(['queue'], signal.SIGSTOP))
        time.sleep(.1 * 2 ** again)
        c.signal_all(['smtpd'], signal.SIGSTOP)
        if queue_works:
            c.signal_all(['queue'], signal.SIGCONT)
            p.wait(lambda: left(mark), 3)
        if kill:
            c.signal_all(kill, signal.SIGKILL)
            c.signal_all(['smtpd', 'queue'], signal.SIGCONT)
            if 'smtpd' not in kill and t.reply()[0] == 250:
                return mark, []     # the queue's word was on its way to smtpd already
        else:
            p.kill()
            p.start()
        t.close()
        c.up()
        if left(mark) or not queue_works:
            break
    return mark, c.retry(SENDER, recipients, text)


def queue_dies_behind_the_name(recipients):
    """The message's name is there, its sync is held open, and the queue process dies. None: it could not be held open."""
    for wait_s in (1, 4, 12):
        rest()
        mark = c.new_mark()
        recipients = [r if 'far' not in r else f'{mark.decode()}-{r}' for r in recipients]
        with failing(p.roles()['queue'][0], 'fsync,syncfs', error=None, wait_s=wait_s) as f:
            if not f.good:
                return None
            before = set(p.spool.glob('queue/*/*'))
            t, codes = c.begin(SENDER, recipients, c.content(mark))
            p.wait(lambda: set(p.spool.glob('queue/*/*')) - before, 4 * wait_s)     # its folder may be made, and synced, before
            c.signal_all(['queue'], signal.SIGKILL)
            answer = t.reply()
            t.close()
        c.up()
        due = c.retry(SENDER, recipients, c.content(mark))
        if answer[0] != 250:
            return mark, answer, due
    return None


def run():
    for title, kill, more in (('smtpd dies between the queue\'s commit and its 250', ['smtpd'], {}), ('smtpd and the queue process die there', ['smtpd', 'queue'], {}),
                              ('smtpd dies there, and the message has no Message-ID', ['smtpd'], {'message_id': False}),
                              ('the queue process dies there', ['queue'], {}), ('smtpd dies there, with more recipients than one record holds', ['smtpd'], {'recipients': MANY}), ('smtpd dies before the queue has taken anything', ['smtpd'], {'queue_works': False}),
                              ('both die before that', ['smtpd', 'queue'], {'queue_works': False})):
        mark, due = crash(kill, **more)
        check(f'{title}: one copy leaves', not due and copies(mark) == 1, (due, copies(mark), p.log_text()[-3000:]))
    mark, due = crash(None)
    check('window: every process dies between the queue\'s commit and its 250: at most one second copy', not due and copies(mark) in (1, 2), (due, copies(mark)))
    print(f'row second copies when every process dies behind the queue\'s commit: {left(mark) - 1}')
    for recipients in (['x@far.test'], ['alice@example.test', 'x@far.test']):
        got = strace and queue_dies_behind_the_name(recipients)
        what = 'the queue process dies between a message\'s name and its sync' + (', beside a mailbox' if len(recipients) > 1 else '')
        if not got:
            skip(what, 'needs root and strace')
            continue
        mark, answer, due = got
        counts = (c.here(mark), copies(mark))
        check(f'{what}: 451, and one copy everywhere', answer[0] == 451 and not due and counts == (len(recipients) - 1, 1), (answer, due, counts, p.log_text()[-3000:]))
    check('what was reclaimed is told in the log', p.wait_log('delivery-reclaimed'))


strace = os.geteuid() == 0 and shutil.which('strace')
p = Porter('windows-queue', settings={'smtpd-processes': '1'}, maps={'routes': f'far.test [127.0.0.1]:{far.port}\n'})
c = Crash(p)
run()
check('it ends in order', c.up() and p.stop() == 0)
finish()
