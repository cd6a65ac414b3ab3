"""What the study refuses before any work; a small one from end to end."""

import dataclasses
import os
import re
import shutil
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import errors
from saejax import results
from saejax import store as store_lib
from saejax.explorer import load
from saejax.explorer import schema
from saejax.models import llava_folder
from saejax.pipeline import llava_models
from saejax.pipeline import paper2
from saejax.pipeline import paper2_setup
from saejax.report import claims_sight
from saejax.report import study as report
from tests import meshes
from tests.pipeline import written

REPORTS = (report.HTML, report.MARKDOWN)
TINY = llava_models.LlavaConfig(text_width=64, text_layers=2)
SMALL = {
  'dataset': 'scenes:n=700,splits=0.6/0.15/0.25', 'layers': (1, 2),
  'site_layer': 1, 'latents': 64, 'steps': 20, 'per_example': 6, 'classes': 2,
  'nulls': 79, 'images': 2, 'captions': 4, 'examples': 8, 'concepts': 8,
  'batch': 8, 'factors': ('colour',),
}  # fmt: skip


def save(folder: str) -> str:
  """A model that was never trained."""
  model, hf_config = llava_models.new_model(TINY)
  model = dataclasses.replace(model, params=jax.device_get(model.params))
  llava_folder.save(folder, model, hf_config)
  return folder


class CheckTest(parameterized.TestCase):
  def test_the_defaults_are_fit(self):
    paper2_setup.check(paper2_setup.Paper2Config())

  @parameterized.parameters(
    ({}, 'There is no model /none'),
    ({'dataset': 'coko:'}, 'names no kind of data set'),
    ({'dataset': 'scenes:n=60'}, 'has 0|scenes of one thing in val; --captio'),
    ({'layers': (0, 1)}, 'names 0: name layers from 1'),
    ({'factors': ('mood',)}, "--factors: 'mood' is unknown; choose of colour"),
    ({'factors': ()}, "--factors: '' is unknown"),
    (
      {'nulls': 98},
      'of 5 classes at a layer none can pass with fewer than 99',
    ),
    (
      {'nulls': 398, 'classes': 12, 'layers': (1, 2)},
      'of 10 classes at each of 2 layers none can pass with fewer than 399',
    ),
    ({'classes': 1}, '--classes=1 must be at least 2'),
    ({'latents': 8, 'expansion': 2.0}, '--latents or --expansion, not both'),
    ({'site_examples': 9}, '--site_examples=9 must be at least 50'),
    ({'k': 0}, '--k=0 must be at least 1'),
    ({'concepts': 1}, '--concepts=1 must be at least 2'),
    ({'prompt': 'what'}, r'what. must hold \{image\} and'),
  )
  def test_a_mistake_is_told_and_leaves_nothing(self, given, message):
    config = paper2_setup.Paper2Config(**({'model': '/none'} | given))
    with tempfile.TemporaryDirectory() as folder:
      out = os.path.join(folder, 'out')
      with self.assertRaisesRegex(errors.UserError, message):
        paper2.study(config, out)
      self.assertFalse(os.path.exists(out))


class StudyTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.enterClassContext(meshes.one_device())
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.model = save(os.path.join(folder, 'model'))
    cls.out = os.path.join(folder, 'out')
    cls.config = paper2_setup.Paper2Config(model=cls.model, **SMALL)
    paper2.study(cls.config, cls.out, lambda _: None)

  def read(self, name: str) -> str:
    with open(os.path.join(self.out, name), encoding='utf-8') as f:
      return f.read()

  def test_what_is_left_to_the_model_is_told_by_it(self):
    bare = dataclasses.replace(
      self.config, layers=(), site_layer=None, latents=None
    )
    filled, width = paper2_setup.fill(bare)
    self.assertEqual((filled.layers, filled.site_layer), ((1, 2), 2))
    self.assertEqual((filled.k, filled.expansion, width), (3, 8, 64))
    for changed, message in (
      ({'layers': (1, 3)}, 'there is no layer 3; the model has 2'),
      (
        {'nulls': 78},
        'of 2 classes at each of 2 layers none can pass with fewer than',
      ),
      ({'site_layer': 9}, 'not among the layers that are studied, 1,2'),
    ):
      with self.assertRaisesRegex(errors.UserError, message):
        paper2_setup.fill(dataclasses.replace(self.config, **changed))

  def test_nothing_is_done_twice_but_what_is_not_there(self):
    before = written.times(self.out, REPORTS)
    text, said = self.read(report.MARKDOWN), []
    paper2.study(self.config, self.out, said.append)
    self.assertEqual(written.times(self.out, REPORTS), before)
    self.assertEqual(said, [])
    # A stage that is deleted is done again, alone, and to the same words.
    gone = os.path.join(self.out, 'layer02', 'autointerp')
    shutil.rmtree(gone)
    paper2.study(self.config, self.out, said.append)
    after = written.times(self.out, REPORTS)
    self.assertEqual(after.keys(), before.keys())
    changed = {path for path in after if after[path] != before[path]}
    self.assertNotEmpty(changed)
    self.assertTrue(all(path.startswith(gone) for path in changed), changed)
    self.assertEqual(self.read(report.MARKDOWN), text)
    other = dataclasses.replace(self.config, seed=1)
    with self.assertRaisesRegex(errors.UserError, 'with other settings'):
      paper2.study(other, self.out)

  def test_every_claim_is_told_with_numbers_bounds_nulls_and_a_verdict(self):
    text = self.read(report.MARKDOWN)
    parts = re.split(r'^## ', text, flags=re.MULTILINE)[1:]
    told = [part for part in parts if not part.startswith('Figures')]
    self.assertLen(told, len(claims_sight.CLAIMS))
    verdicts = []
    for part in told:
      (row,) = [r for r in part.splitlines() if r.startswith('| /')]
      _, _, verdict, measured, null, _ = row.replace('\\|', '/').split('|')
      verdicts.append(verdict.strip())
      self.assertRegex(null, r': -?\d')
      if not part.startswith(('Claim 3', 'Claim 4')):  # None may be turned.
        self.assertRegex(measured, r'\(-?[\d.e-]+ to -?[\d.e-]+, .*n = ')
    # Its language model knows nothing: no class is turned, nor is one named.
    self.assertNotEqual(verdicts[1], claims_sight.HOLDS)
    self.assertEqual(verdicts[2], claims_sight.OPEN)
    self.assertEqual(verdicts[-1], claims_sight.OPEN)

  def test_the_vision_tower_is_probed_like_layer_0(self):
    read = lambda name: results.read(os.path.join(self.out, name))
    at = 'probe/colour/multinomial'
    of_tower, of_first = (
      {
        k.removeprefix(f'{at}/{site}')
        for k in read('probe')
        if f'/{site}/' in k
      }
      for site in ('tower', 'layer00')
    )
    self.assertNotEmpty(of_tower)
    self.assertEqual(of_tower, of_first)
    self.assertFalse([k for k in read('transfer') if 'tower' in k])
    self.assertRegex(self.read(report.MARKDOWN), r'colour, vision tower: 0\.\d')
    store = store_lib.Store(os.path.join(self.out, 'site-store'))
    self.assertNotIn('tower.image', store.streams)

  def test_its_site_shows_where_concepts_of_its_layer_fire(self):
    site = load.load(os.path.join(self.out, paper2.SITE))
    (d,) = site.dictionaries.values()
    self.assertIn('layer 1', d.meta['title'])
    self.assertEqual(d.meta['reads'], 'tokens')
    self.assertGreater(site.index['pictures']['count'], 0)
    mapped = np.flatnonzero(d.flags_N & schema.HEAT)
    self.assertNotEmpty(mapped)
    found = [m for i in mapped for m in d.heat(int(i), 'images', 'top')]
    self.assertTrue(all(m.shape == (6, 6) for m in found))
    # Every position was kept, whatever was of the study's own store.
    self.assertFalse(any(np.isnan(m).any() for m in found))
    self.assertTrue(any((m > 0).any() for m in found))

  def test_figures_that_it_shows_are_there(self):
    shown = re.findall(r'<img src="([^"]+)"', self.read(report.HTML))
    linked = re.findall(r'^!\[.*\]\((.*)\)', self.read(report.MARKDOWN), re.M)
    self.assertEqual(shown, linked)
    names = {os.path.basename(path) for path in shown}
    for name in ('probes', 'concepts', 'classes', 'splice', 'detection'):
      self.assertIn(f'{name}.svg', names)
    for path in shown:
      self.assertTrue(os.path.isfile(os.path.join(self.out, path)), path)


if __name__ == '__main__':
  absltest.main()
