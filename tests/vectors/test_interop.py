#!/usr/bin/env python3
"""DKIM and ARC both ways with others' code: random mails (folds, 8-bit, long lines, empty bodies) signed by Porter and checked by dkimpy, Mail::DKIM and
opendkim, and the other way round. How many: PORTER_INTEROP (default 150; `make test-interop` takes 10,000)."""
import importlib.util
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append('/usr/lib/python3/dist-packages')       # Debian's dkimpy, whichever python this is
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
import opendkim
from vectors import CTL, auth, zone_name, zone_txt

COUNT = int(os.environ.get('PORTER_INTEROP', '150'))
NAMES = ['Subject', 'To', 'Cc', 'Reply-To', 'X-Odd', 'Message-ID', 'Date', 'MIME-Version', 'Content-Type', 'List-Id', 'References', 'Received']
WORDS = [b'word', b'a', b'\xc3\xa4\xc3\xb6', b'=?utf-8?q?x?=', b'"quoted  blank"', b'<x@y.test>', b';', b'long' * 30, b'\xff\xfe', b'e', b'tab\tinside', b'.', b'--']

PERL = r'''
use strict; use warnings; use Mail::DKIM::Verifier; use Mail::DKIM::Signer; use Mail::DKIM::PrivateKey;
my ($mode, $zone, @rest) = @ARGV;
our %txt; open(my $z, '<', $zone) or die; while (<$z>) { chomp; my ($n, $v) = split / /, $_, 2; $txt{$n} = $v; }
{ package FakeRR; sub new { my ($c, $v) = @_; bless { v => $v }, $c } sub type { 'TXT' } sub char_str_list { ($_[0]{v}) } sub txtdata { $_[0]{v} } }
{ package FakePacket; sub new { my ($c, @r) = @_; bless { r => \@r }, $c } sub answer { @{$_[0]{r}} } sub header { $_[0] } sub rcode { 'NOERROR' } }
{ no warnings 'redefine'; *Mail::DKIM::DNS::query = sub { my ($n) = @_; return exists $txt{lc $n} ? (FakeRR->new($txt{lc $n})) : (); }; }
my ($d, $s, $k, $c) = split /,/, $mode;
my $key = $k ? Mail::DKIM::PrivateKey->load(File => $k) : undef;
for my $file (@rest) {
    local $/; open(my $f, '<:raw', $file) or die; my $m = <$f>; close $f;
    if ($mode eq 'verify') {
        my $v = Mail::DKIM::Verifier->new; $v->PRINT($m); $v->CLOSE;
        print join(' ', map { $_->result } $v->signatures) || 'none', "\n";
    } else {
        my $g = Mail::DKIM::Signer->new(Algorithm => 'rsa-sha256', Method => $c, Domain => $d, Selector => $s, Key => $key);
        $g->PRINT($m); $g->CLOSE;
        open(my $o, '>:raw', "$file.perl") or die; print $o $g->signature->as_string, "\r\n", $m; close $o;
    }
}
'''


def random_field(r, name):
    out = name.encode() + r.choice([b':', b': ', b':  '] if r.random() < .2 else [b': '])
    for _ in range(r.randrange(1, 12)):
        out += r.choice(WORDS) + r.choice([b' ', b'  ', b'\t', b'\r\n ', b'\r\n\t ', b'\r\n  '] if r.random() < .6 else [b' '])
    return re.sub(rb'(\r\n[ \t]*)+$', b'', out.rstrip(b' \t')) + b'\r\n'


def random_mail(r):
    head = [b'From: Ann <ann@example.org>\r\n'] + [random_field(r, r.choice(NAMES)) for _ in range(r.randrange(0, 12))]
    r.shuffle(head)
    lines = []
    for _ in range(r.choice([0, 0, 1, 2, 5, 40])):
        kind = r.random()
        lines.append(b'' if kind < .25 else b' ' * r.randrange(4) if kind < .35 else r.choice(WORDS) * r.randrange(1, 60) if kind < .5 else
                     b' '.join(r.choice(WORDS) for _ in range(r.randrange(1, 14))) + r.choice([b'', b' ', b'\t', b'  ']))
    body = b''.join(line[:990] + b'\r\n' for line in lines)
    return b''.join(head) + b'\r\n' + body


class World:
    def __init__(self, tmp):
        self.tmp, self.key, self.ed = tmp, tmp / 'rsa.pem', tmp / 'ed.pem'
        subprocess.run(['openssl', 'genrsa', '-traditional', '-out', self.key, '2048'], check=True, capture_output=True)
        subprocess.run(['openssl', 'genpkey', '-algorithm', 'ed25519', '-out', self.ed], check=True, capture_output=True)
        der = lambda *args: subprocess.run(['openssl', 'pkey', '-pubout', '-outform', 'der', *args], check=True, capture_output=True).stdout
        import base64
        self.records = {'rsa._domainkey.example.org': 'v=DKIM1; k=rsa; p=' + base64.b64encode(der('-in', self.key)).decode(),
                        'ed._domainkey.example.org': 'v=DKIM1; k=ed25519; p=' + base64.b64encode(der('-in', self.ed)[-32:]).decode()}
        self.zone = tmp / 'zone'
        self.zone.write_text(''.join(f'{zone_name(n)} TXT {zone_txt(v)}\n' for n, v in self.records.items()))
        self.flat = tmp / 'flat'
        self.flat.write_text(''.join(f'{n} {v}\n' for n, v in self.records.items()))

    def dns(self, name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        return self.records.get(name.rstrip('.').lower(), '').encode() or None

    def sign(self, file, forms, *more):
        out = subprocess.run([str(CTL), 'auth', 'sign', str(file), '--domain', 'example.org', '--selector', 'rsa', '--key', str(self.key), '--forms', forms, *more],
                             capture_output=True, check=True).stdout
        return out

    def check(self, data):
        p = self.tmp / 'checked'
        p.write_bytes(data)
        return [d['result'] for d in auth('dkim', p, '--dns', self.zone)['dkim']]


def report(name, bad, count):
    print(f'row {name}: {count - len(bad)} of {count}')
    for text in bad[:5]:
        print(f'  differs: {text}')
    print(f'not ok {name}: {len(bad)} of {count} differ' if bad else f'ok {name}')
    return bool(bad)


def batches(files, size=200):
    return [files[i:i + size] for i in range(0, len(files), size)]


def main(tmp):
    w, r, failed = World(tmp), random.Random(os.environ.get('PORTER_SEED', '7')), False
    forms = ['relaxed/relaxed', 'simple/simple', 'relaxed/simple', 'simple/relaxed']
    files = []
    for i in range(COUNT):
        (tmp / f'm{i}').write_bytes(random_mail(r))
        (tmp / f's{i}').write_bytes(w.sign(tmp / f'm{i}', forms[i % 4]))
        files.append(tmp / f's{i}')
    failed |= report('what we sign, we verify', [f'{f.name}' for f in files if w.check(f.read_bytes()) != ['pass']], COUNT)
    if importlib.util.find_spec('dkim'):
        failed |= dkimpy(w, r, files, forms)
    else:
        print('skip dkimpy: python3-dkim is not installed')
    perl = tmp / 'dkim.pl'
    perl.write_text(PERL)
    if subprocess.run(['perl', '-MMail::DKIM', '-e', '1'], capture_output=True).returncode == 0:
        failed |= mail_dkim(w, perl, files)
    else:
        print('skip Mail::DKIM: libmail-dkim-perl is not installed')
    if opendkim.program()[0]:
        failed |= with_opendkim(w, files, forms)
    else:
        print('skip opendkim: it is not installed, and Debian can not be reached for it')
    return failed


def dkimpy(w, r, files, forms):
    import dkim
    bad = [f.name for f in files if not dkim.verify(f.read_bytes(), dnsfunc=w.dns)]
    failed = report('what we sign, dkimpy verifies', bad, len(files))
    bad, arc = [], []
    key, ed = w.key.read_bytes(), None
    for i in range(len(files)):
        m = (w.tmp / f'm{i}').read_bytes()
        head, body = (c.encode() for c in forms[i % 4].split('/'))
        signed = dkim.sign(m, b'rsa', b'example.org', key, canonicalize=(head, body)) + m
        if w.check(signed) != ['pass']:
            bad.append(f'm{i} {forms[i % 4]}')
    failed |= report('what dkimpy signs, we verify', bad, len(files))
    chains = min(len(files) // 3, 300)
    for i in range(chains):
        m = b'Authentication-Results: here.test; spf=pass smtp.mailfrom=x@y.test\r\n' + (w.tmp / f'm{i}').read_bytes()
        (w.tmp / 'a').write_bytes(m)
        sealed = m
        for hop in range(r.randrange(1, 4)):
            (w.tmp / 'a').write_bytes(sealed)
            if hop % 2 == 0 or not importlib.util.find_spec('authres'):
                sealed = subprocess.run([str(CTL), 'auth', 'seal', str(w.tmp / 'a'), '--domain', 'example.org', '--selector', 'rsa', '--key', str(w.key), '--id', 'here.test',
                                         '--dns', str(w.zone)], capture_output=True, check=True).stdout
            else:
                sealed = b'Authentication-Results: other.test; arc=pass\r\n' + sealed
                sealed = b''.join(dkim.arc_sign(sealed, b'rsa', b'example.org', key, b'other.test')) + sealed
        cv = dkim.arc_verify(sealed, dnsfunc=w.dns)[0]
        (w.tmp / 'a').write_bytes(sealed)
        ours = auth('arc', w.tmp / 'a', '--dns', w.zone)['arc']
        if cv != b'pass' or ours['result'] != 'pass':
            arc.append(f'm{i}: dkimpy {cv}, ours {ours}')
    return failed | report('ARC, sealed by us and by dkimpy in turn, verified by both', arc, chains)


def mail_dkim(w, perl, files):
    bad = []
    for some in batches(files):
        out = subprocess.run(['perl', str(perl), 'verify', str(w.flat), *map(str, some)], capture_output=True, text=True).stdout.split('\n')
        bad += [f'{f.name} {found}' for f, found in zip(some, out) if found != 'pass']
    failed = report('what we sign, Mail::DKIM verifies', bad, len(files))
    bad = []
    for some in batches([w.tmp / f'm{i}' for i in range(len(files))]):
        for n, form in enumerate(('relaxed/relaxed', 'simple/simple')):
            mine = some[n::2]
            subprocess.run(['perl', str(perl), f'example.org,rsa,{w.key},{form}', str(w.flat), *map(str, mine)], capture_output=True)
            bad += [f'{f.name} {form}' for f in mine if not Path(f'{f}.perl').exists() or w.check(Path(f'{f}.perl').read_bytes()) != ['pass']]
    return failed | report('what Mail::DKIM signs, we verify', bad, len(files))


def with_opendkim(w, files, forms):
    bad, theirs = [], []
    for n, form in enumerate(forms[:2]):
        with opendkim.OpenDkim(w.tmp, 'example.org', 'rsa', w.key, form, w.records) as o:
            for i in range(n, len(files), 2):               # of ours each, whatever its forms; signed by it in both forms by turns
                result, mail = o.verify(files[i].read_bytes()), (w.tmp / f'm{i}').read_bytes()
                if result != 'pass':
                    bad.append(f'{files[i].name} {result}')
                field = o.sign(mail)
                if not field or w.check(field + mail) != ['pass']:
                    theirs.append(f'm{i} {form}')
            tampered = o.verify(files[n].read_bytes() + b'one line more\r\n')
            if tampered == 'pass':
                bad.append('opendkim takes anything')
    return report('what we sign, opendkim verifies', bad, len(files)) | report('what opendkim signs, we verify', theirs, len(files))


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as d:
        sys.exit(main(Path(d)))
