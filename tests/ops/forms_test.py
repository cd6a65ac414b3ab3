"""Every form of the sums over entries gives what the others give."""

import collections
import contextlib
import functools
import re
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saejax import errors
from saejax import ops
from saejax.ops import entries
from saejax.ops import entries_block
from saejax.ops import entries_pallas
from saejax.ops import forms
from saejax.ops import pallas_gather
from tests import meshes

AXES = {'batch_axis': 'data', 'axis': 'model'}
FUNCTIONS = ('decode', 'code_gradient', 'weight_gradient')
OWN = {
  'block': entries_block,
  'pallas': mock.Mock(
    **{
      name: functools.partial(getattr(entries_pallas, name), interpret=True)
      for name in FUNCTIONS
    }
  ),
}
# B, K, S, D: ragged beside blocks, lanes and tiles; several tiles of concepts.
SHAPES = [(5, 1, 2, 7), (9, 12, 300, 130), (33, 3, 129, 16)]


def close(found, expected, tolerance=1e-5):
  np.testing.assert_allclose(
    np.asarray(found, np.float32),
    np.asarray(expected, np.float32),
    rtol=tolerance,
    atol=tolerance * max(1.0, np.abs(expected).max(initial=0)),
  )


def random(shape, packed, seed=0):
  """Codes with padding and with concepts twice in a row; rows, dictionary."""
  b, k, s, d = shape
  rng = np.random.default_rng(seed)
  values_BK = rng.normal(size=(b, k)).astype(np.float32)
  index_BK = rng.integers(0, s + 1 + s // 4, (b, k)).astype(np.int32)
  index_BK[0] = index_BK[0, 0]
  row_BK = rng.integers(0, b + 2, (b, k)).astype(np.int32) if packed else None
  g_BD = rng.normal(size=(b, d)).astype(np.float32)
  w_SD = rng.normal(size=(s, d)).astype(np.float32)
  return (values_BK, index_BK, row_BK), g_BD, w_SD


def all_of(module, codes, g_BD, w_SD):
  """All three sums, compiled."""

  @jax.jit
  def run(codes, g_BD, w_SD):
    return (
      module.decode(codes, w_SD),
      module.code_gradient(g_BD, codes, w_SD),
      module.weight_gradient(g_BD, codes, s=len(w_SD)),
    )

  return run(codes, g_BD, w_SD)


def dense(codes, g_BD, w_SD):
  """The same by dense products, in float64."""
  (b, k), s = codes[0].shape, len(w_SD)
  row_BK = np.arange(b)[:, None] if codes[2] is None else codes[2]
  row_BK = np.broadcast_to(row_BK, (b, k))
  is_used_BK = (codes[1] < s) & (row_BK < b)
  at = row_BK[is_used_BK], codes[1][is_used_BK]
  z_BS = np.zeros((b, s))
  np.add.at(z_BS, at, codes[0][is_used_BK])
  dvalues_BK = np.zeros((b, k))
  dvalues_BK[is_used_BK] = (g_BD.astype(np.float64) @ w_SD.T)[at]
  return z_BS @ w_SD, dvalues_BK, z_BS.T @ g_BD


@contextlib.contextmanager
def small_blocks():
  """Blocks and chunks of a few entries, so that small inputs need several."""
  with (
    mock.patch.object(entries_block, '_BYTES', 2**11),
    mock.patch.object(pallas_gather, '_CHUNK', 32),
  ):
    yield


class EntriesTest(parameterized.TestCase):
  @parameterized.product(form=sorted(OWN), shape=SHAPES, packed=[False, True])
  def test_equals_the_loop_and_the_dense_product(self, form, shape, packed):
    inputs = random(shape, packed)
    found = all_of(OWN[form], *inputs)
    expected = dense(*inputs)
    self.assertGreater(np.abs(expected[2]).max(), 0.1)
    jax.tree.map(close, found, expected)
    jax.tree.map(close, found, all_of(entries, *inputs))

  @parameterized.product(form=sorted(OWN), packed=[False, True])
  def test_several_blocks_equal_one(self, form, packed):
    inputs = random((40, 12, 30, 16), packed)
    with small_blocks():
      found = all_of(OWN[form], *inputs)
    jax.tree.map(close, found, dense(*inputs))

  @parameterized.product(form=sorted(OWN), packed=[False, True])
  def test_bfloat16_is_summed_in_float32(self, form, packed):
    # 300 products in a sum: in bfloat16 their sum would be off by several %.
    inputs = random((300, 4, 6, 16), packed)
    inputs = jax.tree.map(
      lambda x: x.astype(jnp.bfloat16) if x.dtype == np.float32 else x, inputs
    )
    found = all_of(OWN[form], *inputs)
    for x in found:
      self.assertEqual(x.dtype, jnp.bfloat16)
    wide = jax.tree.map(
      lambda x: x.astype(np.float32) if x.dtype == jnp.bfloat16 else x, inputs
    )
    jax.tree.map(functools.partial(close, tolerance=2**-8), found, dense(*wide))

  @parameterized.parameters(*sorted(OWN))
  def test_padding_alone_adds_nothing(self, form):
    (values_BK, index_BK, _), g_BD, w_SD = random((4, 3, 10, 8), False)
    index_BK[:] = 10
    for row_BK in (None, np.full_like(index_BK, 4)):
      found = all_of(OWN[form], (values_BK, index_BK, row_BK), g_BD, w_SD)
      jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0), found)

  def test_a_width_of_several_column_blocks(self):
    inputs = random((3, 4, 130, 2200), True)
    jax.tree.map(close, all_of(OWN['pallas'], *inputs), dense(*inputs))


def loss(u_BD, w_SD, b_S, v_SD, g_BD, packed, **axes):
  """A sparse autoencoder with its own gradients."""
  pre_BS = jnp.einsum('BD,SD->BS', u_BD, w_SD) + b_S[None]
  pre_BS = jax.lax.stop_gradient(pre_BS)
  if packed:
    codes = ops.packed_batch_top_k(pre_BS, 3 * len(u_BD), **axes)
  else:
    codes = *ops.top_k(pre_BS, 3, **axes), None
  values_BK, index_BK, row_BK = codes
  values_BK = ops.sparse_encode(
    values_BK, index_BK, u_BD, w_SD, b_S, row_BK=row_BK, **axes
  )
  x_BD = ops.sparse_decode(values_BK**2, index_BK, v_SD, row_BK=row_BK, **axes)
  return jnp.sum(x_BD * g_BD)


def sae(b=16, s=64, d=12):
  rng = np.random.default_rng(0)
  shapes = (b, d), (s, d), (s,), (s, d), (b, d)
  return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def gradients(shape, packed):
  args, which = sae(), (0, 1, 2, 3)
  f = functools.partial(loss, packed=packed)
  if shape is None:
    return jax.jit(jax.value_and_grad(f, which))(*args)
  with meshes.use(shape):
    rows, weights = jax.P('data', None), jax.P('model', None)
    specs = [rows, weights, jax.P('model'), weights, rows]
    args = jax.tree.map(jax.device_put, args, specs)
    f = functools.partial(f, **AXES)
    return jax.jit(jax.value_and_grad(f, which))(*args)


class KernelsTest(parameterized.TestCase):
  @parameterized.product(
    form=['block', 'pallas'], shape=[None, (2, 4)], packed=[False, True]
  )
  def test_training_has_the_same_gradients(self, form, shape, packed):
    with ops.kernels('loop'):
      expected = gradients(None, packed)
    with ops.kernels(form):
      found = gradients(shape, packed)
    jax.tree.map(functools.partial(close, tolerance=1e-4), found, expected)

  @parameterized.parameters('block', 'pallas')
  def test_members_side_by_side(self, form):
    args = sae()
    stacked = [np.stack([x, x[::-1]]) for x in args]
    grad = jax.grad(functools.partial(loss, packed=False), (1, 3))
    with ops.kernels(form):
      found = jax.jit(jax.vmap(grad))(*stacked)
    for m in range(2):
      with ops.kernels('loop'):
        expected = jax.jit(grad)(*(x[m] for x in stacked))
      each = jax.tree.map(lambda x, m=m: x[m], found)
      jax.tree.map(functools.partial(close, tolerance=1e-4), each, expected)

  def lowered(self, form, platform):
    f = functools.partial(loss, packed=False)
    # A new function for each, of which nothing is cached.
    grad = jax.jit(jax.grad(lambda *args: f(*args), (0, 1, 2, 3)))
    with ops.kernels(form):
      traced = grad.trace(*sae())
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    return text, collections.Counter(re.findall(r'stablehlo\.\w+', text))

  @parameterized.parameters(
    ('cpu', 'loop'), ('cuda', 'block'), ('rocm', 'block'), ('tpu', 'block')
  )
  def test_the_platform_chooses(self, platform, form):
    _, found = self.lowered('auto', platform)
    # The choice leaves a case of one branch, which compilers remove.
    for operation in ('case', 'constant', 'return'):
      del found[f'stablehlo.{operation}']
    for other in ('loop', 'block'):
      _, count = self.lowered(other, platform)
      is_equal = all(found[name] == count[name] for name in found)
      self.assertEqual(is_equal, other == form, other)

  def test_kernels_are_lowered_for_tpus_without_one(self):
    for form, expected in (('pallas', True), ('auto', False)):
      text, _ = self.lowered(form, 'tpu')
      self.assertEqual('tpu_custom_call' in text, expected)

  def test_the_choice_is_forgotten(self):
    self.assertEqual(forms.current(), 'auto')
    with ops.kernels('block'):
      with ops.kernels('loop'):
        self.assertEqual(forms.current(), 'loop')
      self.assertEqual(forms.current(), 'block')
    with (
      self.assertRaisesRegex(ValueError, 'wrong'),
      ops.kernels('block'),
    ):
      raise ValueError('wrong')
    self.assertEqual(forms.current(), 'auto')

  def assert_refused(self, form, message):
    with self.assertRaisesRegex(errors.UserError, message), ops.kernels(form):
      self.fail('It was taken.')

  def test_mistakes(self):
    self.assert_refused('fast', "'fast' are not known: choose of auto, loop")
    with mock.patch.object(jax, 'default_backend', return_value='gpu'):
      self.assert_refused('pallas', 'the default device is gpu: use .auto.')

  def test_a_jax_without_pallas_needs_it_only_when_forced(self):
    # Not of `importlib` itself, nor `sys.modules`, which JAX imports by.
    missing = mock.Mock(**{'import_module.side_effect': ImportError('gone')})
    with mock.patch.object(forms, 'importlib', missing):
      self.assert_refused('pallas', r'\(gone\): use .auto.')
      value, _ = gradients(None, False)
    self.assertTrue(np.isfinite(value))


if __name__ == '__main__':
  absltest.main()
