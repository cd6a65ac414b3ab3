"""Data sets of TFDS: prepared here without TensorFlow, and read back."""

import io
import json
import os
import shutil
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow_datasets as tfds

from saejax import errors
from saejax.data import prompts
from saejax.data import records
from saejax.data import tfds_images
from tests.data import pictures

CLASSES = ['tabby_cat', 'dog']


def image(i: int) -> bytes:
  return pictures.encode(pictures.picture(i, (12, 8)), 'PNG')


def captions(i: int) -> list[str]:
  return [f'caption {j} of {i} é' for j in range(1 + i % 3)]


class TinyPairs(tfds.core.GeneratorBasedBuilder):
  """Images with captions in a sequence of dictionaries, as COCO's are."""

  VERSION = tfds.core.Version('1.2.0')
  SPLITS = {'test': (0, 2), 'train': (2, 9), 'validation': (9, 12)}  # noqa: RUF012

  def _info(self):
    text = tfds.features.Text()
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(),
          'image/id': np.int64,
          'image/filename': text,
          'captions': tfds.features.Sequence({'id': np.int64, 'text': text}),
          'alt': tfds.features.Sequence(text),
          'title': text,
          'label': tfds.features.ClassLabel(names=CLASSES),
        }
      ),
      citation='@article{tiny}',
      license='CC0-1.0',
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {s: self._generate_examples(*r) for s, r in self.SPLITS.items()}

  def _generate_examples(self, start, stop):
    for i in range(start, stop):
      yield (
        i,
        {
          'image': io.BytesIO(image(i)),
          'image/id': i,
          'image/filename': f'{i}.png',
          'captions': [{'id': 0, 'text': t} for t in captions(i)],
          'alt': ['alt', f'{i}'],
          'title': f'title {i}',
          'label': i % 2,
        },
      )


class TinyClasses(TinyPairs):
  """Images with labels, and names of splits that tell nothing."""

  SPLITS = {'night': (0, 4), 'day': (4, 6)}  # noqa: RUF012

  def _info(self):
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(),
          'label': tfds.features.ClassLabel(names=CLASSES),
        }
      ),
    )

  def _generate_examples(self, start, stop):
    for i in range(start, stop):
      label = -1 if i == 5 else i % 2
      yield i, {'image': io.BytesIO(image(i)), 'label': label}


class TinyNumbers(TinyPairs):
  def _info(self):
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict({'x': np.int64})
    )

  def _generate_examples(self, start, stop):
    for i in range(start, stop):
      yield i, {'x': i}


class TfdsTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    # absl's own temporary folders belong to one test.
    temporary = tempfile.TemporaryDirectory()
    cls.addClassCleanup(temporary.cleanup)
    cls.root = temporary.name
    cls.folders = {}
    for name in ('tiny_pairs', 'tiny_classes', 'tiny_numbers'):
      builder = tfds.builder(name, data_dir=cls.root)
      builder.download_and_prepare(file_format='array_record')
      cls.folders[name] = str(builder.data_path)

  def check(self, name: str, **options) -> list:
    self.found = tfds_images.TfdsImages(name, **options)
    return pictures.check_reader(self, self.found, self.root)

  @parameterized.parameters(
    'tiny_pairs', 'tiny_pairs:1.2.0', '{root}/tiny_pairs/1.2.0',
    '{root}/tiny_pairs',
  )  # fmt: skip
  def test_captions_by_name_and_by_folder(self, name):
    found = self.check(name.format(root=self.root), data_dir=self.root)
    self.assertEqual(
      [r.split for r in found], ['train'] * 7 + ['val'] * 3 + ['test'] * 2
    )
    ids = [r.words['image/id'] for r in found]
    self.assertEqual(sorted(ids[:7]), list(range(2, 9)))
    self.assertEqual(sorted(ids[7:]), [0, 1, 9, 10, 11])
    for row, (i, record) in enumerate(zip(ids, found, strict=True)):
      self.assertEqual(record.image, image(i))
      self.assertEqual(record.captions, tuple(captions(i)))
      self.assertEqual(record.label, i % 2)
      self.assertEqual(record.group, row)
      self.assertEqual(record.words['image/filename'], f'{i}.png')
    self.assertEqual(found[7].words['tfds_split'], 'validation')
    self.assertEqual(found[7].words['row'], 0)

  def test_says_where_it_comes_from(self):
    about = tfds_images.TfdsImages(self.folders['tiny_pairs']).about
    self.assertEqual(about['name'], 'tfds/tiny_pairs/1.2.0')
    self.assertEqual(about['splits'], {'test': 2, 'train': 7, 'val': 3})
    self.assertEqual(about['licence'], 'CC0-1.0')
    self.assertEqual(about['citation'], '@article{tiny}')
    self.assertEqual(about['classes'], CLASSES)
    self.assertNotIn('templates', about)

  @parameterized.parameters(
    ('validation', ['val'] * 3),
    ('test+train[:2]', ['test'] * 2 + ['train'] * 2),
    ('train[50%:]', ['train'] * 3),
  )
  def test_splits_are_those_of_tfds(self, split, expected):
    found = self.check(self.folders['tiny_pairs'], split=split)
    self.assertEqual([r.split for r in found], expected)

  @parameterized.parameters(
    ('alt', lambda i: ('alt', f'{i}')),
    ('title', lambda i: (f'title {i}',)),
    ('captions/text', lambda i: tuple(captions(i))),
  )
  def test_another_feature_of_captions(self, caption, expected):
    found = self.check(self.folders['tiny_pairs'], caption=caption)
    for record in found:
      self.assertEqual(record.captions, expected(record.words['image/id']))

  def test_labels_are_told_by_prompts(self):
    found = self.check(self.folders['tiny_classes'], templates='{}|the {}')
    self.assertLen(found, 6)
    self.assertEqual({self.found.split(i) for i in range(6)}, {None})
    self.assertEqual(self.found.about['templates'], ['{}', 'the {}'])
    bare = [r for r in found if isinstance(r, records.RecordError)]
    self.assertLen(bare, 1)
    self.assertIn('no label', str(bare[0]))
    names = {0: 'tabby cat', 1: 'dog'}
    for record in found:
      if record is not bare[0]:
        name = names[record.label]
        self.assertEqual(record.captions, (name, f'the {name}'))
    default = tfds_images.TfdsImages(self.folders['tiny_classes'], split='day')
    self.assertEqual(default.about['templates'], list(prompts.TEMPLATES))

  def test_downloads_only_when_told(self):
    data_dir = os.path.join(self.root, 'fresh')
    with self.assertRaisesRegex(errors.UserError, 'add download=yes'):
      tfds_images.TfdsImages('tiny_pairs', data_dir=data_dir)
    self.assertFalse(os.path.exists(data_dir))
    found = tfds_images.TfdsImages(
      'tiny_pairs', data_dir=data_dir, download=True
    )
    self.assertLen(found, 12)

  def test_the_newest_version_is_taken(self):
    data_dir = os.path.join(self.root, 'versions')
    for version in ('1.2.0', '1.10.0', '1.9.0', '2.0.0.incompleteXYZ'):
      folder = os.path.join(data_dir, 'tiny_pairs', version)
      shutil.copytree(self.folders['tiny_pairs'], folder)
      path = os.path.join(folder, 'dataset_info.json')
      with open(path) as f:
        info = json.load(f)
      pictures.write_json(path, info | {'version': version[:6].rstrip('.')})
    found = tfds_images.TfdsImages('tiny_pairs', data_dir=data_dir)
    self.assertEqual(found.about['name'], 'tfds/tiny_pairs/1.10.0')

  def test_a_damaged_file_gives_record_errors(self):
    folder = os.path.join(self.root, 'damaged', '1.2.0')
    shutil.copytree(self.folders['tiny_pairs'], folder)
    name = 'tiny_pairs-train.array_record-00000-of-00001'
    path = os.path.join(folder, name)
    with open(path, 'rb') as f:
      at = f.read().find(b'PNG')
    self.assertGreater(at, 0)
    with open(path, 'r+b') as f:
      f.seek(at)
      f.write(b'\xff' * 40)
    found = pictures.read_all(tfds_images.TfdsImages(folder))
    bad = [isinstance(r, records.RecordError) for r in found]
    self.assertTrue(any(bad[:7]))
    self.assertFalse(any(bad[7:]))

  @parameterized.parameters(
    ('tiny_pairs', {'split': 'nope'}, "split=nope cannot be read: .*'nope'"),
    ('tiny_pairs', {'image': 'title'}, 'no feature of image title; it has'),
    ('tiny_pairs', {'caption': 'label'}, 'no feature of text label; it has'),
    ('tiny_numbers', {}, 'no feature of image; it has x'),
    ('tiny_classes', {'caption': 'text'}, 'no feature of text text'),
    ('tiny_classes', {'templates': 'none'}, 'neither a file nor templates'),
    ('tiny_pairs', {'split': 'train[:0]'}, r'split=train\[:0\] cannot be'),
  )
  def test_mistakes(self, name, options, message):
    with self.assertRaisesRegex(errors.UserError, message):
      tfds_images.TfdsImages(self.folders[name], **options)

  def test_what_needs_tensorflow_says_so(self):
    folder = os.path.join(self.root, 'records', '1.2.0')
    shutil.copytree(self.folders['tiny_pairs'], folder)
    path = os.path.join(folder, 'dataset_info.json')
    with open(path) as f:
      info = json.load(f)
    pictures.write_json(path, info | {'fileFormat': 'tfrecord'})
    with self.assertRaisesRegex(
      errors.UserError, 'as tfrecord, which cannot be read without TensorFlow'
    ):
      tfds_images.TfdsImages(folder)
    if 'tensorflow' not in sys.modules:
      with self.assertRaisesRegex(
        errors.UserError, 'cannot prepare coco_captions without tensorflow'
      ):
        tfds_images.TfdsImages(
          'coco_captions', data_dir=self.root, download=True
        )

  def test_an_unknown_name(self):
    with self.assertRaisesRegex(
      errors.UserError, 'cannot prepare no_such_thing: Dataset no_such_thing'
    ):
      tfds_images.TfdsImages('no_such_thing', data_dir=self.root, download=True)

  def test_a_folder_with_a_broken_description(self):
    folder = os.path.join(self.root, 'broken')
    shutil.copytree(self.folders['tiny_pairs'], folder)
    pictures.write(os.path.join(folder, 'features.json'), '{')
    with self.assertRaisesRegex(errors.UserError, 'cannot be read as a prep'):
      tfds_images.TfdsImages(folder)


if __name__ == '__main__':
  absltest.main()
