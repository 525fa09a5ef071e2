#!/usr/bin/env python3
"""ValiMail's ARC suites: validation and signing, through `porterctl auth arc` and `auth seal`."""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from vectors import CTL, Suite, auth, need, zone_name, zone_txt


def documents(file):
    return [d for d in yaml.safe_load_all(file.read_text(encoding='utf8')) if d]


def write_zone(path, records):
    path.write_text(''.join(f'{zone_name(n)} TXT {zone_txt(v)}\n' for n, v in (records or {}).items()), encoding='latin1')


def crlf(text):
    return text.encode('utf8').replace(b'\r\n', b'\n').replace(b'\n', b'\r\n')


def validation(folder, tmp):
    s = Suite('ARC validation')
    for document in documents(folder / 'tests/arc-draft-validation-tests.yml'):
        write_zone(tmp / 'zone', document.get('txt-records'))
        for key, case in document['tests'].items():
            (tmp / 'm').write_bytes(crlf(case['message']))
            found = auth('arc', tmp / 'm', '--dns', tmp / 'zone').get('arc', {})
            wanted = case['cv']
            if wanted == '':                                # the suite does not care
                wanted = found.get('result')
            s.case(key, found.get('result') == str(wanted or 'none').lower(), f'{found}, wanted {wanted}')
    return s.end()


def tags(text):
    """A field's tags without blanks."""
    out = {}
    for part in re.sub(r'\s+', '', text).split(';'):
        if '=' in part:
            name, _, value = part.partition('=')
            out[name] = value
    return out


def field(message, name):
    m = re.search(rb'^' + name + rb':((?:.*\r\n)(?:[ \t].*\r\n)*)', message, re.M | re.I)
    return m[1].decode() if m else ''


def signing(folder, tmp):
    s = Suite('ARC signing')
    for document in documents(folder / 'tests/arc-draft-sign-tests.yml'):
        write_zone(tmp / 'zone', document.get('txt-records'))
        (tmp / 'key').write_text(document['privatekey'])
        for key, case in document['tests'].items():
            (tmp / 'm').write_bytes(crlf(case['message']))
            p = subprocess.run([str(CTL), 'auth', 'seal', str(tmp / 'm'), '--dns', str(tmp / 'zone'), '--domain', document['domain'], '--selector', document['sel'],
                                '--key', str(tmp / 'key'), '--id', case['srv-id'], '--headers', case['sig-headers'], '--now', str(case['t']), '--lax'],
                               capture_output=True)
            head = p.stdout
            if not case['AS']:
                s.case(key, b'ARC-Seal' not in head[:len(head) - len((tmp / 'm').read_bytes())], 'sealed')
                continue
            results = re.sub(r'\s+', '', field(head, b'ARC-Authentication-Results')) == re.sub(r'\s+', '', case['AAR'])
            message = tags(field(head, b'ARC-Message-Signature')) == tags(case['AMS'])
            seal = tags(field(head, b'ARC-Seal')) == tags(case['AS'])
            s.case(key, results and message and seal, f'results {results} message {message} seal {seal} {p.stderr.decode()[:80]}')
    return s.end()


if __name__ == '__main__':
    data, = need('arc-valimail')
    with tempfile.TemporaryDirectory() as d:
        sys.exit(validation(data, Path(d)) | signing(data, Path(d)))
