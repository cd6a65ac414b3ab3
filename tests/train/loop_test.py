"""Whole runs: planted truth recovered, kills survived, mistakes refused."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from saejax import encode
from saejax import errors
from saejax import io
from saejax import ops
from saejax import store
from saejax.pipeline import stages
from saejax.train import config as config_lib
from saejax.train import loop
from saejax.train import step as step_lib
from tests import planted

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
N = 6000


def config(path: str, **changes) -> config_lib.TrainConfig:
  settings = dict(
    store=path,
    latents=64,
    k=4,
    steps=1200,
    batch=256,
    lr=2e-3,
    mix='equal',
    mesh=(1, 1),
    log_every=100,
    checkpoint_every=500,
  )
  return config_lib.TrainConfig(**(settings | changes))


def matched_cosines(a_SD: np.ndarray, b_SD: np.ndarray) -> np.ndarray:
  """Cosine of each row of a with its partner in the best matching."""
  similarity = a_SD @ b_SD.T
  rows, columns = scipy.optimize.linear_sum_assignment(-similarity)
  return similarity[rows, columns]


class Stop(Exception):
  """What ends a run before its time."""


@contextlib.contextmanager
def stop_at(last: int):
  """Ends every run before the batch of step `last`."""
  make = loop.make_batch

  def stopping(plan, mesh, step):
    if step >= last:
      raise Stop
    return make(plan, mesh, step)

  with mock.patch.object(loop, 'make_batch', stopping):
    yield


class RunTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    data = planted.sample(N)
    self.atoms_SD = data.atoms_SD
    self.store = planted.write_store(
      os.path.join(self.folder, 'store'), data.image_ND, data.text_ND
    )
    self.out = os.path.join(self.folder, 'run')

  @parameterized.parameters(
    ('topk', 4, 2e-3, 1200),
    # A budget above the 2.5 concepts a row has is spent on mixing the image and
    # the text direction of a factor, so it gets less, and more time.
    ('batch_topk', 3, 4e-3, 2000),
  )
  def test_a_planted_dictionary_is_recovered(self, arch, k, lr, steps):
    asked = config(self.store, arch=arch, k=k, lr=lr, steps=steps)
    path = loop.train(asked, self.out)
    sae, variables = io.load(path)
    cosine_S = matched_cosines(
      self.atoms_SD, np.asarray(variables['params']['w_dec'])
    )
    self.assertGreater(np.mean(cosine_S), 0.95, np.sort(cosine_S))
    self.assertGreater(np.mean(cosine_S > 0.95), 0.8, np.sort(cosine_S))
    found = store.Store(self.store)
    for name in ('image', 'text'):
      encoded = encode.encode(
        sae, variables, found[name], found[name].rows('test')
      )
      spread = ((encoded.x_nD - encoded.x_nD.mean(0)) ** 2).sum()
      self.assertGreater(1 - encoded.error_n.sum() / spread, 0.9)

  def test_noise_has_no_dictionary(self):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, N, planted.D)).astype(np.float32)
    path = planted.write_store(os.path.join(self.folder, 'noise'), *noise)
    directions = [
      np.asarray(
        io.load(
          loop.train(
            config(path, seed=s, data_seed=s, steps=400), f'{self.out}{s}'
          )
        )[1]['params']['w_dec']
      )
      for s in (0, 1)
    ]
    self.assertLess(np.mean(matched_cosines(*directions)), 0.6)

  def test_a_step_is_traced_once_for_rows_and_seeds_and_changes_no_bit(self):
    self.enter_context(stages.compiled_once())
    asked = config(self.store, arch='topk', steps=10, lr=1.25e-3)
    other = planted.sample(N // 2, seed=3)
    path = planted.write_store(
      os.path.join(self.folder, 'other'), other.image_ND, other.text_ND
    )
    another = dataclasses.replace(
      asked, store=path, rows='image=900,text=600', seed=1, data_seed=2
    )

    def weights(asked, name):
      folder = os.path.join(self.folder, name)
      variables = io.load(loop.train(asked, folder))[1]
      return jax.tree.map(np.asarray, variables)

    with mock.patch.object(
      step_lib, 'make_train_step', wraps=step_lib.make_train_step
    ) as made:
      weights(asked, 'a')
      found = weights(another, 'b')
      self.assertEqual(made.call_count, 1)
      weights(dataclasses.replace(asked, lr=1.5e-3), 'c')
      self.assertEqual(made.call_count, 2)
      with ops.kernels('block'):
        weights(asked, 'e')
      self.assertEqual(made.call_count, 3)
      loop._jitted_step.cache_clear()
      jax.tree.map(np.testing.assert_array_equal, weights(another, 'd'), found)
      self.assertEqual(made.call_count, 4)

  def test_the_threshold_keeps_k_on_val(self):
    path = loop.train(config(self.store, steps=300), self.out)
    sae, variables = io.load(path)
    found = store.Store(self.store)
    l0 = [
      np.diff(
        encode.encode(
          sae, variables, found[name], found[name].rows('val')
        ).z_nS.indptr
      ).mean()
      for name in ('image', 'text')
    ]
    np.testing.assert_allclose(np.mean(l0), 4, atol=0.01)

  @parameterized.product(
    center=['none', 'global', 'modality'], scale=['none', 'global', 'modality']
  )
  def test_standardisation_is_saved_and_undone(self, center, scale):
    path = loop.train(
      config(self.store, steps=2, center=center, scale=scale), self.out
    )
    sae, variables = io.load(path)
    found = store.Store(self.store)
    x_BD = found['text'].take(found['text'].rows('test'))
    modality = encode.modality_index(sae, found['text'])
    out = sae.apply(variables, x_BD, jnp.full(len(x_BD), modality))
    z_nS = encode.to_csr(out.codes, sae.s)
    b_D = encode.bias(sae, variables, found['text'])
    xhat_BD = z_nS @ np.asarray(variables['params']['w_dec']) + b_D
    np.testing.assert_allclose(out.xhat_BD, xhat_BD, rtol=1e-3, atol=1e-4)
    c = jax.tree.map(np.asarray, variables['constants'])
    train = found['text'].take(found['text'].rows('train'))
    u_BD = (train - c['center'][modality]) * c['scale'][modality]
    if center == 'modality':
      np.testing.assert_allclose(np.mean(u_BD, axis=0), 0, atol=1e-4)
    if scale == 'modality':
      square = np.mean(np.sum(np.square(u_BD), axis=1))
      np.testing.assert_allclose(square, planted.D, rtol=1e-3)

  def test_metrics_and_provenance_are_written(self):
    path = loop.train(config(self.store, steps=300), self.out)
    with open(os.path.join(self.out, 'metrics.jsonl')) as f:
      lines = [json.loads(line) for line in f]
    self.assertEqual([m['step'] for m in lines], [100, 200, 300])
    self.assertEqual(
      set(lines[0]), {'step', 'r2', 'l0', 'loss', 'dead', 'rows_per_s'}
    )
    self.assertGreater(lines[-1]['r2'], lines[0]['r2'])
    made_by = io.read_config(path)['provenance']
    self.assertEqual(made_by['store_hash'], store.Store(self.store).hash)
    self.assertEqual(made_by['config']['k'], 4)
    self.assertIn('jax', made_by['environment'])

  def test_resuming_gives_the_same_bits(self):
    whole = loop.train(config(self.store, steps=60), self.out)
    part = config(self.store, steps=60, checkpoint_every=20)
    other = f'{self.out}-parts'
    for last in (33, 47, 60):
      with contextlib.suppress(Stop), stop_at(last):
        resumed = loop.train(part, other, resume=True)
    for name in ('sae.safetensors', 'config.json'):
      with (
        open(os.path.join(whole, name), 'rb') as a,
        open(os.path.join(resumed, name), 'rb') as b,
      ):
        if name == 'sae.safetensors':
          self.assertEqual(a.read(), b.read())
    again = loop.train(part, other, resume=True)
    self.assertEqual(again, resumed)

  def test_mistakes_are_told_and_leave_nothing(self):
    bad = (
      (dict(k=65), '--k=65 is larger than the dictionary: it has 64'),
      (dict(arch='magic'), '--arch=magic is unknown'),
      (dict(mix='image=1'), r"must give a positive weight to each of \['image"),
      (dict(mix='some'), '--mix=some is not understood'),
      (dict(epochs=3.0), 'Give --steps or --epochs, not both'),
      (dict(steps=-1), '--steps and --epochs must be positive'),
      (dict(mesh=(3, 1)), '--batch=256 must be a multiple of 3'),
      (dict(mesh=(64, 1)), 'needs 64 devices; there are 8'),
      (dict(streams=('image', 'sound')), "no stream 'sound'"),
      (dict(store='/nowhere'), 'no store at /nowhere'),
    )
    for changes, message in bad:
      with self.assertRaisesRegex(ValueError, message):
        loop.train(config(self.store, **changes), self.out)
      self.assertFalse(os.path.exists(self.out), changes)

  def test_a_store_without_val_is_refused_for_its_threshold(self):
    data = planted.sample(50)
    path = planted.write_store(
      f'{self.store}2', data.image_ND, data.text_ND, (1.0, 0.0, 0.0)
    )
    with self.assertRaisesRegex(errors.UserError, 'no rows in val'):
      loop.train(config(path), self.out)
    loop.train(config(path, arch='topk', steps=2), self.out)

  def test_taken_folders_are_refused_and_left_alone(self):
    c = config(self.store, steps=2)
    loop.train(c, self.out)
    with self.assertRaisesRegex(errors.UserError, 'holds another run'):
      loop.train(c, self.out)
    with self.assertRaisesRegex(errors.UserError, r'other settings \(lr:'):
      loop.train(dataclasses.replace(c, lr=1.0), self.out, resume=True)
    other = self.create_tempdir().full_path
    with open(os.path.join(other, 'notes.txt'), 'w') as f:
      f.write('mine')
    with self.assertRaisesRegex(errors.UserError, 'notes.txt'):
      loop.train(c, other, resume=True)
    self.assertEqual(os.listdir(other), ['notes.txt'])


class KillTest(absltest.TestCase):
  def test_sigkill_at_any_moment_and_resume_give_the_same_bits(self):
    folder = self.create_tempdir().full_path
    data = planted.sample(N)
    path = planted.write_store(
      os.path.join(folder, 'store'), data.image_ND, data.text_ND
    )

    def command(out):
      return [
        sys.executable, '-m', 'experiments.train_sae', f'--store={path}',
        '--latents=64', '--k=4', '--steps=400', '--batch=256',
        '--checkpoint_every=25', '--log_every=25', '--resume',
        f'--out={os.path.join(folder, out)}',
      ]  # fmt: skip

    environment = os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': ROOT}
    start = lambda out: subprocess.Popen(
      command(out), env=environment, stdout=subprocess.DEVNULL
    )
    whole = start('whole')
    self.assertEqual(whole.wait(), 0)
    metrics = os.path.join(folder, 'parts', 'metrics.jsonl')
    lines = lambda: (
      sum(1 for _ in open(metrics)) if os.path.exists(metrics) else 0
    )
    # Killed before anything is there, then each time some steps further.
    for kill_at in (0, 1, 5, 9):
      process = start('parts')
      while lines() < kill_at and process.poll() is None:
        time.sleep(0.01)
      self.assertIsNone(process.poll(), 'ended before it could be killed')
      process.send_signal(signal.SIGKILL)
      process.wait()
    self.assertEqual(start('parts').wait(), 0)
    read = lambda out: open(
      os.path.join(folder, out, 'sae', 'sae.safetensors'), 'rb'
    ).read()
    self.assertEqual(read('whole'), read('parts'))
    steps = [json.loads(line)['step'] for line in open(metrics)]
    self.assertEqual(steps, list(range(25, 401, 25)))


if __name__ == '__main__':
  absltest.main()
