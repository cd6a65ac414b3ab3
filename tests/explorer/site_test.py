"""Sites are written whole, read back as they were, and checked."""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies as st
import numpy as np

from saejax import errors
from saejax.explorer import load
from saejax.explorer import pictures as pictures_lib
from saejax.explorer import schema
from saejax.explorer import writing
from tests.explorer import hostile
from tests.explorer import synthetic

N, M, COUNT = 150, 400, 300  # Two packs of pictures, three shards of concepts.
FEW = hypothesis.settings(deadline=None, max_examples=40)


def digests(folder: str) -> dict[str, str]:
  root = pathlib.Path(folder)
  return {
    str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
    for p in root.rglob('*')
    if p.is_file()
  }


class QuantiseTest(parameterized.TestCase):
  @FEW
  @hypothesis.given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 50),
    log=st.booleans(),
    undefined=st.sampled_from([0.0, 0.3, 1.0]),
  )
  def test_values_come_back_to_half_a_step_and_undefined_ones_stay(
    self, seed, n, log, undefined
  ):
    rng = np.random.default_rng(seed)
    values = 10 ** rng.uniform(-9, 3, n) if log else rng.normal(size=n)
    values = np.where(rng.random(n) < undefined, np.nan, values)
    column = schema.Column(
      name='x', label='x', definition='x', values=values, log=log
    )
    packed, told = schema.pack_columns([column])
    self.assertEqual(packed.dtype, np.dtype('<u2'))
    found = schema.unpack_columns(packed, told)['x']
    np.testing.assert_array_equal(np.isnan(found), np.isnan(values))
    of = np.log10 if log else (lambda x: x)
    known = np.isfinite(values)
    if known.any():
      width = np.ptp(of(values[known]))
      error = np.abs(of(found[known]) - of(values[known])).max()
      self.assertLessEqual(error, width / schema.STEPS / 2 + 1e-9)

  def test_what_has_no_logarithm_is_the_least_or_undefined(self):
    pack = lambda v: schema.unpack_columns(
      *schema.pack_columns(
        [schema.Column(name='p', label='', definition='', values=v, log=True)]
      )
    )['p']
    np.testing.assert_allclose(pack(np.array([0, 1e-3, 1.0]))[0], 1e-3)
    self.assertTrue(np.isnan(pack(np.zeros(3))).all())

  def test_sections_begin_at_multiples_of_four(self):
    a, b = np.arange(3, dtype='u1'), np.arange(2, dtype='<u4')
    data = schema.join(a, b)
    self.assertLen(data, 4 + 8)
    for packed in (data, schema.join(a, b, compress=True)):
      found = schema.split(packed, ('u1', (3,)), ('<u4', (2,)))
      np.testing.assert_array_equal(found[0], a)
      np.testing.assert_array_equal(found[1], b)
    with self.assertRaisesRegex(ValueError, '12 bytes; expected more'):
      schema.split(data, ('u1', (3,)), ('<u4', (3,)))
    with self.assertRaisesRegex(ValueError, '12 bytes; expected 8'):
      schema.split(data, ('u1', (3,)), ('<u4', (1,)))


class RoundTripTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.made = synthetic.site(N, M, COUNT)
    cls.out = os.path.join(cls.folder, 'site')
    synthetic.write(cls.out, n=N, m=M, count=COUNT)
    cls.site = load.load(cls.out)

  def test_every_array_is_what_was_written(self):
    for made in self.made.dictionaries:
      found = self.site.dictionaries[made.id]
      np.testing.assert_array_equal(found.id_N, made.id_N)
      np.testing.assert_array_equal(found.class_N, made.class_N)
      np.testing.assert_allclose(found.place_N4, made.place_N4, atol=1e-5)
      for c in made.columns:
        got = found.columns[c.name]
        np.testing.assert_array_equal(np.isnan(got), np.isnan(c.values))
        scale = np.nanmax(np.abs(c.values))
        np.testing.assert_allclose(got, c.values, atol=scale * 2e-3)
      self.assertTrue(np.isnan(found.columns['stability']).any())
      e = made.edges
      np.testing.assert_array_equal(found.bridges.image_M, e.image_M)
      np.testing.assert_array_equal(found.bridges.text_M, e.text_M)
      self.assertTrue((np.diff(found.bridges.columns['excess']) <= 0).all())
      self.assertEqual(
        found.bridges.self_M.sum(), (e.image_M == e.text_M).sum()
      )
      np.testing.assert_array_equal(found.near[0], made.near_N8)
      kept = made.near_N8 >= 0
      np.testing.assert_allclose(
        found.near[1][kept], made.near_cosine_N8[kept], atol=2e-5
      )
      self.assertTrue(np.isnan(found.near[1][~kept]).all())

  def test_records_are_found_where_they_should_be(self):
    made, found = self.made.dictionaries[0], self.site.dictionaries['first']
    for index in (0, 63, 64, N - 1):
      self.assertEqual(found.concept(index), made.concept(index))
      self.assertEqual(found.concept(index)['id'], found.id_N[index])
    for edge in (0, 64, M - 1):
      self.assertEqual(found.bridge(edge), made.bridge(edge))
    self.assertIsNone(found.bridge(64 * 99))
    bits = found.flags_N
    for index, label in enumerate(found.labels):
      self.assertEqual(bool(bits[index] & schema.LABELLED), bool(label))
      pictured = made.medoid_N[index] >= 0
      self.assertEqual(bool(bits[index] & schema.PICTURED), pictured)

  def test_words_survive_byte_for_byte(self):
    self.assertEqual(self.site.texts, list(self.made.texts))
    self.assertEqual(
      self.site.texts[: len(hostile.STRINGS)], [*hostile.STRINGS]
    )
    self.assertContainsSubset(
      hostile.STRINGS[:6], self.site.dictionaries['first'].labels
    )
    for path in pathlib.Path(self.out).rglob('*.json'):
      path.read_bytes().decode('ascii')  # Nothing that an encoding could break.
    self.assertEqual(self.site.index['card'], self.made.card)

  def test_pictures_are_those_of_their_ids(self):
    for id_ in (0, 1, 255, 256, COUNT - 1):
      got = np.asarray(self.site.picture(id_)).astype(float)
      (drawn,) = self.made.pictures.draw([id_], 128)
      error = np.abs(got - np.asarray(drawn)).mean()
      self.assertLess(error, 6)
    index = self.site.index['pictures']
    self.assertEqual((index['count'], index['pack']), (COUNT, 256))
    self.assertEqual(index['sensitive'], [3, 7])

  def test_a_cell_of_the_map_is_its_concepts_picture(self):
    made = self.made.dictionaries[0]
    (sheet,) = pictures_lib.sheets(made.medoid_N, self.made.pictures)
    folder = self.site.dictionaries['first'].path
    with open(os.path.join(folder, 'map', '000.webp'), 'rb') as f:
      self.assertEqual(f.read(), sheet)
    image = pictures_lib.Image.open(pictures_lib.io.BytesIO(sheet))
    self.assertEqual(image.size, (2048, 2048))
    for index in (0, 65, 130):
      at = 32 * (index % 64), 32 * (index // 64)
      cell = image.convert('RGB').crop((*at, at[0] + 32, at[1] + 32))
      colour = np.asarray(cell)[20:].mean((0, 1))
      (drawn,) = self.made.pictures.draw([int(made.medoid_N[index])], 64)
      wanted = np.asarray(drawn)[-1, -1]
      self.assertLess(np.abs(colour - wanted).max(), 40)  # WebP's blur.
      (other,) = self.made.pictures.draw([int(made.medoid_N[index]) + 1], 64)
      self.assertGreater(np.abs(colour - np.asarray(other)[-1, -1]).max(), 60)

  def test_matches_come_back(self):
    for made in self.made.matches:
      index_N, correlation_N = self.site.match(made.a, made.b)
      np.testing.assert_array_equal(index_N, made.index_N)
      kept = made.index_N >= 0
      np.testing.assert_allclose(
        correlation_N[kept], made.correlation_N[kept], atol=1e-5
      )

  def test_the_same_site_is_the_same_bytes(self):
    again = os.path.join(self.folder, 'again')
    synthetic.write(again, n=N, m=M, count=COUNT)
    self.assertEqual(digests(again), digests(self.out))

  def test_the_page_asks_for_its_script_by_content_and_nothing_elsewhere(self):
    page = pathlib.Path(self.out, 'index.html').read_text()
    mark = hashlib.sha256(
      (synthetic.STATIC / 'app.js').read_bytes()
    ).hexdigest()
    self.assertIn(f'src="app.js?v={mark[:12]}"', page)
    self.assertNotRegex(page, r'(src|href)="(/|\w+:)')
    self.assertTrue(os.path.exists(os.path.join(self.out, '.nojekyll')))
    for path in self.site.index['tree']:
      self.assertFalse(path.startswith('/'))


class DamageTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.whole = synthetic.write(os.path.join(folder, 'a'), n=70, m=90, count=9)

  def setUp(self):
    super().setUp()
    self.out = os.path.join(self.create_tempdir().full_path, 'site')
    shutil.copytree(self.whole, self.out)

  @parameterized.parameters(
    'data/first/concepts/0001.json', 'data/first/edges.bin',
    'data/first/points.bin', 'data/second/bridges/0000.json',
    'data/first/meta.json', 'img/pack/000.bin', 'text/0000.json',
    'data/match/first--second.bin', 'data/first/map/000.webp',
  )  # fmt: skip
  def test_a_changed_or_missing_file_is_named(self, name):
    path = pathlib.Path(self.out, name)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with self.assertRaisesRegex(errors.UserError, f'{name} is damaged: sha256'):
      load.load(self.out)
    path.write_bytes(data[:-1])
    with self.assertRaisesRegex(errors.UserError, f'{name} is damaged: bytes'):
      load.load(self.out)
    path.unlink()
    with self.assertRaisesRegex(errors.UserError, f'{name} cannot be read: No'):
      load.load(self.out)

  def test_another_format_and_no_site_are_told(self):
    path = pathlib.Path(self.out, 'data/index.json')
    index = json.loads(path.read_text())
    path.write_text(json.dumps(index | {'format': 'saejax-explorer/9'}))
    with self.assertRaisesRegex(
      errors.UserError, "has format 'saejax-expl.*/9'"
    ):
      load.load(self.out)
    path.write_text(json.dumps({**index, 'texts': 3}))
    with self.assertRaisesRegex(
      errors.UserError, 'texts is int; expected dict'
    ):
      load.load(self.out)
    path.write_text('{')
    with self.assertRaisesRegex(
      errors.UserError, 'index.json is not valid JSON'
    ):
      load.load(self.out)
    with self.assertRaisesRegex(
      errors.UserError, 'There is no site at .*/data'
    ):
      load.load(os.path.join(self.out, 'data'))


class WritingTest(parameterized.TestCase):
  def test_a_failure_leaves_nothing(self):
    parent = self.create_tempdir().full_path
    out = os.path.join(parent, 'site')
    with self.assertRaises(ZeroDivisionError), writing.whole(out) as folder:
      pathlib.Path(folder, 'x').write_text('x')
      raise ZeroDivisionError
    self.assertEqual(os.listdir(parent), [])
    with writing.whole(out) as folder:
      pathlib.Path(folder, 'x').write_text('x')
    self.assertEqual(os.listdir(parent), ['site'])
    with self.assertRaisesRegex(errors.UserError, 'such as x'):
      writing.check_vacant(out)

  def test_pictures_shrink_to_meet_a_limit_and_else_are_refused(self):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (128, 128, 3), np.uint8)
    image = pictures_lib.Image.fromarray(noise)
    draw = lambda ids, side: [image.resize((side, side)) for _ in ids]
    pictures = pictures_lib.content.Pictures(count=4, draw=draw)
    sizes = [
      sum(map(len, pictures_lib.packs(pictures, s))) for s in (128, 96, 64)
    ]
    self.assertGreater(sizes[0], sizes[1])
    found = lambda most: pictures_lib.packs_within(pictures, most)[0]
    self.assertEqual(found(sizes[0]), 128)
    self.assertEqual(found(sizes[0] - 1), 96)
    self.assertEqual(found(sizes[2]), 64)
    with self.assertRaisesRegex(
      errors.UserError, 'even at 64 pixels: raise --'
    ):
      found(sizes[2] - 1)

  def test_a_site_without_pictures(self):
    out = synthetic.write(
      os.path.join(self.create_tempdir().full_path, 'site'), n=20, m=0, count=0
    )
    site = load.load(out)
    self.assertEqual(site.index['pictures']['count'], 0)
    d = site.dictionaries['first']
    self.assertIsNone(d.meta['map'])
    self.assertLen(d.bridges.image_M, 0)
    self.assertFalse((d.flags_N & schema.PICTURED).any())

  @parameterized.parameters(
    ('edges', -1, 'bridges'), ('edges', 20, 'bridges'),
    ('near', -2, 'neighbours'), ('near', 20, 'neighbours'),
  )  # fmt: skip
  def test_an_index_of_no_concept_is_refused(self, what, index, named):
    made = synthetic.dictionary('first', 20, 30, 0)
    made = dataclasses.replace(made, shown_bridges=0)
    if what == 'edges':
      made.edges.text_M[3] = index
    else:
      made.near_N8[3, 2] = index
    site = dataclasses.replace(synthetic.site(20, 30, 0), dictionaries=[made])
    with (
      mock.patch.object(synthetic, 'site', lambda: site),
      self.assertRaisesRegex(
        ValueError, f'first: {named} have index {index} of 20 concepts'
      ),
    ):
      synthetic.write(os.path.join(self.create_tempdir().full_path, 'site'))
    # And where something else wrote it, noticed when it is read.
    out = os.path.join(self.create_tempdir().full_path, 'site')
    with (
      mock.patch.object(synthetic, 'site', lambda: site),
      mock.patch.object(writing, '_check_indices'),
    ):
      synthetic.write(out)
    found = load.load(out).dictionaries['first']
    read = (lambda: found.bridges) if what == 'edges' else lambda: found.near
    if (what, index) == ('near', -2):  # Stored as no neighbour.
      self.assertEqual(read()[0][3, 2], -1)
      return
    with self.assertRaisesRegex(
      errors.UserError, rf'{what}.bin tells of concept index {index % 2**32}; '
    ):
      read()

  def test_neither_jax_nor_torch_nor_scipy_is_imported(self):
    names = 'build,load,parquet,schema,serving,single_file'
    code = (
      'import sys\n'
      + ''.join(f'import saejax.explorer.{n}\n' for n in names.split(','))
      + "print(sorted({'jax', 'flax', 'torch', 'scipy', 'sklearn', 'pyarrow',"
      "'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True, check=True
    )
    self.assertEqual(done.stdout.strip(), '[]')


if __name__ == '__main__':
  absltest.main()
