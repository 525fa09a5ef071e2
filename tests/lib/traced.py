"""System calls of a running process that fail, wait, or end it: strace, attached as long as the `with` lasts."""
import re, subprocess


class Traced:
    """calls: names with commas between; inject: what strace's --inject takes behind them. `good`: strace could attach.
    A call that is to fail has :syscall=getpid in its place, which the process's own filter knows."""

    def __init__(self, pid, calls, inject):
        self.p = subprocess.Popen(['strace', '-f', '-p', str(pid), '-o', '/dev/null', '-e', f'trace={calls}', '-e', f'inject={calls}:{inject}'],
                                  stderr=subprocess.PIPE, text=True)
        self.good = 'attached' in self.p.stderr.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.terminate()
        try:
            self.p.wait(5)
        except subprocess.TimeoutExpired:       # it waits for a thread that died while it was looked at; and who it looks at isn't gone for anybody else
            self.p.kill()
            self.p.wait()
        self.p.stderr.close()


FILES = 'fsync,fdatasync,syncfs,sync_file_range,rename,renameat,renameat2,unlink,unlinkat,open,openat,openat2,linkat,pread64,preadv,pwrite64,pwritev,ftruncate'


class Watched:
    """What the main thread of a process, its loop, does with files, until `end`, which returns it. `good`: strace could attach."""

    def __init__(self, pid, path):
        self.path = path
        self.p = subprocess.Popen(['strace', '-y', '-p', str(pid), '-o', path, '-e', f'trace={FILES}'], stderr=subprocess.PIPE, text=True)
        self.good = 'attached' in self.p.stderr.readline()

    def end(self):
        """Lines that are alike but for numbers once each."""
        self.p.terminate()
        self.p.wait(60)
        self.p.stderr.close()
        return sorted({re.sub('[0-9]+', 'N', l)[:200] for l in self.path.read_text().splitlines() if re.match(r'[a-z0-9]+\(', l)})
