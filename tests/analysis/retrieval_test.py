"""Hits and ranks against loops, with ties and equal captions."""

from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies as st
import numpy as np
import scipy.sparse

from saejax.analysis import retrieval
from tests import planted

FEW = hypothesis.settings(deadline=None, max_examples=30)


def hits_of(hit_qc) -> retrieval.Hits:
  """Any hits: every candidate says itself."""
  each_cc = scipy.sparse.identity(hit_qc.shape[1], np.int64, format='csr')
  return retrieval.Hits(scipy.sparse.csr_matrix(hit_qc).astype(int), each_cc)


def every(hit: retrieval.Hits) -> np.ndarray:
  return hit.block(slice(None)).toarray()


def brute_rank(similarity_c: np.ndarray, hit_c: np.ndarray) -> int:
  if not hit_c.any():
    return -1
  best = max(x for x, hit in zip(similarity_c, hit_c, strict=True) if hit)
  return sum(
    not hit and x >= best for x, hit in zip(similarity_c, hit_c, strict=True)
  )


class HitsTest(absltest.TestCase):
  def test_own_captions_and_those_that_say_the_same(self):
    pair_i = np.array([8, 3, 5])
    pair_j = np.array([3, 8, 8, 4, 3])
    own = retrieval.hits(pair_i, pair_j)
    np.testing.assert_array_equal(
      every(own), [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
    )
    # Text 3 is of no image here, but says what text 0 says; so text 3 answers
    # image 3, and text 2 says what text 4 says.
    key_j = np.array([70, 20, 90, 70, 90])
    same = retrieval.hits(pair_i, pair_j, key_j)
    np.testing.assert_array_equal(
      every(same), [[0, 1, 1, 0, 1], [1, 0, 1, 1, 1], [0, 0, 0, 0, 0]]
    )

  @FEW
  @hypothesis.given(
    seed=st.integers(0, 10**6),
    images=st.integers(1, 10),
    texts=st.integers(1, 15),
    keyed=st.booleans(),
  )
  def test_equal_loops(self, seed, images, texts, keyed):
    rng = np.random.default_rng(seed)
    pair_i = rng.permutation(12)[:images]
    pair_j = rng.integers(0, 12, size=texts)
    key_j = rng.integers(0, 5, size=texts) if keyed else None
    hit = retrieval.hits(pair_i, pair_j, key_j)
    found = every(hit)
    say_j = key_j if keyed else pair_j
    for i, pair in enumerate(pair_i):
      said = set(say_j[pair_j == pair])
      self.assertEqual(found[i].tolist(), [key in said for key in say_j])
    np.testing.assert_array_equal(every(hit.turned()), found.T)
    with mock.patch.object(retrieval, '_PAIRS', 2 * texts):
      np.testing.assert_array_equal(hit.counts(), found.sum(1))

  def test_what_everyone_says_takes_no_room_for_all_pairs(self):
    n = 30_000
    hit = retrieval.hits(np.arange(n), np.arange(n), np.arange(n) % 2)
    self.assertLess(hit.asks_qk.nnz + hit.says_kc.nnz, 3 * n)
    self.assertEqual(hit.block(slice(0, 1)).nnz, n / 2)


class RanksTest(parameterized.TestCase):
  @FEW
  @hypothesis.given(
    seed=st.integers(0, 10**6),
    q=st.integers(1, 12),
    c=st.integers(1, 12),
    pairs=st.sampled_from([1, 40, 1024]),
  )
  def test_equal_loops_with_many_ties(self, seed, q, c, pairs):
    rng = np.random.default_rng(seed)
    # Small whole numbers: similarities are exact and often equal.
    query_qD = rng.integers(-2, 3, size=(q, 3)).astype(np.float32)
    candidate_cD = rng.integers(-2, 3, size=(c, 3)).astype(np.float32)
    hit_qc = rng.random((q, c)) < 0.3
    with mock.patch.object(retrieval, '_PAIRS', pairs):
      found_q = retrieval.ranks(query_qD, candidate_cD, hits_of(hit_qc))
    expected_q = [
      brute_rank(candidate_cD @ query_D, hit_c)
      for query_D, hit_c in zip(query_qD, hit_qc, strict=True)
    ]
    np.testing.assert_array_equal(found_q, expected_q)

  @parameterized.product(c=[3, 33, 130], d=[48, 512])
  def test_a_collapsed_model_ranks_last_and_not_at_random(self, c, d):
    # Matrix products round columns differently, though all are the same.
    rng = np.random.default_rng(0)
    query_qD, one_1D = (
      retrieval.unit_rows(rng.normal(size=(n, d))).astype(np.float32)
      for n in (c, 1)
    )
    found_q = retrieval.ranks(query_qD, one_1D.repeat(c, 0), hits_of(np.eye(c)))
    np.testing.assert_array_equal(found_q, c - 1)

  def test_undefined_similarities_rank_last(self):
    x_nD = np.eye(4)
    x_nD[1] = np.nan
    hit_nn = hits_of(np.eye(4))
    np.testing.assert_array_equal(
      retrieval.ranks(x_nD, np.eye(4), hit_nn), [0, 3, 0, 0]
    )
    np.testing.assert_array_equal(
      retrieval.ranks(np.full((4, 4), np.nan), np.eye(4), hit_nn), 3
    )

  def test_planted_pairs_are_found_and_unmatched_ones_are_not(self):
    recalls = []
    for matched in (True, False):
      p = planted.sample(300, matched=matched)
      pair_n = np.arange(300)
      rank_q = retrieval.ranks(
        retrieval.unit_rows(p.image_ND),
        retrieval.unit_rows(p.text_ND),
        retrieval.hits(pair_n, pair_n),
      )
      recalls.append((rank_q < 10).mean())
    self.assertGreater(recalls[0], 0.5)
    self.assertLess(recalls[1], 0.1)  # Chance is 10 / 300.


class ChanceTest(absltest.TestCase):
  def test_is_what_candidates_in_a_random_order_give(self):
    rng = np.random.default_rng(0)
    c, hits_q = 12, np.array([1, 1, 3, 7])
    rank_Rq = np.array(
      [
        [np.flatnonzero(rng.permutation(c) < hits)[0] for hits in hits_q]
        for _ in range(4000)
      ]
    )
    ks = [1, 2, 5, 6, 12, 40]
    found_K = retrieval.chance(hits_q, c, ks)
    np.testing.assert_allclose(
      found_K, [(rank_Rq < k).mean() for k in ks], atol=0.015
    )
    np.testing.assert_allclose(found_K[0], hits_q.mean() / c)
    np.testing.assert_array_equal(found_K[4:], 1)

  def test_is_exact_among_many_candidates(self):
    found_K = retrieval.chance(np.ones(3, int), 500_000, [1, 10, 250_000])
    np.testing.assert_allclose(found_K, [2e-6, 2e-5, 0.5], rtol=1e-9)

  def test_of_no_queries_is_undefined(self):
    self.assertTrue(np.isnan(retrieval.chance(np.zeros(0, int), 5, [1])).all())


class UnitRowsTest(absltest.TestCase):
  def test_scales_to_length_one_and_leaves_zero_rows(self):
    x_nD = np.array([[3.0, 4], [0, 0], [0, -0.1]])
    found_nD = retrieval.unit_rows(x_nD)
    np.testing.assert_allclose(found_nD, [[0.6, 0.8], [0, 0], [0, -1]])


if __name__ == '__main__':
  absltest.main()
