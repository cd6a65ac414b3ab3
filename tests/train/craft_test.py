"""Whole runs with what training may add: recovered, resumed, saved, refused."""

import contextlib
import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import encode
from saejax import io
from saejax import sharding
from saejax import store
from saejax.train import checkpoint
from saejax.train import loop
from saejax.train import median
from saejax.train import plan as plan_lib
from saejax.train import state as state_lib
from tests import planted
from tests.train import loop_test

# Whatever goes together.
CRAFT = {
  'muon': dict(
    optimiser='muon', lr=2e-2, k_start=12, k_anneal=0.5, multi_topk=1 / 8,
    resample_every=5, dead_after=500,
  ),
  'schedule_free': dict(
    optimiser='schedule_free', lr=2e-2, use_b_dec=True, b_dec_start='median',
    warmup=0.0, clip=0.0,
  ),
  'free': dict(
    arch='relu', settings={'l1': 0.15}, decoder_norm='free', ema=0.9,
    lr_schedule='wsd', lr=4e-3,
  ),
}  # fmt: skip


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

  @parameterized.parameters(*CRAFT)
  def test_a_planted_dictionary_is_recovered(self, name):
    _, variables = self.train(steps=500, **CRAFT[name])
    cosine_S = loop_test.matched_cosines(
      self.atoms_SD, np.asarray(variables['params']['w_dec'])
    )
    self.assertGreater(np.mean(cosine_S), 0.9, np.sort(cosine_S))

  @parameterized.parameters(dict(ema=0.98), CRAFT['schedule_free'])
  def test_the_threshold_is_calibrated_for_the_average(self, **settings):
    sae, variables = self.train(arch='batch_topk', steps=60, **settings)
    found = store.Store(self.store)
    active = [
      encode.encode(sae, variables, stream, stream.rows('val')).z_nS.nnz
      / len(stream.rows('val'))
      for stream in (found['image'], found['text'])
    ]
    np.testing.assert_allclose(np.mean(active), 3, atol=0.01)

  def test_the_average_is_saved_and_not_the_last_weights(self):
    asked = self.config(steps=30, ema=0.9, lr_schedule='constant')
    _, variables = io.load(loop.train(asked, self.out))
    plan, mesh = plan_lib.make_plan(asked), sharding.make_mesh((1, 1))
    fresh, _ = state_lib.create(
      plan.sae, loop.make_optimiser(asked, plan), plan.constants, 0, mesh,
      with_ema=True,
    )  # fmt: skip
    path = os.path.join(self.out, 'checkpoints')
    with contextlib.closing(checkpoint.open_manager(path, 2)) as manager:
      state, step = checkpoint.restore_latest(manager, fresh)
    self.assertEqual(step, 30)
    saved = variables['params']
    np.testing.assert_array_equal(saved['w_enc'], state.ema['w_enc'])
    change = np.abs(saved['w_enc'] - state.params['w_enc']).max()
    self.assertGreater(change, 1e-3)
    norm_S = np.linalg.norm(state.ema['w_dec'], axis=1)
    self.assertLess(norm_S.min(), 1 - 1e-5)
    cosine_S = np.sum(saved['w_dec'] * state.ema['w_dec'], axis=1) / norm_S
    np.testing.assert_allclose(cosine_S, 1, rtol=1e-5)

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
    state = state_lib.create(
      plan.sae, loop.make_optimiser(asked, plan), plan.constants, 0,
      sharding.make_mesh((1, 1)), b_dec_D=plan.b_dec_D,
    )[0]  # fmt: skip
    pre = plan.sae.apply(
      jax.device_get(state.variables),
      plan.b_dec_D[None] / plan.constants['scale'][0]
      + plan.constants['center'][:1],
      np.zeros(1, np.int32),
      method='preactivations',
    )
    np.testing.assert_allclose(pre, 0, atol=1e-5)

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
