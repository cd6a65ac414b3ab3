"""Counts, chance and co-firing of concepts, against what is known."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import scipy.sparse

from saejax.analysis import sharing

N, S = 200, 30


def counts(fires_NS: np.ndarray, tokens: int = 4) -> sharing.Counts:
  return sharing.Counts(
    scipy.sparse.csr_matrix(fires_NS.astype(float)), np.full(N, tokens)
  )


def random(seed: int, rate: float = 0.3) -> np.ndarray:
  return np.random.default_rng(seed).random((N, S)) < rate


class CountsTest(parameterized.TestCase):
  def test_firings_are_counted_by_example(self):
    z = scipy.sparse.csr_matrix([[1.0, 0], [2, 0], [0, 3], [0, 0]])
    found = sharing.counts(z, np.array([0, 0, 2, 2]), 3)
    np.testing.assert_array_equal(
      found.fires_NS.toarray(), [[2, 0], [0, 0], [0, 1]]
    )
    np.testing.assert_array_equal(found.tokens_N, [2, 0, 2])
    np.testing.assert_array_equal(found.rate_S, [0.5, 0.25])
    twice = found.rates(np.array([[2.0, 0, 0], [1, 1, 1]]))
    np.testing.assert_allclose(twice, [[1, 0], [0.5, 0.25]])

  def test_codes_are_cut_to_one_l0_by_size(self):
    rng = np.random.default_rng(0)
    codes = [
      scipy.sparse.random_array((100, 20), density=0.4, rng=rng).tocsr()
      for _ in range(2)
    ]
    codes[1] = codes[1] * 3
    found = sharing.match_l0(codes, 2.0)
    self.assertAlmostEqual(np.mean([sharing.l0(z) for z in found]), 2.0)
    kept = np.concatenate([z.data for z in found])
    every = np.sort(np.concatenate([z.data for z in codes]))
    np.testing.assert_array_equal(np.sort(kept), every[-400:])
    same = sharing.match_l0(codes, 99.0)
    self.assertEqual(same[0].nnz, codes[0].nnz)

  def test_codes_are_cut_on_the_scale_of_the_encoder(self):
    """One modality's rows are half as large, and are read twice as large."""
    rng = np.random.default_rng(0)
    codes = [
      scipy.sparse.random_array((400, 20), density=0.4, rng=rng).tocsr()
      for _ in range(2)
    ]
    stored = [codes[0], codes[1] / 2]
    on_one_scale = sharing.match_l0(codes, 2.0)
    found = sharing.match_l0(stored, 2.0, [1.0, 2.0])
    for z, own, expected in zip(found, stored, on_one_scale, strict=True):
      np.testing.assert_array_equal(z.indices, expected.indices)
      self.assertAlmostEqual(sharing.l0(z), 2.0, delta=0.2)
      np.testing.assert_array_equal(
        z.toarray()[z.toarray() > 0], own.toarray()[z.toarray() > 0]
      )
    # On the stored scale the smaller loses most of its own.
    one, other = map(sharing.l0, sharing.match_l0(stored, 2.0))
    self.assertGreater(one, 2 * other)

  def test_scores(self):
    found = sharing.score(
      np.array([0.2, 0, 0.1, 0]), np.array([0, 0.2, 0.1, 0])
    )
    np.testing.assert_array_equal(found, [1, 0, 0.5, np.nan])


class ShareTest(parameterized.TestCase):
  def test_of_known_rates(self):
    a, b = np.array([0.5, 0.5, 0, 0, 0.01]), np.array([0.5, 0, 0.5, 0, 0.01])
    self.assertEqual(sharing.shared_share(a, b, 0.1), 1 / 3)
    self.assertEqual(sharing.shared_share(a, b, 0.001), 2 / 4)
    self.assertTrue(np.isnan(sharing.shared_share(a, b, 0.9)))
    # Two of five on each side: 0.8 in both by chance, of 3.2.
    every = np.ones(5, bool)
    self.assertAlmostEqual(sharing.chance_share(a, b, 0.1, every), 0.25)
    # A dead one is no candidate: one of four in both, of three.
    found = sharing.chance_share(a, b, 0.1, (a > 0) | (b > 0))
    self.assertAlmostEqual(found, 1 / 3)
    self.assertTrue(np.isnan(sharing.chance_share(a, b, 0.9, every)))

  def test_bounds_hold_the_value(self):
    fires = random(0, 0.1)
    fires[:, 20:] = False
    a, b = counts(fires), counts(random(1, 0.1) & (np.arange(S) < 25)[None])
    value = sharing.shared_share(a.rate_S, b.rate_S, 0.01)
    draws = sharing.resampled_share(a, b, 0.01, 50)
    self.assertEqual(draws.shape, (50,))
    self.assertAlmostEqual(draws.mean(), value, delta=0.05)

  def test_exchanging_hides_a_modality_and_halves_keep_a_context(self):
    fires = random(0)
    first = (np.arange(S) < 15)[None]
    a, b = counts(fires & first), counts(fires & ~first)
    self.assertEqual(sharing.shared_share(a.rate_S, b.rate_S, 0.01), 0)
    self.assertEqual(sharing.exchanged_share(a, b, 0.01, 5).min(), 1)
    self.assertEqual(sharing.halves_share(a, a, 0.01, 5).min(), 1)
    self.assertEqual(sharing.halves_share(a, b, 0.01, 5).max(), 0)

  def test_unrelated_contexts_share_what_chance_gives(self):
    """Of 400 concepts four tenths pass on each side; 1600 never fire."""
    live, dead, cut = 400, 1600, 0.01
    measured, chance, related = [], [], []
    for seed in range(10):
      rng = np.random.default_rng(seed)
      on_2S = rng.random((2, live)) < 0.4
      side = lambda on_S, rng=rng: counts(
        np.pad(
          rng.random((N, live)) < np.where(on_S, 0.2, 0.01), [(0, 0), (0, dead)]
        )
      )
      a, b, same = side(on_2S[0]), side(on_2S[1]), side(on_2S[0])
      live_S = a.rate_S + b.rate_S > 0
      measured.append(sharing.shared_share(a.rate_S, b.rate_S, cut))
      chance.append(sharing.chance_share(a.rate_S, b.rate_S, cut, live_S))
      related.append(sharing.shared_share(a.rate_S, same.rate_S, cut))
    self.assertAlmostEqual(np.mean(measured), np.mean(chance), delta=0.02)
    self.assertGreater(np.min(related), np.mean(chance) + 0.5)

  def test_halves_of_two_contexts_are_held_to_halves_of_one(self):
    """Rates about the threshold: fewer examples pass it less surely."""
    cut, many = 0.01, 300
    rng = np.random.default_rng(0)
    rate_S = np.exp(rng.uniform(np.log(0.005), np.log(0.4), many))
    side = lambda rate_S: counts(rng.random((N, many)) < rate_S)
    a, b = side(rate_S), side(rate_S)
    one = np.mean([sharing.halves_share(c, c, cut, 100).mean() for c in (a, b)])
    two = sharing.halves_share(a, b, cut, 100).mean()
    self.assertAlmostEqual(one, two, delta=0.02)
    # The whole of both is no match for it: more examples, surer rates.
    whole = sharing.shared_share(a.rate_S, b.rate_S, cut)
    self.assertGreater(whole, one + 0.02)
    other = side(np.where(np.arange(many) < many // 2, rate_S, 0))
    one = np.mean(
      [sharing.halves_share(c, c, cut, 100).mean() for c in (a, other)]
    )
    self.assertLess(sharing.halves_share(a, other, cut, 100).mean(), one - 0.2)

  def test_draws_are_those_of_counting_anew(self):
    a, b = counts(random(0, 0.02)), counts(random(1, 0.02), 3)
    cut, rng = 0.005, np.random.default_rng(7)
    half_RN = rng.permuted(np.tile(np.arange(N) < N // 2, (4, 1)), axis=1)
    expected = [
      sharing.shared_share(a.rows(h).rate_S, b.rows(~h).rate_S, cut)
      for h in half_RN
    ]
    found = sharing.halves_share(a, b, cut, 4, seed=7)
    np.testing.assert_array_equal(found, expected)
    keep_RN = np.random.default_rng(7).random((4, N)) >= 0.5
    expected = []
    for keep_N in keep_RN:
      fires = [c.fires_NS.toarray() for c in (a, b)]
      rates = []
      for k in (keep_N, ~keep_N):
        mixed = np.where(k[:, None], *fires).sum(0)
        rates.append(mixed / np.where(k, a.tokens_N, b.tokens_N).sum())
      expected.append(sharing.shared_share(*rates, cut))
    found = sharing.exchanged_share(a, b, cut, 4, seed=7)
    np.testing.assert_array_equal(found, expected)


class CoFiringTest(parameterized.TestCase):
  def test_correlation_is_that_of_numpy(self):
    a, b = random(0), random(1)
    found = sharing.co_firing(counts(a), counts(b)).phi_S
    expected = [np.corrcoef(a[:, s], b[:, s])[0, 1] for s in range(S)]
    np.testing.assert_allclose(found, expected, atol=1e-9)

  def test_p_is_that_of_shuffling(self):
    a = random(0, 0.3)
    b = random(1, 0.3) | (a & (random(2, 0.4)))
    found = sharing.co_firing(counts(a), counts(b)).p_S
    rng = np.random.default_rng(3)
    joint, many = (a & b).sum(0), np.zeros(S)
    for _ in range(2000):
      many += (a & b[rng.permutation(N)]).sum(0) >= joint
    np.testing.assert_allclose(found, many / 2000, atol=0.04)

  def test_pairs_are_found_and_chance_is_not(self):
    a = random(0)
    same = sharing.co_firing(counts(a), counts(a))
    np.testing.assert_allclose(same.phi_S, 1)
    every = np.ones(S, bool)
    self.assertTrue(same.paired(every).all())
    self.assertEqual(same.paired(np.arange(S) < 3).sum(), 3)
    other = sharing.co_firing(counts(a), counts(random(1)))
    self.assertLessEqual(other.paired(every).sum(), 1)
    null = sharing.resampled_phi(counts(a), counts(a), every, 20, shuffled=True)
    self.assertLess(np.abs(null).max(), 0.06)
    draws = sharing.resampled_phi(counts(a), counts(a), every, 20)
    np.testing.assert_allclose(draws, 1)

  def test_long_examples_share_nothing_by_being_long(self):
    """Of 2 to 30 tokens, the two sides fire independently in each."""
    rng = np.random.default_rng(0)
    rate_S = np.exp(rng.uniform(np.log(0.01), np.log(0.1), size=S))
    p, phis, permuted, found = [], [], [], 0
    for _ in range(8):
      tokens_N = rng.integers(2, 31, size=N)
      draw = lambda t_N: rng.binomial(t_N[:, None], rate_S[None])
      fires = [draw(tokens_N), draw(tokens_N)]
      side = lambda z, t_N=tokens_N: sharing.Counts(
        scipy.sparse.csr_matrix(z.astype(float)), t_N
      )
      # Both have the token of a concept in some examples, however long.
      both_N = (rng.random((N, 3)) < 0.3).astype(int)
      fires = [np.concatenate([f, both_N], axis=1) for f in fires]
      a, b = map(side, fires)
      co = sharing.co_firing(a, b)
      p.append(co.p_S[:S])
      phis.append(co.phi_S[:S])
      null = np.arange(S + 3) < S
      permuted.append(sharing.resampled_phi(a, b, null, 10, shuffled=True))
      paired_S = co.paired(np.ones(S + 3, bool))
      self.assertTrue(paired_S[S:].all())
      found += paired_S[:S].sum()
    p = np.concatenate(p)
    p = p[np.isfinite(p)]
    self.assertGreater(len(p), 100)
    self.assertLess(np.mean(p <= 0.05), 0.08)
    self.assertBetween(np.mean(p <= 0.5), 0.35, 0.6)
    self.assertLess(abs(np.mean(phis)), 0.015)
    self.assertLess(abs(np.mean(permuted)), 0.015)
    # One in twenty of all that are found may be false: 24 are true.
    self.assertLessEqual(found, 3)

  def test_p_is_exact_within_strata(self):
    rng = np.random.default_rng(4)
    tokens_N = rng.integers(1, 6, size=N)
    a, b = (
      sharing.Counts(
        scipy.sparse.csr_matrix(
          rng.binomial(tokens_N[:, None], 0.2, size=(N, S)).astype(float)
        ),
        tokens_N,
      )
      for _ in '12'
    )
    found = sharing.co_firing(a, b)
    stratum_N = sharing.strata(a, b)
    fires = [(c.fires_NS > 0).toarray() for c in (a, b)]
    joint, many = (fires[0] & fires[1]).sum(0), np.zeros(S)
    for _ in range(2000):
      order = sharing.shuffle(stratum_N, rng)
      np.testing.assert_array_equal(tokens_N[order], tokens_N)
      many += (fires[0] & fires[1][order]).sum(0) >= joint
    np.testing.assert_allclose(found.p_S, many / 2000, atol=0.04)
    # Correlation of what is left about the means of strata.
    mean = lambda f: np.stack([f[tokens_N == t].mean(0) for t in range(1, 6)])
    x, y = (f - mean(f)[tokens_N - 1] for f in fires)
    expected = (x * y).sum(0) / np.sqrt((x**2).sum(0) * (y**2).sum(0))
    np.testing.assert_allclose(found.phi_S, expected, atol=1e-9)

  def test_a_rare_concept_is_not_tested(self):
    a = np.zeros((N, S), bool)
    a[:9] = True
    self.assertTrue(np.isnan(sharing.co_firing(counts(a), counts(a)).p_S).all())


if __name__ == '__main__':
  absltest.main()
