"""Names of a dictionary whose every concept, and caption, is known."""

import csv
import dataclasses
import json
import os
import tempfile
from unittest import mock

from absl.testing import absltest
import numpy as np

from saejax import errors
from saejax import io
from saejax import results
from saejax import store
from saejax.pipeline import naming
from saejax.pipeline import naming_words
from tests import planted
from tests.pipeline import truth

N, SPLITS = 1800, (0.3, 0.35, 0.35)
FACTORS, IMAGE = planted.FACTORS, truth.IMAGE
ABSENT = FACTORS - 1  # In no image and no text: its concepts never fire.
WORDS = tuple(f'{a}{b}' for a in 'bcdf' for b in ('at', 'en', 'ig', 'ob'))


def write_store(path: str, data: planted.Planted, columns) -> str:
  """Planted rows with captions that hold a word for each thing mentioned."""
  captions = [
    f'it is {" ".join(WORDS[f] for f in np.flatnonzero(row))}'.strip()
    for row in data.mentioned_NF
  ]
  names = tuple(f'f{i}' for i in range(FACTORS))
  parts = {
    'image': (data.image_ND, data.shown_NF, [{} for _ in captions]),
    'text': (
      data.text_ND,
      data.mentioned_NF,
      [{'caption': c} for c in captions],
    ),
  }
  specs = {
    name: store.StreamSpec(d=x_ND.shape[1], modality=name, labels=names)
    for name, (x_ND, *_) in parts.items()
  }
  about = {'dataset': {'name': 'planted'}, 'model': 'stub'}
  writer = store.StoreWriter(path, specs, about)
  for name, (x_ND, labels_NF, words) in parts.items():
    own = columns | {'labels': labels_NF.astype(np.uint8)}
    writer.write(name, 0, x_ND, own, words)
  writer.finish()
  return path


def plant(folder: str) -> tuple[str, str, planted.Planted]:
  """A store, the dictionary that made it, and the data."""
  data = planted.sample(N)
  kept = ~data.shown_NF[:, ABSENT]
  rows = {
    name: getattr(data, name)[kept]
    for name in ('image_ND', 'text_ND', 'shown_NF', 'mentioned_NF')
  }
  data = dataclasses.replace(data, **rows)
  pair_N = np.arange(kept.sum())
  split_N = store.assign_splits(pair_N, SPLITS)
  columns = {'group': pair_N, 'pair': pair_N, 'split': split_N}
  path = write_store(os.path.join(folder, 'store'), data, columns)
  sae = truth.save(os.path.join(folder, 'sae'), path, data.atoms_SD)
  return path, sae, data


class Stub:
  """A text tower that puts each word where its concept points.

  Attributes:
    text, vlm: what is asked of an embedder.
  """

  def __init__(self, path: str, data: planted.Planted, d: int = planted.D):
    self.text = mock.Mock(d=d)
    self.vlm = mock.Mock()
    self.vlm.name = 'stub'
    stream = store.Store(path)['text']
    first_n = stream.rows('test')[: naming_words._TRIED]
    self._said = [w['caption'] for w in stream.words(first_n)]
    self._rows_nD = stream.take(first_n)
    self._atoms_SD = data.atoms_SD

  def texts(self, texts):
    """Rows of the first captions as they are stored, and of words."""
    if list(texts) == self._said:
      return self._rows_nD, None
    away_D = np.full(planted.D, 0.3)
    one = lambda word: self._atoms_SD[IMAGE + WORDS.index(word)] + away_D
    row = lambda text: sum((one(w) for w in text.split() if w in WORDS), away_D)
    return np.stack([row(t) for t in texts]).astype(np.float32), None


class PlantedTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.store, cls.sae, cls.data = plant(folder)
    other = os.path.join(folder, 'other')
    # To another model, images are the first four things that they show.
    noise_ND = np.random.default_rng(0).normal(size=(len(cls.data.image_ND), 4))
    seen_ND = (cls.data.shown_NF[:, :4] + 0.3 * noise_ND).astype(np.float32)
    planted.write_store(other, seen_ND, seen_ND, SPLITS)
    kinds = os.path.join(folder, 'kinds.json')
    with open(kinds, 'w', encoding='utf-8') as f:
      json.dump({'f0': ['f1', 'f2'], 'f3': ['f4']}, f)
    cls.config = naming.NameConfig(
      sae=cls.sae, store=cls.store, other_store=other, hierarchy=kinds
    )
    cls.out = os.path.join(folder, 'out')
    cls.stub = Stub(cls.store, cls.data)
    with mock.patch.object(naming_words, 'load_model', lambda *_: cls.stub):
      cls.entries = naming.name(cls.config, cls.out)
    with open(os.path.join(cls.out, 'names.json'), encoding='utf-8') as f:
      cls.named = json.load(f)
    cls.records = {r['concept']: r for r in cls.named['concepts']}

  def value(self, name: str) -> float:
    return self.entries[name]['value']

  def table(self, name: str) -> list[dict[str, str]]:
    with open(os.path.join(self.out, name), encoding='utf-8') as f:
      return list(csv.DictReader(f))

  def test_text_concepts_are_named_by_what_is_said_where_they_fire(self):
    for i in range(ABSENT):
      names = self.records[IMAGE + i]['names']
      self.assertEqual(self.records[IMAGE + i]['named_by'], 'text')
      for source, label in (
        ('captions', WORDS[i]), ('vocabulary', WORDS[i]), ('labels', f'f{i}'),
      ):  # fmt: skip
        found = names[source]
        self.assertEqual((found['label'], found['score']), (label, 1), source)
        self.assertEqual(found['precision'], 1)
        self.assertBetween(found['null'], 0.4, 0.6)

  def test_image_concepts_are_named_by_captions_of_their_images(self):
    for i in range(ABSENT):
      names = self.records[i]['names']
      self.assertEqual(self.records[i]['named_by'], 'image')
      self.assertEqual(names['captions']['label'], WORDS[i])
      self.assertEqual(names['vocabulary']['label'], WORDS[i])
      self.assertGreater(names['captions']['score'], 0.95)
      self.assertEqual(names['labels'], names['labels'] | {'score': 1})

  def test_what_never_fires_is_left_unnamed(self):
    concepts = [int(row['concept']) for row in self.table('names.csv')]
    expected = set(range(truth.S)) - {ABSENT, IMAGE + ABSENT}
    self.assertCountEqual(concepts, expected)
    self.assertCountEqual(self.records, expected)
    self.assertEqual(self.value('concepts/live'), truth.S - 2)

  def test_coverage_is_of_those_that_have_a_word(self):
    # The directions that one modality has alone are of no word.
    well = [r for r in self.records.values() if (r['score'] or 0) >= 0.9]
    self.assertLen(well, 2 * ABSENT)
    share = len(well) / len(self.records)
    self.assertAlmostEqual(self.value('name/best/coverage_live'), share)
    energy = lambda records: sum(r['energy'] for r in records)
    self.assertAlmostEqual(
      self.value('name/best/coverage_energy'),
      energy(well) / energy(self.records.values()),
    )
    null = self.entries['name/captions/null_auroc']
    self.assertBetween(null['value'], 0.47, 0.53)
    self.assertEqual(null['interval'], 'bootstrap over concepts')

  def test_concepts_of_one_thing_are_monosemantic_to_another_model(self):
    rows = {int(r['concept']): r for r in self.table('names.csv')}
    mono = lambda i: float(rows[i]['monosemanticity'])
    chance = self.value('monosemanticity/mean_permuted')
    for i in range(4):
      self.assertGreater(mono(i), chance + 0.3)
    self.assertLess(abs(mono(10) - chance), 0.1)
    self.assertBetween(
      self.value('monosemanticity/mean_random'), chance - 0.05, chance + 0.2
    )
    self.assertEqual(rows[IMAGE + 1]['monosemanticity'], '')
    for name in ('monosemanticity', 'monosemanticity_centred'):
      value = lambda key, name=name: self.value(f'{name}/{key}')
      self.assertAlmostEqual(
        value('mean') - value('mean_permuted'), value('mean_excess'), places=6
      )
      # Four in many are of what the other model sees.
      self.assertBetween(value('above_random'), 4 / truth.S / 2, 0.9)
    self.assertLess(
      abs(self.value('monosemanticity_centred/mean_permuted')), 0.02
    )
    for i in range(4):
      self.assertGreater(float(rows[i]['monosemanticity_centred']), 0.3)
    self.assertLess(abs(float(rows[10]['monosemanticity_centred'])), 0.1)

  def test_one_concept_is_as_good_a_probe_as_the_whole_row(self):
    for name in ('image', 'text'):
      self.assertEqual(self.value(f'probing/{name}/factors'), ABSENT)
      self.assertEqual(self.value(f'probing/{name}/k1/mean_auroc'), 1)
      self.assertGreater(self.value(f'probing/{name}/k1/mean_f1'), 0.999)
      self.assertBetween(
        self.value(f'probing/{name}/shuffled/mean_auroc'), 0.45, 0.55
      )
      self.assertEqual(self.value(f'splitting/{name}/mean_concepts'), 1)
    for row in self.table('probes.csv'):
      first = IMAGE if row['modality'] == 'text' else 0
      expected = first + int(row['factor'].removeprefix('f'))
      self.assertEqual(int(row['concepts'].split()[0]), expected)

  def test_nothing_is_absorbed_where_every_factor_has_its_concept(self):
    self.assertEqual(self.value('absorption/image/parents'), 2)
    for name in ('image', 'text'):
      self.assertEqual(self.value(f'absorption/{name}/absorbed'), 0)
      self.assertLess(self.value(f'absorption/{name}/silent'), 0.01)
    self.assertLen(self.table('absorption.csv'), 4)

  def test_codes_are_as_large_as_they_should_be(self):
    for name in ('image', 'text'):
      self.assertAlmostEqual(self.value(f'shrinkage/{name}'), 1, delta=0.01)
    np.testing.assert_allclose(
      self.value('max_cosine/median'), planted.COSINE, atol=1e-6
    )

  def test_what_is_returned_is_what_is_written(self):
    self.assertEqual(results.read(self.out), self.entries)
    for name in ('name_scores', 'density', 'max_cosine'):
      path = os.path.join(self.out, 'figures', name)
      for ending in ('png', 'svg', 'csv'):
        self.assertTrue(os.path.exists(f'{path}.{ending}'))

  def test_a_model_that_did_not_make_the_rows_is_refused(self):
    path = os.path.join(self.create_tempdir().full_path, 'out')
    config = dataclasses.replace(self.config, other_store=None)
    wrong = Stub(self.store, self.data)
    wrong.texts = lambda texts: (np.ones((len(texts), planted.D)), None)
    for model, message in (
      (wrong, "does not give the store's rows"),
      (Stub(self.store, self.data, d=7), 'rows of width 7, the store holds'),
    ):
      with (
        mock.patch.object(naming_words, 'load_model', lambda *_, m=model: m),
        self.assertRaisesRegex(errors.UserError, message),
      ):
        naming.name(config, path)
    self.assertFalse(os.path.exists(path))

  def test_a_dictionary_that_never_fires_has_no_names_and_no_scores(self):
    folder = self.create_tempdir().full_path
    sae, variables = io.load(self.sae)
    variables['constants']['threshold'] = np.float32(1e9)
    io.save(os.path.join(folder, 'sae'), sae, variables)
    config = dataclasses.replace(
      self.config, sae=os.path.join(folder, 'sae'), model='none'
    )
    entries = naming.name(config, os.path.join(folder, 'out'))
    value = lambda name: entries[name]['value']
    self.assertEqual(value('concepts/live'), 0)
    for name in ('name/best/mean_auroc', 'monosemanticity/mean',
                 'monosemanticity_centred/mean_random',
                 'monosemanticity_centred/above_random',
                 'max_cosine/median', 'shrinkage/text'):  # fmt: skip
      self.assertIsNone(value(name))
    self.assertEqual(value('probing/text/k1/mean_auroc'), 0.5)
    self.assertEqual(value('absorption/text/parents'), 0)

  def test_a_list_of_words_is_all_there_is_to_choose_from(self):
    folder = self.create_tempdir().full_path
    path = os.path.join(folder, 'words.txt')
    with open(path, 'w', encoding='utf-8') as f:
      f.write('\n'.join([WORDS[0], WORDS[1], 'unheard']))
    config = naming.NameConfig(
      sae=self.sae, store=self.store, model='none', vocabulary=path
    )
    entries = naming.name(config, os.path.join(folder, 'out'))
    self.assertNotIn('name/vocabulary/mean_auroc', entries)
    self.assertNotIn('absorption/image/parents', entries)
    with open(os.path.join(folder, 'out', 'names.json'), encoding='utf-8') as f:
      found = json.load(f)['concepts']
    labels = {
      r['names']['captions']['label'] for r in found if 'captions' in r['names']
    }
    self.assertLessEqual(labels, {WORDS[0], WORDS[1]})


if __name__ == '__main__':
  absltest.main()
