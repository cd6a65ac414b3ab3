"""Words stand for the concepts that are named so, or that lie nearest."""

import os
import tempfile
from unittest import mock

from absl.testing import absltest
import numpy as np

from saejax import errors
from saejax import store as store_lib
from saejax.pipeline import editing
from saejax.pipeline import naming
from saejax.pipeline import naming_words
from tests import planted
from tests.pipeline import naming_test

IMAGE, WORDS = naming_test.IMAGE, naming_test.WORDS


class Tower:
  """Gives texts of the store their rows, words the text atom they speak of."""

  def __init__(self, path: str, atoms_SD: np.ndarray):
    self.text = mock.Mock(d=planted.D)
    self.vlm = mock.Mock()
    self.vlm.name = 'tower'
    stream = store_lib.Store(path)['text']
    first_n = stream.rows('train')[: naming_words._TRIED]
    self._said = [w['caption'] for w in stream.words(first_n)]
    self._rows_nD = stream.take(first_n)
    self._atoms_SD = atoms_SD

  def _row(self, text: str) -> np.ndarray:
    word = {'rouge': WORDS[2]}.get(text.split()[-1], text.split()[-1])
    away_D = np.full(planted.D, 0.3)
    if word not in WORDS:
      return away_D
    return self._atoms_SD[IMAGE + WORDS.index(word)] + away_D

  def texts(self, texts):
    if list(texts) == self._said:
      return self._rows_nD, None
    return np.stack([self._row(text) for text in texts]), None


class WordsTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.store, cls.sae, cls.data = naming_test.plant(folder)
    cls.names = os.path.join(folder, 'names')
    naming.name(
      naming.NameConfig(sae=cls.sae, store=cls.store, model='none'), cls.names
    )
    stream = store_lib.Store(cls.store)['text']
    rows_n = stream.rows('test')
    label_nF = stream.column('labels')[rows_n]
    # A text of one thing alone, that is neither of those below.
    alone_n = (label_nF.sum(1) == 1) & ~label_nF[:, :3].any(1)
    cls.row = int(rows_n[alone_n][0])
    cls.factor = int(stream.column('labels')[cls.row].argmax())

  def edit(self, names=True, **fields) -> editing.Edited:
    config = editing.EditConfig(
      row=f'text:{self.row}', names=self.names if names else None, **fields
    )
    return editing.edit(self.sae, self.store, config)

  def tower(self, tower=None):
    tower = tower or Tower(self.store, self.data.atoms_SD)
    return mock.patch.object(naming_words, 'load_model', lambda *_: tower)

  def test_a_label_is_the_concept_of_the_querys_modality_named_so(self):
    found = self.edit(add=(WORDS[0],), remove=(WORDS[self.factor].upper(),))
    by_number = self.edit(add=(IMAGE,), remove=(IMAGE + self.factor,))
    self.assertEqual(
      [c.concept for c in found.chosen], [IMAGE, IMAGE + self.factor]
    )
    self.assertEqual(found.lines, by_number.lines)
    self.assertEqual(found.entries, by_number.entries)
    for c in found.chosen:
      self.assertGreater(c.score, 0.9)
      told = f'@{c.word} is concept {c.concept}: {c.score:.3f}, AUROC of'
      self.assertIn(told, editing.summary(found))

  def test_words_and_numbers_go_together_and_one_concept_comes_once(self):
    found = self.edit(add=(IMAGE, WORDS[0], IMAGE + 1))
    self.assertEqual(found.entries, self.edit(add=(IMAGE, IMAGE + 1)).entries)

  def test_a_word_that_is_no_label_is_embedded(self):
    with self.tower():
      found = self.edit(add=('rouge',))
    self.assertEqual(found.chosen[0].concept, IMAGE + 2)
    self.assertGreater(found.chosen[0].score, 0.7)
    self.assertIn('as tower embeds it', editing.summary(found))

  def test_without_names_every_word_is_embedded(self):
    with self.tower():
      found = self.edit(names=False, add=WORDS[:2])
    self.assertEqual([c.concept for c in found.chosen], [IMAGE, IMAGE + 1])

  def test_without_either_what_is_near_is_told(self):
    failing = mock.Mock(side_effect=errors.UserError('no model stub'))
    with mock.patch.object(naming_words, 'load_model', failing):
      with self.assertRaisesRegex(
        errors.UserError, r"named 'batt'\. Near are 'bat', .*\(no model stub\)"
      ):
        self.edit(add=('batt',))
      with self.assertRaisesRegex(errors.UserError, 'Give --names=FOLDER'):
        self.edit(names=False, add=('batt',))

  def test_another_model_than_the_stores_is_refused(self):
    tower = Tower(self.store, self.data.atoms_SD)
    tower.text.d = 7
    with (
      self.tower(tower),
      self.assertRaisesRegex(errors.UserError, 'gives rows of width 7'),
    ):
      self.edit(add=('rouge',))

  def test_names_of_a_larger_dictionary_are_refused(self):
    folder = self.create_tempdir()
    folder.create_file(
      'names.json', '{"concepts": [{"concept": 99, "label": "bat"}]}'
    )
    with self.assertRaisesRegex(errors.UserError, 'is of another dictionary'):
      editing.edit(
        self.sae,
        self.store,
        editing.EditConfig(row='text:1', names=folder.full_path, add=('bat',)),
      )

  def test_what_is_no_list_of_names_is_refused(self):
    folder = self.create_tempdir()
    folder.create_file('names.json', '{"concepts": [3]}')
    config = editing.EditConfig(
      row='text:1', names=folder.full_path, add=('bat',)
    )
    with self.assertRaisesRegex(errors.UserError, 'is not what name writes'):
      editing.edit(self.sae, self.store, config)


if __name__ == '__main__':
  absltest.main()
