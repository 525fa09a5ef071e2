"""What the vector suites share: where the public data is, the program under test, a zone server beside it, and rows `row NAME: N of M`."""
import argparse, json, os, re, socket, subprocess, sys, time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
SHARED = Path(os.environ.get('PORTER_VECTORS', TOP.parent / 'shared'))
VECTORS = SHARED / 'vectors'
BUILD = Path(os.environ.get('PORTER_BUILD', TOP / 'build'))
CTL = BUILD / 'porterctl'


def need(*names):
    """The folders of the data, or the end of this script with a skip."""
    missing = [n for n in names if not (VECTORS / n).exists()]
    if missing:
        print(f'skip the public data {" ".join(missing)} is not beside this tree')
        sys.exit(0)
    return [VECTORS / n for n in names]


def auth(*words, data=None, timeout=60):
    """porterctl auth WORDS --json, as a dictionary; {'error': text} where it said none."""
    p = subprocess.run([str(CTL), 'auth', str(words[0]), '--json', *[w if isinstance(w, bytes) else str(w) for w in words[1:]]], input=data, capture_output=True, timeout=timeout)
    try:
        return json.loads(p.stdout)
    except ValueError:
        return {'error': p.stderr.decode(errors='replace').strip()[:200] or f'exit {p.returncode}'}


def zone_name(name):
    """A name for a master file: what isn't plain is escaped."""
    return ''.join(c if c.isalnum() or c in '.-_*' else f'\\{ord(c):03d}' for c in name.rstrip('.')) + '.'


def zone_txt(text):
    """A TXT record's strings for a master file."""
    raw = text if isinstance(text, bytes) else text.encode('utf-8', 'surrogateescape')
    pieces = [raw[i:i + 255] for i in range(0, len(raw), 255)] or [b'']
    return ' '.join('"' + ''.join(chr(b) if 0x20 <= b < 0x7f and b not in (0x22, 0x5c) else f'\\{b:03d}' for b in piece) + '"' for piece in pieces)


def free_port():
    """Free for TCP and for UDP; only until somebody else takes it."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as t, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
            t.bind(('127.0.0.1', 0))
            try:
                u.bind(t.getsockname())
                return t.getsockname()[1]
            except OSError:
                continue
    raise RuntimeError('no port is free for TCP and UDP')


class Zone:
    """The tools' zone server for one document of a suite. It ends at once where its port was taken meanwhile: then another one is tried.
    Without our search path: its module `dns` is not that of tests/lib."""

    def __init__(self, file, scenario):
        self.arguments = ['/usr/bin/python3', '-E', str(SHARED / 'tools/zone_dns.py'), str(file), '--scenario', str(scenario)]

    def __enter__(self):
        for _ in range(10):
            port = free_port()
            self.process = subprocess.Popen([*self.arguments, '--port', str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            if self.process.stdout.readline():
                return f'127.0.0.1:{port}'
            self.__exit__()
        raise RuntimeError('the zone server does not start')

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def told(name):
    """What README's table says of a suite: 'N of M'; None where it has no such row."""
    found = re.search(rf'^\| {re.escape(name)} \|[^|]*\| (\d+ of \d+) \|', (TOP / 'README.md').read_text(), re.M)
    return found and found[1]


class Suite:
    """Counts cases; a deviation that is reasoned passes as such, with its reason beside it. README has to tell the same count, where it doesn't depend on
    the machine's pace (steady)."""

    def __init__(self, name, reasons=None, steady=True):
        self.name, self.reasons, self.steady = name, reasons or {}, steady
        self.passed, self.count, self.bad, self.reasoned = 0, 0, [], []

    def case(self, name, good, found=''):
        self.count += 1
        if good:
            self.passed += 1
        elif name in self.reasons:
            self.reasoned.append(name)
        else:
            self.bad.append(f'{name} {found}')

    def end(self):
        more = f', {len(self.reasoned)} differ for a reason' if self.reasoned else ''
        print(f'row {self.name}: {self.passed} of {self.count}{more}')
        for name in self.reasoned:
            print(f'  {name}: {self.reasons[name]}')
        for text in self.bad:
            print(f'  differs: {text}')
        print(f'ok {self.name}' if not self.bad else f'not ok {self.name}: {len(self.bad)} of {self.count} differ')
        wrong = told(self.name) != f'{self.passed} of {self.count}' if self.steady else not told(self.name)
        print(f'not ok README tells of {self.name} as it is: {told(self.name)}' if wrong else f'ok README tells of {self.name} as it is')
        return 1 if self.bad or wrong else 0
