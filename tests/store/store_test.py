"""A store: written, killed, resumed, read back, damaged."""

import errno
import json
import os
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import ml_dtypes
import numpy as np

from saejax import store
from saejax.store import files

D, PER_SHARD = 6, 10
SIZES = {'image': 25, 'text': 50}


def rows(name: str) -> np.ndarray:
  seed = sorted(SIZES).index(name)
  return np.random.default_rng(seed).normal(size=(SIZES[name], D))


def columns(name: str, start: int, stop: int) -> dict[str, np.ndarray]:
  per_image = SIZES[name] // SIZES['image']
  pair_N = np.arange(start, stop) // per_image
  split_N = store.assign_splits(pair_N, (0.6, 0.2, 0.2))
  return {'group': pair_N, 'split': split_N, 'pair': pair_N}


def specs(dtype: str = 'float32') -> dict[str, store.StreamSpec]:
  return {
    'image': store.StreamSpec(d=D, dtype=dtype),
    'text': store.StreamSpec(d=D, dtype=dtype, modality='text'),
  }


def write_shard(writer: store.StoreWriter, name: str, index: int) -> None:
  start = index * PER_SHARD
  stop = min(start + PER_SHARD, SIZES[name])
  writer.write(
    name,
    index,
    rows(name)[start:stop],
    columns(name, start, stop),
    [{'caption': f'{name} {i} é'} for i in range(start, stop)],
  )


def shard_list():
  return [
    (name, i) for name, n in SIZES.items() for i in range(-(-n // PER_SHARD))
  ]


class StoreTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.path = os.path.join(self.create_tempdir().full_path, 'store')

  def write(self, dtype: str = 'float32') -> store.Store:
    writer = store.StoreWriter(self.path, specs(dtype), {'model': 'm'})
    for name, index in shard_list():
      write_shard(writer, name, index)
    writer.finish()
    return store.Store(self.path)

  @parameterized.parameters('float32', 'float16', 'bfloat16')
  def test_rows_come_back_in_any_order(self, dtype):
    found = self.write(dtype)
    numpy_dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    picked = np.random.default_rng(5).integers(0, SIZES['text'], 200)
    out = found['text'].take(picked)
    self.assertEqual(out.dtype, numpy_dtype)
    np.testing.assert_array_equal(out, rows('text').astype(numpy_dtype)[picked])
    into = np.empty(out.shape, np.float32)
    self.assertIs(found['text'].take(picked, out=into), into)
    np.testing.assert_array_equal(into, out.astype(np.float32))
    self.assertEqual(list(store.validate(self.path)), [])

  def test_columns_words_and_splits(self):
    text = self.write()['text']
    expected = columns('text', 0, SIZES['text'])
    for name in ('group', 'split', 'pair'):
      np.testing.assert_array_equal(text.column(name), expected[name])
    self.assertEqual(
      [w['caption'] for w in text.words([49, 0, 10])],
      ['text 49 é', 'text 0 é', 'text 10 é'],
    )
    by_split = [text.rows(s) for s in store.SPLITS]
    np.testing.assert_array_equal(
      np.sort(np.concatenate(by_split)), text.rows('all')
    )
    self.assertTrue(all(len(r) for r in by_split))

  def test_columns_may_be_others_and_no_split_is_train(self):
    spec = store.StreamSpec(d=D, columns=('label', 'template'), modality='text')
    writer = store.StoreWriter(self.path, specs() | {'prompts': spec}, {})
    for name, index in shard_list():
      write_shard(writer, name, index)
    x_ND = rows('image')[:6]
    beside = {'label': np.arange(6) // 2 - 1, 'template': np.arange(6) % 2}
    for index in range(2):
      run = slice(4 * index, 4 * index + 4)
      of_run = {k: v[run] for k, v in beside.items()}
      writer.write('prompts', index, x_ND[run], of_run)
    writer.finish()
    found = store.Store(self.path)['prompts']
    for name, values in beside.items():
      np.testing.assert_array_equal(found.column(name), values)
    np.testing.assert_array_equal(found.rows('train'), np.arange(6))
    np.testing.assert_array_equal(found.rows('all'), np.arange(6))
    self.assertEmpty(found.rows('test'))
    self.assertEqual([found.stats[s].rows for s in store.SPLITS], [6, 0, 0])
    np.testing.assert_allclose(
      found.stats['train'].mean, x_ND.astype(np.float32).mean(0), rtol=1e-5
    )
    self.assertEqual(list(store.validate(self.path)), [])
    with self.assertRaisesRegex(store.StoreError, "no column 'group'"):
      found.column('group')

  def test_strided_rows_are_stored_as_they_read(self):
    writer = store.StoreWriter(self.path, {'image': specs()['image']}, {})
    x_DN = rows('image').astype(np.float32).T.copy()
    writer.write('image', 0, x_DN.T, columns('image', 0, SIZES['image']))
    writer.finish()
    found = store.Store(self.path)['image'].take(np.arange(SIZES['image']))
    np.testing.assert_array_equal(found, x_DN.T)

  def test_statistics_are_those_of_each_split(self):
    found = self.write()
    x_ND = rows('text').astype(np.float32).astype(np.float64)
    split_N = found['text'].column('split')
    for code, split in enumerate(store.SPLITS):
      stats, x_nD = found['text'].stats[split], x_ND[split_N == code]
      self.assertEqual(stats.rows, len(x_nD))
      np.testing.assert_allclose(stats.mean, x_nD.mean(0), rtol=1e-9)
      np.testing.assert_allclose(
        stats.mean_square_norm, (x_nD**2).sum(1).mean(), rtol=1e-9
      )
      np.testing.assert_allclose(
        stats.mean_norm, np.linalg.norm(x_nD, axis=1).mean(), rtol=1e-9
      )
    self.assertFalse(found.manifest.normalised)

  def test_a_killed_writer_resumes_where_it_was(self):
    writer = store.StoreWriter(self.path, specs(), {'model': 'm'})
    for name, index in shard_list()[:4]:
      write_shard(writer, name, index)
    with open(os.path.join(self.path, 'journal.0.jsonl'), 'a') as f:
      f.write('{"stream": "text", "ind')  # Killed while writing a line.
    with open(os.path.join(self.path, 'text-00001.safetensors'), 'w') as f:
      f.write('half')  # A shard without a line in the journal.
    with self.assertRaisesRegex(store.StoreError, 'unfinished store'):
      store.Store(self.path)
    again = store.StoreWriter(self.path, specs(), {'model': 'm'})
    todo = [s for s in shard_list() if not again.is_done(*s)]
    self.assertEqual(todo, shard_list()[4:])
    for name, index in todo:
      write_shard(again, name, index)
    again.finish()
    resumed = store.Store(self.path)
    self.assertEqual(list(store.validate(self.path)), [])
    self.path += '-whole'
    self.assertEqual(resumed.hash, self.write().hash)
    self.assertEqual(resumed.manifest, store.Store(self.path).manifest)

  def test_several_processes_write_one_store(self):
    whole = self.write()
    self.path += '-shared'
    writers = [
      store.StoreWriter(self.path, specs(), {'model': 'm'}, process=p)
      for p in range(3)
    ]
    for i, (name, index) in enumerate(shard_list()):
      write_shard(writers[i % 3], name, index)
    writers[0].finish()
    self.assertEqual(store.Store(self.path).manifest, whole.manifest)

  def test_a_missing_shard_is_not_finished_over(self):
    writer = store.StoreWriter(self.path, specs(), {})
    for name, index in shard_list():
      if (name, index) != ('text', 2):
        write_shard(writer, name, index)
    with self.assertRaisesRegex(store.StoreError, 'some are missing'):
      writer.finish()

  def test_taken_folders_are_refused_and_left_alone(self):
    self.write()
    with self.assertRaisesRegex(store.StoreError, 'already holds a finished'):
      store.StoreWriter(self.path, specs(), {'model': 'm'})
    other = self.create_tempdir().full_path
    with open(os.path.join(other, 'thesis.tex'), 'w') as f:
      f.write('x')
    with self.assertRaisesRegex(store.StoreError, 'thesis.tex'):
      store.StoreWriter(other, specs(), {})
    self.assertEqual(os.listdir(other), ['thesis.tex'])
    begun = self.create_tempdir().full_path
    store.StoreWriter(begun, specs(), {'model': 'a'})
    with self.assertRaisesRegex(store.StoreError, r'\(model differ\)'):
      store.StoreWriter(begun, specs(), {'model': 'b'})

  def test_rows_that_do_not_fit_are_refused(self):
    writer = store.StoreWriter(self.path, specs(), {})
    good = columns('image', 0, 4)
    with self.assertRaisesRegex(store.StoreError, r'\(4, 5\); expected'):
      writer.write('image', 0, np.zeros((4, 5)), good)
    with self.assertRaisesRegex(store.StoreError, 'Columns of stream image'):
      writer.write('image', 0, np.zeros((4, D)), {'group': good['group']})
    with self.assertRaisesRegex(store.StoreError, 'expected integers'):
      bad = good | {'pair': np.zeros(4)}
      writer.write('image', 0, np.zeros((4, D)), bad)
    with self.assertRaisesRegex(store.StoreError, 'sidecar'):
      writer.write('image', 0, np.zeros((4, D)), good, [{}])
    self.assertFalse(
      [f for f in os.listdir(self.path) if f.endswith('tensors')]
    )

  def test_a_full_disk_keeps_finished_shards(self):
    writer = store.StoreWriter(self.path, specs(), {'model': 'm'})
    write_shard(writer, 'image', 0)
    full = OSError(errno.ENOSPC, 'No space left on device')
    with (
      mock.patch.object(os, 'replace', side_effect=full),
      self.assertRaises(OSError),
    ):
      write_shard(writer, 'image', 1)
    left = sorted(os.listdir(self.path))
    self.assertIn('image-00000.safetensors', left)
    self.assertFalse([f for f in left if '00001' in f or f.endswith('.tmp')])
    again = store.StoreWriter(self.path, specs(), {'model': 'm'})
    self.assertTrue(again.is_done('image', 0))
    self.assertFalse(again.is_done('image', 1))


class DamageTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.path = os.path.join(self.create_tempdir().full_path, 'store')
    StoreTest.write(self)

  def file(self, name: str) -> str:
    return os.path.join(self.path, name)

  def problems(self, **kwargs) -> str:
    return '\n'.join(store.validate(self.path, **kwargs))

  def test_a_changed_byte_is_found_by_its_checksum(self):
    name = self.file('text-00002.safetensors')
    x_ND = np.asarray(files.map_arrays(name)['x'])
    with open(name, 'rb') as f:
      raw = bytearray(f.read())
    raw[raw.index(x_ND.tobytes())] ^= 1  # The last bit of one number.
    with open(name, 'wb') as f:
      f.write(raw)
    self.assertIn(
      'text-00002.safetensors has a wrong checksum', self.problems()
    )
    self.assertEqual(self.problems(checksums=False), '')

  def test_a_missing_shard_is_named(self):
    os.remove(self.file('image-00001.safetensors'))
    message = 'image-00001.safetensors is missing'
    self.assertIn(message, self.problems())
    found = store.Store(self.path)['image']
    np.testing.assert_equal(found.take([0]).shape, (1, D))
    with self.assertRaisesRegex(store.StoreError, message):
      found.take([0, 12])

  def test_a_cut_shard_is_named(self):
    name = self.file('image-00001.safetensors')
    with open(name, 'r+b') as f:
      f.truncate(os.path.getsize(name) - 8)
    self.assertIn('image-00001.safetensors is cut short', self.problems())

  def test_a_shape_that_disagrees_is_named(self):
    with open(self.file('manifest.json')) as f:
      data = json.load(f)
    data['streams']['image']['shards'][0]['rows'] = 9
    with open(self.file('manifest.json'), 'w') as f:
      json.dump(data, f)
    with self.assertRaisesRegex(store.StoreError, 'x has shape .10, 6.*says'):
      store.Store(self.path)['image'].take([0])

  def test_a_sidecar_of_other_length_is_named(self):
    with open(self.file('text-00000.jsonl'), 'a') as f:
      f.write('{}\n')
    self.assertIn('11 lines for 10 rows', self.problems(checksums=False))

  def test_a_group_in_two_splits_is_named(self):
    name = self.file('text-00000.safetensors')
    arrays = {k: np.array(v) for k, v in files.map_arrays(name).items()}
    arrays['split'] = (arrays['split'] + 1) % 3
    files.write_arrays(name, arrays)
    self.assertIn('is in both', self.problems(checksums=False))

  @parameterized.parameters(
    ('format', 'other', "has format 'other'; expected 'saejax-store'"),
    ('version', 99, 'has version 99; this saejax reads version 1'),
  )
  def test_a_foreign_manifest_is_refused(self, key, value, message):
    with open(self.file('manifest.json')) as f:
      data = json.load(f)
    data[key] = value
    with open(self.file('manifest.json'), 'w') as f:
      json.dump(data, f)
    with self.assertRaisesRegex(store.StoreError, message):
      store.Store(self.path)

  def test_what_is_no_store_says_so(self):
    with self.assertRaisesRegex(store.StoreError, 'no such folder'):
      store.Store('/nowhere')
    with self.assertRaisesRegex(store.StoreError, 'it has no manifest.json'):
      store.Store(self.create_tempdir().full_path)
    with self.assertRaisesRegex(store.StoreError, "no stream 'audio'"):
      _ = store.Store(self.path)['audio']


class SplitTest(absltest.TestCase):
  def test_shares_come_out_and_depend_on_the_group_alone(self):
    split_N = store.assign_splits(np.arange(200_000), (0.9, 0.05, 0.05))
    shares = np.bincount(split_N, minlength=3) / len(split_N)
    np.testing.assert_allclose(shares, [0.9, 0.05, 0.05], atol=0.003)
    np.testing.assert_array_equal(
      store.assign_splits(np.arange(100, 200)), split_N[100:200]
    )

  def test_bad_shares_are_refused(self):
    for shares in ((0.5, 0.5), (0.9, 0.2, 0.1), (1.2, -0.1, -0.1)):
      with self.assertRaises(ValueError):
        store.assign_splits(np.arange(3), shares)


if __name__ == '__main__':
  absltest.main()
