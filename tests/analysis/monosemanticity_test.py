"""Monosemanticity from sums is that of all pairs."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import scipy.sparse

from saejax.analysis import monosemanticity

N, S, D = 50, 7, 9


def of_pairs(a_nS, e_nD):
  """The definition: every pair of images by itself."""
  e_nD = e_nD / np.linalg.norm(e_nD, axis=1, keepdims=True)
  found = []
  for a_n in a_nS.T:
    if a_n.max() == a_n.min():
      found.append(np.nan)
      continue
    a_n = (a_n - a_n.min()) / (a_n.max() - a_n.min())
    top = below = 0.0
    for i in range(len(a_n)):
      for j in range(len(a_n)):
        if i != j:
          top += a_n[i] * a_n[j] * (e_nD[i] @ e_nD[j])
          below += a_n[i] * a_n[j]
    found.append(top / below if below else np.nan)
  return np.array(found)


class MonosemanticityTest(parameterized.TestCase):
  @parameterized.parameters(True, False)
  def test_is_the_mean_over_all_pairs(self, is_sparse):
    rng = np.random.default_rng(0)
    a_nS = rng.uniform(0.5, 2, (N, S)) * (rng.random((N, S)) < 0.3)
    a_nS[:, 0] = rng.uniform(1, 3, N)  # Never 0: its least counts as 0.
    a_nS[:, 1] = 0
    a_nS[:, 2] = 1.5
    a_nS[:, 3] = np.arange(N) == 4
    e_nD = rng.normal(size=(N, D)) + 0.5
    given = scipy.sparse.csr_matrix(a_nS) if is_sparse else a_nS
    found_S = monosemanticity.scores(given, e_nD)
    np.testing.assert_allclose(found_S, of_pairs(a_nS, e_nD), atol=1e-12)
    np.testing.assert_array_equal(np.isnan(found_S), [0, 1, 1, 1, 0, 0, 0])

  def test_is_one_for_copies_of_one_image(self):
    e_nD = np.eye(D)[np.arange(N) % D]
    a_nS = (np.arange(N) % D == 2)[:, None] * 1.0
    np.testing.assert_allclose(monosemanticity.scores(a_nS, e_nD), 1)

  def test_random_directions_fire_as_often_as_asked(self):
    x_nD = np.random.default_rng(0).normal(size=(N, D))
    a_nS = monosemanticity.random_activations(x_nD, 11, 8)
    np.testing.assert_array_equal((a_nS > 0).sum(0), np.full((1, 11), 8))


if __name__ == '__main__':
  absltest.main()
