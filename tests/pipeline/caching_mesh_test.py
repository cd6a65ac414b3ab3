"""Activations are the same however devices split the batch and the model."""

import dataclasses
import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import errors
from saejax import store as store_lib
from saejax.models import llava_folder
from saejax.pipeline import caching
from saejax.pipeline import llava_models

N = 6
TINY = llava_models.LlavaConfig(text_width=128, text_layers=2)


class MeshTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    model, hf_config = llava_models.new_model(TINY)
    model = dataclasses.replace(model, params=jax.device_get(model.params))
    llava_folder.save(cls.folder, model, hf_config)
    cls.stores = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.one = os.path.join(cls.stores, 'one')
    caching.cache(cls.config((1, 1)), cls.one)

  @classmethod
  def config(cls, mesh, **changes):
    return caching.CacheConfig(
      model=cls.folder,
      dataset=f'scenes:n={N}',
      **{
        'mesh': mesh, 'layers': (0, 2), 'batch': 8, 'per_example': 6,
        'store_dtype': 'float32', 'tower': True,
      } | changes,
    )  # fmt: skip

  @parameterized.parameters((8, 1), (2, 4), (1, 8))
  def test_meshes_agree(self, *mesh):
    out = os.path.join(self.stores, f'{mesh[0]}-{mesh[1]}')
    caching.cache(self.config(mesh), out)
    one, many = store_lib.Store(self.one), store_lib.Store(out)
    self.assertIn('tower.image', one.streams)
    for name in one.streams:
      rows = one[name].rows('all')
      np.testing.assert_array_equal(
        one[name].column('position'), many[name].column('position')
      )
      x, y = one[name].take(rows), many[name].take(rows)
      self.assertGreater(np.abs(x).max(), 0)
      self.assertLess(np.abs(x - y).max(), 1e-4 * np.abs(x).max(), name)

  def test_a_batch_that_cannot_be_split_is_told(self):
    out = os.path.join(self.stores, 'odd')
    with self.assertRaisesRegex(errors.UserError, '--batch=6 cannot be split'):
      caching.cache(self.config((4, 2), batch=6), out)
    self.assertFalse(os.path.exists(out))


if __name__ == '__main__':
  absltest.main()
