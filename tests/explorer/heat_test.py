"""Heat-maps show a concept where it was planted, and nowhere else."""

import copy
import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax import errors
from saejax import store as store_lib
from saejax.explorer import build
from saejax.explorer import heat
from saejax.explorer import load
from saejax.explorer import schema
from saejax.pipeline import analysing
from saejax.store import files
from saejax.store import manifest
from tests import meshes
from tests.explorer import analysed
from tests.explorer import planted_tokens as planted
from tests.explorer import synthetic
from tests.pipeline import planted_contexts

FIRING = tuple(b for b in schema.BANDS if b != 'none')
DROPPED = tuple(range(0, planted.N, 3))
UNTILED = tuple(range(1, planted.N, 3))


def site_of(analysis: str, out: str) -> load.Site:
  config = build.SiteConfig(analysis=(analysis,), static=synthetic.STATIC)
  return load.load(build.write(config, out, lambda _: None))


class PlantedTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.enterClassContext(meshes.one_device())
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.analysis = planted.write(cls.folder, dropped=DROPPED, untiled=UNTILED)
    cls.site = site_of(cls.analysis, os.path.join(cls.folder, 'site'))
    (cls.d,) = cls.site.dictionaries.values()
    cls.index = {int(c): i for i, c in enumerate(cls.d.id_N)}
    # Which example each picture and text of the site is.
    cls.text_of = [int(t.split('<b>')[1][:-4]) for t in cls.site.texts]
    cls.picture_of = [
      planted.example_of(np.asarray(cls.site.picture(i), np.int64))
      for i in range(cls.site.index['pictures']['count'])
    ]

  def examples(self, factor: int, side: str, bands=FIRING):
    """Examples of a factor's concept, with their maps as numbers."""
    index = self.index[factor]
    record = self.d.concept(index)
    for band in bands:
      maps = self.d.heat(index, side, band)
      yield from zip(record[side][band], maps, strict=True)

  def test_patches_are_those_in_which_the_concept_was_put(self):
    seen = set()
    for factor in range(planted.FACTORS):
      for (id_, activation, _), found in self.examples(factor, 'images'):
        i = self.picture_of[id_]
        self.assertEqual(i % planted.FACTORS, factor)
        truth = planted.expected(i)
        if i in DROPPED:  # Its first patch is in no row of the store.
          self.assertTrue(np.isnan(found[0, 0]))
          truth[0, 0] = np.nan
        if i in UNTILED:  # The whole image's token is silent, and not enough.
          truth.ravel()[next(iter(planted.patches(i)))] = np.nan
        scale = self.d.concept(self.index[factor])['heat_scale']['images']
        np.testing.assert_allclose(found, truth, atol=0.6 * scale / heat.STEPS)
        np.testing.assert_array_equal(found > 0, truth > 0)
        self.assertAlmostEqual(
          activation, np.nanmax(truth), delta=0.02, msg=str(i)
        )
        seen.add(i % 3)
    self.assertEqual(seen, {0, 1, 2})

  def test_words_are_those_in_which_the_concept_was_put(self):
    for factor in range(planted.FACTORS):
      for (id_, activation, told), found in self.examples(factor, 'texts'):
        i = self.text_of[id_]
        self.assertEqual(''.join(told['tokens']), planted.caption(i))
        lit = [t.strip() for t, v in zip(told['tokens'], found) if v > 0]  # noqa: B905
        self.assertEqual(lit, [planted.WORDS[factor]])
        self.assertAlmostEqual(activation, 1 + 0.01 * i - 0.3, delta=2e-3)
        self.assertAlmostEqual(np.nanmax(found), activation, delta=0.01)
        # The last piece is of no token.
        self.assertTrue(np.isnan(found[-1]))
        self.assertEqual(told['tokens'][-1], f'<b>{i}</b>')

  def test_examples_without_the_concept_are_dark(self):
    for side in ('images', 'texts'):
      shown = list(self.examples(0, side, ('none',)))
      self.assertNotEmpty(shown)
      for _, found in shown:
        self.assertFalse((found > 0).any())
        self.assertTrue((found == 0).any())

  def test_the_evidence_has_these_cells_and_no_others(self):
    e = files.map_arrays(os.path.join(self.analysis, 'evidence.safetensors'))
    rows_SX, starts = e['image_rows'], e['image_heat_starts']
    store = store_lib.Store(os.path.join(self.folder, 'store'))
    pair = store[planted.IMAGE].column('pair')
    for factor in range(planted.FACTORS):
      for x, row in enumerate(rows_SX[factor]):
        at = factor * rows_SX.shape[1] + x
        found = e['image_heat_cells'][starts[at] : starts[at + 1]].tolist()
        i = int(pair[row]) if row >= 0 else -1
        own = row >= 0 and i % planted.FACTORS == factor
        truth = list(planted.patches(i)) if own else []
        truth = set(truth[1:] if i in UNTILED else truth)
        self.assertEqual(set(found), truth - ({0} if i in DROPPED else set()))
    about = manifest.read_json(os.path.join(self.analysis, 'evidence.json'))
    self.assertEqual(about['version'], 2)
    self.assertEqual(
      (about['heat']['image']['w'], about['reads']), (3, 'tokens')
    )

  def test_the_site_says_what_a_row_is_and_which_concepts_have_maps(self):
    meta = self.d.meta
    self.assertEqual(meta['reads'], 'tokens')
    self.assertIn('A row is a token', meta['row'])
    self.assertIn('layer 5', meta['title'])
    self.assertIsNone(meta['steering'])
    units = {c['name']: c['unit'] for c in meta['columns']}
    self.assertEqual(units['rate_image'], 'share of tokens')
    # What ends rows of the tile is at no patch.
    mapped_N = (self.d.flags_N & schema.HEAT) > 0
    self.assertEqual(self.d.id_N[~mapped_N].tolist(), [planted.NEWLINE])
    image = store_lib.Store(os.path.join(self.folder, 'store'))[planted.IMAGE]
    self.assertEqual(meta['rows']['image'], len(image.rows('test')))

  def test_bridges_join_what_images_and_captions_share(self):
    b = self.d.bridges
    ends = set(zip(b.image_M.tolist(), b.text_M.tolist(), strict=True))
    for factor in range(planted.FACTORS):
      i = self.index[factor]
      self.assertIn((i, i), ends)
      self.assertEqual(self.d.concept(i)['bridges'][0] >= 0, True)

  def test_what_tokens_have_not_is_told_before_any_work(self):
    at = lambda name: os.path.join(self.folder, name)
    out = at('none')
    with self.assertRaisesRegex(errors.UserError, 'use --nosurrogate'):
      analysing.analyse(at('sae'), at('store'), out, 'test', with_twin=True)
    other = at('other-sae')
    planted_contexts.write_sae(other, streams=['layer05.image'])
    message = 'trained on images of layer 5 alone; expected its texts too'
    with self.assertRaisesRegex(errors.UserError, message):
      analysing.analyse(other, at('store'), out, 'test', with_twin=False)
    self.assertFalse(os.path.exists(out))

  def test_an_analysis_of_another_version_is_refused(self):
    about = os.path.join(self.analysis, 'evidence.json')
    told = manifest.read_json(about)
    self.addCleanup(manifest.write_json, about, told)
    manifest.write_json(about, told | {'version': 3})
    with self.assertRaisesRegex(errors.UserError, 'has version 3; this saejax'):
      site_of(self.analysis, os.path.join(self.folder, 'other'))


class RowsTest(absltest.TestCase):
  """Where rows have no place in an example there is no map."""

  def maps(self, site: load.Site) -> list:
    (d,) = site.dictionaries.values()
    self.assertFalse((d.flags_N & schema.HEAT).any())
    self.assertFalse(any('heat_scale' in d.concept(i) for i in range(d.n)))
    return [
      row[2]
      for i in range(d.n)
      for side in ('images', 'texts')
      for rows in d.concept(i)[side].values()
      for row in rows
    ]

  def test_a_store_of_whole_rows_has_none(self):
    folder = self.create_tempdir().full_path
    analysis, _ = analysed.write(folder)
    found = self.maps(site_of(analysis, os.path.join(folder, 'site')))
    self.assertNotEmpty(found)
    self.assertEqual(set(found), {None})

  def test_a_store_that_does_not_say_where_tokens_are_has_none(self):
    self.enter_context(meshes.one_device())
    folder = self.create_tempdir().full_path
    analysis = planted.write(folder, placed=False)
    found = self.maps(site_of(analysis, os.path.join(folder, 'site')))
    self.assertNotEmpty(found)
    self.assertEqual(set(found), {None})


class FormTest(parameterized.TestCase):
  @parameterized.parameters(
    ('a red dot', [(0, 1), (2, 5)], ['a', ' red', ' dot'], [1, 2, 255]),
    ('so red', [(3, 6)], ['so ', 'red'], [255, 1]),
    ('naïve', [(0, 2), (2, 3), (2, 3), (3, 5)], ['na', 'ï', 've'], [1, 3, 4]),
    ('', [], [], []),
  )
  def test_pieces_join_to_the_text(self, text, spans, words, q):
    given = np.arange(1, len(spans) + 1, dtype=np.uint8)
    found = heat.pieces(text, np.array(spans).reshape(-1, 2), given)
    self.assertEqual(found, (words, q))
    self.assertEqual(''.join(found[0]), text)

  @parameterized.parameters(
    ({'w': 2, 'h': 2, 'q': [1, 2]}, 'image', 'must have one of them for each'),
    ({'w': 2, 'h': 2, 'q': [1], 'at': [4], 'rest': 0}, 'image', '4 cells'),
    ({'w': 2, 'h': 2, 'q': [300], 'at': [0], 'rest': 0}, 'image', 'to 255'),
    ({'w': 2, 'h': 2, 'q': [1], 'at': [0], 'rest': -1}, 'image', 'to 255'),
    ({'w': 2, 'q': [1]}, 'image', 'lacks one of h, q, w'),
    ({'tokens': ['a'], 'q': []}, 'text', 'one for each q'),
    ({'tokens': [3], 'q': [1]}, 'text', 'tokens must be words'),
    ({'q': [1]}, 'text', 'lacks one of q, tokens'),
    ({'w': '3', 'h': 3, 'q': [1]}, 'image', "w and h .* are '3' and 3"),
    ({'w': 3, 'h': None, 'q': [1]}, 'image', 'expected whole numbers'),
    ({'w': 0, 'h': 3, 'q': []}, 'image', 'expected whole numbers'),
    ({'w': 1, 'h': True, 'q': [1]}, 'image', 'expected whole numbers'),
    ({'w': 2, 'h': 2, 'q': [1], 'at': ['0']}, 'image', 'a heat-map of 4'),
    ({'w': 2, 'h': 2, 'q': [1], 'at': 0}, 'image', 'a heat-map of 4'),
    ({'w': 2, 'h': 2, 'q': [1], 'at': {'0': 1}}, 'image', 'a heat-map of 4'),
    ({'w': 1, 'h': 1, 'q': [True]}, 'image', 'to 255'),
    ({'w': 1, 'h': 1, 'q': [1], 'rest': '0'}, 'image', 'to 255'),
    ({'tokens': 5, 'q': [1]}, 'text', 'tokens must be words'),
    ({'tokens': 'a', 'q': [1]}, 'text', 'tokens must be words'),
    ([1], 'text', 'lacks one of'),
  )
  def test_what_is_no_map_is_refused(self, found, side, message):
    with self.assertRaisesRegex(errors.UserError, f'^here: .*{message}'):
      heat.check(found, side, 'here')

  def test_whole_and_sparse_maps_are_one(self):
    whole = {'w': 3, 'h': 2, 'q': [0, 254, 0, 0, 127, 0]}
    sparse = {'w': 3, 'h': 2, 'q': [254, 127], 'at': [1, 4], 'rest': 0}
    np.testing.assert_array_equal(
      heat.activations(whole, 2.0), [[0, 2, 0], [0, 1, 0]]
    )
    np.testing.assert_array_equal(
      heat.activations(sparse, 2.0), heat.activations(whole, 2.0)
    )
    partial = copy.deepcopy(sparse) | {'rest': heat.UNKNOWN}
    found = heat.activations(partial, 2.0)
    np.testing.assert_array_equal(
      np.isnan(found), [[True, False, True], [True, False, True]]
    )

  @parameterized.parameters(
    (None,), ({},), ({'images': None},), ({'images': '1'},),
    ({'images': -1.0},), ({'images': float('nan')},), ({'images': True},),
  )  # fmt: skip
  def test_maps_need_a_scale(self, scale):
    found = {'w': 1, 'h': 1, 'q': [0]}
    record = {'images': {'top': [[0, 1.0, found]]}, 'texts': {'top': []}}
    heat.check_concept(record | {'heat_scale': {'images': 0.0}}, 'here')
    record |= {'heat_scale': scale} if scale is not None else {}
    with self.assertRaisesRegex(errors.UserError, 'here: .* heat_scale of th'):
      heat.check_concept(record, 'here')
    record['images']['top'][0][2] = None
    heat.check_concept(record, 'here')


if __name__ == '__main__':
  absltest.main()
