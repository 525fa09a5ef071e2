"""Words and code in step: settings and porter.conf(5), commands and porterctl(8), maps and their examples, what README says and the Makefile has, and an installation that works."""
import json, os, re, subprocess, sys
from pathlib import Path
from porter import BUILD, TOP, Porter, check, finish

ctl = BUILD / 'porterctl'


def out(*argv, **kw):
    return subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=120, **kw)


# -- settings --------------------------------------------------------------------------------------------------------------
settings = json.loads(out(ctl, 'settings', '--json').stdout)
page = out(ctl, 'settings', '--man').stdout
check('porter.conf(5) tells every setting', all(f'.B {s["name"]}\n{s["sentence"]}' in page for s in settings))
check('every setting has a sentence that ends in a full stop', all(s['sentence'].rstrip().endswith('.') for s in settings),
      [s['name'] for s in settings if not s['sentence'].rstrip().endswith('.')])
names = [s['name'] for s in settings]
check('no setting stands twice', len(names) == len(set(names)), [n for n in names if names.count(n) > 1])

# -- man pages -----------------------------------------------------------------------------------------------------------------
pages = {'porter.conf.5': page, 'porterctl.8': out(ctl, 'help', '--man').stdout}
pages |= {p.name: p.read_text() for p in (TOP / 'etc/man').glob('*.[1-8]')}
for name, text in sorted(pages.items()):
    r = subprocess.run(['mandoc', '-Tlint', '-Werror'], input=text, capture_output=True, text=True, timeout=60)
    check(f'{name} is a well-formed man page', r.returncode == 0, r.stdout[:500])
for must in ('porterd.8', 'porterctl.8', 'porter.conf.5', 'porter-maps.5'):
    check(f'there is {must}', must in pages)

# -- commands ----------------------------------------------------------------------------------------------------------------------
text = out(ctl, 'help').stdout
listed = dict((name.strip(), ' '.join(rest.split())) for name, rest in re.findall(r'^  (\S.{17}) (\S.*(?:\n {21}\S.*)*)$', text, re.M))
paged = set(re.findall(r'^\\fB(.*?)\\fP', pages['porterctl.8'], re.M))
check('porterctl help tells every command with a sentence', len(listed) >= 10 and set(listed) == paged and all(s.endswith('.') for s in listed.values()),
      (paged ^ set(listed), [c for c, s in listed.items() if not s.endswith('.')]))
check('and fits a terminal', max(map(len, text.splitlines())) <= 100 and len(text.splitlines()) < 150, len(text.splitlines()))
for name in sorted(listed):
    family, whole = out(ctl, 'help', name.split()[0]).stdout, out(ctl, 'help', *name.split()).stdout
    check(f'porterctl help {name} tells its options', whole.startswith(f'  {name} ') and f'  {name} ' in family and listed[name][:40].split(' [')[0] in ' '.join(whole.split()), whole)
r = out(ctl, 'no-such-command')
check('an unknown command says where the commands are listed', r.returncode == 64 and 'help' in r.stderr, r.stderr)
r = out(ctl, '-c', '/nonexistent', 'check')
check('a missing configuration says how to name another', r.returncode == 78 and '-c DIR' in r.stderr, r.stderr)

# -- examples ----------------------------------------------------------------------------------------------------------------------
with Porter('docs', start=False) as p:
    demo_maps = {f.name for f in p.etc.iterdir() if f.is_file() and f.name != 'porter.conf'}
    examples = {f.name for f in (TOP / 'etc/examples').iterdir()}
    maps_page = pages.get('porter-maps.5', '')
    for name in ('domains', 'recipients', 'aliases', 'routes', 'access', 'credentials', 'senders', 'clients'):
        check(f'the map {name} stands in the demo, in the examples and in porter-maps(5)', name in demo_maps and name in examples and name in maps_page)
    r = p.ctl('check')
    check('the demo checks', r.returncode == 0, r.stderr)
    conf = (p.etc / 'porter.conf').read_text()
    used = {l.split()[0] for l in conf.splitlines() if l.strip() and not l.startswith('#')}
    check('the demo\'s porter.conf has known settings alone', used <= set(names), used - set(names))
    bad = p.etc / 'porter.conf'
    bad.write_text(conf + 'no-such-setting 1\nsize-limit much\n')
    r = p.ctl('check')
    lines = len(conf.splitlines())
    check('all errors of porter.conf are told at once, with file and line', r.returncode == 78 and f'porter.conf:{lines + 1}:' in r.stderr and f'porter.conf:{lines + 2}:' in r.stderr, r.stderr)
    recipients = (p.etc / 'recipients').read_text()
    bad.write_bytes(conf.encode() + b'max-sessions 0\ndata-timeout 1s\n\xff\x1b[31m 1\n')
    (p.etc / 'recipients').write_text('nobody\n')
    r = p.ctl('check')
    check('a number out of its range is told the range', 'max-sessions is out of its range, 1 to 1000000' in r.stderr and 'data-timeout is out of its range, 5 to 86400 seconds' in r.stderr, r.stderr)
    check('foreign bytes of a setting are shown escaped', r.stderr.isprintable() or r.stderr.replace('\n', '').isprintable(), repr(r.stderr))
    check('a wrong porter.conf doesn\'t hide what is wrong in the maps', r.returncode == 78 and 'porter.conf:' in r.stderr and 'recipients:1:' in r.stderr, r.stderr)
    told = json.loads(p.ctl('--json', 'check').stdout)
    check('check --json counts all of them', told == {'good': False, 'entries': 0, 'errors': 4}, told)
    (p.etc / 'recipients').write_text(recipients)
    bad.write_text(conf)
    (p.etc / 'aliases').write_text('a@example.test ghost@example.test\n')
    r = p.ctl('check')
    check('an alias that leads nowhere is named with file and line', r.returncode == 65 and 'aliases:1:' in r.stderr, r.stderr)
    (p.etc / 'aliases').write_text('a@example.test :include:/nonexistent\nb@-x..y z\n')
    (p.etc / 'domains').write_text('example.test mailbox quota=much\nx.test nonsense\n')
    r = p.ctl('check')
    check('errors of maps are told together, with file and line', r.returncode == 65 and r.stderr.count('\n') >= 2 and 'aliases:2:' in r.stderr, r.stderr)

# -- README and Makefile --------------------------------------------------------------------------------------------------------------
readme = (TOP / 'README.md').read_text()
targets = set(re.findall(r'^## make ([a-z-]+)', (TOP / 'Makefile').read_text() + ''.join(f.read_text() for f in (TOP / 'etc/make').glob('*.mk')), re.M))
told = set(re.findall(r'`make ([a-z-]+)', readme))
check('every make target that README names is there', told and told <= targets | {'all', 'help'}, told - targets)
check('README names the two commands', '`make run`' in readme and '`make test`' in readme)
check('CI calls exactly README\'s test command', 'exec make test' in (TOP / '.ci/run').read_text())
for room in ('base', 'maps', 'queue', 'delivery', 'smtpd', 'ctl', 'tests'):
    card = TOP / room / 'README.md'
    check(f'the room {room} has a card of at most thirty lines', card.exists() and len(card.read_text().splitlines()) <= 30)
check('the licence is there', 'ISC' in (TOP / 'LICENSE').read_text() or 'Permission to use, copy, modify' in (TOP / 'LICENSE').read_text())

roles = re.findall(r'^\t\{ "(\w+)", (?:true|false)', (TOP / 'ctl/roles.c').read_text(), re.M)
page = (TOP / 'etc/man/porterd.8').read_text()
check('porterd(8) names every process, and each has its program', len(roles) >= 8 and all(f'.B {r}\n' in page and (BUILD / f'porterd-{r}').exists() for r in roles), roles)

# -- architecture.md ------------------------------------------------------------------------------------------------------------------
text = (TOP / 'etc/doc/architecture.md').read_text()
messages = set(re.findall(r'^\t(HOUSE_\w+)', re.search(r'enum house_message \{(.*?)\}', (TOP / 'base/house.h').read_text(), re.S)[1], re.M))
told = set(re.findall(r'\bHOUSE_[A-Z_]+', text))
check('architecture.md has every message between parent and child, and no other', messages == told, messages ^ told)
links = {frozenset(pair) for pair in re.findall(r'\{ "(\w+)", "(\w+)" \}', (TOP / 'ctl/roles.c').read_text())}
line = re.search(r'^Who has a channel to whom .*?: (.*?)\.', text, re.M)[1]
told = {frozenset((one, other)) for part in line.split('; ') for one, others in [part.split(' \u2013 ')] for other in others.split(', ')}
check('and every channel', links and links == told, links ^ told)
for card in ('etc/doc/architecture.md', 'HACKING.md', *(f'{room}/README.md' for room in ('base', 'maps', 'queue', 'delivery', 'smtpd', 'ctl', 'tests'))):
    text, room = (TOP / card).read_text(), (TOP / card).parent
    named = [n for n in re.findall(r'`([\w/-]+\.(?:c|h|py|md))`', text) if 'NAME' not in n]
    lost = [n for n in named if not (TOP / n).exists() and not (room / n).exists()]
    check(f'{card}: each file that it names is there', not lost, lost)

# -- headers whose functions stand under the name of a file --------------------------------------------------------------------------
homes = {m[1]: c.name for c in TOP.glob('*/*.c') for m in re.finditer(r'^(?!static)[a-z][^\n;=]*?\b(\w+)\([^;{]*\)\s*\n\{', c.read_text(), re.M)}
strays = []
for header in sorted(TOP.glob('*/*.h')):
    file = None
    for row in header.read_text().splitlines():
        file = (re.match(r'/\* (?:[a-z_]+/)?([a-z_]+\.c)\b', row) or [0, file])[1]
        m = file and re.match(r'(?!static|typedef|struct \w+ \{)[a-z][\w *]*?\b(\w+)\(', row)
        if m and homes.get(m[1], file) != file:
            strays.append(f'{header.name}: {m[1]} is in {homes[m[1]]}')
check('a function that a header puts under the name of a file is in that file', len(homes) > 1000 and not strays, strays)

# -- memory ---------------------------------------------------------------------------------------------------------------------------
segments = subprocess.run(['readelf', '-lW', BUILD / 'porterd-smtpd'], capture_output=True, text=True).stdout
local = re.search(r'^ +TLS +\S+ +\S+ +\S+ +\S+ +(0x[0-9a-f]+)', segments, re.M)
check('what each thread of each process has of its own is small (etc/doc/decisions.md)', local and int(local[1], 16) < 4096, local and local[0])

# -- unit tests -----------------------------------------------------------------------------------------------------------------------
# Not by their own name: what only a room's inside sees, tables without code, and what is tried through the file that drives it (mail_check; test_page for web).
INSIDE = set('base/conn_state base/conn_transport base/dns_settings base/dns_source base/general_settings base/log_syslog base/mail_arc base/mail_dkim base/mail_dns base/mail_spf_inside base/tls_inside base/web '
             'maps/map_set maps/maps_settings maps/resolve_inside'.split())
units = ''.join(f.read_text() for f in (TOP / 'tests/unit').glob('*.[ch]'))
untested = [f'{room}/{h.stem}' for room in ('base', 'maps') for h in sorted((TOP / room).glob('*.h')) if f'"{room}/{h.name}"' not in units]
check('each file of base/ and maps/ has a unit test that includes it', not set(untested) - INSIDE, set(untested) - INSIDE)
check('and the list of exceptions is no longer than it must be', not INSIDE - set(untested), INSIDE - set(untested))

# -- installation ---------------------------------------------------------------------------------------------------------------------------
dest = BUILD / 't' / f'dest-{os.getpid()}'
(dest / 'usr/sbin').mkdir(parents=True)
(dest / 'usr/sbin/porterd-queue').write_text('of an older installation')
r = out('make', '-s', '-C', TOP, 'install', f'DESTDIR={dest}', f'BUILD={BUILD}', 'PREFIX=/usr')
found = {str(f.relative_to(dest)) for f in dest.rglob('*') if f.is_file()} if dest.exists() else set()
check('make install puts binaries, pages, unit and examples below DESTDIR', r.returncode == 0 and {
    'usr/sbin/porterd', 'usr/sbin/porterctl', 'usr/sbin/sendmail', 'usr/share/man/man8/porterd.8', 'usr/share/man/man8/porterctl.8', 'usr/share/man/man5/porter.conf.5', 'usr/share/man/man5/porter-maps.5',
    'lib/systemd/system/porter.service', 'etc/porter/domains'} <= found, (r.stderr, sorted(found)))
commands = {f.name for f in (dest / 'usr/sbin').iterdir()} if found else set()
check('what people call lies in sbin, and nothing of an older installation', commands == {'porterd', 'porterctl', 'sendmail', 'newaliases', 'mailq'}, commands)
parts = {f.name for f in (dest / 'usr/libexec/porter').iterdir()} if (dest / 'usr/libexec/porter').exists() else set()
check('what porterd alone starts lies in libexec/porter', parts == {'porterd-helper', *(f'porterd-{r}' for r in roles)}, parts)
(dest / 'usr/sbin/porterd-helper').write_text('of an older installation')   # not taken for a part of this one
r = out(dest / 'usr/sbin/porterd', 'demo', dest / 'demo')
r = r if r.returncode else out(dest / 'usr/sbin/porterctl', '-c', dest / 'demo/etc', 'check')
check('what was installed makes a demo, and checks it', r.returncode == 0 and (dest / 'demo/etc/porter.conf').exists(), (r.stdout, r.stderr))
(dest / 'usr/sbin/porterd-helper').unlink()
subprocess.run(['rm', '-rf', dest / 'demo'])
unit = (dest / 'lib/systemd/system/porter.service').read_text() if found else ''
check('the unit names what was installed', '/usr/sbin/porterd -c /etc/porter' in unit and '@' not in unit)
check('the unit lets porterd make its keys beside the configuration, though the rest of /etc is read only',
      'ProtectSystem=full' in unit and re.search('^ReadWritePaths=/etc/porter$', unit, re.M), unit)
r = out('make', '-s', '-C', TOP, 'uninstall', f'DESTDIR={dest}', f'BUILD={BUILD}', 'PREFIX=/usr')
left = {str(f.relative_to(dest)) for f in dest.rglob('*') if f.is_file()} if dest.exists() else set()
check('make uninstall leaves the configuration alone', r.returncode == 0 and left and all(f.startswith('etc/porter/') for f in left), sorted(left))
subprocess.run(['rm', '-rf', str(dest)])
finish()
