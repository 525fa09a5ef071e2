"""What the ledger knows counts also for a process that has just started: before smtpd has its channel to the queue's process, which keeps the ledger, a recipient waits."""
import os, re, signal, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
from crash import Crash
from porter import PATIENCE, SLOW, Porter, check, finish
from sink import Sink

SPAM = b'Subject: mixed\r\n\r\nx\r\n'
reached, held = threading.Event(), []


def dot(message):
    """The hop's answer; what is held does something first, and is taken."""
    if b'Subject: mixed' in message.content:
        return '554 5.7.1 We do not like this'
    for what in held:
        what()
    reached.set()


hop = Sink(rcpt=lambda address: '550 5.1.1 Who?' if address.startswith('porter-') else None, dot=dot)


def send(p, recipients):
    t = p.talk()
    t.say('EHLO c.test')
    t.say('MAIL FROM:<mixed@out.test>')
    codes = [t.say(f'RCPT TO:<{r}>')[0] for r in recipients]
    t.say('DATA')
    end = t.say(SPAM + b'.')[0]
    t.close()
    return codes, end


def without_the_queue(p, crash):
    """The queue's process dies until its parent waits seconds before it starts it again."""
    before = None
    for _ in range(12):
        waits = [int(w) for w in re.findall(r'child-died .*role=queue .*again_ms=(\d+)', p.log_text())]
        before, deaths = len(waits) if before is None else before, len(waits)
        if deaths > before and waits[-1] >= 3000:
            return
        if p.wait(lambda: p.roles().get('queue')):
            crash.signal_all(['queue'], signal.SIGKILL)
        p.wait(lambda: len(re.findall(r'child-died .*role=queue ', p.log_text())) > deaths)


with Porter('ledger-start', settings={'smtpd-processes': '1'}, start=False) as p:
    with open(p.etc / 'domains', 'a') as f:
        f.write(f'relay.test relay [127.0.0.1]:{hop.port} recipients=ask\n')
    p.compile()
    p.start()
    crash, both = Crash(p), ['alice@example.test', 'good@relay.test']
    check('a hop refuses what a mailbox would take: 451, and nobody has it', send(p, both) == ([250, 250], 451) and not p.messages('alice'))
    codes = []
    for _ in range(20):
        p.ctl('reload')
        codes.append(p.send(to='bob@example.test', sender='other@out.test'))
    check("a reload, in which the queue's process is another one in the middle of a question, defers nobody's mail", set(codes) == {250}, codes)
    without_the_queue(p, crash)
    old = p.roles()['smtpd']
    crash.signal_all(['smtpd'], signal.SIGKILL)
    check('smtpd is there again, the queue is not', p.wait(lambda: p.roles().get('smtpd', old) != old and p.greets()) and not p.roles().get('queue'), p.roles())
    codes, end = send(p, both)
    check('a retry waits for the ledger, and each hears what is known', codes == [250, 452] and end == 250 and len(p.messages('alice')) == 1, (codes, end))
    check('the queue is there by then', p.roles().get('queue'), p.roles())

    p.stop()
    p.start()
    mark = crash.new_mark()
    held.append(lambda: crash.signal_all(['mailbox'], signal.SIGSTOP))
    t, _ = crash.begin('kept@out.test', both, crash.content(mark))
    reached.wait(PATIENCE * SLOW)
    held.clear()
    p.wait(lambda: any(mark in m.content for m in hop.messages))
    time.sleep(.3)              # the hop's 250 is noted, and the mailbox is asked
    without_the_queue(p, crash)
    crash.signal_all(['smtpd', 'mailbox'], signal.SIGKILL)
    t.close()
    check('smtpd dies between the hop\'s 250 and its own, and is there again without the ledger', p.wait(p.greets) and p.wait(lambda: p.roles().get('mailbox')) and not p.roles().get('queue'), p.roles())
    due = crash.retry('kept@out.test', both, crash.content(mark))
    copies = crash.here(mark), sum(mark in m.content for m in hop.messages)
    check('a retry in that moment is a 250 and leaves one copy in the mailbox and at the hop', not due and copies == (1, 1), (due, copies))
finish()
