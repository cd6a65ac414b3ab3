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


class StrengthTest(parameterized.TestCase):
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
