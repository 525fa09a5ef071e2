"""Debian packages for tests, unpacked below build/peers and never installed: other mail servers and clients beside which ours runs.

    root = unpack('dovecot', 'dovecot-imapd')     # a folder with usr/ ...; None where it can't be had
    run(root, 'usr/lib/dovecot/imap', ...)        # with the folder's own libraries"""
import fcntl, os, shutil, subprocess
from pathlib import Path
from porter import BUILD


def _wanted(packages):
    """The packages themselves and what they need that isn't on this machine."""
    p = subprocess.run(['apt-get', 'install', '-s', '--no-install-recommends', *packages], capture_output=True, text=True, timeout=60)
    missing = [line.split()[1] for line in p.stdout.splitlines() if line.startswith('Inst ')]
    return list(dict.fromkeys([*packages, *missing])) if p.returncode == 0 else list(packages)


def unpack(name, *packages):
    root = BUILD / 'peers' / name
    root.parent.mkdir(parents=True, exist_ok=True)
    with open(root.with_suffix('.lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (root / 'done').exists():
            return root
        shutil.rmtree(root, ignore_errors=True)
        (root / 'debs').mkdir(parents=True)
        try:
            subprocess.run(['apt-get', 'download', '-q', '-o', 'APT::Sandbox::User=root', *_wanted(packages)], cwd=root / 'debs', capture_output=True, timeout=90, check=True)
            for deb in (root / 'debs').glob('*.deb'):
                subprocess.run(['dpkg-deb', '-x', deb, root], capture_output=True, timeout=60, check=True)
        except (subprocess.SubprocessError, OSError):
            return None
        shutil.rmtree(root / 'debs')
        (root / 'done').touch()
        return root


def environment(root, **more):
    folders = ['usr/lib/dovecot', 'usr/lib/postfix', 'usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu', 'usr/lib']
    return dict(os.environ, LD_LIBRARY_PATH=':'.join(str(root / f) for f in folders if (root / f).is_dir()), **more)


def run(root, program, *argv, env=None, **kw):
    kw.setdefault('timeout', 60)
    return subprocess.run([str(root / program), *map(str, argv)], env=environment(root, **(env or {})), capture_output=True, **kw)


def inside(root, *argv):
    """The command line that runs argv in a mount namespace where the folder's usr and etc lie over the machine's: for programs that know only their own paths. As root."""
    script = 'mount -t overlay overlay -o lowerdir="$0/usr:/usr" /usr && { [ ! -d "$0/etc" ] || mount -t overlay overlay -o lowerdir="$0/etc:/etc" /etc; } && exec "$@"'
    return ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, str(root), *map(str, argv)]


def can_inside(root):
    return os.geteuid() == 0 and subprocess.run(inside(root, 'true'), capture_output=True).returncode == 0
