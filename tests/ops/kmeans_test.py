"""k-means finds planted clusters, by blocks, whatever the rows are."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import ops

KEY = jax.random.key(0)


def clusters(n: int, m: int, spread: float):
  """Rows around m centres, and the centres."""
  rng = np.random.default_rng(0)
  center_MD = rng.normal(size=(m, 8))
  x_ND = center_MD[np.arange(n) % m] + spread * rng.normal(size=(n, 8))
  return x_ND.astype(np.float32), center_MD


def by_hand(x_ND, c_MD):
  """The mean of the rows nearest to each centroid."""
  square_NM = ((x_ND[:, None] - c_MD[None]) ** 2).sum(2)
  nearest_N = square_NM.argmin(1)
  return np.stack(
    [
      x_ND[nearest_N == j].mean(0) if (nearest_N == j).any() else c_MD[j]
      for j in range(len(c_MD))
    ]
  )


class KMeansTest(parameterized.TestCase):
  @parameterized.parameters(30, 500)
  def test_planted_clusters_are_found(self, n):
    x_ND, center_MD = clusters(n, 10, 1e-3)
    c_MD = np.asarray(ops.kmeans(KEY, x_ND, 10))
    distance_MM = np.linalg.norm(c_MD[:, None] - center_MD[None], axis=2)
    self.assertCountEqual(distance_MM.argmin(1), range(10))
    self.assertLess(distance_MM.min(1).max(), 5e-3)

  @parameterized.parameters(7, 64, 1000)
  def test_a_step_is_that_of_lloyd_whatever_the_block(self, block):
    x_ND, _ = clusters(300, 12, 1.0)
    first, second = (
      np.asarray(ops.kmeans(KEY, x_ND, 12, steps=n, block=block))
      for n in (1, 2)
    )
    np.testing.assert_allclose(second, by_hand(x_ND, first), atol=1e-5)
    self.assertGreater(np.abs(second - first).max(), 1e-3)

  def test_it_starts_at_different_rows(self):
    x_ND, _ = clusters(40, 40, 0.1)
    c_MD = np.asarray(ops.kmeans(KEY, x_ND, 40, steps=0))
    np.testing.assert_array_equal(
      np.unique(c_MD, axis=0), np.unique(x_ND, axis=0)
    )


if __name__ == '__main__':
  absltest.main()
