"""Losses of matched rows by hand, their gradients, and what 0 leaves alone."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saejax import losses_paired
from saejax import nn
from saejax import types
from saejax.train import optimisers
from saejax.train import step as step_lib
from tests import meshes
from tests import planted
from tests import saes
from tests.train import step_test

G, M, S = 6, 2, 9


def codes(seed=0) -> np.ndarray:
  """Sparse codes of pairs; the last row has none active."""
  rng = np.random.default_rng(seed)
  z_GMS = rng.uniform(0.5, 1, size=(G, M, S)) * (rng.random((G, M, S)) < 0.4)
  z_GMS[-1, -1] = 0
  return z_GMS.astype(np.float32)


def batch(targets=None) -> types.Batch:
  return types.Batch(
    jnp.asarray(saes.rows()), jnp.zeros(saes.B, jnp.int32), targets
  )


class ValueTest(parameterized.TestCase):
  def test_alignment_is_one_minus_the_mean_cosine(self):
    z_GMS = codes()
    norm = np.maximum(np.linalg.norm(z_GMS, axis=2), 1e-12)
    cosine_G = (z_GMS[:, 0] * z_GMS[:, 1]).sum(1) / norm.prod(1)
    found = losses_paired.alignment(jnp.asarray(z_GMS))
    np.testing.assert_allclose(found, 1 - cosine_G.mean(), rtol=1e-5)
    np.testing.assert_allclose(
      losses_paired.alignment(jnp.asarray(z_GMS[:-1, [0, 0]])), 0, atol=1e-5
    )

  def test_group_sparsity_is_the_sum_of_norms_over_sides(self):
    z_GMS = codes()
    expected = np.sqrt((z_GMS**2).sum(1)).sum() / G
    found = losses_paired.group_sparsity(jnp.asarray(z_GMS))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # Of the same energy, what is shared is cheaper.
    shared = np.zeros((1, 2, 4), np.float32)
    shared[0, :, 0] = 1
    apart = np.zeros((1, 2, 4), np.float32)
    apart[0, 0, 0] = apart[0, 1, 1] = 1
    of = lambda z: float(losses_paired.group_sparsity(jnp.asarray(z)))
    np.testing.assert_allclose([of(shared), of(apart)], [2**0.5, 2], rtol=1e-5)

  @parameterized.parameters('alignment', 'group_sparsity')
  def test_gradients_against_finite_differences_and_finite_at_zero(self, name):
    loss = getattr(losses_paired, name)
    z_GMS = codes()
    grad = np.asarray(jax.grad(loss)(jnp.asarray(z_GMS)))
    self.assertTrue(np.isfinite(grad).all())
    with jax.enable_x64(True):
      z = z_GMS.astype(np.float64)
      for at in zip(*np.nonzero(z), strict=True):
        step = np.zeros_like(z)
        step[at] = 1e-5
        slope = (
          loss(jnp.asarray(z + step)) - loss(jnp.asarray(z - step))
        ) / 2e-5
        np.testing.assert_allclose(grad[at], slope, rtol=1e-3, atol=1e-5)

  @parameterized.parameters('topk', 'batch_topk', 'abs_topk')
  def test_penalty_weighs_both_on_the_encoders_scale(self, arch):
    sae, variables = saes.make(arch)
    out = sae.apply(variables, batch().x_BD, train=True)
    params = variables['params'] | {'w_dec': 3 * variables['params']['w_dec']}
    z_BS = saes.dense(out.codes) * np.asarray(out.aux['scale_B1'])
    z_GMS = z_BS.reshape(-1, 2, saes.S)
    u_BD = np.asarray(out.aux['u_BD'])
    unit = np.sqrt(((u_BD - u_BD.mean(0)) ** 2).sum(1).mean())
    cosine_G = (z_GMS[:, 0] * z_GMS[:, 1]).sum(1)
    norm_G = np.linalg.norm(z_GMS, axis=2).prod(1)
    cosine_G /= np.maximum(norm_G, 1e-9)  # A row may have no active concept.
    grouped = 3 * np.sqrt((z_GMS**2).sum(1)).sum(1).mean() / unit
    penalty = losses_paired.make_penalty(0.5, 0.25)
    found = penalty(sae, batch(), out, params, 0.0)
    expected = 0.5 * (1 - cosine_G.mean()) + 0.25 * grouped
    np.testing.assert_allclose(found, expected, rtol=1e-4)


class StepTest(absltest.TestCase):
  def test_weights_of_zero_leave_the_step_as_it_is(self):
    # To the same program; step_test holds it to its golden numbers.
    off = losses_paired.make_penalty(0.0, 0.0)
    with meshes.use((1, 1)) as mesh:
      state, _, _ = step_test.make('topk', mesh)
      sae = nn.TopK(d=planted.D, s=64, k=4, modalities=('image', 'text'))
      tx = optimisers.make_optimiser(2e-3, 50, weight_decay=1e-5, clip=1.0)
      settings = dict(steps=50, aux_weight=1 / 32, aux_k=8, dead_after=99)
      given = step_test.batch_of(0, jax.device_put)

      def program(**extra):
        step = step_lib.make_train_step(sae, tx, **settings, **extra)
        return jax.jit(step).lower(state, given).as_text()

      plain, on = program(), losses_paired.make_penalty(0.1, 0.0)
      self.assertEqual(program(extra_loss=off), plain)
      self.assertNotEqual(program(extra_loss=on), plain)

  def test_a_target_that_is_the_input_changes_nothing(self):
    with meshes.use((1, 1)) as mesh:
      state, _, step = step_test.make('topk', mesh)
      given = step_test.batch_of(0, jax.device_put)
      plain = jax.jit(step)(state, given)
      aimed = jax.jit(step)(state, given.replace(y_BD=given.x_BD))
    np.testing.assert_allclose(
      plain[0].params['w_dec'], aimed[0].params['w_dec'], atol=1e-5
    )
    np.testing.assert_allclose(
      plain[1].compute()['r2'], aimed[1].compute()['r2'], atol=1e-5
    )


if __name__ == '__main__':
  absltest.main()
