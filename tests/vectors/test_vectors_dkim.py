#!/usr/bin/env python3
"""DKIM corpora of three projects through `porterctl auth dkim`: Mail::DKIM's with the verdicts of its tests, lieser's dkim_verifier's mails
and mutations, and what dkimpy signs and verifies."""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from vectors import CTL, Suite, auth, need, zone_name, zone_txt


def write_zone(path, records):
    path.write_text(''.join(f'{zone_name(n)} TXT {zone_txt(v)}\n' for n, v in records.items()), encoding='latin1')


def verdict(file, zone, *more):
    found = auth('dkim', file, '--dns', zone, *more)
    results = [d['result'] for d in found.get('dkim', [])]
    return 'pass' if 'pass' in results else results[0] if results else 'none', found


# -- Mail::DKIM ---------------------------------------------------------------------------------------------------------------

DOMAINKEYS = 'DomainKeys (RFC 4870) is historic and is not DKIM: no signature is seen'
REASONS = {f'{n}.txt lax': DOMAINKEYS for n in 'good_dk_gmail good_dk_yahoo good_dk_1 good_dk_2 good_dk_3 good_dk_4 good_dk_5 good_dk_6 good_dk_7 '
           'dk_headers_1 dk_headers_2 dk_multiple_1'.split()}


def mail_dkim(folder, tmp):
    records = {}
    for line in (folder / 't/FAKE_DNS.dat').read_text().splitlines():
        name, _, value = line.partition(' ')
        value = value.strip()
        if name and not name.startswith('#') and value != 'NXDOMAIN' and not value.startswith('~~'):
            records[name] = '' if value == '""' else value
    write_zone(tmp / 'zone', records)
    s = Suite("DKIM, Mail::DKIM's corpus", REASONS)
    for line in (folder / 'expect.tsv').read_text().splitlines():
        if line.startswith('#') or line.startswith('file\t'):
            continue
        file, wanted, mode = line.split('\t')[:3]
        # some of the corpus is of 2008, with x= of that time
        more = ['--lax'] if mode == 'lax' else []
        result, found = verdict(folder / 't/corpus' / file, tmp / 'zone', '--now', '1200000000', *more)
        s.case(f'{file} {mode}', (result == 'pass') == (wanted == 'pass'), f'{found}, wanted {wanted}')
    return s.end()


if __name__ == '__main__':
    mail, = need('dkim-mail-dkim')
    with tempfile.TemporaryDirectory() as d:
        sys.exit(mail_dkim(mail, Path(d)))
