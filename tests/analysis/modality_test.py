"""Which modality a planted concept is for, and how sure that is."""

import warnings

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import scipy.sparse

from saejax.analysis import modality
from tests.analysis import codes

SHARED = 4  # Factors that one concept serves in both modalities.


def planted_codes(n: int, seed: int = 0):
  """Codes of planted pairs; the first factors fire one concept in both."""
  m, _ = codes.planted_pairs(n, seed)
  text_nS = m.text_GS.toarray()
  text_nS[:, :SHARED] = text_nS[:, codes.IMAGE : codes.IMAGE + SHARED]
  text_nS[:, codes.IMAGE : codes.IMAGE + SHARED] = 0
  return m.image_GS, scipy.sparse.csr_matrix(text_nS)


def classes() -> list[str]:
  return (
    ['shared'] * SHARED
    + ['image'] * (codes.IMAGE - SHARED)
    + ['unclassified'] * SHARED  # Dead now.
    + ['text'] * (codes.IMAGE - SHARED)
  )


class ScoreTest(absltest.TestCase):
  def test_is_the_image_share_of_mean_activation(self):
    energy_image_S, energy_text_S = np.array([[3, 0, 2, 0], [1, 2, 0, 0]])
    score_S = modality.score(energy_image_S, energy_text_S)
    np.testing.assert_array_equal(score_S, [0.75, 0, 1, np.nan])


class ModalityScoresTest(parameterized.TestCase):
  @parameterized.parameters(0, 1, 2)
  def test_planted_concepts_get_their_class(self, seed):
    n = 3000
    image_nS, text_nS = planted_codes(n, seed)
    with warnings.catch_warnings():
      warnings.simplefilter('error')  # Dead concepts are no news.
      found = modality.modality_scores(
        image_nS, text_nS, np.arange(n), np.arange(n)
      )
    expected = classes()
    self.assertEqual([modality.CLASSES[c] for c in found.class_S], expected)
    for name in modality.CLASSES:
      self.assertEqual(found.count(name), expected.count(name))
    dead_S = (np.arange(codes.S) - codes.IMAGE) // SHARED == 0
    for values_S in (found.score_S, found.low_S, found.high_S):
      np.testing.assert_array_equal(np.isnan(values_S), dead_S)
    live_S = ~dead_S
    self.assertTrue((found.low_S <= found.score_S)[live_S].all())
    self.assertTrue((found.score_S <= found.high_S)[live_S].all())
    # Shown with rate 0.12 and mentioned in 0.8 of those.
    np.testing.assert_allclose(found.score_S[:SHARED], 1 / 1.8, atol=0.04)

  def test_many_captions_do_not_make_a_concept_textual(self):
    image_nS, text_nS = planted_codes(500)
    five_nS = scipy.sparse.vstack([text_nS] * 5, format='csr')
    group_n = np.arange(500)
    once = modality.modality_scores(image_nS, text_nS, group_n, group_n)
    five = modality.modality_scores(
      image_nS, five_nS, group_n, np.tile(group_n, 5)
    )
    np.testing.assert_allclose(five.score_S, once.score_S)
    # Copies in the same group add no certainty either.
    np.testing.assert_allclose(five.low_S, once.low_S)
    np.testing.assert_allclose(five.high_S, once.high_S)
    apart = modality.modality_scores(
      image_nS, five_nS, group_n, np.arange(2500)
    )
    width = lambda m: (m.high_S - m.low_S)[:SHARED].mean()
    self.assertLess(width(apart), 0.9 * width(five))

  def test_intervals_cover_the_truth_about_95_times_in_100(self):
    rate_image_S, rate_text_S = np.full(25, 0.3), np.linspace(0.1, 0.6, 25)
    true_S = rate_image_S / (rate_image_S + rate_text_S)
    covered = []
    for seed in range(40):
      rng = np.random.default_rng(seed)
      found = modality.modality_scores(
        codes.random(rng, 300, rate_image_S),
        codes.random(rng, 300, rate_text_S),
        np.arange(300),
        np.arange(300),
        seed,
      )
      covered += list((found.low_S <= true_S) & (true_S <= found.high_S))
    self.assertBetween(np.mean(covered), 0.9, 0.99)

  def test_signed_codes_count_by_their_size(self):
    image_nS, text_nS = planted_codes(300)
    group_n = np.arange(300)
    found, signed = (
      modality.modality_scores(z_nS, text_nS, group_n, group_n)
      for z_nS in (image_nS, -image_nS)
    )
    np.testing.assert_array_equal(found.score_S, signed.score_S)
    np.testing.assert_array_equal(found.low_S, signed.low_S)
    np.testing.assert_array_equal(found.class_S, signed.class_S)

  @parameterized.parameters((1, 'unclassified'), (29, 'unclassified'),
                            (30, 'image'))  # fmt: skip
  def test_tokens_of_few_examples_make_no_class(self, groups, expected):
    tokens = 40  # Of each picture.
    fires_n1 = np.repeat(np.arange(60) < groups, tokens)[:, None]
    group_n = np.repeat(np.arange(60), tokens)
    given = (
      scipy.sparse.csr_matrix(fires_n1.astype(float)),
      scipy.sparse.csr_matrix((60, 1)),
      group_n,
      np.arange(60),
    )
    found = modality.modality_scores(*given, are_tokens=True)
    self.assertEqual((found.low_S[0], found.high_S[0]), (1, 1))
    self.assertEqual(modality.CLASSES[found.class_S[0]], expected)
    # As rows that are examples, it would have fired often enough.
    rows = modality.modality_scores(*given)
    self.assertEqual(modality.CLASSES[rows.class_S[0]], 'image')

  def test_groups_of_both_sides_count(self):
    z_n1 = scipy.sparse.csr_matrix(np.ones((45, 1)))
    group_n = np.arange(45) // 3
    of = lambda n: modality.CLASSES[
      modality.modality_scores(
        z_n1, z_n1[:n], group_n, group_n[:n], are_tokens=True
      ).class_S[0]
    ]
    self.assertEqual((of(45), of(42)), ('shared', 'unclassified'))

  def test_many_float32_rows_add_up(self):
    z_n1 = scipy.sparse.csr_matrix(np.full((10**6, 1), 0.1, np.float32))
    one_11 = scipy.sparse.csr_matrix(np.full((1, 1), 0.1, np.float32))
    zero = np.zeros(1, int)
    found = modality.modality_scores(z_n1, one_11, np.zeros(10**6, int), zero)
    np.testing.assert_allclose(found.score_S, 0.5, rtol=1e-6)


class ClassifyTest(parameterized.TestCase):
  @parameterized.parameters(
    (0.95, 0.91, 0.99, 30, 'image'),
    (0.95, 0.91, 0.99, 29, 'unclassified'),  # Fired too rarely.
    (0.95, 0.89, 0.99, 500, 'unclassified'),  # The interval crosses a cut.
    (1.0, 1.0, 1.0, 30, 'image'),
    (0.5, 0.11, 0.89, 30, 'shared'),
    (0.5, 0.11, 0.91, 500, 'unclassified'),
    (0.5, 0.09, 0.89, 500, 'unclassified'),
    (0.5, 0.3, 0.7, 29, 'unclassified'),
    (0.05, 0.01, 0.09, 30, 'text'),
    (0.05, 0.01, 0.11, 500, 'unclassified'),
    (0.0, 0.0, 0.0, 29, 'unclassified'),
    (np.nan, np.nan, np.nan, 0, 'unclassified'),
  )
  def test_needs_the_whole_interval_and_enough_firings(
    self, score, low, high, firings, expected
  ):
    one = lambda value: np.array([value])
    class_S = modality.classify(one(score), one(low), one(high), one(firings))
    self.assertEqual(modality.CLASSES[class_S[0]], expected)


class PermutedTest(parameterized.TestCase):
  @parameterized.parameters(1, 5)
  def test_shuffled_labels_leave_no_preference(self, texts):
    n = 3000
    image_nS, text_nS = planted_codes(n)
    null_S = modality.permuted_scores(
      image_nS, scipy.sparse.vstack([text_nS] * texts, format='csr')
    )
    live_S = np.isfinite(null_S)
    self.assertEqual(live_S.sum(), codes.S - SHARED)
    # About 300 firings a concept or more: a standard error of 0.03.
    np.testing.assert_allclose(null_S[live_S], 0.5, atol=0.12)

  def test_rows_are_shuffled_one_by_one(self):
    image_nS, text_nS = planted_codes(200)
    z_nS = scipy.sparse.vstack([image_nS, text_nS], format='csr')
    z_nS = z_nS.astype(np.float64)
    order = np.random.default_rng(3).permutation(z_nS.shape[0])
    one_S, other_S = (
      np.asarray(z_nS[rows].mean(0)).ravel()
      for rows in (order[:200], order[200:])
    )
    expected_S = modality.score(one_S, other_S)
    found_S = modality.permuted_scores(image_nS, text_nS, seed=3)
    np.testing.assert_array_equal(found_S, expected_S)
    # The same where each row is said to be an example of its own.
    own = np.random.default_rng(0).permutation(200)
    found_S = modality.permuted_scores(image_nS, text_nS, 3, (own, own))
    np.testing.assert_array_equal(found_S, expected_S)

  def test_tokens_of_an_example_change_sides_together(self):
    n, tokens = 40, 50
    # Concept i fires in all tokens of picture i alone.
    of_n = np.repeat(np.arange(n), tokens)
    image_nS = scipy.sparse.csr_matrix(
      (np.ones(n * tokens), (np.arange(n * tokens), of_n))
    )
    text_nS = scipy.sparse.csr_matrix((n, n))
    found_S = modality.permuted_scores(
      image_nS, text_nS, 0, (of_n, np.arange(n))
    )
    self.assertEqual(set(found_S.tolist()), {0.0, 1.0})
    self.assertBetween(found_S.mean(), 0.25, 0.75)

  def test_is_deterministic_in_the_seed(self):
    pair = planted_codes(200)
    first_S, again_S, other_S = (
      modality.permuted_scores(*pair, seed) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first_S, again_S)
    self.assertFalse(np.array_equal(first_S, other_S, equal_nan=True))


if __name__ == '__main__':
  absltest.main()
