"""Encoding by blocks selects what encoding at once does."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saejax import ops
from tests import meshes

B, S, D = 16, 104, 6


def inputs(levels=None, s=S):
  """Of few integers, whose products are exact and often equal."""
  rng = np.random.default_rng(0)
  shapes = (B, D), (s, D), (s,)
  if levels is None:
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]
  return [
    rng.integers(-levels, levels + 1, shape).astype(np.float32)
    for shape in shapes
  ]


def at_once(u_BD, w_SD, b_S, k):
  return ops.top_k(u_BD @ w_SD.T + b_S[None], k)


class EncodeTopKTest(parameterized.TestCase):
  @parameterized.product(
    k=[1, 7, S], block=[1, 13, S - 1, 1000], levels=[1, 50]
  )
  def test_equals_top_k_of_all_ties_included(self, k, block, levels):
    args = inputs(levels)
    found = ops.encode_top_k(*args, k, block=block)
    jax.tree.map(np.testing.assert_array_equal, found, at_once(*args, k))

  def test_what_is_minus_infinity_keeps_its_order(self):
    u_BD, w_SD, b_S = inputs(1)
    b_S[5:] = -np.inf
    found = ops.encode_top_k(u_BD, w_SD, b_S, 20, block=25)
    expected = at_once(u_BD, w_SD, b_S, 20)
    jax.tree.map(np.testing.assert_array_equal, found, expected)

  @parameterized.product(shape=meshes.MESHES, levels=[1, None])
  def test_on_every_mesh(self, shape, levels):
    # With 8 shards each has 13 concepts, fewer than k.
    args = inputs(levels)
    values_BK, index_BK = at_once(*args, 20)
    with meshes.use(shape):
      specs = [jax.P('data', None), jax.P('model', None), jax.P('model')]
      args = jax.tree.map(jax.device_put, args, specs)
      found = jax.jit(
        lambda *args: ops.encode_top_k(
          *args, 20, block=5, batch_axis='data', axis='model'
        )
      )(*args)
    np.testing.assert_allclose(found[0], values_BK, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found[1], index_BK)

  def test_products_are_of_the_type_asked_for(self):
    u_BD, w_SD, b_S = inputs()
    pre_BS = jnp.einsum(
      'BD,SD->BS',
      u_BD.astype(jnp.bfloat16),
      w_SD.astype(jnp.bfloat16),
      preferred_element_type=jnp.float32,
    )
    expected, _ = ops.top_k(pre_BS + b_S[None], 4)
    found, _ = ops.encode_top_k(u_BD, w_SD, b_S, 4, block=9, dtype='bfloat16')
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)

  def test_holds_a_block(self):
    b, s, d, block = 512, 2**14, 4, 2**10
    args = jnp.zeros((b, d)), jnp.zeros((s, d)), jnp.zeros(s)

    def held(f):
      compiled = jax.jit(lambda *args: f(*args, 8)).lower(*args).compile()
      return compiled.memory_analysis().temp_size_in_bytes

    blocked = lambda *args: ops.encode_top_k(*args, block=block)
    self.assertGreater(held(at_once), 4 * b * s)
    self.assertLess(held(blocked), 4 * b * s / 4)

  @parameterized.parameters((0, 8, 'k=0'), (S + 1, 8, 'k=105'), (3, 0, 'block'))
  def test_mistakes(self, k, block, message):
    with self.assertRaisesRegex(ValueError, message):
      ops.encode_top_k(*inputs(), k, block=block)


if __name__ == '__main__':
  absltest.main()
