"""Folders of images: with a table of captions, and one a class."""

import csv
import io
import json
import os

from absl.testing import absltest
from absl.testing import parameterized

from saejax import errors
from saejax.data import class_folders
from saejax.data import folders
from saejax.data import prompts
from saejax.data import records
from tests.data import pictures


def image(i: int) -> bytes:
  return pictures.encode(pictures.picture(i, (12, 8)), 'PNG')


class FolderCase(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.root = self.create_tempdir().full_path

  def write(self, name: str, data: bytes | str) -> str:
    return pictures.write(os.path.join(self.root, name), data)


class CaptionFolderTest(FolderCase):
  def setUp(self):
    super().setUp()
    for i in range(4):
      self.write(f'pictures/{i}.png', image(i))

  def jsonl(self, *rows) -> folders.CaptionFolder:
    lines = [r if isinstance(r, str) else json.dumps(r) for r in rows]
    self.write('captions.jsonl', '\n'.join(lines))
    return folders.CaptionFolder(self.root)

  def csv(self, *rows, bom: str = '') -> folders.CaptionFolder:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    self.write('captions.csv', bom + out.getvalue())
    return folders.CaptionFolder(self.root)

  def test_json_lines(self):
    found = pictures.check_reader(
      self,
      self.jsonl(
        {'image': 'pictures/2.png', 'caption': 'two', 'split': 'test'},
        '',
        {'image': 'pictures/0.png', 'caption': ['zéro', 'nil']},
        {'file_name': 'pictures/3.png', 'captions': ['three', None]},
        {'image': 'pictures/1.png', 'text': 'one', 'split': 'validation'},
        {'image': 'pictures/0.png', 'caption': 'nought'},
      ),
      self.root,
    )
    self.assertEqual(
      [r.captions for r in found],
      [('two',), ('zéro', 'nil', 'nought'), ('three', ''), ('one',)],
    )
    self.assertEqual([r.image for r in found], [image(i) for i in (2, 0, 3, 1)])
    self.assertEqual([r.split for r in found], ['test', None, None, 'val'])
    self.assertEqual([r.group for r in found], [0, 1, 2, 3])
    self.assertEqual(found[3].words, {'image': 'pictures/1.png'})

  @parameterized.parameters('', '\ufeff')
  def test_csv(self, bom):
    found = pictures.check_reader(
      self,
      self.csv(
        ('image', 'caption', 'split', 'group'),
        ('pictures/3.png', 'three, "quoted"', 'train', 7),
        ('pictures/1.png', 'two\nlines', '', 12),
        ('pictures/3.png', 'again', 'train', 7),
        ('pictures/0.png', '', 'train', 7),
        bom=bom,
      ),
      self.root,
    )
    self.assertEqual(
      [r.captions for r in found],
      [('three, "quoted"', 'again'), ('two\nlines',), ('',)],
    )
    self.assertEqual([r.group for r in found], [7, 12, 7])
    self.assertEqual([r.split for r in found], ['train', None, 'train'])

  def test_groups_that_are_names_are_numbered(self):
    row = lambda i, **more: {'image': f'pictures/{i}.png', 'text': 'c', **more}
    found = self.jsonl(
      row(0, group='cats'), row(1), row(2, group='cats'), row(3, group=5)
    )
    self.assertEqual([r.group for r in pictures.read_all(found)], [0, 1, 0, 2])

  def test_a_bad_image_is_one_bad_record(self):
    row = lambda name: {'image': name, 'caption': 'c'}
    self.write('pictures/empty.png', b'')
    found = pictures.check_reader(
      self,
      self.jsonl(
        row('pictures/gone.png'),
        row('pictures/0.png'),
        row('pictures/empty.png'),
        row(os.path.join(self.root, 'pictures/1.png')),
        {'image': 'pictures/2.png', 'captions': []},
      ),
      '/nowhere',
    )
    self.assertEqual(
      [isinstance(r, records.RecordError) for r in found],
      [True, False, True, True, True],
    )
    self.assertIn('no image pictures/gone.png', str(found[0]))

  @parameterized.parameters(
    (('{"image": 1',), 'line 1 is not JSON'),
    (
      ({'image': 'a', 'caption': 'c'}, '[]'),
      r'line 2 is \[\]; expected an obj',
    ),
    (({'caption': 'c'},), 'line 1 has no image or file_name; it has caption'),
    (({'image': 'a'},), 'line 1 has no caption or captions or text'),
    (({'image': 3, 'caption': 'c'},), 'image=3; expected a name'),
    (({'image': 'a', 'caption': 3},), r'captions 3; expected a text'),
    (
      ({'image': 'a', 'caption': 'c', 'split': 'trian'},),
      "split='trian'; expected one of train",
    ),
    (({'image': 'a', 'caption': 'c', 'split': ['t']},), r"split=\['t'\]; exp"),
    (
      (
        {'image': 'a', 'caption': 'c', 'split': 'train'},
        {'image': 'a', 'caption': 'd', 'split': 'test'},
      ),
      "line 2 has split='test' for a, which had 'train' before",
    ),
    (
      (
        {'image': 'a', 'caption': 'c', 'split': 'train', 'group': 'g'},
        {'image': 'b', 'caption': 'd', 'split': 'test', 'group': 'g'},
      ),
      "the group 'g' is in two splits, train and test",
    ),
    ((), 'captions.jsonl has no rows'),
    (({'image': 'a', 'caption': 'c'},), 'holds none of the images'),
  )
  def test_wrong_lines(self, rows, message):
    with self.assertRaisesRegex(errors.UserError, message):
      self.jsonl(*rows)

  def test_wrong_csv(self):
    for text, message in (
      (
        'image;caption\na;b\n',
        'line 2 has no image or file_name; it has image;',
      ),
      ('image,caption\na,"b" c\n', 'cannot be read'),
      (b'image,caption\na,\xff\xfe\n', 'cannot be read'),
      ('image,caption\n', 'has no rows'),
      ('', 'has no rows'),
    ):
      self.write('captions.csv', text)
      with self.assertRaisesRegex(errors.UserError, message):
        folders.CaptionFolder(self.root)

  def test_wrong_folders(self):
    with self.assertRaisesRegex(errors.UserError, 'holds no table of captions'):
      folders.CaptionFolder(self.root)
    with self.assertRaisesRegex(errors.UserError, 'is not there; expected a'):
      folders.CaptionFolder(os.path.join(self.root, 'absent'))
    self.write('captions.csv', '')
    self.write('metadata.jsonl', '')
    with self.assertRaisesRegex(
      errors.UserError, 'holds captions.csv and metadata.jsonl; expected one of'
    ):
      folders.CaptionFolder(self.root)


class ClassFoldersTest(FolderCase):
  def plant(self, *names: str) -> None:
    for i, name in enumerate(names):
      self.write(name, image(i))

  def test_splits(self):
    self.plant('val/n02/x.JPG', 'train/n02/b.png', 'train/n01/a.jpeg')
    self.plant('train/n02/a.webp', 'test/n03/t.jpg')
    self.write('train/n02/notes.txt', 'no image')
    self.write('train/n02/.hidden.jpg', 'no image')
    found = pictures.check_reader(
      self, class_folders.ClassFolders(self.root), self.root
    )
    self.assertEqual(
      [(r.split, r.words['image'], r.label, r.group) for r in found],
      [
        ('train', 'n01/a.jpeg', 0, 0),
        ('train', 'n02/a.webp', 1, 1),
        ('train', 'n02/b.png', 1, 2),
        ('val', 'n02/x.JPG', 1, 3),
        ('test', 'n03/t.jpg', 2, 4),
      ],
    )
    self.assertEqual(found[2].image, image(1))

  def test_no_splits_and_names_in_words(self):
    self.plant('great_white_shark/1.jpg', 'train/2.jpg')
    found = class_folders.ClassFolders(self.root)
    first, second = pictures.check_reader(self, found, self.root)
    self.assertEqual(found.about['classes'], ['great white shark', 'train'])
    self.assertEqual([first.split, second.split], [None, None])
    self.assertLen(first.captions, len(prompts.TEMPLATES))
    for caption, template in zip(
      first.captions, prompts.TEMPLATES, strict=True
    ):
      self.assertEqual(caption, template.format('great white shark'))

  @parameterized.parameters(
    ('names.json', '{"n2": "dog", "n1": "cat, felid", "n9": "cow"}'),
    ('names.json', '["cat", "dog"]'),
    ('names.txt', 'n2 dog\nn1 cat, house cat\n\n'),
    ('names.txt', 'n1\tcat\nn2\tdog\n'),
    ('names.txt', 'cat\ndog\n'),
    ('names.txt', '\ufeffcat, house cat\ndog\n'),
  )
  def test_names(self, file, content):
    self.plant('n1/1.jpg', 'n2/2.jpg')
    found = class_folders.ClassFolders(
      self.root, names=self.write(file, content), templates='one {}|two {} !'
    )
    self.assertEqual(found.about['classes'], ['cat', 'dog'])
    self.assertEqual(found.about['class_folders'], ['n1', 'n2'])
    self.assertEqual(found.record(1).captions, ('one dog', 'two dog !'))
    self.assertEqual(
      found.record(0).words, {'image': 'n1/1.jpg', 'class': 'cat'}
    )

  @parameterized.parameters(
    ('names.json', '{"n1": "cat"}', r'names no class n2 \(1 of 2'),
    ('names.json', '{"n1": "cat", "n2": 2}', 'names no class n2'),
    ('names.json', '["cat"]', 'has 1 names for 2 class folders'),
    ('names.json', '[', 'is not JSON'),
    ('names.txt', 'cat\ndog\ncow\n', 'has 3 names for 2 class folders'),
    ('names.txt', '', 'is empty; expected a class name'),
    ('names.txt', b'\xff\xfe\xfd', 'is not UTF-8 text'),
  )
  def test_wrong_names(self, file, content, message):
    self.plant('n1/1.jpg', 'n2/2.jpg')
    path = self.write(file, content)
    with self.assertRaisesRegex(errors.UserError, message):
      class_folders.ClassFolders(self.root, names=path)

  def test_wrong_folders(self):
    absent = os.path.join(self.root, 'absent')
    with self.assertRaisesRegex(errors.UserError, 'folder of class folders'):
      class_folders.ClassFolders(absent)
    self.plant('1.jpg')
    with self.assertRaisesRegex(errors.UserError, '0 class folders and no im'):
      class_folders.ClassFolders(self.root)
    self.write('n1/1.txt', '')
    with self.assertRaisesRegex(errors.UserError, '1 class folders and no im'):
      class_folders.ClassFolders(self.root)
    self.plant('n1/1.jpg')
    with self.assertRaisesRegex(errors.UserError, 'absent cannot be opened'):
      class_folders.ClassFolders(self.root, names=absent)

  def test_an_image_that_vanishes(self):
    self.plant('n1/1.jpg', 'n1/2.jpg')
    found = class_folders.ClassFolders(self.root)
    os.remove(os.path.join(self.root, 'n1', '1.jpg'))
    first, second = pictures.check_reader(self, found, self.root)
    self.assertIsInstance(first, records.RecordError)
    self.assertEqual(second.image, image(1))


class PromptsTest(FolderCase):
  def test_default(self):
    self.assertEqual(prompts.read(None), prompts.TEMPLATES)
    self.assertLen(set(prompts.TEMPLATES), len(prompts.TEMPLATES))
    self.assertTrue(all(t.count('{}') == 1 for t in prompts.TEMPLATES))

  def test_file(self):
    path = self.write('t.txt', 'a {}.\n\n {x} {} in ice \n')
    found = prompts.read(path)
    self.assertEqual(found, ('a {}.', '{x} {} in ice'))
    self.assertEqual(
      prompts.fill(found, 'b{}d'), ('a b{}d.', '{x} b{}d in ice')
    )

  @parameterized.parameters(
    ('absent.txt', 'is neither a file nor templates such as'),
    ('a {}|no slot', "'no slot' must hold {} once"),
    ('{} and {}', 'must hold {} once'),
  )
  def test_mistakes(self, value, message):
    with self.assertRaisesRegex(errors.UserError, message):
      prompts.read(value)


if __name__ == '__main__':
  absltest.main()
