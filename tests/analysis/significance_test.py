"""Which bridges are real: p values, their correction, and the null."""

import itertools
import warnings

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies as st
import numpy as np
import scipy.sparse
import scipy.stats

from saejax.analysis import bridges
from tests import planted
from tests.analysis import codes

FEW = hypothesis.settings(deadline=None, max_examples=25)
LEVEL = 0.05


def p_of(m: bridges.Matched) -> tuple[bridges.Bridges, np.ndarray]:
  s = m.image_GS.shape[1]
  b = bridges.bridges(m, np.eye(s))
  return b, bridges.p_values(m, b)


def discoveries(m: bridges.Matched) -> set[tuple[int, int]]:
  b, p_P = p_of(m)
  found_P = bridges.significant(p_P, bridges.tested_pairs(m), LEVEL)
  return set(zip(b.i_P[found_P].tolist(), b.j_P[found_P].tolist(), strict=True))


class FiringTest(absltest.TestCase):
  def test_counts_joint_firings_whatever_the_strength_and_sign(self):
    rng = np.random.default_rng(0)
    n, s = 40, 4
    signed = lambda: (
      codes.random(rng, n, [0.4] * s).toarray()
      * rng.choice([-1, 1], size=(n, s))
    )
    image_GS, text_GS = signed(), signed()
    i_P, j_P = np.indices((s, s)).reshape(2, -1)
    joint_P, expected_P, count_image_S, count_text_S = bridges.firing(
      codes.pair_up(image_GS, text_GS), i_P, j_P
    )
    on_image, on_text = image_GS != 0, text_GS != 0
    np.testing.assert_array_equal(count_image_S, on_image.sum(0))
    np.testing.assert_array_equal(count_text_S, on_text.sum(0))
    for p, (i, j) in enumerate(zip(i_P, j_P, strict=True)):
      both = (on_image[:, i] & on_text[:, j]).sum()
      self.assertEqual(joint_P[p], both)
      chance = on_image[:, i].mean() * on_text[:, j].mean() * n
      np.testing.assert_allclose(expected_P[p], chance)

  def test_a_text_concept_fires_with_an_image_if_any_caption_has_it(self):
    z_image_nS = scipy.sparse.csr_matrix(np.ones((2, 1)))
    z_text_nS = scipy.sparse.csr_matrix([[0.0], [0.0], [3.0], [0.0]])
    m = bridges.match(
      z_image_nS, z_text_nS, np.arange(2), np.array([0, 0, 0, 1])
    )
    joint_P = bridges.firing(m, np.array([0]), np.array([0]))[0]
    np.testing.assert_array_equal(joint_P, [1])


class PValuesTest(parameterized.TestCase):
  @parameterized.parameters(5, 6, 7, 8)
  def test_few_firings_are_counted_exactly(self, joint):
    n, count = 12, 8
    image_G1 = (np.arange(n) < count)[:, None] * 2.0
    text_G1 = (np.roll(np.arange(n), count - joint) < count)[:, None] * 3.0
    _, p_P = p_of(codes.pair_up(image_G1, text_G1))
    # Every way in which the text concept's firings may fall.
    ways = [
      sum(g < count for g in fired)
      for fired in itertools.combinations(range(n), count)
    ]
    self.assertEqual(((image_G1 > 0) & (text_G1 > 0)).sum(), joint)
    np.testing.assert_allclose(p_P, [np.mean(np.array(ways) >= joint)])

  @parameterized.parameters(0, 1, 2, 3)
  def test_many_firings_must_also_meet_in_strength(self, seed):
    # Both fire in the same rows, which alone would be certain; but where one
    # is strong the other is weak.
    rng = np.random.default_rng(seed)
    n = 100
    x_G = rng.uniform(0.3, 1.7, size=n)
    y_G = 2 - x_G + 0.1 * rng.random(n)
    x_G[:20] = y_G[:20] = 0
    _, p_P = p_of(codes.pair_up(x_G[:, None], y_G[:, None]))
    shuffles_Rn = rng.permuted(np.tile(y_G, (20_000, 1)), axis=1)
    brute = (shuffles_Rn @ x_G >= x_G @ y_G).mean()
    self.assertGreater(brute, 1e-3)
    np.testing.assert_allclose(p_P, [brute], atol=0.02)

  def test_strength_alone_does_not_make_many_firings_significant(self):
    # Co-firing at chance exactly, strengths that meet in a few rows.
    n = 400
    x_G, y_G = np.zeros(n), np.zeros(n)
    x_G[:200], y_G[100:300] = 1, 1
    x_G[100:110] = y_G[100:110] = 100
    _, p_P = p_of(codes.pair_up(x_G[:, None], y_G[:, None]))
    self.assertGreater(p_P[0], 0.4)

  def test_fewer_than_five_expected_firings_are_not_tested(self):
    n = 100
    fires = lambda count: (np.arange(n) < count)[:, None] * 1.0
    for count, tested in ((25, True), (24, False)):  # Expected: 5, 4.8.
      m = codes.pair_up(fires(20), fires(count))
      _, p_P = p_of(m)
      self.assertEqual(np.isfinite(p_P).tolist(), [tested])
      self.assertEqual(bridges.tested_pairs(m), tested)

  @parameterized.named_parameters(
    ('exact', 0.25),  # 25 joint firings expected.
    ('normal', 0.5),  # 100.
  )
  def test_under_independence_small_p_values_are_as_rare_as_they_say(
    self, rate
  ):
    p = []
    for seed in range(20):
      rng = np.random.default_rng(seed)
      image_GS, text_GS = (codes.random(rng, 400, [rate] * 12) for _ in '12')
      p.append(p_of(codes.pair_up(image_GS, text_GS))[1])
    p = np.concatenate(p)
    self.assertLen(p, 20 * 144)
    for level in (0.2, 0.05, 0.01):
      share = (p < level).mean()
      slack = 4 * np.sqrt(level * (1 - level) / len(p))
      self.assertLess(share, level + slack)
    # Discreteness and taking the larger of two p values cost power, not all.
    self.assertGreater((p < 0.2).mean(), 0.02)

  def test_a_concept_that_always_fires_is_never_a_bridge(self):
    n = 70
    always_G1, other_G1 = np.full((n, 1), 0.1), np.ones((n, 1))
    other_G1[:10] = 0
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      for pair in ((always_G1, other_G1), (other_G1, always_G1)):
        self.assertEmpty(discoveries(codes.pair_up(*pair)))


class TestedPairsTest(parameterized.TestCase):
  @FEW
  @hypothesis.given(
    seed=st.integers(0, 10**6), n=st.integers(1, 80), s=st.integers(1, 12)
  )
  def test_counts_every_pair_expected_often_enough(self, seed, n, s):
    rng = np.random.default_rng(seed)
    image_GS = codes.random(rng, n, rng.random(s)).toarray()
    text_GS = codes.random(rng, n, rng.random(s)).toarray()
    text_GS[:, rng.random(s) < 0.2] = 0  # Some are dead.
    count_i = (image_GS != 0).sum(0)
    count_j = (text_GS != 0).sum(0)
    brute = sum(int(a) * int(c) >= 5 * n for a in count_i for c in count_j)
    m = codes.pair_up(image_GS, text_GS)
    self.assertEqual(bridges.tested_pairs(m), brute)

  def test_pairs_that_never_meet_are_counted_though_they_have_no_entry(self):
    half_G1 = (np.arange(100) < 50)[:, None] * 1.0
    m = codes.pair_up(half_G1, 1 - half_G1)
    self.assertEmpty(p_of(m)[1])
    self.assertEqual(bridges.tested_pairs(m), 1)


class SignificantTest(parameterized.TestCase):
  @FEW
  @hypothesis.given(
    seed=st.integers(0, 10**6), n=st.integers(1, 60), more=st.integers(0, 40)
  )
  def test_is_benjamini_yekutieli(self, seed, n, more):
    rng = np.random.default_rng(seed)
    p_P = rng.random(n) ** rng.integers(1, 8)
    # Tests without an entry, of pairs that never meet, have p = 1.
    padded = np.concatenate([p_P, np.ones(more)])
    adjusted = scipy.stats.false_discovery_control(padded, method='by')
    np.testing.assert_array_equal(
      bridges.significant(p_P, n + more, LEVEL), adjusted[:n] <= LEVEL
    )

  @parameterized.parameters((0.049, True), (0.051, False))
  def test_a_single_test_needs_no_correction(self, p, expected):
    found = bridges.significant(np.array([p]), 1, LEVEL)
    self.assertEqual(found.tolist(), [expected])

  def test_a_passing_p_value_carries_the_smaller_ones_with_it(self):
    # The bars are 0.0091, 0.018 and 0.0273; only the last is cleared.
    p_P = np.array([0.025, 0.02, 0.027])
    self.assertTrue(bridges.significant(p_P, 3, LEVEL).all())
    self.assertFalse(bridges.significant(p_P + 0.001, 3, LEVEL).any())

  def test_pairs_that_were_not_tested_are_never_significant(self):
    # However many they are beside the tested.
    p_P = np.full(500, np.nan)
    p_P[3], p_P[7] = 1e-6, 0.9
    found_P = bridges.significant(p_P, 2, LEVEL)
    np.testing.assert_array_equal(np.flatnonzero(found_P), [3])
    self.assertFalse(bridges.significant(np.full(5, np.nan), 0).any())
    self.assertEmpty(bridges.significant(np.zeros(0), 0))


class DiscoveriesTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('few_firings', 2000),  # 23 joint firings expected of a factor: exact.
    ('many_firings', 6000),  # 69: also the normal approximation.
  )
  def test_planted_bridges_and_hardly_others_are_found(self, n):
    true = {(f, f + codes.IMAGE) for f in range(planted.FACTORS)}
    false_shares = []
    for seed in range(6):
      found = discoveries(codes.planted_pairs(n, seed)[0])
      self.assertContainsSubset(true, found)
      false_shares.append(len(found - true) / len(found))
    self.assertLessEqual(np.mean(false_shares), LEVEL)

  def test_shuffled_pairs_have_none(self):
    uncorrected, any_found = 0, 0
    for seed in range(20):
      m, _ = codes.planted_pairs(2000, seed, matched=False)
      uncorrected += (p_of(m)[1] < LEVEL).sum()
      any_found += bool(discoveries(m))
    self.assertGreater(uncorrected, 20)  # There was something to correct.
    self.assertLessEqual(any_found, 1)

  def test_independent_codes_have_none_though_most_pairs_are_too_rare(self):
    # A few frequent concepts among many rare ones: few tests, many entries.
    entries, tests, any_found = 0, 0, 0
    for seed in range(20):
      rng = np.random.default_rng(seed)
      rate_S = np.concatenate([[0.2, 0.3], np.full(60, 0.04)])
      m = codes.pair_up(*(codes.random(rng, 300, rate_S) for _ in '12'))
      entries += len(p_of(m)[0].i_P)
      tests += bridges.tested_pairs(m)
      any_found += bool(discoveries(m))
    self.assertGreater(entries, 20 * tests)
    self.assertLessEqual(any_found, 1)


if __name__ == '__main__':
  absltest.main()
