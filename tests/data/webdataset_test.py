"""Tars of samples: read by offset, also when they are damaged."""

import gzip
import io
import json
import os
import tarfile

from absl.testing import absltest
from absl.testing import parameterized

from saejax import errors
from saejax.data import records
from saejax.data import webdataset
from tests.data import pictures


def image(i: int, form: str = 'JPEG') -> bytes:
  return pictures.encode(pictures.picture(i, (24, 16)), form)


def tar(*members: tuple[str, bytes | str], **options) -> bytes:
  out = io.BytesIO()
  with tarfile.open(fileobj=out, mode='w', **options) as made:
    for name, data in members:
      data = data.encode() if isinstance(data, str) else data
      info = tarfile.TarInfo(name)
      info.size = len(data)
      made.addfile(info, io.BytesIO(data))
  return out.getvalue()


def sample(i: int) -> list[tuple[str, bytes | str]]:
  return [(f'{i:04d}.jpg', image(i)), (f'{i:04d}.txt', f'caption {i}\n')]


class WebDatasetTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.root = self.create_tempdir().full_path

  def write(self, name: str, data: bytes) -> str:
    return pictures.write(os.path.join(self.root, name), data)

  def check(self, path: str, **options) -> list:
    self.found = webdataset.WebDataset(os.path.join(self.root, path), **options)
    return pictures.check_reader(self, self.found, self.root)

  @parameterized.parameters(
    'set-{000..002}.tar',
    '*.tar',
    '',
    'set-{000,001,002}.tar',
    'set-00{0..2}.tar',
  )
  def test_samples_of_several_tars(self, path):
    for t in (2, 0, 1):
      members = [m for i in range(3) for m in sample(3 * t + i)]
      self.write(f'set-{t:03d}.tar', tar(*members))
    found = self.check(path)
    self.assertLen(found, 9)
    for i, record in enumerate(found):
      self.assertEqual(record.image, image(i))
      self.assertEqual(record.captions, (f'caption {i}\n',))
      self.assertEqual(record.group, i)
      self.assertEqual(
        record.words, {'tar': f'set-{i // 3:03d}.tar', 'key': f'{i:04d}'}
      )
    self.assertEqual(self.found.about['damaged'], {})
    self.assertEqual(self.found.about['splits'], {'none': 9})

  def test_splits_are_what_names_tell(self):
    self.write('train-0.tar', tar(*sample(0)))
    self.write('validation/0.tar', tar(*sample(1)))
    joined = '+'.join(
      os.path.join(self.root, p) for p in ('validation/0.tar', 'train-0.tar')
    )
    found = webdataset.WebDataset(joined)
    self.assertEqual(
      [(r.split, r.image) for r in pictures.read_all(found)],
      [('val', image(1)), ('train', image(0))],
    )

  @parameterized.parameters(tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
  def test_what_belongs_to_a_sample(self, form):
    long = 'ö' * 120
    self.write(
      'a.tar',
      tar(
        ('a/0.x.y.txt', 'not of 0'),
        ('a/0.txt', 'zero'),
        ('b/0.PNG', image(1, 'PNG')),
        ('a/0.webp', image(0, 'WEBP')),
        ('a/0.json', '{"caption": "not this"}'),
        ('b/0.json', '{"text": ["one", "uno"], "url": "u"}'),
        (f'{long}.jpeg', image(2)),
        (f'{long}.txt', 'two'),
        ('readme.md', 'nothing'),
        format=form,
      ),
    )
    found = self.check('a.tar')
    self.assertEqual(
      [(r.words['key'], r.captions, r.image) for r in found],
      [
        ('a/0', ('zero',), image(0, 'WEBP')),
        ('b/0', ('one', 'uno'), image(1, 'PNG')),
        (long, ('two',), image(2)),
      ],
    )

  def test_bad_samples(self):
    texts = (
      ('txt', b'\xff\xfe'),
      ('json', '{"caption": '),
      ('json', '["caption"]'),
      ('json', '{"title": "t"}'),
      ('json', '{"caption": ["a", 3]}'),
      ('json', '{"caption": null}'),
      ('txt', ''),
    )
    members = [('only.jpg', image(0)), ('said.txt', 'c'), ('nil.jpg', b'')]
    members.append(('nil.txt', 'c'))
    for i, (ending, text) in enumerate(texts):
      members += [(f'{i}.jpg', image(i)), (f'{i}.{ending}', text)]
    self.write('a.tar', tar(*members))
    found = self.check('a.tar')
    for record, message in zip(
      found,
      (
        'a.tar: only has no caption',
        'a.tar: said has no image',
        'no bytes',
        'cannot be read',
        'cannot be read',
        'not an object',
        'no caption or captions or text',
        'not a text',
        'no caption or captions or text',
        None,
      ),
      strict=True,
    ):
      if message:
        self.assertIsInstance(record, records.RecordError)
        self.assertIn(message, str(record))
    # An empty caption is for `check_caption` to refuse.
    self.assertEqual(found[-1].captions, ('',))

  def test_a_key_of_captions(self):
    said = json.dumps({'caption': 'alt text', 'short': 'a cat'})
    self.write('a.tar', tar(('0.jpg', image(0)), ('0.json', said)))
    self.assertEqual(self.check('a.tar')[0].captions, ('alt text',))
    found = self.check('a.tar', caption='short')
    self.assertEqual(found[0].captions, ('a cat',))

  def test_a_tar_cut_anywhere_gives_what_is_left(self):
    whole = tar(*(m for i in range(4) for m in sample(i)))
    self.write('b.tar', tar(*sample(9)))
    ends = []
    with tarfile.open(fileobj=io.BytesIO(whole)) as made:
      for member in made:
        ends.append(member.offset_data + member.size)
    last = len(whole.rstrip(b'\0'))
    for cut in (*range(700, last, 509), ends[3], ends[-1], ends[-1] - 1):
      self.write('a.tar', whole[:cut])
      found = self.check('{a,b}.tar')
      good = [r for r in found if not isinstance(r, records.RecordError)]
      # A sample is whole as soon as its image and its caption are.
      n = sum(end <= cut for end in ends) // 2
      self.assertEqual(
        [r.image for r in good], [image(i) for i in (*range(n), 9)]
      )
      self.assertLessEqual(len(found) - len(good), 1)
      told = self.found.about['damaged']
      self.assertEqual(list(told), ['a.tar'])
      self.assertIn(
        f'{len(found) - 1} samples, then it is cut short', told['a.tar']
      )

  def test_a_damaged_header(self):
    whole = bytearray(tar(*(m for i in range(3) for m in sample(i))))
    with tarfile.open(fileobj=io.BytesIO(bytes(whole))) as made:
      at = made.getmembers()[2].offset
    whole[at : at + 100] = b'\x99' * 100
    self.write('a.tar', bytes(whole))
    found = self.check('a.tar')
    self.assertLen(found, 1)
    self.assertIn(
      f'1 samples, then its header at byte {at} cannot be read',
      self.found.about['damaged']['a.tar'],
    )

  def test_a_tar_that_shrinks_later(self):
    path = self.write('a.tar', tar(*sample(0), *sample(1)))
    found = webdataset.WebDataset(path)
    os.truncate(path, 1200)
    with self.assertRaisesRegex(records.RecordError, '0001: the tar ends'):
      found.record(1)
    os.remove(path)
    with self.assertRaisesRegex(records.RecordError, 'cannot be read: No such'):
      found.record(0)

  def test_mistakes(self):
    self.write('packed.tar.gz', gzip.compress(tar(*sample(0))))
    self.write('empty.tar', b'')
    self.write('noise.tar', b'noise' * 400)
    self.write('texts.tar', tar(('0.txt', 'c')))
    os.mkdir(os.path.join(self.root, 'folder'))
    for path, message in (
      ('packed.tar.gz', 'compressed with gzip, .* unpack it to a plain .tar'),
      ('empty.tar', 'no image in 1 tars; .*empty.tar: 0 samples, then'),
      ('noise.tar', 'no image in 1 tars; .*not a tar'),
      ('texts.tar', 'no image in 1 tars; expected files that end in .jpg'),
      ('folder', 'names no file; expected .tar files'),
      ('no-*.tar', r'no-\*.tar names no file'),
      ('te{xts,sts}.tar', 'tests.tar names no file'),
      ('t{exts,exts}.tar', 'names .*texts.tar more than once'),
    ):
      with self.assertRaisesRegex(errors.UserError, message):
        webdataset.WebDataset(os.path.join(self.root, path))


if __name__ == '__main__':
  absltest.main()
