"""Stability of dictionaries whose likeness is known, and of diets."""

import fractions
import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax import errors
from saejax import results
from saejax.pipeline import stability_folder
from saejax.pipeline import stability_runs
from saejax.store import files
from saejax.train import config as config_lib
from saejax.train import plan as plan_lib
from tests import planted
from tests.pipeline import truth

N, SPLITS = 2400, (0.5, 0.25, 0.25)
F = fractions.Fraction


def say(_: str) -> None:
  pass


class StabilityTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    data = planted.sample(N)
    cls.atoms_SD = data.atoms_SD
    cls.store = planted.write_store(
      os.path.join(cls.folder, 'store'), data.image_ND, data.text_ND, SPLITS
    )
    rng = np.random.default_rng(0)
    # The same world through another model: a rotation.
    cls.turn_DD = np.linalg.qr(rng.normal(size=(planted.D, planted.D)))[0]
    cls.turned = planted.write_store(
      os.path.join(cls.folder, 'turned'),
      (data.image_ND @ cls.turn_DD).astype(np.float32),
      (data.text_ND @ cls.turn_DD).astype(np.float32),
      SPLITS,
    )
    cls.true = truth.save(
      os.path.join(cls.folder, 'a', 'sae'), cls.store, data.atoms_SD, seed=0
    )

  def out(self) -> str:
    return self.enter_context(tempfile.TemporaryDirectory())

  def config(self, **kw) -> config_lib.TrainConfig:
    return config_lib.TrainConfig(
      store=self.store, arch='topk', latents=32, k=3, steps=60, batch=128,
      lr=1e-2, checkpoint_every=60, **kw,
    )  # fmt: skip

  def test_a_permuted_copy_is_wholly_stable(self):
    order_S = np.random.default_rng(1).permutation(len(self.atoms_SD))
    copy = truth.save(
      os.path.join(self.out(), 'b', 'sae'), self.store,
      self.atoms_SD[order_S], seed=1,
    )  # fmt: skip
    out = self.out()
    found = stability_folder.compare_runs(
      [self.true, copy], [self.store], out, say=say
    )
    for name in ('mean', 'energy_weighted', 'top', 'activation_correlation'):
      self.assertAlmostEqual(found[f'seed/{name}']['value'], 1, places=4)
    concepts = len(self.atoms_SD)
    self.assertEqual(found['seed/mean']['n'], concepts)
    for name in ('rarest_tenth', 'commonest_tenth'):
      self.assertAlmostEqual(found[f'seed/{name}']['n'], concepts / 10, delta=1)
    self.assertLess(found['floor/isotropic']['value'], 0.6)
    self.assertNotIn('seed/shared_start', found)
    by_concept = files.map_arrays(os.path.join(out, stability_folder.MATCHED))
    for value_S in by_concept.values():
      np.testing.assert_allclose(value_S, 1, atol=1e-4)
    for name in ('stability', 'tenths'):
      self.assertTrue(
        os.path.exists(os.path.join(out, 'figures', f'{name}.svg'))
      )

  def test_unrelated_dictionaries_lie_at_the_floor(self):
    other_SD = np.random.default_rng(2).normal(size=self.atoms_SD.shape)
    other_SD /= np.linalg.norm(other_SD, axis=1, keepdims=True)
    other = truth.save(
      os.path.join(self.out(), 'b', 'sae'), self.store, other_SD, seed=1
    )
    found = stability_folder.compare_runs(
      [self.true, other], [self.store], self.out(), say=say
    )
    self.assertAlmostEqual(
      found['seed/mean']['value'], found['floor/isotropic']['value'], delta=0.06
    )
    self.assertLess(found['seed/activation_correlation']['value'], 0.5)

  def test_models_are_matched_by_what_concepts_do(self):
    turned = truth.save(
      os.path.join(self.out(), 'b', 'sae'), self.turned,
      self.atoms_SD @ self.turn_DD, seed=1,
    )  # fmt: skip
    found = stability_folder.compare_runs(
      [self.true, turned], [self.store, self.turned], self.out(), say=say
    )
    self.assertAlmostEqual(
      found['across/a|b/correlation']['value'], 1, places=3
    )
    null = found['across/a|b/correlation_permuted']
    self.assertLess(null['low'], 0.02)
    self.assertLess(abs(null['value']), 0.05)

  def test_trains_seeds_and_diets_and_goes_on(self):
    out, config = self.out(), self.config()
    configs = stability_runs.runs(config, [0, 1], [0], (F(1, 4), F(1, 2)))
    self.assertLen(configs, 2 + 2 * 3)
    found = stability_folder.train_and_compare(configs, out, say=say)
    self.assertGreater(
      found['seed/mean']['value'], found['floor/isotropic']['value'] + 0.1
    )
    for name in ('share=0.250', 'share=0.500', 'control'):
      entry = found[f'diet/{name}/mean']
      self.assertBetween(entry['value'], 0.2, 1)
      self.assertLessEqual(entry['low'], entry['value'])
    self.assertTrue(os.path.exists(os.path.join(out, 'figures', 'diets.csv')))
    os.remove(os.path.join(out, results.RESULTS))
    again = stability_folder.train_and_compare(configs, out, say=say)
    self.assertEqual(again, found)

  def test_a_shared_start_is_told(self):
    said = []
    configs = stability_runs.runs(self.config(), [0], [0, 1])
    found = stability_folder.train_and_compare(
      configs, self.out(), say=said.append
    )
    self.assertEqual(found['data_seed/shared_start']['value'], 1)
    self.assertIn('same weights', ' '.join(said))

  def test_rows_of_two_draws_are_distinct(self):
    rows = {}
    for draw in (0, 1):
      plan = plan_lib.make_plan(
        self.config(rows=f'image=300,text=200,draw={draw}')
      )
      rows[draw] = plan.mixture.rows
      self.assertEqual([len(r) for r in plan.mixture.rows], [300, 200])
    for a, b in zip(rows[0], rows[1], strict=True):
      self.assertEmpty(np.intersect1d(a, b))

  def test_diets_have_one_total_of_distinct_rows(self):
    shares = stability_runs.parse_shares(['1/6', '1/2', '5/6'])
    counts = stability_runs.diet_rows(shares, images=1000, texts=5000)
    totals = {image + text for image, text in counts}
    self.assertLen(totals, 1)
    self.assertEqual(max(totals), 1000)  # Twice a half, for the control.
    self.assertLessEqual(counts[-1][0], 1000)

  @parameterized.product(images=tuple(range(580, 600)), texts=(593, 1801))
  def test_there_are_other_rows_for_the_middle_diet(self, images, texts):
    shares = stability_runs.parse_shares(['1/3', '1/2', '5/6'])
    counts = stability_runs.diet_rows(shares, images, texts)
    self.assertLen({image + text for image, text in counts}, 1)
    self.assertLessEqual(2 * counts[1][0], images)
    self.assertLessEqual(2 * counts[1][1], texts)
    self.assertGreater(sum(counts[1]), min(images, texts) - 4)

  @parameterized.parameters('0', '1', 'half', '1/0', '7/6')
  def test_a_share_that_is_none(self, share):
    with self.assertRaisesRegex(errors.UserError, 'no share of images'):
      stability_runs.parse_shares(['1/2', share])

  def test_other_rows_are_refused_across_models(self):
    data = planted.sample(N + 100)
    other = planted.write_store(
      os.path.join(self.out(), 'store'), data.image_ND, data.text_ND, SPLITS
    )
    with self.assertRaisesRegex(errors.UserError, 'different rows'):
      stability_folder.compare_runs(
        [self.true, self.true + '/'], [self.store, other], self.out(), say=say
      )


if __name__ == '__main__':
  absltest.main()
