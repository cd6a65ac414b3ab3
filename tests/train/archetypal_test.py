"""Concepts near the hull of rows: held there, saved, alike between seeds."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
import scipy.optimize

from saejax import encode
from saejax import io
from saejax import nn
from saejax import sharding
from saejax import store
from saejax.train import finishing
from saejax.train import loop
from saejax.train import plan as plan_lib
from saejax.train import state as state_lib
from tests import planted
from tests.train import loop_test

D, S, M = 6, 16, 40


def variables_of(m: int, relax: float = 1.0, seed: int = 0):
  """A module and its variables in training, on a random cloud of m points."""
  sae = nn.Archetypal(d=D, s=S, k=3, cloud=m, relax=relax)
  cloud_MD = np.random.default_rng(1).normal(size=(m, D)).astype(np.float32)
  init = sae.init(jax.random.key(seed), method=lambda module: module.w_dec)
  constants = init['constants'] | {'cloud': cloud_MD}
  made = sae.parametrise(init | {'constants': constants}, jax.random.key(seed))
  return sae, jax.tree.map(np.asarray, made)


def unit(x_SD: np.ndarray) -> np.ndarray:
  return x_SD / np.linalg.norm(x_SD, axis=1, keepdims=True)


def distance_to_cone(point_D: np.ndarray, cloud_MD: np.ndarray) -> float:
  return scipy.optimize.nnls(cloud_MD.T.astype(float), point_D.astype(float))[1]


class ModuleTest(parameterized.TestCase):
  @parameterized.parameters(M, S, 5)
  def test_concepts_start_at_points_and_then_between_two(self, m):
    sae, made = variables_of(m)
    params, cloud_MD = made['params'], made['constants']['cloud']
    count_S = (params['mix'] > 0).sum(1)
    np.testing.assert_array_equal(count_S[:m], 1)
    self.assertLessEqual(count_S.max(), 2)
    np.testing.assert_allclose(params['mix'].sum(1), 1, rtol=1e-6)
    w_dec = sae.materialise(made)['params']['w_dec']
    np.testing.assert_allclose(
      w_dec, unit(params['mix'] @ cloud_MD), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(params['w_enc'], w_dec)
    self.assertLess(np.max(w_dec @ w_dec.T - 2 * np.eye(S)), 1 - 1e-4)
    _, other = variables_of(m, seed=1)
    self.assertGreater(np.abs(other['params']['mix'] - params['mix']).max(), 0)

  def test_the_dictionary_is_the_formula_and_its_gradient_the_slope(self):
    sae, made = variables_of(M)
    rng = np.random.default_rng(2)
    params = made['params'] | {
      'mix': rng.dirichlet(np.ones(M), S).astype(np.float32),
      'relax': 0.3 * rng.normal(size=(S, D)).astype(np.float32),
    }
    made = made | {'params': params}
    weight_SD = rng.normal(size=(S, D)).astype(np.float32)

    def formula(p):
      return (unit(p['mix'] @ made['constants']['cloud'] + p['relax']),)

    def loss(p):
      found = sae.materialise(made | {'params': p})['params']
      self.assertNotIn('mix', found)
      return (found['w_dec'] * weight_SD).sum()

    whole = {n: np.float64(params[n]) for n in ('mix', 'relax')}
    np.testing.assert_allclose(
      sae.materialise(made)['params']['w_dec'], formula(whole)[0], atol=1e-6
    )
    grads = jax.grad(loss)(params)
    for name, at in (('mix', (3, 7)), ('relax', (5, 2))):
      moved = {n: np.copy(a) for n, a in whole.items()}
      moved[name][at] += 1e-5
      change = ((formula(moved)[0] - formula(whole)[0]) * weight_SD).sum()
      np.testing.assert_allclose(grads[name][at], change / 1e-5, rtol=1e-3)

  def test_parameters_are_put_on_the_simplex_and_in_the_ball(self):
    sae, made = variables_of(M, relax=0.5)
    rng = np.random.default_rng(3)
    mix_SM = rng.normal(size=(S, M)).astype(np.float32)
    mix_SM[4] = -np.abs(mix_SM[4])
    relax_SD = rng.normal(size=(S, D)).astype(np.float32)
    relax_SD[0] *= 0.01
    params = made['params'] | {'mix': mix_SM, 'relax': relax_SD}
    found = jax.tree.map(np.asarray, sae.constrain(params))
    positive = np.maximum(mix_SM, 0)
    positive[4, mix_SM[4].argmax()] = 1
    np.testing.assert_allclose(
      found['mix'], positive / positive.sum(1, keepdims=True), rtol=1e-5
    )
    np.testing.assert_allclose(found['relax'][0], relax_SD[0], rtol=1e-5)
    norm_S = np.linalg.norm(found['relax'], axis=1)
    np.testing.assert_allclose(norm_S[1:], 0.5, rtol=1e-5)
    np.testing.assert_allclose(
      unit(found['relax']), unit(relax_SD), rtol=1e-4, atol=1e-6
    )


class RunTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    data = planted.sample(2000)
    cls.store = planted.write_store(
      os.path.join(folder, 'store'), data.image_ND, data.text_ND
    )

  def setUp(self):
    super().setUp()
    self.out = os.path.join(self.create_tempdir().full_path, 'run')

  def config(self, **changes):
    asked = dict(arch='archetypal', k=3, lr=5e-3, settings={'cloud': 100})
    return loop_test.config(**({'path': self.store} | asked | changes))

  def steps(self, config, n: int):
    """The plan and the states after each of n steps."""
    plan, mesh = plan_lib.make_plan(config), sharding.make_mesh((1, 1))
    tx = loop.make_optimiser(config, plan)
    state, _ = state_lib.create(plan.sae, tx, plan.constants, config.seed, mesh)
    step, states = jax.jit(loop.make_step(config, plan, tx)), []
    with jax.set_mesh(mesh):
      for i in range(n):
        state, _, _ = step(state, loop.make_batch(plan, mesh, i))
        states.append(state)
    return plan, jax.device_get(states)

  def test_points_are_of_the_rows_as_training_sees_them(self):
    plan = plan_lib.make_plan(self.config(center='modality'))
    cloud_MD = plan.constants['cloud']
    self.assertEqual((plan.sae.cloud, cloud_MD.shape), (100, (100, planted.D)))
    square_M = (cloud_MD**2).sum(1)
    np.testing.assert_allclose(square_M.mean(), 1, rtol=1e-5)
    u_ND = plan_lib.first_rows(
      800, plan.mixture, plan.modality_of, plan.constants
    )
    near_N = (unit(u_ND) @ unit(cloud_MD).T).max(1)
    off_N = (unit(u_ND) @ -unit(cloud_MD).T).max(1)
    self.assertGreater(np.median(near_N), 0.7)
    self.assertLess(np.median(off_N), 0.5)
    default = plan_lib.make_plan(self.config(settings={}))
    self.assertEqual(default.sae.cloud, 8 * planted.D)

  def test_every_step_ends_on_the_simplex_and_in_the_ball(self):
    config = self.config(lr=5e-2, steps=9, settings={'relax': 0.2})
    _, states = self.steps(config, 9)
    norms = []
    for state in states:
      self.assertGreaterEqual(state.params['mix'].min(), 0)
      np.testing.assert_allclose(state.params['mix'].sum(1), 1, rtol=1e-5)
      norms.append(np.linalg.norm(state.params['relax'], axis=1).max())
    self.assertLessEqual(max(norms), 0.2 * (1 + 1e-5))
    self.assertGreater(norms[-1], 0.19)
    change = states[-1].params['mix'] - states[0].params['mix']
    self.assertGreater(np.abs(change).max(), 0.05)

  @parameterized.parameters(0.0, 1.0)
  def test_without_relaxation_concepts_lie_among_the_points(self, relax):
    config = self.config(
      steps=40, lr=2e-2, settings={'cloud': 100, 'relax': relax}
    )
    path = loop.train(config, self.out)
    _, variables = io.load(path)
    w_SD = np.asarray(variables['params']['w_dec'])
    np.testing.assert_allclose(np.linalg.norm(w_SD, axis=1), 1, rtol=1e-5)
    cloud_MD = plan_lib.make_plan(config).constants['cloud']
    far = max(distance_to_cone(w_D, cloud_MD) for w_D in w_SD)
    if relax:
      self.assertGreater(far, 0.1)
    else:
      self.assertLess(far, 1e-4)

  @parameterized.parameters(False, True)
  def test_what_is_saved_reconstructs_as_what_was_trained(self, is_averaged):
    plan, states = self.steps(
      self.config(center='modality', scale='global', lr=2e-2), 12
    )
    trained = states[-1].variables
    variables = finishing.finish(plan, trained, is_averaged=is_averaged)
    io.save(self.out, plan.sae, variables)
    sae, saved = io.load(self.out)
    self.assertEqual(sae, plan.sae)
    self.assertNotIn('cloud', saved['constants'])
    which_B, rows_B = plan.mixture.rows_of(99)
    x_BD = plan.mixture.take(which_B, rows_B)
    modality_B = np.asarray(plan.modality_of)[which_B]
    out = sae.apply(saved, x_BD, modality_B)
    p, c = trained['params'], trained['constants']
    u_BD = (x_BD - c['center'][modality_B]) * c['scale'][modality_B, None]
    pre_BS = u_BD @ p['w_enc'].T + p['b_enc']
    least_B1 = np.sort(pre_BS, axis=1)[:, [-3]]
    z_BS = np.where(pre_BS >= least_B1, np.maximum(pre_BS, 0), 0)
    w_SD = unit(p['mix'] @ c['cloud'] + p['relax'])
    xhat_BD = z_BS @ w_SD / c['scale'][modality_B, None]
    np.testing.assert_allclose(
      out.xhat_BD, xhat_BD + c['center'][modality_B], atol=1e-5
    )
    # Saved from training's variables it is the same.
    again = f'{self.out}-again'
    io.save(again, plan.sae, trained)
    np.testing.assert_allclose(
      io.load(again)[1]['params']['w_dec'], saved['params']['w_dec'], atol=1e-6
    )

  def test_a_planted_dictionary_is_recovered(self):
    data = planted.sample(loop_test.N)
    rows = data.image_ND, data.text_ND
    path = planted.write_store(f'{self.out}-store', *rows)
    asked = self.config(path=path, steps=600, settings={})
    sae, variables = io.load(loop.train(asked, self.out))
    cosine_S = loop_test.matched_cosines(
      data.atoms_SD, np.asarray(variables['params']['w_dec'])
    )
    self.assertGreater(np.mean(cosine_S), 0.95, np.sort(cosine_S))
    self.assertGreater(np.mean(cosine_S > 0.95), 0.8, np.sort(cosine_S))
    stream = store.Store(path)['text']
    encoded = encode.encode(sae, variables, stream, stream.rows('test'))
    spread = ((encoded.x_nD - encoded.x_nD.mean(0)) ** 2).sum()
    self.assertGreater(1 - encoded.error_n.sum() / spread, 0.85)
    # Rows have 2.5 concepts: those without a third positive code are padded.
    self.assertLessEqual(np.diff(encoded.z_nS.indptr).max(), 3)

  def test_resuming_gives_the_same_bits(self):
    whole = loop.train(self.config(steps=24), self.out)
    part, other = (
      self.config(steps=24, checkpoint_every=10),
      f'{self.out}-parts',
    )
    with self.assertRaises(loop_test.Stop), loop_test.stop_at(17):
      loop.train(part, other)
    resumed = loop.train(part, other, resume=True)
    read = lambda path: open(os.path.join(path, io.WEIGHTS), 'rb').read()
    self.assertEqual(read(whole), read(resumed))

  def test_seeds_agree_more_than_those_of_topk(self):
    agree = {}
    for arch in ('topk', 'archetypal'):
      settings = {'settings': {}} if arch == 'topk' else {}
      w = []
      for seed in (0, 1):
        config = self.config(arch=arch, seed=seed, steps=150, **settings)
        path = loop.train(config, f'{self.out}-{arch}{seed}')
        w.append(np.asarray(io.load(path)[1]['params']['w_dec']))
      cosine_SS = w[0] @ w[1].T
      agree[arch] = (cosine_SS.max(0).mean() + cosine_SS.max(1).mean()) / 2
    self.assertGreater(agree['archetypal'], agree['topk'] + 0.02, agree)

  def test_mistakes_are_told_and_leave_nothing(self):
    for changes, message in (
      (dict(settings={'cloud': 5000}), '--cloud=5000 is more than the 28'),
      (dict(settings={'relax': -1.0}), '--relax=-1.0 must be at least 0'),
      (dict(align=0.1), 'archetypal is not for matched rows: .*Use --arch=top'),
      (dict(resample_every=5), 'resample_every is not for --arch=archetypal'),
      (dict(decoder_norm='free'), 'decoder_norm=free is not for --arch=arche'),
    ):
      with self.assertRaisesRegex(ValueError, message):
        loop.train(self.config(**changes), self.out)
      self.assertFalse(os.path.exists(self.out), changes)


if __name__ == '__main__':
  absltest.main()
