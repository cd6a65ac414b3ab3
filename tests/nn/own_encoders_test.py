"""Encoders apart from the decoder's rows: of another stream, of a modality."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import io
from saejax import losses
from saejax import nn
from saejax import sharding
from saejax import types
from tests import meshes
from tests import saes

D, D_IN, S, K, B = saes.D, 7, saes.S, saes.K, saes.B
RNG = np.random.default_rng(5)
X_BD = RNG.normal(size=(B, D_IN)).astype(np.float32)
Y_BD = RNG.normal(size=(B, D)).astype(np.float32)
MODALITY_B = np.arange(B, dtype=np.int32) % 2


def make(arch: str):
  """A module and variables that are nowhere zero."""
  own = {'d_in': D_IN} if arch == 'transcoder' else {'modalities': ('a', 'b')}
  sae = nn.ARCHITECTURES[arch](d=D, s=S, k=K, **own)
  variables = sae.init(jax.random.key(0), method=lambda module: module.w_dec)
  rng = np.random.default_rng(1)
  noisy = lambda x: np.asarray(x + 0.3 * rng.normal(size=x.shape), np.float32)
  return sae, jax.tree.map(noisy, variables)


def top_k(pre_BS: np.ndarray) -> np.ndarray:
  least_B1 = np.sort(pre_BS, axis=1)[:, [-K]]
  return np.where(pre_BS >= least_B1, np.maximum(pre_BS, 0), 0)


def by_hand(arch: str, variables):
  """Codes and reconstructions, in NumPy."""
  p, c = variables['params'], variables['constants']
  if arch == 'transcoder':
    u_BD = (X_BD - c['source_center']) * c['source_scale'][:, None]
    pre_BS = u_BD @ p['w_in'].T + p['b_enc']
    center_BD, scale_B1 = c['center'], c['scale'][:, None]
  else:
    m = MODALITY_B
    center_BD, scale_B1 = c['center'][m], c['scale'][m, None]
    u_BD = (Y_BD - center_BD) * scale_B1
    pre_BS = np.einsum('BD,BSD->BS', u_BD, p['w_encs'][m]) + p['b_encs'][m]
  z_BS = top_k(pre_BS) / scale_B1
  return z_BS, z_BS @ p['w_dec'] + p['b_dec'] / scale_B1 + center_BD


def inputs(arch: str):
  x_BD = X_BD if arch == 'transcoder' else Y_BD
  y_BD = Y_BD if arch == 'transcoder' else None
  return types.Batch(x_BD, MODALITY_B, y_BD)


ARCHS = ('modality_encoders', 'transcoder')


class OwnEncodersTest(parameterized.TestCase):
  @parameterized.parameters(*ARCHS)
  def test_codes_and_reconstructions_by_hand(self, arch):
    sae, variables = make(arch)
    batch = inputs(arch)
    out = sae.apply(variables, batch.x_BD, batch.modality_B)
    z_BS, xhat_BD = by_hand(arch, variables)
    np.testing.assert_allclose(saes.dense(out.codes), z_BS, atol=1e-4)
    np.testing.assert_allclose(out.xhat_BD, xhat_BD, rtol=1e-3, atol=1e-3)
    codes = sae.apply(variables, batch.x_BD, batch.modality_B, method='encode')
    np.testing.assert_array_equal(saes.dense(codes), saes.dense(out.codes))
    scale_B1 = np.asarray(out.aux['scale_B1'])
    missed = ((Y_BD - xhat_BD) * scale_B1) ** 2
    center_BD = np.asarray(out.aux['center_BD'])
    u_BD = (Y_BD - center_BD) * scale_B1
    expected = missed.sum() / ((u_BD - u_BD.mean(0)) ** 2).sum()
    found = losses.unexplained(batch, out)
    np.testing.assert_allclose(found, expected, rtol=1e-3)

  @parameterized.product(arch=ARCHS, shape=[(8, 1), (2, 4)])
  def test_is_the_same_on_every_mesh(self, arch, shape):
    sae, variables = make(arch)
    batch = inputs(arch)

    def loss(params, variables, batch):
      out = sae.apply(
        variables | {'params': params}, batch.x_BD, batch.modality_B, train=True
      )
      return losses.unexplained(batch, out)

    run = jax.jit(jax.value_and_grad(loss))
    expected = run(variables['params'], variables, batch)
    with meshes.use(shape) as mesh:
      placed = jax.device_put(
        variables, sharding.infer_shardings(variables, mesh)
      )
      batch = jax.tree.map(
        lambda a: jax.device_put(a, jax.P('data', *(None,) * (a.ndim - 1))),
        batch,
      )
      found = run(placed['params'], placed, batch)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
      jax.device_get(found),
      jax.device_get(expected),
    )

  @parameterized.parameters(*ARCHS)
  def test_is_saved_and_read_back(self, arch):
    path = self.create_tempdir().full_path
    sae, variables = make(arch)
    sites = (io.Site(stream='a', d=D_IN), io.Site(stream='b', d=D, scale=2.0))
    io.save(path, sae, variables, sites=sites)
    again, read = io.load(path)
    self.assertEqual(again, sae)
    self.assertEqual(io.read_sites(path), sites)
    jax.tree.map(np.testing.assert_array_equal, read, variables)

  def test_a_row_reaches_the_encoder_of_its_modality_alone(self):
    sae, variables = make('modality_encoders')
    rows = Y_BD[:4]

    def loss(params):
      m_B = np.ones(4, np.int32)
      out = sae.apply(variables | {'params': params}, rows, m_B)
      return (out.xhat_BD**2).sum()

    grads = jax.grad(loss)(variables['params'])
    for name in ('w_encs', 'b_encs'):
      np.testing.assert_array_equal(grads[name][0], 0)
      self.assertGreater(np.abs(grads[name][1]).max(), 0)

  def test_encoders_start_alike(self):
    sae = nn.ModalityEncoders(d=D, s=S, k=K, modalities=('a', 'b'))
    params = sae.init(jax.random.key(0), Y_BD, MODALITY_B)['params']
    for w_SD in params['w_encs']:
      np.testing.assert_array_equal(w_SD, params['w_dec'])


if __name__ == '__main__':
  absltest.main()
