"""What sets each variant apart: its equation, its penalty, its gradients."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saejax import losses
from saejax import nn
from saejax import types
from tests import saes

HALF = jnp.float32(0.5)  # Of the steps: every λ is whole.


def batch() -> types.Batch:
  return types.Batch(jnp.asarray(saes.rows()), jnp.zeros(saes.B, jnp.int32))


def run(sae, variables, params=None, progress=HALF):
  """The variant's penalty and its output."""
  variables = variables | ({'params': params} if params else {})
  out = sae.apply(variables, batch().x_BD, train=True)
  penalty = losses.PENALTIES[type(sae)]
  return penalty(sae, batch(), out, variables['params'], progress), out


def gradients(sae, variables, progress=HALF):
  loss = lambda params: run(sae, variables, params, progress)[0]
  return jax.tree.map(np.asarray, jax.grad(loss)(variables['params']))


def unit_of(out) -> float:
  u_BD = np.asarray(out.aux['u_BD'])
  return np.sqrt(((u_BD - u_BD.mean(0)) ** 2).sum(1).mean())


class L1Test(parameterized.TestCase):
  def test_is_the_weighted_sum_of_codes_on_the_encoders_scale(self):
    sae, variables = saes.make('relu', l1=0.7)
    w_dec = 3 * variables['params']['w_dec']
    params = variables['params'] | {'w_dec': w_dec}
    found, out = run(sae, variables, params)
    z_BS = np.maximum(out.aux['pre_BS'], 0)
    expected = 0.7 * 3 * z_BS.sum(1).mean() / unit_of(out)
    np.testing.assert_allclose(found, expected, rtol=1e-5)

  @parameterized.parameters('relu', 'gated', 'p_anneal')
  def test_long_decoder_rows_do_not_pay(self, arch):
    sae, variables = saes.make(arch)
    factor_S = np.random.default_rng(2).uniform(0.5, 4, saes.S)
    p = jax.tree.map(np.asarray, variables['params'])
    p['w_enc'], p['b_enc'] = (
      p['w_enc'] / factor_S[:, None],
      p['b_enc'] / factor_S,
    )
    p['w_dec'] = p['w_dec'] * factor_S[:, None]
    expected, _ = run(sae, variables)
    found, _ = run(sae, variables, p)
    np.testing.assert_allclose(found, expected, rtol=1e-4)

  @parameterized.parameters('relu', 'p_anneal')
  def test_rises_over_the_first_twentieth(self, arch):
    sae, variables = saes.make(arch)
    at = lambda progress: float(run(sae, variables, progress=progress)[0])
    self.assertEqual(at(0.0), 0)
    np.testing.assert_allclose(at(0.02), 0.4 * at(0.05), rtol=1e-5)
    np.testing.assert_allclose(at(1.0), at(0.05), rtol=1e-5)

  @parameterized.parameters('relu', 'p_anneal', 'gated')
  def test_the_share_of_steps_over_which_it_rises_may_be_told(self, arch):
    def at(progress, warmup, l1=1.0):
      sae, variables = saes.make(arch, sparsity_warmup=warmup, l1=l1)
      return float(run(sae, variables, progress=progress)[0])

    sparsity = lambda *a: at(*a) - at(*a, l1=0.0)  # Gated adds an error.
    whole = sparsity(0.0, 0.0)
    self.assertGreater(whole, 0.01)
    np.testing.assert_allclose(sparsity(0.1, 0.4), whole / 4, rtol=1e-4)
    np.testing.assert_allclose(sparsity(0.5, 0.4), whole, rtol=1e-4)

  def test_annealing_starts_as_l1_and_ends_flatter(self):
    sae, variables = saes.make('p_anneal', l1=0.3)
    relu, _ = saes.make('relu', l1=0.3)
    start = gradients(sae, variables, 0.05)
    for name, expected in gradients(relu, variables).items():
      np.testing.assert_allclose(start[name], expected, rtol=1e-3, atol=1e-6)
    # d/db_i is a sum over rows of the slope at each code: by hand, at p = 0.2.
    _, out = run(sae, variables)
    z_BS = np.maximum(out.aux['pre_BS'], 0) / unit_of(out)
    slope_BS = np.where(z_BS > 0, 0.2 * (z_BS + 1e-3) ** -0.8, 0)
    total = ((z_BS + 1e-3) ** 0.2 - 1e-3**0.2).sum()
    expected = 0.3 * z_BS.sum() / saes.B * slope_BS.sum(0) / total
    end = gradients(sae, variables, 1.0)
    np.testing.assert_allclose(
      end['b_enc'], expected / unit_of(out), rtol=1e-3, atol=1e-6
    )


class JumpReLUTest(parameterized.TestCase):
  def test_the_penalty_aims_at_k(self):
    sae, variables = saes.make('jumprelu')
    found, out = run(sae, variables)
    l0 = (saes.dense(out.codes) != 0).sum(1).mean()
    np.testing.assert_allclose(found, (l0 / saes.K - 1) ** 2, rtol=1e-5)
    grads = gradients(sae, variables)
    self.assertGreater(l0, saes.K)
    self.assertLess(grads['threshold'].max(), 1e-9)  # All rise.
    self.assertLess(grads['threshold'].min(), 0)
    for name in ('w_enc', 'b_enc', 'w_dec', 'b_dec'):
      np.testing.assert_array_equal(grads[name], 0)

  def test_or_weighs_l0(self):
    sae, variables = saes.make('jumprelu', l0=0.25)
    found, out = run(sae, variables)
    l0 = (saes.dense(out.codes) != 0).sum(1).mean()
    np.testing.assert_allclose(found, 0.25 * l0, rtol=1e-5)

  def test_starts_near_k_on_rows_of_any_size(self):
    x_BD = np.random.default_rng(0).normal(size=(500, 64)).astype(np.float32)
    for rms in (0.01, 10.0):
      sae = nn.JumpReLU(d=64, s=256, k=8, rms=rms)
      out = sae.apply(sae.init(jax.random.key(0), x_BD), x_BD * rms)
      l0 = (np.asarray(out.codes.z_BS) != 0).sum(1).mean()
      np.testing.assert_allclose(l0, 8, rtol=0.1)


class GatedTest(parameterized.TestCase):
  def test_gate_and_magnitude(self):
    sae, variables = saes.make('gated')
    p = jax.tree.map(np.asarray, variables['params'])
    u_BD = saes.rows() - variables['constants']['center']
    u_BD = u_BD * variables['constants']['scale'][0]
    gate_BS = u_BD @ p['w_enc'].T + p['b_enc'] > 0
    magnitude_BS = u_BD @ p['w_enc'].T * np.exp(p['r_mag']) + p['b_mag']
    expected = np.where(gate_BS, np.maximum(magnitude_BS, 0), 0)
    z_BS = saes.dense(sae.apply(variables, saes.rows()).codes)
    z_BS = z_BS * variables['constants']['scale'][0]
    self.assertTrue((gate_BS & (expected == 0)).any())
    np.testing.assert_allclose(z_BS, expected, rtol=1e-4, atol=1e-4)

  def test_the_penalty_teaches_the_gate_and_not_the_decoder(self):
    for l1 in (0.0, 0.5):
      grads = gradients(*saes.make('gated', l1=l1))
      for name in ('w_dec', 'b_dec', 'r_mag', 'b_mag'):
        np.testing.assert_array_equal(grads[name], 0, err_msg=name)
      for name in ('w_enc', 'b_enc'):
        self.assertGreater(np.abs(grads[name]).max(), 0)

  def test_reconstruction_alone_teaches_the_gate_nothing(self):
    sae, variables = saes.make('gated')

    def loss(params):
      out = sae.apply({**variables, 'params': params}, batch().x_BD, train=True)
      return losses.unexplained(batch(), out)

    grads = jax.grad(loss)(variables['params'])
    np.testing.assert_allclose(grads['b_enc'], 0, atol=1e-6)
    for name in ('w_enc', 'w_dec', 'r_mag', 'b_mag'):
      self.assertGreater(np.abs(grads[name]).max(), 1e-4)

  def test_without_shrinkage_or_bias_it_reconstructs_by_the_gate(self):
    sae, variables = saes.make('gated', l1=0.0)
    for name in ('r_mag', 'b_enc', 'b_mag'):
      variables['params'][name] = np.zeros(saes.S, np.float32)
    found, out = run(sae, variables)
    np.testing.assert_allclose(
      found, losses.unexplained(batch(), out), rtol=1e-4
    )


class MatryoshkaTest(parameterized.TestCase):
  def test_prefixes_are_shares_of_the_dictionary(self):
    sae, _ = saes.make('matryoshka')
    self.assertEqual(sae.prefixes, (4, 8, 16, 32))
    sae, _ = saes.make('matryoshka', groups=(1e-9, 0.5, 0.501, 1.0))
    self.assertEqual(sae.prefixes, (1, 32))

  @parameterized.parameters(True, False)
  def test_the_penalty_is_what_prefixes_leave_unexplained(self, use_b_dec):
    sae, variables = saes.make('matryoshka', use_b_dec=use_b_dec)
    found, out = run(sae, variables)
    p = jax.tree.map(np.asarray, variables['params'])
    u_BD = np.asarray(out.aux['u_BD'])
    z_BS = saes.dense(out.codes) * variables['constants']['scale'][0]
    expected = 0.0
    for n in (4, 8, 16, 32):
      error_BD = u_BD - z_BS[:, :n] @ p['w_dec'][:n] - p['b_dec'] * use_b_dec
      expected += (error_BD**2).sum() / ((u_BD - u_BD.mean(0)) ** 2).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-4)

  def test_one_group_is_batch_topk(self):
    sae, variables = saes.make('matryoshka', groups=(1.0,))
    plain, _ = saes.make('batch_topk')
    found, out = run(sae, variables)
    expected = plain.apply(variables, batch().x_BD, train=True)
    self.assertEqual(found, 0)
    np.testing.assert_array_equal(
      saes.dense(out.codes), saes.dense(expected.codes)
    )
    np.testing.assert_array_equal(out.xhat_BD, expected.xhat_BD)


class NestedTest(parameterized.TestCase):
  def test_weights_of_budgets(self):
    sae, _ = saes.make('hierarchical_topk')
    self.assertEqual(sae.weights, (0.25,) * 4)
    nested = lambda **fields: nn.NestedTopK(d=8, s=64, k=8, **fields)
    self.assertEqual(nested().sizes, (1, 2, 4, 8))
    self.assertEqual(nested().weights, (0.25, 0.25, 0, 0.25, 0, 0, 0, 0.25))
    reverse = nested(budgets=(0.5, 0.5, 1e-9), weighting='reverse')
    self.assertEqual(reverse.sizes, (1, 4, 8))
    np.testing.assert_allclose(
      np.multiply(reverse.weights, 6), (3, 0, 0, 2, 0, 0, 0, 1)
    )

  @parameterized.product(
    arch=('hierarchical_topk', 'nested_topk'), use_b_dec=(True, False)
  )
  def test_the_loss_is_the_weighted_mean_over_budgets(self, arch, use_b_dec):
    sae, variables = saes.make(arch, use_b_dec=use_b_dec)
    penalty, out = run(sae, variables)
    p = jax.tree.map(np.asarray, variables['params'])
    u_BD = np.asarray(out.aux['u_BD'])
    z_BS = saes.dense(out.codes) * variables['constants']['scale'][0]
    expected = 0.0
    for j, weight in enumerate(sae.weights, start=1):
      least_B1 = np.sort(z_BS, axis=1)[:, [-j]]
      few_BS = np.where(z_BS >= np.maximum(least_B1, 1e-9), z_BS, 0)
      error_BD = u_BD - few_BS @ p['w_dec'] - p['b_dec'] * use_b_dec
      share = (error_BD**2).sum() / ((u_BD - u_BD.mean(0)) ** 2).sum()
      expected += weight * share
    found = losses.unexplained(batch(), out) + penalty
    np.testing.assert_allclose(found, expected, rtol=1e-4)

  def test_codes_are_those_of_topk(self):
    sae, variables = saes.make('nested_topk')
    plain, _ = saes.make('topk')
    found = sae.apply(variables, saes.rows(), train=True)
    expected = plain.apply(variables, saes.rows(), train=True)
    jax.tree.map(np.testing.assert_array_equal, found.codes, expected.codes)

  def test_a_single_budget_is_topk(self):
    sae = nn.HierarchicalTopK(d=saes.D, s=saes.S, k=1)
    _, variables = saes.make('topk')
    penalty, _ = run(sae, variables)
    self.assertEqual(penalty, 0)


class PursuitTest(parameterized.TestCase):
  @parameterized.parameters('mp', 'omp')
  def test_starts_from_rows_without_the_decoders_bias(self, arch):
    sae, variables = saes.make(arch)
    p = jax.tree.map(np.asarray, variables['params'])
    shifted = p | {'b_dec': np.zeros_like(p['b_dec'])}
    scale = variables['constants']['scale'][0]
    found = sae.apply(variables, saes.rows()).codes
    expected = sae.apply(
      variables | {'params': shifted}, saes.rows() - p['b_dec'] / scale
    ).codes
    np.testing.assert_allclose(
      saes.dense(found), saes.dense(expected), rtol=1e-3, atol=1e-4
    )
    without = sae.clone(use_b_dec=False)
    np.testing.assert_array_equal(
      saes.dense(without.apply(variables, saes.rows()).codes),
      saes.dense(sae.apply(variables | {'params': shifted}, saes.rows()).codes),
    )

  def test_explains_more_than_one_look_at_the_row(self):
    error = {}
    for arch in ('topk', 'mp', 'omp'):
      sae = nn.ARCHITECTURES[arch](d=saes.D, s=saes.S, k=saes.K)
      variables = sae.init(jax.random.key(0), saes.rows())
      out = sae.apply(variables, saes.rows())
      error[arch] = float(losses.unexplained(batch(), out))
    self.assertLess(error['mp'], 0.5 * error['topk'])
    self.assertLess(error['omp'], error['mp'])

  def test_bfloat16_chooses_and_float32_reads(self):
    exact, variables = saes.make('mp')
    coarse, _ = saes.make('mp', dtype='bfloat16')
    expected = saes.dense(exact.apply(variables, saes.rows()).codes)
    found = saes.dense(coarse.apply(variables, saes.rows()).codes)
    same_B = ((found != 0) == (expected != 0)).all(1)
    self.assertGreater(same_B.mean(), 0.5)
    np.testing.assert_allclose(
      found[same_B], expected[same_B], rtol=1e-4, atol=1e-4
    )


class AbsTopKTest(parameterized.TestCase):
  def test_keeps_k_of_either_sign(self):
    sae, variables = saes.make('abs_topk')
    pre_BS = sae.apply(variables, saes.rows(), method='preactivations')
    scale = variables['constants']['scale'][0]
    z_BS = saes.dense(sae.apply(variables, saes.rows()).codes) * scale
    pre_BS = np.asarray(pre_BS)
    least_B1 = np.sort(abs(pre_BS), axis=1)[:, [-saes.K]]
    kept_BS = abs(pre_BS) >= least_B1
    np.testing.assert_allclose(z_BS, np.where(kept_BS, pre_BS, 0), rtol=1e-5)
    np.testing.assert_array_equal((z_BS != 0).sum(1), saes.K)
    self.assertTrue((z_BS < 0).any())

  def test_gradients_reach_kept_entries_alone(self):
    sae, variables = saes.make('abs_topk')

    def loss(b_enc):
      params = variables['params'] | {'b_enc': b_enc}
      out = sae.apply({**variables, 'params': params}, saes.rows())
      return jnp.sum(out.codes.values_BK)

    found = jax.grad(loss)(variables['params']['b_enc'])
    z_BS = saes.dense(sae.apply(variables, saes.rows()).codes)
    scale = variables['constants']['scale'][0]
    np.testing.assert_allclose(found, (z_BS != 0).sum(0) / scale, rtol=1e-5)

  def test_dead_concepts_are_revived_by_either_sign(self):
    sae, variables = saes.make('abs_topk')
    dead_S = np.arange(saes.S) % 8 == 0
    out = sae.apply(variables, batch().x_BD, train=True)
    p = variables['params']
    found = losses.aux_k(batch(), out, p, dead_S, k=3, signed=True)
    pre_BS = np.where(dead_S, np.asarray(out.aux['pre_BS']), 0)
    least_B1 = np.sort(abs(pre_BS), axis=1)[:, [-3]]
    z_BS = np.where(abs(pre_BS) >= least_B1, pre_BS, 0)
    self.assertTrue((z_BS < 0).any())
    e_BD = np.asarray(losses.residual(batch(), out))
    miss_BD = e_BD - z_BS @ np.asarray(p['w_dec'])
    expected = (miss_BD**2).sum() / (e_BD**2).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-4)


if __name__ == '__main__':
  absltest.main()
