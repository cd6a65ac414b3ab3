"""Directions, matched strengths and sparse fits do what they say."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax.analysis import steering

N, D, C = 200, 6, 3


def rows(seed: int = 0):
  rng = np.random.default_rng(seed)
  label_n = rng.integers(0, C, N)
  x_nD = rng.normal(size=(N, D)) * np.array([5, 1, 1, 1, 1, 0.1])
  return x_nD + 4 * np.eye(C, D)[label_n], label_n


class DirectionsTest(absltest.TestCase):
  def test_mean_differences(self):
    x_nD, label_n = rows()
    label_n[:20] = -1
    found = steering.mean_differences(x_nD, label_n, C + 1)
    for c in range(C):
      own = x_nD[label_n == c].mean(0)
      rest = x_nD[(label_n != c) & (label_n >= 0)].mean(0)
      np.testing.assert_allclose(found[c], own - rest)
    self.assertTrue(np.isnan(found[C]).all())

  def test_directions_by_chance_have_the_covariance_of_rows(self):
    x_nD, label_n = rows()
    drawn = np.random.default_rng(9).multivariate_normal(
      np.zeros(D), np.cov(x_nD, rowvar=False), 4000
    )
    drawn = steering.unit(drawn)
    expected = drawn.T @ drawn / len(drawn)
    for v_ND in (
      steering.like_covariance(x_nD, 4000),
      steering.of_shuffled(x_nD, label_n, 4000),
    ):
      np.testing.assert_allclose(np.linalg.norm(v_ND, axis=1), 1)
      found = v_ND.T @ v_ND / len(v_ND)
      np.testing.assert_allclose(found, expected, atol=0.03)
      self.assertLess(np.linalg.norm(v_ND.mean(0)), 0.08)

  def test_the_same_seed_gives_the_same(self):
    x_nD, label_n = rows()
    for make in (
      lambda seed: steering.like_covariance(x_nD, 3, seed),
      lambda seed: steering.of_shuffled(x_nD, label_n, 3, seed),
    ):
      np.testing.assert_array_equal(make(1), make(1))
      self.assertGreater(np.abs(make(1) - make(2)).max(), 0.01)


class AdjustedTest(absltest.TestCase):
  """A world where hearts are often red: two factors, each of a plane."""

  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(4)
    n, d = 4000, 12
    self.shape_n = rng.integers(0, C, n)
    often_n = rng.random(n) < 0.6
    self.colour_n = np.where(often_n, self.shape_n, rng.integers(0, C, n))
    # A colour and a shape have a direction in common.
    self.colour_CD, self.shape_CD = rng.normal(size=(2, C, d))
    self.x_nD = (
      self.colour_CD[self.colour_n]
      + 5 * self.shape_CD[self.shape_n]
      + rng.normal(size=(n, d))
    )

  def true(self, of_CD, label_n):
    share_C1 = np.bincount(label_n)[:, None] / len(label_n)
    rest_CD = ((share_C1 * of_CD).sum(0) - share_C1 * of_CD) / (1 - share_C1)
    return of_CD - rest_CD

  def adjusted(self, label_n, beside_n):
    return steering.adjusted_differences(
      self.x_nD, label_n, C + 1, np.eye(C)[beside_n]
    )

  def test_what_goes_with_a_class_is_left_out(self):
    found = self.adjusted(self.colour_n, self.shape_n)
    self.assertTrue(np.isnan(found[C]).all())
    true_CD = self.true(self.colour_CD, self.colour_n)
    np.testing.assert_allclose(found[:C], true_CD, atol=0.2)
    plain = steering.mean_differences(self.x_nD, self.colour_n, C)
    cosine = lambda v: (steering.unit(v) * steering.unit(true_CD)).sum(1)
    self.assertGreater(cosine(found[:C]).min(), 0.99)
    self.assertLess(cosine(plain).min(), 0.8)

  def test_with_nothing_beside_it_is_the_difference_of_means(self):
    found = steering.adjusted_differences(
      self.x_nD, self.colour_n, C, np.zeros((len(self.x_nD), 0))
    )
    np.testing.assert_allclose(
      found, steering.mean_differences(self.x_nD, self.colour_n, C), atol=1e-9
    )

  def test_of_labels_by_chance_little_is_left(self):
    label_n = np.random.default_rng(5).permutation(self.colour_n)
    found = self.adjusted(label_n, self.shape_n)[:C]
    self.assertLess(np.linalg.norm(found, axis=1).max(), 0.3)

  def test_what_cannot_be_told_apart_is_zero(self):
    found = self.adjusted(self.colour_n, self.colour_n)[:C]
    np.testing.assert_allclose(found, 0, atol=1e-9)

  def test_turned_within_its_own_span_a_factor_leaves_the_other(self):
    colour_cD = self.adjusted(self.colour_n, self.shape_n)[:C]
    shape_cD = self.adjusted(self.shape_n, self.colour_n)[:C]
    other_nD = steering.span(shape_cD)
    own_nD = steering.span(steering.without(colour_cD, other_nD))
    self.assertEqual((len(own_nD), len(other_nD)), (C - 1, C - 1))
    np.testing.assert_allclose(own_nD @ other_nD.T, 0, atol=1e-12)
    # What is left of the true colours in what was found to be shape's alone.
    away_CD = self.shape_CD - self.shape_CD.mean(0)
    seen = np.linalg.norm(away_CD @ own_nD.T, axis=1)
    self.assertLess((seen / np.linalg.norm(away_CD, axis=1)).max(), 0.05)
    self.assertEmpty(steering.span(np.zeros((0, 4))))


class StrengthTest(parameterized.TestCase):
  def test_the_least_strength_that_turns_half(self):
    least = lambda *turned: steering.least_that_turns(np.array(turned), 0.5)
    self.assertEqual(least(0.1, 0.5, 0.4, 0.9), 1)
    self.assertEqual(least(0.1, 0.49), -1)

  def test_the_best_strength_does_little_damage(self):
    effect = np.array([0.1, 0.5, 0.9])
    best = lambda harm: steering.best_strength(effect, np.array(harm), 0.25)
    self.assertEqual(best([0.0, 0.2, 0.3]), 1)
    self.assertEqual(best([0.0, 0.2, 0.1]), 2)
    self.assertEqual(best([0.3, 0.4, 0.5]), 0)
    np.testing.assert_array_equal(
      best([[0.0, 0.2, 0.3], [0.3, 0.4, 0.1], [0.3, 0.4, np.nan]]), [1, 2, 0]
    )


class PursuitTest(absltest.TestCase):
  def test_planted_atoms_are_enough_and_fewer_are_not(self):
    rng = np.random.default_rng(0)
    w_SD = rng.normal(size=(60, 40))
    v_ND = np.stack([w_SD[3] - 2 * w_SD[8] + w_SD[20], -w_SD[5]])
    cosine = steering.pursuit_cosines(v_ND, w_SD, 6)
    self.assertLess(cosine[0, 1], 0.99)
    np.testing.assert_allclose(cosine[1], 1)
    np.testing.assert_allclose(cosine[0, 5], 1, atol=0.02)
    self.assertTrue((np.diff(cosine, axis=1) >= -1e-12).all())

  def test_cosines_are_those_of_least_squares(self):
    rng = np.random.default_rng(1)
    w_SD, v_D = rng.normal(size=(30, 10)), rng.normal(size=10)
    found = steering.pursuit_cosines(v_D[None], w_SD, 10)[0]
    unit = w_SD / np.linalg.norm(w_SD, axis=1, keepdims=True)
    left, chosen = v_D, []
    for k in range(10):
      chosen.append(int(np.abs(unit @ left).argmax()))
      z, *_ = np.linalg.lstsq(unit[chosen].T, v_D, rcond=None)
      fit = unit[chosen].T @ z
      left = v_D - fit
      cosine = fit @ v_D / np.linalg.norm(fit) / np.linalg.norm(v_D)
      np.testing.assert_allclose(found[k], cosine, atol=1e-8)
    self.assertAlmostEqual(found[-1], 1)


if __name__ == '__main__':
  absltest.main()
