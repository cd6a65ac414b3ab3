"""Every variant keeps the contract: codes, scale, decoder, meshes."""

import itertools

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax.sharding import AxisType
import numpy as np

from saejax import metrics
from saejax import nn
from saejax import sharding
from tests import meshes
from tests.saes import ARCHS
from tests.saes import B
from tests.saes import D
from tests.saes import dense
from tests.saes import K
from tests.saes import make
from tests.saes import MODALITIES
from tests.saes import rows
from tests.saes import S

EVERY_MESH = list(
  itertools.product(meshes.MESHES, (AxisType.Explicit, AxisType.Auto))
)
SOME_MESHES = [
  ((8, 1), AxisType.Explicit),
  ((2, 4), AxisType.Explicit),
  ((4, 2), AxisType.Auto),
  ((1, 8), AxisType.Auto),
]


class ContractTest(parameterized.TestCase):
  @parameterized.product(
    arch=ARCHS, modalities=[('all',), MODALITIES], use_b_dec=[True, False]
  )
  def test_reconstruction_is_zd_plus_b_on_the_stored_scale(
    self, arch, modalities, use_b_dec
  ):
    sae, variables = make(arch, modalities=modalities, use_b_dec=use_b_dec)
    modality_B = np.arange(B) % len(modalities)
    out = sae.apply(variables, rows(), modality_B)
    p, c = variables['params'], variables['constants']
    bias_D = np.asarray(p['b_dec']) * use_b_dec
    b_BD = bias_D / c['scale'][modality_B, None] + c['center'][modality_B]
    expected = dense(out.codes) @ np.asarray(p['w_dec']) + b_BD
    np.testing.assert_allclose(out.xhat_BD, expected, rtol=1e-4, atol=1e-4)
    codes = sae.apply(variables, rows(), modality_B, method='encode')
    np.testing.assert_array_equal(dense(codes), dense(out.codes))
    decoded = sae.apply(variables, codes, modality_B, method='decode')
    np.testing.assert_array_equal(decoded, out.xhat_BD)

  @parameterized.parameters(*sorted(set(ARCHS) - {'gated', 'mp', 'omp'}))
  def test_codes_are_the_selected_preactivations_unscaled(self, arch):
    sae, variables = make(arch, modalities=MODALITIES)
    modality_B = np.arange(B) % 2
    pre = sae.apply(variables, rows(), modality_B, method='preactivations')
    p, c = variables['params'], variables['constants']
    u_BD = (rows() - c['center'][modality_B]) * c['scale'][modality_B, None]
    expected = u_BD @ np.asarray(p['w_enc']).T + np.asarray(p['b_enc'])
    np.testing.assert_allclose(pre, expected, rtol=1e-4, atol=1e-4)
    z_BS = dense(sae.apply(variables, rows(), modality_B).codes)
    active = z_BS != 0
    self.assertTrue(active.any())
    back = z_BS * c['scale'][modality_B, None]
    np.testing.assert_allclose(back[active], np.asarray(pre)[active], rtol=1e-5)
    self.assertEqual((z_BS < 0).any(), sae.signed)

  @parameterized.parameters(*ARCHS)
  def test_modality_must_be_told_where_it_matters(self, arch):
    sae, variables = make(arch, modalities=MODALITIES)
    with self.assertRaisesRegex(ValueError, 'pass modality_B'):
      sae.apply(variables, rows())

  @parameterized.parameters(
    *itertools.product(('topk', 'batch_topk'), (True, False), EVERY_MESH),
    *itertools.product(
      sorted(set(ARCHS) - {'topk', 'batch_topk'}), (True, False), SOME_MESHES
    ),
  )
  def test_is_the_same_on_every_mesh(self, arch, train, mesh):
    sae, variables = make(arch, modalities=MODALITIES)
    modality_B = np.arange(B) % 2
    apply = jax.jit(lambda v, x, m: sae.apply(v, x, m, train=train))
    expected = apply(variables, rows(), modality_B)
    with meshes.use(*mesh):
      place = lambda a, *spec: jax.device_put(a, jax.P(*spec))
      params = variables['params']
      placed = {
        'params': {n: place(a, *sharding.RULES[n]) for n, a in params.items()},
        'constants': jax.tree.map(place, variables['constants']),
      }
      found = apply(
        placed, place(rows(), 'data', None), place(modality_B, 'data')
      )
      fired_S = jax.jit(lambda c: metrics.fired(c, S))(found.codes)
    np.testing.assert_allclose(
      found.xhat_BD, expected.xhat_BD, rtol=1e-4, atol=1e-4
    )
    codes = jax.device_get(found.codes)
    z_BS = dense(jax.tree.map(np.asarray, codes))
    np.testing.assert_allclose(
      z_BS, dense(expected.codes), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(fired_S, (z_BS != 0).any(0))

  @parameterized.parameters(*ARCHS)
  def test_starts_as_unit_rows_and_their_transpose(self, arch):
    sae = nn.ARCHITECTURES[arch](d=D, s=S, k=K)
    params = sae.init(jax.random.key(0), rows())['params']
    norm_S = np.linalg.norm(params['w_dec'], axis=1)
    np.testing.assert_allclose(norm_S, 1, rtol=1e-6)
    if sae.tied:
      self.assertEqual(set(params), {'w_dec', 'b_dec'})
    else:
      np.testing.assert_array_equal(params['w_enc'], params['w_dec'])


class SparsityTest(parameterized.TestCase):
  def test_topk_keeps_k_a_row_at_most_and_pads_the_rest(self):
    sae, variables = make('topk')
    variables['params']['b_enc'] -= 7.0  # Few positive pre-activations.
    codes = sae.apply(variables, rows()).codes
    pre = np.asarray(sae.apply(variables, rows(), method='preactivations'))
    positive_B = (pre > 0).sum(1)
    active_BK = np.asarray(codes.values_BK) != 0
    self.assertLess(positive_B.min(), K)
    np.testing.assert_array_equal(active_BK.sum(1), np.minimum(positive_B, K))
    np.testing.assert_array_equal(np.asarray(codes.index_BK) == S, ~active_BK)

  def test_batch_topk_keeps_k_times_b_of_the_batch_in_training(self):
    sae, variables = make('batch_topk')
    z_BS = dense(sae.apply(variables, rows(), train=True).codes)
    self.assertEqual((z_BS != 0).sum(), K * B)
    self.assertGreater(np.ptp((z_BS != 0).sum(1)), 1)

  def test_batch_topk_keeps_what_exceeds_the_threshold_at_inference(self):
    sae, variables = make('batch_topk')
    pre = np.asarray(sae.apply(variables, rows(), method='preactivations'))
    threshold = np.sort(pre.ravel())[-50]
    variables['constants']['threshold'] = threshold
    z_BS = dense(sae.apply(variables, rows()).codes)
    np.testing.assert_array_equal(z_BS != 0, pre > threshold)
    self.assertEqual((z_BS != 0).sum(), 49)  # Strictly above.

  def test_a_row_does_not_depend_on_its_neighbours_at_inference(self):
    for arch in ARCHS:
      sae, variables = make(arch)
      whole = dense(sae.apply(variables, rows()).codes)
      alone = dense(sae.apply(variables, rows()[3:4]).codes)
      np.testing.assert_allclose(alone[0], whole[3], rtol=1e-5, atol=1e-6)

  def test_bfloat16_keeps_parameters_and_threshold_in_float32(self):
    sae, variables = make('batch_topk', dtype='bfloat16')
    out = sae.apply(variables, rows(), train=True)
    self.assertEqual(out.aux['pre_BS'].dtype, np.float32)
    exact, _ = make('batch_topk')
    pre = exact.apply(variables, rows(), method='preactivations')
    np.testing.assert_allclose(out.aux['pre_BS'], pre, atol=0.15)
    self.assertGreater(np.abs(out.aux['pre_BS'] - pre).max(), 1e-4)
    fresh = sae.init(jax.random.key(0), rows())
    for leaf in jax.tree.leaves(fresh):
      self.assertEqual(leaf.dtype, np.float32)


if __name__ == '__main__':
  absltest.main()
