#!/usr/bin/env python3
"""A real Dovecot with Sieve behind LMTP, whose scripts reject, answer and redirect late, and which hands what it writes to us, as an inner server does. To a forged sender nothing comes of it:
its server sees no connection. One of ours, and one whom SPF proves, hear their answer."""
import os, re, subprocess, sys, traceback
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
from dns import Dns
from porter import BUILD, SLOW, Porter, check, finish, free_port, skip
from servers import Dovecot, ids
from sink import Sink

SCRIPTS = {
    'rejects': 'require ["reject"];\nreject "I do not want this.";\n',
    'answers': 'require ["vacation"];\nvacation :days 1 :addresses ["answers@example.test"] "I am away.";\nkeep;\n',
    'redirects': 'redirect "ann@far.test";\n',
    'copies': 'require ["copy"];\nredirect :copy "ann@far.test";\n',
}


class Sieve(Dovecot):
    packages = ('dovecot-sieve', 'dovecot-lmtpd', 'dovecot-sieve')

    def __init__(self, folder, port, submission):
        super().__init__(folder, port, ['example.test'])
        self.submission = submission

    def configure(self):
        super().configure()
        number = ids()['vmail']
        self.etc('lmtp-users', ''.join(f'{u}@example.test::{number}:{number}::/srv/mail/{u}::\n' for u in SCRIPTS))
        for user, script in SCRIPTS.items():
            self.srv(f'mail/{user}/script.sieve', script, owner='vmail')
            self.srv(f'mail/{user}', owner='vmail', mode=0o700)
        conf = self.dir / 'etc/lmtp.conf'
        conf.write_text(conf.read_text() + f'''
submission_host = 127.0.0.1:{self.submission}
protocol lmtp {{
  mail_plugins = sieve
}}
plugin {{
  sieve = file:~/sieve;active=~/script.sieve
}}
''')

    def kept(self, user):
        return [f for folder in ('new', 'cur') for f in (self.dir / f'srv/mail/{user}/Maildir' / folder).glob('*')]


def give(p, user, sender, mark):
    content = f'From: <{sender}>\r\nTo: {user}@example.test\r\nMessage-ID: <{mark}@test>\r\nSubject: {mark}\r\n\r\nhello\r\n'.encode()
    return p.send(content, f'{user}@example.test', sender)


def forged(p, victims, far, sieve):
    codes = {user: give(p, user, f'{user}@victim.test', f'forged-{user}') for user in SCRIPTS}
    check('what its scripts do is Dovecot\'s affair: it takes the messages', set(codes.values()) == {250}, codes)
    tried = p.wait(lambda: len(re.findall(r'RCPT TO failed: 550 5\.7\.1', (sieve.dir / 'out').read_text())) >= 4)
    check('it tried to reject, to answer, and to send on under the forged names, and heard 550 each time', tried, (sieve.dir / 'out').read_text()[-1500:])
    check('what it could not send on it keeps', p.wait(lambda: all(sieve.kept(u) for u in ('answers', 'redirects', 'copies'))), {u: sieve.kept(u) for u in SCRIPTS})
    check('and none of their servers saw a connection', victims.connections == 0, (victims.connections, victims.mails))
    check('nothing went abroad under their names', not [m for m in far.mails if 'victim.test' in m or not m], far.mails)


def heard(sink, words):
    return [m for m in sink.messages if words in m.content]


def proven(p, friends):
    """Sieve writes its answer before its 250 for the message that it answers: who writes for the first time is not seen yet."""
    give(p, 'copies', 'friend@proven.test', 'spf-first')
    give(p, 'answers', 'friend@proven.test', 'spf-answered')
    give(p, 'rejects', 'friend@proven.test', 'spf-rejected')
    check('one whom SPF proves hears the answer', p.wait(lambda: heard(friends, b'I am away')), p.log_text()[-2000:])
    check('and the rejection', p.wait(lambda: heard(friends, b'I do not want this')), p.log_text()[-2000:])
    check('each under a null reverse-path', {m.sender for m in friends.messages} == {''}, [m.sender for m in friends.messages])
    give(p, 'answers', 'alice@example.test', 'ours')
    for to, expected in (('friend@proven.test', 0), ('nobody@victim.test', 77)):
        r = subprocess.run([BUILD / 'sendmail', '-C', p.etc, '-i', '-f', '<>', to], input=b'Subject: from a program\n\nsorry\n', capture_output=True, timeout=60 * SLOW)
        check(f'a local program\'s null reverse-path passes the same gate ({to})', r.returncode == expected, r)
    check('and arrives where it may', p.wait(lambda: heard(friends, b'from a program')))
    check('one of ours hears it, too', p.wait(lambda: [m for m in p.messages('alice').values() if b'I am away' in m]))


def main():
    if not Sieve.available():
        skip('Dovecot\'s Sieve behind LMTP: nothing reaches a forged sender', 'needs root and dovecot-sieve from Debian')
        return
    victims, friends, far = Sink(), Sink(), Sink()
    world = Dns({'proven.test': {'TXT': ['v=spf1 ip4:127.0.0.1 -all'], 'MX': ['10 mx.sinks.test']}, '*.victim.test': {'MX': ['10 mx.sinks.test']}, 'victim.test': {'MX': ['10 mx.sinks.test']},
                 'mx.sinks.test': {'A': ['127.0.0.1']}})
    port = free_port()
    with Porter('sieve', settings={'dns-resolvers': world.resolver, 'hop-port': str(victims.port), 'evidence': 'yes'},
                maps={'clients': '127.0.0.1 example.test\n', 'recipients': ''.join(f'{u}@example.test lmtp:127.0.0.1:{port}\n' for u in SCRIPTS),
                      'routes': f'proven.test [127.0.0.1]:{friends.port}\nfar.test [127.0.0.1]:{far.port}\nvictim.test [127.0.0.1]:{victims.port}\n'}) as p:
        with Sieve(p.dir / 'dovecot', port, p.mx) as sieve:
            forged(p, victims, far, sieve)
            proven(p, friends)
            check('the forged senders\' servers saw nothing to the end', victims.connections == 0, victims.mails)
            if '-v' in sys.argv:
                print(p.log_text()[-6000:], (sieve.dir / 'out').read_text())


try:
    main()
except Exception as e:      # noqa: BLE001
    traceback.print_exc()
    check('the test itself', False, repr(e))
finish()
