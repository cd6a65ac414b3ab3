"""Sparse decoding equals the dense product, gradients and padding included."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
from jax.sharding import AxisType
import numpy as np

from saejax import ops
from tests import meshes

AXES = {'batch_axis': 'data', 'axis': 'model'}
B, K, S, D = 16, 5, 64, 12


def codes(seed=0):
  rng = np.random.default_rng(seed)
  values_BK = rng.normal(size=(B, K)).astype(np.float32)
  index_BK = np.stack([rng.choice(S, K, replace=False) for _ in range(B)])
  values_BK[3, 2:], index_BK[3, 2:] = 0, S  # Padding.
  w_SD = rng.normal(size=(S, D)).astype(np.float32)
  g_BD = rng.normal(size=(B, D)).astype(np.float32)
  return values_BK, index_BK.astype(np.int32), w_SD, g_BD


def dense(values_BK, index_BK):
  z_BS = np.zeros((B, S + 1), np.float32)
  np.put_along_axis(z_BS, index_BK, values_BK, axis=1)
  return z_BS[:, :S]


class SparseTest(parameterized.TestCase):
  @parameterized.product(
    shape=[None, *meshes.MESHES],
    axis_type=[AxisType.Explicit, AxisType.Auto],
  )
  def test_decode_and_gradients_equal_the_dense_product(self, shape, axis_type):
    values_BK, index_BK, w_SD, g_BD = codes()

    def loss(values_BK, w_SD, index_BK, g_BD, **axes):
      x_BD = ops.sparse_decode(values_BK, index_BK, w_SD, **axes)
      return jnp.sum(x_BD * g_BD), x_BD

    args = (values_BK, w_SD, index_BK, g_BD)
    grad = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    if shape is None:
      (_, x_BD), (dvalues_BK, dw_SD) = jax.jit(grad)(*args)
    else:
      with meshes.use(shape, axis_type):
        specs = (
            jax.P('data', None), jax.P('model', None),
            jax.P('data', None), jax.P('data', None),
        )  # fmt: skip
        args = jax.tree.map(jax.device_put, args, specs)
        (_, x_BD), (dvalues_BK, dw_SD) = jax.jit(
          lambda *a: jax.value_and_grad(
            lambda *a: loss(*a, **AXES), argnums=(0, 1), has_aux=True
          )(*a)
        )(*args)
    z_BS = dense(values_BK, index_BK)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    close(x_BD, z_BS @ w_SD)
    close(dw_SD, z_BS.T @ g_BD)
    padded_SD = np.concatenate([w_SD, np.zeros((1, D), np.float32)])
    close(dvalues_BK, np.einsum('BD,BKD->BK', g_BD, padded_SD[index_BK]))

  @parameterized.product(shape=[None, *meshes.MESHES], packed=[False, True])
  def test_encode_and_decode_have_the_gradients_of_dense_codes(
    self, shape, packed
  ):
    rng = np.random.default_rng(0)
    u_BD, g_BD = rng.normal(size=(2, B, D)).astype(np.float32)
    w_SD, v_SD = rng.normal(size=(2, S, D)).astype(np.float32)
    b_S = rng.normal(size=S).astype(np.float32)

    def select(pre_BS, axes):
      if packed:
        return ops.packed_batch_top_k(pre_BS, B * K, **axes)
      return *ops.top_k(pre_BS, K, **axes), None

    def sparse(u_BD, w_SD, b_S, v_SD, g_BD, **axes):
      pre_BS = jnp.einsum('BD,SD->BS', u_BD, w_SD) + b_S[None]
      values_BK, index_BK, row_BK = select(jax.lax.stop_gradient(pre_BS), axes)
      values_BK = ops.sparse_encode(
        values_BK, index_BK, u_BD, w_SD, b_S, row_BK=row_BK, **axes
      )
      x_BD = ops.sparse_decode(
        values_BK**2, index_BK, v_SD, row_BK=row_BK, **axes
      )
      return jnp.sum(x_BD * g_BD)

    def dense_codes(u_BD, w_SD, b_S, v_SD, g_BD):
      pre_BS = u_BD @ w_SD.T + b_S[None]
      if packed:
        z_BS = ops.batch_top_k(pre_BS, B * K)
      else:
        z_BS = jnp.where(pre_BS >= jnp.sort(pre_BS)[:, -K, None], pre_BS, 0)
      return jnp.sum((z_BS**2 @ v_SD) * g_BD)

    args, which = (u_BD, w_SD, b_S, v_SD, g_BD), (0, 1, 2, 3)
    expected = jax.value_and_grad(dense_codes, which)(*args)
    if shape is None:
      found = jax.jit(jax.value_and_grad(sparse, which))(*args)
    else:
      with meshes.use(shape):
        rows, weights = jax.P('data', None), jax.P('model', None)
        specs = (rows, weights, jax.P('model'), weights, rows)
        args = jax.tree.map(jax.device_put, args, specs)
        with_axes = lambda *a: sparse(*a, **AXES)
        found = jax.jit(jax.value_and_grad(with_axes, which))(*args)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4),
      found,
      expected,
    )

  @parameterized.product(shape=[None, *meshes.MESHES])
  def test_to_dense_drops_padding(self, shape):
    values_BK, index_BK, _, _ = codes()
    if shape is None:
      z_BS = ops.to_dense(values_BK, index_BK, S)
    else:
      with meshes.use(shape):
        place = lambda a: jax.device_put(a, jax.P('data', None))
        z_BS = jax.jit(lambda v, i: ops.to_dense(v, i, S, **AXES))(
          place(values_BK), place(index_BK)
        )
    np.testing.assert_array_equal(z_BS, dense(values_BK, index_BK))

  @parameterized.product(shape=[None, *meshes.MESHES])
  def test_fired_sees_every_row_and_no_padding(self, shape):
    values_BK, index_BK, _, _ = codes()
    values_BK[7] = 0
    if shape is None:
      fired_S = ops.fired(values_BK, index_BK, S)
    else:
      with meshes.use(shape):
        place = lambda a: jax.device_put(a, jax.P('data', None))
        fired_S = jax.jit(lambda v, i: ops.fired(v, i, S, **AXES))(
          place(values_BK), place(index_BK)
        )
    expected_S = (dense(values_BK, index_BK) != 0).any(0)
    self.assertGreater(expected_S.sum(), 10)
    self.assertLess(expected_S.sum(), S)
    np.testing.assert_array_equal(fired_S, expected_S)

  def test_many_rows_are_decoded_in_blocks(self):
    rng = np.random.default_rng(0)
    values_BK = rng.normal(size=(130, 3)).astype(np.float32)
    index_BK = rng.integers(0, S, size=(130, 3))
    w_SD = rng.normal(size=(S, D)).astype(np.float32)
    grad_BK = jax.grad(lambda v: jnp.sum(ops.sparse_decode(v, index_BK, w_SD)))(
      values_BK
    )
    np.testing.assert_allclose(
      grad_BK, w_SD.sum(1)[index_BK], rtol=1e-5, atol=1e-5
    )


class SphereTest(absltest.TestCase):
  def test_unit_rows_and_tangent_gradients(self):
    rng = np.random.default_rng(0)
    x_SD, g_SD = rng.normal(size=(2, S, D)).astype(np.float32)
    x_SD[4] = 0
    unit_SD = ops.unit_rows(x_SD)
    norm_S = np.linalg.norm(unit_SD, axis=1)
    np.testing.assert_allclose(np.delete(norm_S, 4), 1, rtol=1e-6)
    np.testing.assert_array_equal(unit_SD[4], 0)
    tangent_SD = ops.remove_parallel(g_SD, unit_SD)
    np.testing.assert_allclose(
      np.sum(tangent_SD * unit_SD, axis=1), 0, atol=1e-5
    )


if __name__ == '__main__':
  absltest.main()
