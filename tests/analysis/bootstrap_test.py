"""Sums by group, resampling of groups, and intervals that cover."""

import dataclasses
from unittest import mock
import warnings

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies as st
import numpy as np
import scipy.sparse

from saejax.analysis import bootstrap

FEW = hypothesis.settings(deadline=None, max_examples=25)


def width(e: bootstrap.Estimate) -> float:
  return e.high - e.low


class SumByTest(absltest.TestCase):
  @FEW
  @hypothesis.given(
    seed=st.integers(0, 10**6), n=st.integers(1, 30), k=st.integers(1, 4)
  )
  def test_adds_rows_of_a_group_and_sparse_stays_sparse(self, seed, n, k):
    rng = np.random.default_rng(seed)
    group_n = rng.choice([3, 50, 7, 1000], size=n)  # Neither sorted nor dense.
    values_nK = rng.normal(size=(n, k)) * (rng.random((n, k)) < 0.5)
    groups_G, sums_GK = bootstrap.sum_by(group_n, values_nK)
    np.testing.assert_array_equal(groups_G, sorted(set(group_n)))
    for g, sum_K in zip(groups_G, sums_GK, strict=True):
      np.testing.assert_allclose(sum_K, values_nK[group_n == g].sum(0))
    _, sparse_GK = bootstrap.sum_by(group_n, scipy.sparse.csr_matrix(values_nK))
    self.assertTrue(scipy.sparse.issparse(sparse_GK))
    np.testing.assert_allclose(sparse_GK.toarray(), sums_GK)


class ResampleTest(absltest.TestCase):
  def sums(self, groups: int = 20) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate(
      [np.ones((groups, 1)), rng.normal(size=(groups, 2))], 1
    )

  def test_every_draw_takes_as_many_groups_as_there_are(self):
    totals_RK = bootstrap.resample(self.sums(), draws=50)
    self.assertEqual(totals_RK.shape, (50, 3))
    np.testing.assert_array_equal(totals_RK[:, 0], 20)

  def test_draws_have_the_moments_of_sampling_groups_with_replacement(self):
    sums_GK = self.sums()
    totals_RK = bootstrap.resample(sums_GK, draws=20_000)
    n = len(sums_GK)
    expected_KK = n * np.cov(sums_GK, rowvar=False, bias=True)
    np.testing.assert_allclose(totals_RK.mean(0), sums_GK.sum(0), atol=0.15)
    np.testing.assert_allclose(
      np.cov(totals_RK, rowvar=False), expected_KK, atol=0.6
    )

  def test_depends_on_the_seed_alone(self):
    sums_GK = self.sums()
    first_RK = bootstrap.resample(sums_GK, draws=40, seed=5)
    again_RK = bootstrap.resample(sums_GK, draws=40, seed=5)
    np.testing.assert_array_equal(first_RK, again_RK)
    with mock.patch.object(bootstrap, '_CHUNK', 7 * len(sums_GK)):
      pieces_RK = bootstrap.resample(sums_GK, draws=40, seed=5)
    np.testing.assert_allclose(first_RK, pieces_RK, atol=1e-12)
    sparse_RK = bootstrap.resample(
      scipy.sparse.csr_matrix(sums_GK), draws=40, seed=5
    )
    np.testing.assert_allclose(first_RK, sparse_RK)
    other_RK = bootstrap.resample(sums_GK, draws=40, seed=6)
    self.assertGreater(abs(first_RK - other_RK)[:, 1:].min(), 0)


class IntervalTest(absltest.TestCase):
  def test_holds_the_middle_95_percent_of_the_defined_draws(self):
    draws_RK = np.full((2001, 3), np.nan)
    draws_RK[:, 0] = np.random.default_rng(0).permutation(2001)
    draws_RK[:1001, 1] = np.arange(1001)
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      low_K, high_K = bootstrap.interval(draws_RK)
    np.testing.assert_allclose(low_K, [50, 25, np.nan])
    np.testing.assert_allclose(high_K, [1950, 975, np.nan])


class MeanTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('every_row_its_own_group', 1, 60), ('five_rows_a_group', 5, 40)
  )
  def test_intervals_cover_the_truth_about_95_times_in_100(self, rows, groups):
    group_n = np.repeat(np.arange(groups), rows)
    covered = 0
    for seed in range(300):
      rng = np.random.default_rng(seed)
      # Half of the variance is the group's.
      values_n = rng.normal(2, 1, size=groups)[group_n]
      values_n = values_n + rng.normal(0, 1, size=len(group_n))
      e = bootstrap.mean(values_n, group_n, seed)
      np.testing.assert_allclose(e.value, values_n.mean())
      self.assertEqual(e.n, len(values_n))
      covered += e.low <= 2 <= e.high
    self.assertBetween(covered / 300, 0.9, 0.99)

  def test_copies_of_a_row_in_its_group_add_no_certainty(self):
    values_n = np.random.default_rng(0).normal(size=200)
    group_n = np.arange(200)
    once = bootstrap.mean(values_n, group_n)
    five = np.repeat(values_n, 5), np.repeat(group_n, 5)
    together = bootstrap.mean(*five)
    np.testing.assert_allclose(
      [together.value, together.low, together.high],
      [once.value, once.low, once.high],
    )
    apart = bootstrap.mean(five[0], np.arange(1000))
    np.testing.assert_allclose(width(once) / width(apart), 5**0.5, rtol=0.15)

  def test_groups_count_by_their_rows(self):
    # A ratio of sums: a large group weighs more, here and in every draw.
    values_n, group_n = np.array([1.0, 0, 0, 0]), np.array([0, 1, 1, 1])
    e = bootstrap.mean(values_n, group_n)
    self.assertEqual((e.value, e.low, e.high), (0.25, 0, 1))

  def test_is_deterministic_in_the_seed(self):
    values_n, group_n = np.random.default_rng(0).normal(size=30), np.arange(30)
    first, again, other = (
      bootstrap.mean(values_n, group_n, seed) for seed in (1, 1, 2)
    )
    self.assertEqual(first, again)
    self.assertNotEqual((first.low, first.high), (other.low, other.high))

  def test_of_nothing_is_undefined(self):
    e = bootstrap.mean(np.zeros(0), np.zeros(0, int))
    self.assertTrue(np.isnan(e.value))
    self.assertEqual((e.n, e.low, e.high), (0, None, None))

  def test_columns_have_the_numbers_that_each_would_have_alone(self):
    values_n3 = np.random.default_rng(0).normal(size=(40, 3))
    group_n = np.arange(40) // 3
    found = bootstrap.means(values_n3, group_n, seed=4)
    for e, values_n in zip(found, values_n3.T, strict=True):
      alone = bootstrap.mean(values_n, group_n, seed=4)
      np.testing.assert_allclose(
        dataclasses.astuple(e), dataclasses.astuple(alone)
      )
    self.assertLen(bootstrap.means(np.zeros((0, 2)), np.zeros(0)), 2)


class MedianTest(parameterized.TestCase):
  @FEW
  @hypothesis.given(
    seed=st.integers(0, 10**6), n=st.integers(1, 12), g=st.integers(1, 5)
  )
  def test_draws_are_medians_of_the_rows_of_resampled_groups(self, seed, n, g):
    rng = np.random.default_rng(seed)
    values_n, group_n = rng.integers(0, 5, size=n), rng.integers(0, g, size=n)
    groups_G, place_n = np.unique(group_n, return_inverse=True)
    weights_RG = rng.multinomial(
      len(groups_G), np.full(len(groups_G), 1 / len(groups_G)), size=20
    )
    medians = [np.median(values_n.repeat(w_G[place_n])) for w_G in weights_RG]
    with mock.patch.object(
      bootstrap, '_weights', return_value=[weights_RG[:7], weights_RG[7:]]
    ):
      e = bootstrap.median(values_n, group_n)
    low, high = np.percentile(medians, [2.5, 97.5])
    np.testing.assert_allclose([e.low, e.high], [low, high])
    self.assertEqual((e.value, e.n), (np.median(values_n), n))

  def test_intervals_cover_the_truth_about_95_times_in_100(self):
    covered = 0
    for seed in range(200):
      rng = np.random.default_rng(seed)
      group_n = np.repeat(np.arange(50), 3)
      values_n = rng.normal(2, 1, size=50)[group_n] + rng.normal(size=150)
      e = bootstrap.median(values_n, group_n, seed)
      covered += e.low <= 2 <= e.high
    self.assertBetween(covered / 200, 0.9, 0.99)

  def test_of_nothing_is_undefined(self):
    e = bootstrap.median(np.zeros(0), np.zeros(0, int))
    self.assertTrue(np.isnan(e.value))
    self.assertEqual((e.n, e.low, e.high), (0, None, None))


if __name__ == '__main__':
  absltest.main()
