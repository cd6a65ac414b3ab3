"""Weights of every format open as the same tensors, and mistakes are named."""

import json
import os
import sys
import tracemalloc
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import flax
import ml_dtypes
import numpy as np
import safetensors.numpy

from saejax import errors
from saejax.models import checkpoints

NAMES = ('a.weight', 'b.layers.0.weight', 'b.layers.1.bias')


def tensors(dtype=np.float32) -> dict[str, np.ndarray]:
  rng = np.random.default_rng(0)
  shapes = ((4, 6), (5, 3, 2, 2), (7,))
  return {
    name: rng.normal(size=shape).astype(dtype)
    for name, shape in zip(NAMES, shapes, strict=True)
  }


def linen() -> dict:
  """The same, as a Flax model of transformers 4 keeps them."""
  a, conv, bias = tensors().values()
  layers = {
    '0': {'kernel': np.ascontiguousarray(conv.transpose(2, 3, 1, 0))},
    '1': {'bias': bias},
  }
  return {'a': {'embedding': a}, 'b': {'layers': layers}}


class FolderTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.path = self.create_tempdir().full_path

  def write(self, name: str, data: bytes) -> str:
    file = os.path.join(self.path, name)
    with open(file, 'wb') as f:
      f.write(data)
    return file

  def write_index(self, name: str, placed: dict[str, str]) -> None:
    self.write(name, json.dumps({'weight_map': placed}).encode())

  def write_shards(self) -> None:
    arrays = tensors()
    placed = {
      name: f'model-{i}-of-3.safetensors' for i, name in enumerate(NAMES)
    }
    for name, file in placed.items():
      self.write(file, safetensors.numpy.save({name: arrays[name]}))
    self.write_index('model.safetensors.index.json', placed)

  def assert_opens(self, expected=None) -> None:
    found = checkpoints.open_folder(self.path)
    expected = tensors() if expected is None else expected
    self.assertCountEqual(found, expected)
    for name, array in expected.items():
      self.assertEqual(found[name].shape, array.shape)
      self.assertEqual(found[name].dtype, array.dtype)
      whole = (slice(None),) * array.ndim
      np.testing.assert_array_equal(found[name][whole], array)

  def assert_refused(self, said: str) -> None:
    with self.assertRaisesRegex(errors.UserError, said):
      checkpoints.open_folder(self.path)


class SafetensorsTest(FolderTest):
  @parameterized.parameters(
    np.float16, ml_dtypes.bfloat16, np.float32, np.float64
  )
  def test_every_precision(self, dtype):
    arrays = tensors(dtype) | {'scalar': np.ones((), dtype)}
    self.write('model.safetensors', safetensors.numpy.save(arrays))
    self.assert_opens(arrays)

  def test_a_slice_is_all_that_is_read(self):
    # 256 MiB that the disk does not have either.
    shape = (1 << 13, 1 << 14)
    entry = {'dtype': 'BF16', 'shape': shape, 'data_offsets': (0, 1 << 28)}
    header = json.dumps({'a': entry}).encode()
    file = self.write(
      'model.safetensors', len(header).to_bytes(8, 'little') + header
    )
    os.truncate(file, 8 + len(header) + (1 << 28))
    tracemalloc.start()
    self.addCleanup(tracemalloc.stop)
    tensor = checkpoints.open_folder(self.path)['a']
    self.assertEqual(tensor.shape, shape)
    part = tensor[slice(100, 200), slice(7, 9)]
    self.assertEqual((part.shape, part.dtype), ((100, 2), ml_dtypes.bfloat16))
    self.assertLess(tracemalloc.get_traced_memory()[1], 1 << 20)

  def test_shards(self):
    self.write_shards()
    self.assert_opens()
    self.assertLen(checkpoints.files(self.path), 4)

  def test_names_of_flax(self):
    flat = flax.traverse_util.flatten_dict(linen(), sep='.')
    self.write(
      'model.safetensors', safetensors.numpy.save(flat, {'format': 'flax'})
    )
    self.assert_opens()

  @parameterized.parameters(
    b'', b'hello', b'\x10' + bytes(7) + b'not JSON, or so'
  )
  def test_other_bytes_are_damage(self, data):
    file = self.write('model.safetensors', data)
    self.assert_refused(f'{file} is damaged')

  def test_a_file_cut_short_is_named(self):
    file = self.write(
      'model.safetensors', safetensors.numpy.save(tensors())[:-1]
    )
    self.assert_refused(f'{file} is damaged')

  def test_a_shard_cut_short_is_named(self):
    self.write_shards()
    file = os.path.join(self.path, 'model-1-of-3.safetensors')
    os.truncate(file, os.path.getsize(file) - 1)
    self.assert_refused(f'{file} is damaged')

  def test_a_pointer_to_a_file_says_how_to_get_it(self):
    self.write(
      'model.safetensors', b'version https://git-lfs.example/v1\noid sha256:0\n'
    )
    self.assert_refused('run git lfs pull')

  def test_quantised_weights_are_refused(self):
    array = np.zeros((2, 3), ml_dtypes.float8_e4m3fn)
    self.write('model.safetensors', safetensors.numpy.save({'a': array}))
    self.assert_refused('a has type F8_E4M3')


class IndexTest(FolderTest):
  def test_missing_shards_are_named(self):
    self.write_shards()
    os.remove(os.path.join(self.path, 'model-1-of-3.safetensors'))
    said = 'lacks 1 of the 3 shards.*model-1-of-3.safetensors'
    self.assert_refused(said)
    with self.assertRaisesRegex(errors.UserError, said):
      checkpoints.files(self.path)

  def test_absent_tensors_are_named_with_their_file(self):
    self.write_shards()
    placed = dict.fromkeys((NAMES[1], 'b.other'), 'model-1-of-3.safetensors')
    self.write_index('model.safetensors.index.json', placed)
    self.assert_refused('model-1-of-3.safetensors lacks the tensor b.other')

  @parameterized.parameters(
    b'',
    b'{"weight_map": ',
    b'\xff\xfe',
    b'[]',
    b'{}',
    b'{"weight_map": ["a"]}',
    b'{"weight_map": {"a": 3}}',
    b'{"weight_map": {"a": ["b"]}}',
    b'{"weight_map": {"a": "../model.safetensors"}}',
  )
  def test_a_damaged_index_is_named(self, data):
    file = self.write('model.safetensors.index.json', data)
    self.assert_refused(f'{file} is damaged')


class FlaxTest(FolderTest):
  def test_one_file(self):
    self.write('flax_model.msgpack', flax.serialization.to_bytes(linen()))
    self.assert_opens()

  def test_shards(self):
    flat = flax.traverse_util.flatten_dict(linen(), sep='/')
    placed = {
      name: f'flax_model-{i}-of-3.msgpack' for i, name in enumerate(flat)
    }
    for name, file in placed.items():
      tree = flax.traverse_util.unflatten_dict({name: flat[name]}, sep='/')
      self.write(file, flax.serialization.to_bytes(tree))
    self.write_index('flax_model.msgpack.index.json', placed)
    self.assert_opens()

  def test_a_file_cut_short_is_named(self):
    data = flax.serialization.to_bytes(linen())
    for part in (b'', data[:30], data[:-1], data + b'.'):
      file = self.write('flax_model.msgpack', part)
      self.assert_refused(f'{file} is damaged')

  def test_what_is_no_tree_is_refused(self):
    self.write('flax_model.msgpack', flax.serialization.msgpack_serialize([1]))
    self.assert_refused('it holds a list')


class ChoiceTest(FolderTest):
  def test_safetensors_come_first_and_torch_last(self):
    self.write('pytorch_model.bin', b'never opened')
    self.write('flax_model.msgpack', flax.serialization.to_bytes(linen()))
    self.assert_opens()
    self.write('flax_model.msgpack', b'never opened')
    self.write_shards()
    self.assert_opens()
    one = {'one': np.ones(3, np.float32)}
    self.write('model.safetensors', safetensors.numpy.save(one))
    self.assert_opens(one)

  def test_a_format_can_be_asked_for(self):
    self.write_shards()
    self.write('flax_model.msgpack', flax.serialization.to_bytes(linen()))
    self.assertEqual(
      checkpoints.files(self.path, ['flax']), ['flax_model.msgpack']
    )
    with self.assertRaisesRegex(
      errors.UserError, 'no weights: looked for pytorch_model.bin, whole'
    ):
      checkpoints.open_folder(self.path, ['torch'])

  def test_an_empty_folder_is_told_what_it_lacks(self):
    self.write('tf_model.h5', b'')
    self.assert_refused(
      f'{self.path} has no weights: looked for model.safetensors, '
      'flax_model.msgpack, pytorch_model.bin'
    )

  def test_links_that_lead_nowhere_are_no_files(self):
    os.symlink('blob', os.path.join(self.path, 'model.safetensors'))
    self.assert_refused('has no weights')

  def test_torch_files_say_what_to_do_without_torch(self):
    self.write('pytorch_model.bin', b'')
    with mock.patch.dict(sys.modules, torch=None):
      self.assert_refused(
        'pytorch_model.bin is read by torch, which is not installed: run '
        './launch.sh test --parity or pip install torch, or convert'
      )


if __name__ == '__main__':
  absltest.main()
