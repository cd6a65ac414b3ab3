"""Dead concepts begin anew where rows are badly reconstructed; others stay."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saejax import nn
from saejax import ops
from saejax import sharding
from saejax import types
from saejax.train import optimisers
from saejax.train import resampling
from saejax.train import state as state_lib
from tests import meshes
from tests.train import optimisers_test
from tests.train import step_test

D, S, B = 16, 32, 64
DEAD = (3, 4, 17, 30)
DEAD_AFTER = 100


def place(x, *spec):
  return jax.device_put(x, jax.P(*spec))


def batch(hard: int = 8) -> types.Batch:
  """Rows of which the first `hard` are much the largest."""
  x_BD = np.random.default_rng(0).normal(size=(B, D)).astype(np.float32)
  x_BD[:hard] *= 100
  return types.Batch(
    x_BD=place(x_BD, 'data', None),
    modality_B=place(np.zeros(B, np.int32), 'data'),
  )


def make(mesh, arch: str, name: str, dead=DEAD):
  """A state whose every moment is 7, in which some concepts are dead."""
  sae = nn.ARCHITECTURES[arch](d=D, s=S, k=3)
  tx = optimisers.make_optimiser(
    1e-3, 10, 0.0, 1.0, name=name,
    schedule=optimisers.OWN_SCHEDULE.get(name, 'cosine'),
  )  # fmt: skip
  state, _ = state_lib.create(sae, tx, {}, 0, mesh, with_ema=True)
  fill = lambda x: jnp.full_like(x, 7)
  idle_S = np.zeros(S, np.int32)
  idle_S[list(dead)] = DEAD_AFTER + 1
  return sae, state.replace(
    params=state.params | {'b_enc': state.params['b_enc'] + 0.25},
    opt_state=jax.tree.map(fill, state.opt_state),
    idle_S=place(idle_S, 'model'),
  )


def resample(sae, state, rows, seed: int = 0):
  run = jax.jit(
    lambda state, rows, key: resampling.resample(
      sae, state, rows, key, DEAD_AFTER
    )
  )
  return run(state, rows, jax.random.key(seed))


def parts(leaf, name: str, concepts) -> np.ndarray:
  axis = sharding.concept_axis(name)
  return np.take(np.asarray(leaf), np.asarray(concepts), axis)


LIVE = sorted(set(range(S)) - set(DEAD))


class ResampleTest(parameterized.TestCase):
  @parameterized.parameters(
    ('topk', 'adamw'), ('jumprelu', 'muon'), ('gated', 'schedule_free')
  )
  def test_only_the_dead_change_and_their_moments_are_zero(self, arch, name):
    with meshes.use((1, 1)) as mesh:
      sae, before = make(mesh, arch, name)
      after = resample(sae, before, batch())
    for field in ('params', 'ema'):
      old, new = getattr(before, field), getattr(after, field)
      for leaf in old:
        if leaf == 'b_dec':
          np.testing.assert_array_equal(new[leaf], old[leaf])
          continue
        np.testing.assert_array_equal(
          parts(new[leaf], leaf, LIVE), parts(old[leaf], leaf, LIVE)
        )
        expected = parts(after.params[leaf], leaf, DEAD)
        np.testing.assert_array_equal(parts(new[leaf], leaf, DEAD), expected)
    self.assertEqual(np.abs(after.params['b_enc'])[list(DEAD)].max(), 0)
    moved = 0
    leaves = jax.tree_util.tree_leaves_with_path(after.opt_state)
    for path, leaf in leaves:
      leaf_name = jax.tree_util.keystr(path[-1:], simple=True)
      if leaf.ndim == 0 or leaf_name in ('b_dec', 'ns_coeffs'):
        np.testing.assert_array_equal(leaf, 7)
        continue
      moved += 1
      np.testing.assert_array_equal(parts(leaf, leaf_name, LIVE), 7)
      is_z = any(getattr(part, 'name', None) == 'z' for part in path)
      expected = after.params[leaf_name] if is_z else np.zeros(leaf.shape)
      np.testing.assert_array_equal(
        parts(leaf, leaf_name, DEAD), parts(expected, leaf_name, DEAD)
      )
    self.assertGreater(moved, 3)
    np.testing.assert_array_equal(after.idle_S, 0)
    self.assertEqual(after.step, before.step)

  def test_new_directions_are_different_rows_of_large_loss(self):
    with meshes.use((1, 1)) as mesh:
      sae, before = make(mesh, 'topk', 'adamw')
      rows = batch()
      after = resample(sae, before, rows)
    w_SD, unit_BD = after.params['w_dec'], ops.unit_rows(rows.x_BD)
    cosine = np.asarray(w_SD)[list(DEAD)] @ np.asarray(unit_BD).T
    np.testing.assert_allclose(cosine.max(1), 1, rtol=1e-5)
    chosen = cosine.argmax(1)
    self.assertLen(set(chosen), len(DEAD))
    self.assertLess(chosen.max(), 8)
    norm = lambda w: np.linalg.norm(w, axis=1 - sharding.concept_axis('w_enc'))
    new = norm(after.params['w_enc'])
    mean = norm(before.params['w_enc'])[LIVE].mean()
    np.testing.assert_allclose(new[list(DEAD)], 0.2 * mean, rtol=1e-5)

  def test_chances_are_those_of_squared_losses(self):
    error_B = jnp.array([1.0, 2.0, 3.0])
    keys = jax.random.split(jax.random.key(0), 20_000)
    first = jax.vmap(lambda k: resampling._ranked_rows(k, error_B)[0])(keys)
    share = np.bincount(first, minlength=3) / len(keys)
    np.testing.assert_allclose(share, np.array([1, 4, 9]) / 14, atol=0.015)

  @parameterized.parameters((8, 1), (2, 4))
  def test_is_the_same_on_every_mesh_and_for_every_call(self, *shape):
    found = []
    for use in ((1, 1), shape, shape):
      with meshes.use(use) as mesh:
        sae, state = make(mesh, 'batch_topk', 'adamw')
        state = resample(sae, state, batch())
      self.assertEqual(
        state.params['w_dec'].sharding.spec, jax.P('model', None)
      )
      found.append(jax.device_get(state.params))
    jax.tree.map(np.testing.assert_array_equal, found[1], found[2])
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), *found[:2]
    )
    with meshes.use((1, 1)) as mesh:
      sae, state = make(mesh, 'batch_topk', 'adamw')
      other = resample(sae, state, batch(), seed=1)
    self.assertGreater(
      np.abs(other.params['w_dec'] - found[0]['w_dec']).max(), 0.1
    )

  def test_nothing_changes_while_none_is_dead(self):
    with meshes.use((1, 1)) as mesh:
      sae, before = make(mesh, 'topk', 'adamw', dead=())
      after = resample(sae, before, batch())
      jax.tree.map(np.testing.assert_array_equal, before, after)

  def test_of_more_dead_than_rows_some_wait(self):
    with meshes.use((1, 1)) as mesh:
      few = jax.tree.map(lambda x: x[:5], batch())
      sae, before = make(mesh, 'topk', 'adamw', dead=range(9))
      after = resample(sae, before, few)
    np.testing.assert_array_equal(np.flatnonzero(after.idle_S), np.arange(5, 9))
    np.testing.assert_array_equal(
      after.params['w_dec'][5:], before.params['w_dec'][5:]
    )

  def test_is_due_every_so_often_in_the_first_half(self):
    due = lambda every: [
      step for step in range(1, 21) if resampling.is_due(step, every, 20)
    ]
    self.assertEqual(due(3), [3, 6, 9])
    self.assertEqual(due(5), [5, 10])
    self.assertEqual(due(None), [])

  def test_a_dictionary_that_mostly_died_learns_again(self):
    explained = {}
    for every in (None, 10):
      with meshes.use((1, 1)) as mesh:
        state, step = optimisers_test.state_and_step('adamw', mesh, steps=80)
        b_enc = np.where(np.arange(64) < 8, 0, -10).astype(np.float32)
        params = state.params | {'b_enc': place(b_enc, 'model')}
        state = state.replace(params=params)
        for i in range(80):
          rows = step_test.batch_of(i % step_test.STEPS, jax.device_put)
          state, metrics, _ = step(state, rows)
          if resampling.is_due(i + 1, every, 80):
            sae = nn.TopK(d=48, s=64, k=4, modalities=('image', 'text'))
            state = resample(sae, state, rows, seed=i)
      explained[every] = metrics.compute()['r2']
    self.assertGreater(explained[10], explained[None] + 0.2, explained)


if __name__ == '__main__':
  absltest.main()
