"""Monosemanticity from sums is that of all pairs."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import scipy.sparse

from saejax.analysis import monosemanticity

N, S, D = 50, 7, 9


def of_pairs(a_nS, e_nD):
  """The definition: every pair of images by itself."""
  e_nD = e_nD / np.linalg.norm(e_nD, axis=1, keepdims=True)
  found = []
  for a_n in a_nS.T:
    if a_n.max() == a_n.min():
      found.append(np.nan)
      continue
    a_n = (a_n - a_n.min()) / (a_n.max() - a_n.min())
    top = below = 0.0
    for i in range(len(a_n)):
      for j in range(len(a_n)):
        if i != j:
          top += a_n[i] * a_n[j] * (e_nD[i] @ e_nD[j])
          below += a_n[i] * a_n[j]
    found.append(top / below if below else np.nan)
  return np.array(found)


class MonosemanticityTest(parameterized.TestCase):
  @parameterized.parameters(True, False)
  def test_is_the_mean_over_all_pairs(self, is_sparse):
    rng = np.random.default_rng(0)
    a_nS = rng.uniform(0.5, 2, (N, S)) * (rng.random((N, S)) < 0.3)
    a_nS[:, 0] = rng.uniform(1, 3, N)  # Never 0: its least counts as 0.
    a_nS[:, 1] = 0
    a_nS[:, 2] = 1.5
    a_nS[:, 3] = np.arange(N) == 4
    e_nD = rng.normal(size=(N, D)) + 0.5
    given = scipy.sparse.csr_matrix(a_nS) if is_sparse else a_nS
    found_S = monosemanticity.scores(given, e_nD)
    np.testing.assert_allclose(found_S, of_pairs(a_nS, e_nD), atol=1e-12)
    np.testing.assert_array_equal(np.isnan(found_S), [0, 1, 1, 1, 0, 0, 0])

  def test_is_one_for_copies_of_one_image(self):
    e_nD = np.eye(D)[np.arange(N) % D]
    a_nS = (np.arange(N) % D == 2)[:, None] * 1.0
    np.testing.assert_allclose(monosemanticity.scores(a_nS, e_nD), 1)

  def test_random_directions_fire_as_often_as_asked(self):
    x_nD = np.random.default_rng(0).normal(size=(N, D))
    a_nS = monosemanticity.random_activations(x_nD, 11, 8)
    np.testing.assert_array_equal((a_nS > 0).sum(0), np.full((1, 11), 8))


def planted(seed: int, structure: float, n: int = 2000, factors: int = 20):
  """Images of many factors, their concepts, and another encoder's rows.

  Args:
    seed: of what is drawn.
    structure: how large factors are in the other encoder; 0 for not at all.
    n: images.
    factors: each shown by a tenth of them.

  Returns:
    rows that concepts are read from, activations [n, F], embeddings in a cone.
  """
  rng = np.random.default_rng(seed)
  shown_nF = rng.random((n, factors)) < 0.1
  strength_nF = shown_nF * rng.exponential(size=(n, factors))
  x_nD = strength_nF + 0.3 * rng.normal(size=(n, factors))
  seen_FD = rng.normal(size=(factors, 64)) / 8
  e_nD = structure * (shown_nF @ seen_FD) + rng.normal(size=(n, 64)) / 8
  cone_D = rng.normal(size=64) / 8
  return x_nD, strength_nF, e_nD + 5 * cone_D


class PlantedTest(parameterized.TestCase):
  """Embeddings have a common part, by which all images are much alike."""

  def apart(self, structure: float, seed: int = 0):
    x_nD, a_nS, e_nD = planted(seed, structure)
    found = []
    for rows_nD in (e_nD, monosemanticity.centred(e_nD)):
      own_S = monosemanticity.scores(a_nS, rows_nD)
      random_R = monosemanticity.scores(
        monosemanticity.random_activations(x_nD, 100, 200), rows_nD
      )
      null_RS = monosemanticity.permuted(a_nS, rows_nD)
      found.append((own_S, random_R, null_RS.mean(0)))
    return found

  def test_planted_concepts_are_told_from_random_ones_about_the_mean(self):
    plain, about = self.apart(structure=1.5)
    own_S, random_R, null_S = about
    # The least of the planted is clearly above the most of the random.
    self.assertGreater(own_S.min(), random_R.max() + 0.05)
    self.assertGreater(own_S.mean(), random_R.mean() + 0.2)
    self.assertLess(np.abs(null_S).max(), 0.01)
    # As they are, all is alike, random directions too.
    own_S, random_R, null_S = plain
    self.assertGreater(random_R.mean(), 0.75)
    self.assertLess(own_S.mean() - random_R.mean(), 0.1)
    self.assertGreater(null_S.mean(), 0.75)

  def test_nothing_is_told_apart_where_there_is_no_structure(self):
    for own_S, random_R, null_S in self.apart(structure=0):
      self.assertLess(abs(own_S.mean() - random_R.mean()), 0.01)
      self.assertLess(abs(own_S.mean() - null_S.mean()), 0.01)
      share = np.mean(own_S > np.quantile(random_R, 0.95))
      self.assertLess(share, 0.25)

  def test_permuting_gives_the_mean_of_all_pairs(self):
    _, a_nS, e_nD = planted(0, 1.5, n=300)
    unit_nD = e_nD / np.linalg.norm(e_nD, axis=1, keepdims=True)
    pairs = (unit_nD @ unit_nD.T)[~np.eye(300, dtype=bool)]
    found_RS = monosemanticity.permuted(a_nS, e_nD, draws=50)
    self.assertEqual(found_RS.shape, (50, 20))
    np.testing.assert_allclose(found_RS.mean(0), pairs.mean(), atol=0.01)

  def test_images_at_the_mean_have_no_direction(self):
    e_nD = np.repeat([[1.0, 2]], N, axis=0)
    a_nS = np.random.default_rng(0).random((N, 3))
    found_S = monosemanticity.scores(a_nS, monosemanticity.centred(e_nD))
    np.testing.assert_allclose(found_S, 0, atol=1e-9)


class FloorsTest(absltest.TestCase):
  def test_bins_are_octaves_at_their_own_median(self):
    bin_S, median_B = monosemanticity.bins(np.array([40, 500, 33, 60, 260]))
    np.testing.assert_array_equal(bin_S, [0, 1, 0, 0, 1])
    np.testing.assert_array_equal(median_B, [40, 380])
    self.assertEqual(
      [len(a) for a in monosemanticity.bins(np.zeros(0))], [0, 0]
    )

  def test_one_in_twenty_of_what_knows_nothing_is_above_whatever_its_rate(self):
    rng = np.random.default_rng(0)
    e_nD = rng.normal(size=(4000, 16))
    x_nD = rng.normal(size=(4000, 32))
    firings_S = np.repeat([30, 45, 60, 120, 400, 900, 1900], 100)
    score_S = np.concatenate(
      [
        monosemanticity.scores(
          monosemanticity.random_activations(x_nD, 100, int(k), seed=i + 1),
          e_nD,
        )
        for i, k in enumerate(firings_S[::100])
      ]
    )
    bin_S, median_B = monosemanticity.bins(firings_S)
    random_BR = np.stack(
      [
        monosemanticity.scores(
          monosemanticity.random_activations(x_nD, 256, int(k)), e_nD
        )
        for k in median_B
      ]
    )
    above_S = monosemanticity.above(
      score_S, monosemanticity.floors(random_BR)[bin_S]
    )
    rare_S = firings_S <= 60
    self.assertBetween(above_S[rare_S].mean(), 0.02, 0.09)
    self.assertBetween(above_S[~rare_S].mean(), 0.02, 0.09)
    # One floor, at the median, would pass many of the rare.
    one = monosemanticity.floors(
      monosemanticity.scores(
        monosemanticity.random_activations(x_nD, 256, 120), e_nD
      )[None]
    )
    self.assertGreater((score_S > one)[rare_S].mean(), 0.15)

  def test_what_is_not_known_is_neither_above_nor_below(self):
    random_BR = np.array([[0.0, np.nan, 0.2], [np.nan] * 3])
    floor_B = monosemanticity.floors(random_BR)
    np.testing.assert_allclose(floor_B, [0.19, np.nan])
    found = monosemanticity.above(
      np.array([0.3, 0.1, np.nan, 0.9]), floor_B[[0, 0, 0, 1]]
    )
    np.testing.assert_array_equal(found, [1, 0, np.nan, np.nan])


if __name__ == '__main__':
  absltest.main()
