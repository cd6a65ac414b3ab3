"""Runs that a signal stops, and runs that go on elsewhere."""

import contextlib
import dataclasses
import json
import os
import signal
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import errors
from saejax import io
from saejax import preemption
from saejax import run
from saejax import sharding
from saejax.train import checkpoint
from saejax.train import loop
from tests import meshes
from tests import planted
from tests.train import loop_test
from tests.train import step_test

STEPS = 24


@contextlib.contextmanager
def signal_at(step: int, number: signal.Signals):
  """Sends this process a signal while the batch of a step is made."""
  make = loop.make_batch

  def signalling(plan, mesh, i):
    if i == step:
      os.kill(os.getpid(), number)
    return make(plan, mesh, i)

  with mock.patch.object(loop, 'make_batch', signalling):
    yield


def losses(out: str) -> list[float]:
  with open(os.path.join(out, 'metrics.jsonl')) as f:
    return [json.loads(line)['loss'] for line in f]


def weights(dictionary: str) -> bytes:
  with open(os.path.join(dictionary, io.WEIGHTS), 'rb') as f:
    return f.read()


class ResumingTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    data = planted.sample(1000)
    cls.store = planted.write_store(
      os.path.join(cls.folder, 'store'), data.image_ND, data.text_ND
    )

  def setUp(self):
    super().setUp()
    self.out = os.path.join(self.create_tempdir().full_path, 'run')

  def whole(self, *mesh: int) -> str:
    """The folder of a run that nothing stopped."""
    out = os.path.join(self.folder, 'x'.join(map(str, mesh)))
    loop.train(self.config(mesh=mesh), out, resume=True)  # Once for all tests.
    return out

  def config(self, **changes):
    given = (
      dict(arch='topk', steps=STEPS, batch=64, log_every=1, aux_weight=0)
      | changes
    )
    return loop_test.config(self.store, **given)

  @parameterized.parameters(signal.SIGTERM, signal.SIGUSR1)
  def test_a_signal_stops_it_and_it_goes_on_to_the_same_bits(self, number):
    with (
      signal_at(9, number),
      self.assertRaisesRegex(errors.Stopped, r'step \d+ of 24, .*--resume'),
    ):
      loop.train(self.config(), self.out)
    stopped = len(losses(self.out))
    self.assertBetween(stopped, 9 - loop._LOADERS, 10)
    self.assertEqual(
      os.listdir(os.path.join(self.out, 'checkpoints')), [str(stopped)]
    )
    resumed = loop.train(self.config(), self.out, resume=True)
    whole = self.whole(1, 1)
    self.assertEqual(weights(f'{whole}/sae'), weights(resumed))
    self.assertEqual(losses(whole), losses(self.out))

  def test_a_signal_at_the_last_step_lets_it_end(self):
    at_last = contextlib.nullcontext(lambda step: step == 2)
    with mock.patch.object(preemption, 'watch', return_value=at_last):
      path = loop.train(self.config(steps=2), self.out)
    self.assertEqual(io.load(path)[0].k, 4)

  def test_it_goes_on_on_other_meshes_which_are_recorded(self):
    for start, mesh in ((8, (8, 1)), (16, (2, 4)), (None, (1, 1))):
      asked = self.config(mesh=mesh, checkpoint_every=8)
      stop = loop_test.stop_at(start or STEPS)
      with contextlib.suppress(loop_test.Stop), stop:
        done = loop.train(asked, self.out, resume=True)
    whole = self.whole(1, 1)
    np.testing.assert_allclose(losses(self.out), losses(whole), rtol=2e-4)
    np.testing.assert_allclose(
      *(io.load(path)[1]['params']['w_dec'] for path in (done, f'{whole}/sae')),
      atol=1e-3,
    )
    parts = [
      {'from_step': step, 'mesh': mesh, 'processes': 1}
      for step, mesh in ((0, [8, 1]), (8, [2, 4]), (16, [1, 1]))
    ]
    self.assertEqual(run.read(self.out)['meshes'], parts)
    self.assertEqual(io.read_config(done)['provenance']['meshes'], parts)
    self.assertEqual(run.read(self.out)['config']['mesh'], [8, 1])
    for change in (dict(batch=128), dict(k=5)):
      other = dataclasses.replace(asked, mesh=(4, 2), **change)
      name = next(iter(change))
      with self.assertRaisesRegex(
        errors.UserError, rf'other settings \({name}: \d+ → \d+\)'
      ):
        loop.train(other, self.out, resume=True)

  @parameterized.parameters((2, 4), (1, 1))
  def test_a_checkpoint_is_the_same_numbers_on_another_mesh(self, *shape):
    with meshes.use((8, 1)) as mesh:
      state, _, _ = step_test.make('batch_topk', mesh)
      manager = checkpoint.open_manager(self.out, keep=1)
      with contextlib.closing(manager):
        checkpoint.save(manager, 3, state)
    with meshes.use(shape) as mesh:
      other, shardings, _ = step_test.make('batch_topk', mesh, seed=1)
      manager = checkpoint.open_manager(self.out, keep=1)
      with contextlib.closing(manager):
        found, step = checkpoint.restore_latest(manager, other)
    self.assertEqual(step, 3)
    self.assertFalse(
      np.array_equal(other.params['w_dec'], state.params['w_dec'])
    )
    jax.tree.map(np.testing.assert_array_equal, found, state)
    jax.tree.map(lambda x, s: self.assertEqual(x.sharding, s), found, shardings)
    w_dec = found.params['w_dec'].sharding
    self.assertEqual(w_dec.spec, sharding.RULES['w_dec'])


if __name__ == '__main__':
  absltest.main()
