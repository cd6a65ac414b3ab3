"""Places on the map: neighbours stay neighbours, and nothing breaks it."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import threadpoolctl

from saejax.analysis import layout


def clusters(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
  """Directions about four centres, of any length; and which centre."""
  rng = np.random.default_rng(seed)
  of_S = rng.permutation(np.repeat(np.arange(4), 15))
  d_SD = np.eye(16)[of_S] + 0.1 * rng.normal(size=(60, 16))
  return d_SD * rng.uniform(0.2, 5, size=(60, 1)), of_S


class ConceptMapTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    # So little work takes longest where threads wait for each other.
    limits = threadpoolctl.threadpool_limits(1)
    self.addCleanup(limits.restore_original_limits)

  def test_keeps_neighbours_by_direction_whatever_the_length(self):
    d_SD, of_S = clusters()
    at_S2 = layout.concept_map(d_SD)
    apart_SS = np.linalg.norm(at_S2[:, None] - at_S2[None], axis=2)
    near_SK = apart_SS.argsort(axis=1)[:, 1:6]
    self.assertGreater((of_S[near_SK] == of_S[:, None]).mean(), 0.98)

  def test_fills_the_unit_square_and_is_deterministic(self):
    d_SD, _ = clusters()
    at_S2 = layout.concept_map(d_SD)
    np.testing.assert_array_equal(at_S2.min(0), 0)
    np.testing.assert_array_equal(at_S2.max(0), 1)
    np.testing.assert_array_equal(layout.concept_map(d_SD), at_S2)

  @parameterized.product(s=[0, 1, 4, 5, 6], d=[1, 2, 3, 8])
  def test_takes_any_size(self, s, d):
    d_SD = np.random.default_rng(0).normal(size=(s, d)).astype(np.float32)
    at_S2 = layout.concept_map(d_SD)
    self.assertEqual(at_S2.shape, (s, 2))
    self.assertTrue(((at_S2 >= 0) & (at_S2 <= 1)).all())
    np.testing.assert_array_equal(layout.concept_map(d_SD), at_S2)

  def test_takes_directions_that_are_all_the_same(self):
    at_S2 = layout.concept_map(np.full((8, 4), 0.5, np.float32))
    self.assertTrue(((at_S2 >= 0) & (at_S2 <= 1)).all())


if __name__ == '__main__':
  absltest.main()
