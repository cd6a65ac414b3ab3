"""Random sets are like what they are matched to, and tests are exact."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax.analysis import bridges
from saejax.analysis import matched_sets
from tests.analysis import codes

N, S, D = 300, 30, 16


class FeaturesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    self.d_SD = codes.unit_rows(rng, S, D)
    self.rows = []
    for _ in range(2):
      z_nS = codes.random(rng, N, rng.uniform(0.05, 0.5, S))
      xhat_nD = z_nS @ self.d_SD + 0.3
      x_nD = xhat_nD + 0.2 * rng.normal(size=(N, D))
      self.rows.append(matched_sets.Rows(x_nD, z_nS, xhat_nD))
    self.found = dict(
      zip(
        matched_sets.FEATURES,
        matched_sets.features(*self.rows, self.d_SD).T,
        strict=True,
      )
    )

  def test_lost_r2_is_that_of_removing_the_concept(self):
    for s in (0, 7, S - 1):
      lost = []
      for r in self.rows:
        own_nD = np.outer(r.z_nS[:, [s]].toarray(), self.d_SD[s])
        spread = ((r.x_nD - r.x_nD.mean(0)) ** 2).sum()
        r2 = lambda xhat, r=r, spread=spread: (
          1 - ((r.x_nD - xhat) ** 2).sum() / spread
        )
        lost.append(r2(r.xhat_nD) - r2(r.xhat_nD - own_nD))
      np.testing.assert_allclose(self.found['lost_r2'][s], np.mean(lost))

  def test_b0_mass_is_what_the_bridges_add_up_to(self):
    image, text = (r.z_nS for r in self.rows)
    a_S, b_S = (np.asarray(z.mean(0)).ravel() for z in (image, text))
    b0_SS = np.outer(a_S, b_S) * (self.d_SD @ self.d_SD.T)
    np.testing.assert_allclose(
      self.found['b0_mass'], b0_SS.sum(0) + b0_SS.sum(1)
    )
    m = codes.pair_up(image, text)
    total = bridges.totals(m, self.d_SD)['sum_b0']
    np.testing.assert_allclose(self.found['b0_mass'].sum() / 2, total)

  def test_energy_rate_and_score_weigh_both_modalities_alike(self):
    image, text = (r.z_nS.toarray() for r in self.rows)
    a_S, b_S = image.mean(0), text.mean(0)
    np.testing.assert_allclose(self.found['energy'], (a_S + b_S) / 2)
    np.testing.assert_allclose(self.found['modality_score'], a_S / (a_S + b_S))
    rate_S = ((image > 0).mean(0) + (text > 0).mean(0)) / 2
    np.testing.assert_allclose(self.found['rate'], rate_S)


class DrawTest(parameterized.TestCase):
  def test_sets_are_nearer_than_chance_and_differ(self):
    rng = np.random.default_rng(1)
    place_SF = rng.normal(size=(400, 5))
    chosen_C = np.argsort(-place_SF[:, 0])[20:40]  # Unlike most in one.
    pool_n = np.setdiff1d(np.arange(400), chosen_C)
    sets_RC = matched_sets.draw(place_SF, chosen_C, pool_n, 50)
    self.assertTrue(np.isin(sets_RC, pool_n).all())
    self.assertTrue(all(len(set(c)) == 20 for c in sets_RC.tolist()))
    self.assertLen(np.unique(sets_RC, axis=0), 50)
    any_RC = rng.choice(pool_n, (50, 20))
    difference = lambda sets: abs(
      matched_sets.mean_differences(place_SF, chosen_C, sets)
    ).max()
    self.assertLess(3 * difference(sets_RC), difference(any_RC))

  def test_the_near_take_turns_and_the_far_are_never_partners(self):
    place_SF = np.zeros((11, 2))
    place_SF[8:, 0] = [1, 2, 3]  # Fewer than half of the pool.
    place_SF[7, 0] = 0.3
    sets_R1 = matched_sets.draw(
      place_SF, np.array([0]), np.arange(1, 11), 600, seed=3
    )
    times = np.bincount(sets_R1.ravel(), minlength=11)
    np.testing.assert_allclose(times[1:7], 100, rtol=0.4)
    self.assertBetween(times[7], 1, 60)
    np.testing.assert_array_equal(times[8:], 0)

  def test_near_counts_others_within_reach_in_every_feature(self):
    place_SF = np.zeros((6, 2))
    place_SF[:, 1] = [0, 0.5, 0.9, 1.5, 0, 0]
    place_SF[4, 0] = 3
    others_n = np.array([1, 2, 3, 5])
    near = matched_sets.near(place_SF, np.array([0, 4]), others_n, 1.0)
    np.testing.assert_array_equal(near, [3, 0])

  def test_ranks_count_ties_against(self):
    random_R = np.array([0.5, 0.4, 0.3, 0.3])
    for value, p in ((0.2, 1 / 5), (0.3, 3 / 5), (0.35, 3 / 5), (0.9, 1)):
      self.assertAlmostEqual(matched_sets.rank_p(value, random_R), p)

  def test_holm_by_hand(self):
    np.testing.assert_allclose(
      matched_sets.holm(np.array([0.01, 0.04, 0.03, 0.005])),
      [0.03, 0.06, 0.06, 0.02],
    )
    np.testing.assert_allclose(matched_sets.holm(np.array([0.9, 0.8])), [1, 1])


if __name__ == '__main__':
  absltest.main()
