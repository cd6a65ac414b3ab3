"""Embeddings that others made, as a store: what came in is what is there."""

import os
import pathlib
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow
import pyarrow.parquet

from saejax import errors
from saejax import store
from saejax.pipeline import importing
from saejax.store import files

IMAGES, TEXTS, D = 40, 100, 5
SPLITS = (0.5, 0.25, 0.25)


def rows(n: int, seed: int) -> np.ndarray:
  return np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32)


class ImportTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.out = self.path('store')
    self.image_ND, self.text_ND = rows(IMAGES, 0), rows(TEXTS, 1)
    rng = np.random.default_rng(2)
    # Texts in any order, some images without one; groups of several images.
    self.pair_N = rng.integers(0, IMAGES - 3, TEXTS)
    self.group_N = rng.integers(-5, 5, IMAGES) * 1_000_000_007

  def path(self, name: str) -> str:
    return os.path.join(self.folder, name)

  def save(self, **arrays: np.ndarray) -> dict[str, str]:
    for name, array in arrays.items():
      np.save(self.path(f'{name}.npy'), array)
    return {name: self.path(f'{name}.npy') for name in arrays}

  def lines(self, **texts: list[str]) -> dict[str, str]:
    for name, lines in texts.items():
      text = '\n'.join(lines) + '\n'
      pathlib.Path(self.path(f'{name}.txt')).write_text(text, encoding='utf-8')
    return {name: self.path(f'{name}.txt') for name in texts}

  def inputs(self) -> dict[str, str]:
    """Several texts an image, groups, captions and paths."""
    return self.save(
      image=self.image_ND,
      text=self.text_ND,
      text_pair=self.pair_N,
      groups=self.group_N,
    ) | self.lines(
      captions=[f'caption {i} é' for i in range(TEXTS)],
      image_paths=[f'img/{i}.jpg' for i in range(IMAGES)],
    )

  def run_import(self, out: str | None = None, **fields) -> store.Store:
    config = importing.ImportConfig(**{'splits': SPLITS} | fields)
    importing.import_embeddings(config, out or self.out)
    found = store.Store(out or self.out)
    self.assertEqual(list(store.validate(found.path)), [])
    return found

  def test_rows_pairs_groups_and_words_are_those_given(self):
    found = self.run_import(**self.inputs())
    image, text = found['image'], found['text']
    every = lambda stream: stream.take(np.arange(len(stream)))
    np.testing.assert_array_equal(every(image), self.image_ND)
    np.testing.assert_array_equal(every(text), self.text_ND)
    self.assertEqual((image.modality, text.modality), ('image', 'text'))
    np.testing.assert_array_equal(image.column('pair'), np.arange(IMAGES))
    np.testing.assert_array_equal(text.column('pair'), self.pair_N)
    np.testing.assert_array_equal(image.column('group'), self.group_N)
    np.testing.assert_array_equal(
      text.column('group'), self.group_N[self.pair_N]
    )
    self.assertEqual(image.words([7]), [{'image': 'img/7.jpg'}])
    self.assertEqual(
      text.words([99, 0]),
      [{'caption': 'caption 99 é'}, {'caption': 'caption 0 é'}],
    )

  def test_a_group_lies_in_one_split_with_all_its_texts(self):
    found = self.run_import(**self.inputs())
    split_of = {}
    for name in ('image', 'text'):
      columns = (found[name].column(c) for c in ('group', 'split'))
      for group, split in zip(*columns, strict=True):
        self.assertEqual(split_of.setdefault(group, split), split)
    self.assertGreater(len(set(split_of.values())), 1)
    self.assertLess(len(split_of), IMAGES)
    expected = store.assign_splits(self.group_N, SPLITS)
    np.testing.assert_array_equal(found['image'].column('split'), expected)

  def test_without_groups_each_image_is_one(self):
    paths = self.save(image=self.image_ND, text=self.image_ND)
    found = self.run_import(**paths)
    for name in ('image', 'text'):
      for column in ('group', 'pair'):
        np.testing.assert_array_equal(
          found[name].column(column), np.arange(IMAGES)
        )
    self.assertEqual(found['text'].words([3]), [{}])

  def test_a_stack_and_two_files_make_the_same_store(self):
    two = self.save(image=rows(9, 3), text=rows(9, 4))
    one = self.save(pairs=np.stack([rows(9, 3), rows(9, 4)]))
    self.assertEqual(
      self.run_import(**two).hash,
      self.run_import(out=self.path('other'), **one).hash,
    )

  def test_a_clip_retrieval_folder_brings_its_words(self):
    for part in range(2):
      for name, seed in (('img_emb', 0), ('text_emb', 2)):
        os.makedirs(self.path(f'cr/{name}'), exist_ok=True)
        x_ND = rows(4, seed + part).astype(np.float16)
        np.save(self.path(f'cr/{name}/{name}_{part}.npy'), x_ND)
      os.makedirs(self.path('cr/metadata'), exist_ok=True)
      numbers = range(4 * part, 4 * part + 4)
      table = {
        'caption': [f'words {i}' for i in numbers],
        'image_path': [f'{i}.jpg' for i in numbers],
      }
      pyarrow.parquet.write_table(
        pyarrow.table(table), self.path(f'cr/metadata/metadata_{part}.parquet')
      )
    found = self.run_import(clip_retrieval=self.path('cr'))
    self.assertEqual(found['text'].words([6]), [{'caption': 'words 6'}])
    self.assertEqual(found['image'].words([6]), [{'image': '6.jpg'}])
    expected = np.concatenate([rows(4, 2), rows(4, 3)]).astype(np.float16)
    np.testing.assert_array_equal(
      found['text'].take(np.arange(8)), expected.astype(np.float32)
    )

  @parameterized.parameters(1.0, 1e-8, 1e25)
  def test_normalising_gives_unit_rows_of_any_length(self, length):
    x_ND = rows(9, 0)
    paths = self.save(image=x_ND * np.float32(length), text=x_ND)
    found = self.run_import(normalise=True, dtype='float16', **paths)
    unit_ND = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
    np.testing.assert_allclose(
      found['image'].take(np.arange(9)), unit_ND, atol=1e-3
    )
    self.assertTrue(found.manifest.normalised)

  def test_rows_near_unit_norm_count_as_unit(self):
    x_ND = rows(9, 0)
    x_ND /= np.linalg.norm(x_ND, axis=1, keepdims=True)
    for factor, unit in ((1.0009, True), (1.0011, False)):
      paths = self.save(image=x_ND * np.float32(factor), text=x_ND)
      found = self.run_import(out=self.path(f'x{factor}'), **paths)
      self.assertEqual(found.manifest.normalised, unit)

  def test_the_manifest_says_where_rows_come_from_but_not_our_folders(self):
    about = self.run_import(
      model='clip', dataset='coco', licence='CC-BY-4.0', **self.inputs()
    ).about
    self.assertEqual(about['model'], 'clip')
    self.assertEqual(about['dataset'], {'name': 'coco'})
    self.assertEqual(about['licence'], 'CC-BY-4.0')
    self.assertEqual(about['imported']['image'], 'image.npy')
    self.assertNotIn(self.folder, str(about))

  def test_killed_anywhere_it_goes_on_to_the_same_bytes(self):
    paths = self.inputs()
    self.enterContext(mock.patch.object(importing, '_PER_SHARD', 16))
    self.run_import(out=self.path('whole'), **paths)
    shards = len(os.listdir(self.path('whole'))) // 2  # And their words.
    self.assertEqual(shards, 3 + 7)

    class Killed(BaseException):
      pass

    write, written = files.write_arrays, []

    def write_some(path, arrays):
      # The process dies before its fourth shard, and with half of it written.
      if len(written) % 4 == 3:
        written.append(None)
        pathlib.Path(path).write_bytes(b'half')
        raise Killed
      written.append(os.path.basename(path))
      write(path, arrays)

    kills = 0
    with mock.patch.object(files, 'write_arrays', write_some):
      while kills < 20:
        try:
          self.run_import(**paths)
          break
        except Killed:
          kills += 1
          with self.assertRaisesRegex(store.StoreError, 'unfinished store'):
            store.Store(self.out)
    self.assertEqual(kills, 3)
    done = [name for name in written if name]
    self.assertLen(done, shards)
    self.assertLen(set(done), shards)  # None was written twice.
    self.assertCountEqual(os.listdir(self.out), os.listdir(self.path('whole')))
    for name in os.listdir(self.out):
      self.assertEqual(
        pathlib.Path(self.out, name).read_bytes(),
        pathlib.Path(self.path('whole'), name).read_bytes(),
      )

  @parameterized.parameters(
    ({'normalise': True}, 'normalised_on_import'),
    ({'splits': (0.6, 0.2, 0.2)}, 'splits'),
    ({'dtype': 'float16'}, 'streams'),
    ({'model': 'other'}, 'model'),
  )
  def test_a_begun_store_is_not_mixed_with_other_settings(self, fields, what):
    paths = self.inputs()
    with (
      mock.patch.object(files, 'write_lines', side_effect=KeyboardInterrupt),
      self.assertRaises(KeyboardInterrupt),
    ):
      self.run_import(**paths)
    before = sorted(os.listdir(self.out))
    with self.assertRaisesRegex(store.StoreError, rf'\({what} differ\)'):
      self.run_import(**paths | fields)
    self.assertEqual(sorted(os.listdir(self.out)), before)

  @parameterized.parameters(
    ({'image': None}, 'Give --image with --text, or --pairs'),
    ({'pairs': 'x.npy'}, 'one source'),
    ({'text_pair': None}, 'Give --text_pair, the image row of each text'),
    ({'splits': (0.5, 0.5)}, '--splits: .* three non-negative numbers'),
    ({'splits': (0.5, 0.5, 0.5)}, '--splits: .* must add up to 1'),
  )
  def test_mistakes_are_told_and_leave_nothing(self, fields, message):
    with self.assertRaisesRegex(errors.UserError, message):
      self.run_import(**self.inputs() | fields)
    self.assertFalse(os.path.exists(self.out))

  def test_values_that_the_stored_type_cannot_hold_are_refused(self):
    paths = self.save(image=rows(9, 0) * 1e6, text=rows(9, 1))
    with self.assertRaisesRegex(errors.UserError, 'image.npy holds values bey'):
      self.run_import(dtype='float16', **paths)
    self.assertFalse(os.path.exists(self.out))
    self.run_import(dtype='bfloat16', **paths)

  @parameterized.parameters(-1, IMAGES)
  def test_a_text_of_no_image_is_refused(self, row):
    self.pair_N[17] = row
    with self.assertRaisesRegex(errors.UserError, 'image rows outside 0…39'):
      self.run_import(**self.inputs())
    self.assertFalse(os.path.exists(self.out))


if __name__ == '__main__':
  absltest.main()
