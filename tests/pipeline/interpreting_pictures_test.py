"""A judge that is shown pictures finds what is planted, where it fires."""

import dataclasses
import io
import os
import re
import tempfile

from absl.testing import absltest
import numpy as np
from PIL import Image
import scipy.sparse

from saejax import errors
from saejax.data import judge
from saejax.data import records
from saejax.data import scenes
from saejax.pipeline import interpreting
from saejax.pipeline import interpreting_explainers as explainers
from saejax.pipeline import interpreting_pictures as pictures_lib
from saejax.pipeline import interpreting_reading as reading
from saejax.pipeline import interpreting_subject as subject
from tests.data import stub_judge
from tests.pipeline import planted_scenes

N, P = 700, planted_scenes.P
COLOURS = tuple(scenes.COLOURS)
_PALETTE_F3 = np.array(list(scenes.COLOURS.values()), float)
_LIT = 80  # No pixel that was darkened is as bright.


def shares(image_HW3: np.ndarray, is_masked: bool) -> np.ndarray:
  """Of the pixels that are lit, which part is of each colour: [F]."""
  x_n3 = image_HW3[::4, ::4].reshape(-1, 3).astype(float)
  x_n3 = x_n3[x_n3.max(1) > (_LIT if is_masked else 0)]
  far_nF = np.abs(x_n3[:, None] - _PALETTE_F3).max(2)
  near_n = np.where(far_nF.min(1) < 40, far_nF.argmin(1), len(COLOURS))
  count_F = np.bincount(near_n, minlength=len(COLOURS) + 1)
  return count_F[: len(COLOURS)] / max(len(x_n3), 1)


def answer(text: str, images: list[np.ndarray]) -> str:
  """A judge that sees colours alone, and reads no word of what it is shown."""
  if 'numbered' in text:
    told = COLOURS.index(re.search(r'fire for: (.*)', text)[1].strip())
    seen = [shares(image, False)[told] for image in images]
    return str([float(min(100 * share, 10)) for share in seen])
  fires, _, silent = text.partition('Silent:')
  n = fires.count('\n- (')
  assert n + silent.count('\n-') == len(images), text
  lit_F = np.mean([shares(image, True) for image in images[:n]], axis=0)
  rest_F = np.mean([shares(image, False) for image in images[n:]], axis=0)
  return COLOURS[int((lit_F - rest_F).argmax())]


class PicturesTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    store, sae = (os.path.join(cls.folder, name) for name in ('store', 'sae'))
    planted_scenes.write_store(store, N)
    planted_scenes.write_sae(sae, len(COLOURS))
    cls.subject = subject.read(
      subject.InterpretConfig(
        sae=sae, store=store, concepts=10, strata=2, pictures=True
      )
    )
    cls.prepared = {
      s.name: subject.prepare(cls.subject, s) for s in cls.subject.sources
    }

  def interpret(self, stub, prepared, cache: str = ''):
    endpoint = judge.Endpoint(
      stub.url, 'eyes', cache or self.create_tempdir().full_path
    )
    return interpreting.interpret(
      self.subject, prepared, explainers.Judge(endpoint)
    )

  def test_planted_colours_are_explained(self):
    prepared = [self.prepared['sae'], self.prepared['random']]
    cache = self.create_tempdir().full_path
    with stub_judge.serve(answer) as stub:
      found = self.interpret(stub, prepared, cache)
      asked = len(stub.asked)
      self.assertEqual(
        self.interpret(stub, prepared, cache).entries, found.entries
      )
      self.assertLen(stub.asked, asked)  # All is known.
    value = lambda name: found.entries[name]['value']
    own = [row for row in found.rows if row['source'] == 'sae']
    right = [row['explanation'] == COLOURS[row['concept']] for row in own]
    self.assertGreaterEqual(sum(right), 9)
    self.assertEqual(value('judge/unread'), 0)
    self.assertGreater(value('sae/auroc'), 0.9)
    self.assertLess(value('sae/auroc/shuffled'), 0.55)
    self.assertGreater(found.entries['sae-shuffled/auroc']['low'], 0.3)
    self.assertGreater(found.entries['sae-random/auroc']['low'], 0.1)

  def test_what_fires_at_random_is_at_chance(self):
    s, rng = self.subject, np.random.default_rng(3)
    c = len(s.concepts)
    fires = lambda r: (
      (rng.random((r.n, c)) < 0.3)[r.example_n]
      * (rng.random((len(r.example_n), c)) < 0.1)
      * rng.random((len(r.example_n), c))
    )
    own = subject.Source('sae', *(fires(r) for r in (s.train, s.test)))
    with stub_judge.serve(answer) as stub:
      found = self.interpret(stub, [subject.prepare(s, own)])
    e = found.entries['sae/auroc']
    self.assertEqual(e['n'], c)
    self.assertBetween(0.5, e['low'], e['high'])
    e = found.entries['sae-shuffled/auroc']
    self.assertBetween(0, e['low'], e['high'])

  def test_pictures_are_lit_where_a_concept_fires(self):
    s, own = self.subject, self.prepared['sae']
    masks = reading.masks(reading.world(s.store), s.train.pair_N, P)
    for j, concept in enumerate(s.concepts):
      name = planted_scenes.NAMES[concept]
      held_NP = masks.mask_NPF[..., list(masks.names).index(name)]
      message = explainers.explain_messages(own.evidence[j])[-1]
      parts = [p for p in message['content'] if 'image_url' in p]
      self.assertLen(parts, 6 + 3 + 4)
      order = np.argsort(-own.train_NC[:, j], kind='stable')
      for part, n in zip(parts[:6], order, strict=False):
        image = stub_judge.pixels(part).astype(float)
        whole = s.pictures.whole(int(s.train.pair_N[n]))
        plain = stub_judge.pixels({'image_url': {'url': whole.url}})
        # By the middle of each patch, clear of its borders.
        at = (2 * np.arange(P) + 1) * len(image) // (2 * P)
        middle = np.add.outer(at, np.arange(-8, 9)).ravel()
        blocks = lambda x, m=middle: (
          x[m][:, m].reshape(P, 17, P, 17, 3).mean((1, 3, 4)).ravel()
        )
        ratio_P = blocks(image) / blocks(plain.astype(float))
        np.testing.assert_array_equal(ratio_P > 0.6, held_NP[n])
        np.testing.assert_allclose(ratio_P[held_NP[n]], 1, atol=0.05)
        np.testing.assert_allclose(ratio_P[~held_NP[n]], 0.25, atol=0.05)

  def test_silent_images_and_those_to_be_told_are_whole(self):
    own = self.prepared['sae']
    for e, t in zip(own.evidence, own.trials, strict=True):
      self.assertTrue(all(p.is_masked for p in e.pictures))
      tried = subject.trial_examples(self.subject, t)
      whole = [self.subject.pictures.whole(int(i)) for i in
               self.subject.test.pair_N[t.examples]]  # fmt: skip
      self.assertEqual(tried, whole)
      self.assertFalse(any(p.is_masked for p in (*e.silent_pictures, *tried)))
    said = explainers.explain_messages(own.evidence[0])
    self.assertIn('all else of the image is darkened', said[0]['content'])
    # No word of what scenes hold is told.
    self.assertEqual(
      ''.join(part.get('text', '#') for part in said[1]['content']),
      'Fires:'
      + ''.join(f'\n- ({v:.1f}) #' for v in own.evidence[0].strength)
      + '\n\nSilent:'
      + '\n- #' * 4,
    )

  def test_what_it_takes_is_counted_before(self):
    prepared = [self.prepared['sae']]
    cost = subject.cost(self.subject, prepared, None)
    with stub_judge.serve(lambda text, images: 'x') as stub:
      self.interpret(stub, prepared)
    sent = [body['messages'] for body in stub.asked]
    # Every concept is explained and, twice, tried; equal questions are one.
    (own,) = prepared
    trials = [len(t.examples) for t in own.trials]
    self.assertEqual(cost.calls, 10 + 2 * sum(-(-n // 10) for n in trials))
    self.assertEqual(cost.pictures, 10 * 13 + 2 * sum(trials))
    self.assertEqual(
      10 * 13 + sum(trials), sum(judge.pictures(m) for m in sent)
    )
    letters = sum(judge.characters(m) for m in sent)
    self.assertBetween(cost.characters, 1.4 * letters, 2 * letters)
    self.assertEqual(
      cost.line(),
      f'the judge is asked {cost.calls:,} questions, about {cost.tokens:,} '
      f'tokens of words and {cost.pictures:,} pictures, '
      f'{cost.characters:,} characters in all; 0 explanations are known '
      'already',
    )

  def test_where_places_are_not_known_pictures_are_whole(self):
    s = self.subject
    blind = dataclasses.replace(
      s, train=dataclasses.replace(s.train, place_n=None)
    )
    (e, *_) = subject.prepare(blind, s.sources[0]).evidence
    self.assertLen(e.pictures, 9)
    self.assertFalse(any(p.is_masked for p in e.pictures))
    said = explainers.explain_messages(e)[0]['content']
    self.assertNotIn('darkened', said)


class Records:
  """A data set of one image, whatever it holds."""

  def __init__(self, image: bytes):
    self._image = image

  def __len__(self) -> int:
    return 1

  def split(self, i: int) -> None:
    del i

  def record(self, i: int) -> records.Record:
    return records.Record(image=self._image, captions=('a',), words={}, group=i)


class ReadingTest(absltest.TestCase):
  def rows(self, place_n, patch_n) -> reading.Rows:
    x = np.zeros((len(place_n), 1))
    return reading.Rows(
      x, scipy.sparse.csr_matrix(x), np.zeros(len(place_n), int),
      np.arange(1), place_n, patch_n,
    )  # fmt: skip

  def test_patches_are_those_of_the_store_or_of_one_tile(self):
    of_one = [0, 1, 2, 3, 0, 1, -1, 2, 3, -1]
    p, patch_n = reading.patches(self.rows(np.arange(10), None), None)
    self.assertEqual(p, 2)
    np.testing.assert_array_equal(patch_n, of_one)
    said = np.array([0, 3, -1])
    p, patch_n = reading.patches(self.rows(np.array([0, 3, 20]), said), 2)
    self.assertEqual((p, patch_n.tolist()), (2, said.tolist()))
    of_no_tile = self.rows(np.arange(9), None)
    for rows in (of_no_tile, dataclasses.replace(of_no_tile, place_n=None)):
      self.assertEqual(reading.patches(rows, None), (None, None))

  def test_patches_are_lit_by_any_token_that_sees_them(self):
    z_n = np.array([1, 0, 2, 0, 3, 4, 5.0])
    example_n = np.array([0, 0, 1, 1, 2, 2, 2])
    patch_n = np.array([0, 1, 3, 2, -1, 1, 1])
    found = reading.lit(z_n, example_n, patch_n, np.array([2, 0]), 2)
    np.testing.assert_array_equal(
      found, [[False, True, False, False], [True, False, False, False]]
    )

  def test_an_image_of_a_data_set_is_shown_small(self):
    file = io.BytesIO()
    Image.new('RGB', (448, 300), (200, 40, 20)).save(file, 'PNG')
    shown = pictures_lib.Pictures(Records(file.getvalue())).whole(0)
    pixels = stub_judge.pixels({'image_url': {'url': shown.url}}).astype(int)
    self.assertEqual(pixels.shape, (150, 224, 3))
    self.assertLess(np.abs(pixels - [200, 40, 20]).max(), 6)

  def test_what_cannot_be_shown_is_told(self):
    for image, pair, message in (
      (b'no image', 0, '--pictures: the image of record 0 cannot be read'),
      (b'no image', 1, '--dataset has 1 records, and the store has a numb'),
    ):
      with self.assertRaisesRegex(errors.UserError, message):
        pictures_lib.Pictures(Records(image)).whole(pair)


if __name__ == '__main__':
  absltest.main()
