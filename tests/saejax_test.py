"""The package itself: what it offers at the top, and what it costs."""

import subprocess
import sys

from absl.testing import absltest

import saejax
from saejax import io


class PackageTest(absltest.TestCase):
  def test_load_and_save_are_those_of_io(self):
    self.assertIs(saejax.load, io.load)
    self.assertIs(saejax.save, io.save)
    with self.assertRaisesRegex(AttributeError, "no attribute 'nothing'"):
      saejax.nothing  # noqa: B018

  def test_the_ops_need_nothing_but_jax(self):
    code = (
      'import sys; import saejax.ops; '
      "print(sorted({'flax', 'optax', 'orbax', 'transformers', 'absl', 'chex'}"
      ' & set(sys.modules)))'
    )
    done = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True, check=True
    )
    self.assertEqual(done.stdout.strip(), '[]')


if __name__ == '__main__':
  absltest.main()
