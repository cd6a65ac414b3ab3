"""Readers of known factors: AUROC, who is chosen, and who is scored."""

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies as st
import numpy as np
import scipy.sparse
import sklearn.metrics

from saejax.analysis import factors
from tests import planted
from tests.analysis import codes

FEW = hypothesis.settings(deadline=None, max_examples=25)


def sklearn_auroc(score_n: np.ndarray, label_n: np.ndarray) -> float:
  if label_n.all() or not label_n.any():
    return np.nan
  return sklearn.metrics.roc_auc_score(label_n, score_n)


class AurocTest(parameterized.TestCase):
  @FEW
  @hypothesis.given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 30),
    s=st.sampled_from([1, 3, 65]),  # Scores are ranked 64 at once.
    levels=st.sampled_from([2, 5, 10**6]),  # Few levels, many ties.
  )
  def test_agrees_with_sklearn(self, seed, n, s, levels):
    rng = np.random.default_rng(seed)
    score_nS = rng.integers(0, levels, size=(n, s)).astype(np.float32)
    score_nS *= rng.random((n, s)) < 0.7  # Codes are mostly ties at 0.
    label_nF = rng.random((n, 4)) < [0.5, 0.2, 0, 1]
    expected_SF = [
      [sklearn_auroc(score_n, label_n) for label_n in label_nF.T]
      for score_n in score_nS.T
    ]
    for scores in (score_nS, scipy.sparse.csr_matrix(score_nS)):
      found_SF = factors.auroc(scores, label_nF)
      np.testing.assert_allclose(found_SF, expected_SF, atol=1e-12)
    paired_F = factors.paired_auroc(score_nS[:, :1].repeat(4, 1), label_nF)
    np.testing.assert_allclose(paired_F, expected_SF[0], atol=1e-12)

  def test_a_direction_without_a_sign_is_read_both_ways(self):
    label_n1 = np.arange(10)[:, None] >= 5
    score_n2 = np.stack([-np.arange(10.0), np.ones(10)], axis=1)
    found_S1 = factors.auroc(factors.both_signs(score_n2), label_n1)
    np.testing.assert_array_equal(found_S1, [[0], [0.5], [1], [0.5]])


class ReadersTest(absltest.TestCase):
  def test_is_chosen_on_val_and_scored_once_on_test(self):
    rng = np.random.default_rng(0)
    n = 400
    label_val_n1, label_test_n1 = rng.random((2, n, 1)) < 0.3
    noise_n1 = lambda: rng.normal(size=(n, 1))
    # Tells it on both, somewhat; on val alone; on test alone.
    val_n3 = np.concatenate(
      [label_val_n1 + noise_n1(), label_val_n1 * 9 + noise_n1(), noise_n1()], 1
    )
    test_n3 = np.concatenate(
      [label_test_n1 + noise_n1(), noise_n1(), label_test_n1 * 9.0], 1
    )
    all_three = factors.best_readers(
      val_n3, label_val_n1, test_n3, label_test_n1
    )
    np.testing.assert_array_equal(all_three.index_F, [1])
    np.testing.assert_array_equal(all_three.val_F, [1])
    self.assertBetween(all_three.test_F[0], 0.4, 0.6)
    without = factors.best_readers(
      val_n3[:, [0, 2]], label_val_n1, test_n3[:, [0, 2]], label_test_n1
    )
    np.testing.assert_array_equal(without.index_F, [0])
    self.assertBetween(without.test_F[0], 0.7, 0.85)  # Φ(1 / √2) = 0.76.

  def test_every_planted_factor_is_read_by_its_own_concept(self):
    val, test = planted.sample(800, seed=1), planted.sample(800, seed=2)
    z = lambda x_ND: codes.solve(x_ND, val.atoms_SD)
    for place, rows, labels in (
      (0, lambda p: p.image_ND, lambda p: p.shown_NF),
      (codes.IMAGE, lambda p: p.text_ND, lambda p: p.mentioned_NF),
    ):
      found = factors.best_readers(
        z(rows(val)), labels(val), z(rows(test)), labels(test)
      )
      own_F = np.arange(planted.FACTORS) + place
      np.testing.assert_array_equal(found.index_F, own_F)
      np.testing.assert_array_equal(found.val_F, 1)
      np.testing.assert_array_equal(found.test_F, 1)

  def test_scores_of_several_factors_keep_their_places(self):
    rng = np.random.default_rng(0)
    val_nS, test_nS = rng.normal(size=(2, 60, 7))
    label_val_nF, label_test_nF = rng.random((2, 60, 9)) < 0.4
    found = factors.best_readers(val_nS, label_val_nF, test_nS, label_test_nF)
    for f, s in enumerate(found.index_F):
      areas = [sklearn_auroc(x_n, label_val_nF[:, f]) for x_n in val_nS.T]
      self.assertEqual(s, np.argmax(areas))
      np.testing.assert_allclose(found.val_F[f], max(areas))
      np.testing.assert_allclose(
        found.test_F[f], sklearn_auroc(test_nS[:, s], label_test_nF[:, f])
      )

  def test_a_label_that_never_varies_has_no_score(self):
    score_n2, label_n1 = np.eye(4)[:, :2], np.eye(4)[:, :1] > 0
    constant_n1 = np.zeros((4, 1), bool)
    found = factors.best_readers(score_n2, label_n1, score_n2, constant_n1)
    np.testing.assert_array_equal(found.test_F, [np.nan])
    found = factors.best_readers(score_n2, constant_n1, score_n2, label_n1)
    np.testing.assert_array_equal(found.val_F, [0])


class LinearProbesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.train, self.test = planted.sample(1500, 1), planted.sample(1500, 2)

  def test_recover_planted_factors_from_unseen_rows(self):
    for train_nD, test_nD, label_train_nF, label_test_nF in (
      (
        self.train.image_ND,
        self.test.image_ND,
        self.train.shown_NF,
        self.test.shown_NF,
      ),
      (
        self.train.text_ND,
        self.test.text_ND,
        self.train.mentioned_NF,
        self.test.mentioned_NF,
      ),
    ):
      score_nF = factors.linear_probes(train_nD, label_train_nF, test_nD)
      area_F = factors.paired_auroc(score_nF, label_test_nF)
      self.assertGreater(area_F.min(), 0.99)

  def test_are_at_chance_on_shuffled_labels(self):
    # One shuffle gives a direction at random, which reads a factor by luck;
    # over shuffles luck has no sign.
    rng = np.random.default_rng(0)
    areas = [
      factors.paired_auroc(
        factors.linear_probes(
          self.train.image_ND,
          self.train.shown_NF[rng.permutation(1500)],
          self.test.image_ND,
        ),
        self.test.shown_NF,
      )
      for _ in range(20)
    ]
    self.assertBetween(np.mean(areas), 0.47, 0.53)

  def test_do_not_learn_from_the_rows_they_score(self):
    fit = lambda test_nD: factors.linear_probes(
      self.train.image_ND, self.train.shown_NF, test_nD
    )
    both_nF = fit(self.test.image_ND)
    half_nF = fit(self.test.image_ND[:700])
    np.testing.assert_allclose(both_nF[:700], half_nF, atol=1e-6)
    self.assertGreater(abs(fit(self.test.image_ND + 1) - both_nF).max(), 0.1)

  def test_do_not_mind_where_the_rows_lie_or_how_long_they_are(self):
    fit = lambda change: factors.linear_probes(
      change(self.train.image_ND.astype(np.float64)),
      self.train.shown_NF,
      change(self.test.image_ND.astype(np.float64)),
    )
    plain_nF = fit(lambda x: x)
    moved_nF = fit(lambda x: 100 * x + 7)
    np.testing.assert_allclose(moved_nF, plain_nF, atol=1e-8)


class ShareReadingTest(absltest.TestCase):
  def scores(self, n: int, strength_F, seed: int = 0):
    rng = np.random.default_rng(seed)
    label_nF = rng.random((n, len(strength_F))) < 0.5
    score_nF = label_nF * strength_F + rng.normal(size=label_nF.shape)
    return score_nF, label_nF

  def test_counts_factors_at_or_above_the_bar(self):
    # AUROC about 0.5, 0.76 and 0.998 of two factors each.
    score_nF, label_nF = self.scores(1000, np.array([0, 0, 1, 1, 4, 4]))
    group_n = np.arange(1000)
    for least, share in ((0.9, 1 / 3), (0.65, 2 / 3), (0.4, 1)):
      found = factors.share_reading(score_nF, label_nF, group_n, least)
      self.assertEqual((found.value, found.n), (share, 6))
      self.assertEqual((found.low, found.high), (share, share))

  def test_interval_is_over_groups_and_deterministic(self):
    score_nF, label_nF = self.scores(150, np.full(12, 1.0))
    of = lambda copies, group_n, seed=0: factors.share_reading(
      np.repeat(score_nF, copies, 0),
      np.repeat(label_nF, copies, 0),
      group_n,
      least=0.76,
      seed=seed,
    )
    once = of(1, np.arange(150))
    self.assertBetween(once.value, 0.2, 0.8)
    self.assertLess(once.low, once.value)
    self.assertGreater(once.high, once.value)
    # Copies in the same group change nothing; as rows of their own they do.
    self.assertEqual(of(9, np.repeat(np.arange(150), 9)), once)
    apart = of(9, np.arange(9 * 150))
    self.assertLess(apart.high - apart.low, 0.8 * (once.high - once.low))
    others = {of(1, np.arange(150), seed) for seed in range(1, 9)}
    self.assertGreater(len(others), 1)

  def test_a_drawn_group_brings_all_its_rows(self):
    score_nF, label_nF = self.scores(400, np.array([0.0, 0]))
    told_nF = score_nF + 9 * label_nF
    told_nF[::4] = score_nF[::4]  # All but the first row of a group.
    group_n = np.repeat(np.arange(100), 4)
    found = factors.share_reading(told_nF, label_nF, group_n, 0.75)
    self.assertEqual((found.value, found.low, found.high), (1, 1, 1))

  def test_a_label_that_never_varies_counts_neither_way(self):
    score_nF, label_nF = self.scores(200, np.array([4, 4, 4]))
    label_nF[:, 1] = True
    found = factors.share_reading(score_nF, label_nF, np.arange(200), 0.9)
    self.assertEqual((found.value, found.low, found.high), (1, 1, 1))


class ReadingsTest(absltest.TestCase):
  def test_enough_needs_positives_and_negatives(self):
    positives_F = np.array([14, 15, 50, 85, 86])
    label_nF = np.arange(100)[:, None] < positives_F
    np.testing.assert_array_equal(
      factors.enough(label_nF), [False, True, True, True, False]
    )

  def test_planted_concepts_read_their_factor_and_others_none(self):
    p = planted.sample(1500, seed=3)
    of_F = np.arange(planted.FACTORS)
    for x_ND, label_nF, place in (
      (p.image_ND, p.shown_NF, 0),
      (p.text_ND, p.mentioned_NF, codes.IMAGE),
    ):
      found = factors.readings(codes.solve(x_ND, p.atoms_SD), label_nF, 0.8)
      expected_S = np.full(codes.S, -1)
      expected_S[of_F + place] = of_F
      np.testing.assert_array_equal(found.factor_S, expected_S)
      np.testing.assert_array_equal(found.auroc_S[of_F + place], 1)
      self.assertLess(found.auroc_S[expected_S < 0].max(), 0.8)

  def test_a_factor_too_rare_is_read_by_none(self):
    label_nF = np.arange(100)[:, None] < np.array([14, 40])
    z_nS = label_nF * 1.0  # Each concept is one factor, exactly.
    found = factors.readings(z_nS, label_nF, 0.9)
    np.testing.assert_array_equal(found.factor_S, [-1, 1])
    found = factors.readings(z_nS, label_nF[:, :1], 0.9)
    np.testing.assert_array_equal(found.factor_S, [-1, -1])

  def test_bridges_are_told_by_what_their_ends_read(self):
    def read(*factors_S):
      area_SF = np.full((len(factors_S), 4), 0.7)
      for area_F, read_of in zip(area_SF, factors_S, strict=True):
        area_F[list(read_of)] = 0.9
      return factors.Readings(area_SF, 0.8)

    image = read([0], [1], [], [3, 1])
    text = read([1], [], [2], [0], [0, 3])
    related = np.eye(4, dtype=bool)
    related[0, 1] = True  # One way only: image factor first.
    cases = {
      (0, 3): 'true', (1, 0): 'true', (0, 0): 'related', (1, 3): 'other',
      (2, 0): 'unread', (0, 1): 'unread', (1, 2): 'other', (2, 1): 'unread',
      # Several factors: one in common is enough, be it best or not.
      (3, 4): 'true', (3, 0): 'true', (3, 3): 'other', (0, 4): 'true',
    }  # fmt: skip
    i_P, j_P = np.array(list(cases)).T
    found = factors.bridge_kinds(image, text, i_P, j_P, related)
    self.assertEqual(dict(zip(cases, found.tolist(), strict=True)), cases)
    common_P = factors.common_factors(image, text, [0, 1, 3, 3], [3, 0, 4, 0])
    np.testing.assert_array_equal(common_P, [0, 1, 3, 1])


if __name__ == '__main__':
  absltest.main()
