"""COCO's annotations and Karpathy's, written small and read back."""

import json
import os

from absl.testing import absltest
from absl.testing import parameterized

from saejax import errors
from saejax.data import coco
from saejax.data import records
from tests.data import pictures

LICENCES = [
  {'id': 1, 'name': 'Attribution License', 'url': 'http://a'},
  {'id': 4, 'name': 'No known restrictions', 'url': 'http://b'},
]


def official(first: int, n: int) -> dict:
  """Annotations of n images, with captions out of order."""
  ids = [first + 10 * i for i in range(n)]
  return {
    'info': {'description': 'Tiny COCO', 'year': 2026, 'url': 'http://c'},
    'licenses': LICENCES,
    'images': [
      {'id': i, 'file_name': f'{i:012d}.jpg', 'license': 1 if i % 20 else 4}
      for i in ids
    ],
    'annotations': [
      {'id': 100 * i + j, 'image_id': i, 'caption': f'caption {j} of {i}'}
      for j in range(2)
      for i in reversed(ids)
    ],
  }


class CocoTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.root = self.create_tempdir().full_path
    self.content = {'train': official(100, 5), 'val': official(500, 3)}
    self.annotations, self.folders = [], []
    for split, content in self.content.items():
      folder = os.path.join(self.root, f'{split}2017')
      for image in content['images']:
        pictures.write(
          os.path.join(folder, image['file_name']), self.image(image['id'])
        )
      self.folders.append(folder)
      self.annotations.append(self.annotate(f'captions_{split}2017', content))

  def image(self, key: int) -> bytes:
    return pictures.encode(pictures.picture(key, (24, 16)))

  def annotate(self, name: str, content) -> str:
    return pictures.write_json(os.path.join(self.root, f'{name}.json'), content)

  def test_reads_every_image_in_order(self):
    found = pictures.check_reader(
      self, coco.Coco(self.annotations, self.folders), self.root
    )
    keys = [100, 110, 120, 130, 140, 500, 510, 520]
    self.assertEqual([r.group for r in found], keys)
    self.assertEqual([r.split for r in found], ['train'] * 5 + ['val'] * 3)
    for key, record in zip(keys, found, strict=True):
      self.assertEqual(record.image, self.image(key))
      self.assertEqual(
        record.captions, (f'caption 0 of {key}', f'caption 1 of {key}')
      )
      self.assertEqual(
        record.words,
        {
          'image': f'{key:012d}.jpg',
          'id': key,
          'licence': LICENCES[bool(key % 20 == 0)]['name'],
        },
      )
      self.assertIsNone(record.label)

  def test_says_where_it_comes_from(self):
    about = coco.Coco(self.annotations, self.folders).about
    self.assertEqual(about['splits'], {'train': 5, 'val': 3})
    self.assertEqual(
      about['image_licences'],
      {'Attribution License': 3, 'No known restrictions': 5},
    )
    self.assertEqual(
      about['licence'], 'Attribution License; No known restrictions'
    )
    self.assertEqual(about['citation'], 'Tiny COCO, 2026, http://c')
    self.assertEqual(
      about['sources'],
      [os.path.basename(p) for p in self.annotations + self.folders],
    )

  def test_a_bad_image_is_one_bad_record(self):
    os.remove(os.path.join(self.folders[0], f'{110:012d}.jpg'))
    pictures.write(os.path.join(self.folders[0], f'{120:012d}.jpg'), b'')
    self.content['train']['annotations'] = [
      a for a in self.content['train']['annotations'] if a['image_id'] != 130
    ]
    self.annotate('captions_train2017', self.content['train'])
    found = pictures.check_reader(
      self, coco.Coco(self.annotations, self.folders), self.root
    )
    broken = {
      i: str(r)
      for i, r in enumerate(found)
      if isinstance(r, records.RecordError)
    }
    self.assertEqual(sorted(broken), [1, 2, 3])
    self.assertIn('no image 000000000110.jpg', broken[1])
    self.assertIn('no bytes', broken[2])
    self.assertIn('no caption', broken[3])

  def test_no_split_and_no_licence(self):
    del self.content['val']['licenses'], self.content['val']['info']
    path = self.annotate('mine', self.content['val'])
    found = coco.Coco([path], self.folders[1:])
    self.assertIsNone(found.record(0).split)
    self.assertNotIn('licence', found.record(0).words)
    self.assertEqual(found.about['splits'], {'none': 3})
    self.assertEqual(found.about['licence'], 'unknown')
    self.assertEqual(found.about['citation'], 'unknown')

  @parameterized.parameters(
    ([], r'no list .images. \(list of 0\); expected COCO caption annotations'),
    ({'images': []}, "no list 'annotations'"),
    ({'images': [3], 'annotations': []}, "no list 'images'"),
    ({'images': [], 'annotations': [], 'licenses': 3}, 'list no image'),
    (
      {'images': [{'id': 'a', 'file_name': 'a'}], 'annotations': []},
      "image 0 has id='a'; expected int",
    ),
    (
      {'images': [{'id': 1}], 'annotations': []},
      'image 1 has file_name=None; expected str',
    ),
    (
      {'images': [{'id': 1, 'file_name': 'a'}] * 2, 'annotations': []},
      'lists the image 1 twice',
    ),
    (
      {'images': [], 'annotations': [{'image_id': 7, 'caption': 'c'}]},
      'annotation 0 is of image 7, which is not listed',
    ),
    (
      {
        'images': [{'id': 7, 'file_name': 'a'}],
        'annotations': [{'image_id': 7, 'caption': ['c']}],
      },
      r"annotation 0 has caption=\['c'\]; expected str",
    ),
    (
      {'images': [{'id': 1, 'file_name': 'a.jpg'}], 'annotations': []},
      'holds none of the images .* such as a.jpg. Give the folder',
    ),
  )
  def test_wrong_annotations(self, content, message):
    path = self.annotate('wrong', content)
    with self.assertRaisesRegex(errors.UserError, message):
      coco.Coco([path], self.folders)

  def test_wrong_files(self):
    good, folders = self.annotations, self.folders
    torn = pictures.write(os.path.join(self.root, 'torn.json'), '{"images": [')
    absent = os.path.join(self.root, 'absent')
    for annotations, images, message in (
      ([torn], folders, 'torn.json is not JSON .* expected COCO caption'),
      ([absent], folders, r'absent cannot be opened \(No such file'),
      (good, [absent], 'absent is not there; expected a folder of images'),
      (good, [torn], 'torn.json is a file; expected a folder of images'),
      (good, [self.root], 'holds none of the images that were looked for'),
      ([good[0], good[0]], folders, 'is in both .* of one release'),
    ):
      for reader in (coco.Coco, coco.Karpathy):
        if reader is coco.Karpathy and 'expected a folder' not in message:
          continue
        with self.assertRaisesRegex(errors.UserError, message):
          reader(annotations, images)


class KarpathyTest(parameterized.TestCase):
  SPLITS = ('train', 'restval', 'val', 'test', 'train')

  def setUp(self):
    super().setUp()
    self.root = self.create_tempdir().full_path
    self.content = {
      'dataset': 'coco',
      'images': [
        {
          'filepath': 'val2014' if i % 2 else 'train2014',
          'filename': f'{i}.png',
          'imgid': i,
          'cocoid': 1000 - i,
          'split': split,
          'sentences': [
            {'raw': f'Image {i}, as {j} says. ', 'tokens': ['image', str(i)]}
            for j in range(i + 1)
          ],
        }
        for i, split in enumerate(self.SPLITS)
      ],
    }
    for i, image in enumerate(self.content['images']):
      for folder in (image['filepath'], 'flat'):
        pictures.write(
          os.path.join(self.root, folder, image['filename']), self.image(i)
        )

  def image(self, i: int) -> bytes:
    return pictures.encode(pictures.picture(i, (12, 8)), 'PNG')

  def read(self, folder: str = '') -> coco.Karpathy:
    path = os.path.join(self.root, 'dataset_coco.json')
    pictures.write_json(path, self.content)
    return coco.Karpathy([path], [os.path.join(self.root, folder)])

  @parameterized.parameters('', 'flat')
  def test_reads_every_image_in_order(self, folder):
    found = pictures.check_reader(self, self.read(folder), self.root)
    self.assertEqual(
      [r.split for r in found], ['train', 'train', 'val', 'test', 'train']
    )
    for i, record in enumerate(found):
      self.assertEqual(record.image, self.image(i))
      self.assertEqual(record.group, 1000 - i)
      self.assertLen(record.captions, i + 1)
      self.assertEqual(record.captions[i], f'Image {i}, as {i} says. ')
      self.assertEqual(record.words['id'], 1000 - i)
      self.assertEqual(os.path.basename(record.words['image']), f'{i}.png')

  def test_one_image_gone_is_one_bad_record(self):
    os.remove(os.path.join(self.root, 'train2014', '0.png'))
    found = pictures.check_reader(self, self.read(), self.root)
    bad = [isinstance(r, records.RecordError) for r in found]
    self.assertEqual(bad, [True, False, False, False, False])

  def test_flickr_has_neither_folders_nor_coco_ids(self):
    self.content['dataset'] = 'flickr8k'
    for image in self.content['images']:
      del image['filepath'], image['cocoid']
    found = self.read('flat')
    self.assertEqual([r.group for r in pictures.read_all(found)], [*range(5)])
    self.assertNotIn('Lin et al.', found.about['citation'])

  def test_says_whom_to_cite(self):
    citation = self.read().about['citation']
    self.assertIn('Lin et al.', citation)
    self.assertIn('Karpathy and Fei-Fei', citation)

  @parameterized.parameters(
    ('split', 'dev2', "image 2 has split='dev2'; expected one of train"),
    ('split', None, 'image 2 has split=None; expected str'),
    ('cocoid', 'x', "image 2 has id 'x'; expected int"),
    ('filename', 3, 'image 2 has filename=3; expected str'),
    ('sentences', 'said', "image 2 has no list 'sentences'"),
    ('sentences', [{'tokens': []}], 'image 2 has raw=None; expected str'),
  )
  def test_wrong_annotations(self, key, value, message):
    self.content['images'][2][key] = value
    with self.assertRaisesRegex(errors.UserError, message):
      self.read()

  def test_the_other_format_is_told(self):
    self.content = json.loads(json.dumps(official(1, 2)))
    with self.assertRaisesRegex(errors.UserError, 'image 0 has split=None'):
      self.read()


if __name__ == '__main__':
  absltest.main()
