"""Connections to next hops that are kept: what one of them has carried before is not the fault of who comes next. Behind each is a server that counts what a connection does."""
import os, socketserver, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
from porter import Porter, check, finish

OFFER = ('PIPELINING', '8BITMIME', 'CHUNKING')


class Counting(socketserver.ThreadingTCPServer):
    """says(verb, how often this connection has said it, what is open) is a reply, or None for the usual one. It keeps its state behind a BDAT that it refuses, until RSET."""
    daemon_threads = allow_reuse_address = True

    def __init__(self, says=lambda verb, times, state: None):
        self.says, self.messages, self.sessions = says, [], 0
        super().__init__(('127.0.0.1', 0), Session)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(.05,), daemon=True).start()


class Session(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            self.serve()
        except OSError:
            pass

    def serve(self):
        self.server.sessions += 1
        counts, sender = {}, None
        self.say('220 counting.test')
        while line := self.rfile.readline().decode().strip():
            verb = line.replace(':', ' ').split()[0]
            content = self.rfile.read(int(line.split()[1])) if verb == 'BDAT' else b''
            counts[verb] = counts.get(verb, 0) + 1
            reply = self.server.says(verb, counts[verb], sender)
            if verb == 'EHLO':
                self.say('\r\n'.join(f'250-{w}' for w in ('counting.test', *OFFER)) + '\r\n250 HELP')
                continue
            if verb == 'MAIL' and not reply:
                sender = line
            elif verb == 'RSET':
                sender = None
            elif verb == 'BDAT' and not reply:
                self.server.messages.append(content)
                sender = None
            self.say(reply or ('221 bye' if verb == 'QUIT' else '250 2.0.0 ok'))
            if verb == 'QUIT' or (reply or '').startswith('421'):
                return

    def say(self, text):
        self.wfile.write(text.encode() + b'\r\n')


def second(verb, reply):
    return Counting(lambda v, times, sender: reply if v == verb and times == 2 else None)


hops = {
    'that a server ends (421) at their second message': second('MAIL', '421 4.7.0 Too many messages in this connection'),
    'that have had as many messages as they may (452)': Counting(lambda v, times, sender: '452 4.5.3 Too many messages sent' if v == 'MAIL' and times > 1 else None),
    'of which a server has lost count (503)': second('MAIL', '503 5.5.1 Nested MAIL command'),
    'that end at RCPT for the errors of others': second('RCPT', '421 4.7.0 Too many errors'),
    'that end at BDAT': second('BDAT', '421 4.3.2 Shutting down'),
}
refuses = Counting(lambda v, times, sender: '503 5.5.1 Nested MAIL command' if v == 'MAIL' and sender else '554 5.6.0 Not this' if v == 'BDAT' and times == 1 else None)
known = Counting(lambda v, times, sender: '452 4.2.1 Not you, not now' if v == 'MAIL' else None)
places = {f'd{i}.test': hop for i, hop in enumerate([*hops.values(), refuses, known])}
maps = {'domains': ''.join(f'{domain} relay [127.0.0.1]:{hop.port} recipients={domain[:2]}\n' for domain, hop in places.items()),
        **{domain[:2]: f'u@{domain}\n' for domain in places}}
with Porter('kept-hop', settings={'evidence': 'no'}, maps=maps) as p:
    for domain, (what, hop) in zip(places, hops.items()):
        codes = [p.send(to=f'u@{domain}') for _ in range(4)]
        if 'BDAT' in what:      # a reply behind the content's end is the message's own
            check('what a server says behind the content is for that message, also a 421, and the next one has another connection', codes == [250, 451, 250, 451] and hop.sessions == 2, (codes, hop.sessions))
        else:
            check(f'connections {what} put nobody off', codes == [250] * 4 and len(hop.messages) == 4, (codes, hop.sessions, p.log_text()[-1500:]))
    codes = [p.send(to='u@d5.test') for _ in range(3)]
    check('behind a BDAT that was refused nothing of it is left open for the next message', codes == [554, 250, 250] and refuses.sessions == 1, (codes, refuses.sessions))
    codes = [p.send(to='u@d6.test') for _ in range(3)]
    check('a server that puts the sender off is asked once more at most', codes == [452] * 3 and known.sessions <= 4, (codes, known.sessions))
finish()
