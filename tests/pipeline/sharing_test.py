"""A shared plant is found, a disjoint one gives none, shuffling is chance."""

import csv
import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax import errors
from saejax import results
from saejax import store as store_lib
from saejax.pipeline import sharing
from saejax.pipeline import sharing_depth
from saejax.pipeline import sharing_reading
from tests import planted
from tests.pipeline import planted_contexts

LAYER = f'layer{planted_contexts.LAYER:02d}'
CONFIG = sharing.SharingConfig(draws=40, examples=120)


class SharingTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.path = lambda _, name: os.path.join(cls.folder, name)
    planted_contexts.write_sae(os.path.join(cls.folder, 'sae'))
    cls.found = {}
    for kind in ('shared', 'disjoint', 'unpaired'):
      path = os.path.join(cls.folder, kind)
      planted_contexts.write_store(path, kind=kind)
      cls.found[kind] = sharing.sharing(
        path, [os.path.join(cls.folder, 'sae')], CONFIG
      )

  def entry(self, kind: str, name: str, pair: str = 'image-text'):
    return self.found[kind].entries[f'{LAYER}/{pair}/{name}']

  def value(self, *args, **kwargs) -> float:
    return self.entry(*args, **kwargs)['value']

  def test_a_shared_plant_is_found(self):
    e = self.entry('shared', 'shared_share')
    self.assertEqual((e['value'], e['split']), (1, 'test'))
    self.assertEqual(self.value('shared', 'shared'), 8)
    self.assertEqual(self.value('shared', 'paired_share'), 1)
    self.assertGreater(self.value('shared', 'phi'), 0.5)
    self.assertGreater(self.value('shared', 'agreement'), 0.9)
    low, high = (self.entry('shared', 'phi')[k] for k in ('low', 'high'))
    self.assertLess(low, self.value('shared', 'phi'))
    self.assertGreater(high, self.value('shared', 'phi'))
    self.assertLess(self.value('shared', 'agreement/others'), 0.1)
    # Beside what is shared, its strongest tokens have no more in common than
    # those of any two concepts, which all lack the rest.
    rest = self.value('shared', 'agreement_rest')
    self.assertAlmostEqual(
      rest, self.value('shared', 'agreement_rest/others'), delta=0.25
    )

  def test_a_disjoint_plant_shares_nothing(self):
    self.assertEqual(self.value('disjoint', 'shared_share'), 0)
    self.assertEqual(self.value('disjoint', 'shared'), 0)
    self.assertEqual(self.value('disjoint', 'paired_share'), 0)
    self.assertIsNone(self.value('disjoint', 'phi'))
    self.assertIsNone(self.value('disjoint', 'agreement'))
    # But texts share all with texts, and chance would share some.
    of_texts = 'caption-text'
    self.assertEqual(self.value('disjoint', 'shared_share', of_texts), 1)
    self.assertGreater(self.value('disjoint', 'shared_share/chance'), 0.1)
    self.assertEqual(self.value('disjoint', 'shared_share/ceiling'), 1)
    self.assertEqual(self.value('disjoint', 'shared_share/exchanged'), 1)

  def test_halves_stand_beside_halves(self):
    for name in ('shared_share', 'agreement'):
      two, one = (
        self.value('shared', f'{name}/{k}') for k in ('halves', 'ceiling')
      )
      self.assertAlmostEqual(two, one, delta=0.1, msg=name)
    self.assertEqual(self.value('disjoint', 'shared_share/halves'), 0)
    self.assertIsNone(self.value('disjoint', 'agreement/halves'))
    e = self.entry('disjoint', 'shared_share/halves')
    self.assertEqual(e['interval'], '95 % of splits in halves')

  def test_a_cut_is_on_the_scale_of_the_encoder(self):
    """Texts that are written a third as large fire no less for it."""
    sae, store = self.path('apart-sae'), self.path('apart')
    planted_contexts.write_store(store, n=120, text_size=1 / 3)
    planted_contexts.write_sae(sae, text_scale=3.0)
    config = sharing.SharingConfig(draws=20, l0=0.5)
    found = sharing.sharing(store, [sae], config)
    value = lambda name: found.entries[f'{LAYER}/{name}']['value']
    self.assertAlmostEqual(value('l0_matched'), 0.5, delta=0.01)
    self.assertEqual(value('image-text/shared_share'), 1)
    rate = lambda c: sum(float(r[f'p_{c}']) for r in found.rows)
    self.assertAlmostEqual(rate('image'), rate('text'), delta=0.1)

  def test_bounds_are_within_what_can_be(self):
    draws_R = np.array([0.0, 0.1, 0.3, 0.9])
    for value, least, low, high in (
      (0.05, 0.0, 0, 0.58), (0.05, -1.0, -0.2675, 0.58), (0.95, 0.0, 0.6325, 1),
    ):  # fmt: skip
      e = sharing_depth.interval(value, draws_R, 4, 'test', least)
      self.assertAlmostEqual(e['low'], low)
      self.assertAlmostEqual(e['high'], high)
    for kind, found in self.found.items():
      for name, e in found.entries.items():
        if name.endswith(('shared_share', 'knn')):
          self.assertGreaterEqual(e['low'], 0, (kind, name))

  def test_unpaired_texts_are_at_what_permuting_gives(self):
    self.assertEqual(self.value('unpaired', 'shared_share'), 1)
    self.assertEqual(self.value('unpaired', 'paired_share'), 0)
    null = self.entry('unpaired', 'phi/permuted')
    value = self.value('unpaired', 'phi')
    self.assertLess(abs(value - null['value']), 0.1)
    for kind in ('shared', 'disjoint', 'unpaired'):
      for name in ('paired_share/permuted', 'phi/permuted'):
        null = self.value(kind, name)
        self.assertLess(abs(null or 0), 0.05, (kind, name))

  def test_lengths_alone_share_nothing(self):
    """Examples of 2 to 30 tokens: long ones fire more, on both sides."""
    config = sharing.SharingConfig(draws=40)
    for kind, share in (('chance', 0), ('shared', 1)):
      path = self.path(f'long-{kind}')
      planted_contexts.write_store(path, n=600, kind=kind, longest=30)
      found = sharing.sharing(path, [self.path('sae')], config).entries
      at = f'{LAYER}/image-text'
      phi, null = (found[f'{at}/{k}']['value'] for k in ('phi', 'phi/permuted'))
      self.assertEqual(abs(phi) < 0.08, kind == 'chance', phi)
      self.assertLess(abs(null), 0.05)
      self.assertEqual(found[f'{at}/shared']['value'], 8)
      self.assertEqual(found[f'{at}/paired_share']['value'], share)

  def test_arrangements_agree_only_where_pairs_do(self):
    for what in ('cka', 'knn'):
      for kind, least, most in (
        ('shared', 0.4, 1), ('disjoint', 0.4, 1), ('unpaired', -0.1, 0.2),
      ):  # fmt: skip
        value = self.value(kind, what)
        self.assertBetween(value, least, most, (kind, what))
        null = self.entry(kind, f'{what}/permuted')
        is_null = value < null['high'] + 0.05
        self.assertEqual(is_null, kind == 'unpaired', (kind, what))
      halves = self.entry('shared', what, pair='text halves')
      null = self.entry('shared', f'{what}/permuted', pair='text halves')
      self.assertGreater(halves['value'], null['high'])

  def test_every_number_says_what_it_rests_on(self):
    for kind, found in self.found.items():
      for name, e in found.entries.items():
        self.assertIn('n', e, (kind, name))
        self.assertEqual(e['split'], 'test', (kind, name))

  def test_bounds_hold_the_value(self):
    for kind, found in self.found.items():
      for name, e in found.entries.items():
        if e.get('interval') == 'bootstrap over examples' and e['low']:
          value = e['value']
          self.assertBetween(value, e['low'], e['high'], (kind, name))

  def test_files(self):
    out = self.create_tempdir().full_path
    found = self.found['shared']
    found.write(out)
    self.assertEqual(results.read(out), found.entries)
    for name in ('representations', 'concepts'):
      for kind in ('png', 'svg', 'csv'):
        path = os.path.join(out, 'figures', f'{name}.{kind}')
        self.assertGreater(os.path.getsize(path), 100)
    with open(os.path.join(out, 'concepts.csv'), encoding='utf-8') as f:
      rows = list(csv.DictReader(f))
    self.assertLen(rows, 8)
    self.assertTrue(all(r['image-text/shared'] == '1' for r in rows))
    self.assertTrue(all(0.3 < float(r['score_text']) < 0.7 for r in rows))
    self.assertIn('co-firing', sharing.summary(found))

  def test_without_dictionaries_rows_alone_are_compared(self):
    found = sharing.sharing(self.path('shared'), [], CONFIG)
    self.assertNotIn(f'{LAYER}/image-text/shared_share', found.entries)
    self.assertEqual(
      found.entries[f'{LAYER}/image-text/cka'],
      self.entry('shared', 'cka'),
    )
    self.assertEmpty(found.rows)

  def test_layers_are_cut_to_one_l0(self):
    store = self.path('two')
    planted_contexts.write_store(store, n=80, layers=(5, 6))
    planted_contexts.write_sae(self.path('six'), 6)
    import json

    from safetensors import numpy as files

    # The second fires less: a higher bias.
    weights = os.path.join(self.path('six'), 'sae.safetensors')
    arrays = files.load_file(weights)
    arrays['b_enc'] -= 0.75
    files.save_file(arrays, weights)
    found = sharing.sharing(store, [self.path('sae'), self.path('six')], CONFIG)
    before = [found.entries[f'layer0{n}/l0']['value'] for n in (5, 6)]
    after = [found.entries[f'layer0{n}/l0_matched']['value'] for n in (5, 6)]
    self.assertGreater(before[0], 1.5 * before[1])
    self.assertAlmostEqual(after[0], after[1], delta=0.02)
    json.dumps(found.entries, allow_nan=False)

  @parameterized.parameters(
    ({'examples': 3}, '--examples=3 must be at least 4'),
    ({'draws': 3}, '--draws=3 must be at least 20'),
    ({'threshold': 1.0}, '--threshold=1.0 must be a share'),
    ({'l0': 0.0}, '--l0=0.0 must be positive'),
  )
  def test_mistakes_in_flags(self, changes, message):
    with self.assertRaisesRegex(errors.UserError, message):
      sharing.SharingConfig(**changes)

  def test_mistakes_in_what_is_given(self):
    data = planted.sample(60)
    flat = planted.write_store(self.path('flat'), data.image_ND, data.text_ND)
    planted_contexts.write_sae(self.path('other'), 9)
    planted_contexts.write_sae(self.path('plain'), streams=['image', 'text'])
    sae, store = self.path('sae'), self.path('shared')
    for given, message in (
      ((flat, []), 'has no layer with the streams image, caption and text'),
      ((store, [self.path('other')]), 'is of layer 9; .* has the layers 5'),
      ((store, [self.path('plain')]), 'was trained on image, text; expected'),
      ((store, [sae, sae]), 'are both of layer 5'),
    ):
      with self.assertRaisesRegex(errors.UserError, message):
        sharing.sharing(*given, CONFIG)

  def test_means_over_positions_are_no_tokens(self):
    path = self.path('pooled')
    data = planted.sample(60)
    streams = {
      name: store_lib.StreamSpec(d=planted_contexts.D)
      for name in planted_contexts.STREAMS
    }
    writer = store_lib.StoreWriter(path, streams, {})
    ids = {k: np.arange(60) for k in ('group', 'pair')}
    ids['split'] = np.full(60, 2)
    for name in streams:
      writer.write(name, 0, data.image_ND[:, : planted_contexts.D], ids)
    writer.finish()
    found = sharing.sharing(path, [], CONFIG)
    self.assertAlmostEqual(
      found.entries[f'{LAYER}/image-text/cka']['value'], 1, places=5
    )
    with self.assertRaisesRegex(errors.UserError, 'holds means over positions'):
      sharing.sharing(path, [self.path('sae')], CONFIG)


class EqualiseTest(absltest.TestCase):
  def test_an_example_has_as_many_tokens_everywhere(self):
    make = lambda *of: sharing_reading.Tokens(
      np.arange(len(of)) + 10, np.array(of)
    )
    found = sharing_reading.equalise(
      {'image': make(0, 0, 0, 1, 1, 3), 'text': make(0, 1, 1, 1, 2)}, 4, 0
    )
    # Of one and two in both: so few examples are one stratum.
    np.testing.assert_array_equal(found['image'].example_n, [0, 1])
    np.testing.assert_array_equal(found['text'].example_n, [0, 1])
    self.assertTrue(np.isin(found['image'].rows_n, [10, 11, 12, 13, 14]).all())

  def test_few_numbers_of_tokens_are_left_and_most_tokens(self):
    rng = np.random.default_rng(0)
    counts = {'image': np.full(300, 40), 'text': rng.integers(2, 31, size=300)}
    found = sharing_reading.equalise(
      {
        k: sharing_reading.Tokens(
          np.arange(c.sum()), np.repeat(np.arange(300), c)
        )
        for k, c in counts.items()
      },
      300,
      0,
    )
    for tokens in found.values():
      kept = np.bincount(tokens.example_n, minlength=300)
      self.assertGreaterEqual(np.unique(kept, return_counts=True)[1].min(), 10)
      self.assertTrue((kept <= counts['text']).all())
      self.assertGreater(kept.sum(), 0.9 * counts['text'].sum())
    few = sharing_reading.in_strata(np.array([0, 7, 7, 9, 3, 0]), 2)
    np.testing.assert_array_equal(few, [0, 3, 3, 3, 3, 0])
    few = sharing_reading.in_strata(np.array([0, 7, 7, 9, 3, 4]), 2)
    np.testing.assert_array_equal(few, [0, 7, 7, 7, 3, 3])

  def test_halves_have_every_token_once(self):
    tokens = sharing_reading.Tokens(np.arange(7), np.array([0] * 4 + [1] * 3))
    one, other = sharing_reading.halves(tokens, 2, 0)
    self.assertCountEqual([*one.rows_n, *other.rows_n], range(7))
    np.testing.assert_array_equal(np.bincount(one.example_n), [2, 2])

  def test_scenes_have_their_factors(self):
    folder = self.create_tempdir().full_path
    spec = store_lib.StreamSpec(d=2)
    about = {
      'dataset': {
        'name': 'scenes', 'n': 9, 'seed': 1, 'captions': 'full', 'texts': 1,
        'splits': [0.9, 0.05, 0.05],
      }
    }  # fmt: skip
    writer = store_lib.StoreWriter(folder, {'image': spec}, about)
    columns = {k: np.arange(3) for k in ('group', 'pair')}
    columns['split'] = np.zeros(3, int)
    writer.write('image', 0, np.ones((3, 2)), columns)
    writer.finish()
    found = sharing_reading.classes(store_lib.Store(folder), np.array([0, 4]))
    # A full caption tells all that is shown, of what both can have.
    np.testing.assert_array_equal(found.shown_NC, found.told_NC)
    self.assertTrue(found.shown_NC.any(1).all())


if __name__ == '__main__':
  absltest.main()
