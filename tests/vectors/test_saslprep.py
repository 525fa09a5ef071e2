#!/usr/bin/env python3
"""SASLprep beside one made of Python's own tables of RFC 3454 (stringprep, Unicode 3.2): each character alone, and random texts. Ours goes by today's Unicode, so a
character whose normal form or direction has changed since is allowed to differ; what those are is counted."""
import random, stringprep, subprocess, sys, unicodedata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import BUILD, check, finish  # noqa: E402

OLD = unicodedata.ucd_3_2_0
REFUSED = [getattr(stringprep, 'in_table_' + t) for t in ('c12', 'c21_c22', 'c3', 'c4', 'c5', 'c6', 'c7', 'c8', 'c9')]


def prepared(text):
    """RFC 4013, 2; None where it refuses. Stored strings."""
    text = ''.join(' ' if stringprep.in_table_c12(c) else c for c in text if stringprep.in_table_c12(c) or not stringprep.in_table_b1(c))
    text = OLD.normalize('NFKC', text)
    if not text or any(refused(c) for c in text for refused in REFUSED) or any(stringprep.in_table_a1(c) for c in text):
        return None
    right = [stringprep.in_table_d1(c) for c in text]
    if any(right) and (any(stringprep.in_table_d2(c) for c in text) or not right[0] or not right[-1]):
        return None
    return text


def ours(texts, use='stored'):
    sent = ''.join(f'{use} {t.encode().hex()}\n' for t in texts)
    out = subprocess.run([BUILD / 'vectors/saslprep'], input=sent, capture_output=True, text=True, check=True, timeout=100).stdout.split('\n')
    return [None if line == '-' else bytes.fromhex(line).decode() for line in out[:len(texts)]]


def has_changed(text):
    """Whether Unicode itself says another thing of it today."""
    return (OLD.normalize('NFKC', text) != unicodedata.normalize('NFKC', text)
            or any(OLD.bidirectional(c) != unicodedata.bidirectional(c) for t in (text, unicodedata.normalize('NFKC', text)) for c in t))


def compare(name, texts):
    pairs = [(t, prepared(t), got) for t, got in zip(texts, ours(texts))]
    differ = [p for p in pairs if p[1] != p[2]]
    wrong = [p for p in differ if not has_changed(p[0])]
    print(f'# {name}: {len(texts)} texts, {len(differ)} differ where Unicode has changed')
    check(f'{name} are prepared as by the tables of RFC 3454', not wrong, [tuple(ascii(x) for x in p) for p in wrong[:8]])
    check(f'{name}: hardly any has changed since Unicode 3.2', len(differ) < len(texts) / 50, len(differ))


known = [chr(c) for c in range(1, 0x110000) if not 0xd800 <= c < 0xe000 and not stringprep.in_table_a1(chr(c))]
compare('all characters of Unicode 3.2, each alone', known)
rng = random.Random(4013)
scripts = [range(0x20, 0x7f), range(0xa0, 0x250), range(0x300, 0x370), range(0x5d0, 0x5eb), range(0x621, 0x64b), range(0x2000, 0x2070), range(0xfb00, 0xfb07), range(0xff01, 0xff5f)]
texts = [''.join(chr(rng.choice(rng.choice(scripts))) for _ in range(rng.randint(1, 8))) for _ in range(20000)]
compare('random texts of several scripts', [t for t in texts if not any(stringprep.in_table_a1(c) for c in t)])
later = [chr(c) for c in range(0x50000, 0x50400)]       # a plane that Unicode has not touched
check('characters that do not exist yet are not stored', not any(ours(later)))
check('but pass as a question, as they are', ours(later, 'query') == later)
finish()
