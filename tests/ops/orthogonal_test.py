"""Orthogonal matching pursuit against a loop over SciPy's NNLS."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from saejax import ops
from tests import meshes
from tests.ops import pursuit_test

AXES = pursuit_test.AXES
B, S, D, K = 16, 64, 24, 6


def problem():
  rng = np.random.default_rng(0)
  w_SD = rng.normal(size=(S, D)) + 0.4
  w_SD /= np.linalg.norm(w_SD, axis=1, keepdims=True)
  u_BD = rng.normal(size=(B, D))
  u_BD[2] = -1  # Few concepts point along this row.
  return u_BD.astype(np.float32), w_SD.astype(np.float32)


def by_hand(u_BD, w_SD, k):
  """Codes [B, S] and the concepts that each row was fitted with."""
  z_BS, every = np.zeros((len(u_BD), len(w_SD))), []
  for b, u_D in enumerate(u_BD.astype(np.float64)):
    chosen, left_D = [], u_D
    for _ in range(k):
      score_S = w_SD @ left_D
      score_S[chosen] = -np.inf
      if score_S.max() < 1e-6:
        break
      chosen.append(int(np.argmax(score_S)))
      z_K, _ = scipy.optimize.nnls(w_SD[chosen].T.astype(np.float64), u_D)
      left_D = u_D - z_K @ w_SD[chosen]
      z_BS[b, :] = 0
      z_BS[b, chosen] = z_K
    every.append(chosen)
  return z_BS, every


def codes(u_BD, w_SD, **axes):
  values_BK, index_BK = ops.orthogonal_pursuit(u_BD, w_SD, K, **axes)
  return ops.to_dense(values_BK, index_BK, S, **axes), index_BK


class OrthogonalTest(parameterized.TestCase):
  @parameterized.parameters(*pursuit_test.MESHES)
  def test_codes_are_the_nonnegative_fits(self, shape, axis_type):
    u_BD, w_SD = problem()
    if shape is None:
      z_BS, index_BK = jax.jit(codes)(u_BD, w_SD)
    else:
      with meshes.use(shape, axis_type):
        z_BS, index_BK = jax.jit(lambda *a: codes(*a, **AXES))(
          jax.device_put(u_BD, jax.P('data', None)),
          jax.device_put(w_SD, jax.P('model', None)),
        )
    np.testing.assert_allclose(z_BS, by_hand(u_BD, w_SD, K)[0], atol=1e-4)
    for row in np.asarray(index_BK):
      self.assertLen(set(row[row < S]), np.sum(row < S))

  def test_fits_better_than_without_fitting_anew(self):
    u_BD, w_SD = problem()
    mp_BS, _ = pursuit_test.codes(u_BD, w_SD, K)
    error = lambda z_BS: np.sum((u_BD - np.asarray(z_BS) @ w_SD) ** 2)
    self.assertLess(error(codes(u_BD, w_SD)[0]), error(mp_BS))

  def test_the_dictionarys_gradient_is_whole_with_codes_held_fixed(self):
    u_BD, w_SD = problem()

    def error(w_SD):
      return jnp.sum((u_BD - codes(u_BD, w_SD)[0] @ w_SD) ** 2)

    rng = np.random.default_rng(1)
    step_SD = rng.normal(size=w_SD.shape).astype(np.float32)
    slope = np.sum(jax.grad(error)(w_SD) * step_SD)
    h = 3e-4
    change = float(error(w_SD + h * step_SD) - error(w_SD - h * step_SD))
    np.testing.assert_allclose(change / (2 * h), slope, rtol=0.02)


if __name__ == '__main__':
  absltest.main()
