"""What an import made of a folder, for the tests of porterctl import."""
from porter import check


def put(folder, files):
    for name, text in files.items():
        f = folder / name
        f.parent.mkdir(parents=True, exist_ok=True)
        f.write_text(text)
    return folder


def entries(folder, name):
    f = folder / name
    return [l for l in f.read_text().splitlines() if l and not l.startswith('#')] if f.exists() else []


def imported(p, kind, source, **wanted):
    to = p.dir / f'from-{kind}-{source.name}'
    r = p.ctl('import', '--to', to, kind, source)
    check(f'import {kind} ends well', r.returncode == 0, r.stdout + r.stderr)
    for name, lines in wanted.items():
        have = entries(to, name.replace('_', '-'))
        missing = [l for l in lines if l not in have]
        check(f'import {kind}: {name}', not missing, f'missing {missing} in {have}: {r.stdout}')
    return to, r.stdout
