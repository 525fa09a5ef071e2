"""The setting `reports`: with none nobody is told, nothing is lost, and the manual says what that costs; there is no value that reports to everybody."""
import json, smtplib, ssl
from porter import BUILD, SLOW, Porter, check, finish
from sink import Sink

USER, PASSWORD = 'alice@example.test', 'porter-demo'


def submit(p, to):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP('127.0.0.1', p.submission, timeout=30 * SLOW, local_hostname='client.test') as s:
        s.starttls(context=context)
        s.login(USER, PASSWORD)
        s.sendmail(USER, [to], 'Subject: hello\r\n\r\nhello\r\n')


def dead(p):
    return json.loads(p.ctl('dead', 'list', '--json').stdout or '[]')


refusing = Sink(rcpt=lambda a: '550 5.1.1 no such user here')
routes = {'routes': f'far.test [127.0.0.1]:{refusing.port}\n'}
with Porter('reports-none', settings={'reports': 'none'}, maps=routes) as p:
    submit(p, 'nobody@far.test')
    check('with reports none a message that fails becomes a dead letter', p.wait(lambda: dead(p)), p.log_text()[-2000:])
    text = json.dumps(dead(p))
    check('which says for whom it was, and why nobody was told', 'nobody@far.test' in text or USER in text, text)
    check('and its sender, although authenticated, gets no report', not p.messages('alice'), list(p.messages('alice').values())[:1])
    for value, good in (('all', False), ('everybody', False), ('authenticated', True), ('none', True)):
        p.set({'reports': value})
        code = p.ctl('check').returncode
        check(f'reports {value} is ' + ('a value' if good else 'none'), (code == 0) == good, code)
page = ' '.join(p.run([BUILD / 'porterctl', 'settings', '--man']).stdout.replace('\\', '').split())
check('the manual says honestly what is lost, and that it spares strangers nothing', all(w in page for w in ('is never told', 'takes it for delivered', 'spares strangers nothing')), page[:200])
finish()
