"""Interventions find what carries alignment where that is known."""

import csv
import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax import errors
from saejax import io
from saejax import results
from saejax import store as store_lib
from saejax.analysis import interventions
from saejax.analysis import retrieval
from saejax.pipeline import evaluation
from saejax.pipeline import intervening
from saejax.pipeline import intervening_measures as measures
from saejax.pipeline import intervening_sets
from tests import saes
from tests.pipeline import alignments
from tests.pipeline import class_stores

CONFIG = intervening.InterveneConfig(
  sets=('cross_bridges', 'shared'), sizes=(8, 16), draws=40, images=150
)


class PlantedTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder, cls.found, cls.paths = {}, {}, {}
    for carrier in ('bridges', 'shared'):
      folder = cls.enterClassContext(tempfile.TemporaryDirectory())
      cls.folder[carrier] = folder
      cls.paths[carrier] = store, sae = alignments.write(folder, carrier)
      cls.found[carrier] = intervening.intervene(sae, store, CONFIG)

  def value(self, carrier: str, name: str) -> float:
    return self.found[carrier].entries[f'intervene/{name}']['value']

  @parameterized.parameters(
    ('bridges', 'cross_bridges', 'shared'),
    ('shared', 'shared', 'cross_bridges'),
  )
  def test_what_carries_is_told_from_what_does_not(self, world, does, does_not):
    self.assertGreaterEqual(self.value(world, 'reconstruction/recall1'), 0.1)
    at = f'{does}/n=8/recall1'
    self.assertLess(
      self.value(world, at), self.value(world, f'{at}/random') / 2
    )
    for way in ('image_to_text', 'text_to_image'):
      self.assertLess(self.value(world, f'{at}_{way}/p'), 0.1)
    self.assertLess(self.value(world, f'{does}/all_sizes/recall1/p_holm'), 0.05)
    # The other does no harm beyond that of concepts like it.
    p = self.value(world, f'{does_not}/all_sizes/recall1/p_holm')
    self.assertGreater(p, 0.5)
    said = intervening.summary(self.found[world], CONFIG)
    claims = [line for line in said.split('\n') if 'more alignment' in line]
    self.assertLen(claims, 2)
    carries = [
      ' concepts carry more' in c or 'bridges carry' in c for c in claims
    ]
    self.assertEqual(carries, [world == 'bridges', world == 'shared'])

  def test_sets_are_those_planted(self):
    sets = {t.name: t for t in self.found['bridges'].trials}
    self.assertCountEqual(sets['cross_bridges'].concepts_C, alignments.ENDS)
    self.assertCountEqual(sets['shared'].concepts_C, alignments.SHARED_S)
    for t in sets.values():
      self.assertEqual(t.random_RC.shape, (CONFIG.draws, len(t.concepts_C)))
      self.assertFalse(np.isin(t.random_RC, t.concepts_C).any())
      for random_C in t.random_RC:
        self.assertLen(np.unique(random_C), len(random_C))
      # Not one set over and over.
      self.assertGreater(len(np.unique(t.random_RC, axis=0)), 30)

  def test_bridges_replicate_where_they_are_real(self):
    for carrier, expected in (('bridges', alignments.ENDS), ('shared', [])):
      store, path = self.paths[carrier]
      sae, variables = intervening_sets.load(path)
      choice = intervening_sets.choose(
        sae, variables, store_lib.Store(store), 2000
      )
      self.assertCountEqual(choice.ranked['replicated_bridges'], expected)
      # Both ends of the strongest bridge come first.
      if carrier == 'bridges':
        i, j = choice.ranked['cross_bridges'][:2]
        self.assertEqual(abs(i - j), alignments.FACTORS)

  def test_doing_nothing_is_the_reconstruction(self):
    store, path = self.paths['bridges']
    sae, variables = io.load(path)
    world = measures.read_world(
      sae, variables, store_lib.Store(store), 'test', 10_000
    )
    base = world.see(lambda z_nS: z_nS)
    same = world.see(lambda z_nS: interventions.remove(z_nS, []))
    self.assertEqual(measures.values(same), measures.values(base))
    for a, b in zip(same.units, base.units, strict=True):
      np.testing.assert_array_equal(a, b)
    # And what evaluate has of all rows.
    found = evaluation.evaluate(path, store)
    for way, kind in (
      (way, kind) for way in base.rank for kind in ('raw', 'reconstructed')
    ):
      seen = world.see(None) if kind == 'raw' else base
      self.assertAlmostEqual(
        measures.values(seen)[f'recall5_{way}'],
        found[f'{kind}/{way}/recall@5']['value'],
      )
    self.assertAlmostEqual(
      world.see(None).gap, found['raw/gap']['value'], places=5
    )

  def test_results_say_what_they_rest_on(self):
    entries = self.found['bridges'].entries
    at = 'intervene/cross_bridges/n=16/recall1_image_to_text'
    self.assertEqual((entries[at]['n'], entries[at]['split']), (150, 'test'))
    self.assertLessEqual(entries[at]['low'], entries[at]['value'])
    self.assertLessEqual(entries[at]['value'], entries[at]['high'])
    self.assertEqual(entries[f'{at}/random']['n'], CONFIG.draws)
    self.assertAlmostEqual(
      entries[f'{at}/change']['value'],
      entries[at]['value']
      - self.value('bridges', 'reconstruction/recall1_image_to_text'),
    )
    gap = entries['intervene/cross_bridges/n=16/gap']
    self.assertBetween(gap['value'], gap['low'] - 0.05, gap['high'])
    for f in ('energy', 'modality_score', 'rate', 'lost_r2', 'b0_mass'):
      e = entries[f'intervene/cross_bridges/n=8/match/{f}']
      self.assertEqual(e['split'], 'train')
    # There are as many of either modality to be matched with.
    match = self.value('bridges', 'cross_bridges/n=8/match/modality_score')
    self.assertLess(abs(match), 0.25)

  def test_what_is_written_is_what_was_found(self):
    out = os.path.join(self.folder['bridges'], 'out')
    found = self.found['bridges']
    found.write(out)
    self.assertEqual(results.read(out), found.entries)
    with open(os.path.join(out, 'concept_sets.csv'), newline='') as f:
      rows = list(csv.DictReader(f))
    self.assertLen(rows, sum(len(t.concepts_C) for t in found.trials))
    for ending in ('png', 'svg', 'csv'):
      path = os.path.join(out, 'figures', f'interventions.{ending}')
      self.assertGreater(os.path.getsize(path), 0)

  def test_zero_shot_accuracy_is_measured_where_there_are_classes(self):
    sae, variables = saes.make('topk')
    folder = self.create_tempdir().full_path
    images, prompts = class_stores.images(0.1), class_stores.prompts(0.1)
    store = store_lib.Store(class_stores.write(
      os.path.join(folder, 'classes'),
      (images[0][:, : saes.D], images[1]),
      prompts[:, : saes.D],
    ))  # fmt: skip
    self.assertTrue(measures.has_classes(store))
    known = measures.read_labelled(sae, variables, store, 'test', 50)
    self.assertLen(known.label_n, 50)
    one = retrieval.one_hot(np.zeros(4, int), 1)
    rows = measures.Coded(
      np.eye(4, saes.D), known.image.z_nS[:4], known.image.d_SD,
      known.image.bias_D, np.arange(4),
    )  # fmt: skip
    hits = retrieval.Hits(one, one.T.tocsr())
    world = measures.World(rows, rows, (hits, hits), known)
    raw = measures.values(world.see(None))
    # Without any concept all images are the same row, and so are all classes.
    none = world.see(lambda z_nS: interventions.keep(z_nS, []))
    self.assertGreater(raw['zero_shot'], 0.3)
    self.assertEqual(measures.values(none)['zero_shot'], 0)
    estimate = world.estimates(none, world.see(None))['zero_shot']
    self.assertAlmostEqual(estimate.value, -raw['zero_shot'])


class EditsTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.store, cls.sae = alignments.write(folder, 'bridges', n=500)

  def run_with(self, **fields):
    config = intervening.InterveneConfig(
      **(
        {'sets': CONFIG.sets, 'sizes': (16,), 'draws': 20, 'images': 80}
        | fields
      )
    )
    return intervening.intervene(self.sae, self.store, config).entries

  def test_what_carries_does_well_when_kept_alone(self):
    found = self.run_with(edit='keep')
    at = 'intervene/cross_bridges/n=16/recall1'
    self.assertGreater(found[at]['value'], 3 * found[f'{at}/random']['value'])
    self.assertAlmostEqual(found[f'{at}/p']['value'], 1 / 21)

  def test_scaling_by_one_changes_nothing(self):
    found = self.run_with(edit='scale', factor=1.0)
    for name, entry in found.items():
      if name.endswith('/change'):
        self.assertEqual(entry['value'], 0, name)
      if name.endswith('/recall1/p'):
        self.assertEqual(entry['value'], 1, name)

  def test_a_caliper_keeps_what_can_be_matched(self):
    sae, variables = intervening_sets.load(self.sae)
    choice = intervening_sets.choose(
      sae, variables, store_lib.Store(self.store), 1000
    )
    wide = {t.name: t for t in choice.trials((16,), 20)}
    close = {t.name: t for t in choice.trials((16,), 20, caliper=1.0)}
    self.assertNotIn('shared', close)  # Nothing else is of both modalities.
    for name, t in close.items():
      self.assertContainsSubset(t.concepts_C, wide[name].concepts_C)
      n = len(t.concepts_C)
      worst, without = (
        max(map(abs, choice.differences(trial, n).values()))
        for trial in (t, wide[name])
      )
      self.assertLessEqual(worst, without)
    self.assertIn('image_only', close)
    self.assertEmpty([*choice.trials((16,), 20, caliper=1e-6)])

  @parameterized.parameters(
    ({'sizes': ()}, '--sizes must be'),
    ({'sizes': (0,)}, '--sizes must be'),
    ({'draws': 19}, '--draws=19 must be at least 20'),
    ({'images': 1}, '--images=1 must be at least 2'),
    ({'edit': 'burn'}, '--edit=burn: choose of'),
    ({'caliper': 0.0}, '--caliper=0.0 must be positive'),
    ({'sets': ('shared', 'magic')}, "--sets: 'magic' is no set; choose of"),
    ({'caliper': 1e-6}, 'none can be chosen'),
  )
  def test_refuses(self, fields, message):
    with self.assertRaisesRegex(errors.UserError, message):
      self.run_with(**fields)

  def test_a_store_without_classes_gives_no_accuracy(self):
    with self.assertRaisesRegex(errors.UserError, 'lacks labelled images'):
      intervening.intervene(
        self.sae, self.store, CONFIG, classes_path=self.store
      )


if __name__ == '__main__':
  absltest.main()
