#!/usr/bin/env python3
"""signed.py BENCH OUT [RUNS] [CLIENTS ...]: S1 with signed mail and every check on: Porter as shipped beside Postfix with opendkim, opendmarc and rspamd, and Exim (heavy) with its own SPF and
DKIM, in turn on one machine. BENCH is the folder that measures mail servers side by side; the drivers of the two, the client and the keys in the zone are ours. Each server has to say
in the field it adds that SPF and DKIM passed (DMARC, too, where it knows it), or its figures don't count. One JSON line a run to OUT/signed.jsonl; the medians as a table last."""
import json, os, re, signal, statistics, struct, subprocess, sys, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
BENCH, OUT = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
RUNS, CLIENTS = int((sys.argv[3:4] or ['3'])[0]), [int(c) for c in sys.argv[4:] or ['1', '10', '100']]
BUILD = Path(os.environ.get('PORTER_BUILD', TOP / 'build')).resolve()
sys.path.insert(0, str(BENCH / 'lib'))
os.environ.update({'BENCH_BASE_POSTFIX': str(BENCH / 'peers/postfix'), 'BENCH_BASE_EXIM': str(BENCH / 'peers/exim'), 'BENCH_DRIVER_PORTERCHECKED': str(HERE / 'porter'),
                   'BENCH_DRIVER_POSTFIXCHECKED': str(HERE / 'postfix-checked'), 'BENCH_DRIVER_EXIMCHECKED': str(HERE / 'exim-checked'), 'PORTER_BUILD': str(BUILD)})
import host  # noqa: E402

PEERS = {'porterchecked': ('spf=pass', 'dkim=pass', 'dmarc=pass'), 'postfixchecked': ('spf=pass', 'dkim=pass', 'dmarc=pass'), 'eximchecked': ('spf=pass', 'dkim=pass')}
NAMES = {'porterchecked': 'Porter', 'postfixchecked': 'Postfix + opendkim + opendmarc + rspamd', 'eximchecked': 'Exim, own SPF and DKIM'}
MESSAGES, SIZE, SECONDS, KEY_NAME = 400, 4096, 8, 'bench._domainkey.outside.test'


def make_messages(folder):
    """400 mails of 4 KiB, each signed with RSA-2048; their file, and the key's record."""
    key, file = folder / 'key.pem', folder / 'messages'
    subprocess.run(['openssl', 'genrsa', '-traditional', '-out', key, '2048'], check=True, capture_output=True)
    der = subprocess.run(['openssl', 'pkey', '-in', key, '-pubout', '-outform', 'der'], check=True, capture_output=True).stdout
    with open(file, 'wb') as out:
        for i in range(MESSAGES):
            text = (f'Date: {time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())}\r\nFrom: Sender <sender@outside.test>\r\nTo: <list@example.test>\r\nSubject: bench {i}\r\n'
                    f'Message-ID: <signed-{i}@outside.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n')
            line = 'A line of text as people write them, with words and a few commas, and its end.\r\n'
            text += line * ((SIZE - 700 - len(text)) // len(line))
            (folder / 'one').write_bytes(text.encode())
            signed = subprocess.run([BUILD / 'porterctl', 'auth', 'sign', folder / 'one', '--domain', 'outside.test', '--selector', 'bench', '--key', key], check=True, capture_output=True).stdout
            wire = re.sub(rb'(?m)^\.', b'..', signed) + b'.\r\n'
            out.write(struct.pack('>I', len(wire)) + wire)
    import base64
    p = base64.b64encode(der).decode()
    return file, f'v=DKIM1; k=rsa; p={p}'


def add_to_zone(record):
    plain = host.zone
    host.zone = lambda: plain() + (f'outside.test. TXT "v=spf1 ip4:127.0.0.0/24 -all"\n{KEY_NAME}. TXT "{record[:200]}" "{record[200:]}"\n'
                                   '_dmarc.outside.test. TXT "v=DMARC1; p=reject"\nc.load.test. A 127.0.0.10\n')


def send(peer, client, messages, file):
    got = peer.in_net(host.BIN / 'given', file, host.IP, client, messages, *host.STRANGERS)
    if got.returncode:
        raise RuntimeError(got.stderr)
    return json.loads(got.stdout)


def is_checked(peer):
    """What the server says of the last mail it delivered."""
    newest = max((f for d in (peer.root / host.MAIL[1:]).glob('*/new') for f in d.iterdir()), key=lambda f: f.stat().st_mtime)
    head = newest.read_bytes().replace(b'\r\n', b'\n').split(b'\n\n')[0].decode(errors='replace')
    return [word for word in PEERS[peer.name] if word not in head], head


def measure(peer, clients, file):
    for _ in range(20):                                  # filters that greet already may not serve yet
        warm = send(peer, clients, 60, file)
        if warm['ok'] == 60:
            break
        time.sleep(1)
    else:
        raise RuntimeError(f'{peer.name} took {warm["ok"]} of 60: {warm["refusal"]}')
    peer.wait_deliveries(60, 60)
    missing, head = is_checked(peer)
    if missing:
        raise RuntimeError(f'{peer.name} does not say {missing}:\n{head}')
    peer.drained(60)
    peer.clean_mail()
    n = int(max(60, min(60000, 60 / max(.05, warm['t_end'] - warm['t_first']) * SECONDS)))
    os.sync()
    with host.Meter(peer) as meter:
        got = send(peer, clients, n, file)
        copies, done = peer.wait_deliveries(got['ok'], 120)
    peer.clean_mail()
    cost = meter.result()
    return {'clients': clients, 'n': n, 'ok': got['ok'], 'copies': copies, 'msg_per_s': round(got['ok'] / (done - got['t_first']), 1), 'p50_ms': got['p50_ms'], 'p99_ms': got['p99_ms'],
            'lost': got['lost'], 'refusal': got['refusal'], 'cpu_s_per_1000': round(cost['cpu_s'] * 1000 / got['ok'], 2), **cost}


def table(lines):
    print(f'\n| clients | | {" | ".join(NAMES.values())} |\n|---|---|{"---|" * len(NAMES)}')
    for c in CLIENTS:
        for figure, name in (('msg_per_s', 'messages/s'), ('p50_ms', 'p50 ms'), ('p99_ms', 'p99 ms'), ('cpu_s_per_1000', 'CPU s for 1,000')):
            row = []
            for peer in PEERS:
                found = [x[figure] for x in lines if x['peer'] == peer and x.get('clients') == c and figure in x]
                row.append(f'{statistics.median(found):g}' if found else '-')
            print(f'| {c} | {name} | {" | ".join(row)} |')


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))    # so that the server in hand is taken down
    host.build()
    subprocess.run(['cc', '-O2', '-static', '-o', host.BIN / 'given', HERE / 'given.c'], check=True)
    OUT.mkdir(parents=True, exist_ok=True)
    folder = OUT / 'signed'
    folder.mkdir(exist_ok=True)
    file, record = make_messages(folder)
    add_to_zone(record)
    lines, failed = [], False
    for number in range(1, RUNS + 1):
        for name in PEERS:
            peer = host.Peer(name, key_name=KEY_NAME, key_record=record)
            try:
                peer.up()
                for clients in CLIENTS:
                    line = {'scenario': 'S1signed', 'peer': name, 'run': number, **measure(peer, clients, file)}
                    lines.append(line)
                    print(json.dumps(line), flush=True)
                    with open(OUT / 'signed.jsonl', 'a') as f:
                        f.write(json.dumps(line) + '\n')
            except Exception as e:                       # one server that fails must not cost the others their figures
                failed = True
                print(f'{name}: {e}', file=sys.stderr, flush=True)
            finally:
                peer.down()
    table(lines)
    return 1 if failed else 0


sys.exit(main())
