"""Shrinkage, largest cosines and density, on what is known."""

from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax.analysis import quality


class QualityTest(parameterized.TestCase):
  def test_shrinkage_is_what_would_undo_it(self):
    rng = np.random.default_rng(0)
    xhat_nD = rng.normal(size=(5, 7))
    aside_nD = rng.normal(size=(5, 7))
    aside_nD -= (
      (aside_nD * xhat_nD).sum(1) / (xhat_nD**2).sum(1)
    )[:, None] * xhat_nD  # fmt: skip
    xhat_nD[4] = 0
    found_n = quality.shrinkage(1.25 * xhat_nD + aside_nD, xhat_nD)
    np.testing.assert_allclose(found_n[:4], 1.25)
    self.assertTrue(np.isnan(found_n[4]))

  @parameterized.parameters(2, 3, 2048)
  def test_largest_cosines_are_those_of_all_pairs(self, block):
    d_SD = np.random.default_rng(0).normal(size=(7, 4))
    unit_SD = d_SD / np.linalg.norm(d_SD, axis=1, keepdims=True)
    cosine_SS = unit_SD @ unit_SD.T
    np.fill_diagonal(cosine_SS, -1)
    with mock.patch.object(quality, '_BLOCK', block):
      np.testing.assert_allclose(quality.max_cosines(d_SD), cosine_SS.max(1))

  def test_a_direction_alone_is_near_none(self):
    self.assertTrue(np.isnan(quality.max_cosines(np.ones((1, 3)))).all())

  def test_density_counts_every_concept_once(self):
    shares, edges = quality.density(np.array([0, 1e-9, 0.05, 1]))
    self.assertAlmostEqual(shares.sum(), 1)
    self.assertEqual((shares[0], shares[-1]), (0.5, 0.25))
    at = np.searchsorted(edges, np.log10(0.05)) - 1
    self.assertEqual(shares[at], 0.25)


if __name__ == '__main__':
  absltest.main()
