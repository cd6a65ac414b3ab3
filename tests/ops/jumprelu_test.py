"""JumpReLU's gradients against the formulas of its paper."""

from absl.testing import absltest
import jax
import numpy as np

from saejax import ops

B, S, WIDTH = 40, 6, 0.5
RNG = np.random.default_rng(0)
PRE_BS = RNG.normal(size=(B, S)).astype(np.float32)
THRESHOLD_S = RNG.uniform(0, 1, S).astype(np.float32)
G_BS = RNG.normal(size=(B, S)).astype(np.float32)
ABOVE_BS = PRE_BS > THRESHOLD_S
NEAR_BS = abs(PRE_BS - THRESHOLD_S) < WIDTH / 2


def gradients(f):
  out_BS, pull = jax.vjp(lambda p, t: f(p, t, WIDTH), PRE_BS, THRESHOLD_S)
  return out_BS, *pull(jax.numpy.asarray(G_BS))


class JumpReLUTest(absltest.TestCase):
  def test_jump_relu(self):
    out_BS, dpre_BS, dthreshold_S = gradients(ops.jump_relu)
    np.testing.assert_array_equal(out_BS, np.where(ABOVE_BS, PRE_BS, 0))
    np.testing.assert_array_equal(dpre_BS, np.where(ABOVE_BS, G_BS, 0))
    expected = -(THRESHOLD_S / WIDTH) * (G_BS * NEAR_BS).sum(0)
    self.assertGreater(abs(expected).min(), 0)
    np.testing.assert_allclose(dthreshold_S, expected, rtol=1e-5)

  def test_heaviside(self):
    out_BS, dpre_BS, dthreshold_S = gradients(ops.heaviside)
    np.testing.assert_array_equal(out_BS, ABOVE_BS)
    np.testing.assert_array_equal(dpre_BS, 0)
    expected = -(G_BS * NEAR_BS).sum(0) / WIDTH
    np.testing.assert_allclose(dthreshold_S, expected, rtol=1e-5)

  def test_the_estimate_nears_the_slope_of_the_mean(self):
    # Of uniform rows, the mean of heaviside(pre, θ) is 1 − θ: its slope is −1.
    pre_BS = RNG.uniform(size=(200_000, 1)).astype(np.float32)
    mean = lambda t: ops.heaviside(pre_BS, t, 0.1).mean()
    slope = jax.grad(mean)(np.array([0.4], np.float32))
    np.testing.assert_allclose(slope, -1, rtol=0.02)


if __name__ == '__main__':
  absltest.main()
