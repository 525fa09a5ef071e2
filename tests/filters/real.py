#!/usr/bin/env python3
"""Real milters between us and the mailbox: opendkim signs, ClamAV refuses a test signature, rspamd refuses GTUBE; all in a row. Their packages are unpacked below build/peers. `make test` has the
first two (tests/e2e/test_real_filters.py); PORTER_RSPAMD=1, as make test-filters sets it, adds rspamd, which is large and takes most of a minute of a busy processor to come up."""
import os, re, shutil, socket, subprocess, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import SLOW, Porter, check, finish, free_port, skip  # noqa: E402
from unpack import can_inside, inside, unpack  # noqa: E402

MAIL = b'From: Ann <ann@outside.test>\r\nTo: alice@example.test\r\nSubject: filtered\r\nDate: Wed, 25 Nov 2026 04:00:00 +0000\r\nMessage-ID: <1@outside.test>\r\n\r\nhello\r\n'
VIRUS = b'PORTER-TEST-VIRUS-PATTERN-0123456789'
GTUBE = b'XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X'


class Server:
    def __init__(self, root, *argv, log, ready):
        self.p = subprocess.Popen(inside(root, *argv), stdin=subprocess.DEVNULL, stdout=open(log, 'ab'), stderr=subprocess.STDOUT, start_new_session=True)
        end = time.monotonic() + 40 * SLOW
        while not ready() and time.monotonic() < end and self.p.poll() is None:
            time.sleep(.1)
        self.up = self.p.poll() is None and ready()

    def stop(self):
        if self.p.poll() is None:
            os.killpg(self.p.pid, 15)
            try:
                self.p.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.p.pid, 9)
                self.p.wait()


def listens(port):
    def ask():
        try:
            socket.create_connection(('127.0.0.1', port), 1).close()
            return True
        except OSError:
            return False
    return ask


def folder(p, name):
    d = p.dir / name
    d.mkdir()
    os.chmod(d, 0o755)
    return d


def opendkim(p, port):
    root = unpack('opendkim', 'opendkim')
    if not root or not can_inside(root):
        return None
    d = folder(p, 'opendkim')
    subprocess.run(['openssl', 'genrsa', '-out', d / 'key.pem', '2048'], check=True, capture_output=True)
    (d / 'conf').write_text(f'Mode s\nDomain outside.test\nSelector s\nKeyFile {d}/key.pem\nInternalHosts 127.0.0.0/8\nSocket inet:{port}@127.0.0.1\nRequireSafeKeys no\nSyslog no\n'
                            'Background no\nCanonicalization relaxed/relaxed\n')
    return Server(root, '/usr/sbin/opendkim', '-f', '-x', d / 'conf', log=d / 'log', ready=listens(port))


def clamav(p, port):
    root = unpack('clamav', 'clamav-milter', 'clamav-daemon')
    if not root or not can_inside(root):
        return []
    d = folder(p, 'clamav')
    (d / 'db').mkdir()
    (d / 'db/test.ndb').write_text(f'Porter.Test:0:*:{VIRUS.hex()}\n')
    (d / 'clamd.conf').write_text(f'LocalSocket {d}/clamd.sock\nDatabaseDirectory {d}/db\nForeground yes\nTemporaryDirectory {d}\nUser root\n')
    (d / 'milter.conf').write_text(f'MilterSocket inet:{port}@127.0.0.1\nClamdSocket unix:{d}/clamd.sock\nForeground yes\nOnInfected Reject\nAddHeader Add\nUser root\nTemporaryDirectory {d}\n')
    daemon = Server(root, '/usr/sbin/clamd', '-c', d / 'clamd.conf', log=d / 'log', ready=lambda: (d / 'clamd.sock').exists())
    return [daemon, Server(root, '/usr/sbin/clamav-milter', '-c', d / 'milter.conf', log=d / 'milter.log', ready=listens(port))]


def rspamd(p, port):
    root = unpack('rspamd', 'rspamd')
    if not root or not can_inside(root):
        return None
    d = folder(p, 'rspamd')
    shutil.chown(d, 'nobody')
    (d / 'conf').write_text(f'options {{ pidfile = "{d}/pid"; filters = ""; dns {{ nameserver = ["127.0.0.1:9"]; timeout = 1s; retransmits = 1; }} }}\n'
                            'logging { type = "console"; level = "error"; }\n'
                            f'worker "rspamd_proxy" {{ bind_socket = "127.0.0.1:{port}"; milter = yes; count = 1; timeout = 20s; upstream "local" {{ default = yes; self_scan = yes; }} }}\n'
                            'metric { name = "default"; actions { reject = 15; add_header = 6; greylist = 4; } }\n')
    return Server(root, '/usr/bin/rspamd', '-f', '-i', '-c', d / 'conf', '-u', 'nobody', '-g', 'nogroup', f'--var=DBDIR={d}', f'--var=RUNDIR={d}', f'--var=LOGDIR={d}',
                  log=d / 'log', ready=listens(port))


def last(p):
    found = list(p.messages().values())
    return found[-1] if found else b''


def run(p, names, ports):
    def through(*which):
        p.set({'milters': ' '.join(f'{n}=127.0.0.1:{ports[n]}' for n in which)})
        p.stop()
        p.start()
        p.clean()
    if 'opendkim' in names:
        through('opendkim')
        code = p.send(MAIL, sender='ann@outside.test')
        text = last(p)
        check('opendkim signs, and its field stands on top', code == 250 and re.search(rb'\nDKIM-Signature: v=1; a=rsa-sha256; .*d=outside.test', text), (code, text, p.log_text()[-500:]))
        big = MAIL + b'0123456789abcde\r\n' * 60000
        check('opendkim signs a large message', p.send(big, sender='ann@outside.test') == 250 and b'DKIM-Signature' in last(p) and last(p).endswith(b'abcde\n'))
    if 'clamav' in names:
        through('clamav')
        p.wait(lambda: p.send(MAIL) == 250)        # the milter asks from time to time whether clamd is there
        p.clean()
        codes = p.send(MAIL), p.send(MAIL + VIRUS + b'\r\n')
        check('ClamAV\'s milter lets mail through and refuses what its signature names', codes == (250, 550) and b'X-Virus-' in last(p), (codes, last(p)))
        big = MAIL + b'0123456789abcde\r\n' * 60000
        codes = p.send(big), p.send(big + VIRUS + b'\r\n')
        check('large messages, too', codes == (250, 550), codes)
    if 'rspamd' in names:
        through('rspamd')
        codes = p.send(MAIL), p.send(MAIL + GTUBE + b'\r\n')
        check('rspamd lets mail through and refuses GTUBE', codes[0] == 250 and codes[1] in (550, 554), (codes, p.log_text()[-500:]))
    row = [n for n in ('clamav', 'rspamd', 'opendkim') if n in names]
    if 'clamav' in row and 'opendkim' in row:
        through(*row)
        with p.talk() as t:
            codes = [t.deliver(MAIL + more, sender='ann@outside.test') for more in (b'', VIRUS + b'\r\n', GTUBE + b'\r\n', b'')]
        spam = 5 if 'rspamd' in row else 2
        check(f'{", ".join(row)} in a row, four messages of one session', [c // 100 for c in codes] == [2, 5, spam, 2] and len(p.messages()) == 2 + (spam == 2) and b'DKIM-Signature' in last(p)
              and b'X-Virus-' in last(p), codes)


def main():
    with Porter('real-filters', settings={'evidence': 'no'}) as p:
        ports = {n: free_port() for n in ('opendkim', 'clamav', 'rspamd')}
        servers = {'opendkim': [opendkim(p, ports['opendkim'])], 'clamav': clamav(p, ports['clamav'])}
        if os.environ.get('PORTER_RSPAMD') == '1':
            servers['rspamd'] = [rspamd(p, ports['rspamd'])]
        try:
            names = [n for n, s in servers.items() if s and all(one and one.up for one in s)]
            for n in sorted(set(servers) - set(names)):
                skip(n, 'the package can\'t be had or doesn\'t start: ' + ''.join(f.read_text(errors='replace')[-300:] for f in (p.dir / n).glob('*log')) if (p.dir / n).is_dir() else 'none')
            run(p, names, ports)
            if '-v' in sys.argv:
                print(re.sub('(?m)^.* (info|debug) .*\n', '', p.log_text())[-2000:], *[f.read_text(errors='replace')[-1500:] for f in p.dir.glob('*/*log')])
        finally:
            for s in servers.values():
                for one in s:
                    if one:
                        one.stop()
    finish()


main()
