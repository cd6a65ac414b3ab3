"""Selection is exact, ties and gradients included, on every mesh."""

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
from jax.sharding import AxisType
import numpy as np

from saejax import ops
from tests import meshes

AXES = {'batch_axis': 'data', 'axis': 'model'}


def rows(ties: bool, b=16, s=64, seed=0) -> np.ndarray:
  x_BS = np.random.default_rng(seed).normal(size=(b, s)).astype(np.float32)
  return np.round(2 * x_BS) / 2 if ties else x_BS


def reference_rows(x_BS, k):
  """The k largest of each row by a stable sort, ties to the lowest index."""
  index_BK = np.argsort(-x_BS, axis=1, kind='stable')[:, :k]
  return np.take_along_axis(x_BS, index_BK, axis=1), index_BK


def reference_batch(x_BS, n):
  flat = np.maximum(x_BS, 0).ravel()
  kept = np.argsort(-flat, kind='stable')[:n]
  z = np.zeros_like(flat)
  z[kept] = flat[kept]
  return z.reshape(x_BS.shape)


class TopKTest(parameterized.TestCase):
  @parameterized.product(
    shape=meshes.MESHES,
    ties=[False, True],
    axis_type=[AxisType.Explicit, AxisType.Auto],
  )
  def test_equals_a_stable_sort_on_every_mesh(self, shape, ties, axis_type):
    x_BS = rows(ties)
    with meshes.use(shape, axis_type):
      place = jax.device_put(x_BS, jax.P('data', 'model'))
      values_BK, index_BK = jax.jit(lambda x: ops.top_k(x, 5, **AXES))(place)
    expected = reference_rows(x_BS, 5)
    np.testing.assert_array_equal(values_BK, expected[0])
    np.testing.assert_array_equal(index_BK, expected[1])

  @parameterized.product(shape=meshes.MESHES, k=[1, 20, 64])
  def test_gradient_reaches_only_the_winners(self, shape, k):
    x_BS = rows(ties=False)
    weight_BK = rows(ties=False, s=k, seed=1)

    def loss(x_BS, **axes):
      return jnp.sum(ops.top_k(x_BS, k, **axes)[0] * weight_BK)

    plain = jax.grad(loss)(x_BS)
    expected = np.zeros_like(x_BS)
    np.put_along_axis(expected, reference_rows(x_BS, k)[1], weight_BK, axis=1)
    np.testing.assert_array_equal(plain, expected)
    with meshes.use(shape):
      place = jax.device_put(x_BS, jax.P('data', 'model'))
      sharded = jax.jit(jax.grad(lambda x: loss(x, **AXES)))(place)
    np.testing.assert_array_equal(sharded, expected)

  def test_only_candidates_travel(self):
    x_BS = rows(ties=False, b=16, s=1024)
    with meshes.use((2, 4)):
      place = jax.device_put(x_BS, jax.P('data', 'model'))
      text = (
        jax.jit(lambda x: ops.top_k(x, 4, **AXES))
        .lower(place)
        .compile()
        .as_text()
      )
    self.assertIn('all-gather', text)
    # The whole row, gathered, would be [8, 1024] on each device.
    self.assertNotIn('[8,1024]', text)

  @parameterized.product(ties=[False, True], s=[1024, 1000])
  def test_long_rows_are_searched_by_blocks(self, ties, s):
    x_BS = rows(ties, b=32, s=s)
    for by_magnitude in (False, True):
      values_BK, index_BK = ops.top_k(
        jnp.asarray(x_BS), 7, by_magnitude=by_magnitude
      )
      size_BS = np.abs(x_BS) if by_magnitude else x_BS
      expected_BK = reference_rows(size_BS, 7)[1]
      np.testing.assert_array_equal(index_BK, expected_BK)
      np.testing.assert_array_equal(
        values_BK, np.take_along_axis(x_BS, expected_BK, axis=1)
      )

  @parameterized.parameters(0, 65)
  def test_k_outside_the_row_is_an_error(self, k):
    with self.assertRaisesRegex(ValueError, f'k={k} is outside 1…64'):
      ops.top_k(jnp.zeros((2, 64)), k)


class IsAmongTopKTest(parameterized.TestCase):
  @parameterized.product(k=[1, 5, 32], shape=meshes.MESHES)
  def test_equals_a_sort_with_all_equals_of_the_last(self, k, shape):
    x_BS = np.random.default_rng(k).normal(size=(16, 64)).astype(np.float32)
    x_BS[:, ::3] = -np.inf
    x_BS[1] = np.round(x_BS[1])  # Ties.
    x_BS[2] *= 1e-38
    x_BS[3, :4] = np.inf, 3e38, -3e38, 0.0
    with meshes.use(shape):
      place = jax.device_put(x_BS, jax.P('data', 'model'))
      found_BS = jax.jit(ops.is_among_top_k, static_argnums=1)(place, k)
    least_B1 = -np.sort(-x_BS, axis=1)[:, k - 1 : k]
    np.testing.assert_array_equal(found_BS, x_BS >= least_B1)


class BatchTopKTest(parameterized.TestCase):
  @parameterized.product(
    shape=meshes.MESHES,
    ties=[False, True],
    axis_type=[AxisType.Explicit, AxisType.Auto],
  )
  def test_equals_a_stable_sort_on_every_mesh(self, shape, ties, axis_type):
    x_BS = rows(ties)
    with meshes.use(shape, axis_type):
      place = jax.device_put(x_BS, jax.P('data', 'model'))
      z_BS = jax.jit(lambda x: ops.batch_top_k(x, 80))(place)
    np.testing.assert_array_equal(z_BS, reference_batch(x_BS, 80))

  @hypothesis.settings(max_examples=50, deadline=None)
  @hypothesis.given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 24),
    levels=st.sampled_from([1, 2, 5, 1000]),
  )
  def test_equals_a_stable_sort_for_any_ties(self, seed, n, levels):
    x_BS = rows(ties=False, b=4, s=6, seed=seed)
    x_BS = np.round(x_BS * levels) / levels
    np.testing.assert_array_equal(
      ops.batch_top_k(jnp.asarray(x_BS), n), reference_batch(x_BS, n)
    )

  def test_keeps_all_when_few_are_positive(self):
    x_BS = -np.ones((4, 8), np.float32)
    x_BS[1, 2], x_BS[3, 7] = 0.5, 2.0
    z_BS = ops.batch_top_k(jnp.asarray(x_BS), 10)
    np.testing.assert_array_equal(z_BS, np.maximum(x_BS, 0))

  def test_extreme_floats_keep_their_order(self):
    x_BS = np.array([[3e38, 1e-38, 1e-45, 0.0, -3e38, 1.0]], np.float32)
    z_BS = ops.batch_top_k(jnp.asarray(x_BS), 2)
    expected = np.array([[3e38, 0, 0, 0, 0, 1.0]], np.float32)
    np.testing.assert_array_equal(z_BS, expected)

  def test_gradient_reaches_only_the_kept(self):
    x_BS = rows(ties=True)
    grad_BS = jax.grad(lambda x: jnp.sum(ops.batch_top_k(x, 30)))(x_BS)
    np.testing.assert_array_equal(grad_BS, reference_batch(x_BS, 30) > 0)


def scattered(packed, shape) -> np.ndarray:
  """Packed entries as an array; padding falls off."""
  values_E, index_E, row_E = (np.asarray(a).ravel() for a in packed)
  z_BS = np.zeros((shape[0] + 1, shape[1] + 1), np.float32)
  np.add.at(z_BS, (row_E, index_E), values_E)
  assert not z_BS[-1].any() and not z_BS[:, -1].any()
  return z_BS[:-1, :-1]


class PackedBatchTopKTest(parameterized.TestCase):
  @parameterized.product(
    shape=[None, *meshes.MESHES], ties=[False, True], n=[3, 80, 1024]
  )
  def test_equals_a_stable_sort_on_every_mesh(self, shape, ties, n):
    x_BS = rows(ties)
    if shape is None:
      packed = ops.packed_batch_top_k(jnp.asarray(x_BS), n)
    else:
      with meshes.use(shape):
        place = jax.device_put(x_BS, jax.P('data', 'model'))
        packed = jax.jit(lambda x: ops.packed_batch_top_k(x, n, **AXES))(place)
    np.testing.assert_array_equal(
      scattered(packed, x_BS.shape), reference_batch(x_BS, n)
    )

  @hypothesis.settings(max_examples=50, deadline=None)
  @hypothesis.given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 128),
    levels=st.sampled_from([1, 2, 5, 1000]),
  )
  def test_equals_a_stable_sort_for_any_ties(self, seed, n, levels):
    x_BS = rows(ties=False, b=4, s=32, seed=seed)
    x_BS = np.round(x_BS * levels) / levels
    packed = jax.jit(ops.packed_batch_top_k, static_argnums=1)(x_BS, n)
    np.testing.assert_array_equal(
      scattered(packed, x_BS.shape), reference_batch(x_BS, n)
    )

  def test_one_row_may_take_all(self):
    x_BS = np.ones((8, 64), np.float32)
    x_BS[5] = 2
    packed = ops.packed_batch_top_k(jnp.asarray(x_BS), 64)
    z_BS = scattered(packed, x_BS.shape)
    np.testing.assert_array_equal(z_BS[5], 2)
    self.assertEqual(np.count_nonzero(z_BS), 64)


if __name__ == '__main__':
  absltest.main()
