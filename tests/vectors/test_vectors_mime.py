#!/usr/bin/env python3
"""Messages of other projects' tests, real and odd: in by SMTP, and in the Maildir byte for byte behind our own fields. A file is first brought to CRLF line ends (a bare LF is
one); the few with a NUL or a bare CR can't be sent by SMTP at all and are refused 550."""
import os, re, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from vectors import need  # noqa: E402

FOLDERS = ['mime-mail-parser', 'mime-python', 'mime-inbucket', 'mime-haraka']
folders = need(*FOLDERS)
from porter import Porter, check, finish  # noqa: E402

NOT_MAIL = {'SOURCE.txt', 'LICENSE', 'LICENSES'}


def corpus():
    for folder in folders:
        for f in sorted(folder.rglob('*')):
            if f.is_file() and f.name not in NOT_MAIL and 'LICENSE' not in str(f):
                data = f.read_bytes()
                if data:
                    yield folder.name, f.relative_to(folder), data


def to_wire(data):
    data = re.sub(rb'\r?\n', b'\r\n', data)
    return data if data.endswith(b'\r\n') else data + b'\r\n'


def is_impossible(wire):
    return b'\0' in wire or re.search(rb'\r(?!\n)', wire) is not None


def begins_with_a_field(wire):
    """Or with the empty line, or with an mbox's. What doesn't is body, behind an empty line of ours."""
    return re.match(rb'[!-9;-~]+[ \t]*:|>?From |\r\n|$', wire) is not None


def main():
    rows, wrong, refused = {}, [], []
    with Porter('mime', settings={'evidence': 'no', 'size-limit': '20M'}) as p:
        for folder, name, data in corpus():
            wire = to_wire(data)
            p.clean()
            code = p.send(wire)
            texts = list(p.messages().values())
            row = rows.setdefault(folder, [0, 0])
            row[1] += 1
            if is_impossible(wire):
                refused.append(f'{folder}/{name}')
                good = code == 550 and not texts
            else:
                good = code == 250 and len(texts) == 1 and texts[0].endswith(wire.replace(b'\r\n', b'\n'))
                front = texts[0][:len(texts[0]) - len(wire.replace(b'\r\n', b'\n'))] if good else b''
                good = good and re.fullmatch(rb'Return-Path: <[^>]*>\n(Authentication-Results:[^\n]*\n([ \t][^\n]*\n)*)?Received: from[^\n]*\n([ \t][^\n]*\n)*' + (b'' if begins_with_a_field(wire) else b'\n'), front) is not None
            row[0] += good
            if not good:
                wrong.append(f'{folder}/{name}: {code}')
    for folder, (good, all_) in rows.items():
        print(f'row {folder}: {good} of {all_}')
    for name in refused:
        print(f'   listed {name}: holds a NUL or a bare CR (RFC 5321 2.3.8, 4.5.2): 550')
    check('every message of the corpora lies in the Maildir byte for byte, or is refused since SMTP can\'t carry it', rows and not wrong, wrong)
    finish()


main()
