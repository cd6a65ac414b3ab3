"""A wheel has all that it needs, and makes sites where there is no Node."""

import importlib.metadata
import json
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import unittest
import urllib.request
import zipfile

from absl.testing import absltest

from tests.explorer import analysed
from tests.explorer import browser

ROOT = pathlib.Path(__file__).resolve().parent.parent
_LEFT = ('node_modules', '__pycache__', 'build', '*.egg-info', '*.pyc')
_SITE = """
import sys
from saejax.explorer import build, serving, writing
analysis, out = sys.argv[1:]
print(writing.static_folder(), flush=True)
build.write(build.SiteConfig(analysis=(analysis,)), out, lambda line: None)
serving.serve(out, 0)
"""


def build(folder: pathlib.Path) -> pathlib.Path:
  """A wheel of this checkout, built from a copy and without the network."""
  source = folder / 'source'
  left = shutil.ignore_patterns(*_LEFT)
  shutil.copytree(ROOT / 'saejax', source / 'saejax', ignore=left)
  shutil.copytree(ROOT / 'tests', source / 'tests', ignore=left)
  for name in ('pyproject.toml', 'requirements.txt', 'README.md', 'LICENSE'):
    shutil.copy(ROOT / name, source)
  pip('wheel', '--no-build-isolation', f'--wheel-dir={folder}', str(source))
  (wheel,) = folder.glob('*.whl')
  return wheel


def pip(verb: str, *arguments: str, python: str = sys.executable) -> None:
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'pip', f'--python={python}', verb, '--quiet'),
      *('--no-deps', '--no-index', '--disable-pip-version-check', *arguments),
    ],
    capture_output=True,
    text=True,
  )
  if done.returncode:
    raise AssertionError(done.stdout + done.stderr)


class WheelTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    try:
      version = int(importlib.metadata.version('setuptools').split('.')[0])
    except importlib.metadata.PackageNotFoundError:
      version = 0
    if version < 77:
      raise unittest.SkipTest('a wheel needs setuptools 77 or later')
    root = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.folder = pathlib.Path(root)
    cls.wheel = build(cls.folder)

  def test_it_holds_every_file_of_the_package_and_nothing_else(self):
    with zipfile.ZipFile(self.wheel) as wheel:
      found = {n for n in wheel.namelist() if '.dist-info/' not in n}
      files = {name: wheel.read(name) for name in found}
    package = ROOT / 'saejax'
    web = package / 'explorer' / 'web'
    wanted = {
      path.relative_to(ROOT).as_posix(): path
      for path in package.rglob('*')
      if path.is_file()
      and web not in path.parents
      and '__pycache__' not in path.parts
    }
    self.assertEqual(found, set(wanted))
    for name, data in files.items():
      self.assertEqual(data, wanted[name].read_bytes(), name)
    self.assertIn('saejax/explorer/static/app.js', found)

  def test_installed_it_makes_and_serves_a_site_without_node(self):
    env = self.folder / 'env'
    subprocess.run(
      [sys.executable, '-m', 'venv', '--without-pip', str(env)], check=True
    )
    python = str(env / 'bin' / 'python')
    pip('install', str(self.wheel), python=python)
    # What saejax needs is lent by the environment of the tests; saejax not.
    lent = sysconfig.get_path('purelib')
    (own,) = env.glob('lib/python*/site-packages')
    (own / 'lent.pth').write_text(f'{lent}\n', encoding='utf-8')
    analysis, _ = analysed.write(str(self.folder / 'made'))
    out = self.folder / 'site'
    server = subprocess.Popen(
      [python, '-c', _SITE, analysis, str(out)],
      cwd=self.folder,
      env={'PATH': str(env / 'bin'), 'HOME': str(self.folder)},
      stdout=subprocess.PIPE,
      text=True,
    )
    self.addCleanup(server.wait)
    self.addCleanup(server.stdout.close)
    self.addCleanup(server.terminate)
    self.assertStartsWith(server.stdout.readline(), str(own))
    address = server.stdout.readline().split()[0]
    for path in out.rglob('*'):
      if path.is_file():
        name = path.relative_to(out).as_posix()
        with urllib.request.urlopen(address + name) as answer:
          self.assertEqual(answer.read(), path.read_bytes())
    static = ROOT / 'saejax' / 'explorer' / 'static'
    for name in ('app.js', 'app.css'):
      same = (static / name).read_bytes()
      self.assertEqual((out / name).read_bytes(), same)
    self.look(address, out)

  def look(self, address: str, out: pathlib.Path) -> None:
    """Opens the site in a browser, if there is one."""
    try:
      api, path = browser.find()
    except unittest.SkipTest:
      return
    index = json.loads((out / 'data' / 'index.json').read_bytes())
    with api.sync_playwright() as playwright:
      chromium = playwright.chromium.launch(
        executable_path=path, args=['--no-sandbox']
      )
      page = chromium.new_page()
      page.goto(address)
      page.evaluate('window.__explorer.ready')
      self.assertEqual(page.title(), index['title'])
      points = page.evaluate('window.__explorer.stats().points')
      self.assertGreater(points, 0)
      chromium.close()


if __name__ == '__main__':
  absltest.main()
