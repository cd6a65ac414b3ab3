"""What concepts are explained from and tried on, and the scores of it."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax.analysis import interpretation

RNG = np.random.default_rng(0)


class DrawTest(parameterized.TestCase):
  def test_every_stratum_gives_as_many(self):
    energy = np.arange(100.0)
    live = np.arange(100) % 2 == 0
    found, of = interpretation.draw_by_energy(energy, live, 20, 4, seed=1)
    self.assertLen(set(found.tolist()), 20)
    self.assertTrue(live[found].all())
    np.testing.assert_array_equal(np.bincount(of), [5] * 4)
    for i in range(3):
      self.assertLess(energy[found[of == i]].max(), energy[found[of > i]].min())
    again, _ = interpretation.draw_by_energy(energy, live, 20, 4, seed=1)
    np.testing.assert_array_equal(found, again)

  def test_few_concepts_are_all_drawn(self):
    found, _ = interpretation.draw_by_energy(
      np.ones(5), np.ones(5, bool), 40, 4
    )
    self.assertCountEqual(found, range(5))

  def test_concepts_of_few_or_of_nearly_all_examples_are_not_eligible(self):
    count = np.array([0, 29, 30, 90, 91, 100])
    np.testing.assert_array_equal(
      interpretation.eligible(count, 100), [0, 0, 1, 1, 0, 0]
    )

  def test_directions_fire_in_as_many_examples_as_asked(self):
    along = RNG.normal(size=(1000, 3)).astype(np.float32)
    example = np.arange(1000) // 5
    largest = lambda z, least: interpretation.strongest(z, example, 200, least)
    count = np.array([30, 60, 180])
    train, test = interpretation.fire_alike(
      along, RNG.normal(size=(1000, 3)), largest(along, -np.inf), count
    )
    np.testing.assert_array_equal((largest(train, 0) > 0).sum(0), count)
    np.testing.assert_allclose(
      (largest(test, 0) > 0).mean(0), count / 200, atol=0.1
    )

  def test_dimensions_have_signs_of_their_own_and_come_once(self):
    found = interpretation.dimensions(32, 32, 0)
    np.testing.assert_array_equal(np.abs(found).sum(0), 1)
    np.testing.assert_array_equal(np.abs(found).sum(1), 1)
    self.assertBetween((found.sum(0) > 0).sum(), 6, 26)
    more = interpretation.dimensions(4, 11, 0)
    self.assertLen(np.unique(more[:, :8].T, axis=0), 8)
    np.testing.assert_array_equal(np.abs(more).sum(0), [1] * 8 + [0] * 3)

  def test_along_whitened_directions_rows_vary_alike(self):
    size = np.geomspace(100, 1, 6)
    turn, _ = np.linalg.qr(RNG.normal(size=(6, 6)))
    x = (3 + RNG.normal(size=(20_000, 6)) * size) @ turn.T
    share = lambda w: (turn.T @ w * size[:, None]) ** 2 / (x @ w).var(0)
    plain = share(RNG.normal(size=(6, 300))).mean(1)
    white = share(interpretation.whitened(x, 300, 0)).mean(1)
    self.assertGreater(plain[0], 0.5)  # It follows the first axis.
    np.testing.assert_allclose(white, 1 / 6, atol=0.05)

  def test_what_does_not_vary_is_not_blown_up(self):
    x = RNG.normal(size=(500, 4))
    x[:, 3] = 0
    found = interpretation.whitened(x, 200, 0)
    self.assertTrue(np.isfinite(found).all())
    self.assertLess(np.abs(found[3]).max(), 4e2)

  def test_strongest_of_tokens(self):
    z = np.array([[1, 0], [3, 0], [2, 5.0]])
    found = interpretation.strongest(z, np.array([0, 0, 2]), 3)
    np.testing.assert_array_equal(found, [[3, 0], [0, 0], [2, 5]])

  def test_shown_are_the_strongest_and_some_of_all_strengths(self):
    a = np.concatenate([np.arange(50.0), np.zeros(20)])
    found = interpretation.shown(a, 5, 4, 6)
    np.testing.assert_array_equal(found.fires[:5], [49, 48, 47, 46, 45])
    self.assertEqual(found.fires[-1], 1)  # The weakest that fires.
    self.assertLen(set(found.fires.tolist()), 9)
    self.assertTrue((a[found.silent] == 0).all())
    self.assertLen(found.silent, 6)

  def test_hard_negatives_are_like_what_fires(self):
    like = np.eye(8)[0]
    x = RNG.normal(size=(60, 8))
    x[20:25] = like + 0.01 * x[20:25]
    a = np.zeros(60)
    a[:10] = 1
    t = interpretation.trial(a, x, like, 6, 10)
    self.assertLen(t.fires, 6)
    self.assertCountEqual(t.hard, range(20, 25))
    self.assertLen(t.random, 5)
    self.assertEmpty(set(t.random.tolist()) & {*range(25)} - {*range(10, 20)})
    np.testing.assert_array_equal(t.label, [True] * 6 + [False] * 10)


class ScoreTest(parameterized.TestCase):
  def trial(self):
    at = np.arange(12)
    return interpretation.Trial(at[:4], at[4:8], at[8:])

  def test_a_right_score_a_wrong_one_and_none(self):
    right = np.array([9, 9, 9, 9, 1, 1, 1, 1, 2, 2, 2, 2.0])
    self.assertEqual(
      interpretation.detect(self.trial(), right, 5),
      interpretation.Detection(1, 1, 1, 1),
    )
    found = interpretation.detect(self.trial(), 10 - right, 5)
    self.assertEqual((found.auroc, found.balanced), (0, 0))
    none = interpretation.detect(self.trial(), np.zeros(12), 0.5)
    self.assertEqual((none.auroc, none.balanced), (0.5, 0.5))

  def test_hard_negatives_are_scored_apart(self):
    fooled = np.array([9, 9, 9, 9, 1, 1, 1, 1, 9, 9, 9, 9.0])
    found = interpretation.detect(self.trial(), fooled, 5)
    self.assertEqual((found.hard, found.easy), (0.5, 1))
    self.assertEqual(found.balanced, 0.75)

  def test_without_negatives_nothing_is_said(self):
    at = np.arange(3)
    t = interpretation.Trial(at, at[:0], at[:0])
    found = interpretation.detect(t, np.ones(3), 0.5)
    self.assertTrue(np.isnan(found.auroc) and np.isnan(found.balanced))


class IouTest(absltest.TestCase):
  def iou(self, fires, mask, known=None):
    known = np.ones(fires.shape, bool) if known is None else known
    return interpretation.intersection_over_union(fires, mask, known)

  def test_of_planted_places(self):
    mask = np.zeros((2, 4, 3), bool)
    mask[0, :2, 0] = mask[:, 3, 1] = True
    fires = np.array([[1, 0, 0, 1], [0, 0, 0, 0]])
    found = self.iou(fires, mask)
    # Factor 0: one of its two places, and one beside. Factor 1: one of its two
    # places, in another example, and one beside. Factor 2 is nowhere.
    np.testing.assert_allclose(found, [1 / 3, 1 / 3, 0])
    none = self.iou(fires[1:], mask[1:, :, [2]])
    self.assertTrue(np.isnan(none[0]))

  def test_firing_elsewhere_counts(self):
    mask = np.zeros((10, 4, 1), bool)
    mask[0, 0] = True  # A rare factor.
    fires = np.zeros((10, 4), bool)
    fires[:, 0] = True
    found = self.iou(fires, mask)
    self.assertAlmostEqual(found[0], 0.1)

  def test_what_is_the_same_is_one(self):
    mask = RNG.random((5, 9, 1)) < 0.4
    found = self.iou(mask[..., 0], mask)
    self.assertEqual(found[0], 1)

  def test_of_a_perfect_mask_half_of_which_is_known(self):
    mask = RNG.random((5, 9, 1)) < 0.4
    known = np.arange(45).reshape(5, 9) % 2 == 0
    fires = mask[..., 0] & known
    self.assertLess(self.iou(fires, mask)[0], 0.7)
    self.assertEqual(self.iou(fires, mask, known)[0], 1)


if __name__ == '__main__':
  absltest.main()
