"""Whole runs with what training may add: recovered, resumed, saved, refused."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import encode
from saejax import io
from saejax import store
from saejax.train import loop
from saejax.train import median
from saejax.train import plan as plan_lib
from tests import planted
from tests.train import loop_test

CRAFT = {
  'muon': dict(optimiser='muon', lr=2e-3),
  'schedule_free': dict(optimiser='schedule_free', lr=1e-2),
  'ema': dict(ema=0.98, lr=4e-3),
  'annealed': dict(k_start=16, k_anneal=0.5, multi_topk=1 / 8),
  'resampled': dict(resample_every=7, dead_after=500, aux_weight=0.0),
  'median': dict(use_b_dec=True, b_dec_start='median', warmup=0.0, clip=0.0),
  'free': dict(
    arch='relu', settings={'l1': 0.15}, decoder_norm='free', ema=0.9
  ),
}


class CraftTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    data = planted.sample(loop_test.N)
    cls.atoms_SD = data.atoms_SD
    cls.store = planted.write_store(
      os.path.join(folder, 'store'), data.image_ND, data.text_ND
    )

  def setUp(self):
    super().setUp()
    self.out = os.path.join(self.create_tempdir().full_path, 'run')

  def config(self, **changes):
    settings = dict(arch='topk', k=3) | changes
    return loop_test.config(self.store, **settings)

  def train(self, **changes):
    return io.load(loop.train(self.config(**changes), self.out))

  @parameterized.parameters(*CRAFT)
  def test_resuming_gives_the_same_bits(self, name):
    settings = CRAFT[name] | dict(steps=24, log_every=24)
    whole = loop.train(self.config(**settings), self.out)
    part = self.config(**settings, checkpoint_every=10)
    other = f'{self.out}-parts'
    with self.assertRaises(loop_test.Stop), loop_test.stop_at(17):
      loop.train(part, other)
    resumed = loop.train(part, other, resume=True)
    read = lambda path: open(os.path.join(path, io.WEIGHTS), 'rb').read()
    self.assertEqual(read(whole), read(resumed))
    _, variables = io.load(whole)
    norm_S = np.linalg.norm(variables['params']['w_dec'], axis=1)
    np.testing.assert_allclose(norm_S, 1, rtol=1e-5)

  @parameterized.parameters('muon', 'schedule_free', 'ema', 'annealed')
  def test_a_planted_dictionary_is_recovered(self, name):
    _, variables = self.train(**(dict(steps=600, lr=5e-3) | CRAFT[name]))
    cosine_S = loop_test.matched_cosines(
      self.atoms_SD, np.asarray(variables['params']['w_dec'])
    )
    self.assertGreater(np.mean(cosine_S), 0.9, np.sort(cosine_S))

  @parameterized.parameters('ema', 'schedule_free')
  def test_the_threshold_is_calibrated_for_the_average(self, name):
    sae, variables = self.train(arch='batch_topk', steps=60, **CRAFT[name])
    found = store.Store(self.store)
    active = [
      encode.encode(sae, variables, stream, stream.rows('val')).z_nS.nnz
      / len(stream.rows('val'))
      for stream in (found['image'], found['text'])
    ]
    np.testing.assert_allclose(np.mean(active), 3, atol=0.01)

  def test_the_average_is_saved_and_not_the_last_weights(self):
    saved = {}
    for ema in (0.0, 0.9):
      self.out = f'{self.out}x'
      saved[ema] = self.train(steps=40, ema=ema)[1]['params']
    plan = plan_lib.make_plan(self.config(steps=40))
    del plan
    change = np.abs(saved[0.0]['w_enc'] - saved[0.9]['w_enc']).max()
    self.assertGreater(change, 1e-3)

  @parameterized.parameters('mean', 'median')
  def test_the_bias_starts_where_rows_do_and_the_encoder_reads_the_rest(
    self, how
  ):
    asked = self.config(
      use_b_dec=True, b_dec_start=how, center='modality', scale='global',
      batch=100,
    )  # fmt: skip
    plan = plan_lib.make_plan(asked)
    found, u_ND = store.Store(self.store), []
    for m, name in enumerate(('image', 'text')):
      x_ND = found[name].take(found[name].rows('train'))
      c = plan.constants
      u_ND.append((x_ND - c['center'][m]) * c['scale'][m])
    middle = dict(mean=lambda x: x.mean(0), median=median.geometric_median)[how]
    np.testing.assert_allclose(
      plan.b_dec_D, middle(np.concatenate(u_ND)), atol=0.02
    )
    state = loop.state_lib.create(
      plan.sae, loop._optimiser(asked, plan), plan.constants, 0,
      loop.sharding.make_mesh((1, 1)), b_dec_D=plan.b_dec_D,
    )[0]  # fmt: skip
    pre = plan.sae.apply(
      jax.device_get(state.variables),
      plan.b_dec_D[None] / plan.constants['scale'][0]
      + plan.constants['center'][:1],
      np.zeros(1, np.int32),
      method='preactivations',
    )
    np.testing.assert_allclose(pre, 0, atol=1e-5)

  def test_resampling_saves_concepts_that_died(self):
    alive = {}
    for every in (None, 30):
      self.out = f'{self.out}x'
      sae, variables = self.train(
        latents=128, steps=150, lr=2e-2, aux_weight=0.0, dead_after=2000,
        resample_every=every,
      )  # fmt: skip
      stream = store.Store(self.store)['image']
      z_nS = encode.encode(sae, variables, stream, stream.rows('train')).z_nS
      alive[every] = (z_nS != 0).sum(0).astype(bool).sum()
    self.assertGreater(alive[30], 1.1 * alive[None], alive)

  def test_mistakes_are_told_and_leave_nothing(self):
    for changes, message in (
      (dict(arch='relu', k_start=8), '--k_start is not for --arch=relu: .*top'),
      (dict(arch='abs_topk', multi_topk=1.0), '--multi_topk is not for --arch'),
      (dict(decoder_norm='free'), 'decoder_norm=free is not for .*: .*relu, j'),
      (dict(k_start=65), '--k_start=65 is larger than the dictionary'),
      (dict(b_dec_start='mean'), 'is of the decoder bias: add --use_b_dec'),
      (dict(optimiser='sgd'), '--optimiser=sgd is unknown: choose .*adamw'),
      (
        dict(optimiser='schedule_free', lr_schedule='cosine'),
        '--lr_schedule=cosine is not for --optimiser=schedule_free',
      ),
      (
        dict(optimiser='schedule_free', ema=0.9),
        '--ema=0.9 is not for --optimiser=schedule_free',
      ),
    ):
      with self.assertRaisesRegex(ValueError, message):
        loop.train(self.config(**changes), self.out)
      self.assertFalse(os.path.exists(self.out), changes)


if __name__ == '__main__':
  absltest.main()
