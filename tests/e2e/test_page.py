"""The RNDR check as a page: what is served, how it bears abuse, and the way of a person through it in a real browser, where one is installed (make test-page)."""
import html, http.client, re, socket, time, urllib.parse
from dns import Dns
from leaky import Leaky
from porter import BUILD, SLOW, TOP, Porter, check, finish, free_port, skip
import browser

KEY_TAB, KEY_ENTER, KEY_SPACE = '\ue004', '\ue007', ' '


class Page:
    def __init__(self, porter):
        self.port = porter.http

    def call(self, method, path, body=None, headers=None):
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=20 * SLOW)
        try:
            c.request(method, path, body, headers or ({'Content-Type': 'application/x-www-form-urlencoded'} if body else {}))
            r = c.getresponse()
            return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
        finally:
            c.close()

    def get(self, path):
        return self.call('GET', path)

    def post(self, path, **form):
        return self.call('POST', path, urllib.parse.urlencode(form))


def finished(page, path, seconds=40):
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end:
        text = page.get(path)[2]
        if b'verdict' in text and b'Result for each way' in text and b'progress' not in text:
            return text
        time.sleep(.3)
    return b''


def plain(p, page):
    status, headers, body = page.get('/')
    csp = headers.get('content-security-policy', '')
    check('the first page is served with a strict content security policy and without cookies', status == 200 and "default-src 'none'" in csp and 'unsafe' not in csp and
          'set-cookie' not in headers, headers)
    check('no page holds an inline script, style or handler, and nothing from elsewhere', not re.search(rb'<script(?![^>]*src="/)|<style|\son\w+=|style=|https?://(?!www\.w3\.org)', body))
    for path in ('/style.css', '/page.js', '/icon.svg', '/advice/postfix', '/advice/google', '/healthz', '/metrics'):
        check(f'{path} is served', page.get(path)[0] == 200)
    for word in ('postfix', 'exim', 'opensmtpd', 'sendmail', 'exchange', 'microsoft365', 'google'):
        status, _, text = page.get('/advice/' + word)
        check(f'advice for {word} is served with its sources, from a data file', status == 200 and b'Source: ' in text and
              html.unescape(text.decode()).count('Source: ') == (TOP / f'etc/advice/{word}.txt').read_text().count('Source: '))
    metrics = page.get('/metrics')[2].decode()
    check('/metrics is OpenMetrics whose names begin with porter_', metrics.endswith('# EOF\n') and all(l.startswith(('#', 'porter_')) for l in metrics.splitlines()))
    check('what is not there is 404, and other methods are refused', page.get('/nothing')[0] == 404 and page.get('/check/' + 'a' * 26)[0] == 404 and page.call('PUT', '/')[0] in (405, 501))
    # -- asking ---------------------------------------------------------------------------------------------------------
    odd = '<script>alert(1)</script>"\'.test'
    status, _, body = page.post('/check', domain=odd, consent='dns')
    check('a script in a domain name comes back harmless', status == 422 and b'<script>alert' not in body and b'&lt;script&gt;' in body, body[:200])
    check('a field that is too long is refused', page.post('/check', domain='a' * 5000, consent='dns')[0] in (400, 413))
    check('a body past the limit is refused', too_large(page))
    check('addresses of somebody else are refused', page.post('/check', domain='example.test', known='a@other.test', consent='dns')[0] == 422)
    status, headers, _ = page.post('/check', domain='example.test', host=f'127.0.0.1:{p.mx}', consent='dns')
    where = headers.get('location', '')
    check('asking leads to a private link that can\'t be guessed', status == 303 and re.fullmatch(r'/check/[a-z0-9]{26}', where), (status, where))
    body = page.get(where)[2].decode()
    check('the page says which DNS record to set', '_rndr-check.example.test. IN TXT' in body)
    check('before consent is shown nothing was sent', not p.messages())
    check('the start button begins the check', page.post(where + '/start')[0] == 303)
    text = finished(page, where).decode()
    check('the result has a verdict, a picture and advice', 'No backscatter was seen' in text and '<svg' in text and '/advice/exim' in text, text[:300])
    status, headers, body = page.get(where + '.txt')
    check('there is a plain text version', status == 200 and headers['content-type'].startswith('text/plain') and b'refused in session' in body)
    p.stop()
    p.start()
    check('the link is permanent: a restart keeps the result', b'No backscatter was seen' in page.get(where)[2])


def too_large(page):
    """Refused by a status, or by hanging up while the rest is still being sent."""
    try:
        return page.call('POST', '/check', 'x' * 200000, {'Content-Type': 'application/x-www-form-urlencoded'})[0] in (400, 413)
    except (ConnectionError, http.client.HTTPException):
        return True


def by_letter(p, page):
    """Consent by the postmaster's answer to a letter."""
    p.clean()
    status, headers, _ = page.post('/check', domain='example.test', host=f'127.0.0.1:{p.mx}', consent='mail')
    where = headers.get('location', '')
    check('asking for consent by mail leads to a private link', status == 303 and where.startswith('/check/'), (status, where))
    check('the postmaster gets a letter', p.wait(lambda: p.messages('alice')), p.log_text()[-800:])
    text = next(iter(p.messages('alice').values()), b'').decode()
    link = re.search(r'http://127\.0\.0\.1:\d+(/consent/[a-z0-9]{26}/[a-z0-9]{26})\n', text)
    check('it says who asks, what will happen, and gives a link; nothing answers to it', link and '127.0.0.0/24' in text and 'Return-Path: <>' in text and 'To: <postmaster@example.test>' in text, text)
    check('the asker\'s page does not show the link', link and link[1].rsplit('/', 1)[1] not in page.get(where)[2].decode())
    check('the asker alone can\'t begin', page.post(where + '/start')[0] == 422)
    path = link[1] if link else '/'
    status, _, body = page.get(path)
    check('following the link begins nothing yet', status == 200 and b'<form' in body and b'No backscatter' not in page.get(where)[2])
    check('a wrong token is nothing', page.get(path[:-1] + ('a' if path[-1] != 'a' else 'b'))[0] == 404)
    check('the postmaster\'s click begins the check', page.post(where + '/start', token=path.rsplit('/', 1)[1])[0] == 303)
    check('and it comes to its end', b'No backscatter was seen' in finished(page, where))


LEAKY = {'known': 'alice@example.test', 'dead_alias': 'gone@example.test', 'forward': 'fwd@example.test', 'full': 'full@example.test', 'vacation': 'away@example.test',
         'deferred': 'slow@example.test', 'relayed': 'relay.test'}


def backscatter(p, page):
    """A server that leaks by one way: its arrow leads to the victim, and no other does. The link of its result."""
    server = Leaky('forward', catch=p.catch)
    _, headers, _ = page.post('/check', domain='example.test', host=f'127.0.0.1:{server.port}', consent='dns', **LEAKY)
    where = headers.get('location', '')
    page.post(where + '/start')
    text = finished(page, where).decode()
    check('of a server that returns mail the page says so, and in how many ways of how many', re.search(r'class="verdict bad">This server returned mail to a forged sender in 1 of 16 ways', text), text[:1500])
    arrows = re.findall(r'<path class="(\w+)" d="M380 (\d+)H\d+" marker-end="url\(#head-bounced\)"', text)
    names = dict(re.findall(r'<text x="20" y="(\d+)" class="\w+" text-anchor="start">([\w-]+)<', text))
    row = names.get(str(int(arrows[0][1]) + 4)) if arrows else None
    check('in the picture one arrow leads to the victim, that of the way which returned it', len(arrows) == 1 and row == 'forward' and 'class="victim hit"' in text, (arrows, names))
    check('the table tells bytes, amplification, time, and that the spam was in it', re.search(r'way-forward.*accepted and bounced.*1 × back, \d+ bytes \(\d+&nbsp;% of what was sent\), after [\d.]+ s, with the spam', text), text)
    check('every way was tried', text.count('could not test') == 0, text)
    plain_text = page.get(where + '.txt')[2].decode()
    check('the plain text begins with the verdict and ends with the link to what to change', 'in 1 of 16 ways' in plain_text[:400] and plain_text.rstrip().endswith(where) and 'Google Workspace' in plain_text, plain_text)
    check('the page shows its own permanent private address', f'href="{where}"' in text and 'permanent and private' in text)
    server.close()
    return where


def silence(page):
    """A server that swallows what nobody can have is not called clear."""
    server = Leaky('subaddress')
    server.send = lambda to, content: None
    _, headers, _ = page.post('/check', domain='example.test', host=f'127.0.0.1:{server.port}', consent='dns')
    page.post(headers['location'] + '/start')
    text = finished(page, headers['location']).decode()
    check('a suspected drop does not clear a server on the page either', 'class="verdict">' in text and 'a suspected drop, unproved' in text, text[:1500])
    server.close()


def behind_a_proxy(p, page):
    """A proxy on this machine speaks for strangers, who have none of this machine's rights."""
    form = urllib.parse.urlencode({'domain': 'NAME.test', 'host': f'127.0.0.1:{p.mx}', 'consent': 'dns'})
    kind = {'Content-Type': 'application/x-www-form-urlencoded'}
    for i, given in enumerate(('198.51.100.7', '127.0.0.1, 198.51.100.8', 'nonsense', '')):
        sent = len(p.messages())
        _, headers, _ = page.call('POST', '/check', form.replace('NAME', f'proxied{i}'), kind | {'X-Forwarded-For': given})
        where = headers.get('location', '')
        page.post(where + '/start')
        told = p.wait(lambda: b'Not begun' in page.get(where)[2])
        check(f'who comes through a proxy as "{given}" may not have this machine tested without consent', told and len(p.messages()) == sent, page.get(where)[2][:1000])
    check('and is counted by his own network', re.search(r'rndr-check-asked .*asker=198\.51\.100\.0/24', p.log_text()))
    codes = [page.call('POST', '/check', form.replace('NAME', f'example{i}'), kind | {'X-Forwarded-For': '203.0.113.9'})[0] for i in range(7)]
    check('his network may ask five times a day', codes == [303] * 5 + [422] * 2, codes)
    check('nor may he read /metrics', page.call('GET', '/metrics', headers={'X-Forwarded-For': '198.51.100.7'})[0] == 403 and page.get('/metrics')[0] == 200)


def killed(p, page):
    """What the page has answered is on disk: kill -9 at that moment loses neither a link nor a place in the queue."""
    links = [page.post('/check', domain='example.test', host=f'127.0.0.1:{p.mx}', consent='dns')[1].get('location', '') for _ in range(3)]
    p.kill()
    p.start()
    p.wait(lambda: answers(page))
    check('links given just before kill -9 are there after it', [page.get(l)[0] for l in links] == [200] * 3, links)
    begun = [page.post(l + '/start')[0] for l in links]
    p.kill()
    p.start()
    p.wait(lambda: answers(page))
    check('checks that waited or ran at kill -9 are run after it, without anybody asking again', begun == [303] * 3 and all(b'No backscatter was seen' in finished(page, l) for l in links), begun)


def answers(page):
    try:
        return page.get('/healthz')[0] == 200
    except OSError:
        return False


def abuse(p, page):
    held = []
    for _ in range(600):
        try:
            s = socket.create_connection(('127.0.0.1', p.http), timeout=5)
            s.sendall(b'POST /check HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nd')
            held.append(s)
        except OSError:
            break
    began = time.monotonic()
    check('600 slow posts hold it up for no longer than a request may take', p.wait(lambda: answers(page), 40), time.monotonic() - began)
    check('a post that does not come to its end is ended, which is logged', p.wait_log(r'web-slow process=web connections=\d+', 40), p.log_text()[-500:])
    for s in held:
        s.close()
    held = []
    for _ in range(10000):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(('127.0.0.1', p.http))
        held.append(s)
        if len(held) == 500:        # as many at once as a test may hold
            for s in held:
                s.close()
            held = []
    check('ten thousand connections, and it answers on', p.wait(lambda: answers(page), 40))
    for junk in (b'\0' * 100 + b'\r\n\r\n', b'GET ' + b'/' * 60000 + b' HTTP/1.1\r\n\r\n', b'EHLO x\r\n', b'GET /%00%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n', b'GET / HTTP/1.1\r\n' + b'A: b\r\n' * 20000):
        with socket.create_connection(('127.0.0.1', p.http), timeout=10) as s:
            try:
                s.sendall(junk)
                s.settimeout(3)
                s.recv(1000)
            except OSError:
                pass
    check('nonsense for a request is answered or cut off', page.get('/')[0] == 200)
    log = p.log_text()
    check('all of it is logged: who asked for what, odd names escaped', all(re.search(w, log) for w in (
        r'rndr-check-asked .*domain="?example\.test', r'rndr-check-refused .*script.*This is no mail domain')) and '\n<script' not in log, [l for l in log.splitlines() if 'refused' in l or '<script' in l][:8])


def as_a_person(p, page, leak):
    shots = BUILD / 'screenshots'
    base = f'http://127.0.0.1:{p.http}'
    with browser.Browser() as b:
        b.go(base + '/')
        b.screenshot(shots / 'ask.png')
        b.type('#domain', 'example.test')
        b.type('#host', f'127.0.0.1:{p.mx}')
        b.click('button[type=submit]')
        link = b.url('/check/')
        check('in Chromium: asking leads to the check\'s page', '/check/' in link, link)
        b.screenshot(shots / 'consent.png')
        b.click('button[type=submit]')
        seen, end = set(), time.monotonic() + 40 * SLOW
        while time.monotonic() < end:
            text = b.text()
            seen |= {m for m in re.findall(r'(\d+) of \d+', text)}
            if 'Ways tried' in text:
                b.screenshot(shots / 'progress.png')
            if 'No backscatter was seen' in text:
                break
            time.sleep(.1)
        check('in Chromium: progress is seen live, without the page being loaded by hand', len(seen) >= 2, seen)
        check('in Chromium: no verdict is broken within a word', b.run('return getComputedStyle(document.querySelector("#way-unknown td")).whiteSpace') == 'nowrap' and 'needs --' not in b.text(), b.text())
        check('in Chromium: the result stands on the page', 'No backscatter was seen' in b.text())
        b.screenshot(shots / 'result.png')
        check('in Chromium: the picture is drawn', b.run('return document.querySelector("svg.picture").getBoundingClientRect().height') > 200)
        console = [e for e in b.console() if 'favicon' not in e['message']]
        check('in Chromium: no console errors', not console, console)
        b.go(base + leak)
        b.screenshot(shots / 'backscatter.png')
        hit, safe = (b.run(f'return getComputedStyle(document.querySelector("{q}")).stroke') for q in ('.picture > path.bounced', '.picture > path.refused'))
        check('in Chromium: the arrow that hit the victim has a colour of its own, and words beside it', hit != safe and 'the spam in them' in b.text(), (hit, safe))
        for path in ('/', link[len(base):], '/advice/postfix'):
            b.resize(320, 700)
            b.go(base + path)
            wide = b.run('return document.documentElement.scrollWidth')
            check(f'in Chromium: readable at 320 px ({path.split("/")[1] or "first page"})', wide <= 320, wide)
            if b.run('return !!document.querySelector("svg.picture")'):
                size = b.run('return 13 * document.querySelector("svg.picture").getScreenCTM().a')
                check('in Chromium: the picture\'s words stay readable at 320 px', size >= 9, size)
                b.screenshot(shots / 'narrow-result.png')
        b.screenshot(shots / 'narrow.png')
        b.resize(1000, 900)
        b.go(base + '/')
        order = []
        for _ in range(12):
            b.keys(KEY_TAB)
            order.append(b.run('return document.activeElement.id || document.activeElement.tagName'))
        check('in Chromium: the keyboard reaches every control in order', order.index('domain') < order.index('host') < order.index('SUMMARY'), order)
        b.go(base + '/')
        b.run('document.getElementById("domain").focus()')
        b.keys(*'example.test')
        b.keys(KEY_TAB, *f'127.0.0.1:{p.mx}', KEY_ENTER)
        end = time.monotonic() + 10
        while '/check/' not in b.url() and time.monotonic() < end:
            time.sleep(.1)
        check('in Chromium: a check is asked for by keyboard alone', '/check/' in b.url(), b.url())
        axe = BUILD / 'npm/node_modules/axe-core/axe.min.js'
        if axe.exists():
            for path in ('/', link[len(base):], leak, '/advice/postfix'):
                b.go(base + path)
                b.run(axe.read_text())
                found = b.run_async('var done = arguments[arguments.length - 1]; axe.run().then(function (r) { done(r.violations.map(function (v) { return v.id + ": " + v.nodes[0].html; })); });')
                check(f'axe-core finds nothing ({path.split("/")[1] or "first page"})', not found, found)
        else:
            skip('axe-core finds nothing', 'axe-core is not installed (make test-page)')
    with browser.Browser(script=False) as b:
        b.go(base + '/')
        b.type('#domain', 'example.test')
        b.type('#host', f'127.0.0.1:{p.mx}')
        b.click('button[type=submit]')
        b.url('/check/')
        b.click('button[type=submit]')
        end = time.monotonic() + 60 * SLOW
        while 'No backscatter was seen' not in b.text() and time.monotonic() < end:
            time.sleep(.5)
        check('in Chromium without JavaScript: the page goes on by itself to the result', 'No backscatter was seen' in b.text())


catch, dns = free_port(), Dns({'example.test': {'MX': ['10 mx.example.test']}})
with Porter('page', settings={'dns-resolvers': dns.resolver, 'evidence': 'no', 'listen-rndr-catch': f'127.0.0.1:{catch}', 'rndr-probe-domain': '[127.0.0.1]'}) as p:
    page, p.catch = Page(p), catch
    plain(p, page)
    by_letter(p, page)
    leak = backscatter(p, page)
    silence(page)
    behind_a_proxy(p, page)
    killed(p, page)
    abuse(p, page)
    if browser.available():
        as_a_person(p, page, leak)
    else:
        skip('in Chromium', 'it is not installed (make test-page)')
finish()
