"""Sweeps: a member is its own single run, whatever happens to the others."""

import contextlib
import dataclasses
import json
import os
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import errors
from saejax import io
from saejax.train import config as config_lib
from saejax.train import loop
from saejax.train import members
from saejax.train import sweep
from tests import planted

STEPS, RESUMED = 50, 20
DIFFERENT = (
  {'k': 4, 'seed': 1},
  {'k': 2},
  {'k': 4, 'lr': 1e-3},
)
DIFFERENT_L1 = (
  {'settings': {'l1': 0.05}, 'seed': 1},
  {'settings': {'l1': 0.1}},
  {'settings': {'l1': 0.2}, 'lr': 1e-3},
)


def member(store: str, **changes) -> config_lib.TrainConfig:
  settings = dict(
    store=store,
    arch='topk',
    latents=64,
    k=4,
    steps=STEPS,
    batch=64,
    lr=2e-3,
    mix='equal',
    mesh=(1, 1),
    log_every=10,
    checkpoint_every=20,
    dead_after=640,
  )
  return config_lib.TrainConfig(**(settings | changes))


def weights(folder: str) -> dict[str, np.ndarray]:
  _, variables = io.load(folder)
  return {
    name: np.asarray(leaf)
    for leaves in variables.values()
    for name, leaf in leaves.items()
  }


def losses(sae: str) -> list[float]:
  with open(os.path.join(os.path.dirname(sae), 'metrics.jsonl')) as f:
    return [json.loads(line)['loss'] for line in f]


def read(folder: str) -> bytes:
  with open(os.path.join(folder, io.WEIGHTS), 'rb') as f:
    return f.read()


class Stop(Exception):
  """What ends a run before its time."""


class SweepTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    data = planted.sample(600)
    self.store = planted.write_store(
      os.path.join(self.folder, 'store'), data.image_ND, data.text_ND
    )

  def out(self, name: str) -> str:
    return os.path.join(self.folder, name)

  def members(self, *changes, **shared):
    return [member(self.store, **(shared | c)) for c in changes]

  @parameterized.parameters(
    'topk', 'batch_topk', 'relu', 'jumprelu', 'archetypal'
  )
  def test_members_are_their_own_single_runs(self, arch):
    changes = DIFFERENT if arch != 'relu' else DIFFERENT_L1
    shared = dict(arch=arch, aux_weight=1 / 32 if arch == 'topk' else 0)
    configs = self.members(*changes, **shared)
    singles = [
      loop.train(config, self.out(f'single{i}'))
      for i, config in enumerate(configs)
    ]
    for stack, mesh in (('loop', (1, 1)), ('vmap', None)):
      configs = self.members(*changes, **shared, mesh=mesh)
      found = sweep.sweep(configs, self.out(stack), stack=stack)
      for folder, alone in zip(found, singles, strict=True):
        self.assert_same(folder, alone)

  def assert_same(self, folder: str, alone: str):
    """The same curve and weights, to what 50 steps make of rounding."""
    np.testing.assert_allclose(losses(folder), losses(alone), rtol=2e-4)
    a, b = io.read_config(folder), io.read_config(alone)
    for name in ('arch', 'd', 's', 'k'):
      self.assertEqual(a[name], b[name])
    expected = weights(alone)
    for name, leaf in weights(folder).items():
      scale = max(np.abs(expected[name]).max(), 1e-6)
      np.testing.assert_allclose(
        leaf / scale, expected[name] / scale, atol=2e-4, err_msg=name
      )

  @parameterized.parameters(('loop', 1), ('vmap', 1), ('vmap', 8))
  def test_one_that_diverges_leaves_the_others_alone(self, stack, devices):
    # Its concepts die, and what shares its device takes the branch with AuxK.
    some = jax.devices()[:devices]
    sane = {'seed': 0}, {'seed': 1}
    wild = {'seed': 2, 'lr': 1e6}
    with mock.patch.object(jax, 'devices', lambda *_: some):
      alone, found = (
        sweep.sweep(
          self.members(*changes, steps=30, mesh=None),
          self.out(f'{len(changes)}'),
          stack=stack,
        )
        for changes in (sane, (*sane, wild))
      )
    for a, b in zip(alone, found[:2], strict=True):
      self.assertEqual(read(a), read(b))
    self.assertFalse(losses(found[2])[-1] < 1)

  @parameterized.parameters('loop', 'vmap')
  def test_resuming_gives_the_same_bits_and_each_batch_is_read_once(
    self, stack
  ):
    changes = {'seed': 0}, {'seed': 1}, {'latents': 48}
    configs = self.members(
      *changes,
      aux_weight=0,
      resample_every=5,
      ema=0.9,
      steps=RESUMED,
      checkpoint_every=8,
      mesh=(1, 1) if stack == 'loop' else None,
    )
    make, read_steps = loop.make_batch, []

    def counting(plan, mesh, step):
      read_steps.append(step)
      return make(plan, mesh, step)

    with mock.patch.object(loop, 'make_batch', counting):
      whole = sweep.sweep(configs, self.out('whole'), stack=stack)
    self.assertCountEqual(read_steps, range(RESUMED))

    def stopping(plan, mesh, step):
      if step >= 13:
        raise Stop
      return make(plan, mesh, step)

    with (
      mock.patch.object(loop, 'make_batch', stopping),
      contextlib.suppress(Stop),
    ):
      sweep.sweep(configs, self.out('parts'), stack=stack)
    self.assertEmpty([p for p in whole if os.path.exists(self.moved(p))])
    parts = sweep.sweep(configs, self.out('parts'), True, stack)
    for a, b in zip(whole, parts, strict=True):
      self.assertEqual(read(a), read(b))
      self.assertEqual(losses(a), losses(b))
    # What is whole is left as it is, and what lacks a dictionary is given it.
    os.remove(os.path.join(parts[1], io.CONFIG))
    again = sweep.sweep(configs, self.out('parts'), True, stack)
    self.assertEqual(read(again[1]), read(whole[1]))

  def moved(self, path: str) -> str:
    return path.replace(self.out('whole'), self.out('parts'))

  def test_auxk_is_for_the_dead_of_each_member_alone(self):
    shared = dict(steps=12, dead_after=64, latents=128, k=1, mesh=None)
    configs = self.members({'seed': 0}, {'seed': 1, 'lr': 1e-3}, **shared)
    found = sweep.sweep(configs, self.out('sweep'), stack='vmap')
    alone = loop.train(
      dataclasses.replace(configs[0], mesh=(1, 1)), self.out('single')
    )
    np.testing.assert_allclose(losses(found[0]), losses(alone), rtol=2e-4)

  def test_members_are_shared_out_over_devices(self):
    configs = self.members(*({'seed': s} for s in range(4)), steps=1)
    plans = sweep.make_plans(configs)
    (group,) = sweep.make_groups(configs, plans, 'vmap').values()
    engine = members.stacked(group, jax.devices())
    self.assertEqual(dict(engine.mesh.shape), {'stack': 4})
    w_dec = engine.start().params['w_dec']
    self.assertLen({s.device for s in w_dec.addressable_shards}, 4)

  def test_names_tell_what_members_differ_in(self):
    of = lambda *changes, **shared: sweep.names(
      self.members(*changes, **shared)
    )
    self.assertEqual(
      of({'k': 8}, {'k': 16, 'seed': 1}), ['k8-seed0', 'k16-seed1']
    )
    self.assertEqual(
      of({'lr': 1e-3, 'latents': 64}, {'lr': 5e-4, 'latents': 128}),
      ['latents64-k4-lr0.001-seed0', 'latents128-k4-lr0.0005-seed0'],
    )
    self.assertEqual(
      of({'settings': {'l1': 0.1}}, arch='relu'), ['l10.1-seed0']
    )

  def test_mistakes_are_told_and_leave_nothing(self):
    for changes, stack, message in (
      ([], 'auto', 'A sweep needs a member'),
      ([{}], 'scan', '--stack=scan is unknown'),
      ([{}, {}], 'auto', 'names k4-seed0 more than once'),
      ([{}, {'batch': 32}], 'auto', 'share batch; got 64 and 32'),
      ([{}, {'arch': 'relu'}], 'auto', 'share arch; got topk and relu'),
      ([{}, {'k': 65}], 'auto', '--k=65 is larger than the dictionary'),
      ([{'mesh': (1, 1)}], 'vmap', '--mesh is not for --stack=vmap'),
      ([{'mesh': (3, 1)}], 'loop', '--batch=64 must be a multiple of 3'),
    ):
      with self.assertRaisesRegex(errors.UserError, message):
        sweep.sweep(self.members(*changes), self.out('bad'), stack=stack)
      self.assertFalse(os.path.exists(self.out('bad')), message)

  def test_another_sweep_is_refused_and_left_alone(self):
    out = self.out('taken')
    sweep.sweep(self.members({'seed': 0}, steps=1), out)
    with self.assertRaisesRegex(errors.UserError, 'holds another run'):
      sweep.sweep(self.members({'seed': 0}, steps=1), out)
    with self.assertRaisesRegex(errors.UserError, r'seed: \[0\] → \[0, 1\]'):
      sweep.sweep(self.members({}, {'seed': 1}, steps=1), out, resume=True)


if __name__ == '__main__':
  absltest.main()
