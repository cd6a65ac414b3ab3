"""Parquet files of images and captions, in the layouts that are about."""

import concurrent.futures
import os
import time

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from saejax import errors
from saejax.data import parquet_images
from saejax.data import records
from tests.data import pictures

N = 11


def image(i: int) -> bytes:
  return pictures.encode(pictures.picture(i, (12, 8)), 'PNG')


def structs(rows=range(N)) -> pa.Array:
  return pa.array(
    [{'bytes': image(i), 'path': f'/home/me/{i}.png'} for i in rows],
    pa.struct([('bytes', pa.binary()), ('path', pa.string())]),
  )


def texts(rows=range(N)) -> pa.Array:
  return pa.array([f'caption {i}' for i in rows])


class ParquetTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.root = self.create_tempdir().full_path

  def write(self, name: str, columns, row_group_size: int = 4) -> str:
    path = os.path.join(self.root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return path

  def check(self, path: str, **options) -> list:
    self.found = parquet_images.ParquetImages(
      os.path.join(self.root, path), **options
    )
    return pictures.check_reader(self, self.found, self.root)

  def test_rows_of_several_files(self):
    for name, rows in (
      ('train-00000-of-00002.parquet', range(5)),
      ('train-00001-of-00002.parquet', range(5, 6)),
      ('validation-00000-of-00001.parquet', range(6, N)),
    ):
      self.write(
        name,
        {
          'id': list(rows),
          'image': structs(rows),
          'captions': [[f'{i} a', f'{i} b'][: i % 3] for i in rows],
        },
        2,
      )
    found = self.check('*.parquet')
    self.assertLen(found, N)
    for i, record in enumerate(found):
      if i % 3 == 0:
        self.assertIsInstance(record, records.RecordError)
        continue
      self.assertEqual(record.image, image(i))
      self.assertEqual(record.captions, (f'{i} a', f'{i} b')[: i % 3])
      self.assertEqual(record.split, 'train' if i < 6 else 'val')
      self.assertEqual(record.group, i)
      self.assertEqual(record.words['image'], f'{i}.png')
      self.assertEqual(record.words['row'], i if i < 5 else max(i - 6, 0))
      self.assertEqual(record.words['file'].partition('-')[0], 'train' if i < 6
                       else 'validation')  # fmt: skip
    self.assertEqual(self.found.about['splits'], {'train': 6, 'val': 5})
    self.assertEqual(self.found.about['columns'], ['captions', 'image'])

  @parameterized.parameters(
    (pa.binary(), pa.string()),
    (pa.large_binary(), pa.large_string()),
    (pa.binary(), pa.dictionary(pa.int32(), pa.string())),
    (pa.struct([('path', pa.string()), ('bytes', pa.large_binary())]),) * 1
    + (pa.list_(pa.string()),),
    (pa.binary(), pa.large_list(pa.large_string())),
  )
  def test_types(self, image_type, caption_type):
    images = [image(i) for i in range(N)]
    if pa.types.is_struct(image_type):
      images = [{'bytes': b, 'path': None} for b in images]
    said = [f'caption {i}' for i in range(N)]
    if not (pa.types.is_string(caption_type) or pa.types.is_dictionary(
        caption_type) or pa.types.is_large_string(caption_type)):  # fmt: skip
      said = [[s] for s in said]
    # A dictionary is made from plain strings.
    values = (
      pa.array(said).dictionary_encode()
      if pa.types.is_dictionary(caption_type)
      else pa.array(said, caption_type)
    )
    self.write(
      'a.parquet', {'pic': pa.array(images, image_type), 'alt': values}
    )
    found = self.check('a.parquet', image='pic', caption='alt')
    self.assertEqual([r.image for r in found], [image(i) for i in range(N)])
    self.assertEqual(
      [r.captions for r in found], [(f'caption {i}',) for i in range(N)]
    )
    self.assertNotIn('image', found[0].words)

  def test_nulls(self):
    images = structs().to_pylist()
    images[1] = None
    images[2] = {'bytes': None, 'path': 'elsewhere.png'}
    said = texts().to_pylist()
    said[3] = None
    self.write(
      'a.parquet',
      {'image': pa.array(images, structs().type), 'caption': said},
    )
    found = self.check('a.parquet')
    for i in (1, 2):
      self.assertIsInstance(found[i], records.RecordError)
      self.assertIn('no bytes', str(found[i]))
    # For `check_caption` to refuse.
    self.assertEqual(found[3].captions, ('',))

  def test_a_damaged_row_group_is_that_many_bad_records(self):
    path = self.write('a.parquet', {'image': structs(), 'caption': texts()})
    group = pq.ParquetFile(path).metadata.row_group(1)
    start = min(group.column(c).data_page_offset for c in range(2))
    with open(path, 'r+b') as f:
      f.seek(start)
      f.write(b'\xff' * 64)
    found = self.check('a.parquet')
    bad = [i for i, r in enumerate(found) if isinstance(r, records.RecordError)]
    self.assertEqual(bad, [4, 5, 6, 7])
    self.assertIn('a.parquet: row group 1 cannot be read', str(found[4]))

  def test_reads_a_row_group_once_in_order_and_keeps_few(self):
    self.write('a.parquet', {'image': structs(), 'caption': texts()}, 2)
    found = parquet_images.ParquetImages(self.root)
    read = []
    file = found._files[0]

    class Counted:
      def read_row_group(self, g, columns):
        read.append(g)
        return file.read_row_group(g, columns=columns)

    found._files[0] = Counted()
    for i in range(N):
      found.record(i)
    self.assertEqual(read, [0, 1, 2, 3, 4, 5])
    self.assertLessEqual(len(found._cache), 2)
    # Two runs side by side, as two threads would read.
    read.clear()
    for i in range(4):
      found.record(i)
      found.record(i + 4)
    self.assertEqual(read, [0, 2, 1, 3])
    # What was asked for last stays.
    read.clear()
    for i in (8, 10, 8, 0, 8):
      found.record(i)
    self.assertEqual(read, [4, 5, 0])

  def test_threads_read_one_after_another(self):
    self.write('a.parquet', {'image': structs(), 'caption': texts()}, 2)
    found = parquet_images.ParquetImages(self.root)
    file = found._files[0]
    reading = []

    class Slow:
      def read_row_group(self, g, columns):
        reading.append(g)
        time.sleep(0.002)
        alone = len(reading) == 1
        reading.remove(g)
        assert alone
        return file.read_row_group(g, columns=columns)

    found._files[0] = Slow()
    order = np.random.default_rng(0).integers(0, N, 60).tolist()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
      for i, record in zip(order, pool.map(found.record, order), strict=True):
        self.assertEqual(record.captions, (f'caption {i}',))

  @parameterized.parameters(
    ({'pic': structs(), 'caption': texts()}, {}, 'no column image or img'),
    (
      {'image': structs(), 'alt': texts()},
      {},
      r'it has image .*, alt \(string',
    ),
    ({'image': structs(), 'caption': texts()}, {'image': 'x'}, 'no column x;'),
    (
      {'image': texts(), 'caption': texts()},
      {},
      'image is of type string; exp',
    ),
    (
      {'image': structs(), 'caption': pa.array(range(N))},
      {},
      'caption is of type int64; expected string, or a list of string',
    ),
    (
      {'image': structs(), 'text': texts()},
      {'caption': 'image'},
      'image is of type struct.*; expected string',
    ),
    (
      {'image': structs([]), 'caption': pa.array([], pa.string())},
      {},
      'no rows',
    ),
  )
  def test_wrong_columns(self, columns, options, message):
    path = self.write('a.parquet', columns)
    with self.assertRaisesRegex(errors.UserError, message):
      parquet_images.ParquetImages(path, **options)

  def test_wrong_files(self):
    path = self.write('a.parquet', {'image': structs(), 'caption': texts()})
    os.truncate(path, os.path.getsize(path) - 3)
    with self.assertRaisesRegex(errors.UserError, 'cannot be read as Parquet'):
      parquet_images.ParquetImages(path)
    absent = os.path.join(self.root, 'absent.parquet')
    with self.assertRaisesRegex(
      errors.UserError, 'absent.parquet names no file'
    ):
      parquet_images.ParquetImages(absent)

  def test_a_row_group_too_large_to_hold(self):
    path = self.write('a.parquet', {'image': structs(), 'caption': texts()})
    with (
      absltest.mock.patch.object(parquet_images, '_LARGEST', 100),
      self.assertRaisesRegex(errors.UserError, 'fewer rows a group'),
    ):
      parquet_images.ParquetImages(path)


if __name__ == '__main__':
  absltest.main()
