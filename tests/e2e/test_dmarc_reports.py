#!/usr/bin/env python3
"""DMARC aggregate reports: gathered for domains that ask, sent to destinations that agree, valid by the RFC's schema, readable by the same tool that reads others'."""
import email, gzip, json, re, shutil, subprocess, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from dns import Dns
from porter import BUILD, TOP, Porter, check, finish, skip
from sink import Sink
from traced import Watched

ZONE = {
    'report.test': {'TXT': ['v=spf1 ip4:127.0.0.1 -all']},
    '_dmarc.report.test': {'TXT': ['v=DMARC1; p=reject; rua=mailto:dmarc@report.test,mailto:DMARC@report.test,mailto:"@report.test,mailto:x@elsewhere.test!10m,https://report.test/,mailto:a@willing.test']},
    'report.test._report._dmarc.willing.test': {'TXT': ['v=DMARC1; rua=mailto:y@willing.test,mailto:z@elsewhere.test']},
    'silent.test': {'TXT': ['v=spf1 ip4:127.0.0.1 -all']},
    '_dmarc.silent.test': {'TXT': ['v=DMARC1; p=reject']},
    'other.test': {'TXT': ['v=spf1 ip4:127.0.0.1 -all']},
}


def mail(domain):
    return f'From: Ann <ann@{domain}>\r\nTo: alice@example.test\r\nSubject: x\r\n\r\nhello\r\n'.encode()


OTHERS = """<?xml version="1.0"?>
<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0"><version>1.0</version>
<report_metadata><report_id>77</report_id><email>r@big.test</email><org_name>Big &amp; Co</org_name><date_range><end>1790086399</end><begin>1790000000</begin></date_range></report_metadata>
<policy_published><p>quarantine</p><domain>report.test</domain><testing>n</testing></policy_published>
<record><row><count>4</count><source_ip>2001:db8::7</source_ip><policy_evaluated><disposition>quarantine</disposition><dkim>fail</dkim><spf>fail</spf>
<reason><type>mailing_list</type><comment lang="en">a list</comment></reason></policy_evaluated></row>
<identifiers><envelope_from></envelope_from><header_from>report.test</header_from></identifiers>
<auth_results><dkim><selector>s</selector><domain>report.test</domain><result>permerror</result></dkim><spf><domain>h.test</domain><result>none</result></spf></auth_results></record>
</feedback>
"""


def schema(p, name, xml):
    """Its complaint about an XML text; '' there is none."""
    (p.dir / name).write_text(xml)
    r = subprocess.run(['xmllint', '--noout', '--nonet', '--schema', TOP / 'tests/lib/dmarc-report.xsd', p.dir / name], capture_output=True, text=True, timeout=60)
    return '' if r.returncode == 0 else r.stderr


def attachment(content):
    return next(gzip.decompress(part.get_payload(decode=True)).decode() for part in email.message_from_bytes(content).walk() if part.get_content_type() == 'application/gzip')


def valid(p, reports):
    if not shutil.which('xmllint'):
        skip('reports are valid by the schema', 'xmllint is not installed (Debian: libxml2-utils)')
        return
    xml = attachment(reports[0])
    check('what is sent is valid by the schema', schema(p, 'sent.xml', xml) == '', schema(p, 'sent.xml', xml))
    for what, old, new in (('a row without its address', r'<source_ip>.*?</source_ip>', ''), ('an unknown policy', r'<p>\w+</p>', '<p>maybe</p>'), ('another root', 'feedback', 'feedforward'),
                           ('results before the row', r'(?s)(<row>.*?</row>)(.*?)(?=</record>)', r'\2\1'), ('no record', r'(?s)<record>.*</record>', '')):
        check(f'the schema finds {what}', schema(p, 'bad.xml', re.sub(old, new, xml)) != '', re.sub(old, new, xml))
    (p.dir / 'others').mkdir()
    check('another\'s report that the schema takes', schema(p, 'others/1.xml', OTHERS) == '', schema(p, 'others/1.xml', OTHERS))
    found = json.loads(subprocess.run([BUILD / 'porterctl', 'auth', 'reports', p.dir / 'others', '--json'], capture_output=True, timeout=60).stdout)
    (p.dir / 'others/2.xml').write_text('<feedback><x>')
    (p.dir / 'others/3.xml.gz').write_bytes(b'\x1f\x8b rubbish')
    out = subprocess.run([BUILD / 'porterctl', 'auth', 'reports', p.dir / 'others'], capture_output=True, text=True, timeout=60)
    check('what looks like a report and is none is named, with the reason', '2.xml: elements are left open' in out.stderr and '3.xml.gz: it can\'t be unpacked' in out.stderr and
          '1 reports in 3 files' in out.stdout, (out.stdout, out.stderr))
    check('is read in whatever order it stands', found['reports'][0]['messages'] == 4 and found['reports'][0]['policy'] == 'quarantine' and
          found['sources'][0]['source'] == '2001:db8::7', found)


def main():
    sink = Sink()
    with Dns(ZONE) as d, Porter('reports', settings={'dns-resolvers': d.resolver, 'evidence': 'yes'}, maps={'routes': f'* [127.0.0.1]:{sink.port}'}) as p:
        p.wait_log('queue-scanned')
        watched = Watched(p.roles()['queue'][0], p.dir / 'loop.strace')
        codes = [p.send(mail('report.test'), sender='ann@report.test') for _ in range(3)] + [p.send(mail('report.test'), sender='ann@other.test') for _ in range(2)]
        codes += [p.send(mail('silent.test'), sender='ann@silent.test')]
        check('mail that passes is taken, mail that fails refused', codes == [250, 250, 250, 550, 550, 250], codes)
        made = []

        def told():
            """Everything that was reported. On a busy machine the queue may be told of the last message when a report was made of the others: that one has another."""
            made.append(json.loads(p.ctl('auth', 'send-reports').stdout)['reports'])
            p.wait(lambda: len(sink.messages) == 2 * sum(made))
            for i, m in enumerate(sink.messages):
                (folder / str(i)).write_bytes(m.content)
            got = json.loads(subprocess.run([BUILD / 'porterctl', 'auth', 'reports', folder, '--json'], capture_output=True).stdout)
            return sum(r['messages'] for r in got['reports']) >= 5 and got
        folder = p.dir / 'got'
        folder.mkdir()
        time.sleep(.5)
        found = p.wait(told)
        check('reports are made of it, one domain asked for them', found and set(made) <= {0, 1}, made)
        to = sorted({r for m in sink.messages for r in m.recipients})
        check('they go to the domain\'s own address, once, and to the one that another domain, which agreed, wants instead', to == ['dmarc@report.test', 'y@willing.test'] and len(sink.messages) == 2 * sum(made), to)
        check('with the null reverse-path', all(m.sender == '' for m in sink.messages))
        check('and say what happened', sum(r['messages'] for r in found['reports']) == 5 and {r['policy'] for r in found['reports']} == {'reject'}, found)
        rows = found['sources']
        check('by source: three passed, two were rejected', len(rows) == 1 and rows[0]['source'] == '127.0.0.1' and (rows[0]['passed'], rows[0]['rejected']) == (3, 2), rows)
        valid(p, [m.content for m in sink.messages])
        check('the file has the name that the RFC wants', all(re.search(rb'filename="mx\.example\.test!report\.test!\d+!\d+\.xml\.gz"', m.content) for m in sink.messages))
        out = p.ctl('auth', 'send-reports')
        if watched.good:
            calls = watched.end()
            check('counting, writing, packing and storing them is no work of the queue\'s loop: its thread touched no file', not calls, calls)
        else:
            skip('the loop of the queue is watched', 'strace could not attach')
        check('nothing is sent twice', json.loads(out.stdout)['reports'] == 0, out.stdout)

        def ids():
            return {re.search(r'<report_id>(.*?)</report_id>', attachment(m.content)).group(1) for m in sink.messages}

        def one_more():
            return p.wait(lambda: json.loads(p.ctl('auth', 'send-reports').stdout)['reports'] == 1)
        before, count = ids(), len(sink.messages)
        p.send(mail('report.test'), sender='ann@report.test')
        check('what comes later on the same day is another report, with an id of its own',
              one_more() and p.wait(lambda: len(sink.messages) == count + 2) and len(ids()) == len(before) + 1, (ids(), before))
        p.stop()
        (p.dir / 'spool/feedback.db').write_bytes(b'rubbish' * 1000)
        p.start()
        p.send(mail('report.test'), sender='ann@report.test')
        check('a damaged file is begun anew, and the log says so', one_more() and 'feedback-damaged' in p.log_text())
    sink.stop()
    finish()


main()
