"""Alike arrangements are found, and unrelated ones are not."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax.analysis import cka

N, D = 200, 60


def rows(seed: int, n: int = N, d: int = D) -> np.ndarray:
  return np.random.default_rng(seed).normal(size=(n, d))


def value(x, y, weight=None) -> np.ndarray:
  return cka.cka(cka.gram(x), cka.gram(y), weight)


def biased(x, y) -> float:
  """CKA as it is usually computed (Kornblith et al., eq. 2, linear)."""
  x, y = x - x.mean(0), y - y.mean(0)
  return float(
    np.linalg.norm(x.T @ y) ** 2
    / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
  )


class CkaTest(parameterized.TestCase):
  def test_unrelated_rows_are_at_zero_however_wide(self):
    for d in (10, 400):
      found = [value(rows(s, d=d), rows(s + 50, d=d))[0] for s in range(10)]
      error = np.std(found) / np.sqrt(len(found))
      self.assertLess(abs(np.mean(found)), 4 * error + 1e-3)
    # The usual one is not: wide rows look alike.
    self.assertGreater(biased(rows(0, d=400), rows(50, d=400)), 0.4)

  def test_rotated_scaled_and_moved_copies_are_at_one(self):
    x = rows(0)
    turn = np.linalg.qr(rows(1, D, D))[0]
    for y in (x @ turn, 3 * x + 7, np.pad(x, ((0, 0), (0, 9)))):
      self.assertAlmostEqual(value(x, y)[0], 1, places=6)

  def test_what_is_in_common_is_between(self):
    common, noise = rows(0), [rows(s) for s in (1, 2)]
    found = [
      value(common + s * noise[0], common + s * noise[1])[0]
      for s in (0.2, 1, 3)
    ]
    self.assertTrue(1 > found[0] > found[1] > found[2] > 0.01, found)

  def test_weights_of_one_change_nothing(self):
    x, y = rows(0), rows(0) + rows(1)
    np.testing.assert_allclose(value(x, y, np.ones((1, N))), value(x, y))

  def test_hsic_is_the_mean_over_all_quadruples(self):
    """By its definition, over tuples of different examples (n of 6)."""
    import itertools

    n = 6
    a, b = cka.gram(rows(0, n, 3)), cka.gram(rows(1, n, 3))
    tuples = itertools.permutations(range(n), 4)
    h = [
      a[i, j] * b[i, j] + a[i, j] * b[q, r] - 2 * a[i, j] * b[i, q]
      for i, j, q, r in tuples
    ]
    np.testing.assert_allclose(cka.hsic(a, b)[0], np.mean(h), rtol=1e-6)

  def test_resamples_of_unrelated_rows_stay_about_zero(self):
    x, y = rows(0, d=400), rows(50, d=400)
    weight = cka.weights(N, 100)
    self.assertTrue((weight.sum(1) == N).all())
    draws = value(x, y, weight)
    self.assertLess(abs(draws.mean()), 0.03)
    self.assertGreater(draws.std(), 0)

  def test_bounds_hold_what_more_examples_give(self):
    common = rows(9, 4000)
    x, y = common + rows(1, 4000), common + rows(2, 4000)
    truth = value(x, y)[0]
    inside = 0
    for s in range(20):
      part = slice(200 * s, 200 * s + 200)
      draws = value(x[part], y[part], cka.weights(200, 100, s))
      low, high = np.percentile(draws, [2.5, 97.5])
      inside += low <= truth <= high
    self.assertGreaterEqual(inside, 15)

  def test_shuffled_examples_are_at_zero(self):
    x = rows(0)
    null = cka.permuted_cka(cka.gram(x), cka.gram(x + 0.1 * rows(1)), 50)
    self.assertLess(np.abs(null).max(), 0.1)
    self.assertLess(abs(null.mean()), 0.01)


class NeighboursTest(parameterized.TestCase):
  def test_of_a_line(self):
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    near = cka.neighbours(np.stack([np.cos(angle), np.sin(angle)], 1), 2)
    expected = np.roll(np.eye(12, dtype=bool), 1, 1)
    np.testing.assert_array_equal(near, expected | expected.T)

  def test_copies_agree_and_unrelated_rows_do_not(self):
    near = [cka.neighbours(rows(s), 10) for s in (0, 1)]
    turned = cka.neighbours(2 * rows(0) @ np.linalg.qr(rows(3, D, D))[0], 10)
    self.assertEqual(cka.overlap(near[0], turned).mean(), 1)
    chance = 10 / (N - 1)
    self.assertAlmostEqual(cka.overlap(*near).mean(), chance, delta=0.02)
    null = cka.permuted_overlap(near[0], turned, 40)
    self.assertAlmostEqual(null.mean(), chance, delta=0.01)


class ClassesTest(absltest.TestCase):
  def test_planted_classes_agree_and_others_do_not(self):
    rng = np.random.default_rng(0)
    label = rng.random((N, 5)) < 0.3
    # Two modalities with means of their own, and one direction a class.
    direction = rng.normal(size=(5, D))
    x = label @ direction + rng.normal(size=(N, D)) + 5
    y = label @ direction + rng.normal(size=(N, D)) - 5
    other = label @ rng.normal(size=(5, D)) + rng.normal(size=(N, D))
    same = np.stack([label, 3 * label])
    found = cka.class_cosines(x, y, same, same)
    self.assertGreater(found.min(), 0.6)
    np.testing.assert_allclose(found[0], found[1])
    # By hand, of the first class.
    mean = lambda rows: rows[label[:, 0]].mean(0) - rows.mean(0)
    a, b = mean(x), mean(y)
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    self.assertAlmostEqual(found[0, 0], cosine)
    far = cka.class_cosines(x, other, label[None], label[None])
    self.assertLess(np.abs(far).mean(), 0.3)
    order = rng.permutation(N)
    moved = cka.class_cosines(x, y[order], label[None], label[None])
    self.assertLess(np.abs(moved.mean()), 0.2)
    # Rows in another order are labels in another.
    back = cka.class_cosines(x, y, label[None], label[np.argsort(order)][None])
    np.testing.assert_allclose(moved, back)

  def test_a_class_that_is_nowhere_is_undefined(self):
    label = np.zeros((N, 2), bool)
    label[:9, 0] = True
    found = cka.class_cosines(rows(0), rows(0), label[None], label[None])
    np.testing.assert_array_equal(np.isnan(found), [[False, True]])
    self.assertAlmostEqual(found[0, 0], 1)


if __name__ == '__main__':
  absltest.main()
