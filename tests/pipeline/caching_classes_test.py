"""Rows of a LLaVA-NeXT know the class of their image, and probes read it."""

import dataclasses
import os
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
import tensorflow_datasets as tfds

from saejax import errors
from saejax import processes
from saejax import sharding
from saejax import store as store_lib
from saejax.data import specs
from saejax.models import llava_folder
from saejax.pipeline import caching
from saejax.pipeline import caching_rows
from saejax.pipeline import embedding_records
from saejax.pipeline import examples
from saejax.pipeline import llava_models
from saejax.pipeline import probing_layers
from saejax.pipeline import probing_rows
from saejax.pipeline import probing_tasks
from tests.data import pictures
from tests.data import tfds_images_test
from tests.pipeline import coloured
from tests.pipeline import embedding_test

TINY = llava_models.LlavaConfig(text_width=64, text_layers=2)
IMAGE = 'layer02.image'
FEW = {'train': 2, 'val': 1, 'test': 1}


class Stop(Exception):
  pass


class ClassesCase(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.model = os.path.join(folder, 'model')
    model, hf_config = llava_models.new_model(TINY)
    model = dataclasses.replace(model, params=jax.device_get(model.params))
    llava_folder.save(cls.model, model, hf_config)
    one = sharding.make_mesh((1, 1))
    cls.enterClassContext(
      mock.patch.object(sharding, 'make_mesh', lambda *_: one)
    )
    cls.enterClassContext(mock.patch.object(caching, 'PER_SHARD', 7))
    cls.folder = folder

  def setUp(self):
    super().setUp()
    self.out = os.path.join(self.create_tempdir().full_path, 'store')

  def cache(self, dataset: str, out: str = '', **changes) -> store_lib.Store:
    given = {'layers': (0, 2), 'batch': 8, 'store_dtype': 'float32'}
    config = caching.CacheConfig(
      model=self.model, dataset=dataset, **given | changes
    )
    caching.cache(config, out or self.out)
    return store_lib.Store(out or self.out)

  def assert_labels(self, store: store_lib.Store, dataset: str) -> None:
    """Every row has the label and the split of the record that it is of."""
    data = specs.parse(dataset)
    for name in store.streams:
      stream = store[name]
      self.assertIn('label', stream.spec.columns)
      pair_N = stream.column('pair')
      self.assertNotEmpty(pair_N)
      found = {int(i): data.record(int(i)) for i in np.unique(pair_N)}
      label = [-1 if r.label is None else r.label for r in found.values()]
      label = dict(zip(found, label, strict=True))
      np.testing.assert_array_equal(
        stream.column('label'), [label[i] for i in pair_N.tolist()], name
      )
      own = [found[i].split for i in pair_N.tolist()]
      split = [store_lib.SPLITS[s] for s in stream.column('split')]
      self.assertEqual(split, [o or s for o, s in zip(own, split, strict=True)])


class FoldersTest(ClassesCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    root = coloured.write(os.path.join(cls.folder, 'few'), counts=FEW)
    cls.spec = f'classes:path={root}'

  @parameterized.parameters(False, True)
  def test_every_row_has_the_class_of_its_image(self, pool):
    store = self.cache(self.spec, pool=pool, tower=True)
    self.assertLen(store.streams, 7)
    self.assert_labels(store, self.spec)
    self.assertEmpty(list(store_lib.validate(self.out)))
    about = store.about['dataset']
    self.assertEqual(tuple(about['classes']), coloured.NAMES)
    self.assertEqual(about['class_folders'], list(coloured.CLASSES))
    stream = store[IMAGE]
    rows = stream.rows('all')
    told = [w['class'] for w in stream.words(rows)]
    self.assertEqual(
      told, [coloured.NAMES[c] for c in stream.column('label')[rows]]
    )
    for name in store.streams:
      found = probing_rows.classes(store, store[name])
      self.assertEqual([*found], ['class'])
      self.assertEqual(found['class'].names, coloured.NAMES)
    if pool:  # The very columns of `embed`.
      data = specs.parse(self.spec)
      theirs = embedding_records.streams(data, stream.d, 'float32')['image']
      self.assertEqual(stream.spec, theirs)

  def test_of_images_alone_rows_are_the_same_and_no_caption_is_read(self):
    whole = self.cache(self.spec, tower=True)
    alone = self.cache(
      self.spec, f'{self.out}-alone', tower=True, contexts=('image',),
      prompt='USER: {image} describe the image . ASSISTANT:',
    )  # fmt: skip
    kept = {name for name in whole.streams if name.endswith('.image')}
    self.assertLen(kept, 3)
    self.assertEqual({*alone.streams}, kept)
    for name in kept:
      a, b = whole[name], alone[name]
      self.assertEqual(a.spec, b.spec)
      rows = a.rows('all')
      # The class that a caption names has not come to the image before it.
      np.testing.assert_allclose(
        a.take(rows), b.take(rows), rtol=1e-4, atol=1e-5
      )
      for column in a.spec.columns:
        np.testing.assert_array_equal(a.column(column), b.column(column))
      self.assertEqual(a.words(rows), b.words(rows))

  def test_captions_that_say_nothing_cost_no_image(self):
    root = self.create_tempdir().full_path
    lines = []
    for i, said in enumerate(('a red circle', '  ', 'a blue star')):
      data = pictures.encode(pictures.picture(i), 'PNG')
      pictures.write(os.path.join(root, f'{i}.png'), data)
      lines.append(f'{{"image": "{i}.png", "caption": "{said}"}}')
    pictures.write(os.path.join(root, 'captions.jsonl'), '\n'.join(lines))
    for contexts, used in (
      (('image', 'text'), [0, 2]),
      (('image',), [0, 1, 2]),
    ):
      out = f'{self.out}-{len(contexts)}'
      found = self.cache(f'folder:path={root}', out, contexts=contexts)
      stream = found[IMAGE]
      self.assertEqual(np.unique(stream.column('pair')).tolist(), used)
      # Without classes, columns are what they were.
      self.assertNotIn('label', stream.spec.columns)
      self.assertLen(found.streams, 2 * len(contexts))

  def test_a_killed_run_goes_on_to_the_same_bytes(self):
    self.cache(self.spec, per_example=5)
    other, seen, gather = f'{self.out}-parts', [], caching.gather

    def stopping(*args):
      seen.append(args)
      if len(seen) == 3:
        raise Stop
      return gather(*args)

    stops = mock.patch.object(caching, 'gather', stopping)
    with stops, self.assertRaises(Stop):
      self.cache(self.spec, other, per_example=5)
    with self.assertRaisesRegex(store_lib.StoreError, 'streams differ'):
      self.cache(self.spec, other, per_example=5, contexts=('image',))
    store = self.cache(self.spec, other, per_example=5)
    self.assert_labels(store, self.spec)
    self.assertEqual(*map(embedding_test.contents, (self.out, other)))

  def test_processes_that_share_it_write_the_store_of_one(self):
    self.cache(self.spec, per_example=5)
    other = f'{self.out}-two'

    def turn(process: int):
      mine = lambda item: item % 2 == process
      stop = mock.Mock(side_effect=Stop)  # In place of waiting for the first.
      changes = {'is_mine': mine, 'is_first': lambda: process == 0}
      return mock.patch.multiple(
        processes, **changes | ({'wait_for': stop} if process else {})
      )

    with turn(1), self.assertRaises(Stop):
      self.cache(self.spec, other, per_example=5)
    with turn(0):
      store = self.cache(self.spec, other, per_example=5)
    self.assertGreater(len(store.manifest.shards[IMAGE]), 2)
    self.assert_labels(store, self.spec)
    self.assertEqual(*map(embedding_test.contents, (self.out, other)))

  def test_an_image_without_a_class_has_none(self):
    rows, one = caching_rows.Rows(), np.ones((2, 3), np.float32)
    image = pictures.picture(0)
    for label in (1, None, 0):
      example = examples.Example(0, image, 'a', 0, 0, label=label)
      for pool in (False, True):
        caching_rows.add(rows, example, 'text', one, one, pool)
    self.assertEqual(rows.label, [1, 1, 1, -1, -1, -1, 0, 0, 0])

  def test_one_class_is_told(self):
    root = self.create_tempdir().full_path
    data = pictures.encode(pictures.picture(0), 'PNG')
    pictures.write(os.path.join(root, 'cat', '0.png'), data)
    with self.assertRaisesRegex(errors.UserError, 'has one class, cat, and'):
      self.cache(f'classes:path={root}')
    self.assertFalse(os.path.exists(self.out))

  def test_images_that_are_all_broken_are_told(self):
    root = self.create_tempdir().full_path
    for name in 'ab':
      pictures.write(os.path.join(root, name, '0.png'), b'no image')
    with self.assertRaisesRegex(errors.UserError, 'None of 2 records can be'):
      self.cache(f'classes:path={root}')


class ProbeTest(ClassesCase):
  @parameterized.parameters(True, False)
  def test_a_class_is_told_by_its_colour_alone(self, is_told):
    root = os.path.join(self.create_tempdir().full_path, 'data')
    coloured.write(root, is_told)
    store = self.cache(
      f'classes:path={root}', tower=True, contexts=('image',),
      pool=not is_told, prompt='USER: {image}',
    )  # fmt: skip
    config = probing_tasks.ProbeConfig(
      probes=('multinomial', 'one_vs_rest'), shuffles=20
    )
    found = probing_layers.probe(store.path, config).entries
    c, n = len(coloured.CLASSES), coloured.COUNTS['test']
    for kind in config.probes:
      for site in ('tower', 'layer00', 'layer02'):
        at = f'probe/class/{kind}/{site}'
        top1 = found[f'{at}/top1']
        self.assertEqual((top1['n'], top1['split']), (c * n, 'test'))
        self.assertEqual(found[f'{at}/classes']['value'], c)
        for measure, chance in (('top1', 1 / c), ('top5', 5 / c)):
          drawn = found[f'{at}/{measure}/shuffled']
          self.assertBetween(chance, drawn['low'], drawn['high'])
          self.assertAlmostEqual(drawn['value'], chance, delta=0.1)
        if is_told:
          self.assertGreaterEqual(top1['value'], 0.9, at)
          self.assertGreaterEqual(found[f'{at}/top5']['value'], 0.95, at)
          self.assertAlmostEqual(found[f'{at}/top1/p']['value'], 1 / 21)
        else:
          self.assertLess(top1['value'], 0.4, at)
          self.assertGreater(found[f'{at}/top1/p']['value'], 0.05, at)


class TfdsTest(ClassesCase):
  """Of TFDS: with labels alone, and with captions beside them."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.root = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.folders = {}
    for name in ('tiny_classes', 'tiny_pairs'):
      builder = tfds.builder(name, data_dir=cls.root)
      builder.download_and_prepare(file_format='array_record')
      cls.folders[name] = str(builder.data_path)

  @parameterized.parameters(('tiny_classes', 5), ('tiny_pairs', 12))
  def test_labels_are_those_of_records(self, name, n):
    spec = f'tfds:name={self.folders[name]}'
    store = self.cache(spec, pool=True)
    self.assert_labels(store, spec)
    self.assertEqual(
      store.about['dataset']['classes'], tfds_images_test.CLASSES
    )
    # One of the first has no label, nor so a prompt: it is skipped.
    self.assertLen(store[IMAGE], n)
    self.assertEqual({*store[IMAGE].column('label')}, {0, 1})


if __name__ == '__main__':
  absltest.main()
