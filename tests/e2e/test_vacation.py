#!/usr/bin/env python3
"""Vacation (RFC 3834): who is away answers people, once, by the one gate; never lists, robots, nor a sender who was not proven. And success that was asked for, told by a mailbox."""
import email, email.policy, json, sys, os
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
from dns import Dns
from porter import Porter, check, finish
from sink import Sink

friends, victims = Sink(), Sink()
world = Dns({'proven.test': {'TXT': ['v=spf1 ip4:127.0.0.1 -all']}, 'sub.proven.test': {'TXT': ['v=spf1 ip4:127.0.0.1 -all']}, 'victim.test': {'TXT': ['v=spf1 -all']}})
TEXTS = {
    'bob': 'Subject: I am away\nDays: 7\n\nBack in May.\n',
    'carol': 'From: 2001-01-01\nUntil: 2001-02-01\n\nThat was long ago.\n',
    'dora': 'Until: 2099-01-01\n\nStill away.\n',
}


def give(sender, to, extra='', shown=None, subject='hello'):
    content = f'From: <{sender}>\r\nTo: {shown or to}\r\nSubject: {subject}\r\n{extra}\r\nhello\r\n'.encode()
    check(f'taken: {sender} to {to} {extra.strip()}', p.send(content, to, sender) == 250)


def answers(words):
    return [m for m in friends.messages if words in m.content]


p = Porter('vacation', start=False, settings={'dns-resolvers': world.resolver, 'evidence': 'yes', 'spf-fail': 'take'},
           maps={'clients': '127.0.0.1 known.test\n', 'routes': f'known.test [127.0.0.1]:{friends.port}\nproven.test [127.0.0.1]:{friends.port}\nsub.proven.test [127.0.0.1]:{friends.port}\nvictim.test [127.0.0.1]:{victims.port}\n', 'recipients': 'carol@example.test maildir\ndora@example.test maildir\n',
                 'aliases': 'info@example.test bob@example.test\n'})
(p.etc / 'vacation').mkdir()
for user, text in TEXTS.items():
    (p.etc / f'vacation/{user}@example.test').write_text(text)
with p:
    p.start()
    for _ in range(5):      # who is away is told to smtpd some time after the start
        give('friend@proven.test', 'bob@example.test', subject='lunch?')
        got = p.wait(lambda: answers(b'Back in May'), 3)
        if got:
            break
    check('who is away answers somebody whom SPF proves', got, p.log_text()[-3000:])
    if got:
        m = email.message_from_bytes(got[0].content, policy=email.policy.default)
        check('under a null reverse-path, to the reverse-path', (got[0].sender, got[0].recipients) == ('', ['friend@proven.test']), (got[0].sender, got[0].recipients))
        check('as an automatic reply, with the subject of the text', m['Auto-Submitted'] == 'auto-replied' and m['Subject'] == 'I am away', (m['Auto-Submitted'], m['Subject']))
        check('in the name of who is away, with the text as its body', m['From'] == 'bob@example.test' and m.get_content().strip() == 'Back in May.' and not m.defects, got[0].content)
    give('friend@proven.test', 'bob@example.test')
    with p.talk(source='127.0.0.9') as t:
        forged = t.deliver(b'From: <later@known.test>\r\nTo: dora@example.test\r\n\r\nx\r\n', ['dora@example.test'], 'later@known.test')
    check('a forged sender is taken, and hears nothing', forged == 250 and p.wait_log('report-withheld.*kind=reply.*to=later@known.test'), forged)
    give('later@known.test', 'dora@example.test')
    check('which does not keep the true one from hearing', p.wait(lambda: any(m.recipients == ['later@known.test'] for m in friends.messages)), p.log_text()[-3000:])
    give('friend@sub.proven.test', 'dora@example.test')
    check('an organisation that SPF alone proves hears once a day, whatever it puts in front of its name', p.wait_log('report-withheld.*to=friend@sub.proven.test.*organisation'), p.log_text()[-3000:])
    give('client@known.test', 'bob@example.test')
    give('client@known.test', 'bob@example.test')
    give('list-request@known.test', 'bob@example.test')
    give('robot@known.test', 'bob@example.test', 'Auto-Submitted: auto-generated\r\n')
    give('member@known.test', 'bob@example.test', 'List-Id: <l.known.test>\r\n')
    give('bulk@known.test', 'bob@example.test', 'Precedence: bulk\r\n')
    give('blind@known.test', 'bob@example.test', shown='somebody@else.test')
    give('alias@known.test', 'info@example.test')
    give('late@known.test', 'carol@example.test')
    give('forged@victim.test', 'bob@example.test')
    give('client@known.test', 'dora@example.test')
    check('each who is away answers on their own', p.wait(lambda: answers(b'Still away')), p.log_text()[-3000:])
    to = lambda: [m.recipients[0] for m in friends.messages]       # noqa: E731
    p.wait(lambda: len(to()) >= 4)
    check('once in so many days; and a list, a robot, bulk mail, mail that names somebody else, and one who came too late hear nothing', sorted(to()) == ['client@known.test', 'client@known.test', 'friend@proven.test', 'later@known.test'], to())
    check('and a forged sender\'s server sees nobody', victims.connections == 0, victims.mails)
    kept = lambda: json.loads(p.ctl('attacks', '--json').stdout)['kinds'].get('automatic reply', {}).get('report withheld', 0)
    check('the account of attacks tells the answer that was withheld', p.wait(kept), p.ctl('attacks', '--json').stdout)

    p.stop()
    p.set({'report-rate': 1})
    p.start()
    p.wait_log('vacations', 1)
    before = len(answers(b'Still away'))
    for _ in range(5):
        give('rated@known.test', 'bob@example.test')
        if p.wait(lambda: 'rated@known.test' in to(), 3):
            break
    give('rated@known.test', 'dora@example.test')
    check('a reply past the rate is withheld', p.wait_log('report-withheld.*kind=reply.*to=rated@known.test.*hour'), p.log_text()[-3000:])
    count = lambda: json.loads(p.ctl('top', '--json').stdout)['queue.withheld']['now']    # noqa: E731
    check('counted', count() == 1, count())
    check('no dead letter: the message is in its mailbox', '0 messages' in p.ctl('dead', 'list').stdout, p.ctl('dead', 'list').stdout)
    check('and told in the digest', p.ctl('digest').returncode == 0 and p.wait(lambda: any(b'withheld 1 automatic' in m for m in p.messages('alice').values())), list(p.messages('alice').values())[-1:])
    p.stop()
    p.set({'report-rate': 100})
    p.start()
    check('it has used up nothing: the next message gets the reply that is due', any(give('rated@known.test', 'dora@example.test') or p.wait(lambda: to().count('rated@known.test') == 2, 3) for _ in range(5)), p.log_text()[-3000:])
finish()
