"""Probes are what their equations say, and tell what was planted."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from sklearn import linear_model

from saejax.analysis import classification
from saejax.train import probes

N, D, C = 300, 8, 3


def rows(strength: float = 6.0, seed: int = 0):
  """Rows of mean 0 and variance 1 about directions of their classes."""
  rng = np.random.default_rng(seed)
  label_n = rng.integers(0, C, N)
  x_nD = rng.normal(size=(N, D))
  x_nD[:, :C] += strength * np.eye(C)[label_n]
  return ((x_nD - x_nD.mean(0)) / x_nD.std(0)).astype(np.float32), label_n


class FitTest(parameterized.TestCase):
  @parameterized.parameters(*probes.KINDS)
  def test_a_planted_class_is_told_and_shuffled_labels_are_not(self, kind):
    x_nD, label_n = rows()
    other_nD, told_n = rows(seed=1)
    rng = np.random.default_rng(0)
    reached = []
    for given_n in (label_n, *(rng.permutation(label_n) for _ in '12345')):
      # All of these fits are of one shape, and compiled once.
      found = probes.fit(kind, x_nD, given_n[None], C)
      self.assertEqual(found.b_C.shape, (1, len(probes.PENALTIES[kind]), C))
      score_nC = found.at(0, -1).scores(other_nD)
      reached.append(classification.accuracy(score_nC, told_n))
    self.assertGreater(reached[0], 0.99)
    self.assertLess(np.mean(reached[1:]), 0.5)

  def test_multinomial_is_that_of_another_library(self):
    x_nD, label_n = rows(1.0)
    ours = probes.fit('multinomial', x_nD, label_n[None], C).at(0, 2)
    theirs = linear_model.LogisticRegression(C=1 / (0.01 * N), tol=1e-8)
    theirs.fit(x_nD, label_n)
    centred = lambda w: w - w.mean(-1, keepdims=True)  # Only differences tell.
    np.testing.assert_allclose(
      centred(ours.w_DC), centred(theirs.coef_.T), atol=2e-3
    )
    np.testing.assert_allclose(
      centred(ours.b_C), centred(theirs.intercept_), atol=2e-3
    )

  def test_one_vs_rest_is_that_of_another_library(self):
    x_nD, label_n = rows(1.0)
    ours = probes.fit('one_vs_rest', x_nD, label_n[None], C).at(0, 3)
    for c in range(C):
      theirs = linear_model.LogisticRegression(C=1 / (0.1 * N), tol=1e-8)
      theirs.fit(x_nD, label_n == c)
      np.testing.assert_allclose(ours.w_DC[:, c], theirs.coef_[0], atol=2e-3)
      np.testing.assert_allclose(ours.b_C[c], theirs.intercept_[0], atol=2e-3)

  def test_directions_of_means_are_differences(self):
    x_nD, label_n = rows(1.0)
    found = probes.fit('means', x_nD, label_n[None], C).at(0, 0)
    for c in range(C):
      away_D = x_nD[label_n == c].mean(0) - x_nD[label_n != c].mean(0)
      share = (label_n != c).mean()
      np.testing.assert_allclose(found.w_DC[:, c], share * away_D, atol=1e-5)
    nearest = np.stack([x_nD[label_n == c].mean(0) for c in range(C)])
    away_nC = ((x_nD[:, None] - nearest[None]) ** 2).sum(-1)
    np.testing.assert_array_equal(
      found.scores(x_nD).argmax(1), away_nC.argmin(1)
    )

  def test_a_sparse_probe_is_at_its_minimum_and_reads_what_was_planted(self):
    x_nD, label_n = rows(2.0)
    share = 0.2
    p = probes.fit('sparse', x_nD, label_n[None], C, (share,)).at(0, 0)
    is_nC = np.eye(C)[label_n]
    start_DC = x_nD.T @ (is_nC.mean(0)[None] - is_nC) / N
    l1 = share * np.abs(start_DC).max()
    score_nC = p.scores(x_nD)
    part_nC = np.exp(score_nC - score_nC.max(1, keepdims=True))
    part_nC /= part_nC.sum(1, keepdims=True)
    slope_DC = x_nD.T @ (part_nC - is_nC) / N
    read_DC = p.w_DC != 0
    np.testing.assert_allclose(
      slope_DC[read_DC], -l1 * np.sign(p.w_DC)[read_DC], atol=1e-3
    )
    self.assertLessEqual(np.abs(slope_DC[~read_DC]).max(), l1 + 1e-3)
    np.testing.assert_array_equal(read_DC.any(1), np.arange(D) < C)
    np.testing.assert_allclose((part_nC - is_nC).mean(0), 0, atol=1e-3)

  @parameterized.parameters(*probes.KINDS)
  def test_rows_without_a_label_are_not_there(self, kind):
    x_nD, label_n = rows(1.0)
    left_n = np.arange(N) % 3 == 0
    label_n = np.where(left_n, -1, label_n)
    found = probes.fit(kind, x_nD, label_n[None], C)
    x_nD[left_n] = 7.0
    again = probes.fit(kind, x_nD, label_n[None], C)
    np.testing.assert_allclose(found.w_DC, again.w_DC, atol=1e-4)
    np.testing.assert_allclose(found.b_C, again.b_C, atol=1e-4)

  def test_beyond_the_last_weight_a_sparse_probe_reads_nothing(self):
    x_nD, label_n = rows()
    found = probes.fit('sparse', x_nD, label_n[None], C, (1.01,))
    self.assertEqual(np.abs(found.w_DC).max(), 0)


if __name__ == '__main__':
  absltest.main()
