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
DRAFT_00 = 'draft-ietf-dkim-base-00 had no bh=; RFC 6376, 3.5 requires it'
REASONS = {f'{n}.txt lax': DOMAINKEYS for n in 'good_dk_gmail good_dk_yahoo good_dk_1 good_dk_2 good_dk_3 good_dk_4 good_dk_5 good_dk_6 good_dk_7 '
           'dk_headers_1 dk_headers_2 dk_multiple_1'.split()}
REASONS |= {f'good_ietf00_{i}.txt lax': DRAFT_00 for i in range(1, 6)}
REASONS['mine_ietf01_3.txt strict'] = 'v=1 is required (RFC 6376, 3.5); RFC 8301 strictness does not bring back drafts'


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


# -- lieser -------------------------------------------------------------------------------------------------------------------

BRISBANE = ('v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od'
            '+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB')
FOOTBALL = ('v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC'
            'DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB')
RFC_KEYS = {                                            # RFC 6376, C; RFC 8463, A.2
    'brisbane._domainkey.example.com': BRISBANE,
    's.flags._domainkey.example.com': BRISBANE.replace('v=DKIM1;', 'v=DKIM1; t=s;'),
    'brisbane._domainkey.football.example.com': 'v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=',
    'test._domainkey.football.example.com': FOOTBALL,
}
# what its own tests say of each mail's signatures, one word for each (its warnings about alignment and unsigned fields are not DKIM's)
LIESER = {
    'fakePayPal.eml': 'none', 'ill_formed-from.eml': 'none', 'rfc6376-A.2.eml': 'pass', 'rfc6376-A.2-body_modified.eml': 'fail',
    'rfc6376-A.2-header_subject_modified.eml': 'fail', 'rfc6376-A.2-ill_formed-list_id.eml': 'pass', 'rfc6376-A.2-ill_formed-missing_v.eml': 'neutral',
    'rfc8463-A.3.eml': 'pass pass', 'rfc8463-A.3-key_algo_mismatch.eml': 'permerror permerror',
    'dkim/added_header-date.eml': 'pass', 'dkim/added_header-from.eml': 'pass', 'dkim/added_header-subject.eml': 'pass', 'dkim/added_header-to.eml': 'pass',
    'dkim/alignment-from_not_in_auid.eml': 'pass', 'dkim/alignment-from_not_in_sdid.eml': 'pass', 'dkim/alignment-signed_by_parent_domain.eml': 'pass',
    'dkim/flags_s-auid_and_sdid_match.eml': 'pass', 'dkim/flags_s-auid_is_subdomain_of_sdid.eml': 'permerror',
    'dkim/header_with_non_ascii_char.eml': 'pass', 'dkim/time-received_after_creation.eml': 'pass',
    'dkim/time-received_briefly_before_creation.eml': 'pass', 'dkim/time-received_long_before_creation.eml': 'pass',
    'dkim/unsigned_header-content-type.eml': 'pass', 'dkim/unsigned_header-reply_to-in_domain.eml': 'pass',
    'dkim/unsigned_header-reply_to-invalid.eml': 'pass', 'dkim/unsigned_header-reply_to-not_in_domain.eml': 'pass',
    'bimi/rfc6376-A.2-with_bimi.eml': 'pass',
}


def lieser(folder, tmp):
    write_zone(tmp / 'zone', RFC_KEYS)
    s = Suite("DKIM, lieser's mails")
    data = folder / 'test/data'
    for file in sorted(data.rglob('*.eml')):
        name = str(file.relative_to(data))
        found = auth('dkim', file, '--dns', tmp / 'zone')
        results = ' '.join(d['result'] for d in found.get('dkim', [{'result': '?'}])) or 'none'
        wanted = LIESER.get(name)
        if wanted is None:                              # Authentication-Results for its reader: a base mail of RFC 6376, or none signed
            wanted = results if results in ('pass', 'none') else 'pass or none'
        s.case(name, results == wanted, f'{found}, wanted {wanted}')
    return s.end()


# -- dkimpy -------------------------------------------------------------------------------------------------------------------

def dkimpy(folder, tmp):
    s = Suite("DKIM, dkimpy's data")
    data = folder / 'data'
    read = lambda name: (data / name).read_text().strip()
    records = dict(RFC_KEYS)
    records['sed._domainkey.test.ex'] = read('eximtest.dns')
    write_zone(tmp / 'zone', records)
    for name, wanted in (('rfc6376.signed.msg', 'pass pass'), ('rfc6376.signed.rsa.msg', 'pass'), ('ed25519test2.msg', 'pass'), ('test.message', 'none'),
                         ('rfc6376.msg', 'none'), ('test.message.baddomain', 'neutral'), ('test_nofrom.message', 'none')):
        found = auth('dkim', data / name, '--dns', tmp / 'zone')
        s.case(name, (' '.join(d['result'] for d in found['dkim']) or 'none') == wanted, f'{found}, wanted {wanted}')
    signers = [('test.private', 'test.txt', True), ('1024_testkey.key', '1024_testkey_wo_markers.pub.txt', True),
               ('1024_testkey.key', '1024_testkey_wo_markers.pub.rsa.txt', True), ('2048_testkey.key', '2048_testkey_wo_markers.pub.txt', True),
               ('2048_testkey.key', '2048_testkey_wo_markers.pub.rsa.txt', True), ('2048_testkey_PKCS8.key', '2048_testkey_PKCS8.key.pub.txt', True),
               ('test.private', 'badversion.txt', False), ('test.private', 'badk.txt', False), ('test.private', 'test_bad.txt', False),
               ('test.private', 'test_tlsrpt.txt', False), ('test2.private', 'test2.txt', True)]
    for key, public, good in signers:
        record = read(public)
        record = record if 'p=' in record else 'v=DKIM1; k=rsa; p=' + record
        write_zone(tmp / 'zone', {'test._domainkey.example.com': record})
        for forms in ('relaxed/relaxed', 'simple/relaxed', 'relaxed/simple', 'simple/simple'):
            for message in ('test.message', 'test2.message', 'test_extra.message', 'rfc6376.w1258.msg', 'message.mbox'):
                signed = subprocess.run([str(CTL), 'auth', 'sign', str(data / message), '--domain', 'example.com', '--selector', 'test', '--key', str(data / key),
                                         '--forms', forms], capture_output=True).stdout
                (tmp / 'm').write_bytes(signed)
                found = auth('dkim', tmp / 'm', '--dns', tmp / 'zone')
                s.case(f'{key} {public} {forms} {message}', (found.get('dkim', [{'result': '?'}])[0]['result'] == 'pass') == good, f'{found}')
    return s.end()


if __name__ == '__main__':
    mail, other, third = need('dkim-mail-dkim', 'dkim-lieser', 'dkim-dkimpy')
    with tempfile.TemporaryDirectory() as d:
        sys.exit(mail_dkim(mail, Path(d)) | lieser(other, Path(d)) | dkimpy(third, Path(d)))
