"""Bridges against loops, all shuffles, and planted pairs of concepts."""

import itertools

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies as st
import numpy as np
import scipy.sparse

from saejax.analysis import bridges
from tests import planted
from tests.analysis import codes

FEW = hypothesis.settings(deadline=None, max_examples=25)


def dense(b: bridges.Bridges, values_P: np.ndarray, s: int) -> np.ndarray:
  out_SS = np.zeros((s, s))
  out_SS[b.i_P, b.j_P] = values_P
  return out_SS


class MatchTest(absltest.TestCase):
  def test_an_image_meets_the_mean_of_its_texts_and_others_are_left_out(self):
    image_nS = np.array([[1, 0], [2, 0], [3, 0], [4, 5]], np.float32)
    text_nS = np.array([[0, 8], [1, 1], [6, 0], [0, 2], [9, 9]], np.float32)
    m = bridges.match(
      scipy.sparse.csr_matrix(image_nS),
      scipy.sparse.csr_matrix(text_nS),
      pair_image_n=np.array([7, 30, 2, 5]),
      pair_text_n=np.array([5, 7, 5, 2, 99]),
    )
    # Pair 30 has no text and pair 99 no image.
    np.testing.assert_array_equal(m.pairs_G, [2, 5, 7])
    np.testing.assert_array_equal(
      m.image_GS.toarray(), [[3, 0], [4, 5], [1, 0]]
    )
    np.testing.assert_array_equal(m.text_GS.toarray(), [[0, 2], [3, 4], [1, 1]])


class BridgesTest(parameterized.TestCase):
  def test_b_has_image_concepts_in_rows_and_text_concepts_in_columns(self):
    rng = np.random.default_rng(0)
    n, s = 30, 5
    image_GS = codes.random(rng, n, [0.3] * s).toarray()
    text_GS = codes.random(rng, n, [0.6] * s).toarray()
    d_SD = codes.unit_rows(rng, s, 3)
    b = bridges.bridges(codes.pair_up(image_GS, text_GS), d_SD)
    b_SS, b0_SS, cosine_SS, fire_SS = np.zeros((4, s, s))
    for i, j in itertools.product(range(s), range(s)):
      cosine_SS[i, j] = d_SD[i] @ d_SD[j]
      together_G = image_GS[:, i] * text_GS[:, j]
      fire_SS[i, j] = (together_G > 0).any()
      b_SS[i, j] = together_G.mean() * cosine_SS[i, j]
      apart = image_GS[:, i].mean() * text_GS[:, j].mean()
      b0_SS[i, j] = apart * cosine_SS[i, j]
    np.testing.assert_allclose(dense(b, b.b_P, s), b_SS, atol=1e-12)
    for found_P, expected_SS in (
      (b.b0_P, b0_SS),
      (b.cosine_P, cosine_SS),
      (b.excess_P, b_SS - b0_SS),
    ):
      np.testing.assert_allclose(
        dense(b, found_P, s), expected_SS * fire_SS, atol=1e-12
      )

  def test_pairs_that_never_meet_are_left_out(self):
    b = bridges.bridges(codes.pair_up(np.eye(4), np.eye(4)), np.eye(4))
    np.testing.assert_array_equal(b.i_P, b.j_P)
    self.assertLen(b.i_P, 4)

  def test_the_excess_of_some_pairs_is_their_sum_with_those_that_never_meet(
    self,
  ):
    rng = np.random.default_rng(0)
    n, s = 300, 6
    image_GS = codes.random(rng, n, [0.3] * s).toarray()
    text_GS = codes.random(rng, n, [0.1] * s).toarray()
    text_GS[:, 3] = image_GS[:, 0]  # One pair of concepts goes together.
    d_SD = codes.unit_rows(rng, s, 4)
    d_SD[3] = d_SD[0]
    m = codes.pair_up(image_GS, text_GS)
    apart = np.outer(image_GS.mean(0), text_GS.mean(0))
    excess_SS = (image_GS.T @ text_GS / n - apart) * (d_SD @ d_SD.T)
    first_S, last_S = np.arange(s) < 3, np.arange(s) >= 3
    some = bridges.excess(m, d_SD, first_S, last_S)
    np.testing.assert_allclose(some.value, excess_SS[:3, 3:].sum())
    np.testing.assert_allclose(bridges.excess(m, d_SD).value, excess_SS.sum())
    self.assertGreater(some.low, 0)
    self.assertEqual(some.n, n)
    # Without the concept that goes together, nothing is left.
    none = bridges.excess(m, d_SD, first_S, np.arange(s) > 3)
    self.assertLess(none.low, 0)
    self.assertGreater(none.high, 0)

  @FEW
  @hypothesis.given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 12),
    texts=st.integers(1, 4),
    s=st.integers(1, 9),
  )
  def test_b_adds_up_to_the_similarity_of_reconstructions(
    self, seed, n, texts, s
  ):
    rng = np.random.default_rng(seed)
    pair_text_n = np.sort(rng.integers(0, n, size=n * texts))
    image_nS = codes.random(rng, n, [0.5] * s).toarray()
    text_nS = codes.random(rng, n * texts, [0.5] * s).toarray()
    d_SD = codes.unit_rows(rng, s, 4)
    order = rng.permutation(n)  # The store's order is nobody's promise.
    m = bridges.match(
      scipy.sparse.csr_matrix(image_nS[order]),
      scipy.sparse.csr_matrix(text_nS),
      order,
      pair_text_n,
    )
    image_nD, text_nD = image_nS @ d_SD, text_nS @ d_SD
    described = np.unique(pair_text_n)
    of = lambda g: text_nD[pair_text_n == g].mean(0)
    similarity = np.mean([image_nD[g] @ of(g) for g in described])
    anyhow = np.mean(
      [image_nD[g] @ of(h) for g in described for h in described]
    )
    found = bridges.totals(m, d_SD)
    np.testing.assert_allclose(found['sum_b'], similarity, atol=1e-9)
    np.testing.assert_allclose(found['similarity'], similarity, atol=1e-9)
    np.testing.assert_allclose(found['sum_b0'], anyhow, atol=1e-9)

  def test_b0_is_the_mean_of_b_over_all_shuffles(self):
    rng = np.random.default_rng(1)
    n, s = 5, 4
    image_GS = codes.random(rng, n, [0.6] * s).toarray()
    text_GS = codes.random(rng, n, [0.6] * s).toarray()
    d_SD = codes.unit_rows(rng, s, 3)
    shuffles_RSS = []
    for order in itertools.permutations(range(n)):
      b = bridges.bridges(codes.pair_up(image_GS, text_GS[list(order)]), d_SD)
      shuffles_RSS.append(dense(b, b.b_P, s))
    b = bridges.bridges(codes.pair_up(image_GS, text_GS), d_SD)
    mean_SS = np.mean(shuffles_RSS, axis=0)
    np.testing.assert_allclose(mean_SS[b.i_P, b.j_P], b.b0_P, atol=1e-12)
    found = bridges.totals(codes.pair_up(image_GS, text_GS), d_SD)
    np.testing.assert_allclose(found['sum_b0'], mean_SS.sum(), atol=1e-12)

  @parameterized.parameters(0, 1, 2)
  def test_planted_bridges_have_the_largest_excess(self, seed):
    m, d_SD = codes.planted_pairs(2000, seed)
    b = bridges.bridges(m, d_SD)
    top = np.argsort(-b.excess_P)[: planted.FACTORS]
    factors_F = np.arange(planted.FACTORS)
    np.testing.assert_array_equal(np.sort(b.i_P[top]), factors_F)
    np.testing.assert_array_equal(b.j_P[top], b.i_P[top] + codes.IMAGE)
    np.testing.assert_allclose(b.cosine_P[top], planted.COSINE, atol=1e-6)
    # A factor is shown at rate 0.12 and mentioned in 0.8 of those, each time
    # with mean strength 1: 0.096 − 0.12 · 0.096 without the cosine.
    expected = (0.096 - 0.12 * 0.096) * planted.COSINE
    np.testing.assert_allclose(b.excess_P[top].mean(), expected, rtol=0.1)
    others = np.delete(b.excess_P, top)
    self.assertLess(abs(others).max(), expected / 4)

  def test_unmatched_texts_leave_no_excess(self):
    m, d_SD = codes.planted_pairs(2000, matched=False)
    found = bridges.totals(m, d_SD)
    real = bridges.totals(*codes.planted_pairs(2000))
    excess = found['sum_b'] - found['sum_b0']
    self.assertLess(abs(excess), 0.1 * (real['sum_b'] - real['sum_b0']))

  def test_what_is_always_there_leads_by_b_but_not_by_excess(self):
    rng = np.random.default_rng(0)
    n = 400
    image_GS, text_GS = np.zeros((n, 4)), np.zeros((n, 4))
    image_GS[:, 0] = text_GS[:, 1] = 1  # Aligned, and in every row.
    image_GS[:, 2] = text_GS[:, 3] = rng.random(n) < 0.2  # Truly paired.
    d_SD = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    b = bridges.bridges(codes.pair_up(image_GS, text_GS), d_SD)
    pair = lambda p: (b.i_P[p], b.j_P[p])
    self.assertEqual(pair(b.b_P.argmax()), (0, 1))
    self.assertEqual(pair(b.excess_P.argmax()), (2, 3))
    np.testing.assert_allclose(b.excess_P[b.b_P.argmax()], 0, atol=1e-12)


class StrengthTest(absltest.TestCase):
  def test_correlations_are_numpy_s(self):
    rng = np.random.default_rng(0)
    image_GS, text_GS = (
      rng.random((80, 6)) * (rng.random((80, 6)) < 0.4) for _ in range(2)
    )
    text_GS[:, 3] = 0
    m = bridges.Matched(
      np.arange(80), *map(scipy.sparse.csr_matrix, (image_GS, text_GS))
    )
    i_P, j_P = np.meshgrid(np.arange(6), np.arange(6), indexing='ij')
    with np.errstate(invalid='ignore', divide='ignore'):
      want_SS = np.corrcoef(image_GS.T, text_GS.T)[:6, 6:]
    np.testing.assert_allclose(
      bridges.correlations(m, i_P.ravel(), j_P.ravel()), want_SS.ravel()
    )

  def test_mass_counts_real_bridges_on_both_sides(self):
    b = bridges.Bridges(
      i_P=np.array([0, 0, 2]), j_P=np.array([1, 2, 2]),
      b_P=np.array([1.0, 2.0, 4.0]), b0_P=np.array([0.5, 0.0, 1.0]),
      cosine_P=np.ones(3),
    )  # fmt: skip
    found = bridges.mass(b, np.array([True, True, False]), 3)
    np.testing.assert_allclose(found['bridge_mass_image'], [2.5, 0, 0])
    np.testing.assert_allclose(found['bridge_mass_text'], [0, 0.5, 2])


if __name__ == '__main__':
  absltest.main()
