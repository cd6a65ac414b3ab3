"""The rows behind concepts whose factors are known."""

import os
import tempfile

from absl.testing import absltest
import numpy as np

from saejax import store
from saejax.analysis import evidence
from saejax.store import files
from saejax.store import manifest
from tests.explorer import analysed

FACTORS, IMAGE, S = analysed.FACTORS, analysed.IMAGE, analysed.S


class PlantedTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.out, cls.data = analysed.write(folder)
    read = lambda name: files.map_arrays(os.path.join(cls.out, name))
    cls.e = read('evidence.safetensors')
    cls.concepts = read('concepts.safetensors')
    cls.bridges = read('bridges.safetensors')
    cls.about = manifest.read_json(os.path.join(cls.out, 'evidence.json'))
    opened = store.Store(os.path.join(folder, 'store'))
    cls.test = opened['image'].rows('test')
    cls.labels = {
      name: opened[name].column('labels').astype(bool)
      for name in ('image', 'text')
    }

  def test_examples_show_the_factor_and_the_silent_ones_do_not(self):
    for first, name in ((0, 'image'), (IMAGE, 'text')):
      for f in range(FACTORS):
        rows_X = self.e[f'{name}_rows'][first + f]
        for band, at in evidence.band_slices().items():
          rows = rows_X[at][rows_X[at] >= 0]
          self.assertNotEmpty(rows, (name, f, band))
          shown = self.labels[name][rows, f]
          self.assertEqual(shown.all(), band != 'none', (name, f, band))
          self.assertEqual(shown.any(), band != 'none', (name, f, band))
          self.assertTrue(np.isin(rows, self.test).all())

  def test_examples_fall_from_band_to_band_about_the_quantiles(self):
    values_SX = self.e['image_values'][:FACTORS]
    means = [values_SX[:, at].mean(1) for at in evidence.band_slices().values()]
    top, q99, q90, q50, near, none = means
    self.assertTrue((top > q99).all())
    self.assertTrue((q90 > q50).all() and (q50 > near).all())
    self.assertTrue((none == 0).all())
    # Strengths are even from 0.7 to 1.3: the median is 1.
    np.testing.assert_allclose(q50.mean(), 1.0, atol=0.03)

  def test_histograms_count_every_firing(self):
    for name in ('image', 'text'):
      np.testing.assert_array_equal(
        self.e[f'histogram_{name}'].sum(1), self.concepts[f'count_{name}']
      )

  def test_tables_add_up_to_the_pairs_and_agree_with_the_bridges(self):
    table_P4 = self.e['bridge_table']
    np.testing.assert_array_equal(table_P4.sum(1), len(self.test))
    joint_M = self.bridges['joint'][: len(table_P4)]
    np.testing.assert_array_equal(table_P4[:, 0], joint_M)

  def test_examples_of_a_bridge_lie_in_its_cells(self):
    true = np.flatnonzero(self.bridges['cross'])[:FACTORS]
    for p in true:
      f = self.bridges['image_concept'][p]
      image, text = (self.e[f'bridge_{n}_rows'][p] for n in ('image', 'text'))
      for c, (shown, said) in enumerate(
        ((True, True), (True, False), (False, True), (False, False))
      ):
        kept = image[c] >= 0
        self.assertEqual(kept.sum(), min(self.e['bridge_table'][p, c], 6))
        self.assertTrue((image[c][kept] == text[c][kept]).all())
        self.assertTrue(
          (self.labels['image'][image[c][kept], f] == shown).all()
        )
        self.assertTrue((self.labels['text'][text[c][kept], f] == said).all())

  def test_neighbours_are_true_and_parted_by_side(self):
    near_S8 = self.e['near']
    self.assertTrue((near_S8[:, :4] < IMAGE).all())
    self.assertTrue((near_S8[:, 4:] >= IMAGE).all())
    # A factor's two directions are nearest each other across the sides.
    f = np.arange(FACTORS)
    np.testing.assert_array_equal(near_S8[f, 4], f + IMAGE)
    np.testing.assert_array_equal(near_S8[f + IMAGE, 0], f)
    np.testing.assert_allclose(self.e['max_cosine'][f], 0.6, atol=1e-5)

  def test_steering_takes_a_concept_out_of_what_is_found(self):
    strengths = self.about['strengths']
    rows_CTK, concepts = self.e['steer_rows'], self.e['steer_concepts'].tolist()
    share = lambda c, t, f: self.labels['image'][rows_CTK[c, t], f].mean()
    found = {s: [] for s in strengths}
    for f in range(FACTORS):
      c = concepts.index(f + IMAGE)
      self.assertTrue(self.labels['text'][self.e['steer_query'][c], f])
      for t, s in enumerate(strengths):
        found[s].append(share(c, t, f))
    means = [np.mean(found[s]) for s in strengths]
    base = self.labels['image'][self.test, :FACTORS].mean()
    self.assertLess(means[0], 0.02)  # Pushed the other way.
    self.assertLess(means[1], 2 * base + 0.1)  # Without it: chance.
    self.assertGreater(means[2], means[1] + 0.3)
    self.assertGreater(means[4], 0.95)

  def test_query_rows_have_the_concepts_of_their_factors(self):
    rows, concepts_nK = (
      self.e['query_image_rows'],
      self.e['query_image_concepts'],
    )
    self.assertLen(rows, 300)
    for row, concepts in zip(rows, concepts_nK, strict=True):
      shown = np.flatnonzero(self.labels['image'][row])
      own = concepts[(concepts >= 0) & (concepts < FACTORS)]
      self.assertCountEqual(own.tolist(), shown.tolist())

  def test_the_sample_is_the_same_pairs_whatever_the_dictionary(self):
    np.testing.assert_array_equal(self.e['sample_pairs'], self.test)
    starts = self.e['sample_image_starts']
    self.assertLen(starts, len(self.test) + 1)
    count = np.bincount(self.e['sample_image_concepts'], minlength=S)
    np.testing.assert_array_equal(count, self.concepts['count_image'])

  def test_rules_are_told(self):
    self.assertEqual(
      [b['name'] for b in self.about['bands']], [*evidence.BANDS]
    )
    self.assertIn('neither training nor selection', self.about['sampling'])


if __name__ == '__main__':
  absltest.main()
