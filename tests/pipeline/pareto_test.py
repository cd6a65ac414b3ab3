"""R² against L0 of every method on a small planted store."""

import csv
import os
import shutil
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax import baselines
from saejax import errors
from saejax import results
from saejax.pipeline import evaluation
from saejax.pipeline import pareto
from saejax.pipeline import pareto_fits
from saejax.report import figures
from saejax.train import loop
from tests import planted

L0S = (2, 4)
METHODS = ('topk', 'pca', 'kmeans', 'semi_nmf', 'random')


def quiet(_: str) -> None:
  pass


class ParetoTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    data = planted.sample(300)
    cls.store = planted.write_store(
      os.path.join(cls.folder, 'store'), data.image_ND, data.text_ND
    )
    cls.said = []
    cls.out = os.path.join(cls.folder, 'out')
    cls.printed = pareto.compare(cls.make(), cls.out, say=cls.said.append)
    cls.entries = results.read(cls.out)

  @classmethod
  def make(cls, **given) -> pareto.ParetoConfig:
    settings = dict(
      stores=(cls.store,), l0s=L0S, latents=2 * planted.D, seeds=(0, 1),
      steps=60, batch=128, lrs=(1e-2,), alternations=20, methods=METHODS,
    )  # fmt: skip
    return pareto.ParetoConfig(**(settings | given))

  def value(self, name: str) -> float:
    return self.entries[f'pareto/{name}']['value']

  def test_every_method_has_results_by_both_encoders(self):
    for method in METHODS:
      for l0 in L0S:
        self.assertLessEqual(self.value(f'{method}/l0={l0}/omp/l0'), l0 + 1e-6)
        if method != 'kmeans':
          self.assertLess(self.value(f'{method}/l0={l0}/l0'), 1.2 * l0)
    self.assertEqual(self.value('kmeans/l0=1/l0'), 1)
    self.assertNotIn('pareto/kmeans/l0=4/r2', self.entries)
    entry = self.entries['pareto/topk/l0=4/r2']
    self.assertEqual(entry['split'], 'test')
    self.assertEqual(
      (entry['interval'], entry['seeds']), ('range over seeds', 2)
    )
    of_seed = self.entries['pareto/topk/l0=4/seed=1/r2']
    self.assertEqual(of_seed['interval'], 'bootstrap over groups')
    # Nothing of PCA is random: its interval is over groups.
    self.assertNotIn('seeds', self.entries['pareto/pca/l0=4/r2'])

  def test_more_codes_explain_more(self):
    for method in METHODS:
      low, high = (self.value(f'{method}/l0={n}/omp/r2') for n in L0S)
      self.assertGreater(high, low, method)
    for method in ('topk', 'pca', 'semi_nmf'):
      low, high = (self.value(f'{method}/l0={n}/r2') for n in L0S)
      self.assertGreater(high, low, method)
    # What was fitted to a sparse world is above what was not fitted.
    for method in ('topk', 'semi_nmf'):
      found = self.value(f'{method}/l0=4/omp/r2')
      self.assertGreater(found, self.value('random/l0=4/omp/r2') + 0.1)

  def test_the_other_methods_are_above_what_is_random(self):
    others = ('ica', 'convex_nmf', 'sparse_coding', 'rows')
    self.assertContainsSubset(others, pareto.METHODS)
    out = os.path.join(self.folder, 'others')
    pareto.compare(
      self.make(methods=others, seeds=(0,), l0s=(4,), alternations=10),
      out,
      say=quiet,
    )
    found = results.read(out)
    floor = self.value('random/l0=4/omp/r2')
    for method in others:
      self.assertGreater(found[f'pareto/{method}/l0=4/omp/r2']['value'], floor)
      self.assertLessEqual(found[f'pareto/{method}/l0=4/l0']['value'], 4.4)

  @parameterized.parameters(0, 1)
  def test_an_sae_scores_as_evaluate_says(self, seed):
    expected = evaluation.evaluate(
      f'{self.out}/saes/topk/members/k4-seed{seed}/sae', self.store
    )
    for name in ('r2', 'r2_pooled', 'image/r2', 'text/r2', 'l0', 'image/l0'):
      found = self.entries[f'pareto/topk/l0=4/seed={seed}/{name}']
      for field in ('value', 'low', 'high'):
        self.assertAlmostEqual(found[field], expected[name][field], places=5)
      self.assertEqual(found['n'], expected[name]['n'])

  def test_the_table_says_how_sparsity_was_set(self):
    with open(os.path.join(self.out, 'table.csv'), newline='') as f:
      rows = [*csv.DictReader(f)]
    own = {r['method']: r for r in rows if r['codes'] == 'own'}
    for method, said in (
      ('topk', 'k in training: 4'),
      ('pca', 'largest codes: 4'),
      ('semi_nmf', 'L1 weight .* set on val'),
      ('kmeans', 'one-hot'),
    ):
      self.assertRegex(own[method]['sparsity_set_by'], said)
      self.assertIn(own[method]['sparsity_set_by'], self.printed)
    self.assertEqual(own['pca']['atoms'], str(planted.D))
    self.assertIn(
      'pca has at most 48 atoms, the width; 96 were asked for.', self.said
    )
    with open(os.path.join(self.out, 'table.tex'), encoding='utf-8') as f:
      self.assertEqual(f.read().count(r'\\'), len(rows) + 1)
    for ending in ('png', 'svg', 'csv'):
      path = os.path.join(self.out, 'figures', f'pareto.{ending}')
      self.assertTrue(os.path.exists(path))

  def test_killed_it_goes_on_to_the_same_numbers(self):
    methods = ('kmeans', 'semi_nmf', 'pca')
    config, out = self.make(methods=methods), f'{self.folder}/killed'
    fitted, write = [], pareto_fits.write

    def killed(path, *rest):
      if len(fitted) == 3:
        raise KeyboardInterrupt
      fitted.append(path)
      write(path, *rest)

    with (
      mock.patch.object(pareto_fits, 'write', killed),
      self.assertRaises(KeyboardInterrupt),
    ):
      pareto.compare(config, out, say=quiet)
    with self.assertRaisesRegex(errors.UserError, 'Add --resume'):
      pareto.compare(config, out, say=quiet)
    said = []
    pareto.compare(config, out, resume=True, say=said.append)
    for path in fitted:
      name = '/'.join(path.split('/')[-2:])
      self.assertFalse([s for s in said if s.startswith(name)], name)
    found = results.read(out)
    for name, entry in found.items():
      self.assertEqual(entry, self.entries[name], name)

  def test_resumed_after_its_end_it_fits_nothing_again(self):
    out, said = os.path.join(self.folder, 'again'), []
    shutil.copytree(self.out, out)
    os.remove(os.path.join(out, 'results.json'))
    with mock.patch.object(loop, 'take_steps') as steps:
      pareto.compare(self.make(), out, resume=True, say=said.append)
    steps.assert_not_called()
    self.assertFalse([s for s in said if '/seed' in s])
    self.assertEqual(results.read(out), self.entries)

  def test_several_stores_have_a_panel_each(self):
    data = planted.sample(300, seed=5)
    other = planted.write_store(
      os.path.join(self.folder, 'other'), data.image_ND, data.text_ND
    )
    out = os.path.join(self.folder, 'two')
    config = self.make(
      stores=(self.store, other), methods=('pca', 'random'), seeds=(0,)
    )
    with mock.patch.object(
      figures, 'pareto_curves', wraps=figures.pareto_curves
    ) as draw:
      pareto.compare(config, out, say=quiet)
    drawn = figures.pareto_curves(*draw.call_args.args).drawing
    axes = np.array(drawn.axes).reshape(2, 2)
    self.assertEqual(axes[0, 0].get_xlim(), axes[1, 1].get_xlim())
    self.assertEqual(axes[0, 0].get_ylim(), axes[0, 1].get_ylim())
    self.assertEqual(axes[0, 1].get_title(loc='left'), 'other')
    self.assertEqual(axes[1, 0].get_ylabel(), 'R², one encoder (OMP)')
    self.assertEqual(drawn.get_figwidth(), 7)  # Inches: a page.
    found = results.read(out)
    for panel in ('store', 'other'):
      self.assertIn(f'pareto/{panel}/pca/l0=4/r2', found)
    a, b = (
      found[f'pareto/{p}/pca/l0=4/r2']['value'] for p in ('store', 'other')
    )
    self.assertNotEqual(a, b)

  def test_of_several_rates_the_best_on_val_is_taken(self):
    out = os.path.join(self.folder, 'rates')
    config = self.make(
      methods=('jumprelu',), lrs=(1e-7, 1e-2), seeds=(0,), l0s=(4,)
    )
    printed = pareto.compare(config, out, say=quiet)
    self.assertRegex(printed, '2 +a loss towards L0: 4; lr 0.01 chosen on val')

  def test_a_dictionary_reads_back_as_it_was_written(self):
    x_ND = planted.sample(300).image_ND
    fitted = baselines.METHODS['kmeans'].fit(x_ND, 5, 0)
    path = os.path.join(self.folder, 'saved', 'kmeans')
    self.assertIsNone(pareto_fits.read(path))
    pareto_fits.write(path, fitted, 1.0)
    found = pareto_fits.read(path)
    np.testing.assert_array_equal(found.w_SD, fitted.w_SD)
    np.testing.assert_array_equal(found.length_S, fitted.length_S)
    self.assertEqual((found.code, found.signed), ('nearest', False))
    self.assertIsNone(found.filter_SD)

  @parameterized.parameters(
    ({'methods': ('magic',)}, "--methods: 'magic' is unknown; choose of topk"),
    ({'methods': ()}, '--methods is empty'),
    ({'methods': ('pca', 'pca')}, '--methods names pca more than once'),
    ({'l0s': (4, 97)}, '--l0s=97 is larger than the dictionary: it has 96'),
    ({'l0s': (0,)}, '--l0s=0 must be at least 1'),
    ({'latents': 5000}, 'fewer than the 5000 atoms'),
    ({'alternations': 0}, '--alternations=0 must be at least 1'),
    ({'steps': 0}, '--steps and --epochs must be positive'),
    ({'lrs': (0.0,)}, '--lr must be positive'),
  )
  def test_mistakes_are_told_before_anything_is_written(self, given, message):
    out = os.path.join(self.folder, 'mistake')
    with self.assertRaisesRegex(errors.UserError, message):
      pareto.compare(self.make(**given), out)
    self.assertFalse(os.path.exists(out))


if __name__ == '__main__':
  absltest.main()
