#!/usr/bin/env python3
"""DMARC policy records, good and bad, as mox tests its parser, and the public suffix list's own tests, through `porterctl auth dmarc`."""
import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vectors import Suite, auth, need, zone_txt

# mox reads by RFC 7489; RFC 9989, 4.8: unknown tags and syntax errors are ignored
REASONS = {'v=DMARC1; sp=reject; p=reject': 'RFC 9989 no longer wants p= to be the second tag'}


def records(folder, tmp):
    s = Suite('DMARC records', REASONS)
    for case in json.loads((folder / 'cases.json').read_text()):
        if not case['file'].startswith('dmarc'):
            continue
        (tmp / 'zone').write_text(f'_dmarc.example.test. TXT {zone_txt(case["input"])}\nexample.test. A 192.0.2.1\n')
        found = auth('dmarc', 'example.test', '--dns', tmp / 'zone').get('dmarc', {})
        applies = found.get('domain') == 'example.test'
        s.case(case['input'], applies == (case['kind'] != 'bad'), f'{found}, {case["kind"]}')
    return s.end()


def suffixes(folder, tmp):
    (tmp / 'zone').write_text('')
    s = Suite('public suffix list')
    rows = [line.split() for line in (folder / 'tests/tests.txt').read_text(encoding='utf8').splitlines() if line.strip() and not line.startswith('//')]

    def run(row):
        return auth('dmarc', '--dns', tmp / 'zone', '--suffixes', folder / 'public_suffix_list.dat', '--', row[0]).get('dmarc', {})

    with ThreadPoolExecutor(4) as pool:
        for (name, wanted), found in zip(rows, pool.map(run, rows)):
            ascii_name = name.lower().encode('idna').decode() if name != 'null' and not name.startswith('.') else name.lower()
            ascii_wanted = wanted.lower().encode('idna').decode() if wanted != 'null' else None
            got = found.get('organization')
            # a name without an organization is its own
            good = got == ascii_wanted if ascii_wanted else got in ('', ascii_name, None)
            s.case(f'{name} {wanted}', good, f'{found}')
    return s.end()


if __name__ == '__main__':
    mox, psl = need('records-mox', 'psl')
    with tempfile.TemporaryDirectory() as d:
        sys.exit(records(mox, Path(d)) | suffixes(psl, Path(d)))
