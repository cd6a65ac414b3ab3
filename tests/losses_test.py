"""Losses by hand, and where their gradients go."""

from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saejax import losses
from saejax import metrics
from saejax import nn
from saejax import types
from tests import saes

ARCHS = saes.ARCHS


def batch() -> types.Batch:
  return types.Batch(
    x_BD=jnp.asarray(saes.rows()),
    modality_B=jnp.zeros(saes.B, jnp.int32),
  )


class UnexplainedTest(parameterized.TestCase):
  @parameterized.parameters(*ARCHS)
  def test_is_error_over_spread_and_agrees_with_the_metrics(self, arch):
    sae, variables = saes.make(arch)
    out = sae.apply(variables, batch().x_BD, train=True)
    x_BD, xhat_BD = np.asarray(batch().x_BD), np.asarray(out.xhat_BD)
    error = ((x_BD - xhat_BD) ** 2).sum()
    expected = error / ((x_BD - x_BD.mean(0)) ** 2).sum()
    found = losses.unexplained(batch(), out)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    measured = metrics.Metrics.of(batch(), out).compute()
    np.testing.assert_allclose(measured['r2'], 1 - expected, rtol=1e-3)
    active = (saes.dense(out.codes) != 0).sum(1).mean()
    np.testing.assert_allclose(measured['l0'], active, rtol=1e-6)

  def test_metrics_of_parts_add_up(self):
    sae, variables = saes.make('topk')
    whole = batch()
    parts = [
      types.Batch(whole.x_BD[a : a + 8], whole.modality_B[a : a + 8])
      for a in range(0, saes.B, 8)
    ]
    of = lambda b: metrics.Metrics.of(b, sae.apply(variables, b.x_BD))
    total = of(parts[0])
    for part in parts[1:]:
      total = total.merge(of(part))
    for name, value in of(whole).compute().items():
      np.testing.assert_allclose(total.compute()[name], value, rtol=1e-4)


class MultiTopKTest(parameterized.TestCase):
  @parameterized.product(use_b_dec=[True, False], arch=['topk', 'batch_topk'])
  def test_value_and_gradients_are_those_of_a_dense_formula(
    self, arch, use_b_dec
  ):
    sae, variables = saes.make(arch, use_b_dec=use_b_dec)

    def loss(params):
      found = {'params': params, 'constants': variables['constants']}
      out = sae.apply(found, batch().x_BD, train=True)
      return losses.multi_top_k(sae, batch(), out, params)

    def dense(params):
      c = variables['constants']
      u_BD = (batch().x_BD - c['center']) * c['scale'][:, None]
      found = {'params': params, 'constants': c}
      pre_BS = sae.apply(found, batch().x_BD, method='preactivations')
      least_B1 = jnp.sort(pre_BS, axis=1)[:, -4 * saes.K, None]
      z_BS = jnp.where(pre_BS >= least_B1, jax.nn.relu(pre_BS), 0)
      uhat_BD = z_BS @ params['w_dec'] + use_b_dec * params['b_dec'][None]
      spread = jnp.sum((u_BD - u_BD.mean(0, keepdims=True)) ** 2)
      return jnp.sum((u_BD - uhat_BD) ** 2) / spread

    found = jax.value_and_grad(loss)(variables['params'])
    expected = jax.value_and_grad(dense)(variables['params'])
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
      found,
      expected,
    )
    for name in ('w_enc', 'b_enc', 'w_dec'):
      self.assertGreater(np.abs(found[1][name]).max(), 1e-3)

  def test_never_asks_for_more_codes_than_there_are(self):
    sae, variables = saes.make('topk')
    sae = sae.clone(k=saes.S // 2)
    out = sae.apply(variables, batch().x_BD)
    self.assertTrue(
      np.isfinite(losses.multi_top_k(sae, batch(), out, variables['params']))
    )


class AuxKTest(parameterized.TestCase):
  def gradients(self, arch, dead_S, shift=0.0, few=losses._FEW):
    self.enter_context(mock.patch.object(losses, '_FEW', few))
    sae, variables = saes.make(arch)
    if not sae.tied:
      b_enc = variables['params']['b_enc']
      variables['params']['b_enc'] = jnp.where(dead_S, b_enc - shift, b_enc)

    def loss(params):
      out = sae.apply(variables | {'params': params}, batch().x_BD, train=True)
      return losses.aux_k(batch(), out, params, dead_S, k=3)

    return jax.value_and_grad(loss)(variables['params'])

  @parameterized.product(arch=ARCHS, shift=[0.0, 30.0])
  def test_reaches_encoder_and_decoder_of_the_dead_alone(self, arch, shift):
    # With a shift of 30 every pre-activation of the dead is far below zero.
    dead_S = jnp.arange(saes.S) % 8 == 0
    value, grads = self.gradients(arch, dead_S, shift)
    self.assertGreater(value, 0)
    moved = {'w_dec': np.abs(grads['w_dec']).sum(1) > 0}
    if not nn.ARCHITECTURES[arch].tied:
      moved |= {
        'w_enc': np.abs(grads['w_enc']).sum(1) > 0,
        'b_enc': np.abs(grads['b_enc']) > 0,
      }
    for name, moved_S in moved.items():
      self.assertFalse((moved_S & ~np.asarray(dead_S)).any(), name)
      self.assertTrue((moved_S & np.asarray(dead_S)).any(), name)
    np.testing.assert_array_equal(grads['b_dec'], 0)

  @parameterized.parameters(*ARCHS)
  def test_is_silent_while_none_is_dead(self, arch):
    value, grads = self.gradients(arch, jnp.zeros(saes.S, bool))
    self.assertEqual(value, 0)
    for leaf in jax.tree.leaves(grads):
      np.testing.assert_array_equal(leaf, 0)

  # With an encoder, without, and of signed codes.
  @parameterized.product(arch=['topk', 'mp', 'abs_topk'], dead=[2, 20])
  def test_sums_of_some_rows_and_matmuls_with_all_agree(self, arch, dead):
    dead_S = jnp.arange(saes.S) < dead
    some, every = (self.gradients(arch, dead_S, few=few) for few in (0, saes.S))
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
      some,
      every,
    )

  def test_fewer_dead_than_k(self):
    dead_S = jnp.arange(saes.S) == 5
    value, grads = self.gradients('topk', dead_S)
    self.assertTrue(np.isfinite(value))
    self.assertTrue(all(np.isfinite(x).all() for x in jax.tree.leaves(grads)))

  def test_is_the_error_of_the_best_k_dead_by_hand(self):
    sae, variables = saes.make('topk')
    dead_S = np.arange(saes.S) % 8 == 0
    out = sae.apply(variables, batch().x_BD, train=True)
    pre = np.where(dead_S, np.asarray(out.aux['pre_BS']), -np.inf)
    kept = np.argsort(-pre, axis=1)[:, :3]
    z_BS = np.zeros_like(pre)
    np.put_along_axis(z_BS, kept, np.take_along_axis(pre, kept, axis=1), axis=1)
    e_BD = np.asarray(losses.residual(batch(), out))
    ehat_BD = z_BS @ np.asarray(variables['params']['w_dec'])
    expected = ((e_BD - ehat_BD) ** 2).sum() / (e_BD**2).sum()
    found = losses.aux_k(batch(), out, variables['params'], dead_S, k=3)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


if __name__ == '__main__':
  absltest.main()
