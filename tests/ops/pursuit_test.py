"""Matching pursuit against a loop in NumPy, and an unrolled gradient."""

import itertools

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
B, S, D, K = 16, 64, 12, 9
SPECS = jax.P('data', None), jax.P('model', None)


def problem():
  rng = np.random.default_rng(0)
  u_BD = rng.normal(size=(B, D)).astype(np.float32)
  # Near-parallel rows, so that concepts are chosen again.
  w_SD = rng.normal(size=(S, D)) + 0.8
  w_SD /= np.linalg.norm(w_SD, axis=1, keepdims=True)
  u_BD[2] = -1  # Few concepts point along this row.
  return u_BD, w_SD.astype(np.float32)


def by_hand(u_BD, w_SD, k):
  """Codes [B, S] and the concept of every step, S once none is positive."""
  z_BS = np.zeros((len(u_BD), len(w_SD)))
  chosen_BK = np.full((len(u_BD), k), len(w_SD))
  for b, u_D in enumerate(u_BD.astype(np.float64)):
    for t in range(k):
      score_S = w_SD @ u_D
      i = np.argmax(score_S)
      if score_S[i] < 1e-6:
        break
      z_BS[b, i] += score_S[i]
      chosen_BK[b, t] = i
      u_D = u_D - score_S[i] * w_SD[i]
  return z_BS, chosen_BK


def unrolled(u_BD, w_SD, chosen_BK):
  """Codes [B, S] as a chain of plain steps, at concepts chosen before."""
  padded_SD = jnp.concatenate([w_SD, jnp.zeros_like(w_SD[:1])])
  z_BS = 0.0
  for index_B in chosen_BK.T:
    row_BD = padded_SD[index_B]
    value_B = jax.nn.relu(jnp.sum(u_BD * row_BD, axis=1))
    z_BS += value_B[:, None] * jax.nn.one_hot(index_B, S)
    u_BD = u_BD - value_B[:, None] * row_BD
  return z_BS


def codes(u_BD, w_SD, k=K, **axes):
  values_BK, index_BK = ops.matching_pursuit(u_BD, w_SD, k, **axes)
  return ops.to_dense(values_BK, index_BK, S, **axes), (values_BK, index_BK)


class PursuitTest(parameterized.TestCase):
  @parameterized.parameters(*MESHES)
  def test_codes_and_gradients_are_those_of_the_steps(self, shape, axis_type):
    u_BD, w_SD = problem()
    expected_BS, chosen_BK = by_hand(u_BD, w_SD, K)
    weight_BS = np.random.default_rng(1).normal(size=(B, S)).astype(np.float32)
    plain = lambda u, w: jnp.sum(unrolled(u, w, chosen_BK) * weight_BS)
    expected = jax.grad(plain, argnums=(0, 1))(u_BD, w_SD)

    def run(u_BD, w_SD, weight_BS, **axes):
      z_BS, found = codes(u_BD, w_SD, **axes)
      return jnp.sum(z_BS * weight_BS), (z_BS, *found)

    def gradients(*args, **axes):
      f = lambda *a: run(*a, **axes)
      return jax.jit(jax.grad(f, argnums=(0, 1), has_aux=True))(*args)

    if shape is None:
      found, (z_BS, _, index_BK) = gradients(u_BD, w_SD, weight_BS)
    else:
      with meshes.use(shape, axis_type):
        place = lambda a, *spec: jax.device_put(a, jax.P(*spec))
        found, (z_BS, _, index_BK) = gradients(
          place(u_BD, *SPECS[0]),
          place(w_SD, *SPECS[1]),
          place(weight_BS, 'data', 'model'),
          **AXES,
        )
    np.testing.assert_allclose(z_BS, expected_BS, rtol=1e-4, atol=1e-5)
    for a, b in zip(found, expected, strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    again = [len(c[c < S]) > len(set(c[c < S])) for c in chosen_BK]
    self.assertTrue(any(again))
    for row in np.asarray(index_BK):
      self.assertLen(set(row[row < S]), np.sum(row < S))

  def test_padding_follows_a_row_without_positive_concepts(self):
    u_BD, w_SD = problem()
    w_SD = abs(w_SD)
    _, (values_BK, index_BK) = codes(u_BD, w_SD)
    np.testing.assert_array_equal(values_BK[2], 0)
    np.testing.assert_array_equal(index_BK[2], S)

  def test_errors_fall_with_every_step(self):
    u_BD, w_SD = problem()
    errors = [
      np.sum((u_BD - np.asarray(codes(u_BD, w_SD, k)[0]) @ w_SD) ** 2)
      for k in (1, 2, 4, 8)
    ]
    for before, after in itertools.pairwise(errors):
      self.assertLess(after, before)


if __name__ == '__main__':
  absltest.main()
