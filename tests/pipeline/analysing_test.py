"""Analyses of a dictionary whose every concept is known."""

import csv
import json
import os
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax import errors
from saejax import io
from saejax import results
from saejax import store
from saejax.analysis import modality
from saejax.pipeline import analysing
from saejax.pipeline import findings
from saejax.pipeline import twin
from saejax.store import files
from saejax.train import loop
from tests import planted
from tests import saes
from tests.pipeline import truth

N, SPLITS = 2400, (0.3, 0.35, 0.35)
FACTORS, IMAGE, S = planted.FACTORS, truth.IMAGE, truth.S


class Killed(BaseException):
  pass


def plant(folder: str, matched: bool = True) -> tuple[str, str, dict]:
  """A store, the dictionary that made it, and the factors of its test rows."""
  data = planted.sample(N, matched=matched)
  labels = {'image': data.shown_NF, 'text': data.mentioned_NF}
  path = planted.write_store(
    os.path.join(folder, 'store'),
    data.image_ND,
    data.text_ND,
    SPLITS,
    tuple(labels.values()),
  )
  sae = truth.save(
    os.path.join(folder, 'sae'), path, data.atoms_SD, steps=20, batch=256
  )
  rows_n = store.Store(path)['image'].rows('test')
  return path, sae, {name: x_NF[rows_n] for name, x_NF in labels.items()}


def read_json(*path: str):
  with open(os.path.join(*path), encoding='utf-8') as f:
    return json.load(f)


def times(folder: str) -> dict[str, int]:
  return {
    os.path.join(at, name): os.stat(os.path.join(at, name)).st_mtime_ns
    for at, _, names in os.walk(folder)
    for name in names
  }


class PlantedTest(parameterized.TestCase):
  """One analysis, killed at its last step and run again."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.store, cls.sae, cls.labels = plant(folder)
    cls.out = os.path.join(folder, 'analysis')
    run = lambda: analysing.analyse(cls.sae, cls.store, cls.out, 'test', True)
    try:
      with mock.patch.object(results, 'write', side_effect=Killed):
        run()
    except Killed:
      cls.left = sorted(os.listdir(cls.out))
    cls.twin = os.path.join(cls.out, 'surrogate')
    before = times(cls.twin)
    steps = mock.Mock(side_effect=AssertionError('trained twice'))
    with mock.patch.object(loop, '_run_steps', steps):
      cls.entries = run()
    after = times(cls.twin)
    cls.rewritten = sorted(
      os.path.relpath(p, cls.twin) for p in before if after[p] != before[p]
    )
    arrays = lambda name: files.map_arrays(os.path.join(cls.out, name))
    cls.concepts = arrays('concepts.safetensors')
    cls.bridges = arrays('bridges.safetensors')

  def value(self, name: str) -> float:
    return self.entries[name]['value']

  def test_a_kill_leaves_no_results_and_the_twin_is_kept(self):
    self.assertIn('surrogate', self.left)
    self.assertNotIn('results.json', self.left)
    # Its arrays are written again; its store and its run are not.
    self.assertNotEmpty(self.rewritten)
    self.assertFalse([p for p in self.rewritten if os.path.dirname(p)])

  def test_what_is_returned_is_what_is_written(self):
    self.assertEqual(results.read(self.out), self.entries)
    beside = results.read(self.twin)
    self.assertNotEmpty(beside)
    for name, entry in beside.items():
      self.assertEqual(self.entries[f'surrogate/{name}'], entry)

  def test_firing_is_that_of_the_planted_factors(self):
    for first, name in ((0, 'image'), (IMAGE, 'text')):
      count_S = self.concepts[f'count_{name}']
      np.testing.assert_array_equal(
        count_S[first : first + FACTORS], self.labels[name].sum(0)
      )
      rate_S = count_S / len(self.labels[name])
      np.testing.assert_allclose(self.concepts[f'rate_{name}'], rate_S)
    self.assertTrue(self.concepts['live'].all())
    self.assertEqual(self.value('concepts/live'), S)
    self.assertGreater(self.value('r2'), 0.99)

  def test_image_only_and_text_only_concepts_are_found(self):
    score_S = self.concepts['modality_score']
    np.testing.assert_array_less(0.99, score_S[:IMAGE])
    np.testing.assert_array_less(score_S[IMAGE:], 0.01)
    of = modality.CLASSES.index
    expected = [of('image')] * IMAGE + [of('text')] * IMAGE
    np.testing.assert_array_equal(self.concepts['modality_class'], expected)
    self.assertEqual(self.value('modality/single_share'), 1)
    # Not so where it is left to chance which rows are images.
    self.assertEqual(self.value('modality/single_share_permuted'), 0)

  def test_bridges_add_up_to_the_similarity_of_pairs(self):
    self.assertLess(self.value('bridges/identity_error'), 1e-9)
    self.assertGreater(self.value('bridges/sum_b'), 0.5)
    self.assertGreater(
      self.value('bridges/sum_b'), self.value('bridges/sum_b0')
    )
    self.assertAlmostEqual(self.value('bridges/cross_share_of_excess'), 1, 12)

  def test_the_strongest_bridges_are_the_planted_ones(self):
    cross = np.flatnonzero(self.bridges['cross'])[:FACTORS]
    i_P, j_P = (
      self.bridges[f'{name}_concept'][cross] for name in ('image', 'text')
    )
    np.testing.assert_array_equal(j_P - i_P, IMAGE)
    self.assertCountEqual(i_P, range(FACTORS))
    np.testing.assert_allclose(
      self.bridges['cosine'][cross], planted.COSINE, rtol=1e-5
    )
    # All sixteen are among the twenty strongest.
    self.assertGreaterEqual(self.value('bridges/top20_true'), FACTORS / 20)
    self.assertEqual(self.value('bridges/top20_true_factors'), FACTORS)
    self.assertLess(self.value('bridges/random_true'), 0.1)

  def test_joint_firings_and_lift_are_those_of_the_labels(self):
    both = (self.labels['image'] & self.labels['text']).sum(0)
    chance = self.labels['image'].mean(0) * self.labels['text'].sum(0)
    for p in np.flatnonzero(self.bridges['cross'])[:FACTORS]:
      f = self.bridges['image_concept'][p]
      self.assertEqual(self.bridges['joint'][p], both[f])
      np.testing.assert_allclose(self.bridges['lift'][p], both[f] / chance[f])

  def test_bridges_replicate_and_only_true_ones_do(self):
    replicated = self.bridges['replicated']
    self.assertGreaterEqual(replicated.sum(), 12)
    self.assertEqual(replicated.sum(), self.value('bridges/replicated'))
    self.assertEqual(replicated.sum(), self.value('bridges/replicated_cross'))
    i_P, j_P = (self.bridges[f'{m}_concept'] for m in ('image', 'text'))
    true = (j_P - i_P == IMAGE) & (i_P < FACTORS)
    self.assertFalse((replicated & ~true).any())

  @parameterized.parameters('image', 'text')
  def test_single_concepts_read_every_factor_better_than_rivals(self, name):
    first = 0 if name == 'image' else IMAGE
    np.testing.assert_array_equal(
      self.concepts[f'factor_{name}'][first : first + FACTORS],
      np.arange(FACTORS),
    )
    self.assertEqual(self.value(f'factors/{name}/probed'), FACTORS)
    self.assertEqual(self.value(f'factors/{name}/read_and_beats'), 1)
    self.assertGreater(self.value(f'factors/{name}/mean_auroc_sae'), 0.999)
    self.assertLess(self.value(f'factors/{name}/mean_auroc_random'), 0.95)
    with open(os.path.join(self.out, 'factors.csv'), newline='') as f:
      lines = [r for r in csv.DictReader(f) if r['modality'] == name]
    self.assertEqual(
      [(r['factor'], int(r['concept'])) for r in lines],
      [(f'f{f}', first + f) for f in range(FACTORS)],
    )

  def test_examples_of_a_concept_show_its_factor(self):
    found = store.Store(self.store)
    table = read_json(self.out, 'exemplars.json')
    self.assertEqual([e['concept'] for e in table], list(range(S)))
    for first, name in ((0, 'image'), (IMAGE, 'text')):
      labels_NF = found[name].column('labels')
      for f in range(FACTORS):
        examples = table[first + f][f'{name}s']
        self.assertNotEmpty(examples)
        rows = [e['row'] for e in examples]
        self.assertTrue(labels_NF[rows, f].all())
        self.assertEqual(
          [e['caption'] for e in examples], [f'{name} {r}' for r in rows]
        )
        activations = [e['activation'] for e in examples]
        self.assertEqual(activations, sorted(activations, reverse=True))

  def test_examples_of_a_bridge_are_pairs_in_which_both_fire(self):
    found = store.Store(self.store)
    shown, said = (found[m].column('labels') for m in ('image', 'text'))
    strongest = read_json(self.out, 'bridge_pairs.json')[:FACTORS]
    self.assertLen(strongest, FACTORS)
    for bridge in strongest:
      f = bridge['image_concept']
      self.assertEqual(bridge['text_concept'], f + IMAGE)
      self.assertNotEmpty(bridge['pairs'])
      for pair in bridge['pairs']:
        row = pair['image']['row']  # Pairs of the planted store share it.
        self.assertEqual(pair['text']['row'], row)
        self.assertTrue(shown[row, f] and said[row, f])

  def test_the_twin_was_trained_alike_on_a_store_without_structure(self):
    found = store.Store(os.path.join(self.twin, 'store'))
    self.assertEqual(found.about['dataset']['name'], 'gaussian twin')
    self.assertEqual(found['image'].labels, ())
    own, trained = (
      io.read_config(path)['provenance']['config']
      for path in (self.sae, os.path.join(self.twin, 'run', 'sae'))
    )
    self.assertEqual(trained | {'store': own['store']}, own)
    self.assertEqual(trained['store'], os.path.join(self.twin, 'store'))
    self.assertNotIn('surrogate/factors/image/read', self.entries)
    self.assertLess(self.value('surrogate/r2'), self.value('r2'))


class UnmatchedTest(absltest.TestCase):
  def test_texts_of_other_images_give_no_bridge_that_replicates(self):
    folder = self.create_tempdir().full_path
    path, sae, _ = plant(folder, matched=False)
    found = analysing.analyse(
      sae, path, os.path.join(folder, 'out'), 'test', False
    )
    self.assertEqual(found['bridges/replicated']['value'], 0)
    self.assertEqual(found['bridges/significant']['value'], 0)
    # It is not that nothing was there to be found.
    self.assertGreater(found['bridges/tested']['value'], 200)
    self.assertEqual(found['factors/text/read']['value'], 1)
    self.assertFalse([name for name in found if name.startswith('surrogate')])


class RefusalTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.store, cls.sae, _ = plant(cls.folder)

  def setUp(self):
    super().setUp()
    self.out = os.path.join(self.create_tempdir().full_path, 'out')
    # Nothing of this gets as far as work.
    for module, name in ((findings, 'analyse_subject'), (twin, 'write_twin')):
      stand_in = mock.Mock(side_effect=Killed)
      self.enterContext(mock.patch.object(module, name, stand_in))

  def analyse(self, sae=None, path=None, split='test', with_twin=False):
    return analysing.analyse(
      sae or self.sae, path or self.store, self.out, split, with_twin
    )

  def test_a_folder_with_results_is_refused(self):
    results.write(self.out, {'r2': results.entry(0.5)})
    with self.assertRaisesRegex(errors.UserError, 'already holds results'):
      self.analyse()
    self.assertEqual(os.listdir(self.out), ['results.json'])

  def test_a_folder_with_other_files_is_refused(self):
    os.makedirs(self.out)
    with open(os.path.join(self.out, 'thesis.tex'), 'w') as f:
      f.write('mine')
    with self.assertRaisesRegex(errors.UserError, 'such as thesis.tex'):
      self.analyse()
    self.assertEqual(os.listdir(self.out), ['thesis.tex'])

  def test_a_begun_analysis_goes_on_with_its_own_arguments_alone(self):
    with self.assertRaises(Killed):
      self.analyse()
    self.assertEqual(os.listdir(self.out), ['run.json'])
    with self.assertRaises(Killed):
      self.analyse()
    with self.assertRaisesRegex(errors.UserError, 'other settings .analyse'):
      self.analyse(split='all')

  def test_a_dictionary_of_unknown_training_has_no_twin(self):
    sae = os.path.join(self.folder, 'foreign')
    loaded = io.load(self.sae)
    io.save(sae, *loaded)
    with self.assertRaisesRegex(errors.UserError, 'use --nosurrogate'):
      self.analyse(sae=sae, with_twin=True)
    self.assertFalse(os.path.exists(self.out))
    with self.assertRaises(Killed):  # Without one it can be analysed.
      self.analyse(sae=sae)

  def test_a_dictionary_of_another_width_is_refused_before_work(self):
    sae = os.path.join(self.folder, 'narrow')
    io.save(sae, *saes.make('topk'))
    with self.assertRaisesRegex(errors.UserError, 'reads rows of width 12'):
      self.analyse(sae=sae)
    self.assertFalse(os.path.exists(self.out))

  def test_a_store_without_val_is_refused_before_work(self):
    data = planted.sample(40)
    path = os.path.join(self.folder, 'no_val')
    planted.write_store(path, data.image_ND, data.text_ND, (0.5, 0.0, 0.5))
    with self.assertRaisesRegex(errors.UserError, 'has no rows in val'):
      self.analyse(path=path)
    self.assertFalse(os.path.exists(self.out))


if __name__ == '__main__':
  absltest.main()
