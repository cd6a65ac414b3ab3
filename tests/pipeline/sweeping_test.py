"""A sweep's table, figure and numbers, which are those of `evaluate`."""

import csv
import os

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import errors
from saejax import io
from saejax import nn
from saejax import results
from saejax.pipeline import evaluation
from saejax.pipeline import sweeping
from saejax.train import config as config_lib
from tests import planted


class SweepingTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    data = planted.sample(300)
    self.store = planted.write_store(
      self.path('store'), data.image_ND, data.text_ND
    )
    config = lambda k: config_lib.TrainConfig(
      store=self.store, arch='topk', latents=64, k=k
    )
    self.configs = [config(2), config(4)]
    self.saes = []
    for asked in self.configs:
      sae = nn.TopK(d=planted.D, s=64, k=asked.k)
      self.saes.append(self.path(f'sae{asked.k}'))
      variables = sae.init(jax.random.key(0), method=lambda m: m.w_dec)
      io.save(self.saes[-1], sae, variables)

  def path(self, name: str) -> str:
    return os.path.join(self.folder, name)

  def test_numbers_are_those_of_evaluate_on_val(self):
    entries = sweeping.evaluate(self.configs, self.saes)
    for name, sae in zip(('k2-seed0', 'k4-seed0'), self.saes, strict=True):
      expected = evaluation.evaluate(sae, self.store, 'val')
      for key in ('r2', 'l0'):
        self.assertEqual(entries[f'{name}/{key}'], expected[key])
      silent = entries[f'{name}/silent']
      self.assertEqual(silent['n'], expected['r2']['n'])
      self.assertEqual(silent['split'], 'val')
      self.assertBetween(silent['value'], 0, 0.9)

  def test_what_diverged_is_a_dash_and_not_in_the_figure(self):
    sae, variables = io.load(self.saes[0])
    params = jax.tree.map(lambda x: x * np.nan, variables['params'])
    io.save(self.saes[0], sae, variables | {'params': params})
    out = self.path('out')
    entries = sweeping.write(out, self.configs, self.saes)
    self.assertEqual(results.read(out), entries)
    head, first, second, said = sweeping.table(
      self.configs, entries
    ).splitlines()
    self.assertEqual(head.split(), ['member', 'R²', 'L0', 'silent'])
    self.assertEqual(first.split()[:2], ['k2-seed0', '—'])
    self.assertEqual(second.split()[0], 'k4-seed0')
    self.assertEqual(said, f'on n={entries["k4-seed0/r2"]["n"]} rows of val')
    with open(os.path.join(out, 'figures', 'sweep.csv'), newline='') as f:
      rows = [*csv.DictReader(f)]
    self.assertEqual([r['member'] for r in rows], ['k2-seed0', 'k4-seed0'])
    self.assertEqual(rows[0]['r2'], '')
    for ending in ('png', 'svg'):
      self.assertTrue(os.path.exists(f'{out}/figures/sweep.{ending}'))

  def test_a_store_without_val_is_told(self):
    data = planted.sample(30)
    path = planted.write_store(
      self.path('whole'), data.image_ND, data.text_ND, (1.0, 0.0, 0.0)
    )
    with self.assertRaisesRegex(errors.UserError, 'no rows in val'):
      sweeping.check(config_lib.TrainConfig(store=path))


if __name__ == '__main__':
  absltest.main()
