"""A real browser for tests of pages: Chromium without a window."""

import base64
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

ARTEFACTS = Path(__file__).resolve().parent / 'artefacts'
OPTIONS = ['--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--disable-background-networking']


class Browser:
    """Show a page at a size, in a light or dark scheme, and read its log, its requests and what is in it."""

    def __init__(self, chromium: str, driver: str):
        from selenium import webdriver
        from selenium.webdriver.common.keys import Keys

        self.keys = Keys
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for option in OPTIONS:
            options.add_argument(option)
        options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(driver))
        self.driver.set_page_load_timeout(60)
        self.call, self.do, self.log = self.driver.execute_cdp_cmd, self.driver.execute_script, self.driver.get_log

    def looks(self, url: str) -> Iterator[str]:
        """Show a page wide and as on a phone, light and dark, one after the other; the name of each look."""
        for scheme in ('light', 'dark'):
            for name, width in (('wide', 1200), ('phone', 360)):
                self.show(url, width, scheme)
                yield f'{name}-{scheme}'

    def show(self, url: str, width: int = 1200, scheme: str = 'light') -> None:
        size = {'width': width, 'height': 900, 'deviceScaleFactor': 1, 'mobile': width < 600}
        self.call('Emulation.setDeviceMetricsOverride', size)
        self.media(scheme)
        self.log('browser'), self.log('performance')
        self.driver.get(url)

    def media(self, scheme: str, kind: str = '') -> None:
        features = [{'name': 'prefers-color-scheme', 'value': scheme}]
        self.call('Emulation.setEmulatedMedia', {'media': kind, 'features': features})

    def wait(self, condition: str) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 30).until(lambda _: self.do(f'return Boolean({condition})'))

    def find(self, selector: str) -> list:
        return self.driver.find_elements('css selector', selector)

    def requests(self) -> set[str]:
        """Everything the page has asked for, but for what is in it."""
        messages = [json.loads(entry['message'])['message'] for entry in self.log('performance')]
        asked = [m['params']['request']['url'] for m in messages if m['method'] == 'Network.requestWillBeSent']
        assert asked, 'the log has seen the page itself'
        return {url for url in asked if not url.startswith('data:')}

    def screenshot(self, name: str) -> None:
        size = self.do('const e = document.documentElement; return [e.scrollWidth, e.scrollHeight]')
        clip = {'x': 0, 'y': 0, 'width': size[0], 'height': min(size[1], 12000), 'scale': 1}
        shot = self.call('Page.captureScreenshot', {'clip': clip, 'captureBeyondViewport': True})
        ARTEFACTS.mkdir(exist_ok=True)
        (ARTEFACTS / name).write_bytes(base64.b64decode(shot['data']))


def words(html: str) -> str:
    """What a reader sees of some HTML, with plain spaces and signs."""
    html = re.sub(r'<(script|style)>.*?</\1>', '', html, flags=re.DOTALL)
    text = re.sub(r'<[^>]*>', ' ', html).replace('&nbsp;', ' ').replace('\xa0', ' ').replace('−', '-')
    return ' '.join(text.split())


def opened() -> Iterator[Browser]:
    """Open a browser, for a fixture to yield from. Where there is none the test skips, and fails in CI."""
    found = [shutil.which(name) for name in ('chromium', 'chromedriver')]
    if None in found:
        stop = pytest.fail if os.environ.get('CI') else pytest.skip
        stop('there is no chromium with its chromedriver: `make browser` installs them where it may')
    browser = Browser(*found)
    yield browser
    browser.driver.quit()
