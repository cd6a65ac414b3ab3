"""Examples at every strength, histograms, tables and changed queries."""

from absl.testing import absltest
import hypothesis
from hypothesis import strategies as st
import numpy as np
import scipy.sparse

from saejax.analysis import bridges
from saejax.analysis import evidence
from saejax.explorer import schema
from tests.analysis import codes

FEW = hypothesis.settings(deadline=None, max_examples=25)
SLICES = evidence.band_slices()


def column(values) -> scipy.sparse.csr_matrix:
  return scipy.sparse.csr_matrix(np.asarray(values, np.float32)[:, None])


class BandTest(absltest.TestCase):
  def test_a_site_knows_the_same_bands_and_cells(self):
    self.assertEqual(tuple(evidence.BANDS), schema.BANDS)
    self.assertEqual(evidence.CELLS, schema.CELLS)

  def test_rows_stand_at_the_quantiles_that_they_are_named_for(self):
    rng = np.random.default_rng(0)
    value_n = np.zeros(3000)
    fires = rng.permutation(3000)[:1000]
    value_n[fires] = rng.permutation(1000) + 1  # 1 to 1000, each once.
    rows_SX, values_SX = evidence.band_rows(column(value_n), np.arange(3000))
    band = lambda name: values_SX[0, SLICES[name]].tolist()
    self.assertEqual(band('top'), list(range(1000, 988, -1)))
    for name, centre in (('q99', 990), ('q90', 900), ('q50', 500)):
      self.assertLess(np.abs(np.array(band(name)) - centre).max(), 6, name)
      self.assertEqual(band(name), sorted(band(name), reverse=True))
    self.assertEqual(band('near'), [1, 2, 3, 4])
    self.assertEqual(band('none'), [0, 0, 0, 0])
    np.testing.assert_array_equal(value_n[rows_SX[0]], values_SX[0])
    self.assertLen(set(rows_SX[0].tolist()), rows_SX.shape[1])

  def test_what_looks_the_same_is_shown_once_and_never_as_silent(self):
    value_n = np.array([5, 4, 0, 3, 0, 0], np.float32)
    key_n = np.array(
      [1, 1, 1, 2, 2, 3]
    )  # Rows 2 and 4 look as those that fire.
    rows_SX, _ = evidence.band_rows(column(value_n), key_n)
    self.assertEqual(rows_SX[0, SLICES['top']].tolist(), [0, 3] + [-1] * 10)
    self.assertEqual(rows_SX[0, SLICES['none']].tolist(), [5, -1, -1, -1])
    self.assertTrue((rows_SX[0, SLICES['q90']] == -1).all())

  @FEW
  @hypothesis.given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 80),
    rate=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    keyed=st.booleans(),
  )
  def test_no_row_twice_and_bands_fall(self, seed, n, rate, keyed):
    rng = np.random.default_rng(seed)
    z_nS = codes.random(rng, n, [rate, 0.3])
    key_n = rng.integers(0, 30, n) if keyed else np.arange(n)
    rows_SX, values_SX = evidence.band_rows(z_nS, key_n, seed)
    dense_nS = z_nS.toarray()
    for i in range(2):
      rows, kept = rows_SX[i], rows_SX[i] >= 0
      keys = key_n[rows[kept]]
      self.assertLen(set(keys.tolist()), len(keys))
      np.testing.assert_allclose(
        values_SX[i][kept], dense_nS[rows[kept], i], rtol=1e-6
      )
      means = [
        values_SX[i][at][kept[at]].min(initial=np.inf)
        for name, at in SLICES.items()
        if kept[at].any() and name != 'none'
      ]
      self.assertEqual(means, sorted(means, reverse=True))
      fires = len(np.unique(key_n[dense_nS[:, i] > 0]))
      shown = sum(kept[SLICES[b]].sum() for b in SLICES if b != 'none')
      self.assertEqual(shown, min(fires, 28))


class HistogramTest(absltest.TestCase):
  def test_counts_add_up_by_modality_and_bins_are_even_in_the_log(self):
    rng = np.random.default_rng(0)
    image, text = (
      codes.random(rng, 500, [0.5, 0]),
      codes.random(rng, 300, [0.2, 0]),
    )
    h = evidence.histograms(image, text)
    self.assertEqual(h.image_SB[0].sum(), (image.toarray()[:, 0] > 0).sum())
    self.assertEqual(h.text_SB[0].sum(), (text.toarray()[:, 0] > 0).sum())
    both = np.concatenate([image.toarray()[:, 0], text.toarray()[:, 0]])
    both = both[both > 0]
    np.testing.assert_allclose(
      [h.low_S[0], h.high_S[0]], [both.min(), both.max()]
    )
    edges = np.geomspace(both.min(), both.max(), evidence.BINS + 1)
    edges[-1] *= 1 + 1e-9
    expected = np.histogram(both, edges)[0]
    np.testing.assert_allclose(h.image_SB[0] + h.text_SB[0], expected, atol=1)
    self.assertEqual(h.image_SB[1].sum() + h.text_SB[1].sum(), 0)
    self.assertTrue(np.isnan(h.low_S[1]))


class TableTest(absltest.TestCase):
  def test_cells_add_up_to_the_pairs_and_are_those_counted_by_hand(self):
    m, atoms_SD = codes.planted_pairs(800)
    b = bridges.bridges(m, atoms_SD)
    t = evidence.tables(m, b.i_P, b.j_P)
    np.testing.assert_array_equal(t.counts_P4.sum(1), 800)
    a_GS, b_GS = m.image_GS.toarray() > 0, m.text_GS.toarray() > 0
    for p in (0, len(b.i_P) // 2):
      i, j = a_GS[:, b.i_P[p]], b_GS[:, b.j_P[p]]
      counted = [i & j, i & ~j, ~i & j, ~i & ~j]
      self.assertEqual(t.counts_P4[p].tolist(), [int(c.sum()) for c in counted])

  def test_chance_holds_what_shuffling_gives(self):
    m, atoms_SD = codes.planted_pairs(800, matched=False)
    b = bridges.bridges(m, atoms_SD)
    t = evidence.tables(m, b.i_P, b.j_P)
    often = t.null_P3[:, 0] >= 5
    both = t.counts_P4[often, 0]
    within = (both >= t.null_P3[often, 1]) & (both <= t.null_P3[often, 2])
    self.assertGreater(often.sum(), 100)
    self.assertGreater(within.mean(), 0.9)
    m, _ = codes.planted_pairs(800)
    t = evidence.tables(m, np.arange(16), np.arange(16) + codes.IMAGE)
    self.assertTrue((t.counts_P4[:, 0] > t.null_P3[:, 2]).mean() > 0.9)

  def test_examples_lie_in_their_cells(self):
    rng = np.random.default_rng(1)
    a_G, b_G = codes.random(rng, 400, [0.2, 0.3]).toarray().T
    both, left, right, neither = evidence.cell_pairs(a_G, b_G)
    self.assertTrue(((a_G[both] > 0) & (b_G[both] > 0)).all())
    self.assertAlmostEqual((a_G * b_G)[both[0]], (a_G * b_G).max())
    self.assertTrue(((a_G[left] > 0) & (b_G[left] == 0)).all())
    self.assertTrue(((a_G[right] == 0) & (b_G[right] > 0)).all())
    self.assertTrue(((a_G[neither] == 0) & (b_G[neither] == 0)).all())
    self.assertEqual([len(c) for c in (both, left, right, neither)], [6] * 4)


class QueryTest(absltest.TestCase):
  def test_active_concepts_are_the_strongest(self):
    z_nS = scipy.sparse.csr_matrix([[0, 3, 1, 2], [0, 0, 0, 0], [1, 0, 0, 0]])
    concepts_nK, values_nK = evidence.active(z_nS, 2)
    self.assertEqual(concepts_nK.tolist(), [[1, 3], [-1, -1], [0, -1]])
    self.assertEqual(values_nK.tolist(), [[3, 2], [0, 0], [1, 0]])

  def test_adding_a_direction_finds_what_points_that_way(self):
    candidate_nD = np.concatenate([np.eye(3), 2 * np.eye(3)]).astype(np.float32)
    query_CD = np.array([[1, 0.1, 0]], np.float32)
    step_CD = np.array([[-1, 0, 0.3]], np.float32)
    found = evidence.steered(query_CD, step_CD, candidate_nD, (0, 1, 2), 2)
    # Length does not count, and equal ones come in order.
    self.assertEqual(found.tolist(), [[[0, 3], [2, 5], [2, 5]]])
    few = evidence.steered(query_CD, step_CD, candidate_nD[:1], (0,), 2)
    self.assertEqual(few.tolist(), [[[0, -1]]])


if __name__ == '__main__':
  absltest.main()
