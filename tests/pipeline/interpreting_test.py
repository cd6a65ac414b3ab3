"""Planted concepts are explained; shuffled explanations are at chance."""

import csv
import dataclasses
import os
import re
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax import errors
from saejax import results
from saejax import store as store_lib
from saejax.data import judge
from saejax.data import render
from saejax.data import scenes
from saejax.data import specs
from saejax.pipeline import interpreting
from saejax.pipeline import interpreting_explainers as explainers
from saejax.pipeline import interpreting_reading as reading
from saejax.pipeline import interpreting_subject as subject
from tests.data import stub_judge
from tests.pipeline import planted_scenes

N = 700  # Scenes.
WORDS = [name.split('=')[1] for name in planted_scenes.NAMES]


def answer(text: str) -> str:
  """A judge that counts words, and looks for the one it was told."""
  if 'numbered' in text:
    told = re.search(r'fire for: (.*)', text)[1].strip()
    lines = re.findall(r'^\d+\. (.*)$', text, re.MULTILINE)
    return str([9 if told in line.split() else 1 for line in lines])
  fires, _, silent = text.partition('Silent:')
  share = lambda part, word: part.split().count(word) / part.count('\n- ')
  return max(WORDS, key=lambda word: share(fires, word) - share(silent, word))


class InterpretTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.store = os.path.join(cls.folder, 'store')
    cls.sae = os.path.join(cls.folder, 'sae')
    planted_scenes.write_store(cls.store, N)
    planted_scenes.write_sae(cls.sae)
    cls.subject = subject.read(cls.config())
    cls.prepared = [
      subject.prepare(cls.subject, s) for s in cls.subject.sources
    ]
    naming = explainers.Naming(cls.subject.train_texts)
    cls.named = interpreting.interpret(cls.subject, cls.prepared, naming)

  @classmethod
  def config(cls, **changes) -> subject.InterpretConfig:
    given = {'sae': cls.sae, 'store': cls.store, 'concepts': 16, 'strata': 2}
    return subject.InterpretConfig(**given | changes)

  def value(self, name: str, found=None) -> float:
    return (found or self.named).entries[name]['value']

  def assert_planted(self, found):
    value = lambda name: self.value(name, found)
    self.assertGreater(value('sae/auroc'), 0.9)
    self.assertGreater(value('sae/hard'), 0.8)
    self.assertBetween(value('sae/auroc/shuffled'), 0.4, 0.62)
    for source in ('dimension', 'random', 'whitened'):
      self.assertLess(value(f'{source}/auroc'), value('sae/auroc') - 0.1)
    entries = (found or self.named).entries
    for name in ('shuffled', 'dimension', 'random', 'whitened'):
      e = entries[f'sae-{name}/auroc']
      self.assertGreater(e['low'], 0.1)
      self.assertLess(e['high'], 0.7)

  def test_planted_concepts_are_named(self):
    self.assert_planted(self.named)
    right = sum(
      row['explanation'] == WORDS[row['concept']]
      for row in self.named.rows
      if row['source'] == 'sae'
    )
    self.assertGreaterEqual(right, 13)

  def test_they_are_where_their_objects_are(self):
    self.assertGreater(self.value('sae/iou'), 0.9)
    self.assertLess(self.value('sae/iou/shuffled'), 0.2)
    self.assertLess(self.value('random/iou'), 0.5)
    self.assertLess(self.value('dimension/iou'), 0.5)
    self.assertLess(self.value('whitened/iou'), 0.5)
    for row in self.named.rows:
      if row['source'] == 'sae':
        self.assertIn(WORDS[row['concept']], row['factor'])

  def test_every_number_says_what_it_rests_on(self):
    for name, e in self.named.entries.items():
      split = 'train' if name == 'concepts/eligible' else 'test'
      self.assertEqual(e['split'], split, name)
      self.assertGreater(e['n'], 0, name)
    e = self.named.entries['concepts/eligible']
    self.assertEqual(e['n'], len(WORDS))
    self.assertEqual(e['value'], self.subject.eligible_S.sum())

  def test_what_stands_beside_a_concept_is_compared_with_it(self):
    scores = {
      source: np.array([
        row['auroc'] or np.nan
        for row in self.named.rows
        if row['source'] == source
      ], float)
      for source in interpreting.SOURCES
    }  # fmt: skip
    for name in interpreting.SOURCES[1:]:
      difference = scores['sae'] - scores[name]
      e = self.named.entries[f'sae-{name}/auroc']
      self.assertEqual(e['n'], np.isfinite(difference).sum())
      self.assertAlmostEqual(e['value'], np.nanmean(difference))
      self.assertEqual(e['interval'], 'bootstrap over concepts')

  def test_files(self):
    out = self.create_tempdir().full_path
    self.named.write(out)
    self.assertEqual(results.read(out), self.named.entries)
    for kind in ('png', 'svg', 'csv'):
      path = os.path.join(out, 'figures', f'detection.{kind}')
      self.assertGreater(os.path.getsize(path), 100)
    path = os.path.join(out, 'explanations.csv')
    with open(path, encoding='utf-8') as f:
      self.assertLen(list(csv.DictReader(f)), 4 * 16)
    said = interpreting.summary(self.named)
    self.assertRegex(said, r'^\d+ of 20 concepts are eligible\n')
    self.assertRegex(said, r'\nsae: auroc \d\.\d{3} .*\(shuffled 0\.\d')
    self.assertRegex(said, r'\nsae above whitened: auroc 0\.\d{3} \[0\.')

  def test_a_judge_is_asked_once_and_goes_on_where_it_stopped(self):
    cache = os.path.join(self.create_tempdir().full_path, 'answers')
    with stub_judge.serve(answer) as stub:
      endpoint = judge.Endpoint(stub.url, 'small', cache)
      cost = subject.cost(self.subject, self.prepared, endpoint)
      self.assertEmpty(stub.asked)
      run = lambda: interpreting.interpret(
        self.subject, self.prepared, explainers.Judge(endpoint)
      )
      first = run()
      asked = len(stub.asked)
      self.assertLessEqual(asked, cost.calls)
      self.assertGreater(asked, 0.5 * cost.calls)  # Equal questions are one.
      # Half of the answers are lost: only these are asked for again.
      names = sorted(os.listdir(cache))
      for name in names[::2]:
        os.remove(os.path.join(cache, name))
      again = run()
      self.assertEqual(len(stub.asked) - asked, len(names[::2]))
      self.assertEqual(first.entries, again.entries)
      self.assertGreater(
        subject.cost(self.subject, self.prepared, endpoint).known, 16
      )
    self.assert_planted(first)
    self.assertGreater(self.value('sae/balanced', first), 0.85)
    # Scores of 0 and 1 have an AUROC alone.
    self.assertNotIn('sae/balanced', self.named.entries)
    self.assertNotIn('balanced', self.named.rows[0])
    self.assertEqual(self.value('judge/unread', first), 0)
    # All is known: no endpoint is needed any more.
    self.assertEqual(run().entries, first.entries)

  def test_a_judge_that_says_nothing_is_at_chance(self):
    cache = self.create_tempdir().full_path
    with stub_judge.serve(lambda _: 'who knows') as stub:
      endpoint = judge.Endpoint(stub.url, 'small', cache)
      found = interpreting.interpret(
        self.subject, self.prepared[:1], explainers.Judge(endpoint)
      )
    self.assertEqual(self.value('sae/auroc', found), 0.5)
    self.assertEqual(self.value('judge/unread', found), 1)

  def test_where_there_is_nothing_no_difference_is_found(self):
    by_name = {p.source.name: p for p in self.prepared}
    other = dataclasses.replace(self.subject, config=self.config(seed=9))
    sources = subject.sources(
      other.train, other.test, other.concepts, other.config.seed
    )
    random = {s.name: s for s in sources}['random']
    own = subject.prepare(other, dataclasses.replace(random, name='sae'))
    found = interpreting.interpret(
      other, [own, by_name['random']], explainers.Naming(other.train_texts)
    )
    e = found.entries['sae-random/auroc']
    self.assertBetween(0, e['low'], e['high'])
    self.assertGreater(e['n'], 10)

  def write_other(self, name: str, about, stream='image') -> str:
    """An encoder that knows of each scene what it holds."""
    path = os.path.join(self.folder, name)
    held = scenes.present(
      scenes.sample(planted_scenes.dataset(N).world, np.arange(N))
    )
    columns = [scenes.column(name) for name in planted_scenes.NAMES]
    writer = store_lib.StoreWriter(
      path, {stream: store_lib.StreamSpec(d=len(columns))}, about
    )
    ids = {k: np.arange(N) for k in ('group', 'pair')}
    writer.write(stream, 0, held[:, columns] + 0.01, ids | {
      'split': np.zeros(N, int)})  # fmt: skip
    writer.finish()
    return path

  def test_an_independent_encoder_gives_monosemanticity(self):
    same = {'dataset': planted_scenes.about(planted_scenes.dataset(N))}
    other = self.write_other('other', same)
    s = subject.read(self.config(other_store=other))
    naming = explainers.Naming(s.train_texts)
    found = interpreting.interpret(s, self.prepared, naming)
    e = found.entries['sae/monosemanticity']
    self.assertGreater(
      e['value'], self.value('sae/monosemanticity/shuffled', found) + 0.1
    )
    self.assertGreater(
      self.value('sae/monosemanticity_centred', found),
      self.value('sae/monosemanticity_centred/shuffled', found) + 0.1,
    )
    # Not of concepts that fire for less than 30 of the held-out images.
    (own, *_) = self.prepared
    enough_C = (own.test_NC > 0).sum(0) >= 30
    self.assertFalse(enough_C.all())
    self.assertEqual(e['n'], enough_C.sum())

  def test_another_encoder_must_be_of_the_same_images(self):
    same = planted_scenes.about(planted_scenes.dataset(N))
    short = os.path.join(self.folder, 'short')
    planted_scenes.write_store(short, n=4)
    for path, message in (
      (short, 'short is of another data set than'),
      (self.write_other('unsaid', {}), 'unsaid is of another data set than'),
      (
        self.write_other('streamless', {'dataset': same}, 'picture'),
        "has no stream 'image'",
      ),
    ):
      s = dataclasses.replace(
        self.subject, config=self.config(other_store=path)
      )
      with self.assertRaisesRegex(Exception, message):
        interpreting.interpret(s, self.prepared, explainers.Naming([]))

  @parameterized.parameters(
    ({'concepts': 1}, '--concepts=1 must be at least 2'),
    ({'strata': 17}, '--strata=17 are more than --concepts=16'),
    ({'examples': 2}, '--examples=2 must be at least 34'),
    ({'negatives': 9}, '--negatives=9 must be at least 10'),
  )
  def test_mistakes(self, changes, message):
    with self.assertRaisesRegex(errors.UserError, message):
      self.config(**changes)


class ReadingTest(parameterized.TestCase):
  def test_masks_are_where_objects_are_drawn(self):
    data = specs.SceneSet(n=40, seed=5)
    sampled = scenes.sample(data.world, np.arange(40))
    drawn = render.masks(sampled, 48)
    self.assertEqual(drawn.any((2, 3)).sum(), sampled.count_N.sum())
    found = reading.masks(data, np.arange(40), 6)
    held = scenes.present(sampled)
    for f, name in enumerate(found.names):
      np.testing.assert_array_equal(
        found.mask_NPF[..., f].any(1), held[:, scenes.column(name)], name
      )
    # What is inside the only object of a scene is another's colour elsewhere.
    alone = np.flatnonzero(sampled.count_N == 1)[0]
    image = render.render(sampled, 48)[alone].astype(int)
    inside = image[drawn[alone, 0]].mean(0)
    outside = image[~drawn[alone].any(0)].mean(0)
    self.assertGreater(np.abs(inside - outside).max(), 15)

  @parameterized.parameters((78, 6), (1176, 24), (100, None))
  def test_sides(self, places, side):
    self.assertEqual(reading.side_of(places), side)

  @parameterized.parameters(
    ('[1, 2, 10]', [1, 2, 10]),
    ('Sure! [1] then\n[3, 4.5, 20]', [3, 4.5, 10]),
    ('1, 2, 3', [1, 2, 3]),
    ('[1, 2]', [np.nan] * 3),
    ('none', [np.nan] * 3),
  )
  def test_numbers_of_an_answer(self, text, expected):
    np.testing.assert_array_equal(explainers.numbers(text, 3), expected)

  def test_an_analysis_names_its_dictionary_and_store(self):
    folder = self.create_tempdir().full_path
    with self.assertRaisesRegex(errors.UserError, 'There is no run at'):
      subject.from_analysis(folder)
    from saejax.store import manifest

    path = os.path.join(folder, 'run.json')
    manifest.write_json(
      path, {'config': {'analyse': {'sae': 'a', 'store': 'b'}}}
    )
    self.assertEqual(subject.from_analysis(folder), ('a', 'b'))
    manifest.write_json(path, {'config': {'steps': 3}})
    with self.assertRaisesRegex(errors.UserError, 'no folder that analyse'):
      subject.from_analysis(folder)


if __name__ == '__main__':
  absltest.main()
