"""Many messages at once for one mbox: each waits for its turn and none for another file's; a mail program that holds a lock holds up that file alone."""
import collections, fcntl, itertools, os, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
from porter import Porter, check, finish
from sink import Sink

MANY, serial = 40, itertools.count()


def at_once(jobs):
    """What each of these functions returns, all called at the same time."""
    results = [None] * len(jobs)

    def run(i):
        results[i] = jobs[i]()
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(jobs))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results


def count(results):
    return dict(collections.Counter(results))


hop = Sink()
with Porter('mbox-crowd', settings={'evidence': 'no'}, maps={'recipients': ''.join(f'{b}@example.test mbox:{b}\n' for b in ('one', 'two', 'three', 'four')) + 'prog@example.test program:/bin/true\n',
                                                            'domains': f'relay.test relay [127.0.0.1]:{hop.port} recipients=ask\n'}) as p:
    one, two, hopped = 'one@example.test', 'two@example.test', 'u@relay.test'

    def mail(mark, *to):
        """Of a sender of its own: none is another one's repeat."""
        sender = f's{next(serial)}@outside.test'
        return lambda: p.send(b'Subject: %s\r\n\r\nFrom here on\r\n' % mark, to, sender)

    def held(box, mark):
        return (p.mail / box).read_bytes().count(b'\nSubject: %s\n' % mark)
    # as long as one file may be waited for is for each: what a message waited for its first one is not taken from the second's. Nothing else opens these files meanwhile
    mail(b'first', 'three@example.test', 'four@example.test')()
    later, got = [open(p.mail / 'three', 'r+b'), open(p.mail / 'four', 'r+b')], []
    for f, seconds in zip(later, (30, 15)):
        fcntl.lockf(f, fcntl.LOCK_EX)
        threading.Timer(seconds, lambda f=f: fcntl.lockf(f, fcntl.LOCK_UN)).start()
    patient = threading.Thread(target=lambda: got.append(mail(b'patient', 'four@example.test', 'three@example.test')()))
    patient.start()
    codes = count(at_once([mail(b'crowd', one) for _ in range(MANY)]))
    check(f'{MANY} messages at once for one mbox: each is in it', (codes, held('one', b'crowd')) == ({250: MANY}, MANY), (codes, held('one', b'crowd')))
    codes = count(at_once([mail(b'both', *((one, two) if i % 2 else (two, one))) for i in range(MANY)]))
    check('as many for two files, named in either order: in both', (codes, held('one', b'both'), held('two', b'both')) == ({250: MANY}, MANY, MANY), codes)
    codes = count(at_once([mail(b'mixed', one, hopped) for _ in range(MANY)] + [mail(b'mixed', two, one) for _ in range(MANY)]))
    check('and beside a next hop', (codes, held('one', b'mixed'), len(hop.messages)) == ({250: 2 * MANY}, 2 * MANY, MANY), (codes, held('one', b'mixed'), len(hop.messages)))
    with open(p.mail / 'one', 'r+b') as f:
        fcntl.lockf(f, fcntl.LOCK_EX)
        waiting = [threading.Thread(target=mail(b'waits', one)) for _ in range(8)]
        for t in waiting:
            t.start()
        codes = [p.send(to=two), p.send(to='prog@example.test'), p.send(to='alice@example.test')]
        check('while a mail program holds one file, others and programs are served', codes == [250] * 3 and all(t.is_alive() for t in waiting), codes)
    for t in waiting:
        t.join()
    check('and when it lets go those that waited are in it', held('one', b'waits') == 8, held('one', b'waits'))
    patient.join()
    check('a message for two files has as much patience with the second as with the first', (got, held('three', b'patient'), held('four', b'patient')) == ([250], 1, 1), (got, p.log_text()[-500:]))
    check('no lock is left', p.wait(lambda: not list(p.mail.glob('*.lock'))))
finish()
