"""Formatting, lint and size of the source; programs that stay small."""

import pathlib
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized

ROOT = pathlib.Path(__file__).resolve().parent.parent


class StyleTest(parameterized.TestCase):
  @parameterized.parameters((('check',),), (('format', '--check', '--diff'),))
  def test_ruff(self, arguments):
    done = subprocess.run(
      [sys.executable, '-m', 'ruff', *arguments, '--no-cache', str(ROOT)],
      capture_output=True,
      text=True,
    )
    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

  def test_files_are_short(self):
    for folder, most in (('saejax', 400), ('tests', 400), ('experiments', 150)):
      for path in (ROOT / folder).rglob('*.py'):
        lines = path.read_text(encoding='utf-8').count('\n')
        self.assertLessEqual(lines, most, str(path))


if __name__ == '__main__':
  absltest.main()
