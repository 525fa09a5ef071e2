#!/usr/bin/env python3
"""porterctl queue over many messages: lists that are sorted, limited, of chosen columns; a summary from memory that says what the files say; acts on queries, in numbers; a progress bar on a terminal."""
import json, os, pty, re, subprocess
from porter import BUILD, SLOW, Porter, check, finish

MESSAGES, PLACES = 5000, 50
EACH = MESSAGES // PLACES


def fill(p):
    made = subprocess.run([BUILD / 'e2e/fill_spool', p.spool, str(MESSAGES), str(PLACES)], capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr


def status(p):
    """What the queue says of itself; of one that can't be asked yet, that it knows nothing."""
    return next((r['status'] for r in p.status()['processes'] if r['role'] == 'queue' and r['status']), {'messages': None, 'recipients': None, 'held': None, 'scanned': False})


def queue(p, *argv):
    r = p.ctl('queue', *argv)
    return r.stdout if r.returncode == 0 else f'{r.returncode} {r.stdout}{r.stderr}'


def listed(p, *argv):
    return json.loads(p.ctl('queue', 'list', *argv, '--json').stdout)


def acts(p, word, *query, want):
    """Dry, then in earnest: both say how many."""
    said = json.loads(queue(p, word, *query, '--dry-run', '--json'))
    check(f'{word} --dry-run says how many it would touch', said == {'matched': want, 'done': 0, 'left': 0, 'dry_run': True}, said)
    said = json.loads(queue(p, word, *query, '--json'))
    return check(f'{word} touches as many', said['done'] == want and said['left'] == 0, said)


def on_terminal(p, *argv):
    """What a command says on a terminal's standard error."""
    master, slave = pty.openpty()
    subprocess.run(p._argv([BUILD / 'porterctl', '-c', p.etc, 'queue', *argv]), stdout=subprocess.DEVNULL, stderr=slave, timeout=60 * SLOW, check=True)
    os.close(slave)
    text = b''
    try:
        while piece := os.read(master, 65536):
            text += piece
    except OSError:
        pass
    os.close(master)
    return text.decode()


def lists(p):
    rows = listed(p)
    check('the list has them all, once', len({m['id'] for m in rows}) == len(rows) == MESSAGES, len(rows))
    ages = [m['arrived'] for m in listed(p, '--sort', 'age')]
    check('sorted by age the oldest comes first', ages == sorted(ages) and len(ages) == MESSAGES, ages[:5])
    soonest = listed(p, '--sort', 'next', '--limit', '3')
    check('sorted with a limit the first ones are kept', [m['next'] for m in soonest] == sorted(m['next'] for m in rows)[:3], soonest)
    last = listed(p, '--sort', 'recipient', '--reverse', '--limit', '1')[0]['recipients'][0]['address']
    check('and the last ones with --reverse', last == max(m['recipients'][0]['address'] for m in rows), last)
    check('a limit without an order is kept to', len(listed(p, '--limit', '7')) == 7)
    text = queue(p, 'list', '--columns', 'id,attempts,place,reason', '--sort', 'place', '--limit', '2').splitlines()
    check('columns are chosen', text[0].split('\t') == ['id', 'attempts', 'place', 'reason'] and len(text) == 3 and text[1].split('\t')[1:3] == ['1', 'mx:d0.far.test'], text)
    check('a column or an order that is none is told', p.ctl('queue', 'list', '--columns', 'colour').returncode == 64 and p.ctl('queue', 'list', '--sort', 'colour').returncode == 64)
    check('a reason may be a pattern', len(listed(p, '--reason', 'no host*connection REFUSED', '--limit', '5')) == 5 and not listed(p, '--reason', 'host*'))
    check('or a part', len(listed(p, '--reason', 'can be reached', '--place', 'd7.far')) == EACH)


def leaves_no_mark(p):
    """The time of a file's last reading, where it is older than its last change, would be written by whoever reads it plainly: 100,000 files by a list of as many."""
    files = sorted(p.spool.glob('queue/*/*'))[:50]
    for f in files:
        os.utime(f, (1, f.stat().st_mtime))
    check('a list reads its files without a mark on them', len(listed(p)) == MESSAGES and {f.stat().st_atime for f in files} == {1})


def summaries(p):
    memory, files = json.loads(queue(p, 'summary', '--json')), json.loads(queue(p, 'summary', '--sender', 'flood', '--json'))
    check('the summary counts by destination', len(memory) == PLACES and all(r['all'] == EACH for r in memory), memory[:3])
    check('from memory and from the files alike', [(r['place'], r['all']) for r in memory] == [(r['place'], r['all']) for r in files], files[:3])
    one = json.loads(queue(p, 'summary', '--place', 'd7.far', '--json'))
    check('of a query', [(r['place'], r['all']) for r in one] == [('mx:d7.far.test', EACH)], one)
    bar = on_terminal(p, 'summary')
    check('on a terminal there is a progress bar', re.search(r'\d+ % \[#* *\]', bar), bar[-300:])


with Porter('queue-ctl', start=False, settings={'evidence': 'no'}) as p:
    p.start()
    p.stop()
    fill(p)
    check('what nobody serves is listed and counted all the same', len(listed(p)) == MESSAGES and queue(p, 'summary').count(f' {EACH}') >= PLACES)
    leaves_no_mark(p)
    p.start()
    p.wait_log('queue-scanned', 60)
    lists(p)
    summaries(p)
    acts(p, 'hold', '--all', want=MESSAGES)
    said = json.loads(queue(p, 'retry', '--all', '--json'))
    check('from then on none is tried, not even on request', said['matched'] == MESSAGES and not re.search(' (deferred|failed|delivered) ', p.log_text()), said)
    check('all are held', p.wait(lambda: status(p)['held'] == MESSAGES), status(p))
    acts(p, 'release', '--held', '--place', 'd7.far.test', want=EACH)
    check('and some released', p.wait(lambda: status(p)['held'] == MESSAGES - EACH), status(p))
    acts(p, 'remove', '--place', 'd9.far.test', want=EACH)
    check('removed ones are gone', p.wait(lambda: status(p)['messages'] <= MESSAGES - EACH) and not listed(p, '--place', 'd9.far.test'), status(p))
    acts(p, 'remove', '--recipient', '@d8.far.test', want=EACH)
    p.wait(lambda: len(listed(p, '--older', '1s', '--place', 'd5.far.test')) == EACH)    # they are as old in the end
    acts(p, 'hold', '--older', '1s', '--newer', '1h', '--place', 'd5.far.test', want=EACH)
    acts(p, 'reroute', '[127.0.0.1]:1', '--place', 'd6.far.test', want=EACH)
    check('rerouted ones are elsewhere', p.wait(lambda: len(listed(p, '--place', '[127.0.0.1]:1')) == EACH))
    check('an act on what is not there says so', queue(p, 'retry', '0000000000000000', '--json').startswith('1 {"matched":0,'), queue(p, 'retry', '0000000000000000', '--json'))
    p.stop()
    p.start()
    check('after a restart all is as it was', p.wait(lambda: status(p)['scanned'] and status(p)['held'] == MESSAGES - 3 * EACH), status(p))
finish()
