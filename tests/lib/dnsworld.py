"""A world of DNS on loopback: a root of our own, signed, and beside it zones that are not. nsd answers, ldns signs; Porter validates by our trust anchor.

    with World(p.dir / 'dns', 'mx.a.test. A 127.0.0.1', insecure={'plain.': 'mx A 127.0.0.1'}) as dns:
        p.set({'dns-resolvers': dns.resolver, 'dns-trust-anchor': dns.anchor})"""
import hashlib, re, shutil, signal, socket, subprocess, time
from pathlib import Path

from porter import PATIENCE, SLOW, free_port

TOOLS = ('nsd', 'ldns-signzone', 'ldns-keygen')


def missing():
    """What this machine lacks, or ''."""
    return ' '.join(t for t in TOOLS if not shutil.which(t) and not Path('/usr/sbin', t).exists())


def tlsa(cert_pem, usage=3, selector=1):
    """"3 1 1 HEX" of a certificate, the first of its file."""
    argv = ['openssl', 'x509', '-in', str(cert_pem), '-outform', 'DER'] if not selector else ['openssl', 'x509', '-in', str(cert_pem), '-noout', '-pubkey']
    out = subprocess.run(argv, capture_output=True, check=True).stdout
    if selector:
        out = subprocess.run(['openssl', 'pkey', '-pubin', '-outform', 'DER'], input=out, capture_output=True, check=True).stdout
    return f'{usage} {selector} 1 {hashlib.sha256(out).hexdigest()}'


class World:
    def __init__(self, folder, records, insecure=None, spoil=None):
        """records: lines of the root zone, names with their dot. insecure: {zone: lines}. spoil(text): changes the signed root zone's text, behind the signer's back."""
        self.dir, self.port = Path(folder), free_port()
        self.dir.mkdir(parents=True, exist_ok=True)
        self.resolver, self.anchor = f'127.0.0.1@{self.port}', self.dir / 'anchor'
        insecure = insecure or {}
        head = '$TTL 60\n@ SOA ns. root. 1 3600 600 86400 60\n@ NS ns.\n'
        root = f'$ORIGIN .\n{head}ns. A 127.0.0.1\n' + ''.join(f'{z} NS ns.\n' for z in insecure) + records + '\n'
        self._sign(root, spoil)
        zones = [('.', 'root.signed')]
        for name, text in insecure.items():
            (self.dir / f'zone-{name}').write_text(f'$ORIGIN {name}\n{head}{text}\n')
            zones.append((name, f'zone-{name}'))
        (self.dir / 'nsd.conf').write_text(
            f'server:\n ip-address: 127.0.0.1@{self.port}\n port: {self.port}\n username: ""\n chroot: ""\n zonesdir: "{self.dir}"\n database: ""\n'
            f' pidfile: "{self.dir}/pid"\n xfrdfile: "{self.dir}/xfrd"\n zonelistfile: "{self.dir}/list"\n server-count: 1\n do-ip6: no\n'
            'remote-control:\n control-enable: no\n' + ''.join(f'zone:\n name: "{n}"\n zonefile: "{f}"\n' for n, f in zones))
        self.process = subprocess.Popen(['/usr/sbin/nsd', '-d', '-c', self.dir / 'nsd.conf'], stdout=open(self.dir / 'log', 'wb'), stderr=subprocess.STDOUT)
        self._wait()

    def _sign(self, root, spoil):
        def run(*argv):
            return subprocess.run(argv, cwd=self.dir, capture_output=True, check=True, text=True).stdout.strip()
        (self.dir / 'root').write_text(root)
        ksk = run('ldns-keygen', '-k', '-a', 'ECDSAP256SHA256', '.')
        zsk = run('ldns-keygen', '-a', 'ECDSAP256SHA256', '.')
        run('ldns-signzone', '-f', 'root.signed', 'root', ksk, zsk)
        signed = self.dir / 'root.signed'
        if spoil:
            signed.write_text(spoil(signed.read_text()))
        self.anchor.write_text((self.dir / f'{ksk}.key').read_text())

    def _wait(self):
        question = bytes.fromhex('123401000001000000000000') + b'\2ns\0' + bytes.fromhex('00010001')
        end = time.monotonic() + PATIENCE * SLOW
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(.2)
            while time.monotonic() < end:
                s.sendto(question, ('127.0.0.1', self.port))
                try:
                    s.recv(512)
                    return
                except OSError:
                    pass
        raise RuntimeError((self.dir / 'log').read_text()[-2000:])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
