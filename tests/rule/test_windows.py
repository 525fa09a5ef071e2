"""The windows in which a crash could leave a second copy (rule.md, "Windows where a duplicate remains possible"). Each step is held open by stopping a process, then processes are killed
-9, the client retries as RFC 5321 says, and the copies are counted: one everywhere, save in the windows that the rule lists, which have their number."""
import os, signal, socket, struct, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
from crash import Crash
from porter import PATIENCE, Porter, check, finish, SLOW
from sink import Sink

held = {}                       # mark: what happens in the hop at the dot of this message, before its 250


def dot(message):
    for mark, what in list(held.items()):
        if mark in message.content:
            return what()


hop, far = Sink(dot=dot), Sink()
unheard = []                    # messages of a hop that took them and died before its 250


TEAM = [f'u{i}-{"long" * 10}' for i in range(30)]
p = Porter('windows', start=False, settings={'smtpd-processes': '1'}, maps={'recipients': ''.join(f'{u}@example.test\n' for u in TEAM), 'aliases': 'crew@example.test ' + ' '.join(f'{u}@example.test' for u in TEAM)})
with open(p.etc / 'domains', 'a') as f:
    f.write(f'relay.test relay [127.0.0.1]:{hop.port} recipients=ask\n')
with open(p.etc / 'routes', 'a') as f:
    f.write(f'far.test [127.0.0.1]:{far.port}\n')
p.compile()
p.start()
crashes = 0
c = Crash(p)
content, new_mark, signal_all, begin, retry, here, up, let_mailbox_commit = c.content, c.new_mark, c.signal_all, c.begin, c.retry, c.here, c.up, c.let_mailbox_commit


def there(mark):
    return sum(mark in m.content for m in hop.messages)


def crash(stop_at_dot, kill, recipients, before_kill=lambda mark: None, message_id=True, sender=None):
    """At the hop's dot `stop_at_dot` are stopped; then the hop says 250; a moment later `kill` die, the rest goes on, and the client retries. (mark, what is still due)"""
    global crashes
    mark, reached = new_mark(), threading.Event()
    crashes += 1
    if crashes % 3 == 0:        # the parent waits longer and longer before it starts what dies again and again
        p.stop()
        p.start()

    def at_dot():
        signal_all(stop_at_dot, signal.SIGSTOP)
        reached.set()
    held[mark] = at_dot
    sender = sender or f'{mark.decode()}@out.test'
    t, codes = begin(sender, recipients, content(mark, message_id))
    reached.wait(PATIENCE * SLOW)
    del held[mark]
    p.wait(lambda: there(mark))
    time.sleep(.3)              # what follows the 250 has begun, or will begin: either is a window to be tried
    before_kill(mark)
    signal_all(kill, signal.SIGKILL)
    signal_all([r for r in stop_at_dot if r not in kill], signal.SIGCONT)
    t.close()
    up()
    return mark, retry(sender, recipients, content(mark, message_id))


MIXED = ['alice@example.test', 'good@relay.test']
for title, stop, kill, recipients, before in (
        ('smtpd dies between the hop\'s 250 and the mailboxes\' commit', ['mailbox'], ['smtpd', 'mailbox'], MIXED, None),
        ('smtpd dies when the mailbox was asked to commit and does it later', ['mailbox'], ['smtpd'], MIXED, None),
        ('the mailbox process dies between the hop\'s 250 and its commit', ['mailbox'], ['mailbox'], MIXED, None),
        ('smtpd dies between the mailboxes\' commit and the client\'s 250', ['mailbox'], ['smtpd'], MIXED, let_mailbox_commit),
        ('smtpd and the mailbox process die there', ['mailbox'], ['smtpd', 'mailbox'], MIXED, let_mailbox_commit),
        ('smtpd and the queue process die behind the note of the hop\'s 250', ['mailbox'], ['smtpd', 'queue', 'mailbox'], MIXED, None),
        ('smtpd dies while the note of the hop\'s 250 is under way', ['queue'], ['smtpd'], MIXED, None),
        ('the same, with the hop alone', ['queue'], ['smtpd'], ['good@relay.test', 'two@relay.test'], None)):
    mark, due = crash(stop, kill, recipients, before or (lambda mark: None))
    copies = (here(mark), there(mark))
    wanted = (1 if 'alice@example.test' in recipients else 0, 1)
    check(f'{title}: one copy everywhere', not due and copies == wanted, (due, copies))

# -- an authenticated sender: mailbox, hop and queue in one transaction ------------------------------------------------------------------------------
def abroad(mark):
    """Copies that came out of the queue, when nothing is in it any more."""
    p.wait(lambda: any(mark in m.content for m in far.messages) and 'x@far.test' not in p.ctl('queue', 'list').stdout)
    return sum(mark in m.content for m in far.messages)


for title, before in (('the queue\'s and the mailboxes\' commit', lambda mark: None), ('the mailboxes\' commit and the client\'s 250', let_mailbox_commit)):
    mark, due = crash(['mailbox'], ['smtpd', 'mailbox'], ['alice@example.test', 'good@relay.test', 'x@far.test'], before, sender='bob@example.test')
    copies = (here(mark), there(mark), abroad(mark))
    check(f'smtpd and the mailbox process die between {title}: one copy in the mailbox, at the hop, in the queue', not due and copies == (1, 1, 1), (due, copies))

mark = new_mark()
held[mark] = lambda: '550 5.7.1 not this content'
t, codes = begin('bob@example.test', ['good@relay.test', 'x@far.test'], content(mark))
end = t.reply()
t.close()
check('a hop refuses content that the queue would take: 451, and nothing is queued', (codes, end[0]) == ([250, 250], 451) and 'x@far.test' not in p.ctl('queue', 'list').stdout, (codes, end))
t, codes = begin('bob@example.test', ['good@relay.test'], content(mark))
end = t.reply()
t.close()
del held[mark]
due = retry('bob@example.test', ['x@far.test'], content(mark))
check('and the retry gets each its own answer: the refusal, and one copy abroad', end[0] == 550 and not due and (there(mark), abroad(mark)) == (0, 1), (end, due, there(mark), abroad(mark)))

# -- listed: a hop's 250 followed by our crash before the ledger's sync --------------------------------------------------------------------------
mark, due = crash(['queue'], ['smtpd', 'queue'], MIXED)
copies = (here(mark), there(mark))
check('window: the hop\'s 250, then a crash before the ledger\'s sync: at most one second copy, at the hop', not due and copies[0] == 1 and copies[1] in (1, 2), (due, copies))
print(f'row duplicates in the window of the ledger\'s sync: {copies[1] - 1}')

# -- listed: a hop's 250 that came after its connection died --------------------------------------------------------------------------------------
mark = new_mark()


def take_and_die():
    unheard.append(mark)
    return 'close'


held[mark] = take_and_die
t, _ = begin(f'{mark.decode()}@out.test', MIXED, content(mark))
end = t.reply()
t.close()
del held[mark]
check('window: a hop that took the message and died before its 250: the client hears 451', end[0] == 451 and here(mark) == 0, end)
due = retry(f'{mark.decode()}@out.test', MIXED, content(mark))
copies = (here(mark), there(mark) + unheard.count(mark))
check('window: its retry leaves one second copy there, one here', not due and copies == (1, 2), (due, copies))


# -- a 250 of ours that was lost ---------------------------------------------------------------------------------------------------------------------
def lose_reply(recipients, mark, message_id=True):
    """The client goes away, without a word, between its dot and our 250."""
    signal_all(['mailbox'], signal.SIGSTOP)
    t, codes = begin(f'{mark.decode()}@out.test', recipients, content(mark, message_id))
    c.is_asked(t)
    t.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    t.close()
    signal_all(['mailbox'], signal.SIGCONT)
    return p.wait(lambda: here(mark)) and (not message_id or p.wait_log('reply-lost.*' + mark.decode()))


for title, recipients in (('mailboxes', ['alice@example.test', 'bob@example.test']), ('a mailbox and a hop', MIXED)):
    mark = new_mark()
    lost = lose_reply(recipients, mark)
    check(f'{title}: a 250 that met a dead connection is noted', lost, p.log_text()[-600:])
    due = retry(f'{mark.decode()}@out.test', recipients, content(mark))
    copies = (here(mark), here(mark, 'bob') + there(mark))
    check(f'{title}: the retry is a 250 and brings no second copy', not due and copies == (1, 1), (due, copies))
    due = retry(f'{mark.decode()}@out.test', recipients, content(mark).replace(b'hello', b'other'))
    check(f'{title}: another content of that sender is delivered', not due and here(mark) == 2, (due, here(mark)))
mark = new_mark()
signal_all(['mailbox'], signal.SIGSTOP)
t, _ = begin(f'{mark.decode()}@out.test', ['alice@example.test'], content(mark))
t.socket.shutdown(socket.SHUT_WR)
signal_all(['mailbox'], signal.SIGCONT)
end = t.reply()
t.close()
time.sleep(.3)
due = retry(f'{mark.decode()}@out.test', ['alice@example.test'], content(mark))
check('who ended only his own half and has heard the 250 is no lost reply: what he sends again is delivered again', end[0] == 250 and not due and here(mark) == 2, (end, due, here(mark)))
mark = new_mark()
signal_all(['mailbox'], signal.SIGSTOP)
t, _ = begin(f'{mark.decode()}@out.test', ['alice@example.test'], content(mark))
c.is_asked(t)
let_mailbox_commit(mark)
signal_all(['smtpd'], signal.SIGKILL)
t.close()
up()
due = retry(f'{mark.decode()}@out.test', ['alice@example.test'], content(mark))
check('smtpd dies between a commit of mailboxes alone and its 250: one copy', not due and here(mark) == 1, (due, here(mark)))
mark = new_mark()
signal_all(['mailbox'], signal.SIGSTOP)
t, _ = begin(f'{mark.decode()}@out.test', ['crew@example.test'], content(mark))
time.sleep(.1)
let_mailbox_commit(mark, lambda: here(mark, TEAM[-1]))
signal_all(['smtpd'], signal.SIGKILL)
t.close()
up()
due = retry(f'{mark.decode()}@out.test', ['crew@example.test'], content(mark))
check('the same with an alias of more mailboxes than one record holds: one copy each', not due and {here(mark, u) for u in TEAM} == {1}, (due, [here(mark, u) for u in TEAM]))
mark = new_mark()
signal_all(['mailbox'], signal.SIGSTOP)
t, _ = begin(f'{mark.decode()}@out.test', ['alice@example.test', 'bob@example.test'], content(mark, False))
c.is_asked(t)
let_mailbox_commit(mark)
p.kill()
t.close()
p.start()
due = retry(f'{mark.decode()}@out.test', ['bob@example.test', 'alice@example.test'], content(mark, False))
check('window: the same with every process at once: at most one second copy', not due and here(mark) in (1, 2) and here(mark, 'bob') in (1, 2), (due, here(mark), here(mark, 'bob')))
mark = new_mark()
signal_all(['mailbox'], signal.SIGSTOP)
t, _ = begin(f'{mark.decode()}@out.test', ['alice@example.test', 'bob@example.test'], content(mark, False))
c.is_asked(t)
let_mailbox_commit(mark)
signal_all(['smtpd', 'mailbox'], signal.SIGKILL)
t.close()
up()
due = retry(f'{mark.decode()}@out.test', ['bob@example.test', 'alice@example.test'], content(mark, False))
check('smtpd and the mailbox process die there, and the message has no Message-ID: one copy each', not due and (here(mark), here(mark, 'bob')) == (1, 1), (due, here(mark), here(mark, 'bob')))
check('and another message of that sender is delivered', p.send(content(mark, False) + b'more\r\n', sender=f'{mark.decode()}@out.test') == 250 and here(mark) == 2)
mark = new_mark()
signal_all(['mailbox'], signal.SIGSTOP)
t, _ = begin(f'{mark.decode()}@out.test', ['alice@example.test'], content(mark))
c.is_asked(t)
signal_all(['mailbox'], signal.SIGKILL)
t.reply()
t.close()
up()
due = retry(f'{mark.decode()}@out.test', ['alice@example.test'], content(mark))
check('the mailbox process dies in a delivery to mailboxes alone: one copy', not due and here(mark) == 1, (due, here(mark)))
mark = new_mark()
lose_reply(['alice@example.test'], mark, message_id=False)
due = retry(f'{mark.decode()}@out.test', ['alice@example.test'], content(mark, False))
check('window: without a Message-ID a repeat is delivered: an alarm that says the same every day', not due and here(mark) == 2, (due, here(mark)))
mark = new_mark()
lose_reply(['alice@example.test'], mark)
other = Porter('windows-other')
with other:
    due_there = other.send(content(mark), sender=f'{mark.decode()}@out.test')
    elsewhere = sum(mark in m for m in other.messages().values())
check('window: a retry through another MX host brings one second copy: the ledger is of one host', due_there == 250 and here(mark) + elsewhere == 2, (due_there, here(mark), elsewhere))
check('it ends in order', up() and p.stop() == 0)
finish()
