#!/usr/bin/env python3
"""Addresses of other projects' tests as MAIL and RCPT: none crashes anything, and where ours is another verdict the reason is listed. isemail's categories VALID, RFC5321 and
DNSWARN belong into an envelope, RFC5322 and ERR don't (../shared/vectors/README.md)."""
import json, re, sys
import xml.etree.ElementTree as ET
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from vectors import need  # noqa: E402

isemail, haraka = need('isemail', 'addr-haraka-rfc1869')
from porter import Porter, check, finish  # noqa: E402

_BARE = 'RFC 5321 4.1.2: a path stands in angle brackets'
_UNKNOWN = 'RFC 5321 4.1.1.11: a parameter that isn\'t known is 555'
HARAKA = {'MAIL FROM:': _BARE, 'MAIL FROM:user': _BARE, 'MAIL FROM:user size=1234': _BARE, 'MAIL FROM:user@domain size=1234': _BARE,
          'MAIL FROM:<postmaster>': 'RFC 5321 4.1.1.3: only RCPT knows postmaster without a domain', 'MAIL FROM:<user@domain> somekey': _UNKNOWN,
          'MAIL FROM:<user@domain> somekey other=foo': _UNKNOWN}

TAKE = {'ISEMAIL_VALID_CATEGORY', 'ISEMAIL_RFC5321', 'ISEMAIL_DNSWARN'}
REFUSE = {'ISEMAIL_RFC5322', 'ISEMAIL_ERR', 'ISEMAIL_CFWS', 'ISEMAIL_DEPREC'}


def pictures(text):
    """The suite writes control bytes as the pictures U+2400 + byte."""
    return ''.join(chr(ord(c) - 0x2400) if 0x2400 <= ord(c) <= 0x2421 else c for c in text or '')


def cases():
    for name in ('tests.xml', 'tests-original.xml'):
        for t in ET.parse(isemail / 'test' / name).getroot().iter('test'):
            address, category = t.findtext('address'), t.findtext('category')
            if category:
                yield f'{name} {t.get("id")}', pictures(address), category, t.findtext('diagnosis')


def reason(address, category, diagnosis, good):
    """Why another verdict than the suite's is right, or None."""
    local, _, domain = address.rpartition('@')
    if category in TAKE and not good:
        if re.fullmatch(r'\[(?i:IPv6:).*\]', domain):
            return 'RFC 5321 4.1.3: :: stands for two groups at least, and a literal is one that a socket takes'
        if domain.startswith('[') and not re.fullmatch(r'\[[0-9.]+\]', domain):
            return 'RFC 5321 4.1.3: a general literal needs a registered tag, of which there is none'
        if any(ord(c) < 32 or ord(c) == 127 for c in address):
            return 'RFC 5321 4.1.2: control characters stand in no quoted string'
        if any(len(l) > 63 for l in domain.split('.')) or len(domain) > 253 or len(local) > 64:
            return 'RFC 5321 4.5.3.1: too long'
        if '.' not in domain and not domain.startswith('['):
            return None
    if category not in TAKE and good:
        if not address and good:
            return 'RFC 5321 4.5.5: the null reverse-path'
        if diagnosis.endswith('TOOLONG'):
            return 'RFC 5321 4.5.3.1: limits are what must be taken, more may be; and quotes aren\'t counted'
        if diagnosis == 'ISEMAIL_RFC5321_IPV6DEPRECATED':
            return 'RFC 5952 4.2.2 forbids to write :: for one group, RFC 4291 reads it'
        if re.search(r'[^\x00-\x7f]', address):
            return 'RFC 6531: UTF-8 is taken with SMTPUTF8'
    return None


def main():
    with Porter('addresses', settings={'evidence': 'no', 'max-errors': '100000', 'max-commands': '1000000', 'greet-delay': '0'}, maps={'access': ''}) as p:
        t = p.talk()
        t.say('EHLO t')

        def ask(line):
            nonlocal t
            t.say('RSET')
            code = t.code(line if isinstance(line, bytes) else line.encode())
            if code in (0, 421):
                t.close()
                t = p.talk()
                t.say('EHLO t')
            return code
        good = total = 0
        surprise, crashed = [], 0
        for name, address, category, diagnosis in cases():
            if '\n' in address or '\r' in address:
                continue                                    # can't stand in a line
            utf8 = ' SMTPUTF8' if re.search(r'[^\x00-\x7f]', address) else ''
            code = ask(f'MAIL FROM:<{address}>{utf8}')
            crashed += code == 0
            total += 1
            if (code == 250) == (category in TAKE):
                good += 1
                continue
            why = reason(address, category, diagnosis, code == 250)
            print(f'   {"listed" if why else "NEW"} {address!r} is {code}, {category} {diagnosis}: {why}')
            if not why:
                surprise.append(f'{address!r} {code} {category} {diagnosis}')
        print(f'row isemail: {good} of {total}')
        check('isemail: every verdict is the suite\'s, or another for a reason that is listed', not surprise, surprise)
        haraka_row(ask)
        check('no address ends a session without an answer, or a process', crashed == 0 and 'child-died' not in p.log_text())
        t.close()
    finish()


def haraka_row(ask):
    good, surprise = 0, []
    listed = json.loads((haraka / 'cases.json').read_text())
    for case in listed:
        line, expected = case['line'], case['expect']
        if line.upper().startswith('RCPT'):
            ask('MAIL FROM:<>')
            continue
        code = ask(line)
        wanted = isinstance(expected, list)
        if (code == 250) == wanted:
            good += 1
        elif line in HARAKA:
            print(f'   listed {line!r} is {code}: {HARAKA[line]}')
        else:
            surprise.append(f'{line!r} {code} {expected}')
    print(f'row addr-haraka-rfc1869: {good} of {len([c for c in listed if not c["line"].upper().startswith("RCPT")])}')
    check('haraka: every MAIL line is judged as there, or otherwise for a reason that is listed', not surprise, surprise)


main()
