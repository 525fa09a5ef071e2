#!/usr/bin/env python3
"""The openspf suites for RFC 7208 and RFC 4408, each case through `porterctl auth spf` against a real zone server."""
import sys
from concurrent.futures import ThreadPoolExecutor

import yaml

from vectors import Suite, Zone, auth, need

REASONS = {'null-text': 'a TXT record without a string is malformed (RFC 1035, 3.3.14), so the resolver refuses the whole answer: temperror, not a guess'}


def documents(file):
    return [d for d in yaml.safe_load_all(file.read_bytes()) if d]


def run(case, resolver):
    sender, helo = str(case.get('mailfrom') or ''), str(case['helo'])
    domain = sender.rpartition('@')[2] if sender else helo
    found = auth('spf', '--client', case['host'], '--helo', helo, '--from', sender, '--resolver', resolver, '--timeout', 1500, '--', domain)
    return found.get('spf', {}).get('result', found.get('error'))


def suite(name, file, reasons):
    s = Suite(name, reasons)
    for number, document in enumerate(documents(file)):
        with Zone(file, number) as resolver, ThreadPoolExecutor(8) as pool:
            cases = list(document['tests'].items())
            for (key, case), found in zip(cases, pool.map(lambda c: run(c[1], resolver), cases)):
                wanted = case['result'] if isinstance(case['result'], list) else [case['result']]
                s.case(key, found in [w.lower() for w in wanted], f'({document["description"]}): {found}, wanted {"/".join(wanted)}')
    return s.end()


if __name__ == '__main__':
    folder, = need('spf-pyspf')
    sys.exit(suite('SPF, RFC 7208 suite', folder / 'test/rfc7208-tests.yml', REASONS) | suite('SPF, RFC 4408 suite', folder / 'test/rfc4408-tests.yml', {}))
