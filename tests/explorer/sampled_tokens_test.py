"""Concepts that fire only in tokens that are not measured."""

import dataclasses
import os
import tempfile
from unittest import mock

from absl.testing import absltest
import numpy as np

from saejax import errors
from saejax.analysis import modality
from saejax.explorer import build
from saejax.explorer import load
from saejax.pipeline import findings
from saejax.pipeline import token_sides
from saejax.store import files
from tests import meshes
from tests.explorer import planted_tokens as planted
from tests.explorer import synthetic

MEASURED = 6  # Of 1,200 image tokens and 180 of texts, about.


def site_of(analysis: str, out: str) -> load.Site:
  config = build.SiteConfig(analysis=(analysis,), static=synthetic.STATIC)
  return load.load(build.write(config, out, lambda _: None))


class SampledTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.enterClassContext(meshes.one_device())
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    at = lambda name: os.path.join(cls.folder, name)
    with mock.patch.object(token_sides, '_MEASURED', MEASURED):
      cls.analysis = planted.write(cls.folder)
    cls.concepts = files.map_arrays(
      os.path.join(cls.analysis, 'concepts.safetensors')
    )
    cls.bridges = files.map_arrays(
      os.path.join(cls.analysis, 'bridges.safetensors')
    )
    cls.subject = findings.load_subject(at('sae'), at('store'), 'test')

  def test_a_concept_is_live_that_fires_in_any_token(self):
    live_S = self.concepts['live']
    fires = [np.asarray((t.z_nS != 0).sum(0)) for t in self.subject.tokens]
    np.testing.assert_array_equal(live_S, sum(fires).ravel() > 0)
    measured_S = self.concepts['count_image'] + self.concepts['count_text'] > 0
    missed = np.flatnonzero(live_S & ~measured_S)
    ends = np.concatenate(
      [self.bridges[f'{side}_concept'] for side in ('image', 'text')]
    )
    # The case is there: a bridge whose concept no measured token has.
    self.assertNotEmpty(set(missed.tolist()) & set(ends.tolist()))
    self.assertTrue(live_S[ends].all())
    self.assertTrue(np.isfinite(self.concepts['map'][missed]).all())

  def test_a_site_has_its_bridges(self):
    site = site_of(self.analysis, os.path.join(self.folder, 'site'))
    (d,) = site.dictionaries.values()
    for side, end_M in (
      ('image', d.bridges.image_M),
      ('text', d.bridges.text_M),
    ):
      np.testing.assert_array_equal(
        d.id_N[end_M], self.bridges[f'{side}_concept']
      )

  def test_bridges_of_dead_concepts_are_refused(self):
    path = os.path.join(self.analysis, 'concepts.safetensors')
    own = {name: np.array(x) for name, x in self.concepts.items()}
    self.addCleanup(files.write_arrays, path, own)
    live_S = own['live'].copy()
    live_S[self.bridges['image_concept'][0]] = False
    files.write_arrays(path, own | {'live': live_S})
    with self.assertRaisesRegex(errors.UserError, 'written by an older analy'):
      site_of(self.analysis, os.path.join(self.folder, 'other'))

  def test_many_tokens_of_one_picture_are_one_example(self):
    image, text = self.subject.test
    own = np.repeat(np.flatnonzero(image.pair_n == image.pair_n[0]), 3)
    arrays = ('rows_n', 'x_nD', 'z_nS', 'error_n', 'group_n', 'pair_n', 'key_n')
    one = {name: getattr(image, name)[own] for name in arrays}
    s = dataclasses.replace(
      self.subject, test=(dataclasses.replace(image, **one), text)
    )
    _, found = findings.modality_results(s)
    c = planted.BACKGROUND
    fires = (one['z_nS'] != 0).sum(0)
    self.assertGreaterEqual(np.asarray(fires).ravel()[c], 30)
    self.assertEqual(found['modality_low'][c], 1)
    self.assertEqual(
      modality.CLASSES[found['modality_class'][c]], 'unclassified'
    )
    self.assertIn(found['modality_score_permuted'][c], (0, 1))


if __name__ == '__main__':
  absltest.main()
