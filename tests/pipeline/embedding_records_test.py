"""Embedding records: every image beside its captions, whatever is broken."""

import dataclasses
import json
import os
from unittest import mock

from absl.testing import absltest
import numpy as np
from PIL import Image

from saejax import errors
from saejax import pretrained
from saejax import sharding
from saejax import store
from saejax.data import loading
from saejax.data import records
from saejax.data import render
from saejax.data import scenes
from saejax.data import specs
from saejax.models import folder
from saejax.models import preprocessing
from saejax.pipeline import embedders
from saejax.pipeline import embedding_records
from saejax.pipeline import store_quality
from tests.data import pictures
from tests.pipeline import embedding_test
from tests.pipeline import pictured

embed, contents = embedding_test.embed, embedding_test.contents
N = pictured.N


def model() -> folder.VLM:
  return folder.load(pretrained.path('clip-scenes'))


class Pictured(absltest.TestCase):
  """A store of pictures of which some are broken."""

  def setUp(self):
    super().setUp()
    self.root = self.create_tempdir().full_path
    self.out = os.path.join(self.create_tempdir().full_path, 'store')
    # So that so few records are several shards, and images several batches.
    self.enter_context(mock.patch.object(embedding_records, 'PER_SHARD', 10))
    pictured.write(self.root)
    self.spec = f'folder:path={self.root}'

  def embed(self, out: str = '', **given) -> store.Store:
    given = {'batch': 8, 'mesh': (1, 1)} | given
    embed(out or self.out, self.spec, **given)
    return store.Store(out or self.out)


class ModelTest(Pictured):
  """With the shipped model."""

  def test_rows_are_the_models_in_the_order_of_the_data(self):
    found = self.embed(near_duplicates=-1)
    self.assertEmpty(list(store.validate(self.out)))
    vlm, data = model(), specs.parse(self.spec)
    image, text = found['image'], found['text']
    kept = [data.record(i) for i in pictured.USED]
    decoded = [records.decode(r.image) for r in kept]
    pixels = preprocessing.stack([vlm.pixels.prepare(i) for i in decoded])
    said = [c.strip() for r in kept for c in r.captions if c.strip()]
    for stream, inputs, method in (
      (image, vlm.pixels(pixels), 'image'),
      (text, vlm.tokenize(said), 'text'),
    ):
      np.testing.assert_allclose(
        stream.take(stream.rows('all')),
        vlm.module.apply({'params': vlm.params}, inputs, method=method)[0],
        atol=1e-5,
      )
    self.assertEqual([w['caption'] for w in text.words(text.rows('all'))], said)
    names = [w['image'] for w in image.words(image.rows('all'))]
    self.assertEqual(names, [r.words['image'] for r in kept])
    np.testing.assert_array_equal(image.column('pair'), pictured.USED)
    usable = [sum(bool(c.strip()) for c in r.captions) for r in kept]
    for column, values in (
      ('pair', pictured.USED),
      ('group', [r.group for r in kept]),
    ):
      np.testing.assert_array_equal(image.column(column), values)
      np.testing.assert_array_equal(
        text.column(column), np.repeat(values, usable)
      )
    about = found.about
    self.assertEqual(about['model'], 'clip-scenes')
    self.assertEqual((about['dtype'], about['licence']), ('float32', 'unknown'))
    self.assertNotIn(self.root, json.dumps(about))
    for stream in (image, text):
      split_N = stream.column('split')
      x_ND = stream.take(stream.rows('all')).astype(np.float64)
      for code, name in enumerate(store.SPLITS):
        x_nD = x_ND[split_N == code]
        stats = stream.stats[name]
        self.assertEqual(stats.rows, len(x_nD))
        if len(x_nD):
          np.testing.assert_allclose(stats.mean, x_nD.mean(0), atol=1e-9)

  def test_one_device_and_one_thread_give_the_rows_of_many(self):
    many = self.embed(workers=5, mesh=None)
    for k, given in enumerate(
      ({'workers': 1, 'mesh': (1, 1)}, {'workers': 2, 'mesh': (2, 4)})
    ):
      few = self.embed(f'{self.out}-{k}', **given)
      for name in many.streams:
        a, b = many[name], few[name]
        rows = a.rows('all')
        np.testing.assert_allclose(a.take(rows), b.take(rows), atol=1e-6)
        self.assertEqual(a.words(rows), b.words(rows))
        for column in a.spec.columns:
          np.testing.assert_array_equal(a.column(column), b.column(column))

  def test_what_is_computed_and_stored_in_less_is_near(self):
    whole = self.embed()
    for k, (dtype, stored) in enumerate(
      (('bfloat16', 'float32'), ('float32', 'bfloat16'))
    ):
      out = f'{self.out}-{k}'
      found = self.embed(out, dtype=dtype, store_dtype=stored)
      for name in whole.streams:
        x_ND, near_ND = (
          s[name].take(s[name].rows('all')).astype(np.float32)
          for s in (whole, found)
        )
        self.assertFalse(np.array_equal(x_ND, near_ND))
        self.assertGreater((x_ND * near_ND).sum(1).min(), 0.99)
      self.assertEqual(found.about['dtype'], dtype)
      self.assertEqual(found['text'].spec.dtype, stored)


class RecordsTest(Pictured):
  """With a projection in place of its towers: as good here, and quick."""

  def setUp(self):
    super().setUp()
    self.enter_context(mock.patch.object(embedders, '_tower', pictured.tower))

  def test_what_is_broken_is_skipped_counted_and_listed(self):
    with mock.patch.object(embedding_records, '_LISTED', 3):
      about = self.embed().about
    skipped = about['skipped']
    self.assertEqual(skipped['total'], 7)
    self.assertEqual(
      skipped['by_reason'],
      {
        loading.IMAGE: 2,
        loading.CAPTION: 3,
        loading.CAPTIONS: 1,
        loading.RECORD: 1,
      },
    )
    with open(os.path.join(self.out, skipped['list'])) as f:
      listed = [json.loads(line) for line in f]
    self.assertLen(listed, 7)
    self.assertEqual(listed[:3], skipped['first'])
    self.assertEqual({s['record'] for s in listed}, pictured.BROKEN | {6})
    self.assertNotIn(self.root, json.dumps(listed))
    self.assertEqual(about['cut_captions'], 2)

  def test_copies_share_a_group_and_so_a_split(self):
    found = self.embed()
    image, text = found['image'], found['text']
    group_N = image.column('group')
    at = {p: i for i, p in enumerate(image.column('pair').tolist())}
    first, copy = (group_N[at[i]] for i in pictured.COPIES)
    self.assertEqual(first, copy)
    own = pictured.groups()
    for i, row in at.items():
      if i not in pictured.COPIES:
        self.assertEqual(group_N[row], own[i])
    by_pair = dict(zip(at, group_N.tolist(), strict=True))
    np.testing.assert_array_equal(
      text.column('group'), [by_pair[p] for p in text.column('pair').tolist()]
    )
    for stream in (image, text):
      np.testing.assert_array_equal(
        stream.column('split'), store.assign_splits(stream.column('group'))
      )
    self.assertEqual(found.about['near_duplicates_merged'], 1)
    self.assertEqual(found.about['groups_across_splits'], 0)
    apart = self.embed(f'{self.out}-apart', near_duplicates=-1)
    np.testing.assert_array_equal(
      apart['image'].column('group'), [own[i] for i in at]
    )
    np.testing.assert_array_equal(apart['text'].take([0, 1]), text.take([0, 1]))

  def test_own_splits_stay_and_groups_across_them_are_counted(self):
    own = ['train', 'test', None, 'val'] * N
    pictured.write(self.root, splits=own)
    found = self.embed()
    for stream in (found['image'], found['text']):
      for pair, split in zip(
        stream.column('pair').tolist(),
        stream.column('split').tolist(),
        strict=True,
      ):
        if own[pair]:
          self.assertEqual(store.SPLITS[split], own[pair])
    a, b = pictured.COPIES
    self.assertNotEqual(own[a], own[b])
    self.assertEqual(found.about['groups_across_splits'], 1)
    self.assertEmpty(list(store.validate(self.out)))
    manifest = os.path.join(self.out, store.MANIFEST)
    with open(manifest) as f:
      told = json.load(f)
    told['about']['groups_across_splits'] = 0
    with open(manifest, 'w') as f:
      json.dump(told, f)
    self.assertRegex('\n'.join(store.validate(self.out)), 'is in both')

  def test_rows_that_are_not_finite_are_skipped(self):
    start = embedders.Tower.__call__
    spoiled = []

    def spoil(tower, inputs):
      x_ND = start(tower, inputs)
      if not spoiled:
        spoiled.append(x_ND[0].copy())
        x_ND[0] = np.nan
      return x_ND

    with mock.patch.object(embedders.Tower, '__call__', spoil):
      found = self.embed()
    self.assertEmpty(list(store.validate(self.out)))
    lost = [
      s['record']
      for s in found.about['skipped']['first']
      if s['what'] == embedding_records.NOT_FINITE
    ]
    self.assertNotEmpty(lost)
    self.assertLess(max(lost), 10)  # A text of the first shard.
    with (
      mock.patch.object(
        embedders.Tower,
        '__call__',
        lambda tower, inputs: start(tower, inputs) * np.nan,
      ),
      self.assertRaisesRegex(errors.UserError, 'not finite .*record 0'),
    ):
      self.embed(f'{self.out}-nan')

  def test_shards_without_any_row_are_sound(self):
    whole = self.embed()
    with mock.patch.object(embedding_records, 'PER_SHARD', 1):
      found = self.embed(f'{self.out}-thin')
    rows_N = [shard.rows for shard in found.manifest.shards['image']]
    self.assertEqual(rows_N, [int(i in pictured.USED) for i in range(N)])
    self.assertEmpty(list(store.validate(found.path)))
    for name in whole.streams:
      a, b = whole[name], found[name]
      rows = a.rows('all')
      np.testing.assert_allclose(a.take(rows), b.take(rows), atol=1e-6)
      self.assertEqual(a.words(rows), b.words(rows))
      for column in a.spec.columns:
        np.testing.assert_array_equal(a.column(column), b.column(column))

  def test_nothing_usable_is_told(self):
    for name in os.listdir(self.root):
      if name.endswith('.png'):
        pictures.write(os.path.join(self.root, name), b'no image')
    with self.assertRaisesRegex(errors.UserError, 'None of .* can be used'):
      self.embed()

  def test_mistakes_are_told_before_anything_is_written(self):
    for given, message in (
      ({'batch': 0}, '--batch=0 must be at least 1'),
      ({'workers': 0}, '--workers=0 must be at least 1'),
      ({'dtype': 'int8'}, '--dtype=int8 is unknown'),
      ({'near_duplicates': 17}, '--near_duplicates=17 is outside'),
      ({'mesh': (64, 1)}, 'needs 64 devices'),
    ):
      with self.assertRaisesRegex(errors.UserError, message):
        embed(self.out, self.spec, **given)
      self.assertFalse(os.path.exists(self.out))


class ClassesTest(absltest.TestCase):
  """Drawn scenes in folders by shape, told apart by prompts."""

  def test_prompts_tell_classes_apart(self):
    root = self.create_tempdir().full_path
    world = scenes.World(seed=5)
    sampled = scenes.sample(world, np.arange(400))
    image_NHW3 = render.render(sampled, model().pixels.side)
    present_NF = scenes.present(sampled)
    shapes = list(scenes.SHAPES)
    at_S = [scenes.FACTORS.index(f'shape={shape}') for shape in shapes]
    for i in np.flatnonzero(present_NF[:, at_S].sum(1) == 1)[:60]:
      shape = shapes[int(np.argmax(present_NF[i, at_S]))]
      path = os.path.join(root, shape, f'{i:04d}.png')
      drawn = Image.fromarray(image_NHW3[i])
      pictures.write(path, pictures.encode(drawn, 'PNG'))
    out = os.path.join(self.create_tempdir().full_path, 'store')
    templates = os.path.join(self.create_tempdir().full_path, 'templates.txt')
    pictures.write(templates, 'a {}\none {}\n')
    with mock.patch.object(embedding_records, 'PER_SHARD', 7):
      embed(out, f'classes:path={root},templates={templates}')
    self.assertEmpty(list(store.validate(out)))
    found = store.Store(out)
    self.assertEqual(found.streams, ('image', 'prompts'))
    classes = found.about['dataset']['classes']
    self.assertEqual(found.about['dataset']['templates'], ['a {}', 'one {}'])
    prompts = found['prompts']
    rows = prompts.rows('all')
    self.assertEqual(prompts.spec.columns, ('label', 'template'))
    np.testing.assert_array_equal(
      prompts.column('label'), np.repeat(np.arange(len(classes)), 2)
    )
    np.testing.assert_array_equal(
      prompts.column('template'), np.tile([0, 1], len(classes))
    )
    self.assertEqual(
      [w['caption'] for w in prompts.words(rows)],
      [f'{said} {c}' for c in classes for said in ('a', 'one')],
    )
    image = found['image']
    self.assertEqual(
      [classes[label] for label in image.column('label')],
      [w['class'] for w in image.words(image.rows('all'))],
    )
    entries = store_quality.evaluate_store(out, 'all').entries
    chance = entries['zero_shot/chance_top1']['value']
    self.assertGreater(entries['zero_shot/top1']['value'], 3 * chance)


class ImageTowerTest(Pictured):
  def test_a_model_that_reads_no_texts_embeds_images_alone(self):
    alone = dataclasses.replace(model(), tokenizer=None)
    self.enter_context(
      mock.patch.object(folder, 'load', lambda *_, **__: alone)
    )
    found = self.embed()
    world = os.path.join(self.create_tempdir().full_path, 'store')
    embed(world, 'scenes:n=5')
    for path in (self.out, world):
      self.assertEmpty(list(store.validate(path)))
      self.assertEqual(store.Store(path).streams, ('image',))
    # Where no caption is wanted, captions that say nothing cost no image.
    self.assertEqual(
      found['image'].column('pair').tolist(), sorted({*pictured.USED, 21})
    )


class TowersTest(absltest.TestCase):
  def test_texts_are_the_same_alone_and_among_others(self):
    embed_ = embedders.embedder(model(), sharding.make_mesh(), batch=16)
    texts = ['a red circle', 'a blue star ' * 4, 'a green square ' * 60]
    many_ND, is_cut_N = embed_.texts(texts * 20)
    np.testing.assert_array_equal(is_cut_N, [False, False, True] * 20)
    for i, text in enumerate(texts):
      alone_ND, _ = embed_.texts([text])
      self.assertEqual(many_ND[i::3].tolist(), many_ND[i : i + 1].tolist() * 20)
      np.testing.assert_allclose(many_ND[i], alone_ND[0], atol=1e-6)

  def test_short_texts_are_computed_apart_and_equal_ones_once(self):
    embed_ = embedders.embedder(model(), sharding.make_mesh(), batch=8)
    texts = [f'a {c} star' for c in 'abcdefghijklmnop'] + ['a green ring ' * 60]
    shapes, call = [], embedders.Tower.__call__

    def noted(tower, ids_NT):
      shapes.append(ids_NT.shape)
      return call(tower, ids_NT)

    with mock.patch.object(embedders.Tower, '__call__', noted):
      embed_.texts(texts * 3)
    self.assertEqual([n for n, _ in shapes], [8, 8, 1])
    self.assertEqual(shapes[-1][1], 40)
    self.assertLess(shapes[0][1], 40)


if __name__ == '__main__':
  absltest.main()
