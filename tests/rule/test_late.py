"""A hop's reply that comes when our client has heard 451, or has gone: the process that asked outlives a reload until it is there, so that the retry brings no second copy, and no longer;
and a retry that comes before is not given to the hop beside the first."""
import os, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
from porter import PATIENCE, SLOW, Porter, check, finish
from sink import Sink

speak, what = threading.Event(), {}


def slow(message):
    """The first copy of each message is thought about until the test says so."""
    if what.setdefault(message.content[-20:], 0) == 0:
        what[message.content[-20:]] = 1
        speak.wait(PATIENCE * SLOW)
        return what['reply']


def send(p, mark):
    with p.talk() as t:
        return t.deliver(b'Message-ID: <%s@out.test>\r\nSubject: x\r\n\r\n%s\r\n' % (mark, mark.rjust(18)), ['u@relay.test'], 'a@out.test')


def begin(p, content, recipient='u@relay.test'):
    """A message whose reply is not waited for."""
    t = p.talk()
    for line in ('EHLO c.test', 'MAIL FROM:<a@out.test>', f'RCPT TO:<{recipient}>', 'DATA'):
        t.say(line)
    t.raw(content + b'.\r\n')
    return t


def retry(p, content, recipient='u@relay.test'):
    with begin(p, content, recipient) as t:
        return t.reply()[0]


def meanwhile(p):
    """Retries and others' messages while a hop thinks about one."""
    def message(name):
        return b'Message-ID: <%s@out.test>\r\nSubject: x\r\n\r\n%s\r\n' % (name, name.rjust(18))
    for sentence, mark, patient, word in (('who was put off', b'late', True, ' hop-late '), ('who did not wait', b'gone', False, ' reply-lost ')):
        speak.clear()
        what['reply'], before = None, len(hop.messages)
        t = begin(p, message(mark))
        p.wait(lambda: len(hop.messages) > before)      # it has the content, and thinks
        heard = t.reply()[0] if patient else 451
        t.close()
        codes = [heard, *(retry(p, message(mark)) for _ in range(2))]
        check(f'while a hop thinks a retry of one {sentence} is put off', codes == [451] * 3, codes)
        code = retry(p, message(mark), 'other@relay.test')
        check('another recipient\'s is not', code == 250, code)
        known = p.log_text().count(word)
        speak.set()
        p.wait(lambda: p.log_text().count(word) > known)
        time.sleep(SLOW)        # it is on its way to the ledger
        taken = p.wait(lambda: retry(p, message(mark)) == 250)
        copies = [m.recipients for m in hop.messages[before:]].count(['u@relay.test'])
        check('when it has spoken the retry is a 250, and there is one copy', taken and copies == 1, (taken, copies, p.log_text()[-1500:]))
    nameless, before = b'Subject: x\r\n\r\n' + b'disk is full'.rjust(18) + b'\r\n', len(hop.messages)
    speak.clear()
    with begin(p, nameless) as t:
        p.wait(lambda: len(hop.messages) > before)
        code = retry(p, nameless)
        speak.set()
        check('two alarms without Message-ID that say the same at the same time are two', (code, t.reply()[0], len(hop.messages)) == (250, 250, before + 2), (code, len(hop.messages) - before))


def late(p, mark, reply):
    """The answer to a message whose hop thinks too long; then a reload, and the hop speaks."""
    speak.clear()
    what['reply'] = reply
    old = set(p.roles()['smtpd'])
    code = send(p, mark)
    check(f'{mark.decode()}: the patience is over', code == 451, code)
    p.ctl('reload')
    check(f'{mark.decode()}: others serve, and who has no reply to wait for has gone', p.wait(lambda: len(set(p.roles().get('smtpd', [])) - old) == len(old) and p.greets()
                                                                                 and len(old & set(p.roles()['smtpd'])) == 1), (old, p.roles()))
    speak.set()
    check(f'{mark.decode()}: then the last one, too', p.wait(lambda: not old & set(p.roles()['smtpd'])), (old, p.roles()))


hop = Sink(dot=slow)
with Porter('late', settings={'evidence': 'no', 'hop-dot-patience': '1s', 'smtpd-processes': '2'}, maps={'domains': f'relay.test relay [127.0.0.1]:{hop.port} recipients=ask\n'}) as p:
    late(p, b'taken', None)
    p.wait(lambda: p.roles().get('queue'))
    code = send(p, b'taken')
    check('a 250 that came behind a reload: the retry brings no second copy', (code, len(hop.messages)) == (250, 1), (code, len(hop.messages), p.log_text()[-1500:]))
    late(p, b'lost', 'close')
    code = send(p, b'lost')
    check('a reply that will never come is waited for no longer', code == 250 and len(hop.messages) == 2, (code, len(hop.messages)))
with Porter('late', settings={'evidence': 'no', 'hop-dot-patience': f'{4 * SLOW}s', 'smtpd-processes': '2'}, maps={'domains': f'relay.test relay [127.0.0.1]:{hop.port} recipients=ask\n'}) as p:
    meanwhile(p)
finish()
