"""Readers of other people's embeddings, on good files and bad ones."""

import json
import os
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import ml_dtypes
import numpy as np
import pyarrow
import pyarrow.parquet

from saejax import errors
from saejax.data import embeddings
from saejax.store import files

N, D = 7, 3


def rows(n: int = N, seed: int = 0) -> np.ndarray:
  return np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32)


class FolderTest(parameterized.TestCase):
  """With a folder to write inputs to."""

  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path

  def path(self, *names: str) -> str:
    path = os.path.join(self.folder, *names)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path

  def save(self, array, name: str = 'x.npy') -> str:
    path = self.path(name)
    if name.endswith('.npy'):
      np.save(path, array)
    else:
      files.write_arrays(path, {'embeddings': array})
    return path

  def text(self, name: str, text: str) -> str:
    pathlib.Path(self.path(name)).write_text(text, encoding='utf-8')
    return self.path(name)

  def assert_refused(self, message: str, read, *arguments):
    with self.assertRaisesRegex(errors.UserError, message):
      read(*arguments)


class RowsTest(FolderTest):
  @parameterized.product(
    name=['x.npy', 'x.safetensors'], dtype=['float32', 'float16', 'float64']
  )
  def test_rows_are_float32_whatever_they_were(self, name, dtype):
    x_ND = rows().astype(dtype)
    found = embeddings.read_rows(self.save(x_ND, name))
    self.assertEqual((len(found), found.d), (N, D))
    self.assertEqual(found.take(0, N).dtype, np.float32)
    np.testing.assert_array_equal(found.take(0, N), x_ND.astype(np.float32))
    np.testing.assert_array_equal(found.take(2, 4), x_ND[2:4])
    found.check()

  def test_bfloat16_is_read_from_safetensors(self):
    x_ND = rows().astype(ml_dtypes.bfloat16)
    found = embeddings.read_rows(self.save(x_ND, 'x.safetensors'))
    np.testing.assert_array_equal(found.take(0, N), x_ND.astype(np.float32))

  def test_columns_first_is_read_in_the_order_it_means(self):
    x_ND = np.asfortranarray(rows())
    found = embeddings.read_rows(self.save(x_ND))
    np.testing.assert_array_equal(found.take(0, N), x_ND)

  def test_stacked_pairs_are_images_then_texts(self):
    image, text = embeddings.read_stacked(
      self.save(np.stack([rows(seed=0), rows(seed=1)]))
    )
    np.testing.assert_array_equal(image.take(0, N), rows(seed=0))
    np.testing.assert_array_equal(text.take(0, N), rows(seed=1))

  def test_parts_are_one_array_however_they_are_cut(self):
    x_ND = rows(10)
    found = embeddings.Rows([x_ND[:3], x_ND[3:4], x_ND[4:]], 'x')
    for start in range(10):
      for stop in range(start + 1, 12):
        np.testing.assert_array_equal(found.take(start, stop), x_ND[start:stop])

  @parameterized.parameters(
    (rows()[0], r'has shape \(3,\); expected two axes'),
    (rows()[None], r'has shape \(1, 7, 3\); expected two axes'),
    (np.zeros((N, D), np.int64), 'has type int64; expected floating-point'),
    (np.zeros((N, D), bool), 'has type bool; expected floating-point'),
    (np.zeros((0, D), np.float32), r'is empty: its shape is \(0, 3\)'),
    (np.zeros((N, 0), np.float32), r'is empty: its shape is \(7, 0\)'),
  )
  def test_what_is_not_rows_of_numbers_is_refused(self, array, message):
    self.assert_refused(message, embeddings.read_rows, self.save(array))

  @parameterized.parameters(
    (rows(), r'has shape \(7, 3\); expected \(2, N, D\)'),
    (np.zeros((3, N, D), np.float32), r'\(3, 7, 3\); expected \(2, N, D\)'),
    (np.zeros((2, 0, D), np.float32), r'\[0\] is empty'),
  )
  def test_what_is_not_a_stack_of_two_is_refused(self, array, message):
    self.assert_refused(message, embeddings.read_stacked, self.save(array))

  def test_parts_of_different_widths_are_refused(self):
    with self.assertRaisesRegex(errors.UserError, 'different widths'):
      embeddings.Rows([rows(), rows()[:, :2]], 'x')

  @parameterized.parameters(np.nan, np.inf, -np.inf, 1e300)
  def test_rows_that_are_not_finite_are_counted_and_the_first_named(self, bad):
    x_ND = rows(20).astype(np.float64)
    x_ND[[4, 9, 9], [2, 0, 1]] = bad
    found = embeddings.Rows([x_ND[:5], x_ND[5:]], 'x')
    self.assert_refused(
      'x holds NaN or infinite values in 2 of 20 rows, the first at row 4',
      found.check,
    )

  def test_zero_rows_are_counted_and_the_first_named(self):
    x_ND = rows(20)
    x_ND[[3, 11, 12]] = 0
    self.assert_refused(
      'x holds zero rows in 3 of 20 rows, the first at row 3',
      embeddings.Rows([x_ND], 'x').check,
    )

  def test_small_rows_are_not_zero(self):
    embeddings.Rows([rows() * np.float32(1e-8)], 'x').check()

  def test_values_that_a_type_cannot_hold_are_counted(self):
    x_ND = rows(20)
    x_ND[[6, 8], 0] = 65505, -70000
    found = embeddings.Rows([x_ND], 'x')
    found.check()
    self.assert_refused(
      'x holds values beyond ±65504 in 2 of 20 rows, the first at row 6',
      found.check,
      65504.0,
    )


class FileTest(FolderTest):
  def test_pickled_objects_are_not_run(self):
    ran = self.path('ran')
    shout = type('', (), {'__reduce__': lambda _: (os.mkdir, (ran,))})()
    path = self.save(np.array([shout, 1], object))
    self.assert_refused(
      'cannot be read as an array', embeddings.read_rows, path
    )
    self.assertFalse(os.path.exists(ran))
    np.load(path, allow_pickle=True)  # It would have run.
    self.assertTrue(os.path.exists(ran))

  def test_what_is_no_file_of_an_array_is_refused(self):
    read = embeddings.read_rows
    missing = self.path('none.npy')
    self.assert_refused('There is no file .*none.npy', read, missing)
    self.assert_refused('is a folder; expected a file', read, self.folder)
    empty = self.text('empty.npy', '')
    self.assert_refused('empty.npy is empty: it has no bytes', read, empty)
    words = self.text('words.npy', 'no array')
    self.assert_refused('words.npy cannot be read as an array', read, words)
    words = self.text('words.safetensors', 'no array')
    self.assert_refused('words.safetensors cannot be read', read, words)
    other = self.text('x.csv', '1,2')
    self.assert_refused('neither a .npy nor a .safetensors', read, other)

  def test_a_cut_file_is_refused(self):
    for name in ('x.npy', 'x.safetensors'):
      path = self.save(rows(), name)
      os.truncate(path, os.path.getsize(path) - 4)
      self.assert_refused(
        f'{name} cannot be read as an array', embeddings.read_rows, path
      )

  def test_several_arrays_in_a_file_are_refused_by_name(self):
    path = self.path('x.safetensors')
    files.write_arrays(path, {'b': rows(), 'a': rows()})
    self.assert_refused(
      r'holds 2 arrays \(a, b\); expected one', embeddings.read_rows, path
    )

  @parameterized.parameters('int64', 'int32', 'uint8')
  def test_integers_of_any_width(self, dtype):
    path = self.save(np.arange(N).astype(dtype))
    found = embeddings.read_integers(path, N, 'a row each')
    self.assertEqual(found.dtype, np.int64)
    np.testing.assert_array_equal(found, np.arange(N))

  @parameterized.parameters(
    (np.arange(6), r'has shape \(6,\) and type int64; expected 7 integers, a'),
    (np.zeros(N), 'and type float64; expected 7 integers'),
    (np.zeros((N, 1), int), r'has shape \(7, 1\)'),
  )
  def test_what_is_not_n_integers_is_refused(self, array, message):
    path = self.save(array)
    self.assert_refused(
      message, embeddings.read_integers, path, N, 'a row each'
    )


class LinesTest(FolderTest):
  CAPTIONS = ('ein Löwe', '', 'a\u2028b\x85c', ' "quoted" ')

  @parameterized.parameters('.txt', '.json', '.jsonl')
  def test_lines_of_every_kind_come_back_as_they_were(self, ending):
    lines = list(self.CAPTIONS)
    text = {
      '.txt': '\n'.join(lines) + '\n',
      '.json': json.dumps(lines),
      '.jsonl': ''.join(json.dumps(s) + '\n' for s in lines),
    }[ending]
    path = self.text(f'captions{ending}', text)
    self.assertEqual(embeddings.read_lines(path, 4, 'one each'), lines)

  def test_line_ends_of_windows_and_no_last_one(self):
    path = self.path('captions.txt')
    pathlib.Path(path).write_bytes(b'one\r\ntwo\r\nthree')
    self.assertEqual(
      embeddings.read_lines(path, 3, 'one each'), ['one', 'two', 'three']
    )

  @parameterized.parameters(
    ('c.txt', 'a\nb\n', 'has 2 lines; expected 3, one each'),
    ('c.txt', '', 'has 0 lines; expected 3'),
    ('c.json', '["a", "b", 3]', 'must hold strings, one for each row'),
    ('c.json', '{"a": "b"}', 'must hold strings, one for each row'),
    ('c.json', '["a", ', 'c.json cannot be read'),
    ('c.jsonl', '"a"\n{"caption": "b"}\n"c"\n', 'must hold strings'),
    ('c.jsonl', '"a"\nb\n"c"\n', 'c.jsonl cannot be read'),
  )
  def test_what_is_not_a_string_each_is_refused(self, name, text, message):
    path = self.text(name, text)
    self.assert_refused(message, embeddings.read_lines, path, 3, 'one each')

  def test_missing_and_undecodable_files_are_refused(self):
    path = self.path('c.txt')
    read = embeddings.read_lines
    self.assert_refused('There is no file .*c.txt', read, path, 3, 'one')
    pathlib.Path(path).write_bytes(b'\xff\xfe\n')
    self.assert_refused('c.txt cannot be read', read, path, 1, 'one')


class ClipRetrievalTest(FolderTest):
  SIZES = (4,) * 11 + (2,)  # Enough parts for 10 to sort before 2 as text.

  def write(self, columns=('caption', 'image_path')):
    start = 0
    for i, size in enumerate(self.SIZES):
      rows_n = np.arange(start, start + size)
      for name, sign in (('img_emb', 1), ('text_emb', -1)):
        x_nD = (sign * (1 + rows_n))[:, None] * np.ones(D, np.float16)
        self.save(x_nD.astype(np.float16), f'{name}/{name}_{i}.npy')
      table = {name: [f'{name} {r}' for r in rows_n] for name in columns}
      pyarrow.parquet.write_table(
        pyarrow.table(table or {'other': rows_n}),
        self.path('metadata', f'metadata_{i}.parquet'),
      )
      start += size
    return start

  def test_parts_are_read_in_the_order_of_their_numbers(self):
    n = self.write()
    found = embeddings.read_clip_retrieval(self.folder)
    image, text, captions, paths = found
    np.testing.assert_array_equal(image.take(0, n)[:, 0], 1 + np.arange(n))
    np.testing.assert_array_equal(text.take(0, n)[:, 2], -1 - np.arange(n))
    self.assertEqual(captions, [f'caption {i}' for i in range(n)])
    self.assertEqual(paths, [f'image_path {i}' for i in range(n)])

  @parameterized.parameters(
    (('text', 'url'), 'text', 'url'),
    (('key', 'caption', 'text'), 'caption', 'key'),
    (('url',), None, 'url'),
    ((), None, None),
  )
  def test_columns_are_found_by_the_names_in_use(self, columns, caption, path):
    n = self.write(columns)
    _, _, captions, paths = embeddings.read_clip_retrieval(self.folder)
    named = lambda name: name and [f'{name} {i}' for i in range(n)]
    self.assertEqual(captions, named(caption))
    self.assertEqual(paths, named(path))

  def test_without_metadata_nothing_is_known(self):
    for name in ('img_emb', 'text_emb'):
      self.save(rows(), f'{name}/{name}_0.npy')
    _, _, captions, paths = embeddings.read_clip_retrieval(self.folder)
    self.assertIsNone(captions)
    self.assertIsNone(paths)

  def test_a_caption_that_is_null_is_empty(self):
    for name in ('img_emb', 'text_emb'):
      self.save(rows(2), f'{name}/{name}_0.npy')
    pyarrow.parquet.write_table(
      pyarrow.table({'caption': ['a', None]}),
      self.path('metadata', 'metadata_0.parquet'),
    )
    self.assertEqual(embeddings.read_clip_retrieval(self.folder)[2], ['a', ''])

  def test_folders_that_lack_something_are_refused(self):
    read = embeddings.read_clip_retrieval
    self.assert_refused('There is no folder', read, self.path('none'))
    self.assert_refused('has no img_emb/img_emb_0.npy', read, self.folder)
    self.save(rows(), 'img_emb/img_emb_0.npy')
    self.assert_refused('has no text_emb/text_emb_0.npy', read, self.folder)

  def test_metadata_of_another_length_is_refused(self):
    n = self.write()
    os.remove(self.path('metadata', 'metadata_10.parquet'))
    self.assert_refused(
      f'metadata has {n - 4} captions for {n} rows',
      embeddings.read_clip_retrieval,
      self.folder,
    )

  def test_damaged_metadata_is_named(self):
    self.write()
    self.text('metadata/metadata_3.parquet', 'junk')
    self.assert_refused(
      'metadata_3.parquet cannot be read',
      embeddings.read_clip_retrieval,
      self.folder,
    )


if __name__ == '__main__':
  absltest.main()
