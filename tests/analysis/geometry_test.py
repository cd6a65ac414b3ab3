"""The gap, its direction, and floors whose values are known."""

from unittest import mock
import warnings

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import scipy.stats

from saejax.analysis import geometry


def fit_of(covariance_DD: np.ndarray, direction_D) -> geometry.Fit:
  direction_D = np.asarray(direction_D, np.float64)
  return geometry.Fit(
    mean_image_D=direction_D,
    mean_text_D=np.zeros_like(direction_D),
    within_DD=covariance_DD,
  )


class FitTest(absltest.TestCase):
  def test_gap_direction_and_spread_of_planted_modalities(self):
    rng = np.random.default_rng(0)
    d, n = 5, 20_000
    shift_D = np.array([3.0, 0, 0, -4, 0])
    root_image_D, root_text_D = np.array([[1, 2, 1, 1, 1], [1, 1, 1, 1, 3]])
    fit = geometry.fit(
      shift_D + 7 + rng.normal(size=(n, d)) * root_image_D,
      7 + rng.normal(size=(n, d)) * root_text_D,
    )
    np.testing.assert_allclose(fit.gap, 5, atol=0.06)
    np.testing.assert_allclose(fit.direction_D, shift_D / 5, atol=0.02)
    np.testing.assert_allclose(np.linalg.norm(fit.direction_D), 1)
    # About each modality's own mean: the gap is no spread.
    expected_DD = np.diag([1, 2.5, 1, 1, 5])
    np.testing.assert_allclose(fit.within_DD, expected_DD, atol=0.15)

  def test_means_of_many_float32_rows_lose_nothing(self):
    x_nD = np.full((300_000, 2), 0.1, np.float32)
    x_nD[::2, 1] = 3
    fit = geometry.fit(x_nD, x_nD[:, ::-1])
    exact_D = x_nD.astype(np.float64).mean(0)
    np.testing.assert_allclose(fit.mean_image_D, exact_D, rtol=1e-9)
    np.testing.assert_allclose(fit.mean_text_D, exact_D[::-1], rtol=1e-9)

  def test_no_gap_has_no_direction(self):
    fit = fit_of(np.eye(3), np.zeros(3))
    self.assertEqual(fit.gap, 0)
    np.testing.assert_array_equal(fit.direction_D, np.zeros(3))


class EffectiveRankTest(parameterized.TestCase):
  @parameterized.parameters(1, 2, 7, 48)
  def test_of_the_identity_is_its_width_at_any_scale(self, d):
    for scale in (1e-4, 1, 50):
      found = geometry.effective_rank(scale * np.eye(d))
      np.testing.assert_allclose(found, d)

  def test_counts_directions_by_entropy(self):
    basis_DD = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    for values_D, expected in (
      ([2, 0, 0, 0, 0, 0], 1),
      ([3, 3, 3, 0, 0, 0], 3),
      ([2, 1, 1, 0, 0, 0], 2**1.5),  # 1.5 bits.
    ):
      covariance_DD = basis_DD * np.array(values_D) @ basis_DD.T
      found = geometry.effective_rank(covariance_DD)
      np.testing.assert_allclose(found, expected, rtol=1e-6)

  def test_where_nothing_varies_there_is_none(self):
    for covariance_DD in (np.zeros((3, 3)), geometry.covariance(np.eye(3)[:1])):
      with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = geometry.effective_rank(covariance_DD)
      self.assertTrue(np.isnan(found))


class CovarianceTest(absltest.TestCase):
  def test_in_pieces_is_that_of_numpy(self):
    x_nD = np.random.default_rng(0).normal(7, 1, size=(50, 4))
    x_nD = x_nD.astype(np.float32)
    with mock.patch.object(geometry, '_ROWS', 7):
      found_DD = geometry.covariance(x_nD)
    expected_DD = np.cov(x_nD.astype(np.float64), rowvar=False)
    np.testing.assert_allclose(found_DD, expected_DD, rtol=1e-10)


class CosinesTest(absltest.TestCase):
  def test_know_neither_sign_nor_length_and_zero_rows_have_none(self):
    rows_SD = np.array([[3, 4], [-3, 4], [0.3, -0.4], [0, 9], [0, 0]])
    found_S = geometry.cosines(rows_SD, np.array([1.0, 0]))
    np.testing.assert_allclose(found_S, [0.6, 0.6, 0.6, 0, np.nan])


class FloorsTest(parameterized.TestCase):
  @parameterized.parameters(2, 16, 512)
  def test_isotropic_floor_is_that_of_the_sphere(self, d):
    # cos² of a random direction is Beta(½, (d − 1) / 2).
    median = np.sqrt(scipy.stats.beta(0.5, (d - 1) / 2).median())
    found = geometry.floors(fit_of(np.eye(d), np.eye(d)[0]))
    np.testing.assert_allclose(found['isotropic'], median, rtol=0.04)
    np.testing.assert_allclose(found['covariance'], median, rtol=0.04)

  def test_covariance_floor_follows_where_rows_spread(self):
    # In two dimensions y / x of N(0, diag(9, 1)) is Cauchy of scale 1/3.
    covariance_DD = np.diag([9.0, 1])
    along = geometry.floors(fit_of(covariance_DD, [1, 0]))
    across = geometry.floors(fit_of(covariance_DD, [0, 5]))
    along_median, across_median = np.array([3, 1]) / np.sqrt(10)
    np.testing.assert_allclose(along['covariance'], along_median, rtol=0.01)
    np.testing.assert_allclose(across['covariance'], across_median, rtol=0.05)
    for found in (along, across):
      np.testing.assert_allclose(found['isotropic'], 0.5**0.5, rtol=0.03)

  def test_axes_of_spread_may_lie_anyhow(self):
    turn_DD = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    covariance_DD = turn_DD * np.array([9, 1, 1]) @ turn_DD.T
    found = geometry.floors(fit_of(covariance_DD, turn_DD[:, 0]))
    # cos² = 9a / (9a + b), with 2a / b of F(1, 2).
    ratio = scipy.stats.f(1, 2).median() / 2
    median = np.sqrt(9 * ratio / (9 * ratio + 1))
    np.testing.assert_allclose(found['covariance'], median, rtol=0.01)

  def test_are_deterministic_in_the_seed(self):
    fit = fit_of(np.diag([1.0, 2, 3]), [1, 1, 0])
    self.assertEqual(geometry.floors(fit, 1), geometry.floors(fit, 1))
    self.assertNotEqual(geometry.floors(fit, 1), geometry.floors(fit, 2))


if __name__ == '__main__':
  absltest.main()
