"""The geometric median: where the mean is not."""

from absl.testing import absltest
import numpy as np
import scipy.optimize

from saejax.train import median


class MedianTest(absltest.TestCase):
  def test_outliers_do_not_move_it(self):
    rng = np.random.default_rng(0)
    center_D = rng.normal(size=12)
    x_ND = center_D + 0.1 * rng.normal(size=(1000, 12))
    x_ND[:300] = 50 + rng.normal(size=(300, 12))
    found_D = median.geometric_median(x_ND)
    self.assertLess(np.linalg.norm(found_D - center_D), 0.2)
    self.assertGreater(np.linalg.norm(x_ND.mean(0) - center_D), 40)

  def test_no_point_is_nearer_to_all(self):
    x_ND = np.random.default_rng(1).exponential(size=(40, 3))
    cost = lambda m: np.linalg.norm(x_ND - m, axis=1).sum()
    best = scipy.optimize.minimize(cost, x_ND.mean(0), tol=1e-12)
    found_D = median.geometric_median(x_ND)
    self.assertLess(cost(found_D), best.fun * (1 + 1e-8))
    np.testing.assert_allclose(found_D, best.x, atol=1e-3)

  def test_a_row_on_the_way_does_not_hold_it(self):
    # The mean is the first row, which is far from the median.
    x_ND = np.array([[0.0], [-9], [3], [3], [3], [3.0], [-3]])
    self.assertEqual(x_ND.mean(), 0)
    self.assertAlmostEqual(median.geometric_median(x_ND)[0], 3, places=2)

  def test_equal_rows_are_their_own(self):
    np.testing.assert_allclose(median.geometric_median(np.ones((5, 2))), 1)


if __name__ == '__main__':
  absltest.main()
