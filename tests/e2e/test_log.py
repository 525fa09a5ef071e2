#!/usr/bin/env python3
"""Where events are written: standard error, a file that is rotated, syslog, whose server may be away; as text and as JSON. One id leads from the session's line to the file's name."""
import json, os, re, socket, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))
from porter import Porter, check, finish  # noqa: E402


class Syslogd:
    """The socket of a syslog server; closing it is its death."""

    def __init__(self, path):
        self.path, self.lines = path, []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        os.chmod(path, 0o666)
        self.socket.setblocking(False)

    def read(self):
        while True:
            try:
                self.lines.append(self.socket.recv(65536).decode())
            except BlockingIOError:
                return self.lines

    def has(self, pattern):
        return next((l for l in self.read() if re.search(pattern, l)), None)

    def close(self):
        self.socket.close()
        os.unlink(self.path)


def file_of(porter):
    return next(iter(porter.messages('bob')), '')


def forms():
    for name, settings, options in (('text', {}, ()), ('log-form json', {'log-form': 'json'}, ()), ('porterd --json', {}, ('--json',))):
        with Porter('log-form', settings=settings, start=False) as p:
            p.start(options=options)
            p.send(to='bob@example.test')
            taken = p.wait_log('^.*taken.*places.*$')
            p.wait_log('delivered')
            id = file_of(p).split('_', 1)[1].split('.')[0]
            if name == 'text':
                check('a line of text is a time, a level, an event and key=value words', taken and re.match(r'\S+Z info taken process=smtpd id=\S+ session=\S+ ', taken[0]), taken and taken[0])
                check('its id is in the file\'s name', taken and f' id={id} ' in taken[0] and file_of(p) in taken[0], (taken and taken[0], id))
                continue
            events = [json.loads(l) for l in p.log_text().splitlines() if l.startswith('{')]
            odd = [l for l in p.log_text().splitlines() if re.match(r'\d{4}-\d\d-\d\dT', l)]
            mine = [e for e in events if e.get('id') == id]
            check(f'{name}: every event of every process is a JSON object', not odd and {e['process'] for e in events} >= {'parent', 'smtpd', 'mailbox'}, odd)
            check(f'{name}: one id leads from the session to the file', {e['event'] for e in mine} >= {'taken', 'delivered'} and all(file_of(p) in json.dumps(e) for e in mine), mine)


def rotated():
    with Porter('log-file', start=False) as p:
        log = p.dir / 'events'
        p.set({'log': log})
        p.start()
        p.send()
        check('a log file holds the events', p.wait(lambda: ' taken ' in log.read_text()))
        log.rename(p.dir / 'events.1')
        check('a reload takes up a new log file where the old one was put away', p.ctl('reload').returncode == 0 and p.wait(log.exists))
        # those of before may take one connection more as they go
        check('and events go there', p.wait(lambda: p.send(sender='rotated@outside.test') and 'from=rotated@outside.test' in log.read_text()), (p.dir / 'events.1').read_text()[-500:])
        p.set({'log': 'stderr'})
        p.ctl('reload')
        check('a reload goes back to standard error', p.wait(lambda: p.send(sender='back@outside.test') and 'from=back@outside.test' in p.log_text()))


def restarts(p):
    return sum(c['restarts'] for c in p.status()['processes'])


def syslog(form):
    with Porter(f'log-{form[0]}', settings={'log-form': form}, start=False) as p:
        path = p.dir / 'syslog'
        p.set({'log': f'syslog:{path}'})
        p.start()
        check(f'syslog, {form}: without its server mail is taken, and status says so', p.send() == 250 and p.wait(lambda: 'syslog' in json.dumps(p.status()['alerts'])), p.status()['alerts'])
        server = Syslogd(path)
        check(f'syslog, {form}: a server that comes later gets the events', p.wait(lambda: p.send(to='bob@example.test') == 250 and server.has('taken') and server.has('delivered')), server.lines)
        line = server.has('delivered')
        head = re.match(r'<22>\w{3} [ \d]\d \d\d:\d\d:\d\d porter\[\d+\]: ', line or '')
        check(f'syslog, {form}: a line has facility mail, a level, a time and a process', head, line)
        if head and form == 'json':
            check('syslog, json: and is a JSON object behind that', json.loads(line[head.end():])['event'] == 'delivered', line)
        server.close()
        check(f'syslog, {form}: while its server is away mail is taken and no process dies', p.send() == 250 and p.send() == 250 and restarts(p) == 0, p.status())
        server = Syslogd(path)
        check(f'syslog, {form}: a server that comes back gets the events', p.wait(lambda: p.send() == 250 and server.has('taken')), server.lines)
        check(f'syslog, {form}: of every process', p.wait(lambda: p.send() == 250 and server.has('delivered')) and restarts(p) == 0, server.lines)
        server.close()


def main():
    forms()
    rotated()
    syslog('text')
    syslog('json')
    finish()


if __name__ == '__main__':
    main()
