"""A hop's reply that comes when our client has heard 451: the process that asked outlives a reload until it is there, so that the retry brings no second copy; and no longer."""
import os, sys, threading
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
finish()
