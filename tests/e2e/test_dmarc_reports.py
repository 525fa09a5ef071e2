#!/usr/bin/env python3
"""DMARC aggregate reports: gathered for domains that ask, sent to destinations that agree, readable by the same tool that reads others'."""
import json, re, subprocess, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from dns import Dns
from porter import BUILD, Porter, check, finish
from sink import Sink

ZONE = {
    'report.test': {'TXT': ['v=spf1 ip4:127.0.0.1 -all']},
    '_dmarc.report.test': {'TXT': ['v=DMARC1; p=reject; rua=mailto:dmarc@report.test,mailto:x@elsewhere.test!10m,https://report.test/,mailto:y@willing.test']},
    'report.test._report._dmarc.willing.test': {'TXT': ['v=DMARC1;']},
    'silent.test': {'TXT': ['v=spf1 ip4:127.0.0.1 -all']},
    '_dmarc.silent.test': {'TXT': ['v=DMARC1; p=reject']},
    'other.test': {'TXT': ['v=spf1 ip4:127.0.0.1 -all']},
}


def mail(domain):
    return f'From: Ann <ann@{domain}>\r\nTo: alice@example.test\r\nSubject: x\r\n\r\nhello\r\n'.encode()


def main():
    sink = Sink()
    with Dns(ZONE) as d, Porter('reports', settings={'dns-resolvers': d.resolver, 'evidence': 'yes'}, maps={'routes': f'* [127.0.0.1]:{sink.port}'}) as p:
        codes = [p.send(mail('report.test'), sender='ann@report.test') for _ in range(3)] + [p.send(mail('report.test'), sender='ann@other.test') for _ in range(2)]
        codes += [p.send(mail('silent.test'), sender='ann@silent.test')]
        check('mail that passes is taken, mail that fails refused', codes == [250, 250, 250, 550, 550, 250], codes)
        time.sleep(.5)
        out = p.ctl('auth', 'send-reports')
        check('reports are made of it, one domain asked for them', out.returncode == 0 and json.loads(out.stdout)['reports'] == 1, out.stdout + out.stderr)
        end = time.monotonic() + 15
        while len(sink.messages) < 2 and time.monotonic() < end:
            time.sleep(.1)
        to = sorted(r for m in sink.messages for r in m.recipients)
        check('they go to the domain\'s own address and to the other one that agreed', to == ['dmarc@report.test', 'y@willing.test'], to)
        check('with the null reverse-path', all(m.sender == '' for m in sink.messages))
        folder = p.dir / 'got'
        folder.mkdir()
        for i, m in enumerate(sink.messages):
            (folder / str(i)).write_bytes(m.content)
        found = json.loads(subprocess.run([BUILD / 'porterctl', 'auth', 'reports', folder, '--json'], capture_output=True).stdout)
        check('and say what happened', len(found['reports']) == 1 and found['reports'][0]['messages'] == 5 and found['reports'][0]['policy'] == 'reject', found)
        rows = found['sources']
        check('by source: three passed, two were rejected', len(rows) == 1 and rows[0]['source'] == '127.0.0.1' and (rows[0]['passed'], rows[0]['rejected']) == (3, 2), rows)
        check('the file has the name that the RFC wants', all(re.search(rb'filename="mx\.example\.test!report\.test!\d+!\d+\.xml\.gz"', m.content) for m in sink.messages))
        out = p.ctl('auth', 'send-reports')
        check('nothing is sent twice', json.loads(out.stdout)['reports'] == 0, out.stdout)
    sink.stop()
    finish()


main()
