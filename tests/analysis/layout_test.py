"""Places on the map: neighbours stay neighbours, and nothing breaks it."""

from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import threadpoolctl

from saejax.analysis import layout
from saejax.analysis import layout_large


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


def kept(at_S2: np.ndarray, of_S: np.ndarray) -> float:
  """Share of each point's five nearest that are of its cluster."""
  apart_SS = np.linalg.norm(at_S2[:, None] - at_S2[None], axis=2)
  near_SK = apart_SS.argsort(axis=1)[:, 1:6]
  return float((of_S[near_SK] == of_S[:, None]).mean())


class LargeTest(parameterized.TestCase):
  """The layout of many points, on few."""

  def setUp(self):
    super().setUp()
    limits = threadpoolctl.threadpool_limits(1)
    self.addCleanup(limits.restore_original_limits)

  def test_forces_from_the_grid_are_those_of_all_pairs(self):
    rng = np.random.default_rng(0)
    y_N2 = (9 * rng.normal(size=(300, 2)) + 40).astype(np.float32)
    force_N2, total, _ = layout_large._repulsion(y_N2, None)
    apart_NN2 = y_N2[:, None].astype(float) - y_N2[None]
    kernel_NN = 1 / (1 + (apart_NN2**2).sum(2))
    exact_N2 = (kernel_NN[..., None] ** 2 * apart_NN2).sum(1)
    self.assertLess(abs(total / (kernel_NN.sum() - 300) - 1), 0.01)
    error = np.linalg.norm(force_N2 - exact_N2) / np.linalg.norm(exact_N2)
    self.assertLess(error, 0.05)

  def test_shares_have_the_perplexity_asked_for(self):
    cosine_NK = np.sort(np.random.default_rng(0).uniform(0, 1, (9, 40)))[
      :, ::-1
    ]
    share_NK = layout_large.affinities(cosine_NK, 12)
    np.testing.assert_allclose(share_NK.sum(1), 1)
    entropy_N = -(share_NK * np.log(share_NK + 1e-300)).sum(1)
    np.testing.assert_allclose(np.exp(entropy_N), 12, rtol=1e-3)

  def test_clusters_stay_together_and_the_seed_decides(self):
    d_SD, of_S = clusters()
    fit = lambda seed=0: layout_large.fit(d_SD, seed, early=60, late=100)
    at_S2 = fit()
    self.assertGreater(kept(at_S2, of_S), 0.98)
    rng = np.random.default_rng(1)
    self.assertLess(kept(rng.permutation(at_S2), of_S), 0.5)
    np.testing.assert_array_equal(fit(), at_S2)
    self.assertTrue((fit(1) != at_S2).any())

  def test_is_taken_from_so_many_points(self):
    d_SD, of_S = clusters()
    with mock.patch.object(layout, '_LARGE', 50):
      at_S2 = layout.concept_map(d_SD)
    self.assertGreater(kept(at_S2, of_S), 0.98)
    self.assertEqual((at_S2.min(), at_S2.max()), (0, 1))
    self.assertTrue((at_S2 != layout.concept_map(d_SD)).any())

  @parameterized.parameters((60, 4), (60, 1))
  def test_takes_directions_that_are_all_the_same(self, s, d):
    d_SD = np.full((s, d), 0.5, np.float32)
    at_S2 = layout_large.fit(d_SD, early=20, late=20)
    self.assertTrue(np.isfinite(at_S2).all())


if __name__ == '__main__':
  absltest.main()
