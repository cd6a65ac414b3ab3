"""What torch writes by hooks is what JAX writes, row by row."""

import json
import os
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from saejax import errors
from saejax import sharding
from saejax import store as store_lib
from saejax.pipeline import caching
from saejax.pipeline import exporting
from tests.models import llava_configs
from tests.models import parity

N = 6
TOLERANCE = 1e-4


@parity.needs_torch
class ExportTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    if parity.torch is None:
      return
    from tests.models import llava_folders

    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    llava_folders.save(cls.folder)
    cls.data = cls.enterClassContext(tempfile.TemporaryDirectory())
    # Wide, high, small and of the size itself: from two to five tiles.
    sizes = ((48, 48), (40, 96), (96, 31), (90, 95), (10, 12))
    lines = []
    for i, pixels in enumerate(llava_configs.pictures(sizes)):
      Image.fromarray(pixels).save(os.path.join(cls.data, f'{i}.png'))
      said = ('a red circle', 'there is a large blue star in the snow')[i % 2]
      lines.append(json.dumps({'image': f'{i}.png', 'caption': said}))
    with open(os.path.join(cls.data, 'captions.jsonl'), 'w') as f:
      f.write('\n'.join(lines))

  def setUp(self):
    super().setUp()
    one = sharding.make_mesh((1, 1))
    self.enter_context(mock.patch.object(sharding, 'make_mesh', lambda *_: one))
    self.enter_context(mock.patch.object(caching, 'PER_SHARD', 4))
    self.folder_out = self.create_tempdir().full_path
    self.out = os.path.join(self.folder_out, 'theirs')

  def config(self, of=exporting.ExportConfig, **changes):
    given = {
      'layers': (0, 2, 3),
      'batch': 4,
      'store_dtype': 'float32',
      'dataset': f'scenes:n={N}',
    } | changes
    return of(**{'model': self.folder} | given)

  def assert_alike(self, ours: str, theirs: str) -> None:
    ours, theirs = store_lib.Store(ours), store_lib.Store(theirs)
    self.assertEqual(ours.streams, theirs.streams)
    for name in ours.streams:
      a, b = ours[name], theirs[name]
      self.assertEqual(a.spec, b.spec)
      for column in (*a.spec.columns, *(['labels'] if a.labels else [])):
        np.testing.assert_array_equal(a.column(column), b.column(column))
      rows = a.rows('all')
      self.assertNotEmpty(rows)
      x, y = a.take(rows), b.take(rows)
      self.assertLess(np.abs(x - y).max(), TOLERANCE * np.abs(x).max(), name)
      self.assertEqual(a.words(rows[:3]), b.words(rows[:3]))

  @parameterized.parameters({}, {'per_example': 5}, {'pool': True})
  def test_scenes_are_those_of_jax(self, **changes):
    ours = os.path.join(self.folder_out, 'ours')
    caching.cache(self.config(caching.CacheConfig, **changes), ours)
    exporting.export(self.config(**changes), self.out)
    self.assert_alike(ours, self.out)
    about = store_lib.Store(self.out).about
    self.assertIn('on torch', about['backend'])

  def test_the_model_that_ships_is_that_of_jax(self):
    ours = os.path.join(self.folder_out, 'ours')
    changes = {'model': 'llava-scenes', 'layers': (), 'dataset': 'scenes:n=3'}
    caching.cache(self.config(caching.CacheConfig, **changes), ours)
    exporting.export(self.config(**changes), self.out)
    self.assert_alike(ours, self.out)

  def test_images_of_many_sizes_are_those_of_jax(self):
    ours = os.path.join(self.folder_out, 'ours')
    changes = {'dataset': f'folder:path={self.data}'}
    caching.cache(self.config(caching.CacheConfig, **changes), ours)
    exporting.export(self.config(**changes), self.out)
    self.assert_alike(ours, self.out)
    # Another layer is other rows: the tolerance is no open door.
    first, last = (
      store_lib.Store(self.out)[f'layer0{n}.image'] for n in (0, 3)
    )
    rows = first.rows('all')
    gap = np.abs(first.take(rows) - last.take(rows)).max()
    self.assertGreater(gap, 0.1)

  def test_a_tensor_that_is_missing_is_no_random_one(self):
    from safetensors import numpy as files

    broken = self.create_tempdir().full_path
    for name in os.listdir(self.folder):
      with open(os.path.join(self.folder, name), 'rb') as f:
        data = f.read()
      with open(os.path.join(broken, name), 'wb') as f:
        f.write(data)
    path = os.path.join(broken, 'model.safetensors')
    tensors = files.load_file(path)
    gone = next(n for n in tensors if 'layers.1.mlp.up_proj' in n)
    del tensors[gone]
    files.save_file(tensors, path, metadata={'format': 'pt'})
    config = exporting.ExportConfig(model=broken, dataset=f'scenes:n={N}')
    with self.assertRaisesRegex(errors.UserError, 'lacks the tensor .*up_proj'):
      exporting.export(config, self.out)
    self.assertFalse(os.path.exists(self.out))

  @parameterized.parameters(
    ({'layers': (9,)}, 'no layer 9; the model has 3'),
    ({'device': 'quux'}, '--device=quux cannot be used by torch'),
    ({'prompt': '{caption} {image}'}, 'must hold {image} once'),
    ({'batch': 0}, '--batch=0 must be at least 1'),
  )
  def test_a_mistake_is_told_and_leaves_nothing(self, changes, message):
    with self.assertRaisesRegex(errors.UserError, message):
      exporting.export(self.config(**changes), self.out)
    self.assertFalse(os.path.exists(self.out))


if __name__ == '__main__':
  absltest.main()
