"""Measures of classification against what they are by definition."""

from absl.testing import absltest
import numpy as np

from saejax.analysis import classification
from saejax.analysis import factors

N, C = 60, 4


def drawn(seed: int = 0):
  rng = np.random.default_rng(seed)
  label_n = rng.integers(0, C, N)
  score_nC = rng.normal(size=(N, C)).round(1)  # With ties.
  score_nC[np.arange(N), label_n] += 1
  return score_nC, label_n


class ClassificationTest(absltest.TestCase):
  def test_ranks_count_ties_against_the_right_class(self):
    score_nC = np.array([[3, 1, 2], [3, 1, 2], [2, 2, 1]], float)
    np.testing.assert_array_equal(
      classification.ranks(score_nC, np.array([0, 1, 0])), [0, 2, 1]
    )
    # Scores that are all the same tell nothing.
    self.assertEqual(
      classification.accuracy(np.zeros((5, 3)), np.zeros(5, int)), 0
    )

  def test_top_and_balanced(self):
    score_nC, label_n = drawn()
    group_n = np.arange(N)
    best_n = score_nC.argsort(1)[:, ::-1]
    score_nC = score_nC + 1e-6 * np.arange(C)[None]
    best_n = score_nC.argsort(1)[:, ::-1]
    for k in (1, 2, C):
      expected = (best_n[:, :k] == label_n[:, None]).any(1).mean()
      found = classification.top(score_nC, label_n, group_n, k)
      self.assertAlmostEqual(found.value, expected)
      self.assertBetween(found.value, found.low, found.high)
    recall = [(best_n[label_n == c, 0] == c).mean() for c in range(C)]
    found = classification.balanced(score_nC, label_n, group_n)
    self.assertAlmostEqual(found.value, np.mean(recall))
    self.assertLess(found.low, found.high)

  def test_auroc_is_that_of_ranks_and_weights_are_repeats(self):
    score_nC, label_n = drawn()
    expected_C = factors.paired_auroc(score_nC, np.eye(C)[label_n])
    self.assertAlmostEqual(
      classification.mean_auroc(score_nC, label_n), expected_C.mean()
    )
    weight_n = np.random.default_rng(1).integers(0, 3, N)
    again = np.repeat(np.arange(N), weight_n)
    found = classification.weighted_auroc(
      score_nC[:, 0], label_n == 0, weight_n[None]
    )
    repeated = classification.weighted_auroc(
      score_nC[again, 0], label_n[again] == 0, np.ones((1, len(again)))
    )
    np.testing.assert_allclose(found, repeated)

  def test_the_interval_of_auroc_is_over_groups(self):
    score_nC, label_n = drawn()
    alone = classification.auroc(score_nC, label_n, np.arange(N))
    self.assertBetween(alone.value, alone.low, alone.high)
    # The same rows ten times over are no more groups than before.
    ten = lambda a: np.concatenate([a] * 10)
    again = classification.auroc(ten(score_nC), ten(label_n), ten(np.arange(N)))
    self.assertAlmostEqual(again.value, alone.value)
    self.assertAlmostEqual(
      again.high - again.low, alone.high - alone.low, delta=1e-9
    )

  def test_a_class_that_is_nowhere_is_left_out(self):
    score_nC, label_n = drawn()
    kept = label_n != 2
    found = classification.mean_auroc(score_nC[kept], label_n[kept])
    self.assertTrue(np.isfinite(found))


if __name__ == '__main__':
  absltest.main()
