"""Queries edited by concept find what their new concepts say."""

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
from saejax.pipeline import editing
from tests import planted
from tests.pipeline import truth

IMAGE, FACTORS = truth.IMAGE, planted.FACTORS


class EditTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.data = planted.sample(900)
    labels = cls.data.shown_NF, cls.data.mentioned_NF
    cls.store = planted.write_store(
      os.path.join(folder, 'store'),
      cls.data.image_ND,
      cls.data.text_ND,
      (0.4, 0.1, 0.5),
      labels,
    )
    atoms_SD = cls.data.atoms_SD
    cls.sae = truth.save(os.path.join(folder, 'sae'), cls.store, atoms_SD)
    # The text that is nearest to mentioning one factor and nothing else.
    text_ND = cls.data.text_ND
    cosine_NF = text_ND @ atoms_SD[IMAGE : IMAGE + FACTORS].T
    cosine_NF /= np.linalg.norm(text_ND, axis=1, keepdims=True)
    cosine_NF *= cls.data.mentioned_NF
    at = np.unravel_index(cosine_NF.argmax(), cosine_NF.shape)
    cls.row, cls.factor = map(int, at)

  def edit(self, **fields) -> editing.Edited:
    fields = {'row': f'text:{self.row}'} | fields
    return editing.edit(self.sae, self.store, editing.EditConfig(**fields))

  def shown(self, found: editing.Edited, when: str) -> np.ndarray:
    rows = [e['row'] for e in found.lines if e['query'] == when]
    return self.data.shown_NF[rows]

  def test_a_factor_takes_anothers_place(self):
    other = (self.factor + 3) % FACTORS
    found = self.edit(
      add=(IMAGE + other,), remove=(IMAGE + self.factor,), top=5
    )
    self.assertTrue(self.shown(found, 'before')[:, self.factor].all())
    after_nF = self.shown(found, 'after')
    self.assertTrue(after_nF[:, other].all())
    self.assertFalse(after_nF[:, self.factor].any())
    value = lambda name: found.entries[f'edit/{name}']['value']
    self.assertEqual(value('kept'), 0)
    self.assertEqual(value(f'concept={IMAGE + self.factor}/after'), 0)
    self.assertEqual(value(f'concept={IMAGE + other}/before'), 0)
    # Strengths are drawn about 1, and atoms have unit rows.
    self.assertBetween(value(f'concept={IMAGE + other}/after'), 0.9, 1.1)
    self.assertLess(value('cosine_to_query/after'), 0.5)
    labels = found.lines[-1]['labels'].split('; ')
    self.assertIn(f'f{other}', labels)

  def test_nothing_to_do_gives_the_reconstruction(self):
    found = self.edit()
    half = len(found.lines) // 2
    for a, b in zip(found.lines[:half], found.lines[half:], strict=True):
      self.assertEqual(a | {'query': 'after'}, b)
    value = lambda name: found.entries[f'edit/{name}']['value']
    self.assertEqual(value('kept'), 10)
    self.assertAlmostEqual(value('cosine_of_both'), 1, places=6)
    # The similarities are those of the query's reconstruction.
    sae, variables = io.load(self.sae)
    x_1D = self.data.text_ND[[self.row]]
    xhat_D = np.asarray(sae.apply(variables, x_1D).xhat_BD)[0]
    for line in found.lines:
      y_D = self.data.image_ND[line['row']]
      cosine = y_D @ xhat_D / np.linalg.norm(y_D) / np.linalg.norm(xhat_D)
      self.assertAlmostEqual(line['before'], cosine, places=4)

  def test_strength_scales_what_is_added(self):
    twice, once = (
      self.edit(add=(IMAGE,), strength=s).entries[f'edit/concept={IMAGE}/after']
      for s in (2.0, 1.0)
    )
    before = self.edit(add=(IMAGE,)).entries[f'edit/concept={IMAGE}/before']
    gain = lambda e: e['value'] - before['value']
    self.assertAlmostEqual(gain(twice), 2 * gain(once), places=5)

  def test_a_concept_of_images_may_be_added_to_a_text(self):
    other = (self.factor + 3) % FACTORS
    found = self.edit(add=(other,), strength=3.0, top=5)
    self.assertTrue(self.shown(found, 'after')[:, other].all())

  def test_a_query_is_found_by_its_words_whatever_the_case(self):
    found = self.edit(query=f'  TEXT {self.row}', row=None)
    self.assertEqual(found.lines, self.edit().lines)

  @parameterized.parameters('image', 'text')
  def test_the_query_itself_is_not_retrieved(self, name):
    row = int(store_lib.Store(self.store)[name].rows('test')[0])
    found = self.edit(row=f'{name}:{row}', retrieve=name, top=3)
    self.assertNotIn(row, [e['row'] for e in found.lines])
    self.assertEqual({e['stream'] for e in found.lines}, {name})
    self.assertLen(found.lines, 6)

  def test_what_is_written_is_what_was_found(self):
    out = os.path.join(self.create_tempdir().full_path, 'out')
    found = self.edit(remove=(IMAGE + self.factor,), top=4)
    found.write(out)
    self.assertEqual(results.read(out), found.entries)
    with open(os.path.join(out, 'retrieved.csv'), newline='') as f:
      rows = list(csv.DictReader(f))
    self.assertEqual(
      [int(r['row']) for r in rows], [e['row'] for e in found.lines]
    )
    with open(os.path.join(out, 'retrieved.html'), encoding='utf-8') as f:
      page = f.read()
    self.assertIn(f'concept {IMAGE + self.factor} removed', page)
    self.assertIn(f'text {self.row}', page)

  @parameterized.parameters(
    ({'row': None}, 'Give one of --query'),
    ({'query': 'text 1'}, 'Give one of --query'),
    ({'row': None, 'query': 'text one 7'}, "says 'text one 7'. Near is 'text"),
    ({'row': 'words:3'}, '--row=words:3 is not understood'),
    ({'row': 'text:900'}, 'has rows 0…899'),
    ({'row': 'text:-1'}, '--row=text:-1 is not understood'),
    ({'add': (truth.S,)}, f'no concept {truth.S}: the dictionary has 0…'),
    ({'remove': (-1,)}, 'There is no concept -1'),
    ({'top': 0}, '--top=0 must be at least 1'),
  )
  def test_refuses(self, fields, message):
    with self.assertRaisesRegex(errors.UserError, message):
      self.edit(**fields)


if __name__ == '__main__':
  absltest.main()
