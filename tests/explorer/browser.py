"""A browser for the tests of the page; and a server for it."""

import contextlib
import functools
import http.server
import os
import pathlib
import shutil
import tempfile
import threading
from typing import Any
import unittest

from absl.testing import absltest

from saejax.explorer import writing
from tests.explorer import synthetic

# Where tests must not be skipped for want of a browser.
NEEDED = os.environ.get('SAEJAX_NEED_BROWSER') == '1'
# The page's source, and what npm ci installs there.
WEB = pathlib.Path(writing.static_folder()).parent / 'web'
NO_WEBGL = ('--disable-gpu', '--disable-software-rasterizer')


def find() -> tuple[Any, str]:
  """Playwright's entry, and a Chromium; SkipTest says what is missing."""
  path = next(
    filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'chrome'))),
    None,
  )
  try:
    from playwright import sync_api
  except ImportError:
    sync_api = None
  missing = [
    what
    for what, found in (
      ('playwright (pip install playwright)', sync_api),
      ('Chromium (apt-get install chromium)', path),
    )
    if not found
  ]
  if missing:
    go_without(f'the page needs {" and ".join(missing)} to be tested')
  return sync_api, path


def go_without(why: str) -> None:
  """SkipTest; where tests must not be skipped, AssertionError."""
  if NEEDED:
    raise AssertionError(f'{why}, and SAEJAX_NEED_BROWSER=1')
  raise unittest.SkipTest(why)


def axe() -> str:
  """The script of a scanner for accessibility."""
  path = WEB / 'node_modules' / 'axe-core' / 'axe.min.js'
  if not path.is_file():
    go_without('axe-core is missing (npm ci in saejax/explorer/web)')
  return path.read_text(encoding='utf-8')


class _Quiet(http.server.SimpleHTTPRequestHandler):
  def log_message(self, *args):
    del args


@contextlib.contextmanager
def serve(folder: str):
  """The address of a folder for as long as this lasts."""
  handler = functools.partial(_Quiet, directory=folder)
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  try:
    yield f'http://127.0.0.1:{server.server_address[1]}'
  finally:
    server.shutdown()
    server.server_close()


class PageTest(absltest.TestCase):
  """Opens pages of a synthetic site, and holds all of them to a few rules."""

  arguments: tuple[str, ...] = ()

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    api, path = find()
    cls.stack = contextlib.ExitStack()
    cls.addClassCleanup(cls.stack.close)
    root = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.made = synthetic.site()
    cls.first = cls.made.dictionaries[0]
    # Not at the root of its host, as on GitHub Pages.
    cls.folder = os.path.join(root, 'user', 'site')
    os.makedirs(os.path.dirname(cls.folder))
    synthetic.write(cls.folder, writing.static_folder())
    cls.origin = cls.stack.enter_context(serve(root))
    cls.address = f'{cls.origin}/user/site/'
    playwright = cls.stack.enter_context(api.sync_playwright())
    cls.browser = playwright.chromium.launch(
      executable_path=path, args=['--no-sandbox', *cls.arguments]
    )
    cls.stack.callback(cls.browser.close)

  def setUp(self):
    super().setUp()
    self.requests, self.refused, self.errors = [], [], []

  def open(self, link: str = '', ready: bool = True, **context):
    """A page of the site, once it is there."""
    size = context.pop('viewport', {'width': 1280, 'height': 800})
    around = self.browser.new_context(viewport=size, **context)
    self.addCleanup(around.close)
    around.on('request', lambda r: self.requests.append(r.url))
    around.on('console', self._hear)
    page = around.new_page()
    page.set_default_timeout(15_000)
    page.on('websocket', lambda w: self.requests.append(w.url))
    page.on('pageerror', lambda e: self.errors.append(str(e)))
    page.goto(link if '://' in link else self.address + link)
    if ready:
      page.evaluate('window.__explorer.ready')
    return page

  def _hear(self, message) -> None:
    # What the policy of the page forbids is never sent, but was wanted.
    if 'Content Security Policy' in message.text:
      self.refused.append(message.text)

  def state(self, page) -> dict[str, Any]:
    return page.evaluate('window.__explorer.state()')

  def until(self, page, expression: str) -> None:
    """Waits until an expression holds; the page's policy lets no poll run."""
    for _ in range(150):
      if page.evaluate(expression):
        return
      page.wait_for_timeout(100)
    self.fail(f'never true: {expression}')

  def settle(self, page) -> None:
    """Waits until all that a view shows has come."""
    page.wait_for_timeout(100)
    self.until(page, "!document.querySelector('[aria-busy], .skeleton')")

  def place(self, page, id_: int) -> tuple[float, float]:
    """Where a concept is on the screen, once nothing moves any more."""
    before = None
    for _ in range(60):
      now = page.evaluate(f'window.__explorer.project({id_})')
      if now == before:
        break
      before = now
      page.wait_for_timeout(120)
    return now

  def tearDown(self):
    ours = (self.origin, 'blob:', 'data:', 'file:')
    others = [url for url in self.requests if not url.startswith(ours)]
    self.assertEmpty(others, 'requests to other origins')
    self.assertEmpty(self.refused, 'what the policy of the page forbids')
    self.assertEmpty(self.errors, 'errors of the page')
    super().tearDown()
