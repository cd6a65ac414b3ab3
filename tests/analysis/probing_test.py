"""Probes of few concepts, on codes whose labels are known."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import scipy.sparse
import sklearn.metrics

from saejax.analysis import probing

N, S = 600, 20


def plant(seed=0):
  """Codes; label 0 is concept 7, label 1 is "concept 3 or concept 5"."""
  rng = np.random.default_rng(seed)
  z_nS = rng.uniform(0.5, 1, (N, S)) * (rng.random((N, S)) < 0.15)
  label_nF = np.stack(
    [z_nS[:, 7] > 0, (z_nS[:, 3] > 0) | (z_nS[:, 5] > 0)], axis=1
  )
  return scipy.sparse.csr_matrix(z_nS), label_nF


class ProbingTest(parameterized.TestCase):
  def test_the_planted_concepts_are_chosen_first(self):
    z_nS, label_nF = plant()
    chosen_Fk = probing.choose(z_nS, label_nF, 3)
    self.assertEqual(chosen_Fk[0, 0], 7)
    self.assertCountEqual(chosen_Fk[1, :2], [3, 5])
    self.assertTrue(all(len(set(row)) == 3 for row in chosen_Fk))

  def test_a_redundant_copy_is_not_chosen_second(self):
    z_nS, label_nF = plant()
    dense_nS = z_nS.toarray()
    dense_nS[:, [9, 10]] = dense_nS[:, [3, 5]]
    chosen_Fk = probing.choose(scipy.sparse.csr_matrix(dense_nS), label_nF, 2)
    self.assertLen({3, 9} & set(chosen_Fk[1]), 1)
    self.assertLen({5, 10} & set(chosen_Fk[1]), 1)

  def test_concepts_that_never_fire_are_no_choice(self):
    z_nS, label_nF = plant()
    only = scipy.sparse.csr_matrix(z_nS.toarray() * (np.arange(S) == 7))
    np.testing.assert_array_equal(
      probing.choose(only, label_nF[:, :1], 2), [[7, -1]]
    )

  def test_one_concept_reads_what_one_concept_holds(self):
    (z_nS, label_nF), (val_nS, y_val), (test_nS, y_test) = map(plant, range(3))
    chosen_Fk = probing.choose(z_nS, label_nF, 2)
    f1 = []
    for k in (1, 2):
      at_val, at_test = probing.sparse_probe(
        z_nS, label_nF, chosen_Fk[:, :k], val_nS, test_nS
      )
      found = probing.score(at_val, y_val, at_test, y_test)
      f1.append(found.f1_F)
      self.assertEqual((found.auroc_F[0], found.f1_F[0]), (1, 1))
    self.assertLess(f1[0][1], 0.8)
    self.assertGreater(f1[1][1], 0.99)
    np.testing.assert_array_equal(probing.splits(np.array(f1)), [1, 2])

  def test_splitting_ends_at_the_first_small_step(self):
    f1_kF = np.array([[0.5, 0.9], [0.6, 0.91], [0.61, 0.99], [0.9, 0.99]])
    np.testing.assert_array_equal(probing.splits(f1_kF), [2, 1])

  def test_f1_is_sklearns(self):
    rng = np.random.default_rng(0)
    called_nF, label_nF = rng.random((2, 50, 3)) < 0.4
    called_nF[:, 2] = False
    counts_nK = probing.f1_counts(called_nF, label_nF)
    expected = [
      sklearn.metrics.f1_score(label_nF[:, f], called_nF[:, f])
      for f in range(3)
    ]
    found = probing.f1(counts_nK.sum(0))
    np.testing.assert_allclose(found, expected)
    self.assertAlmostEqual(probing.mean_f1(counts_nK.sum(0)), found.mean())

  @parameterized.parameters(True, False)
  def test_no_threshold_is_better(self, has_ties):
    rng = np.random.default_rng(1)
    score_nF = rng.normal(size=(40, 2))
    if has_ties:
      score_nF = np.round(score_nF)
    label_nF = rng.random((40, 2)) < 0.3
    cut_F = probing.best_threshold(score_nF, label_nF)
    f1 = lambda cut, f: sklearn.metrics.f1_score(
      label_nF[:, f], score_nF[:, f] >= cut
    )
    for f in range(2):
      best = max(f1(cut, f) for cut in score_nF[:, f])
      self.assertAlmostEqual(f1(cut_F[f], f), best)


if __name__ == '__main__':
  absltest.main()
