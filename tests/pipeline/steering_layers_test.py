"""Over layers a class passes by a p that is corrected for all of them."""

import os

from absl.testing import absltest
import numpy as np

from saejax import results
from saejax.pipeline import steering_layers

NULLS = 399


def found(p: dict[str, float], rise: float) -> dict:
  """Of one layer: p by class."""
  at = 'steer/image/adjusted'
  entries = {
    'steer/answer/means/red/p': results.p_entry(0.001, NULLS),
    f'{at}/causal_classes': results.entry(1),
    'steer/image/random/chosen/rise': results.entry(0.0)
    | {'low': -0.01, 'high': 0.01},
    f'{at}/chosen/rise': results.entry(rise)
    | {'low': rise - 0.1, 'high': rise + 0.1},
  }
  for name, value in p.items():
    entries[f'{at}/{name}/p'] = results.p_entry(value, NULLS)
    entries[f'{at}/{name}/p_holm'] = results.p_entry(value, NULLS)
    entries[f'{at}/{name}/rise'] = results.entry(rise)
  return entries


class OverLayersTest(absltest.TestCase):
  def test_the_correction_is_for_classes_at_layers(self):
    # Of the first layer alone red would pass.
    by_layer = {
      1: found({'red': 0.03, 'blue': 0.0025}, 0.3),
      3: found({'red': 0.9, 'blue': 0.0025}, 0.5),
    }
    e = steering_layers.over_layers(by_layer, NULLS)
    self.assertEqual(e['causal_classes']['value'], 1)
    self.assertEqual(e['causal_classes']['n'], 2)
    self.assertAlmostEqual(e['blue/p_holm']['value'], 4 * 0.0025)
    self.assertAlmostEqual(e['red/p_holm']['value'], 2 * 0.03)
    self.assertEqual(e['blue/layer']['value'], 3)  # It rises most there.
    self.assertEqual(e['red/layer']['value'], 1)
    self.assertEqual(results.p_words(e['blue/p_holm']), '≤ 0.01')

  def test_of_no_effect_at_many_layers_one_class_in_twenty_passes_at_most(self):
    rng = np.random.default_rng(0)
    passed = []
    for _ in range(300):
      by_layer = {
        n: found({c: rng.integers(1, 401) / 400 for c in 'abcde'}, 0.0)
        for n in range(4)
      }
      e = steering_layers.over_layers(by_layer, NULLS)
      passed.append(e['causal_classes']['value'] > 0)
    self.assertLess(np.mean(passed), 0.08)

  def test_writes_results_and_a_figure(self):
    out = os.path.join(self.create_tempdir().full_path, 'steer')
    by_layer = {1: found({'red': 0.02, 'blue': 0.3}, 0.3)}
    steering_layers.compare({'colour': by_layer}, NULLS).write(out)
    read = results.read(out)
    self.assertEqual(read['steer/colour/red/layer']['value'], 1)
    self.assertTrue(os.path.exists(f'{out}/figures/by_layer.svg'))


if __name__ == '__main__':
  absltest.main()
