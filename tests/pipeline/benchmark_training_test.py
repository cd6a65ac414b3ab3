"""What is timed is a step of training; who cannot run is left out, and told."""

import dataclasses
import sys
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import errors
from saejax import results
from saejax.pipeline import benchmark_device
from saejax.pipeline import benchmark_stages
from saejax.pipeline import benchmark_steps
from saejax.pipeline import benchmark_training
from saejax.pipeline import benchmarking
from saejax.pipeline import peers
from tests.pipeline import fake_peer

SHAPE = benchmark_steps.Shape(d=16, s=64, k=4, b=32)
ASKED = benchmark_training.Asked(
  shapes=(str(SHAPE),),
  archs=('topk',),
  dtypes=('float32',),
  rounds=2,
  steps=3,
  aux=False,
  clip=1.0,
  peers_python=None,
  peers=peers.NAMES,
)


def setting(**changes) -> benchmark_steps.Setting:
  given = dict(arch='topk', shape=SHAPE, steps=40, aux=False, clip=1.0)
  return benchmark_steps.Setting(**given | changes)


class ShapeTest(parameterized.TestCase):
  def test_reads_what_it_writes(self):
    self.assertEqual(benchmark_steps.parse_shape(str(SHAPE)), SHAPE)

  @parameterized.parameters(
    '', '16x64x4', '16x64x4x0', '16×64×4×32', 'a', '4x4x5x1'
  )
  def test_mistakes_are_told(self, text):
    with self.assertRaisesRegex(errors.UserError, '--shapes: '):
      benchmark_steps.parse_shape(text)


class FloorTest(absltest.TestCase):
  def test_is_the_time_of_operations_and_bytes(self):
    shape = benchmark_steps.Shape(d=10, s=100, k=2, b=5)
    operations = 2 * 5 * 10 * 100
    moved = 28 * (2 * 1000 + 100 + 10) + 4 * 4 * 5 * 2 * 10
    found = benchmark_steps.floor(shape, flops=7.0, bandwidth=3.0)
    self.assertAlmostEqual(found, operations / 7 + moved / 3)

  def test_devices_are_measured(self):
    self.assertGreater(benchmark_device.bandwidth(1, rounds=1), 0)
    self.assertGreater(benchmark_device.matmul_peak('float32', 32, 1), 0)


class OursTest(parameterized.TestCase):
  @parameterized.parameters(('topk', True), ('batch_topk', False))
  def test_trains(self, arch, aux):
    x_ND = benchmark_steps.planted_rows(SHAPE)
    ours = benchmark_steps.Ours(setting(arch=arch, aux=aux), 'float32', x_ND)
    before = ours.error()
    self.assertGreater(ours.time(40), 0)
    self.assertLess(ours.error(), before)
    self.assertEqual(int(ours.state.step), 40)
    self.assertGreater(ours.peak_memory(), 2 * 4 * 2 * SHAPE.d * SHAPE.s)

  def test_batches_come_in_order_and_never_the_held_out_rows(self):
    x_ND = benchmark_steps.planted_rows(SHAPE)
    ours = benchmark_steps.Ours(setting(), 'float32', x_ND)
    b, n = SHAPE.b, len(x_ND) // SHAPE.b - 1
    found = [np.asarray(batch.x_BD) for batch in ours._batches(n + 1)]
    np.testing.assert_array_equal(np.concatenate(found[:-1]), x_ND[:-b])
    np.testing.assert_array_equal(found[-1], x_ND[:b])

  def test_r2_is_of_the_held_out_rows_about_their_mean(self):
    x_ND = benchmark_steps.planted_rows(SHAPE)
    held_BD = x_ND[-SHAPE.b :].astype(np.float64)
    around_mean = float(((held_BD - held_BD.mean(0)) ** 2).sum())
    self.assertAlmostEqual(
      benchmark_steps.r2(around_mean / 4, x_ND, SHAPE.b), 0.75
    )


class StagesTest(parameterized.TestCase):
  @parameterized.parameters(('topk', True), ('batch_topk', False))
  def test_updates_as_a_step_does(self, arch, aux):
    x_ND = benchmark_steps.planted_rows(SHAPE)
    ours = benchmark_steps.Ours(setting(arch=arch, aux=aux), 'float32', x_ND)
    ours.time(5)
    ours.at = 0
    with jax.set_mesh(ours.mesh):
      calls = benchmark_stages._pieces(ours)
      params, _ = jax.device_get(calls['optimiser']())
    self.assertEqual('auxk' in calls, aux)
    ours.time(1)
    expected = jax.device_get(ours.state.params)
    for name, value in expected.items():
      np.testing.assert_allclose(params[name], value, rtol=1e-5, atol=1e-6)


class CheckTest(parameterized.TestCase):
  @parameterized.parameters(
    (dict(dtypes=('int8',)), "--dtypes: 'int8' is not measured; choose of"),
    (dict(archs=()), '--archs is empty'),
    (dict(shapes=()), '--shapes is empty'),
    (dict(rounds=0), '--rounds=0 and --steps=3 must be positive'),
    (dict(clip=-1.0), '--clip=-1 must not be negative'),
    (dict(mesh=(3, 1)), '--mesh=3,1 does not divide 16x64x4x32'),
    (dict(peers=('some',)), "--peers: there is no peer 'some'"),
  )
  def test_mistakes_are_told(self, changes, message):
    with self.assertRaisesRegex(errors.UserError, message):
      benchmark_training.check(dataclasses.replace(ASKED, **changes))


class TrainingTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(mock.patch.object(benchmark_training, '_MATMUL', 32))
    self.enter_context(mock.patch.object(benchmark_training, '_MIB', 1))

  def test_ours_alone(self):
    out = self.create_tempdir().full_path
    asked = dataclasses.replace(ASKED, dtypes=('bfloat16',))
    found = benchmarking.measure_training(asked, out)
    base = f'train/topk/{SHAPE}/bfloat16/saejax'
    entry = results.read(out)[f'{base}/rows_per_s']
    self.assertEqual(entry['n'], 2)
    self.assertBetween(entry['value'], entry['low'], entry['high'])
    self.assertIn(f'{base}/stage/select', found.entries)
    self.assertEmpty(found.left_out)

  def test_a_mesh_is_named(self):
    out = self.create_tempdir().full_path
    asked = dataclasses.replace(ASKED, rounds=1, mesh=(1, 2))
    found = benchmarking.measure_training(asked, out)
    self.assertIn(f'train/topk/{SHAPE}/float32/saejax_1x2/step', found.entries)
    with open(f'{out}/{benchmarking.TABLE}', encoding='utf-8') as f:
      self.assertIn('| saejax 1×2 |', f.read())

  def test_peers_that_fail_are_left_out_and_told(self):
    out = self.create_tempdir().full_path
    asked = dataclasses.replace(ASKED, peers_python=sys.executable)
    with mock.patch.object(peers, 'SCRIPT', fake_peer.__file__):
      found = benchmarking.measure_training(asked, out)
    self.assertLen(found.left_out, 3)
    for line, why in zip(
      found.left_out,
      ('ran out of memory', 'no such variant', 'its process ended: the last w'),
      strict=True,
    ):
      self.assertRegex(line, f'is left out of topk {SHAPE}: {why}')
    base = f'train/topk/{SHAPE}/float32'
    value = lambda name: found.entries[f'{base}/{name}']['value']
    self.assertAlmostEqual(value('overcomplete/step'), 1)
    times = found.entries[f'{base}/overcomplete/saejax_times']
    step = found.entries[f'{base}/saejax/step']
    self.assertAlmostEqual(times['high'], 1 / step['low'])
    self.assertAlmostEqual(times['low'], 1 / step['high'])
    self.assertAlmostEqual(value('overcomplete/rows_per_s'), 1000 * SHAPE.b)
    steps = 2 + 2 * (1 + 3)  # All that ours has taken too.
    self.assertAlmostEqual(value('overcomplete/r2'), 1 - 1 / (1 + steps))
    self.assertEqual(found.entries[f'{base}/saejax/r2']['n'], steps)
    self.assertNotIn(f'{base}/sparsify/step', found.entries)
    with open(f'{out}/{benchmarking.TABLE}', encoding='utf-8') as f:
      table = f.read()
    self.assertRegex(table, r'\| topk \| 16×64×4×32 \| float32 \| overcomplete')
    self.assertIn('sparsify is left out of', table)

  def test_a_peer_that_is_not_installed_says_so(self):
    peer = peers.Peer('dictionary_learning', sys.executable)
    self.addCleanup(peer.close)
    peer.prepare(**setting().asked(), device='cpu', threads=1, data='none.npy')
    self.assertRegex(peer.problem, 'Error: ')
    self.assertIsNone(peer.time(1))
    self.assertIsNone(peer.error())


if __name__ == '__main__':
  absltest.main()
