"""Probes find a class where it was planted, and nowhere else."""

import csv
import os
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import errors
from saejax import io
from saejax import nn
from saejax import results
from saejax import store as store_lib
from saejax.data import scenes
from saejax.pipeline import probing_layers
from saejax.pipeline import probing_rows
from saejax.pipeline import probing_tasks
from tests.pipeline import layered

Config = probing_tasks.ProbeConfig


class ProbeTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.store = layered.write(os.path.join(folder, 'tokens'))
    cls.pooled = layered.write(os.path.join(folder, 'pooled'), pool=True)
    cls.sae = os.path.join(folder, 'sae')
    # An SAE whose first concepts are the classes.
    sae = nn.ARCHITECTURES['relu'](d=layered.D, s=16, k=2)
    variables = sae.init(jax.random.key(0), method=lambda module: module.w_dec)
    w_SD = np.zeros((16, layered.D), np.float32)
    w_SD[: layered.CLASSES] = layered.directions()
    params = variables['params'] | {'w_enc': w_SD, 'w_dec': w_SD}
    io.save(cls.sae, sae, {**variables, 'params': params})

  def test_a_planted_class_is_told_where_it_is(self):
    config = Config(probes=('means', 'multinomial'))
    found = probing_layers.probe(self.store, config).entries
    for kind in config.probes:
      at = f'probe/class/{kind}'
      self.assertEqual(found[f'{at}/layer01/top1']['value'], 1)
      self.assertGreater(found[f'{at}/layer01/auroc']['value'], 0.99)
      self.assertEqual(found[f'{at}/best/layer']['value'], 1)
      self.assertLess(found[f'{at}/layer00/top1']['value'], 0.7)
      entry = found[f'{at}/layer01/top1/shuffled']
      self.assertLess(entry['low'], 1 / 3 + 1e-9)
      self.assertLess(entry['high'], 0.8)
      self.assertAlmostEqual(found[f'{at}/layer01/top1/p']['value'], 1 / 11)
      area = found[f'{at}/layer01/auroc/shuffled']
      self.assertBetween(0.5, area['low'], area['high'])

  def test_pooled_rows_and_tokens_have_the_same_classes(self):
    config = Config(probes=('means',), shuffles=2)
    pooled = probing_layers.probe(self.pooled, config).entries
    self.assertEqual(pooled['probe/colour/means/layer01/top1']['value'], 1)
    ours = probing_layers.probe(self.store, config).entries
    self.assertEqual(
      ours['probe/class/means/layer00/top1']['value'],
      pooled['probe/colour/means/layer00/top1']['value'],
    )
    tokens = probing_layers.probe(
      self.store, Config(probes=('means',), shuffles=2, tokens=True)
    ).entries['probe/class/means/layer01/top1']
    self.assertEqual(tokens['n'], 24 * layered.TOKENS)
    self.assertLess(tokens['value'], 1)

  @parameterized.parameters(('text', 'image'), ('image', 'text'))
  def test_a_probe_carries_over_where_directions_are_shared(self, fit, seen):
    config = Config(
      probes=('means',), shuffles=2, train_stream=fit, test_stream=seen
    )
    found = probing_layers.probe(self.store, config).entries
    at = 'probe/class/means'
    self.assertGreater(found[f'{at}/layer01/top1']['value'], 0.95)
    self.assertLess(found[f'{at}/layer00/top1']['value'], 0.7)

  def test_codes_are_read_token_by_token(self):
    config = Config(probes=('sparse',), shuffles=2, layers=(1,))
    found = probing_layers.probe(
      self.store, config, {1: self.sae}, [self.pooled]
    )
    at = 'probe/class/sparse/layer01.sae'
    self.assertEqual(found.entries[f'{at}/top1']['value'], 1)
    self.assertLessEqual(
      found.entries[f'{at}/columns']['value'], layered.CLASSES
    )
    store = store_lib.Store(self.store)
    stream = store['layer01.image']
    rows = probing_rows.read(
      stream, 'test', read_rows=probing_rows.coder(*io.load(self.sae), stream)
    )
    x_nD = stream.take(stream.rows('test'))
    z = np.maximum(x_nD @ layered.directions().T, 0)
    np.testing.assert_allclose(
      rows.x_nD[:, : layered.CLASSES],
      z.reshape(-1, layered.TOKENS, layered.CLASSES).mean(1),
      rtol=1e-4,
      atol=1e-5,
    )

  def test_shuffled_fits_choose_their_own_columns(self):
    config = Config(probes=('sparse',), shuffles=3, layers=(1,), features=2)
    strongest = mock.Mock(side_effect=probing_tasks.strongest)
    with mock.patch.object(probing_tasks, 'strongest', strongest):
      probing_layers.probe(self.store, config)
    own, *drawn = (c.args[0].label['train'] for c in strongest.mock_calls)
    self.assertLen(drawn, 3)
    for label_n in drawn:
      self.assertFalse(np.array_equal(label_n, own))
      self.assertCountEqual(label_n.tolist(), own.tolist())

  @parameterized.parameters(
    ((0, 0, 0, 1, 2), 'test', 'val'),
    ((0, 0, 0, 1, 2), 'val', 'train'),
    ((0, 0, 0, 1), 'val', 'train'),
    ((0, 0, 0, 2), 'test', 'train'),
  )
  def test_what_is_reported_was_neither_fitted_nor_tuned_on(
    self, splits, split, tuned
  ):
    path = os.path.join(self.create_tempdir().full_path, 'store')
    store = store_lib.Store(layered.write(path, n=600, splits=splits))
    config = Config(probes=('means', 'multinomial'), shuffles=2)
    (site, _) = probing_tasks.sites(store, config, {}, [])
    rows, _, _ = probing_tasks._read(site, config, split)
    group = {part: {*r.group_n.tolist()} for part, r in rows.items()}
    code = {'train': 0, 'val': 1, 'test': 2}
    own = np.array(splits)[np.arange(600) // layered.CLASSES % len(splits)]
    every = {name: {*np.flatnonzero(own == c)} for name, c in code.items()}
    self.assertEqual(group['test'], every[split])
    self.assertEmpty(group['train'] & group['val'])
    if tuned == 'val':
      self.assertEqual(group['train'], every['train'])
      self.assertEqual(group['val'], every['val'])
    else:
      self.assertEqual(group['train'] | group['val'], every['train'])
      self.assertBetween(len(group['val']) / len(every['train']), 0.05, 0.15)
    found = probing_layers.probe(path, config, split=split).entries
    for kind in config.probes:
      at = f'probe/class/{kind}'
      self.assertEqual(found[f'{at}/layer01/top1']['value'], 1)
      self.assertEqual(found[f'{at}/layer01/top1']['split'], split)
      self.assertLess(found[f'{at}/layer00/top1']['value'], 0.5)
      for what in ('layer01/penalty', 'layer01/val_top1', 'best/layer'):
        self.assertEqual(found[f'{at}/{what}']['split'], tuned)

  def test_without_rows_to_measure_on_another_split_is_told(self):
    path = os.path.join(self.create_tempdir().full_path, 'store')
    layered.write(path, splits=(0, 0, 1))
    with self.assertRaisesRegex(
      errors.UserError, 'no rows in test. Give .* on val: --split=val.$'
    ):
      probing_layers.probe(path, Config())

  def test_references_stand_beside_and_are_no_layer(self):
    config = Config(probes=('means',), shuffles=2, layers=(0,))
    found = probing_layers.probe(self.pooled, config, references=[self.pooled])
    names = {line['site'] for line in found.lines}
    self.assertEqual(
      names, {'layer00', 'pooled.layer00.image', 'pooled.layer01.image'}
    )
    self.assertEqual(found.entries['probe/colour/means/best/layer']['value'], 0)

  @parameterized.parameters((3.0, 0.95, 1.0), (0.0, 0.0, 0.7))
  def test_the_tower_is_a_reference_like_any_layer(self, strength, low, high):
    folder = self.create_tempdir().full_path
    path = layered.write(os.path.join(folder, 'tokens'), tower=strength)
    config = Config(probes=('means', 'multinomial'), shuffles=2)
    found = probing_layers.probe(path, config)
    names = [line['site'] for line in found.lines]
    self.assertEqual([*dict.fromkeys(names)], ['tower', 'layer00', 'layer01'])
    for kind in config.probes:
      at = f'probe/class/{kind}'
      top1 = found.entries[f'{at}/tower/top1']['value']
      self.assertBetween(top1, low, high)
      for what in ('penalty', 'top1/shuffled', 'top1/commonest', 'val_top1'):
        self.assertIn(f'{at}/tower/{what}', found.entries)
      # Of layers alone one is chosen, and their numbers are as without it.
      self.assertEqual(found.entries[f'{at}/best/layer']['value'], 1)
    own = {k: e for k, e in found.entries.items() if '/tower/' not in k}
    bare = probing_layers.probe(self.store, config).entries
    self.assertEqual(own, bare)
    (ax,) = found.figure.drawing.axes
    drawn = {line.get_label() for line in ax.get_lines()}
    self.assertIn('tower', drawn)

  @parameterized.parameters(('text', 'image'), ('image', 'text'))
  def test_no_text_is_told_at_the_tower(self, fit, seen):
    folder = self.create_tempdir().full_path
    store = store_lib.Store(layered.write(os.path.join(folder, 's'), tower=1))
    config = Config(train_stream=fit, test_stream=seen)
    names = [s.name for s in probing_tasks.sites(store, config, {}, [])]
    self.assertEqual(names, ['layer00', 'layer01'])

  def test_references_of_one_name_are_told(self):
    folder = self.create_tempdir().full_path
    path = layered.write(os.path.join(folder, 'tower'), tower=1)
    other = layered.write(os.path.join(folder, 'tokens'))
    again = layered.write(os.path.join(folder, 'again', 'tokens'))
    with self.assertRaisesRegex(errors.UserError, 'be called tokens.layer00.i'):
      probing_layers.probe(path, Config(), references=[other, again])

  def test_what_is_written_can_be_read(self):
    out = self.create_tempdir().full_path
    config = Config(probes=('means',), shuffles=2)
    found = probing_layers.probe(self.store, config)
    found.write(out)
    self.assertEqual(results.read(out), found.entries)
    with open(os.path.join(out, 'probes.csv'), encoding='utf-8') as f:
      self.assertLen(list(csv.DictReader(f)), 2)
    for ending in ('png', 'svg', 'csv'):
      self.assertTrue(
        os.path.exists(os.path.join(out, 'figures', f'probes.{ending}'))
      )

  def test_the_same_seed_gives_the_same_numbers(self):
    config = Config(probes=('sparse',), shuffles=2, layers=(1,))
    a, b = (probing_layers.probe(self.store, config).entries for _ in '12')
    self.assertEqual(a, b)

  @parameterized.parameters(
    ({'train_stream': 'sound'}, {}, 'no streams layerNN.sound and none'),
    ({'layers': (7,)}, {}, 'has no layer 7 of image; it has 0, 1'),
    ({'labels': ('size',)}, {}, "no factor 'size'; it has class"),
    ({}, {3: 'sae'}, 'has no layer 3 of image'),
  )
  def test_a_mistake_is_told(self, changes, saes, message):
    saes = dict.fromkeys(saes, self.sae)
    with self.assertRaisesRegex(errors.UserError, message):
      probing_layers.probe(self.store, Config(**changes), saes)

  def test_an_sae_does_not_read_means(self):
    with self.assertRaisesRegex(errors.UserError, 'without --pool'):
      probing_layers.probe(self.pooled, Config(layers=(1,)), {1: self.sae})


class LabelsTest(absltest.TestCase):
  def test_factors_of_scenes_are_known_without_labels(self):
    path = os.path.join(self.create_tempdir().full_path, 'store')
    n = 40
    about = {'name': 'scenes', 'n': n, 'seed': 3, 'captions': 'partial',
             'texts': 1, 'splits': [0.9, 0.05, 0.05]}  # fmt: skip
    spec = store_lib.StreamSpec(d=2)
    writer = store_lib.StoreWriter(
      path, {'layer00.image': spec}, {'dataset': about}
    )
    pair_N = np.repeat(np.arange(n), 2)
    columns = {'group': pair_N, 'pair': pair_N, 'split': pair_N * 0}
    writer.write('layer00.image', 0, np.ones((2 * n, 2), np.float32), columns)
    writer.finish()
    store = store_lib.Store(path)
    found = probing_rows.classes(store, store['layer00.image'])
    drawn = scenes.sample(scenes.World(seed=3), np.arange(n))
    np.testing.assert_array_equal(
      found['background'].label_N[::2], drawn.background_N
    )
    alone = drawn.count_N == 1
    np.testing.assert_array_equal(
      found['shape'].label_N[1::2][alone], drawn.shape_NO[alone, 0]
    )
    several = (drawn.count_N == 2) & (
      drawn.shape_NO[:, 0] != drawn.shape_NO[:, 1]
    )
    self.assertTrue((found['shape'].label_N[::2][several] == -1).all())
    self.assertNotIn('pair', found)


if __name__ == '__main__':
  absltest.main()
