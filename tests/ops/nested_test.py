"""Errors of every prefix, and their gradients, against the dense formula."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
from jax.sharding import AxisType
import numpy as np

from saejax import ops
from tests import meshes
from tests.ops import sparse_test

AXES = sparse_test.AXES
MESHES = [
  (None, None),
  ((8, 1), AxisType.Explicit),
  ((2, 4), AxisType.Explicit),
  ((4, 2), AxisType.Auto),
  ((1, 8), AxisType.Auto),
]
WEIGHTS = np.linspace(1.5, -0.5, sparse_test.K).astype(np.float32)
SPECS = (
  jax.P('data', None),
  jax.P('model', None),
  jax.P('data', None),
  jax.P('data', None),
)


def loss(values_BK, w_SD, target_BD, index_BK, **axes):
  errors_K = ops.nested_errors(values_BK, index_BK, w_SD, target_BD, **axes)
  return errors_K @ WEIGHTS, errors_K


def by_hand(values_BK, w_SD, target_BD, index_BK):
  """The same, holding [B, K, D]."""
  padded_SD = jnp.concatenate([w_SD, jnp.zeros_like(w_SD[:1])])
  parts_BKD = values_BK[:, :, None] * padded_SD[index_BK]
  left_BKD = target_BD[:, None] - jnp.cumsum(parts_BKD, axis=1)
  errors_K = jnp.sum(left_BKD**2, axis=(0, 2))
  return errors_K @ WEIGHTS, errors_K


def gradients(f):
  return jax.jit(jax.value_and_grad(f, argnums=(0, 1, 2), has_aux=True))


class NestedTest(parameterized.TestCase):
  @parameterized.parameters(*MESHES)
  def test_errors_and_gradients_equal_the_dense_formula(self, shape, axis_type):
    values_BK, index_BK, w_SD, target_BD = sparse_test.codes()
    args = values_BK, w_SD, target_BD, index_BK
    expected = gradients(by_hand)(*args)
    if shape is None:
      found = gradients(loss)(*args)
    else:
      with meshes.use(shape, axis_type):
        placed = jax.tree.map(jax.device_put, args, SPECS)
        found = gradients(lambda *a: loss(*a, **AXES))(*placed)
    for a, b in zip(
      jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
    ):
      np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)

  def test_the_way_back_holds_no_row_of_every_step(self):
    b, k, s, d = 256, 64, 32, 128
    shapes = (b, k), (s, d), (b, d)
    args = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    args.append(jax.ShapeDtypeStruct((b, k), np.int32))
    one = lambda v, w, t, i: jnp.sum(ops.nested_errors(v, i, w, t))
    compiled = jax.jit(jax.grad(one, argnums=(0, 1, 2))).lower(*args).compile()
    held = compiled.memory_analysis().temp_size_in_bytes
    self.assertLess(held, b * k * d * 4 / 4)

  def test_no_codes_leave_nothing_to_add(self):
    none_BK = np.zeros((4, 0), np.float32)
    w_SD = np.ones((3, 2), np.float32)
    errors_K = ops.nested_errors(
      none_BK, none_BK.astype(int), w_SD, np.ones((4, 2))
    )
    self.assertEqual(errors_K.shape, (0,))


if __name__ == '__main__':
  absltest.main()
