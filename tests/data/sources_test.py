"""Files of a data set: names that tell a split, patterns, what is absent."""

import os

from absl.testing import absltest
from absl.testing import parameterized

from saejax.data import records
from saejax.data import runs
from saejax.data import sources
from tests.data import pictures


class NamesTest(parameterized.TestCase):
  @parameterized.parameters(
    ('x/captions_train2017.json', 'train'),
    ('x/captions_val2014.json', 'val'),
    ('train-00000-of-00002.parquet', 'train'),
    ('cc3m-Validation-0001.tar', 'val'),
    ('x/test/0000.parquet', 'test'),
    ('x/test/train.tar', 'train'),
    ('train_test.json', None),
    ('x/my_test/0000.parquet', None),
    ('latest_values.json', None),
    ('00000.tar', None),
  )
  def test_split_named(self, path, expected):
    self.assertEqual(sources.split_named(path), expected)

  def test_names_that_are_no_text(self):
    name = os.fsdecode(b'caf\xe9.jpg')
    self.assertEqual(sources.printable(name), 'caf\\udce9.jpg')
    self.assertEqual(sources.printable('café 猫.jpg'), 'café 猫.jpg')
    self.assertEqual(sources.names(['/a/b.tar', 'c/d/']), ['b.tar', 'd'])


class FilesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.root = self.create_tempdir().full_path

  def write(self, name: str) -> str:
    return pictures.write(os.path.join(self.root, name), b'x')

  def test_a_path_may_hold_what_joins_paths(self):
    path = self.write('a+b')
    self.assertEqual(sources.listed(path), [path])
    self.assertEqual(sources.listed(f'{path}+c'), [*path.split('+'), 'c'])
    home = os.path.expanduser('~')
    self.assertEqual(
      sources.listed('~/absent+~/gone'), [f'{home}/absent', f'{home}/gone']
    )

  @parameterized.parameters(
    ('{a,b}{08..10}', ['a08', 'a09', 'a10', 'b08', 'b09', 'b10']),
    ('{8..10}', ['8', '9', '10']),
    ('{b,a}', ['b', 'a']),
    ('*0', ['10', 'a10', 'b10']),
    ('{b0,1}*', ['b08', 'b09', '10']),
  )
  def test_patterns(self, pattern, expected):
    for name in ('8', '9', '10', 'a', 'b'):
      self.write(name)
    for name in ('a08', 'a09', 'a10', 'b08', 'b09', 'b10'):
      self.write(name)
    found = sources.matching(os.path.join(self.root, pattern), '.tar')
    self.assertEqual([os.path.basename(p) for p in found], expected)

  def test_a_folder_of_an_odd_name(self):
    for name in ('2.tar', '1.tar', '3.txt'):
      self.write(f'[set]/{name}')
    found = sources.matching(os.path.join(self.root, '[set]'), '.tar')
    self.assertEqual([os.path.basename(p) for p in found], ['1.tar', '2.tar'])

  def test_images_are_found_in_the_first_folder_that_has_them(self):
    for name in ('one/a', 'two/b', 'two/a'):
      self.write(name)
    folders = [os.path.join(self.root, f) for f in ('one', 'two')]
    files = sources.ImageFiles(folders)
    self.assertEqual(files.find('a'), os.path.join(folders[0], 'a'))
    self.assertEqual(files.find('b'), os.path.join(folders[1], 'b'))
    for absent in ('c', '', os.path.join(folders[0], 'a')):
      self.assertIsNone(files.find(absent))
      with self.assertRaisesRegex(records.RecordError, 'There is no image'):
        files.read(absent)
    # Some is enough: which ones are gone is told record by record.
    self.assertTrue(files.holds_some(['c'] * 10 + ['a'] + ['c'] * 10))
    self.assertFalse(files.holds_some(['c'] * 10))


class RunsTest(absltest.TestCase):
  def test_places(self):
    found = runs.Runs([2, 0, 3], ['val', 'test', None])
    self.assertLen(found, 5)
    self.assertEqual(
      [found.at(i) for i in range(5)], [(0, 0), (0, 1), (2, 0), (2, 1), (2, 2)]
    )
    self.assertEqual(found.counts(), {'none': 3, 'val': 2})
    for beyond in (-1, 5):
      with self.assertRaisesRegex(IndexError, 'outside 0…4'):
        found.at(beyond)


if __name__ == '__main__':
  absltest.main()
