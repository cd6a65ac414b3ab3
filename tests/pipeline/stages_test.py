"""Stages are told with their time; what was compiled is compiled once."""

import os

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from saejax.pipeline import stages


def compiled() -> jax.Array:
  """What a function gives that no other call has jitted."""
  return jax.jit(lambda x: jnp.cumsum(x * x) / 3)(jnp.arange(1.0, 9))


def entries() -> set[str]:
  """Names of what the cache holds, but for when each was used."""
  folder = jax.config.jax_compilation_cache_dir
  return {n for n in os.listdir(folder) if not n.endswith('-atime')}


class StagesTest(absltest.TestCase):
  def test_a_stage_says_what_begins_and_how_long_it_took(self):
    said = []
    with stages.stage(said.append, 'Counting'):
      self.assertEqual(said, ['Counting …'])
    self.assertRegex(said[1], r'^  done in \d+ s$')

  def test_the_same_is_compiled_once_within_and_nothing_stays_after(self):
    alone = compiled()
    before = jax.config.jax_compilation_cache_dir
    with stages.compiled_once():
      folder = jax.config.jax_compilation_cache_dir
      first, found = compiled(), entries()
      second = compiled()
      self.assertNotEmpty(found)
      self.assertEqual(entries(), found)
    np.testing.assert_array_equal(first, alone)
    np.testing.assert_array_equal(second, alone)
    self.assertEqual(jax.config.jax_compilation_cache_dir, before)
    self.assertFalse(os.path.exists(folder))
    # As is what fails within.
    with self.assertRaises(KeyError), stages.compiled_once():
      raise KeyError
    self.assertEqual(jax.config.jax_compilation_cache_dir, before)

  def test_a_cache_of_the_user_is_kept(self):
    own = self.create_tempdir().full_path
    self.addCleanup(jax.config.update, 'jax_compilation_cache_dir', None)
    jax.config.update('jax_compilation_cache_dir', own)
    with stages.compiled_once():
      self.assertEqual(jax.config.jax_compilation_cache_dir, own)
    self.assertEqual(jax.config.jax_compilation_cache_dir, own)


if __name__ == '__main__':
  absltest.main()
