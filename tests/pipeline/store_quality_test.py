"""Retrieval and geometry of stores whose pairs are known."""

import csv
import os

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax import errors
from saejax import results
from saejax import store
from saejax.analysis import geometry
from saejax.pipeline import evaluation
from saejax.pipeline import matching
from saejax.pipeline import store_quality
from tests import planted
from tests.pipeline import truth

D = 16
COLUMNS = ('group', 'split', 'pair')


def unit(x_nD: np.ndarray) -> np.ndarray:
  return x_nD / np.linalg.norm(x_nD, axis=1, keepdims=True)


def random(n: int, seed: int) -> np.ndarray:
  return np.random.default_rng(seed).normal(size=(n, D))


def write(
  path: str,
  image_ID: np.ndarray,
  text_ND: np.ndarray,
  pair_N: np.ndarray,
  captions: list | None = None,
  **columns: np.ndarray,
) -> str:
  """Writes images, and texts that belong to them; all are of test."""
  parts = {'image': (image_ID, np.arange(len(image_ID)), {}, None)}
  words = captions and [{} if c is None else {'caption': c} for c in captions]
  parts['text'] = text_ND, pair_N, columns, words
  streams = {
    name: store.StreamSpec(
      d=x_nD.shape[1], modality=name, columns=(*COLUMNS, *beside)
    )
    for name, (x_nD, _, beside, _) in parts.items()
  }
  writer = store.StoreWriter(path, streams, {'dataset': {'name': 'by hand'}})
  for name, (x_nD, pair_n, beside, words) in parts.items():
    own = {'group': pair_n, 'pair': pair_n, 'split': np.full(len(pair_n), 2)}
    writer.write(name, 0, x_nD, own | beside, words)
  writer.finish()
  return path


class StoreTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path

  def path(self, name: str) -> str:
    return os.path.join(self.folder, name)

  def find(self, *args, **kwargs) -> dict:
    path = write(self.path('store'), *args, **kwargs)
    return store_quality.evaluate_store(path).entries

  def assert_values(self, found, **expected):
    for name, values in expected.items():
      way, _, what = name.partition('__')
      for k, value in zip(matching.KS, values, strict=True):
        entry = found[f'{way}/{what}@{k}']
        np.testing.assert_allclose(entry['value'], value, err_msg=name)


class RetrievalTest(StoreTest):
  def test_numbers_where_every_rank_is_known(self):
    # Texts point where images do, but for image i's text lying at image
    # i + shift: the similarity falls with the distance on a ring.
    n, shift = 40, np.repeat([0, 3, 12], [20, 10, 10])
    angle = 2 * np.pi * np.arange(n) / n
    ring_n2 = np.stack([np.cos(angle), np.sin(angle)], 1)
    text_n2 = ring_n2[(np.arange(n) + shift) % n]
    found = self.find(ring_n2, text_n2, np.arange(n))
    # Nearer are the image there and shift - 1 on both sides of it; the one as
    # far on the other side is a tie, which counts against.
    rank = 2 * shift
    recalls = [(rank < k).mean() for k in matching.KS]
    self.assertEqual(recalls, [0.5, 0.5, 0.75])
    self.assert_values(
      found,
      text_to_image__recall=recalls,
      text_to_image__chance=np.array(matching.KS) / n,
    )
    entry = found['text_to_image/median_rank']
    self.assertEqual((entry['value'], entry['n']), (np.median(rank + 1), n))
    self.assertEqual(found['text_to_image/candidates']['value'], n)
    self.assertEqual(found['text_to_image/chance_median_rank']['value'], n / 2)

  def test_any_of_several_captions_is_a_hit(self):
    n, each = 30, 5
    image_ID, pair_N = unit(random(n, 0)), np.repeat(np.arange(n), each)
    text_ND = random(n * each, 1)
    # One caption of each image points where it does.
    text_ND[2::each] = image_ID
    found = self.find(image_ID, text_ND, pair_N)
    self.assert_values(
      found,
      image_to_text__recall=[1, 1, 1],
      # Each has five among 150.
      image_to_text__chance=[
        1 - np.prod([(145 - i) / (150 - i) for i in range(k)])
        for k in matching.KS
      ],
    )
    self.assertEqual(found['image_to_text/candidates']['value'], n * each)
    self.assertEqual(found['text_to_image/candidates']['value'], n)
    self.assertEqual(found['text_to_image/recall@1']['n'], n * each)
    self.assertBetween(found['text_to_image/recall@1']['value'], 0.2, 0.5)

  @parameterized.named_parameters(
    ('by_words', True, False),
    ('by_meaning', False, True),
    ('by_meaning_before_words', None, True),
    ('and_else_not', False, False),
  )
  def test_captions_that_say_the_same_are_hits(self, same_words, same_meaning):
    # Texts 0 and 1 are swapped, and say the same or not; 2 is right.
    x_nD = np.eye(4, D)
    said = {True: ['a', 'a', 'b', 'c'], False: ['a', 'b', 'c', 'd'],
            None: ['a', 'b', 'b', 'b']}  # fmt: skip
    meaning = {'meaning': np.array([7, 7, 8, 9])} if same_meaning else {}
    found = self.find(
      x_nD, x_nD[[1, 0, 2, 3]], np.arange(4), said[same_words], **meaning
    )
    same = same_meaning or same_words
    for way in matching.WAYS:
      value = found[f'{way}/recall@1']['value']
      self.assertEqual(value, 1 if same else 0.5)
      chance = found[f'{way}/chance@1']['value']
      self.assertEqual(chance, 6 / 16 if same else 4 / 16)

  def test_texts_without_words_say_what_no_other_does(self):
    x_nD = np.eye(4, D)
    captions = [None, None, 'b', 'c']
    found = self.find(x_nD, x_nD[[1, 0, 2, 3]], np.arange(4), captions)
    self.assertEqual(found['image_to_text/recall@1']['value'], 0.5)

  def test_shuffled_pairs_give_chance(self):
    n = 1500
    x_ND = random(n, 0)
    shuffled = np.random.default_rng(1).permutation(n)
    found = self.find(x_ND, x_ND[shuffled] + random(n, 2), np.arange(n))
    for way in matching.WAYS:
      for k in (5, 10):
        entry = found[f'{way}/recall@{k}']
        self.assertLessEqual(entry['low'], found[f'{way}/chance@{k}']['value'])
        self.assertGreater(entry['high'], found[f'{way}/chance@{k}']['value'])
      entry = found[f'{way}/median_rank']
      chance = found[f'{way}/chance_median_rank']['value']
      self.assertBetween(chance, entry['low'], entry['high'])
      self.assertLess(entry['high'] / entry['low'], 1.25)

  def test_a_collapsed_model_finds_nothing(self):
    one_ND = np.ones((30, D)) / 4
    found = self.find(one_ND, one_ND, np.arange(30))
    for way in matching.WAYS:
      self.assert_values(found, **{f'{way}__recall': [0, 0, 0]})
      self.assertEqual(found[f'{way}/median_rank']['value'], 30)

  def test_what_has_none_of_its_own_is_a_candidate_and_no_query(self):
    # Image 4 has no text, the last two texts no image; image 0 has two.
    x_nD = np.eye(7, D)
    pair_n = np.array([0, 0, 1, 2, 3, 70, 71])
    found = self.find(x_nD[[0, 2, 3, 4, 6]], x_nD, pair_n)
    for way, n, candidates, chance in (
      ('image_to_text', 4, 7, 5 / 4 / 7), ('text_to_image', 5, 5, 1 / 5)
    ):  # fmt: skip
      self.assertEqual(found[f'{way}/recall@1']['n'], n)
      self.assertEqual(found[f'{way}/candidates']['value'], candidates)
      found_chance = found[f'{way}/chance@1']
      np.testing.assert_allclose(found_chance['value'], chance)
      self.assertEqual(found_chance['n'], n)
    self.assert_values(
      found, image_to_text__recall=[1, 1, 1], text_to_image__recall=[0.8, 1, 1]
    )

  def test_intervals_take_an_image_with_its_captions(self):
    # Of half of the images all texts are right, of the others none.
    n, each = 60, 10
    image_ID, pair_N = np.eye(n), np.repeat(np.arange(n), each)
    at = pair_N // 2 * 2
    found = self.find(image_ID, image_ID[at], pair_N)
    entry = found['text_to_image/recall@1']
    self.assertEqual((entry['value'], entry['n']), (0.5, n * each))
    # As wide as 60 numbers make it, not 600.
    np.testing.assert_allclose(
      entry['high'] - entry['low'], 2 * 1.96 * 0.5 / n**0.5, rtol=0.2
    )


class QualityTest(StoreTest):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.data = planted.sample(600)

  def write(self) -> str:
    return planted.write_store(
      self.path('store'), self.data.image_ND, self.data.text_ND
    )

  def test_geometry_is_that_of_unit_rows_of_the_split(self):
    path = self.write()
    found = store_quality.evaluate_store(path).entries
    rows_n = store.Store(path)['image'].rows('test')
    a_nD, b_nD = (
      unit(x_ND[rows_n]).astype(np.float64)
      for x_ND in (self.data.image_ND, self.data.text_ND)
    )
    fit = geometry.fit(a_nD, b_nD)
    for name, value in (
      ('paired_cosine', (a_nD * b_nD).sum(1).mean()),
      ('unpaired_cosine', (a_nD @ b_nD.T).mean()),
      ('gap', fit.gap),
      ('effective_rank', geometry.effective_rank(fit.within_DD)),
      ('image/effective_rank', geometry.effective_rank(np.cov(a_nD.T))),
      ('text/effective_rank', geometry.effective_rank(np.cov(b_nD.T))),
    ):
      entry = found[name]
      np.testing.assert_allclose(entry['value'], value, 1e-4, err_msg=name)
      self.assertEqual(entry['split'], 'test')
    n = len(rows_n)
    self.assertEqual(found['image/effective_rank']['n'], n)
    self.assertEqual(found['effective_rank']['n'], 2 * n)

  def test_recall_and_cosines_are_what_evaluate_has_of_the_same_rows(self):
    path = self.write()
    sae = truth.save(self.path('sae'), path, self.data.atoms_SD)
    found = store_quality.evaluate_store(path, 'val').entries
    kept = 0
    for name, entry in evaluation.evaluate(sae, path, 'val').items():
      if name.startswith('raw/'):
        self.assertEqual(found[name.removeprefix('raw/')], entry, name)
        kept += 1
    self.assertEqual(kept, 15)

  def test_files_and_lines(self):
    quality = store_quality.evaluate_store(self.write(), 'all')
    out = self.path('out')
    quality.write(out)
    self.assertEqual(results.read(out), quality.entries)
    with open(os.path.join(out, 'figures/recall.csv'), newline='') as f:
      rows = {int(row['k']): row for row in csv.DictReader(f)}
    self.assertEqual(max(rows), 600)
    for k in matching.KS:
      for way in matching.WAYS:
        for what in ('recall', 'chance'):
          self.assertEqual(
            float(rows[k][f'{way}_{what}']),
            quality.entries[f'{way}/{what}@{k}']['value'],
          )
    self.assertEqual(float(rows[600]['image_to_text_recall']), 1)
    lines = store_quality.summary(quality.entries).split('\n')
    self.assertLen(lines, 6)
    recall = quality.entries['image_to_text/recall@1']
    self.assertStartsWith(
      lines[0],
      f'image to text: recall@1 {recall["value"]:.4g} [{recall["low"]:.4g}, ',
    )
    self.assertIn(' of 600; 600 queries', lines[0])
    self.assertIn('chance: @1 0.001667, @5 0.008333,', lines[1])


class RefusalTest(StoreTest):
  def assert_refused(self, message: str, path: str, split: str = 'test'):
    with self.assertRaisesRegex(errors.UserError, message):
      store_quality.evaluate_store(path, split)

  @parameterized.parameters(
    ('image', 'no texts to retrieve, and for .* no column label'),
    ('text', r"has no stream image; it has \['text'\]"),
  )
  def test_one_modality(self, name, message):
    path = self.path('store')
    writer = store.StoreWriter(
      path, {name: store.StreamSpec(d=D, modality=name)}, {}
    )
    n = np.arange(9)
    columns = {'group': n, 'pair': n, 'split': n % 3}
    writer.write(name, 0, random(9, 0), columns)
    writer.finish()
    self.assert_refused(message, path)

  def test_pairs_that_share_no_number_and_splits_without_rows(self):
    path = write(self.path('a'), random(5, 0), random(5, 1), np.arange(5) + 50)
    self.assert_refused('No text of .* belongs to any of its images', path)
    path = write(self.path('b'), random(5, 0), random(5, 1), np.arange(5))
    self.assert_refused('Stream image of .*b has no rows in val', path, 'val')
    # But rows in train are asked for only where they are reported on.
    store_quality.evaluate_store(path)

  def test_texts_of_another_width(self):
    path = write(
      self.path('a'), random(5, 0), random(5, 1)[:, :7], np.arange(5)
    )
    self.assert_refused('Stream text of .* has width 7, the images 16', path)


if __name__ == '__main__':
  absltest.main()
