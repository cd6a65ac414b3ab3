"""What the quickstart must show: on the world, and on its controls.

The numbers are those a reader of the report relies on. They hold for scenes of
another seed than those of the model's training.
"""

import dataclasses
import os
import tempfile
import unittest

from absl.testing import absltest
import numpy as np

from saejax import io
from saejax import store as store_lib
from saejax.pipeline import embedding
from saejax.pipeline import findings
from saejax.pipeline import quickstart
from saejax.pipeline import reading
from saejax.train import loop
from tests import meshes

CONFIG = quickstart.QuickstartConfig()


def setUpModule():
  unittest.enterModuleContext(meshes.one_device())


def study(folder: str, config: quickstart.QuickstartConfig):
  """Entries and arrays of the quickstart's dictionary, without its twin."""
  store = os.path.join(folder, 'store')
  asked = embedding.EmbedConfig(model='clip-scenes', dataset=config.dataset)
  embedding.embed(asked, store)
  sae = loop.train(
    quickstart.training(config, store, config.k), os.path.join(folder, 'run')
  )
  subject = findings.load_subject(sae, store, 'test')
  found = reading.read_factors(
    subject, findings.analyse_subject(subject), folder
  )
  return {name: e['value'] for name, e in found.entries.items()}, found


class WorldTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    context = tempfile.TemporaryDirectory()
    cls.addClassCleanup(context.cleanup)
    cls.folder = context.name
    cls.entries, cls.found = study(context.name, CONFIG)

  def test_the_modalities_lie_apart(self):
    self.assertGreaterEqual(self.entries['geometry/gap'], 0.4)
    self.assertGreaterEqual(self.entries['geometry/effective_rank'], 10)

  def test_a_probe_reads_twenty_facts_of_images_with_five_shapes(self):
    self.assertGreaterEqual(self.entries['factors/image/probed'], 20)
    self.assertGreaterEqual(self.entries['factors/image/probed_shapes'], 5)

  def test_single_concepts_read_most_of_them_and_beat_what_they_must(self):
    # Aimed at is 0.8. Over seeds of the dictionary it is 0.74 to 0.82.
    self.assertGreaterEqual(self.entries['factors/image/read_and_beats'], 0.72)

  def test_the_strongest_bridges_are_true(self):
    self.assertEqual(self.entries['bridges/top20'], 20)
    self.assertGreaterEqual(self.entries['bridges/top20_true'], 0.75)
    self.assertGreaterEqual(self.entries['bridges/top20_true_factors'], 8)
    self.assertLess(self.entries['bridges/random_true'], 0.1)

  def test_the_sum_of_bridges_is_the_similarity_of_reconstructions(self):
    self.assertLess(self.entries['bridges/identity_error'], 1e-6)
    # From the dictionary as it is on disk, row by row.
    sae, variables = io.load(os.path.join(self.folder, 'run', 'sae'))
    store = store_lib.Store(os.path.join(self.folder, 'store'))
    image, text = store['image'], store['text']
    rows = image.rows('test')
    pair_n, text_pair = image.column('pair')[rows], text.column('pair')
    xhat_nD = np.asarray(sae.apply(variables, image.take(rows)).xhat_BD)
    own = np.flatnonzero(np.isin(text_pair, pair_n))
    said_nD = np.asarray(sae.apply(variables, text.take(own)).xhat_BD)
    at = np.searchsorted(pair_n, text_pair[own])  # Pairs rise with rows.
    sum_nD, count_n = np.zeros_like(xhat_nD), np.bincount(at)
    np.add.at(sum_nD, at, said_nD)
    similarity_n = (xhat_nD * sum_nD / count_n[:, None]).sum(1)
    np.testing.assert_allclose(
      self.entries['bridges/sum_b'], similarity_n.mean(), rtol=1e-3
    )


class ControlTest(absltest.TestCase):
  def test_where_captions_tell_of_other_scenes_no_bridge_is_found(self):
    folder = self.create_tempdir().full_path
    entries, found = study(
      folder,
      dataclasses.replace(CONFIG, captions='unrelated', scenes=8192, steps=600),
    )
    self.assertEqual(entries['bridges/replicated_true'], 0)
    self.assertLessEqual(entries['bridges/replicated'], 1)
    kind_P, kept_P = found.bridges['kind'], found.bridges['replicated']
    self.assertFalse((kept_P & (kind_P == 3)).any())
    self.assertLess(
      abs(entries['bridges/sum_b'] - entries['bridges/sum_b0']), 0.01
    )

  def test_full_captions_bring_images_and_texts_nearer_in_meaning(self):
    folder = self.create_tempdir().full_path
    entries, _ = study(
      folder,
      dataclasses.replace(CONFIG, captions='full', scenes=4096, steps=300),
    )
    self.assertGreater(
      entries['bridges/sum_b'] - entries['bridges/sum_b0'], 0.05
    )


if __name__ == '__main__':
  absltest.main()
