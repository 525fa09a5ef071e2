"""A real client that asks for a reply for each recipient: Exim, whose default is to use PRDR where it is offered. One transaction, a mailbox and a next hop that refuses the content."""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
from porter import Porter, Talk, check, finish, free_port, skip
from servers import Exim
from sink import Sink


class Client(Exim):
    """Exim that hands everything on to `to`, at once and in one transaction."""
    to = 0

    def configure(self):
        super().configure()
        text = (self.dir / 'etc/exim.conf').read_text()
        text = text.replace('queue_only\n', 'log_selector = +smtp_confirmation\n').replace('acl_smtp_data = data\n', '')
        text = text[:text.index('begin routers')] + f'''begin routers
on:
  driver = manualroute
  transport = smtp
  route_list = * 127.0.0.1::{self.to} byname
  self = send
begin transports
smtp:
  driver = smtp
  allow_localhost
  hosts_avoid_tls = *
'''
        self.etc('exim.conf', text)

    def log(self):
        return (self.dir / 'srv/spool/mainlog').read_text() if (self.dir / 'srv/spool/mainlog').exists() else ''


if os.geteuid() or not Client.available():
    skip('Exim as a client of PRDR', 'needs root, ::1 and Debian\'s package of Exim')
    finish()
hop = Sink(dot=lambda m: '554 5.7.1 no such content')
p = Porter('prdr', start=False)
with open(p.etc / 'domains', 'a') as f:
    f.write(f'relay.test relay [127.0.0.1]:{hop.port} recipients=ask\n')
p.compile()
with p.start():
    client = Client(p.dir / 'exim', free_port(), [])
    client.to = p.mx
    with client:
        t = Talk(p, port=client.port)
        t.say('EHLO c.test')
        t.say('MAIL FROM:<a@outside.test>')
        for r in ('alice@example.test', 'good@relay.test', 'bob@example.test'):
            t.say(f'RCPT TO:<{r}>')
        t.say('DATA')
        t.raw(b'Subject: from exim\r\n\r\nhello\r\n.\r\n')
        taken = t.reply()
        t.close()
        ended = p.wait(lambda: 'Completed' in client.log() or client.log().count('=>') + client.log().count('->') + client.log().count('** ') >= 3)
        log = client.log()
        check('Exim hands three recipients on in one transaction', taken[0] == 250 and ended, (taken, log))
        lines = [line for line in log.splitlines() if 'PRDR' in line]
        check('it asked for a reply for each', len(lines) >= 1, log)
        got = {a: next((line for line in log.splitlines() if a in line and (' => ' in line or ' -> ' in line or ' ** ' in line)), '') for a in ('alice@', 'good@', 'bob@')}
        check('a mailbox\'s recipients are delivered', ('=>' in got['alice@'] or '->' in got['alice@']) and ('=>' in got['bob@'] or '->' in got['bob@']), log)
        check('the hop\'s refusal is for its own recipient', '**' in got['good@'] and 'no such content' in log, log)
        check('one copy each, and none at the hop', (len(p.messages('alice')), len(p.messages('bob')), len(hop.messages)) == (1, 1, 0))
        check('Porter logs the transaction once, as taken, and whom it was not', p.log_text().count(' taken ') == 1 and 'recipient-refused' in p.log_text())
finish()
