"""A disk that fills up: one line, nothing half-written, and it goes on."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax.train import checkpoint
from tests import planted
from tests.experiments import programs

RUNNER: programs.Programs
LINE = (
  'The disk is full. Finished shards and checkpoints are kept: free some space '
  'and run the same command again (with --resume, for training).\n'
)


def setUpModule():
  global RUNNER
  RUNNER = programs.Programs()


def tearDownModule():
  RUNNER.close()


def read(folder: str) -> dict[str, bytes]:
  paths = pathlib.Path(folder).iterdir()
  return {p.name: p.read_bytes() for p in paths if p.is_file()}


def unfinished(folder: str) -> list[str]:
  """What a write that failed might leave behind."""
  names = [p.name for p in pathlib.Path(folder).rglob('*')]
  return [n for n in names if n.endswith('.tmp') or 'checkpoint-tmp' in n]


class FullDiskTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path

  def path(self, name: str) -> str:
    return os.path.join(self.folder, name)

  def assert_full(self, done: programs.Done):
    self.assertEqual(done, programs.Done(1, '', LINE))
    self.assertEqual(unfinished(self.folder), [])

  def assert_done(self, done: programs.Done):
    self.assertEqual((done.status, done.stderr), (0, ''))

  def inputs(self, n: int, d: int) -> list[str]:
    x_2ND = np.random.default_rng(0).normal(size=(2, n, d)).astype(np.float32)
    np.save(self.path('pairs.npy'), x_2ND)
    return [f'--pairs={self.path("pairs.npy")}']

  def test_finished_shards_are_kept_and_not_written_again(self):
    given = self.inputs(70_000, 2)  # Two shards an image and a text.
    run = lambda out, full=None: RUNNER.run(
      'import_embeddings', [*given, f'--out={self.path(out)}'], full
    )
    self.assert_done(run('whole'))
    self.assertLen(read(self.path('whole')), 5)
    self.assert_full(run('store', ('arrays', 3)))
    kept = ['image-00000.safetensors', 'image-00001.safetensors']
    self.assertContainsSubset(kept, os.listdir(self.path('store')))
    self.assertNotIn('text-00000.safetensors', os.listdir(self.path('store')))
    times = lambda: [
      os.stat(os.path.join(self.path('store'), n)).st_mtime_ns for n in kept
    ]
    before = times()
    self.assert_done(run('store'))
    self.assertEqual(times(), before)
    self.assertEqual(read(self.path('store')), read(self.path('whole')))

  def test_whichever_file_finds_no_room_the_store_is_the_same_in_the_end(self):
    given = self.inputs(40, 3)
    for name in ('captions', 'image_paths'):
      pathlib.Path(self.path(f'{name}.txt')).write_text(f'{name}\n' * 40)
      given.append(f'--{name}={self.path(name)}.txt')
    run = lambda out, full=None: RUNNER.run(
      'import_embeddings', [*given, f'--out={self.path(out)}'], full
    )
    self.assert_done(run('whole'))
    # The journal's head, then arrays, words and a line of each stream, then
    # the manifest.
    for n in range(1, 9):
      self.assert_full(run(f'store{n}', ('files', n)))
      self.assert_done(run(f'store{n}'))
      self.assertEqual(read(self.path(f'store{n}')), read(self.path('whole')))
    self.assert_done(run('store9', ('files', 9)))

  def test_training_goes_on_to_the_same_bits(self):
    data = planted.sample(200)
    planted.write_store(self.path('store'), data.image_ND, data.text_ND)
    given = [
      f'--store={self.path("store")}', '--latents=64', '--k=2', '--steps=6',
      '--batch=32', '--checkpoint_every=2', '--log_every=2', '--resume',
    ]  # fmt: skip
    run = lambda out, full=None: RUNNER.run(
      'train_sae', [*given, f'--out={self.path(out)}'], full
    )
    self.assert_done(run('whole'))
    checkpoints = lambda: sorted(os.listdir(self.path('parts/checkpoints')))
    self.assert_full(run('parts', ('checkpoints', 2)))
    self.assertEqual(checkpoints(), ['2'])
    self.assert_full(run('parts', ('arrays', 1)))  # The dictionary itself.
    self.assertEqual(checkpoints(), ['4', '6'])
    self.assertNotIn('config.json', os.listdir(self.path('parts/sae')))
    self.assert_done(run('parts'))
    weights = lambda out: read(self.path(f'{out}/sae'))['sae.safetensors']
    self.assertEqual(weights('parts'), weights('whole'))
    lines = lambda out: read(self.path(out))['metrics.jsonl'].count(b'\n')
    self.assertEqual((lines('parts'), lines('whole')), (3, 3))

  def test_what_orbax_left_half_written_goes_when_it_is_closed(self):
    manager = checkpoint.open_manager(self.path('checkpoints'), keep=2)
    state = {'x': np.arange(3.0)}
    checkpoint.save(manager, 1, state)
    manager.wait_until_finished()
    os.makedirs(self.path('checkpoints/2.orbax-checkpoint-tmp/default'))
    manager.close()
    self.assertEqual(os.listdir(self.path('checkpoints')), ['1'])


def has_small_disks() -> bool:
  """Whether a disk of a few bytes can be made here, by `mount`."""
  if not sys.platform.startswith('linux') or not shutil.which('unshare'):
    return False
  with tempfile.TemporaryDirectory() as at:
    made = ['unshare', '-rm', 'mount', '-t', 'tmpfs', 'tmpfs', at]
    return subprocess.run(made, capture_output=True).returncode == 0


@absltest.skipUnless(has_small_disks(), 'No disk can be mounted here.')
class SmallDiskTest(absltest.TestCase):
  """The truth: disks that are full, with nothing put in anyone's place."""

  def test_programs_fail_in_one_line_and_tidy_up(self):
    folder = self.create_tempdir().full_path
    disk = os.path.join(folder, 'disk')
    os.mkdir(disk)
    data = planted.sample(400)
    store = planted.write_store(
      os.path.join(folder, 'store'), data.image_ND, data.text_ND
    )
    np.save(os.path.join(folder, 'a.npy'), data.image_ND)
    start = f'{sys.executable} -m experiments.'
    script = f"""
      mount -t tmpfs -o size=120k tmpfs {disk} || exit 99
      {start}import_embeddings --image={folder}/a.npy --text={folder}/a.npy \\
        --out={disk}/store; echo status $?
      ls {disk}/store; rm -r {disk}/store
      {start}train_sae --store={store} --latents=64 --k=2 --steps=4 \\
        --batch=32 --checkpoint_every=2 --out={disk}/run; echo status $?
      ls {disk}/run {disk}/run/checkpoints
    """
    done = subprocess.run(
      ['unshare', '-rm', 'sh', '-c', script],
      capture_output=True,
      env=programs.ENVIRONMENT,
      text=True,
    )
    self.assertEqual(done.stderr, LINE + LINE)
    imported, trained = done.stdout.split('status 1\n')[1:]
    self.assertEqual(
      imported.split(),
      ['image-00000.safetensors', 'journal.0.jsonl', 'journal.spec.json'],
    )
    self.assertEqual(
      trained.split(),
      [
        f'{disk}/run:', 'checkpoints', 'metrics.jsonl', 'run.json',
        f'{disk}/run/checkpoints:',
      ],
    )  # fmt: skip


if __name__ == '__main__':
  absltest.main()
