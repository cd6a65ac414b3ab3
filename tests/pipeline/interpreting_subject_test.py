"""Concepts to explain: those that fire in enough examples, of every kind."""

import dataclasses
import os
import tempfile

from absl.testing import absltest
import numpy as np
import scipy.sparse

from saejax import errors
from saejax import store as store_lib
from saejax.analysis import interpretation
from saejax.data import captions
from saejax.data import scenes
from saejax.pipeline import interpreting
from saejax.pipeline import interpreting_explainers as explainers
from saejax.pipeline import interpreting_reading as reading
from saejax.pipeline import interpreting_subject as subject
from tests.pipeline import planted_scenes


class Recorder:
  """Explains nothing, and remembers what it was shown."""

  cut, is_graded = 0.5, True

  def __init__(self, fires):
    self.fires, self.shown = fires, []

  def explain(self, evidence, a_NC):
    return [str(j) for j in range(a_NC.shape[1])]

  def score(self, explanation, texts):
    self.shown.append([text in self.fires for text in texts])
    return np.array([float(text in self.fires) for text in texts])


class SubjectTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.sae = os.path.join(cls.folder, 'sae')
    planted_scenes.write_sae(cls.sae)
    cls.subject = subject.read(cls.config('half', n=400, kept=0.5))

  @classmethod
  def config(cls, name, **given) -> subject.InterpretConfig:
    store = os.path.join(cls.folder, name)
    planted_scenes.write_store(store, **given)
    return subject.InterpretConfig(sae=cls.sae, store=store, strata=2)

  def test_examples_that_fire_are_counted_once(self):
    z = np.zeros((6, 3))
    z[:3, 0] = z[::2, 1] = 1
    rows = reading.Rows(
      z, scipy.sparse.csr_matrix(z), np.array([0, 0, 0, 1, 1, 2]),
      np.arange(3), None,
    )  # fmt: skip
    np.testing.assert_array_equal(rows.examples_that_fire(), [1, 2, 0])

  def test_every_kind_fires_in_as_many_examples(self):
    s = self.subject
    drawn = s.train.examples_that_fire()[s.concepts]
    self.assertGreaterEqual(drawn.min(), interpretation.LEAST_EXAMPLES)
    self.assertLessEqual(drawn.max(), 0.9 * s.train.n)
    self.assertFalse(s.eligible_S.all())  # Some of the world are too rare.
    self.assertCountEqual(s.concepts, np.flatnonzero(s.eligible_S))
    self.assertEqual([x.name for x in s.sources], list(interpreting.SOURCES))
    for source in s.sources:
      found = subject.prepare(s, source)
      np.testing.assert_array_equal((found.train_NC > 0).sum(0), drawn)

  def test_a_caption_is_described_by_what_was_read(self):
    data = planted_scenes.dataset(4)
    path = os.path.join(self.folder, 'read')
    of = {'layer03.image': 'image', 'layer03.caption': 'text'}
    columns = ('group', 'split', 'pair', 'position', 'token_id')
    writer = store_lib.StoreWriter(
      path,
      {
        name: store_lib.StreamSpec(d=2, modality=kind, columns=columns)
        for name, kind in of.items()
      },
      {'dataset': planted_scenes.about(data)},
    )
    pair_n = np.array([2, 2, 0, 0])  # Two tokens of each example.
    ids = {name: np.zeros(4, int) for name in columns} | {'pair': pair_n}
    said = [{'caption': f'caption {i}'} for i in pair_n]
    for name, words in zip(of, ([{}] * 4, said), strict=True):
      writer.write(name, 0, np.ones((4, 2), np.float32), ids, words)
    writer.finish()
    store = store_lib.Store(path)
    describe = lambda name, data: reading.describe(
      store, store[name], np.array([0, 2]), data
    )
    for known in (data, reading.open_data(store, None), None):
      self.assertEqual(
        describe('layer03.caption', known), ['caption 0', 'caption 2']
      )
    # Of images all that is there is told.
    whole = dataclasses.replace(data.world, captions='full')
    sampled = scenes.sample(whole, np.array([0, 2]))
    self.assertEqual(
      describe('layer03.image', data), captions.caption(whole, sampled).text
    )
    with self.assertRaisesRegex(errors.UserError, 'keeps no captions'):
      describe('layer03.image', None)

  def test_too_few_are_told(self):
    with self.assertRaisesRegex(
      errors.UserError,
      '0 of 20 concepts of .*/sae fire in at least 30 and at most 90% of the '
      '37 examples of train',
    ):
      subject.read(self.config('small', n=60))

  def test_what_fires_nearly_everywhere_cannot_be_tried(self):
    at = np.arange(60)
    for silent, is_tried in ((9, False), (10, True)):
      t = interpretation.Trial(at[:20], at[20 : 20 + silent], at[:0])
      self.assertEqual(subject.can_be_tried(t), is_tried)
    t = interpretation.Trial(at[:2], at[20:40], at[:0])
    self.assertFalse(subject.can_be_tried(t))

  def test_a_kind_that_is_not_eligible_is_not_tried(self):
    s = self.subject
    own = s.sources[0]
    stray = own.train_nC.copy()
    stray[s.train.example_n > 50, 0] = 0
    self.assertBetween((stray[:, 0] > 0).sum(), 3, 200)
    found = subject.prepare(s, dataclasses.replace(own, train_nC=stray))
    self.assertIsNone(found.trials[0])
    self.assertIsNotNone(found.trials[1])

  def test_half_of_the_patches_tell_where_concepts_are(self):
    s = self.subject
    p = planted_scenes.P
    fires_NPC, kept_NP = reading.on_grid(s.sources[0].test_nC, s.test, p)
    self.assertBetween(kept_NP.mean(), 0.7, 0.8)  # Each is seen twice.
    self.assertFalse(fires_NPC[~kept_NP].any())
    # Perfect masks of what is planted.
    masks = reading.masks(reading.world(s.store), s.test.pair_N, p)
    names = list(masks.names)
    for name in planted_scenes.NAMES[:3]:
      mask_NP = masks.mask_NPF[..., names.index(name)]
      perfect_NP = mask_NP & kept_NP
      iou = interpretation.intersection_over_union
      all_NP = np.ones_like(kept_NP)
      self.assertEqual(iou(perfect_NP, mask_NP[..., None], kept_NP)[0], 1)
      self.assertLess(iou(perfect_NP, mask_NP[..., None], all_NP)[0], 0.85)
    found = interpreting.localise(s, s.sources[0])
    self.assertGreater(found.iou_C.mean(), 0.98)
    self.assertLess(found.shuffled_C.mean(), 0.2)

  def test_what_is_on_no_object_has_no_factor(self):
    s = self.subject
    nowhere = [np.zeros_like(z) for z in (
      s.sources[0].train_nC, s.sources[0].test_nC)]  # fmt: skip
    found = interpreting.localise(s, subject.Source('sae', *nowhere))
    self.assertEqual(set(found.factor), {''})
    np.testing.assert_array_equal(found.iou_C, 0)
    np.testing.assert_array_equal(found.shuffled_C, 0)

  def test_what_fires_at_random_is_not_explained(self):
    s, rng = self.subject, np.random.default_rng(3)
    c = len(s.concepts)
    at_random = [
      ((rng.random((r.n, c)) < 0.3) * rng.random((r.n, c)))[r.example_n]
      for r in (s.train, s.test)
    ]
    own = subject.prepare(s, subject.Source('sae', *at_random))
    naming = explainers.Naming(s.train_texts)
    entries = interpreting.interpret(s, [own], naming).entries
    self.assertLessEqual(entries['sae/explained']['value'], 0.1)
    e = entries['sae-shuffled/auroc']
    self.assertBetween(0, e['low'], e['high'])
    self.assertEqual(e['n'], c)

  def test_who_scores_is_shown_examples_in_no_order(self):
    s = self.subject
    found = subject.prepare(s, s.sources[0])
    # Descriptions of scenes are told apart by whether the first concept fires.
    fires = {s.test_texts[i] for i in np.flatnonzero(found.test_NC[:, 0] > 0)}
    recorder = Recorder(fires)
    result = interpreting.interpret(s, [found], recorder)
    first = recorder.shown[0]
    self.assertBetween(sum(first), 10, 20)
    self.assertNotEqual(first, sorted(first, reverse=True))
    for batch in explainers.batches(first):
      self.assertBetween(sum(batch), 1, len(batch) - 1)
    # What it says is of the example that it was shown.
    self.assertEqual(result.rows[0]['auroc'], 1)
    again = Recorder(fires)
    interpreting.interpret(s, [found], again)
    self.assertEqual(again.shown, recorder.shown)


if __name__ == '__main__':
  absltest.main()
