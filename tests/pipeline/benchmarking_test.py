"""What is measured is what is said: the arithmetic of speed, not speed."""

import time

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saejax import errors
from saejax import results
from saejax.models import families
from saejax.pipeline import benchmark_models
from saejax.pipeline import benchmarking
from saejax.pipeline import timing
from tests.models import parity


class TimingTest(absltest.TestCase):
  def test_calls_take_turns_and_each_second_one_counts(self):
    order = []

    def call(name):
      def run():
        order.append(name)
        time.sleep(0.01 if order.count(name) % 2 else 0.2)

      return run

    found = timing.in_turns({'a': call('a'), 'b': call('b')}, 3, 'test')
    self.assertEqual(order, ['a', 'b'] + ['a', 'a', 'b', 'b'] * 3)
    for seconds_R in found.values():
      self.assertEqual(seconds_R.shape, (3,))
      self.assertLess(seconds_R.max(), 0.2)
      self.assertGreaterEqual(seconds_R.min(), 0.01)

  def test_a_rate_is_the_median_with_its_range(self):
    found = timing.rate(np.array([1.0, 2.0, 4.0]), 8)
    self.assertEqual(
      (found['value'], found['low'], found['high'], found['n']), (4, 2, 8, 3)
    )


class ModelsTest(parameterized.TestCase):
  def test_operations_are_those_of_the_matmuls(self):
    config = benchmark_models.CONFIGS['clip-small']
    module = families.build(config)
    params = families.abstract_params(module)
    image = jax.ShapeDtypeStruct((4, 48, 48, 3), jnp.float32)
    found = benchmark_models._flops(
      lambda p, x: module.apply({'params': p}, x, method='image')[0],
      params,
      image,
    )
    d, f, t, layers = 96, 384, 37, 4
    linear = 2 * t * (4 * d * d + 2 * d * f) * layers
    attention = 4 * t * t * d * layers
    patches = 2 * 36 * d * 192
    # What is left is norms, activations and softmaxes.
    least = 4 * (linear + attention + patches)
    self.assertBetween(found, least, 1.15 * least)

  @parameterized.parameters(*benchmark_models.CONFIGS)
  def test_inputs_fit_the_models(self, name):
    module = families.build(benchmark_models.CONFIGS[name])
    params = families.abstract_params(module)
    for way, inputs in (
      ('image', benchmark_models.image_inputs(module, 2)),
      ('text', benchmark_models.text_inputs(module, 2, 8)),
    ):
      rows, _ = jax.eval_shape(
        lambda p, x, way=way: module.apply({'params': p}, x, method=way),
        params,
        inputs.ours,
      )
      self.assertEqual(rows.shape, (2, module.config.projection_dim))

  @parity.needs_torch
  def test_the_peer_is_the_same_model_in_size(self):
    out = self.create_tempdir().full_path
    entries = benchmarking.measure_models(
      ['clip-small'], batch=2, rounds=2, dtype='float32', with_torch=True
    )
    for way in ('image', 'text'):
      for who in ('saejax', 'torch', 'ratio'):
        self.assertGreater(entries[f'clip-small/{way}/{who}']['value'], 0)
    benchmarking.write(out, entries)
    self.assertEqual(set(results.read(out)), set(entries))

  @parameterized.parameters(
    (dict(names=['clip-giant']), "no model 'clip-giant' to measure"),
    (dict(batch=0), '--batch=0, --rounds=1 and .*must be positive'),
    (dict(names=['llava-100x2']), 'llava-100x2 must have a width'),
  )
  def test_mistakes_are_told(self, changes, message):
    asked = dict(
      names=['clip-small'], batch=1, rounds=1, dtype='float32', with_torch=False
    )
    with self.assertRaisesRegex(errors.UserError, message):
      benchmarking.measure_models(**asked | changes)


if __name__ == '__main__':
  absltest.main()
