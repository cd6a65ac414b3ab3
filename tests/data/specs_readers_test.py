"""Specs: every kind by its name, and what is said of wrong ones."""

import dataclasses
import io
import os
import tarfile

from absl.testing import absltest
from absl.testing import parameterized
import pyarrow as pa
import pyarrow.parquet as pq

from saejax import errors
from saejax.data import prompts
from saejax.data import specs
from tests.data import pictures

IMAGE = pictures.encode(pictures.picture(0, (12, 8)))


def plant(root: str) -> None:
  """One small data set of each kind, each with an image `a, b.jpg`."""
  at = lambda *parts: os.path.join(root, *parts)
  pictures.write(at('images', 'a, b.jpg'), IMAGE)
  pictures.write(at('images', 'c.jpg'), IMAGE)
  names = ['a, b.jpg', 'c.jpg']
  pictures.write_json(
    at('val.json'),
    {
      'images': [{'id': i, 'file_name': n} for i, n in enumerate(names)],
      'annotations': [{'image_id': i, 'caption': 'said'} for i in range(2)],
    },
  )
  karpathy = [
    {'filename': n, 'split': s, 'sentences': [{'raw': 'said'}]}
    for n, s in zip(names, ('train', 'test'), strict=True)
  ]
  pictures.write_json(at('karpathy.json'), {'images': karpathy})
  pictures.write(
    at('images', 'captions.csv'),
    'image,caption,split\n"a, b.jpg",said,train\nc.jpg,said,test\n',
  )
  pictures.write(at('classes', 'x', '1.jpg'), IMAGE)
  pictures.write(at('classes', 'y', '1.jpg'), IMAGE)
  out = io.BytesIO()
  with tarfile.open(fileobj=out, mode='w') as made:
    for name, data in (
      ('0.jpg', IMAGE),
      ('0.txt', b'said'),
      ('1.jpg', IMAGE),
      ('1.txt', b'said'),
    ):
      info = tarfile.TarInfo(name)
      info.size = len(data)
      made.addfile(info, io.BytesIO(data))
  pictures.write(at('tars', 'train-0.tar'), out.getvalue())
  table = pa.table({'pic': [IMAGE] * 2, 'alt': ['said'] * 2})
  pq.write_table(table, at('a.parquet'))


SPECS = {
  'coco': 'coco:annotations={root}/val.json,images={root}/images',
  'karpathy': 'karpathy:annotations={root}/karpathy.json,images={root}/images',
  'folder': 'folder:path={root}/images',
  'classes': 'classes:path={root}/classes,templates=so, {{}}',
  'webdataset': 'webdataset:path={root}/tars/train-{{0..0}}.tar',
  'parquet': 'parquet:path={root}/a.parquet,image=pic,caption=alt',
}


class ReadersTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.root = self.create_tempdir().full_path
    plant(self.root)

  def parse(self, name: str, more: str = ''):
    return specs.parse(SPECS[name].format(root=self.root) + more)

  @parameterized.parameters(*SPECS)
  def test_every_kind(self, name):
    found = self.parse(name)
    self.assertEqual(found.about['name'], name)
    records = pictures.check_reader(self, found, self.root)
    self.assertLen(records, 2)
    for record in records:
      self.assertEqual(record.image, IMAGE)
    said = [r.captions for r in records]
    expected = (
      [('so, x',), ('so, y',)] if name == 'classes' else [('said',)] * 2
    )
    self.assertEqual(said, expected)

  @parameterized.parameters(*SPECS)
  def test_common_options(self, name):
    found = self.parse(name, ',limit=1,splits=hash,licence=CC BY 4.0, or so')
    self.assertLen(found, 1)
    self.assertIsNone(found.record(0).split)
    self.assertEqual(found.about['licence'], 'CC BY 4.0, or so')
    self.assertEqual(found.about['splits'], {'none': 1})

  def test_one_split(self):
    for name in ('karpathy', 'folder'):
      found = self.parse(name, ',split=test')
      self.assertEqual(found.about['splits'], {'test': 1})
      self.assertEqual(found.record(0).words['image'], 'c.jpg')
      with self.assertRaisesRegex(errors.UserError, 'no records of val'):
        self.parse(name, ',split=train+val')
    self.assertEqual(self.parse('coco').about['splits'], {'val': 2})

  def test_default_templates(self):
    found = specs.parse(f'classes:path={self.root}/classes')
    self.assertEqual(
      found.record(0).captions, prompts.fill(prompts.TEMPLATES, 'x')
    )

  @parameterized.parameters(
    (
      'cocoa:path=a',
      'no kind of data set that is known: scenes, coco, karpathy, folder, '
      'classes, webdataset, parquet, tfds are',
    ),
    ('', 'no kind of data set'),
    ('coco:annotations=a.json', 'lacks images='),
    ('coco', 'lacks annotations= and images='),
    ('folder:path=', 'lacks path='),
    ('folder:root=a', "'root' is unknown; known are limit, licence, split"),
    ('folder:path=a,limit=few', 'limit=few is not of the right type'),
    ('folder:path=a,path=b', 'gives path twice'),
    ('folder:a/b', 'is not a list of key=value pairs'),
    ('folder:path=/absent/folder', 'dataset=folder:path=.*is not there'),
    ('tfds:split=train', 'lacks name='),
    ('tfds:name=a,download=true', 'download=true is not of the right type'),
    ('tfds:name=absent,data_dir=/absent', 'neither a prepared TFDS folder'),
  )
  def test_mistakes(self, spec, message):
    with self.assertRaisesRegex(errors.UserError, message):
      specs.parse(spec)


class ScenesTest(parameterized.TestCase):
  def test_defaults_and_values(self):
    self.assertEqual(specs.parse('scenes'), specs.SceneSet())
    self.assertEqual(specs.parse('scenes:'), specs.SceneSet())
    found = specs.parse(
      'scenes:n=7,captions=full,splits=0.5/0.25/0.25,texts=1,'
    )
    self.assertEqual(
      dataclasses.asdict(found),
      {
        'n': 7,
        'seed': 1,
        'captions': 'full',
        'texts': 1,
        'splits': (0.5, 0.25, 0.25),
      },
    )

  @parameterized.parameters(
    ('scenes:n=0', 'n and texts must be at least 1'),
    ('scenes:n=many', 'n=many is not of the right type'),
    ('scenes:captions=none', "captions='none' is unknown"),
    ('scenes:splits=0.5/0.5', 'three non-negative numbers'),
    ('scenes:limit=3', "'limit' is unknown; known are n, seed, captions"),
    ('scenes:licence=x', "'licence' is unknown"),
    ('scenes:4096', 'is not a list of key=value pairs'),
  )
  def test_mistakes(self, spec, message):
    with self.assertRaisesRegex(errors.UserError, message):
      specs.parse(spec)


if __name__ == '__main__':
  absltest.main()
