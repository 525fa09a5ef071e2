#!/usr/bin/env python3
"""porterctl queue and trace: exit codes and what is said, with a queue that serves, one that doesn't, an empty one; for ids that are nowhere, queries that find nothing, words that are wrong; what --dry-run
would touch is not touched."""
import json, os, shutil, subprocess, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import BUILD, Porter, check, finish, may_look, skip  # noqa: E402

NOWHERE = '0000000000000000'
ACTS = ('retry', 'hold', 'release', 'remove', 'bounce')
MESSAGES = 6


def says(sentence, p, words, code, out=None, err=None, **kw):
    """out, err: what stands in each; '' for out: nothing at all."""
    r = p.ctl(*words, **kw)
    good = r.returncode == code and (out is None or (out in r.stdout if out else r.stdout == '')) and (err is None or err in r.stderr) and (code or not r.stderr)
    check(f'{sentence}: {" ".join(str(w) for w in words)}', good, r)
    return r


def wrong_words(p):
    for act in ('list', 'summary', *ACTS):
        for words in (['--sender'], ['--colour', 'red'], ['--older', 'x'], ['--larger', 'x'], ['--limit', 'x'], ['--evidence', 'trust']):
            says('wrong usage', p, ['queue', act, *words], 64, '', 'porterctl: ')
    for words in ([], [NOWHERE, NOWHERE], ['--body'], ['--all']):
        says('wrong usage', p, ['queue', 'show', *words], 64, '', 'porterctl: ')
    for act in ACTS:
        says('nobody acts on all by mistake', p, ['queue', act], 64, '', 'which messages?')
        says('nor with an option alone', p, ['queue', act, '--dry-run'], 64, '', 'which messages?')
    for words in ([], ['--all'], ['--dry-run', '--all'], ['not a place', '--all'], ['127.0.0.1:99'], ['127.0.0.1:99', '--dry-run']):
        says('wrong usage', p, ['queue', 'reroute', *words], 64, '', 'porterctl: ')
    for act in ('pause', 'resume'):
        for words in (['--dry-run'], ['--held'], ['not a place'], ['a.test', 'b.test']):
            says('wrong usage', p, ['queue', act, *words], 64, '', f'queue {act}: ')
    says('wrong usage', p, ['queue', 'resume'], 64, '', 'queue resume: ')
    for words in ([], [''], ['a', 'b'], ['--colour', 'x'], ['--log']):
        says('wrong usage', p, ['trace', *words], 64, '', 'porterctl: ')


def nowhere(p):
    for act in ('list', 'summary'):
        says('an id that is nowhere is told', p, ['queue', act, NOWHERE], 1, None, NOWHERE)
        says('as JSON it is an empty array besides', p, ['queue', act, NOWHERE, '--json'], 1, '[]', NOWHERE)
        says('a query that finds nothing is no error', p, ['queue', act, '--sender', 'nobody at all'], 0)
        says('nor as JSON', p, ['queue', act, '--sender', 'nobody at all', '--json'], 0, '[]')
    for words in ([NOWHERE], [NOWHERE, '--json'], ['not/an/id'], ['../../etc/passwd']):
        says('what is nowhere is not shown', p, ['queue', 'show', *words], 1, '', words[0])
    says('one of two is listed, the other told', p, ['queue', 'list', ident, NOWHERE, '--columns', 'id'], 1, ident, NOWHERE)
    says('one that is there but doesn\'t fit is told', p, ['queue', 'list', ident, '--sender', 'nobody at all'], 1, '0 messages', ident)
    for act in (*ACTS, 'reroute 127.0.0.1:99'):
        words = ['queue', *act.split()]
        says('an act on nothing says so', p, [*words, NOWHERE], 1, '0 of 0 done', NOWHERE)
        says('dry as well', p, [*words, 'not/an/id', '--dry-run', '--json'], 1, '{"matched":0,"done":0,"left":0,"dry_run":true}', 'not/an/id')
        says('a query that finds nothing is no error', p, [*words, '--sender', 'nobody at all'], 0, '0 of 0 done')
        says('dry, as JSON', p, [*words, '--sender', 'nobody at all', '--dry-run', '--json'], 0, '{"matched":0,"done":0,"left":0,"dry_run":true}')


def dry(p):
    before = {f.name: f.read_bytes() for f in p.spool.glob('queue/*/*')}
    for act in (*ACTS, 'reroute 127.0.0.1:99'):
        words = ['queue', *act.split()]
        says('all', p, [*words, '--all', '--dry-run'], 0, f'{MESSAGES} messages would be touched')
        says('an id', p, [*words, ident, '--dry-run'], 0, '1 message would be touched')
        says('a query', p, [*words, '--place', 'd1.far', '--dry-run', '--json'], 0, '{"matched":3,"done":0,"left":0,"dry_run":true}')
    says('options may stand before the next hop', p, ['queue', 'reroute', '--dry-run', '--all', '127.0.0.1:99'], 0, f'{MESSAGES} messages would be touched')
    check('--dry-run touches nothing', {f.name: f.read_bytes() for f in p.spool.glob('queue/*/*')} == before)


def up(p):
    says('what was not paused is told', p, ['queue', 'resume', 'never.test'], 0, 'mx:never.test was not paused')
    says('paused', p, ['queue', 'pause', 'a.test'], 0, 'mx:a.test is paused; 0 recipients')
    says('as JSON', p, ['queue', 'pause', '--json'], 0, '["mx:a.test"]')
    says('resumed', p, ['queue', 'resume', 'a.test'], 0, 'mx:a.test is resumed')
    says('nothing is paused', p, ['queue', 'pause', '--json'], 0, '[]')
    says('as JSON', p, ['queue', 'pause', 'b.test', '--json'], 0, '"paused":true,"saved":true')
    says('as JSON', p, ['queue', 'resume', 'b.test', '--json'], 0, '"paused":false,"saved":true')
    says('held', p, ['queue', 'hold', '--all'], 0, f'{MESSAGES} of {MESSAGES} done')
    says('released', p, ['queue', 'release', '--held', '--json'], 0, json.dumps({'matched': MESSAGES, 'done': MESSAGES, 'left': 0, 'dry_run': False}, separators=(',', ':')))


def traces(p, log):
    says('nothing in the log', p, ['trace', 'nosuch@x.test'], 1, '', 'the log names no nosuch@x.test')
    says('as JSON', p, ['trace', 'nosuch@x.test', '--json'], 1, '[]')
    says('a file that isn\'t there', p, ['trace', '--log', '/nonexistent', 'x'], 66, '', '/nonexistent: No such file')
    says('a folder', p, ['trace', '--log', p.dir, 'x'], 66, '', 'Is a directory')
    says('an empty one', p, ['trace', '--log', '/dev/null', 'x'], 1, '', 'the log names no x')
    p.send(to='alice@example.test', sender='first@outside.test')
    fifo = p.dir / 'fifo'
    os.mkfifo(fifo)
    feeder = subprocess.Popen(['cp', log, fifo])
    try:
        says('a pipe by its name, as a shell\'s <(zcat LOG) gives', p, ['trace', '--log', fifo, 'first@outside.test'], 0, 'first@outside.test')
    finally:
        feeder.kill()
        feeder.wait()


def down(p):
    says('a list needs nobody', p, ['queue', 'list'], 0, f'{MESSAGES} messages')
    says('nor a summary', p, ['queue', 'summary', '--json'], 0, '"place":"mx:d1.far.test","all":3')
    says('nor show', p, ['queue', 'show', ident], 0, f'id {ident}')
    for act in (*ACTS, 'reroute 127.0.0.1:99'):
        words = ['queue', *act.split()]
        says('nobody acts', p, [*words, '--all'], 69, '', 'nothing runs here')
        says('as JSON neither', p, [*words, ident, '--json'], 69, '', 'nothing runs here')
    check('and nothing has changed', len(list(p.spool.glob('queue/*/*'))) == MESSAGES and not any(m['held'] for m in json.loads(p.ctl('queue', 'list', '--json').stdout)))
    for words in ([], ['a.test'], ['a.test', '--json']):
        says('nobody pauses', p, ['queue', 'pause', *words], 69, '', 'nothing runs here')
    says('nobody resumes', p, ['queue', 'resume', 'a.test'], 69, '', 'nothing runs here')
    says('a log can be read', p, ['trace', 'first@outside.test'], 0, 'first@outside.test')


def strangers(p):
    """Who may not read the spool hears that, and nothing about what lies there."""
    if not may_look():
        return skip('another user', 'not root')
    for words, code in ((['list'], 66), (['list', '--json'], 66), (['show', ident], 66), (['hold', '--all'], 66), (['pause', 'a.test'], 69)):
        r = subprocess.run(['setpriv', '--reuid=nobody', '--clear-groups', BUILD / 'porterctl', '-c', p.etc, 'queue', *words], capture_output=True, text=True)
        check(f'another user: queue {" ".join(words)}', r.returncode == code and r.stdout == '' and ('Permission denied' in r.stderr), r)
    return None


def empty(p):
    says('nothing', p, ['queue', 'list'], 0, '0 messages')
    says('as JSON', p, ['queue', 'list', '--json'], 0, '[]')
    says('as JSON', p, ['queue', 'list', '--json', '--sort', 'age'], 0, '[]')
    says('columns', p, ['queue', 'list', '--columns', 'id,age'], 0, 'id\tage\n')
    says('as JSON', p, ['queue', 'summary', '--json'], 0, '[]')
    says('an act', p, ['queue', 'hold', '--all'], 0, '0 of 0 done')
    says('retry', p, ['queue', 'retry', '--all'], 0, '0 of 0 done')


with Porter('queue-exits', start=False, settings={'evidence': 'no', 'dns-resolvers': '127.0.0.1@9'}) as p:
    log = p.dir / 'log.txt'
    p.set({'log': log})
    p.start()
    p.stop()
    made = subprocess.run([BUILD / 'e2e/fill_spool', p.spool, str(MESSAGES), '2'], capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    ident = json.loads(p.ctl('queue', 'list', '--json').stdout)[0]['id']
    p.start()
    p.wait(lambda: 'queue-scanned' in log.read_text() and f'messages={MESSAGES}' in log.read_text())
    for step in (wrong_words, nowhere, dry, up, lambda p: traces(p, log), strangers):
        step(p)
    p.stop()
    wrong_words(p)
    dry(p)
    down(p)
    for folder in (p.spool / 'queue').iterdir():
        shutil.rmtree(folder)
    empty_down = p.ctl('queue', 'retry', '--all')
    check('retry --all cannot reach the drop folder while nobody serves', empty_down.returncode == 69 and 'nothing runs here' in empty_down.stderr, empty_down)
    says('nothing', p, ['queue', 'list', '--json'], 0, '[]')
    p.start()
    empty(p)
finish()
