"""How much concepts are used, and the rows that show them."""

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies as st
import numpy as np
import scipy.sparse

from saejax.analysis import energy

FEW = hypothesis.settings(deadline=None, max_examples=25)


class UsageTest(absltest.TestCase):
  def test_is_the_mean_size_and_the_number_of_firings(self):
    z_nS = np.array([[0, 2, 0], [0, -4, 1], [0, 0, 0], [0, 0, 3]], np.float32)
    u = energy.usage(scipy.sparse.csr_matrix(z_nS))
    self.assertEqual(u.rows, 4)
    np.testing.assert_allclose(u.energy_S, [0, 1.5, 1])
    np.testing.assert_array_equal(u.count_S, [0, 2, 2])
    np.testing.assert_allclose(u.rate_S, [0, 0.5, 0.5])

  def test_many_float32_rows_add_up(self):
    z_n1 = np.full((10**6, 1), 0.1, np.float32)
    u = energy.usage(scipy.sparse.csr_matrix(z_n1))
    np.testing.assert_allclose(u.energy_S, 0.1, rtol=1e-6)
    self.assertEqual(u.count_S, 10**6)

  def test_of_no_rows_is_zero(self):
    u = energy.usage(scipy.sparse.csr_matrix((0, 3), dtype=np.float32))
    np.testing.assert_array_equal(u.energy_S, np.zeros(3))
    np.testing.assert_array_equal(u.rate_S, np.zeros(3))


class CarryingTest(parameterized.TestCase):
  @parameterized.parameters(
    (0.5, 1), (0.51, 2), (0.75, 2), (0.76, 3), (0.9, 4), (1.0, 5)
  )
  def test_counts_the_strongest(self, share, expected):
    energy_S = np.array([1, 0, 2, 8, 0, 4, 1]) / 16  # 8, 4, 2, 1, 1 sixteenths.
    found = energy.concepts_carrying(energy_S, share)
    self.assertEqual(found, expected)

  @FEW
  @hypothesis.given(
    seed=st.integers(0, 10**6),
    s=st.integers(1, 70),
    share=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
  )
  def test_is_the_fewest_that_do(self, seed, s, share):
    energy_S = np.random.default_rng(seed).lognormal(size=s)
    k = energy.concepts_carrying(energy_S, share)
    self.assertBetween(k, 1, s)
    sorted_S = np.sort(energy_S)[::-1]
    total = energy_S.sum()
    self.assertGreaterEqual(sorted_S[:k].sum(), share * total - 1e-9)
    self.assertLess(sorted_S[: k - 1].sum(), share * total)

  def test_no_energy_takes_no_concept(self):
    self.assertEqual(energy.concepts_carrying(np.zeros(4), 0.5), 0)


if __name__ == '__main__':
  absltest.main()
