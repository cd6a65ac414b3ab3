"""The structureless twin has the moments it promises, and nothing else."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import scipy.stats

from saejax.analysis import surrogate

D = 4


def pairs(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
  """Correlated, skewed rows with means and spreads of their own."""
  rng = np.random.default_rng(seed)
  mix = np.random.default_rng(99).normal(size=(3, D, D))
  cause_nD = rng.exponential(size=(n, D))
  image_nD = cause_nD @ mix[0] + 3
  text_nD = cause_nD @ mix[1] + rng.exponential(size=(n, D)) @ mix[2] - 1
  return image_nD, text_nD


class FitTest(absltest.TestCase):
  def test_moments_are_those_of_the_rows(self):
    image_nD, text_nD = pairs(200)
    m = surrogate.fit(image_nD, text_nD)
    joint_DD = np.cov(
      np.concatenate([image_nD, text_nD], 1), rowvar=False, bias=True
    )
    np.testing.assert_allclose(m.mean_image_D, image_nD.mean(0))
    np.testing.assert_allclose(m.mean_text_D, text_nD.mean(0))
    np.testing.assert_allclose(m.image_DD, joint_DD[:D, :D])
    np.testing.assert_allclose(m.text_DD, joint_DD[D:, D:])
    np.testing.assert_allclose(m.image_text_DD, joint_DD[:D, D:])


class SampleTest(parameterized.TestCase):
  def test_has_the_means_and_the_joint_covariance(self):
    m = surrogate.fit(*pairs(5000))
    n = 200_000
    image_ID, text_ND = surrogate.sample(m, np.ones(n, int), seed=0)
    again = surrogate.fit(image_ID, text_ND)
    spread = lambda c_DD: np.sqrt(np.diag(c_DD))
    image_D, text_D = spread(m.image_DD), spread(m.text_DD)
    for found, expected, scale in (
      (again.mean_image_D, m.mean_image_D, image_D),
      (again.mean_text_D, m.mean_text_D, text_D),
      (again.image_DD, m.image_DD, np.outer(image_D, image_D)),
      (again.text_DD, m.text_DD, np.outer(text_D, text_D)),
      (again.image_text_DD, m.image_text_DD, np.outer(image_D, text_D)),
    ):
      np.testing.assert_allclose(found / scale, expected / scale, atol=0.02)
    # The rows are skewed; a Gaussian is not.
    self.assertGreater(abs(scipy.stats.skew(pairs(5000)[0])).max(), 0.5)
    for x_nD in (image_ID, text_ND):
      np.testing.assert_allclose(scipy.stats.skew(x_nD), 0, atol=0.05)
      np.testing.assert_allclose(scipy.stats.kurtosis(x_nD), 0, atol=0.1)

  def test_texts_of_one_image_share_it_and_no_more(self):
    m = surrogate.fit(*pairs(5000))
    n = 100_000
    _, text_ND = surrogate.sample(m, np.full(n, 2), seed=1)
    first_nD, second_nD = text_ND[0::2], text_ND[1::2]
    between = lambda a, b: surrogate.fit(a, b).image_text_DD
    text_D = np.sqrt(np.diag(m.text_DD))
    scale_DD = np.outer(text_D, text_D)
    # Given the image they are independent: Σ_τι Σ_ι⁻¹ Σ_ιτ is what is left.
    shared_DD = m.image_text_DD.T @ np.linalg.solve(m.image_DD, m.image_text_DD)
    self.assertGreater(abs(shared_DD / scale_DD).max(), 0.3)
    np.testing.assert_allclose(
      between(first_nD, second_nD) / scale_DD, shared_DD / scale_DD, atol=0.02
    )
    strangers_DD = between(first_nD, np.roll(second_nD, 1, axis=0))
    np.testing.assert_allclose(strangers_DD / scale_DD, 0, atol=0.02)

  def test_texts_follow_their_image_in_turn(self):
    # Texts that the image decides wholly, so that each row can be checked;
    # and images that do not fill their space.
    rng = np.random.default_rng(0)
    image_nD = rng.normal(size=(50, 2)) @ rng.normal(size=(2, D)) + 1
    map_DD = rng.normal(size=(D, D))
    m = surrogate.fit(image_nD, image_nD @ map_DD - 2)
    texts_I = np.array([1, 3, 0, 2])
    image_ID, text_ND = surrogate.sample(m, texts_I, seed=2)
    self.assertEqual((image_ID.shape, text_ND.shape), ((4, D), (6, D)))
    expected_ND = image_ID[[0, 1, 1, 1, 3, 3]] @ map_DD - 2
    np.testing.assert_allclose(text_ND, expected_ND, atol=1e-4)
    # It stays in the plane of the rows.
    centred_ID = image_ID - m.mean_image_D
    values_D, vectors_DD = np.linalg.eigh(m.image_DD)
    np.testing.assert_allclose(values_D[:2], 0, atol=1e-9)
    np.testing.assert_allclose(centred_ID @ vectors_DD[:, :2], 0, atol=1e-5)

  def test_is_float32_and_deterministic_in_the_seed(self):
    m = surrogate.fit(*pairs(100))
    texts_I = np.array([2, 1])
    first, again, other = (surrogate.sample(m, texts_I, s) for s in (4, 4, 5))
    for a, b, c in zip(first, again, other, strict=True):
      self.assertEqual(a.dtype, np.float32)
      np.testing.assert_array_equal(a, b)
      self.assertGreater(abs(a - c).min(), 0)


if __name__ == '__main__':
  absltest.main()
