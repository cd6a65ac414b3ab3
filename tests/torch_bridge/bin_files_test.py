"""Torch's files give tensors, and nothing else: no code of theirs runs."""

import os
import pickle

from absl.testing import absltest
from absl.testing import parameterized
import ml_dtypes
import numpy as np

from saejax import errors
from saejax.torch_bridge import bin_files
from tests.models import parity

torch = parity.torch


class Trap:
  """What a hostile file unpickles to: a call."""

  def __init__(self, path: str):
    self.path = path

  def __reduce__(self):
    return os.mkdir, (self.path,)


@parity.needs_torch
class BinFilesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.path = os.path.join(self.folder, 'pytorch_model.bin')

  def assert_refused(self, said: str) -> None:
    with self.assertRaisesRegex(errors.UserError, said):
      bin_files.load(self.path)

  @parameterized.product(
    dtype=('float16', 'bfloat16', 'float32', 'float64', 'int64'),
    is_zip=(True, False),
  )
  def test_gives_back_what_torch_saved(self, dtype, is_zip):
    values = np.arange(12).reshape(3, 4)
    tensor = torch.tensor(values).to(getattr(torch, dtype))
    saved = {'a': tensor, 'turned': tensor.T, 'scalar': tensor[2, 1]}
    torch.save(saved, self.path, _use_new_zipfile_serialization=is_zip)
    found = bin_files.load(self.path)
    self.assertCountEqual(found, saved)
    for name, expected in (
      ('a', values), ('turned', values.T), ('scalar', np.array(9))
    ):  # fmt: skip
      wanted = ml_dtypes.bfloat16 if dtype == 'bfloat16' else dtype
      self.assertEqual(found[name].dtype, wanted)
      np.testing.assert_array_equal(found[name], expected.astype(wanted))

  @absltest.skipUnless(os.path.exists('/proc/self/maps'), 'Linux tells.')
  def test_files_are_mapped(self):
    torch.save({'a': torch.zeros(1 << 20)}, self.path)
    before = bin_files.load(self.path)['a']
    with open('/proc/self/maps', encoding='utf-8') as f:
      self.assertIn(self.path, f.read())
    self.assertEqual(before.sum(), 0)

  @parameterized.parameters(True, False)
  def test_code_does_not_run(self, is_zip):
    sprung = os.path.join(self.folder, 'sprung')
    torch.save(
      {'a': Trap(sprung)}, self.path, _use_new_zipfile_serialization=is_zip
    )
    self.assert_refused('damaged, or holds more than tensors')
    self.assertFalse(os.path.exists(sprung))

  def test_a_bare_pickle_does_not_run(self):
    sprung = os.path.join(self.folder, 'sprung')
    with open(self.path, 'wb') as f:
      pickle.dump(Trap(sprung), f)
    self.assert_refused('damaged, or holds more than tensors')
    self.assertFalse(os.path.exists(sprung))

  def test_damage_is_named(self):
    torch.save({'a': torch.zeros(100)}, self.path)
    with open(self.path, 'rb') as f:
      data = f.read()
    for part in (b'', data[:40], data[:-1], b'hello'):
      with open(self.path, 'wb') as f:
        f.write(part)
      self.assert_refused(f'{self.path} is damaged')

  def test_other_things_than_tensors_by_name_are_named(self):
    torch.save([torch.zeros(2)], self.path)
    self.assert_refused('holds a list')
    torch.save({'a': {'b': torch.zeros(2)}}, self.path)
    self.assert_refused('a is a dict')
    torch.save({'a': torch.zeros(2).to_sparse()}, self.path)
    self.assert_refused('a has type torch.float32 and layout torch.sparse_coo')

  def test_an_unsafe_torch_is_refused(self):
    torch.save({'a': torch.zeros(2)}, self.path)
    version = absltest.mock.patch.object(torch, '__version__', '2.5.1+cpu')
    with version:
      self.assert_refused('torch 2.5.1.cpu cannot read .* install torch 2.6')


if __name__ == '__main__':
  absltest.main()
