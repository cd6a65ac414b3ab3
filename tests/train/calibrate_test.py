"""The calibrated threshold is exact, for any rows and weights."""

from absl.testing import absltest
import hypothesis
from hypothesis import strategies as st
import numpy as np

from saejax.train import calibrate


def threshold(blocks, weights, k):
  pairs = list(zip(blocks, weights, strict=True))
  return calibrate.exact_threshold(lambda: iter(pairs), k)


class ExactThresholdTest(absltest.TestCase):
  @hypothesis.settings(max_examples=100, deadline=None)
  @hypothesis.given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 40),
    k=st.integers(1, 12),
    levels=st.sampled_from([2, 7, 10**6]),
    scale=st.sampled_from([1e-30, 1.0, 1e30]),
  )
  def test_keeps_as_many_as_it_may_and_no_more(
    self, seed, rows, k, levels, scale
  ):
    pre_BS = np.random.default_rng(seed).normal(size=(rows, 12))
    pre_BS = (np.round(pre_BS * levels) / levels * scale).astype(np.float32)
    blocks = np.array_split(pre_BS, 3)
    found = threshold(blocks, [1 / rows] * 3, k)
    mean_kept = lambda t: (pre_BS > t).sum() / rows
    self.assertLessEqual(mean_kept(found), k + 1e-6)
    # One representable number lower would keep too many, or nothing is lost.
    lower = np.nextafter(found, np.float32(-1), dtype=np.float32)
    self.assertTrue(found == 0 or mean_kept(lower) > k)
    if found == 0:
      self.assertLessEqual((pre_BS > 0).sum() / rows, k + 1e-6)

  def test_weights_are_those_of_the_mixture(self):
    rng = np.random.default_rng(0)
    a, b = rng.random((100, 8), np.float32), rng.random((400, 8), np.float32)
    found = threshold([a, b], [0.8 / 100, 0.2 / 400], 3)
    kept = 0.8 * (a > found).sum(1).mean() + 0.2 * (b > found).sum(1).mean()
    self.assertLessEqual(kept, 3)
    self.assertGreater(kept, 3 - 0.8 / 100 - 1e-6)


if __name__ == '__main__':
  absltest.main()
