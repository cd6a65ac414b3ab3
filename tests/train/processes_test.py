"""Two processes train one SAE: the curve of one, stopped and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from unittest import mock

from absl.testing import absltest
import jax
import numpy as np

from saejax import errors
from saejax import io
from saejax import sharding
from saejax.train import loop
from saejax.train import plan as plan_lib
from tests import planted
from tests.experiments import programs
from tests.experiments import server
from tests.train import loop_test

STEPS = 50
FLAGS = (
  '--arch=topk', '--latents=64', '--k=4', f'--steps={STEPS}', '--batch=64',
  '--lr=2e-3', '--mesh=4,2', '--log_every=1',
)  # fmt: skip
# Training, with batches that take their time: a signal finds it at work.
CODE = (
  'import time; from saejax import program; from saejax.train import loop; '
  'make = loop.make_batch; '
  'loop.make_batch = lambda *a: (time.sleep({pause}), make(*a))[1]; '
  'from experiments import train_sae; program.run(train_sae.main)'
)


def start(
  *flags: str, devices: int, pause: float = 0, **environment: str
) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, '-c', CODE.format(pause=pause), *FLAGS, *flags],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    env=programs.ENVIRONMENT
    | environment
    | {'JAX_NUM_CPU_DEVICES': str(devices)},
    cwd=server.ROOT,
    text=True,
  )


def start_two(*flags: str, pause: float = 0) -> list[subprocess.Popen]:
  given = f'--coordinator=127.0.0.1:{programs.free_port()}', '--num_processes=2'
  return [
    start(*flags, *given, f'--process_id={i}', devices=4, pause=pause)
    for i in range(2)
  ]


def start_two_as_slurm_does(*flags: str) -> list[subprocess.Popen]:
  told = {
    'SLURM_JOB_ID': '1',
    'SLURM_STEP_NODELIST': '127.0.0.1',
    'SLURM_NTASKS': '2',
    'JAX_COORDINATOR_PORT': str(programs.free_port()),
  }
  return [
    start(
      *flags,
      '--distributed',
      devices=4,
      **(told | {'SLURM_PROCID': str(i), 'SLURM_LOCALID': str(i)}),
    )
    for i in range(2)
  ]


def curve(out: str) -> list[dict[str, float]]:
  path = os.path.join(out, 'metrics.jsonl')
  if not os.path.exists(path):
    return []
  with open(path) as f:
    return [json.loads(line) for line in f if line.endswith('\n')]


class ProcessesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    data = planted.sample(1000)
    self.store = planted.write_store(
      os.path.join(self.folder, 'store'), data.image_ND, data.text_ND
    )

  def end(self, processes, status: int) -> list[str]:
    """Waits for all; returns what they complained of."""
    ended = [(p, *p.communicate(timeout=300)) for p in processes]
    for process, _, complaints in ended:
      self.assertEqual(process.returncode, status, complaints)
    return [complaints for _, _, complaints in ended]

  def test_two_follow_one_and_stop_together(self):
    given = f'--store={self.store}', f'--out={self.folder}/two'
    one = start(*given[:1], f'--out={self.folder}/one', devices=8)
    two = start_two(*given, pause=0.2)
    while len(curve(f'{self.folder}/two')) < 5 and two[1].poll() is None:
      time.sleep(0.05)
    two[1].send_signal(signal.SIGTERM)  # To the second alone.
    for complaints in self.end(two, 75):
      self.assertRegex(
        complaints, r'\AStopped by a signal after step \d+ of 50, .*\n\Z'
      )
    stopped = curve(f'{self.folder}/two')[-1]['step']
    self.assertBetween(stopped, 5, STEPS - 1)
    self.end([one, *start_two_as_slurm_does(*given, '--resume')], 0)
    expected, found = curve(f'{self.folder}/one'), curve(f'{self.folder}/two')
    self.assertEqual([m['step'] for m in found], list(range(1, STEPS + 1)))
    self.assertLess(expected[-1]['loss'], 0.9 * expected[0]['loss'])
    for name in ('loss', 'l0'):
      np.testing.assert_allclose(
        [m[name] for m in found], [m[name] for m in expected], rtol=2e-4
      )
    self.assertEqual(sorted(os.listdir(f'{self.folder}/two')), [
      'checkpoints', 'metrics.jsonl', 'run.json', 'sae',
    ])  # fmt: skip
    w_SD, v_SD = (
      io.load(f'{self.folder}/{n}/sae')[1]['params']['w_dec']
      for n in ('one', 'two')
    )
    np.testing.assert_allclose(w_SD, v_SD, atol=1e-3)
    made_by = io.read_config(f'{self.folder}/two/sae')['provenance']
    self.assertEqual(
      made_by['meshes'], [{'from_step': 0, 'mesh': [4, 2], 'processes': 2}]
    )

  def test_a_process_without_a_device_is_refused(self):
    plan = plan_lib.make_plan(loop_test.config(self.store, arch='topk'))
    mesh = sharding.make_mesh((4, 2))
    with (
      mock.patch.object(jax, 'process_count', return_value=2),
      self.assertRaisesRegex(
        errors.UserError, '--mesh=4,2 has no device of 1 of the 2 processes'
      ),
    ):
      loop.check_mesh(plan, mesh)


if __name__ == '__main__':
  absltest.main()
