"""The page that is committed is what its source makes, and that is sound."""

import json
import pathlib
import shutil
import subprocess
import tempfile

from absl.testing import absltest

from saejax.explorer import writing
from tests.explorer import browser


class SourceTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    missing = [name for name in ('node', 'npm') if not shutil.which(name)]
    if missing:
      browser.go_without(
        f'the source of the page needs {" and ".join(missing)} to be built '
        '(apt-get install nodejs npm)'
      )
    installed = browser.WEB / 'node_modules' / '.package-lock.json'
    wanted = json.loads((browser.WEB / 'package-lock.json').read_bytes())
    of = lambda lock, name: lock['packages'][f'node_modules/{name}']['version']
    names = ('esbuild', 'typescript', 'axe-core')
    try:
      found = json.loads(installed.read_bytes())
      agrees = all(of(found, name) == of(wanted, name) for name in names)
    except (OSError, KeyError):
      agrees = False
    if not agrees:
      browser.go_without(
        'the source of the page needs what its package-lock.json says (npm ci '
        'in saejax/explorer/web)'
      )
    root = cls.enterClassContext(tempfile.TemporaryDirectory())
    # Beside the checkout, lest a test changes the page that others read.
    cls.web = pathlib.Path(root, 'web')
    left = shutil.ignore_patterns('node_modules', 'build')
    shutil.copytree(browser.WEB, cls.web, ignore=left)
    (cls.web / 'node_modules').symlink_to(browser.WEB / 'node_modules')
    cls.static = cls.web.parent / 'static'
    cls.static.mkdir()

  def npm(self, script: str) -> str:
    done = subprocess.run(
      ['npm', 'run', script],
      cwd=self.web,
      capture_output=True,
      text=True,
      timeout=300,
    )
    said = done.stdout + done.stderr
    self.assertEqual(done.returncode, 0, said)
    return said

  def test_the_committed_page_is_what_the_source_makes(self):
    self.npm('build')
    committed = writing.static_folder()
    names = sorted(path.name for path in self.static.iterdir())
    self.assertEqual(names, sorted(path.name for path in committed.iterdir()))
    self.assertContainsSubset(('index.html', 'app.js', 'app.css'), names)
    for name in names:
      self.assertEqual(
        (self.static / name).read_bytes(),
        (committed / name).read_bytes(),
        f'saejax/explorer/static/{name} is not what saejax/explorer/web makes: '
        'npm ci && npm run build there, and commit it',
      )

  def test_its_types_agree(self):
    self.npm('check')

  def test_its_own_tests_pass(self):
    said = self.npm('test')
    self.assertRegex(said, r'(?m)^\S* ?pass \d\d')
    self.assertRegex(said, r'(?m)^\S* ?fail 0$')


if __name__ == '__main__':
  absltest.main()
