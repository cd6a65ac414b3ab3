"""What the vision tower gives is kept as it enters the projector."""

import dataclasses
import json
import os
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
from PIL import Image

from saejax import errors
from saejax import sharding
from saejax import store as store_lib
from saejax.models import llava_folder
from saejax.pipeline import caching
from saejax.pipeline import exporting
from saejax.pipeline import llava_models
from tests.models import llava_configs

TINY = llava_models.LlavaConfig(text_width=64, text_layers=2)
# Wide, high, small and of the size itself: from two to five tiles.
SIZES = ((48, 48), (40, 96), (96, 31), (90, 95), (10, 12))
TOWER, FIRST = 'tower.image', 'layer00.image'


class TowerTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    model, hf_config = llava_models.new_model(TINY)
    model = dataclasses.replace(model, params=jax.device_get(model.params))
    llava_folder.save(cls.folder, model, hf_config)
    cls.model = llava_folder.load(cls.folder)  # Weights are rounded in files.
    cls.data = cls.enterClassContext(tempfile.TemporaryDirectory())
    lines = []
    for i, pixels in enumerate(llava_configs.pictures(SIZES)):
      Image.fromarray(pixels).save(os.path.join(cls.data, f'{i}.png'))
      lines.append(json.dumps({'image': f'{i}.png', 'caption': 'a red star'}))
    with open(os.path.join(cls.data, 'captions.jsonl'), 'w') as f:
      f.write('\n'.join(lines))

  def setUp(self):
    super().setUp()
    one = sharding.make_mesh((1, 1))
    self.enter_context(mock.patch.object(sharding, 'make_mesh', lambda *_: one))
    self.enter_context(mock.patch.object(caching, 'PER_SHARD', 2))
    self.out = os.path.join(self.create_tempdir().full_path, 'store')

  def config(self, of=caching.CacheConfig, **changes):
    given = {
      'model': self.folder, 'dataset': f'folder:path={self.data}',
      'layers': (0,), 'batch': 2, 'store_dtype': 'float32', 'tower': True,
    }  # fmt: skip
    return of(**given | changes)

  def read(self, name: str, folder: str | None = None):
    """Rows of a stream by (example, position), and the patches they see."""
    stream = store_lib.Store(folder or self.out)[name]
    rows_n = stream.rows('all')
    at = zip(stream.column('pair'), stream.column('position'), strict=True)
    return (
      dict(zip(at, stream.take(rows_n), strict=True)),
      stream.column('patch'),
    )

  def projected(self, x_nD: np.ndarray) -> np.ndarray:
    return self.model.module.apply(
      {'params': self.model.params},
      x_nD,
      method=lambda module, x_nD: module.multi_modal_projector(x_nD),
    )

  def test_projected_rows_are_those_of_layer_0(self):
    counts = caching.cache(self.config(), self.out)
    tower, patch_n = self.read(TOWER)
    first, first_patch_n = self.read(FIRST)
    self.assertGreaterEqual(patch_n.min(), 0)
    self.assertLess(first_patch_n.min(), 0)
    patches = [at for at, p in zip(first, first_patch_n, strict=True) if p >= 0]
    self.assertEqual([*tower], patches)
    self.assertLen(patches, counts[TOWER])
    self.assertEqual({example for example, _ in patches}, {*range(len(SIZES))})
    x_nD = np.stack([*tower.values()])
    width = self.model.module.config.vision.hidden_size
    self.assertEqual(x_nD.shape[1], width)
    self.assertNotEqual(width, TINY.text_width)
    expected_nD = np.stack([first[at] for at in patches])
    np.testing.assert_allclose(
      self.projected(x_nD), expected_nD, rtol=1e-5, atol=1e-5
    )
    # Other rows are other numbers: the tolerance is no open door.
    self.assertGreater(np.abs(expected_nD[1:] - expected_nD[:-1]).max(), 0.1)

  def test_columns_and_splits_are_those_of_layer_0(self):
    caching.cache(self.config(), self.out)
    store = store_lib.Store(self.out)
    tower, first = store[TOWER], store[FIRST]
    d = self.model.module.config.vision.hidden_size
    self.assertEqual(tower.spec, dataclasses.replace(first.spec, d=d))
    kept_n = np.flatnonzero(first.column('patch') >= 0)
    for name in first.spec.columns:
      np.testing.assert_array_equal(
        tower.column(name), first.column(name)[kept_n], name
      )
    self.assertEqual(tower.words([0]), first.words([0]))

  def test_positions_that_are_drawn_are_those_of_layer_0_but_for_newlines(self):
    whole = f'{self.out}-whole'
    caching.cache(self.config(per_example=20), self.out)
    caching.cache(self.config(), whole)
    tower, patch_n = self.read(TOWER)
    first, first_patch_n = self.read(FIRST)
    self.assertLen(tower, 20 * len(SIZES))
    self.assertGreaterEqual(patch_n.min(), 0)
    self.assertLess(first_patch_n.min(), 0)
    drawn = {at for at, p in zip(first, first_patch_n, strict=True) if p >= 0}
    self.assertContainsSubset(drawn, tower.keys())
    all_of_it, _ = self.read(TOWER, whole)
    for at, x_D in tower.items():
      np.testing.assert_allclose(x_D, all_of_it[at], rtol=1e-5, atol=1e-5)

  def test_a_pooled_row_is_the_mean_over_patches(self):
    whole = f'{self.out}-whole'
    caching.cache(self.config(pool=True), self.out)
    caching.cache(self.config(), whole)
    tower, _ = self.read(TOWER, whole)
    stream = store_lib.Store(self.out)[TOWER]
    found_ND = stream.take(stream.rows('all'))
    self.assertLen(found_ND, len(SIZES))
    for example, x_D in zip(stream.column('pair'), found_ND, strict=True):
      own_nD = [x for (of, _), x in tower.items() if of == example]
      np.testing.assert_allclose(
        x_D, np.mean(own_nD, axis=0), rtol=1e-4, atol=1e-5
      )

  def test_other_streams_are_the_same_without_it(self):
    without = f'{self.out}-without'
    counts = caching.cache(self.config(), self.out)
    fewer = caching.cache(self.config(tower=False), without)
    self.assertEqual({*counts} - {*fewer}, {TOWER})
    mine, theirs = store_lib.Store(self.out), store_lib.Store(without)
    for name in theirs.streams:
      rows_n = theirs[name].rows('all')
      np.testing.assert_allclose(
        mine[name].take(rows_n), theirs[name].take(rows_n), rtol=1e-5, atol=1e-5
      )

  def test_torch_does_not_read_it(self):
    with (
      mock.patch.object(exporting.present, 'require'),
      self.assertRaisesRegex(errors.UserError, "use cache_llava's --tower"),
    ):
      exporting.export(self.config(exporting.ExportConfig), self.out)
    self.assertFalse(os.path.exists(self.out))


if __name__ == '__main__':
  absltest.main()
