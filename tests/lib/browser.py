"""A headless Chromium through its own driver's WebDriver interface, without any library between."""
import base64, json, os, shutil, socket, subprocess, tempfile, time, urllib.request
from pathlib import Path

ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'


def available():
    return bool(shutil.which('chromium') and shutil.which('chromedriver'))


class Browser:
    def __init__(self, width=1000, height=900, script=True):
        self.home = tempfile.mkdtemp(prefix='porter-browser-')
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            port = s.getsockname()[1]
        self.process = subprocess.Popen(['chromedriver', f'--port={port}', '--silent'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ, HOME=self.home),
                                        start_new_session=True)
        self.base = f'http://127.0.0.1:{port}'
        end = time.monotonic() + 20
        while True:
            try:
                if self._call('GET', '/status')['ready']:
                    break
            except OSError:
                pass
            if time.monotonic() > end:
                raise RuntimeError('chromedriver does not start')
            time.sleep(.1)
        args = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
                '--disable-dev-shm-usage', f'--user-data-dir={self.home}/profile', f'--window-size={width},{height}']
        prefs = {} if script else {'profile.managed_default_content_settings.javascript': 2}
        options = {'args': args, 'binary': shutil.which('chromium'), 'prefs': prefs}
        made = self._call('POST', '/session', {'capabilities': {'alwaysMatch': {'browserName': 'chrome', 'goog:chromeOptions': options, 'goog:loggingPrefs': {'browser': 'ALL'}}}})
        self.session = f'/session/{made["sessionId"]}'

    def _call(self, method, path, body=None):
        data = None if method == 'GET' else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method, headers={'Content-Type': 'application/json'})
        try:
            with urllib.request.urlopen(request, timeout=60) as r:
                return json.load(r)['value']
        except urllib.error.HTTPError as e:
            raise RuntimeError(json.load(e)['value'].get('message', ''))

    def call(self, method, path, body=None):
        return self._call(method, self.session + path, body)

    def go(self, url):
        self.call('POST', '/url', {'url': url})

    def url(self, part=''):
        """Where it is; waits until part is in it, for some seconds."""
        end = time.monotonic() + 10
        while part not in self.call('GET', '/url') and time.monotonic() < end:
            time.sleep(.05)
        return self.call('GET', '/url')

    def run(self, script, *args):
        return self.call('POST', '/execute/sync', {'script': script, 'args': list(args)})

    def run_async(self, script, *args):
        return self.call('POST', '/execute/async', {'script': script, 'args': list(args)})

    def find(self, css):
        return self.call('POST', '/element', {'using': 'css selector', 'value': css})[ELEMENT]

    def click(self, css):
        self.call('POST', f'/element/{self.find(css)}/click')

    def type(self, css, text):
        self.call('POST', f'/element/{self.find(css)}/value', {'text': text})

    def text(self, css='body'):
        for last in (False,) * 20 + (True,):        # the page may be loading itself anew just now
            try:
                return self.call('GET', f'/element/{self.find(css)}/text')
            except RuntimeError:
                if last:
                    raise
                time.sleep(.1)

    def keys(self, *keys):
        """Presses keys one after the other, wherever the focus is."""
        actions = [step for key in keys for step in ({'type': 'keyDown', 'value': key}, {'type': 'keyUp', 'value': key})]
        self.call('POST', '/actions', {'actions': [{'type': 'key', 'id': 'keyboard', 'actions': actions}]})

    def resize(self, width, height):
        """The viewport itself: a window can't be as narrow as a telephone."""
        self.call('POST', '/goog/cdp/execute', {'cmd': 'Emulation.setDeviceMetricsOverride', 'params': {'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': False}})

    def screenshot(self, path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(base64.b64decode(self.call('GET', '/screenshot')))

    def console(self):
        return [e for e in self.call('POST', '/se/log', {'type': 'browser'}) if e['level'] in ('SEVERE', 'WARNING')]

    def close(self):
        try:
            self.call('DELETE', '')
        except (OSError, RuntimeError):
            pass
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
