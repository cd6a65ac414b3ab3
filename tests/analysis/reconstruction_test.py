"""The three R² by hand, and what means alone score."""

from absl.testing import absltest
import numpy as np

from saejax.analysis import reconstruction

NAMES = ('r2', 'r2_pooled', 'r2_library')


class R2Test(absltest.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    self.x_mnD = [
      (rng.normal(size=(n, 6)) + shift).astype(np.float32)
      for n, shift in ((40, 1.0), (90, -0.5))
    ]
    # Means of other rows, as those of a training split are.
    self.mean_MD = np.stack([x_nD[::3].mean(0) + 0.1 for x_nD in self.x_mnD])
    self.pooled_D = (40 * self.mean_MD[0] + 90 * self.mean_MD[1]) / 130

  def parts(self, xhat) -> list[reconstruction.Moments]:
    """Moments of both modalities; `xhat(m, x_nD)` is what is predicted."""
    return [
      reconstruction.moments(
        x_nD,
        ((x_nD - xhat(m, x_nD)) ** 2).sum(1),
        np.arange(len(x_nD)),
        self.mean_MD[m],
        self.pooled_D,
      )
      for m, x_nD in enumerate(self.x_mnD)
    ]

  def test_by_hand(self):
    xhat_mnD = [
      x_nD + np.random.default_rng(m).normal(0, 0.3, size=x_nD.shape)
      for m, x_nD in enumerate(self.x_mnD)
    ]
    found = reconstruction.r2(self.parts(lambda m, x_nD: xhat_mnD[m]))
    x_ND = np.concatenate(self.x_mnD).astype(np.float64)
    means_ND = self.mean_MD[np.repeat([0, 1], [40, 90])]
    error = ((x_ND - np.concatenate(xhat_mnD)) ** 2).sum()
    within = ((x_ND - means_ND) ** 2).sum()
    pooled = ((x_ND - self.pooled_D) ** 2).sum()
    # One number for all: the library divides means over every entry.
    library = ((x_ND - self.pooled_D.mean()) ** 2).mean() * x_ND.size
    expected = {
      'r2': 1 - error / within,
      'r2_pooled': 1 - error / pooled,
      'r2_library': 1 - error / library,
      'two_means/r2_pooled': 1 - within / pooled,
      'two_means/r2_library': 1 - within / library,
    }
    self.assertEqual(set(found), set(expected))
    for name, value in expected.items():
      np.testing.assert_allclose(found[name].value, value, rtol=1e-6)
      self.assertEqual(found[name].n, 130)
      self.assertBetween(found[name].value, found[name].low, found[name].high)
    # The gap between modalities flatters two of the three.
    self.assertGreater(found['two_means/r2_pooled'].value, 0.2)

  def test_a_perfect_reconstruction_scores_one(self):
    found = reconstruction.r2(self.parts(lambda m, x_nD: x_nD))
    for name in NAMES:
      e = found[name]
      self.assertEqual((e.value, e.low, e.high), (1, 1, 1))

  def test_the_modality_mean_scores_zero_within_and_two_means_elsewhere(self):
    parts = self.parts(lambda m, x_nD: self.mean_MD[m])
    for chosen in (parts, parts[:1], parts[1:]):
      found = reconstruction.r2(chosen)
      np.testing.assert_allclose(found['r2'].value, 0, atol=1e-7)
      for name in NAMES[1:]:
        np.testing.assert_allclose(
          found[name].value, found[f'two_means/{name}'].value, atol=1e-7
        )
        self.assertNotEqual(found[name].value, 0)

  def test_the_pooled_mean_scores_zero_when_pooled_and_less_within(self):
    found = reconstruction.r2(self.parts(lambda m, x_nD: self.pooled_D))
    np.testing.assert_allclose(found['r2_pooled'].value, 0, atol=1e-7)
    self.assertLess(found['r2'].value, -0.1)
    found = reconstruction.r2(self.parts(lambda m, x: self.pooled_D.mean()))
    np.testing.assert_allclose(found['r2_library'].value, 0, atol=1e-7)

  def test_modalities_share_groups(self):
    # Each image with its own texts: errors that belong to the group widen the
    # interval, and those groups are the same in both modalities.
    rng = np.random.default_rng(0)
    groups, texts = 60, 5
    scale_G = rng.lognormal(size=groups)
    group_n = np.repeat(np.arange(groups), texts)
    ones = np.ones(groups * texts)
    moment = lambda group_n: reconstruction.Moments(
      group_n,
      scale_G[np.repeat(np.arange(groups), texts)] / 9,
      ones,
      ones,
      ones,
    )
    width = lambda e: e.high - e.low
    together = reconstruction.r2([moment(group_n), moment(group_n)])['r2']
    apart = reconstruction.r2([moment(group_n), moment(group_n + groups)])['r2']
    rows = reconstruction.r2([moment(np.arange(len(ones)))])['r2']
    np.testing.assert_allclose(
      width(together) / width(apart), 2**0.5, rtol=0.15
    )
    np.testing.assert_allclose(width(together) / width(rows), 5**0.5, rtol=0.15)


if __name__ == '__main__':
  absltest.main()
