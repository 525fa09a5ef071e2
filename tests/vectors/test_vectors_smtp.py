#!/usr/bin/env python3
"""Dialogues of other servers' tests against ours: Exim's, chasquid's, Apache James's. Every recipient domain that a dialogue names is ours and takes everybody, as in
the worlds that they were written for. A dialogue that ends otherwise than written is listed with the reason: an RFC, the founding rule, or something of that server's own."""
import json, os, re, subprocess, sys, tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from vectors import SHARED, need  # noqa: E402

exim, chasquid, james = need('smtp-exim', 'smtp-chasquid', 'smtp-james')
from porter import SLOW, Porter, check, finish  # noqa: E402
from smtp_reasons import CHASQUID, EXIM, JAMES  # noqa: E402

TOOL = SHARED / 'tools/smtpreplay.py'
DIALOGUES = exim / 'dialogues-open.json'


def domains_of(dialogues):
    found = {'test.ex', 'localhost', 'james.test', 'here.com', 'testserver', 'mydomain.tld'}
    for d in dialogues:
        for line in d['lines']:
            m = re.match(r'rcpt to:\s*<?[^<>@]*@([A-Za-z0-9.-]+)', line, re.I)
            if m and not m[1].startswith('.') and '..' not in m[1] and not m[1].endswith('.') and not re.fullmatch(r'[0-9.]+', m[1]):
                found.add(m[1].lower())
    return sorted(d for d in found if not d.startswith('-') and d != 'example.test')


def play(mode, files, port, folder, patience):
    """{dialogue: [verdict, where it differs]}"""
    out = folder / f'{mode}.json'
    out.unlink(missing_ok=True)
    p = subprocess.run([sys.executable, str(TOOL), mode, *map(str, files), '127.0.0.1', str(port), '--timeout', str(patience * SLOW), '--json', str(out)],
                       capture_output=True, timeout=400 * SLOW)
    return json.loads(out.read_text()) if out.exists() else {f.name: ['differs', p.stderr.decode()[-200:]] for f in files}


def replay(mode, files, port, folder, reasons):
    """A dialogue that differs for no reason that is listed has a second try by itself, with more patience: its client waits for four seconds only, which a busy machine may need."""
    if mode != 'client':        # a file of each: one that ends the tool hides no other
        results = {k: v for f in files for k, v in play(mode, [f], port, folder, 4).items()}
        again = {k: v for f in files if surprises(results, reasons) & {f.name} for k, v in play(mode, [f], port, folder, 60).items()}
        return results | again
    results = play(mode, files, port, folder, 4)
    some = [d for d in json.loads(files[0].read_text()) if d['id'] in surprises(results, reasons)]
    if some:
        (folder / 'again').write_text(json.dumps(some))
        results |= play(mode, [folder / 'again'], port, folder, 60)
    return results


def surprises(results, reasons):
    return {k for k, v in results.items() if v[0] == 'differs' and k not in reasons}


def report(name, results, reasons, wanted=None):
    wanted = wanted if wanted is not None else set(results)
    good = [k for k in wanted if results[k][0] == 'ok']
    bad = {k: results[k][1] for k in wanted if results[k][0] == 'differs'}
    surprise = {k: v for k, v in bad.items() if k not in reasons}
    print(f'row {name}: {len(good)} of {len([k for k in wanted if results[k][0] != "skip"])}')
    for k in sorted(bad):
        if k in reasons:
            print(f'   listed {k}: {bad[k]}: {reasons[k]}')
    check(f'{name}: every dialogue ends as written, or differs for a reason that is listed', not surprise, surprise)
    stale = [k for k in reasons if k in wanted and results[k][0] == 'ok']
    if stale:
        print(f'   {name}: listed, but as written: {" ".join(sorted(stale))}')


def main():
    dialogues = [d for d in json.loads(DIALOGUES.read_text()) if d['kind'] == 'client']
    names = domains_of(dialogues)
    maps = {'domains': '\n'.join(f'{d} mailbox' for d in names), 'recipients': '\n'.join(f'@{d} maildir:all/{d}' for d in names) + '\n@example.test maildir:all/x'}
    settings = {'max-errors': '20', 'evidence': 'no', 'greet-delay': '0'}
    with tempfile.TemporaryDirectory() as t, Porter('dialogues', settings=settings, maps=maps) as p:
        results = replay('client', [DIALOGUES], p.mx, Path(t), EXIM)
        portable = {d['id'] for d in dialogues if d['portable'] == 'all3' and d['id'] in results}
        report('smtp-exim, where three servers agree', results, EXIM, portable)
        report('smtp-exim, the others', results, EXIM, set(results) - portable)
        report('smtp-chasquid', replay('cmy', sorted(chasquid.rglob('*.cmy')), p.mx, Path(t), CHASQUID), CHASQUID)
        report('smtp-james', replay('james', sorted(james.rglob('*.test')), p.mx, Path(t), JAMES), JAMES)
        check('the server lives on behind all of them', p.greets() and p.process.poll() is None and 'child-died' not in p.log_text())
    finish()


main()
