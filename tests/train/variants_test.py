"""Whole runs of the variants: planted truth, resuming, files, mistakes."""

import json
import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax import encode
from saejax import io
from saejax import store
from saejax.train import loop
from tests import planted
from tests.train import loop_test

# Two others are loop_test's, and archetypal_test has its own.
SETTINGS = {
  'abs_topk': dict(k=3),
  'matryoshka': dict(k=3, settings={'groups': (0.75,)}),
  'jumprelu': dict(k=3),
  'relu': dict(settings={'l1': 0.15}),
  'gated': dict(settings={'l1': 0.6}),
  'p_anneal': dict(settings={'l1': 0.15}),
  'hierarchical_topk': dict(k=4),
  'nested_topk': dict(k=3, settings={'budgets': (0.5,)}),
  'mp': dict(k=3),
  'omp': dict(k=3),
}


class VariantTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    data = planted.sample(loop_test.N)
    cls.atoms_SD = data.atoms_SD
    cls.store = planted.write_store(
      os.path.join(folder, 'store'),
      data.image_ND,
      data.text_ND,
    )

  def setUp(self):
    super().setUp()
    self.out = os.path.join(self.create_tempdir().full_path, 'run')

  def config(self, arch, **changes):
    return loop_test.config(self.store, arch=arch, **(SETTINGS[arch] | changes))

  @parameterized.parameters(*SETTINGS)
  def test_a_planted_dictionary_is_recovered(self, arch):
    path = loop.train(self.config(arch, steps=600, lr=5e-3), self.out)
    sae, variables = io.load(path)
    w_SD = np.asarray(variables['params']['w_dec'])
    if sae.signed:  # A direction and its opposite are one concept.
      w_SD = np.concatenate([w_SD, -w_SD])
    cosine_S = loop_test.matched_cosines(self.atoms_SD, w_SD)
    self.assertGreater(np.mean(cosine_S), 0.9, np.sort(cosine_S))
    self.assertGreater(np.mean(cosine_S > 0.95), 0.75, np.sort(cosine_S))
    active, found = [], store.Store(self.store)
    for name in ('image', 'text'):
      stream = found[name]
      encoded = encode.encode(sae, variables, stream, stream.rows('test'))
      spread = ((encoded.x_nD - encoded.x_nD.mean(0)) ** 2).sum()
      self.assertGreater(1 - encoded.error_n.sum() / spread, 0.85)
      active.append(encoded.z_nS.nnz / len(encoded.rows_n))
    if sae.meets_k:
      np.testing.assert_allclose(np.mean(active), sae.k, rtol=0.05)
    else:  # Rows have 2.5 concepts.
      self.assertBetween(np.mean(active), 2, 4)

  @parameterized.parameters(*SETTINGS)
  def test_resuming_gives_the_same_bits(self, arch):
    whole = loop.train(self.config(arch, steps=24), self.out)
    part = self.config(arch, steps=24, checkpoint_every=10)
    other = f'{self.out}-parts'
    with self.assertRaises(loop_test.Stop), loop_test.stop_at(17):
      loop.train(part, other)
    resumed = loop.train(part, other, resume=True)
    read = lambda path: open(os.path.join(path, io.WEIGHTS), 'rb').read()
    self.assertEqual(read(whole), read(resumed))

  def test_words_among_own_settings_are_read_back(self):
    settings = {'budgets': (0.5, 0.75), 'weighting': 'reverse'}
    asked = self.config('nested_topk', steps=1, settings=settings)
    sae, _ = io.load(loop.train(asked, self.out))
    self.assertEqual((sae.budgets, sae.weighting), ((0.5, 0.75), 'reverse'))

  def test_own_settings_are_saved_and_read_back(self):
    asked = self.config('matryoshka', steps=1)
    sae, _ = io.load(loop.train(asked, self.out))
    self.assertEqual(sae.groups, (0.75,))
    with open(os.path.join(self.out, 'sae', io.CONFIG)) as f:
      self.assertEqual(json.load(f)['groups'], [0.75])
    self.assertEqual(
      loop.train(asked, self.out, resume=True), f'{self.out}/sae'
    )

  @parameterized.parameters('none', 'global')
  def test_thresholds_start_near_k_on_any_scale(self, scale):
    asked = self.config('jumprelu', steps=1, k=6, scale=scale, center='global')
    sae, variables = io.load(loop.train(asked, self.out))
    stream = store.Store(self.store)['image']
    found = encode.encode(sae, variables, stream, stream.rows('test'))
    active = found.z_nS.nnz / len(found.rows_n)
    self.assertBetween(active, 3, 9)

  def test_a_k_that_is_ignored_is_no_mistake(self):
    asked = self.config('relu', k=65, steps=1)
    sae, _ = io.load(loop.train(asked, self.out))
    self.assertEqual(sae.s, 64)

  def test_mistakes_are_told_and_leave_nothing(self):
    for arch, settings, message in (
      ('topk', {'l1': 1.0}, '--l1 is not for --arch=topk: .*relu, gated, p_a'),
      ('relu', {'groups': (0.5,)}, 'for --arch=relu: it belongs to matryoshka'),
      ('nested_topk', {'weighting': 'up'}, 'choose one of uniform, reverse'),
      ('nested_topk', {'budgets': (2.0,)}, '--budgets=2.0 must be above 0'),
      ('relu', {'l1': 0.0}, '--l1=0.0 must be above 0.'),
      ('p_anneal', {'p': 1.5}, '--p=1.5 must be above 0 and at most 1'),
      (
        'matryoshka',
        {'groups': (0.5, 2.0)},
        '--groups=2.0 must be above 0 and',
      ),
    ):
      with self.assertRaisesRegex(ValueError, message):
        loop.train(
          loop_test.config(self.store, arch=arch, settings=settings), self.out
        )
      self.assertFalse(os.path.exists(self.out), settings)


if __name__ == '__main__':
  absltest.main()
