"""Optimisers: they minimise, lie on the mesh as parameters do, and agree."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax

from saejax import nn
from saejax import sharding
from saejax.train import averaging
from saejax.train import optimisers
from saejax.train import state as state_lib
from saejax.train import step as step_lib
from tests import meshes
from tests import planted
from tests.train import step_test

STEPS = 12
# Of entries that move by the whole learning rate.
RATES = {'lion': 1e-3, 'signum': 1e-3}


def state_and_step(
  name: str, mesh, arch: str = 'topk', steps: int = STEPS, **settings
):
  sae = nn.ARCHITECTURES[arch](
    d=planted.D, s=64, k=4, modalities=('image', 'text')
  )
  tx = optimisers.make_optimiser(
    RATES.get(name, 3e-3),
    steps,
    1e-5,
    1.0,
    name=name,
    schedule=optimisers.OWN_SCHEDULE.get(name, 'cosine'),
  )
  constants = {'scale': np.array([1.5, 2.0], np.float32)}
  with_ema = bool(settings.get('ema'))
  state, shardings = state_lib.create(
    sae, tx, constants, 0, mesh, with_ema=with_ema
  )
  step = step_lib.make_train_step(
    sae, tx, steps=steps, aux_weight=0, aux_k=8, dead_after=200, **settings
  )
  whole = jax.NamedSharding(mesh, jax.P())
  return state, jax.jit(
    step, donate_argnums=0, out_shardings=(shardings, whole, whole)
  )


def run(name: str, shape, **settings):
  """Loss of every step, and the last state."""
  with meshes.use(shape) as mesh:
    state, step = state_and_step(name, mesh, **settings)
    losses = []
    for i in range(STEPS):
      state, _, logs = step(state, step_test.batch_of(i, jax.device_put))
      losses.append(logs['loss'])
  return np.array(losses, np.float64), state


class OptimiserTest(parameterized.TestCase):
  @parameterized.parameters(*optimisers.OPTIMISERS)
  def test_learns_the_same_on_a_mesh_where_its_state_lies_as_parameters_do(
    self, name
  ):
    expected, _ = run(name, (1, 1))
    found, state = run(name, (2, 4))
    self.assertLess(expected[-1], 0.97 * expected[0])
    np.testing.assert_allclose(found, expected, rtol=2e-4)
    of_parameters = 0
    shapes = {n: p.shape for n, p in state.params.items()}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state.opt_state):
      leaf_name = jax.tree_util.keystr(path[-1:], simple=True)
      if leaf.shape not in shapes.values():
        self.assertLess(leaf.size, 8, path)
        continue
      of_parameters += 1
      self.assertEqual(leaf.shape, shapes[leaf_name])
      self.assertEqual(leaf.sharding.spec, sharding.RULES[leaf_name], path)
      if leaf_name != 'b_dec':
        self.assertFalse(leaf.sharding.is_fully_replicated, path)
    self.assertGreaterEqual(of_parameters, len(shapes))

  def test_no_clip_leaves_gradients_alone(self):
    params = {'w_dec': jnp.zeros(4)}
    grads = {'w_dec': jnp.array([3.0, 4.0, 0.0, 0.0])}
    firsts = []
    for clip in (0.0, 1.0, 10.0):
      tx = optimisers.make_optimiser(0.1, 10, 0.0, clip)
      _, state = tx.update(grads, tx.init(params), params)
      firsts.append(np.asarray(state[1][0].mu['w_dec']) / 0.1)
    np.testing.assert_allclose(firsts[0], [3, 4, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(firsts[1], [0.6, 0.8, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(firsts[2], [3, 4, 0, 0], rtol=1e-5)

  @parameterized.parameters('adam', 'adamw')
  def test_a_step_is_optax_between_projection_and_normalisation(self, name):
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    unit = lambda w: w / jnp.linalg.norm(w, axis=1, keepdims=True)
    params = {'w_dec': unit(draw(24, 8)), 'b_enc': draw(24)}
    tx = optimisers.make_optimiser(
      1e-2, 50, 0.1, 1.0, name=name, schedule='constant', warmup=0
    )
    last = optax.adamw(1e-2, weight_decay=0.1)
    last = {'adamw': last, 'adam': optax.adam(1e-2)}[name]
    plain = optax.chain(optax.clip_by_global_norm(1.0), last)
    expected, plain_state = params, plain.init(params)
    found, state = params, tx.init(params)
    sae = nn.TopK(d=8, s=24, k=2)
    move = jax.jit(step_lib.move, static_argnums=(0, 1))
    for i in range(50):
      # Some above the norm that is clipped, some below.
      size = 0.3 if i % 2 else 0.03
      grads = {'w_dec': size * draw(24, 8), 'b_enc': size * draw(24)}
      found, state = move(sae, tx, found, state, grads, jnp.int32(i))
      g, w = grads['w_dec'], expected['w_dec']
      along = jnp.sum(g * w, axis=1, keepdims=True)
      grads['w_dec'] = g - along * w
      updates, plain_state = plain.update(grads, plain_state, expected)
      expected = optax.apply_updates(expected, updates)
      expected['w_dec'] = unit(expected['w_dec'])
    for leaf, value in expected.items():
      np.testing.assert_allclose(found[leaf], value, rtol=0, atol=1e-6)

  def test_muon_makes_matrices_orthogonal_and_leaves_vectors_to_adam(self):
    rng = np.random.default_rng(0)
    params = {'w_dec': jnp.zeros((6, 4)), 'b_enc': jnp.zeros(6)}
    grads = {
      'w_dec': rng.normal(size=(6, 4)).astype(np.float32),
      'b_enc': np.array([1, -2, 3, -4, 5, -6], np.float32),
    }
    tx = optimisers.make_optimiser(
      1.0, 10, 0.0, 0.0, name='muon', schedule='constant', warmup=0
    )
    updates, _ = tx.update(grads, tx.init(params), params)
    u, _, v = np.linalg.svd(grads['w_dec'], full_matrices=False)
    singular = np.diag(u.T @ -np.asarray(updates['w_dec']) @ v.T)
    scale = 0.2 * np.sqrt(6)
    # Newton-Schulz leaves singular values in about 0.7…1.2.
    self.assertBetween(singular.min() / scale, 0.6, 1.3)
    self.assertBetween(singular.max() / scale, 0.6, 1.3)
    # Adam's first step has the same size everywhere.
    first = -updates['b_enc'] * np.sign(grads['b_enc'])
    np.testing.assert_allclose(first, first[0], rtol=1e-3)
    self.assertGreater(first[0], 0.9)

  def test_weight_decay_is_of_those_that_take_it(self):
    params = {'w_dec': jnp.ones((3, 2)), 'b_enc': jnp.ones(3)}
    grads = jax.tree.map(jnp.zeros_like, params)
    for name in optimisers.OPTIMISERS:
      tx = optimisers.make_optimiser(
        0.1, 10, 0.5, 0.0, name=name, schedule='constant', warmup=0
      )
      updates, _ = tx.update(grads, tx.init(params), params)
      expected = 0.0 if name in ('adam', 'signum') else -0.05
      for leaf in jax.tree.leaves(updates):
        np.testing.assert_allclose(leaf, expected, rtol=1e-5, err_msg=name)


class ScheduleTest(parameterized.TestCase):
  def test_the_default_is_five_per_cent_of_warm_up_for_any_length(self):
    for steps in range(1, 5000):
      self.assertEqual(int(steps * 0.05), steps // 20)

  @parameterized.parameters(
    ('cosine', (0, 0.5, 1, 0.5, 1e-6)),
    ('linear', (0, 0.5, 1, 0.5, 1e-6)),
    ('wsd', (0, 0.5, 1, 1, 1e-6)),
    ('constant', (0, 0.5, 1, 1, 1)),
  )
  def test_shapes(self, name, expected):
    rate = optimisers.schedule_of(name, 1.0, 1000, 0.1)
    found = [float(rate(step)) for step in (0, 50, 100, 550, 1000)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    rises = np.diff([float(rate(step)) for step in range(100, 1001, 10)])
    self.assertLessEqual(rises.max(), 0)

  def test_wsd_falls_over_the_last_fifth(self):
    rate = optimisers.schedule_of('wsd', 2.0, 1000, 0.1)
    found = [float(rate(step)) for step in (799, 800, 900)]
    np.testing.assert_allclose(found, [2, 2, 1], atol=1e-5)

  @parameterized.parameters(*optimisers.SCHEDULES)
  def test_without_warm_up_it_starts_at_the_peak(self, name):
    for steps in (1, 2, 100):
      rate = optimisers.schedule_of(name, 0.3, steps, 0.0)
      np.testing.assert_allclose(float(rate(0)), 0.3, rtol=1e-6)

  def test_the_law_of_width_is_an_inverse_root(self):
    self.assertEqual(optimisers.rate(0.1, 'none', 7), 0.1)
    self.assertEqual(optimisers.rate(0.1, 'width', 2**14), 0.1)
    self.assertAlmostEqual(optimisers.rate(0.1, 'width', 2**16), 0.05)
    self.assertAlmostEqual(optimisers.rate(0.1, 'width', 2**12), 0.2)


class AverageTest(absltest.TestCase):
  def test_ema_follows_its_formula(self):
    params = [np.full(3, v, np.float32) for v in (1.0, 5.0, -2.0, 4.0)]
    ema = {'a': jnp.asarray(params[0])}
    expected = params[0]
    for step, value in enumerate(params[1:]):
      ema = averaging.follow(ema, {'a': value}, jnp.int32(step), 0.15)
      decay = min(0.15, (1 + step) / (10 + step))
      expected = decay * expected + (1 - decay) * value
    np.testing.assert_allclose(ema['a'], expected, rtol=1e-6)
    self.assertIsNone(averaging.follow(None, {'a': value}, 0, 0.9))

  def test_ema_is_of_the_parameters_after_each_step_on_every_mesh(self):
    averages = []
    for shape in ((1, 1), (2, 4)):
      with meshes.use(shape) as mesh:
        state, step = state_and_step('adamw', mesh, ema=0.5)
        expected = jax.device_get(state.params)
        for i in range(STEPS):
          state, _, _ = step(state, step_test.batch_of(i, jax.device_put))
          decay = min(0.5, (1 + i) / (10 + i))
          expected = jax.tree.map(
            lambda a, b, d=decay: d * a + (1 - d) * b,
            expected,
            jax.device_get(state.params),
          )
      for name, leaf in state.ema.items():
        np.testing.assert_allclose(leaf, expected[name], atol=1e-6)
        self.assertEqual(leaf.sharding.spec, sharding.RULES[name])
      self.assertIs(averaging.average_of(state), state.ema)
      averages.append(jax.device_get(state.ema))
    np.testing.assert_allclose(
      averages[0]['w_dec'], averages[1]['w_dec'], atol=1e-4
    )

  def test_schedule_free_gives_the_average_of_its_iterates(self):
    tx = optimisers.make_optimiser(
      0.1, 10, 0.0, 0.0, name='schedule_free', schedule='constant', warmup=0
    )
    params = {'a': jnp.array([1.0, -2.0])}
    state, iterates = tx.init(params), []
    for i in range(5):
      grads = {'a': params['a'] * (i + 1)}
      updates, state = tx.update(grads, state, params)
      params = optax.apply_updates(params, updates)
      iterates.append(np.asarray(state[1].z['a']))
    # Equal weights, as the learning rate is constant.
    np.testing.assert_allclose(
      optimisers.averaged(state, params)['a'], np.mean(iterates, 0), rtol=1e-4
    )
    self.assertIsNone(optimisers.averaged(optax.adam(1.0).init(params), params))


if __name__ == '__main__':
  absltest.main()
