"""Names of concepts, held to plain formulas and to names that were planted."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import scipy.sparse

from saejax.analysis import factors
from saejax.analysis import naming

N, S = 400, 6
NAMES = ('apple', 'bell', 'cat', 'dog', 'egg', 'fan')


def plant(seed=0):
  """Captions that hold a name exactly where its concept fires; and codes."""
  rng = np.random.default_rng(seed)
  fires_nS = rng.random((N, S)) < 0.2
  z_nS = scipy.sparse.csr_matrix(fires_nS * rng.uniform(1, 2, (N, S)))
  texts = [
    'The ' + ', '.join(NAMES[i] for i in np.flatnonzero(row))
    for row in fires_nS
  ]
  return z_nS, texts


class WordsTest(absltest.TestCase):
  def test_words_have_no_case_and_no_punctuation(self):
    self.assertEqual(
      naming.words("A man's red-hot Éclair, 2 of them!"),
      ['a', "man's", 'red-hot', 'éclair', '2', 'of', 'them'],
    )

  def test_common_n_grams_are_counted_once_a_text(self):
    texts = ['a a a', 'a b', 'b a b', 'c']
    self.assertEqual(
      naming.common_n_grams(texts, (1, 2), least=2, most=9), ['a', 'a b', 'b']
    )
    self.assertEqual(naming.common_n_grams(texts, (1,), 1, most=1), ['a'])

  def test_presence_is_of_whole_words_in_order(self):
    has_nW = naming.presence(
      ['Red circles', 'a red circle', 'circle, red', ''],
      ['red', 'circle', 'Red circle', 'a red circle'],
    )
    np.testing.assert_array_equal(
      has_nW.toarray(),
      [[1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]],
    )


class ScoresTest(parameterized.TestCase):
  def test_areas_are_those_of_dense_ranks(self):
    rng = np.random.default_rng(0)
    # Few values: many ties; a concept that never fires, one that always does.
    z_nS = rng.integers(0, 4, (60, 5)) * (rng.random((60, 5)) < 0.4)
    z_nS[:, 1], z_nS[:, 2] = 0, rng.integers(1, 3, 60)
    has_nW = rng.random((60, 4)) < 0.3
    has_nW[:, 3] = True
    found_SW = naming.auroc(
      scipy.sparse.csr_matrix(z_nS), scipy.sparse.csr_matrix(has_nW)
    )
    np.testing.assert_allclose(found_SW, factors.auroc(z_nS, has_nW))
    self.assertTrue(np.isnan(found_SW[:, 3]).all())
    np.testing.assert_allclose(found_SW[1, :3], 0.5)

  def test_a_concepts_own_name_tells_it_and_others_names_do_not(self):
    z_nS, texts = plant()
    has_nW = naming.presence(texts, NAMES)
    index_S = np.arange(S)
    found = naming.own_scores(z_nS, has_nW, index_S)
    np.testing.assert_allclose(found.area_S, 1)
    np.testing.assert_allclose(found.precision_S, 1)
    np.testing.assert_allclose(found.null_S, 0.5, atol=0.07)
    np.testing.assert_allclose(found.drawn_S, 0.5, atol=0.1)
    np.testing.assert_allclose(found.rate_S, has_nW.toarray().mean(0))
    area_SW = factors.auroc(z_nS.toarray(), has_nW.toarray())
    others = (area_SW.sum(1) - area_SW.diagonal()) / (S - 1)
    np.testing.assert_allclose(found.null_S, others)
    self.assertTrue((found.drawn_S[:, None] == area_SW).any(1).all())
    self.assertFalse((found.drawn_S == 1).any())

  def test_the_unnamed_have_no_scores_and_are_no_ones_null(self):
    z_nS, texts = plant()
    has_nW = naming.presence(texts, NAMES)
    found = naming.own_scores(z_nS, has_nW, np.array([0, 1, -1, -1, -1, -1]))
    np.testing.assert_array_equal(np.isnan(found.area_S), [0, 0, 1, 1, 1, 1])
    area_SW = factors.auroc(z_nS.toarray(), has_nW.toarray())
    np.testing.assert_allclose(found.null_S[:2], [area_SW[0, 1], area_SW[1, 0]])

  def test_a_name_that_no_row_holds_has_no_score(self):
    z_nS, texts = plant()
    found = naming.own_scores(
      z_nS,
      naming.presence(texts, (*NAMES, 'yak')),
      np.array([6, 0, 1, 2, 3, 4]),
    )
    self.assertTrue(np.isnan(found.area_S[0]))
    self.assertTrue(np.isfinite(found.null_S).all())


class DistinctiveTest(absltest.TestCase):
  def names(self, z_nS, texts, vocabulary, k=naming.TOP_ROWS):
    index_S = naming.distinctive(
      z_nS,
      naming.presence(texts, vocabulary),
      naming.parts(vocabulary),
      np.arange(len(texts)),
      k,
    )
    return [vocabulary[i] if i >= 0 else None for i in index_S]

  def test_finds_planted_names_among_all_words(self):
    z_nS, texts = plant()
    vocabulary = naming.common_n_grams(texts, (1, 2), 5, 1000)
    self.assertGreater(len(vocabulary), 2 * S)
    self.assertEqual(self.names(z_nS, texts, vocabulary), list(NAMES))

  def test_one_that_never_fires_is_left_unnamed(self):
    z_nS, texts = plant()
    z_nS = z_nS.tolil()
    z_nS[:, 2] = 0
    found = self.names(z_nS.tocsr(), texts, list(NAMES))
    self.assertEqual(found, ['apple', 'bell', None, 'dog', 'egg', 'fan'])

  def test_what_all_rows_hold_names_nothing(self):
    z_nS, texts = plant()
    self.assertEqual(self.names(z_nS, texts, ['the']), [None] * S)

  def test_log_odds_are_those_of_the_formula(self):
    inside, total, rows, n = 30.0, 100.0, 50, 1000
    weight = naming.TOP_ROWS
    prior = weight * total / n
    a, b = inside + prior, total - inside + prior
    a_not, b_not = rows + weight - a, n - rows + weight - b
    expected = np.log(a / a_not) - np.log(b / b_not)
    expected /= np.sqrt(1 / a + 1 / a_not + 1 / b + 1 / b_not)
    found = naming.log_odds(
      np.array([[inside]]), np.array([total]), np.array([rows]), n
    )
    np.testing.assert_allclose(found, [[expected]])

  def test_a_phrase_must_beat_its_words(self):
    vocabulary = ['red', 'circle', 'red circle', 'red thing']
    part_WP = naming.parts(vocabulary)
    np.testing.assert_array_equal(part_WP[2:], [[0, 1], [0, -1]])
    for score_W, expected in (
      ([1.0, 0.4, 1.05, 0.2], 0),
      ([1.0, 0.4, 1.2, 0.2], 2),
      ([1.0, 2.0, 1.2, 1.3], 1),
      ([-0.1, -0.3, -0.2, 0.1], 3),
      ([-0.1, -0.3, -0.05, -0.2], 0),
    ):
      found = naming.best_names(np.array([score_W]), part_WP)
      self.assertEqual(found[0], expected, score_W)


class NearestTest(absltest.TestCase):
  def test_neither_the_gap_nor_a_common_mean_decides(self):
    rng = np.random.default_rng(0)
    d = 40
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    own_SD, mean_image, mean_text = basis[:S], basis[10], basis[11]
    word_WD = own_SD + 3 * mean_text + 2 * basis[12]
    # One word lies along the gap, which every image concept has a part of.
    word_WD = np.concatenate([word_WD, [5 * mean_image + 3 * mean_text]])
    means = np.stack([mean_image, mean_text])
    d_SD = own_SD + 2 * mean_image
    part_WP = np.full((S + 1, 1), -1)
    found = naming.nearest_words(d_SD, word_WD, part_WP, means)
    np.testing.assert_array_equal(found, np.arange(S))
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    plain = (unit(d_SD) @ unit(word_WD).T).argmax(1)
    np.testing.assert_array_equal(plain, S)


if __name__ == '__main__':
  absltest.main()
