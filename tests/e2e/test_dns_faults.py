#!/usr/bin/env python3
"""SPF, DKIM and DMARC while DNS has a bad day: a signed zone served by nsd, validated, with a fault injector in front. A verdict is the right one or temperror, in bounded time; never
another one, whatever is dropped, delayed, cut, or said under a wrong id. PORTER_ROUNDS: how many mails in the mixed weather (12)."""
import base64, json, os, random, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
import dnsworld  # noqa: E402
from faultydns import FAULTS, Faulty  # noqa: E402
from porter import BUILD, SLOW, Porter, check, finish, skip  # noqa: E402

ROUNDS = int(os.environ.get('PORTER_ROUNDS', '12'))
DOMAINS = [f'd{i}.test' for i in range(8)]
PATIENCE_MS = 1500                                        # of one question, where the answer is spoilt
BOUND_S = 40                                              # a verdict later than that is none
TRUE = {'honest': {'spf': 'pass', 'dkim': 'pass', 'dmarc': 'pass'}, 'forged': {'spf': 'fail', 'dkim': 'none', 'dmarc': 'fail'}}


def records(folder):
    key = folder / 'key.pem'
    subprocess.run(['openssl', 'genrsa', '-traditional', '-out', key, '2048'], check=True, capture_output=True)
    der = subprocess.run(['openssl', 'pkey', '-in', key, '-pubout', '-outform', 'der'], check=True, capture_output=True).stdout
    p = base64.b64encode(der).decode()
    lines = ''
    for d in [*DOMAINS, 'spoilt.test']:
        lines += (f'{d}. TXT "v=spf1 include:{d[:-5]}-spf.test -all"\n{d[:-5]}-spf.test. TXT "v=spf1 ip4:192.0.2.0/24 ip4:127.0.0.1 -all"\n_dmarc.{d}. TXT "v=DMARC1; p=reject; aspf=s"\n'
                  f's._domainkey.{d}. TXT "v=DKIM1; k=rsa; p={p[:200]}" "{p[200:]}"\n')
    return lines, key


def mails(folder, key, domain):
    """An honest one and a forged one, as files."""
    plain, signed = folder / f'{domain}.plain', folder / f'{domain}.signed'
    plain.write_bytes(f'From: Ann <ann@{domain}>\r\nTo: alice@example.test\r\nSubject: weather\r\nDate: Wed, 25 Nov 2026 04:00:00 +0000\r\n\r\nhello\r\n'.encode())
    signed.write_bytes(subprocess.run([BUILD / 'porterctl', 'auth', 'sign', plain, '--domain', domain, '--selector', 's', '--key', key], check=True, capture_output=True).stdout)
    return {'honest': signed, 'forged': plain}


def verdict(mail, kind, domain, faulty, world, patience_ms):
    """{'spf': word ...}, and seconds."""
    began = time.monotonic()
    client = '192.0.2.1' if kind == 'honest' else '198.51.100.1'
    out = subprocess.run([BUILD / 'porterctl', 'auth', 'check', mail, '--client', client, '--helo', f'mx.{domain}', '--from', f'ann@{domain}', '--resolver', faulty.resolver.replace('@', ':'),
                          '--trust-anchor', world.anchor, '--timeout', str(patience_ms), '--json'], capture_output=True, timeout=120 * SLOW)
    found = json.loads(out.stdout)
    return {'spf': found['spf']['result'], 'dkim': found['dkim'][0]['result'] if found['dkim'] else 'none', 'dmarc': found['dmarc']['result']}, time.monotonic() - began


def wrong(kind, found, allowed=()):
    """What is neither true nor temperror."""
    return {k: v for k, v in found.items() if v not in (TRUE[kind][k], 'temperror', *allowed)}


def steady_weather(pool, files, world):
    """One fault for every answer; each has an injector of its own, so that all are tried side by side."""
    expect_true = {'none', 'delay', 'truncate', 'late-twin'}

    def try_one(fault):
        with Faulty(world.port) as faulty:
            faulty.fault = fault
            patience = 30000 * SLOW if fault in expect_true else PATIENCE_MS
            return [(kind, *verdict(files[DOMAINS[0]][kind], kind, DOMAINS[0], faulty, world, patience)) for kind in TRUE], faulty.questions

    for fault, (results, questions) in zip(FAULTS, pool.map(try_one, FAULTS)):
        check(f'{fault}: a verdict is true or temperror', not any(wrong(kind, found) for kind, found, _ in results), results)
        if fault in expect_true:
            check(f'{fault}: it is the true one', all(found == TRUE[kind] for kind, found, _ in results), results)
        else:
            check(f'{fault}: nothing is known, and nothing is believed', all(found['spf'] == found['dmarc'] == 'temperror' for _, found, _ in results), results)
        check(f'{fault}: in bounded time and questions', all(s < BOUND_S * SLOW for _, _, s in results) and questions <= 2 * 128, (results, questions))


def every_step(pool, files, world):
    """Each question of a check in turn is the one that is never answered."""
    d = DOMAINS[4]
    with Faulty(world.port) as faulty:
        for kind in TRUE:
            verdict(files[d][kind], kind, d, faulty, world, 30000 * SLOW)
        names = list(faulty.names)
    check('a check asks for records of every kind, and for their signatures\' keys', {f'{d} TXT', f'{d[:-5]}-spf.test TXT', f'_dmarc.{d} TXT', f's._domainkey.{d} TXT', ' DNSKEY'} <= set(names), names)

    def try_one(step):
        name, kind = step
        with Faulty(world.port) as faulty:
            faulty.fault = lambda asked: 'drop' if asked == name else 'none'
            return kind, *verdict(files[d][kind], kind, d, faulty, world, PATIENCE_MS)

    steps = [(name, kind) for name in names for kind in TRUE]
    results = dict(zip(steps, pool.map(try_one, steps)))
    bad = {step: found for step, found in results.items() if wrong(*found[:2])}
    check('whichever of its questions is never answered, a verdict is true or temperror', not bad, bad)
    check('each step: in bounded time', all(s < BOUND_S * SLOW for _, _, s in results.values()), results)


def mixed_weather(pool, files, faulty, world):
    """Any fault for each answer."""
    seed = int(os.environ.get('PORTER_SEED', '7'))
    r = random.Random(seed)
    faulty.fault = lambda name: r.choice(FAULTS[1:]) if r.random() < .3 else 'none'
    cases = [(DOMAINS[i % len(DOMAINS)], list(TRUE)[i % 2]) for i in range(ROUNDS)]
    results = list(pool.map(lambda c: (c[1], *verdict(files[c[0]][c[1]], c[1], c[0], faulty, world, PATIENCE_MS)), cases))
    bad = [(kind, found) for kind, found, _ in results if wrong(kind, found)]
    check(f'mixed weather: each verdict is true or temperror (seed {seed})', not bad, bad)
    check('mixed weather: each in bounded time', all(s < BOUND_S * SLOW for _, _, s in results), [s for _, _, s in results])
    faulty.fault = 'none'


def the_server(files, p, faulty):
    """4xx only where the policy needs the answer; and it is over when DNS is back."""
    def send(kind, domain):
        return p.send(files[domain][kind].read_bytes(), sender=f'ann@{domain}')
    check('the server takes mail that passes', send('honest', DOMAINS[1]) == 250)
    faulty.fault = 'servfail'
    code = send('honest', DOMAINS[2])
    check('without answers it is 451: the client comes again', code == 451, code)
    faulty.fault = 'none'
    code = send('honest', DOMAINS[3])
    check('and taken when DNS answers again', code == 250, code)
    code = send('forged', 'spoilt.test')
    check('an answer that DNSSEC does not confirm is none: 451', code == 451, code)
    code = send('honest', 'spoilt.test')
    check('and where a signature passes any policy, none is needed', code == 250, code)


def main():
    if dnsworld.missing():
        skip('evidence in faulty DNS', f'{dnsworld.missing()} not here')
        finish()
    with Porter('dns-faults', start=False) as p:
        lines, key = records(p.dir)
        files = {d: mails(p.dir, key, d) for d in [*DOMAINS, 'spoilt.test']}
        spoil = lambda text: '\n'.join(line.replace('192.0.2.0/24', '0.0.0.0/0') if line.startswith('spoilt-spf.test.') and '\tTXT\t' in line else
                                       line.replace('p=reject', 'p=none') if line.startswith('_dmarc.spoilt.test.') and '\tTXT\t' in line else line for line in text.split('\n'))
        with dnsworld.World(p.dir / 'dns', lines, spoil=spoil) as world, Faulty(world.port) as faulty, ThreadPoolExecutor(16) as pool:
            steady_weather(pool, files, world)
            every_step(pool, files, world)
            found, _ = verdict(files['spoilt.test']['forged'], 'forged', 'spoilt.test', faulty, world, 30000 * SLOW)
            check('what was changed behind the signer\'s back proves nothing and waives nothing', found['spf'] == 'temperror' and found['dmarc'] == 'temperror', found)
            mixed_weather(pool, files, faulty, world)
            p.set({'dns-resolvers': faulty.resolver, 'dns-trust-anchor': world.anchor, 'dns-timeout': '20', 'evidence': 'yes'})
            p.start()
            the_server(files, p, faulty)
    finish()


main()
