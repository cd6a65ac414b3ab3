"""Matching of dictionaries against permutations that are known."""

from absl.testing import absltest
import numpy as np
import scipy.sparse

from saejax.analysis import stability

S, D = 60, 24


def rows(seed: int, s: int = S) -> np.ndarray:
  x_SD = np.random.default_rng(seed).normal(size=(s, D))
  return x_SD / np.linalg.norm(x_SD, axis=1, keepdims=True)


class MatchingTest(absltest.TestCase):
  def test_a_permuted_copy_is_found(self):
    order_S = np.random.default_rng(1).permutation(S)
    found = stability.match_rows(rows(0), 3 * rows(0)[order_S])
    np.testing.assert_array_equal(order_S[found.j_M], found.i_M)
    np.testing.assert_allclose(found.similarity_M, 1, atol=1e-6)

  def test_noise_gives_the_cosine_that_it_leaves(self):
    rng = np.random.default_rng(2)
    noise_SD = rng.normal(size=(S, D))
    d_SD = rows(0)
    noise_SD -= (noise_SD * d_SD).sum(1, keepdims=True) * d_SD
    noise_SD /= np.linalg.norm(noise_SD, axis=1, keepdims=True)
    b_SD = np.cos(0.3) * d_SD + np.sin(0.3) * noise_SD
    found = stability.match_rows(d_SD, b_SD[rng.permutation(S)])
    np.testing.assert_allclose(found.similarity_M, np.cos(0.3), atol=1e-6)

  def test_dictionaries_of_two_sizes(self):
    found = stability.match_rows(rows(0), rows(0)[10:30])
    np.testing.assert_array_equal(np.sort(found.i_M), np.arange(10, 30))

  def test_one_to_one_is_not_nearest_neighbour(self):
    similarity_SR = np.array([[0.9, 0.8], [0.85, 0.1]])
    found = stability.match(similarity_SR)
    np.testing.assert_array_equal(found.j_M, [1, 0])


class FloorsTest(absltest.TestCase):
  def test_independent_dictionaries_reach_the_isotropic_floor(self):
    found = stability.floors(rows(3, 4000), S, S)
    own = stability.match_rows(rows(4), rows(5)).similarity_M.mean()
    self.assertAlmostEqual(found['isotropic'], own, delta=0.03)

  def test_structure_of_the_data_raises_the_others(self):
    rng = np.random.default_rng(6)
    few_ND = rng.normal(size=(4000, 3)) @ rng.normal(size=(3, D))
    found = stability.floors(few_ND, S, S)
    self.assertGreater(found['covariance'], found['isotropic'] + 0.2)
    self.assertGreater(found['data'], found['isotropic'] + 0.2)


class MeansTest(absltest.TestCase):
  def test_the_top_by_energy(self):
    value_M, energy_M = np.array([0.2, 1.0, 0.6]), np.array([1.0, 3.0, 2.0])
    found = stability.top_means(value_M, energy_M, [1, 2, 3])
    np.testing.assert_allclose(found, [1.0, 0.8, 0.6])
    self.assertAlmostEqual(
      stability.weighted_mean(value_M, energy_M), (0.2 + 3 + 1.2) / 6
    )

  def test_tenths_rise_with_what_they_are_of(self):
    value_M = np.random.default_rng(0).permutation(100) / 100
    tenths = stability.by_decile(value_M, value_M)
    np.testing.assert_allclose(tenths, np.arange(10) / 10 + 0.045)


class CorrelationTest(absltest.TestCase):
  def test_is_numpy_s(self):
    rng = np.random.default_rng(0)
    a_nS = rng.random((200, 5)) * (rng.random((200, 5)) < 0.3)
    b_nR = rng.random((200, 7)) * (rng.random((200, 7)) < 0.3)
    b_nR[:, 2] = 0
    a, b = scipy.sparse.csr_matrix(a_nS), scipy.sparse.csr_matrix(b_nR)
    with np.errstate(invalid='ignore', divide='ignore'):
      want_SR = np.corrcoef(a_nS.T, b_nR.T)[:5, 5:]
    np.testing.assert_allclose(
      stability.correlations(a, b), np.nan_to_num(want_SR), atol=1e-6
    )
    i_M, j_M = np.arange(5), np.arange(2, 7)
    np.testing.assert_allclose(
      stability.paired_correlations(a, b, i_M, j_M), want_SR[i_M, j_M],
      atol=1e-9,
    )  # fmt: skip


if __name__ == '__main__':
  absltest.main()
