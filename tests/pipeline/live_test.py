"""Rows that are computed as they are trained on are those of a store."""

import contextlib
import dataclasses
import functools
import json
import os
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import errors
from saejax import io
from saejax import run
from saejax import sharding
from saejax import store as store_lib
from saejax.data import specs
from saejax.data import windows
from saejax.models import llava_folder
from saejax.pipeline import caching
from saejax.pipeline import live
from saejax.pipeline import live_rows
from saejax.pipeline import llava_models
from saejax.train import config as config_lib
from saejax.train import loop
from tests.train import loop_test

N, PER_SHARD, WINDOW = 40, 4, 2
DATASET = f'scenes:n={N},seed=1,splits=0.6/0.2/0.2'
STREAMS = ('layer02.image', 'layer02.text')
FROM_JAX = caching.from_jax
TINY = llava_models.LlavaConfig(text_width=64, text_layers=2)


def save_model(folder: str, seed: int = 0) -> str:
  model, hf_config = llava_models.new_model(
    dataclasses.replace(TINY, seed=seed)
  )
  model = dataclasses.replace(model, params=jax.device_get(model.params))
  llava_folder.save(folder, model, hf_config)
  return folder


class LiveTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    one = sharding.make_mesh((1, 1))
    fixed = mock.patch.object(sharding, 'make_mesh', lambda *_: one)
    cls.enterClassContext(fixed)
    small = mock.patch.object(caching, 'PER_SHARD', PER_SHARD)
    cls.enterClassContext(small)
    # Tracing the model takes longer than all of its work here.
    load = functools.cache(
      lambda model: FROM_JAX(dataclasses.replace(cls.given, model=model))
    )
    once = mock.patch.object(
      caching, 'from_jax', lambda config: load(config.model)
    )
    cls.enterClassContext(once)
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    path = lambda name: os.path.join(cls.folder, name)
    cls.model = save_model(path('model'))
    cls.given = caching.CacheConfig(
      model=cls.model, dataset=DATASET, layers=(2,), batch=4,
      store_dtype='float32', per_example=9,
    )  # fmt: skip
    caching.cache(cls.given, path('whole'), caching.from_jax)
    sample = dataclasses.replace(cls.given, examples=20)
    caching.cache(sample, path('sample'), caching.from_jax)
    cls.whole = store_lib.Store(path('whole'))
    cls.sample = store_lib.Store(path('sample'))

  def setUp(self):
    super().setUp()
    self.out = os.path.join(self.create_tempdir().full_path, 'run')

  def config(self, **changes) -> config_lib.TrainConfig:
    given = dict(
      streams=STREAMS, mix='natural', epochs=2, steps=None, batch=32, k=4,
      log_every=1, center='modality',
    )  # fmt: skip
    return loop_test.config(self.sample.path, **(given | changes))

  def live(self, **changes) -> live.LiveConfig:
    given = dict(model=self.model, dataset=DATASET, window=WINDOW, read_batch=4)
    return live.LiveConfig(**(given | changes))

  def losses(self, out: str) -> list[float]:
    with open(os.path.join(out, loop.METRICS)) as f:
      return [json.loads(line)['loss'] for line in f]

  def streams(self):
    data = specs.parse(DATASET)
    source = caching.from_jax(self.given)
    kept = [self.sample[name] for name in STREAMS]
    layout = live_rows.count(
      self.given, data, source.model, [n.partition('.')[2] for n in STREAMS]
    )
    return layout, live_rows.streams(
      self.given, data, source, kept, layout, 2 * WINDOW
    )

  def test_rows_are_those_of_a_store_by_their_numbers(self):
    layout, streams = self.streams()
    for m, (stream, name) in enumerate(zip(streams, STREAMS, strict=True)):
      kept = self.whole[name]
      pair_N = kept.column('pair')
      np.testing.assert_array_equal(
        layout.count_GM[:, m], np.bincount(pair_N, minlength=N)
      )
      np.testing.assert_array_equal(
        layout.split_G[pair_N], kept.column('split')
      )
      self.assertLen(stream, len(kept))
      rows_n = kept.rows('train')
      self.assertEqual(layout.totals_M[m], len(rows_n))
      rows_n = np.random.default_rng(0).permutation(rows_n)
      np.testing.assert_allclose(
        stream.take(rows_n), kept.take(rows_n), rtol=1e-4, atol=1e-5
      )
      held = kept.rows('val')[:1]
      with self.assertRaisesRegex(IndexError, f'Row {held[0]} is not in train'):
        stream.take(held)

  def counting(self, computed: list[int], resident: list[int]):
    """Notes which shards are computed, and how many there are then."""
    make = live_rows.Shards.__getitem__

    def getting(shards, i):
      if i not in shards._held:
        computed.append(i)
      found = make(shards, i)
      resident.append(len(shards))
      return found

    return mock.patch.object(live_rows.Shards, '__getitem__', getting)

  def test_a_run_sees_what_one_on_a_store_sees(self):
    batches, computed, resident = [], [], []
    take = windows.WindowedMixture.take

    def noting(mixture, which_b, rows_b):
      x_bD = take(mixture, which_b, rows_b)
      batches.append((which_b, rows_b, x_bD))
      return x_bD

    watched = mock.patch.object(windows.WindowedMixture, 'take', noting)
    with watched, self.counting(computed, resident):
      live.train(self.config(), self.live(), self.out)
    which_N, rows_N = (
      np.concatenate([b[i] for b in batches]) for i in range(2)
    )
    x_ND = np.concatenate([b[2] for b in batches])
    total = sum(len(self.whole[name].rows('train')) for name in STREAMS)
    self.assertBetween(len(rows_N), 2 * total, 2 * total + 31)
    for epoch in range(2):
      part = slice(epoch * total, (epoch + 1) * total)
      for m, name in enumerate(STREAMS):
        seen = rows_N[part][which_N[part] == m]
        np.testing.assert_array_equal(
          np.sort(seen), self.whole[name].rows('train')
        )
    for m, name in enumerate(STREAMS):
      kept_nD = self.whole[name].take(rows_N[which_N == m])
      np.testing.assert_allclose(
        x_ND[which_N == m], kept_nD, rtol=1e-4, atol=1e-5
      )
    self.assertEqual(max(resident), 2 * WINDOW)
    # Each once an epoch; the last step may begin a third, of one window.
    self.assertBetween(len(computed), 20, 20 + WINDOW)

  def test_a_run_ends_as_one_on_a_store(self):
    path = live.train(self.config(), self.live(), self.out)

    def stored(*given):
      del given
      return [self.whole[name] for name in STREAMS]

    with mock.patch.object(live_rows, 'streams', stored):
      other = live.train(self.config(), self.live(), f'{self.out}-stored')
    losses = self.losses(self.out)
    np.testing.assert_allclose(
      losses, self.losses(f'{self.out}-stored'), rtol=1e-4
    )
    found, expected = io.load(path)[1], io.load(other)[1]
    np.testing.assert_allclose(
      found['params']['w_dec'], expected['params']['w_dec'], atol=1e-3
    )
    self.assertLess(losses[-1], 0.95 * losses[0])

  def test_a_sample_of_images_alone_is_enough_for_images(self):
    path, streams = f'{self.out}-images', STREAMS[:1]
    kept = dataclasses.replace(
      self.given, examples=20, contexts=('image',), prompt='USER: {image}'
    )
    caching.cache(kept, path, caching.from_jax)
    self.assertEqual(store_lib.Store(path).streams, streams)
    config = dataclasses.replace(self.config(streams=streams), store=path)
    with mock.patch.object(live_rows, 'streams', wraps=live_rows.streams) as m:
      live.train(config, self.live(), self.out)
    whole = self.whole[streams[0]]
    layout = m.call_args.args[-2]
    np.testing.assert_array_equal(
      layout.count_GM[:, 0], np.bincount(whole.column('pair'), minlength=N)
    )
    self.assertEqual(layout.totals_M[0], len(whole.rows('train')))

  def test_the_dictionary_is_like_any_other_and_says_where_it_is_from(self):
    path = live.train(self.config(epochs=1), self.live(), self.out)
    other = loop.train(
      self.config(epochs=1, streams=STREAMS), f'{self.out}-stored'
    )
    self.assertEqual(sorted(os.listdir(path)), sorted(os.listdir(other)))
    found, expected = io.read_config(path), io.read_config(other)
    self.assertEqual(found.keys(), expected.keys())
    found, expected = found['provenance'], expected['provenance']
    self.assertEqual(found.keys(), expected.keys())
    self.assertEqual(found['store_hash'], self.sample.hash)
    self.assertEqual(found['config'].keys(), expected['config'].keys())
    self.assertIsNone(expected['config']['live'])
    said = found['config']['live']
    self.assertEqual(said['model'], self.sample.about['model'])
    self.assertEqual(said['dataset'], DATASET)
    self.assertEqual((said['per_example'], said['window']), (9, WINDOW))
    self.assertEqual(run.read(self.out)['config']['live'], said)
    self.assertGreater(io.load(path)[1]['constants']['threshold'], 0)

  def test_a_killed_run_goes_on_to_the_same_bits(self):
    config = self.config(checkpoint_every=5)
    whole = live.train(config, self.live(), f'{self.out}-whole')
    for last in (7, 16):
      with contextlib.suppress(loop_test.Stop), loop_test.stop_at(last):
        live.train(config, self.live(), self.out, resume=True)
    counted = mock.patch.object(
      live_rows, 'count', side_effect=AssertionError('counted again')
    )
    with counted:
      path = live.train(config, self.live(), self.out, resume=True)
    bits = []
    for folder in (path, whole):
      with open(os.path.join(folder, io.WEIGHTS), 'rb') as f:
        bits.append(f.read())
    self.assertEqual(*bits)
    self.assertEqual(self.losses(self.out), self.losses(f'{self.out}-whole'))
    with self.assertRaisesRegex(errors.UserError, r'other settings \(live: '):
      live.train(config, self.live(window=3), self.out, resume=True)
    with self.assertRaisesRegex(errors.UserError, r'other settings \(live: '):
      loop.train(config, self.out, resume=True)

  def test_data_that_changed_is_told(self):
    config = self.config(epochs=3, checkpoint_every=2)
    with contextlib.suppress(loop_test.Stop), loop_test.stop_at(3):
      live.train(config, self.live(), self.out)
    read = live_rows.examples_lib.read_at

    def changed(data, index_n, *rest):
      found, skipped = read(data, index_n, *rest)
      return found[:-1] if len(index_n) > 1 else found, skipped

    with (
      mock.patch.object(live_rows.examples_lib, 'read_at', changed),
      self.assertRaisesRegex(errors.UserError, 'the data set has changed'),
    ):
      live.train(config, self.live(), self.out, resume=True)

  @parameterized.parameters(
    ({}, {'window': 0}, '--window=0 must be at least 1'),
    ({}, {'read_dtype': 'int8'}, '--read_dtype=int8 is unknown'),
    ({'epochs': None}, {}, 'Give --steps or --epochs: every epoch runs'),
    ({'mix': 'equal'}, {}, '--mix=equal is not for rows that are computed'),
    ({'rows': 'layer02.image=3'}, {}, '--rows=layer02.image=3 is not for'),
    ({'align': 1.0}, {}, 'come one by one, not matched'),
    ({'streams': ('image',)}, {}, 'image is no layer of a LLaVA-NeXT'),
    ({'streams': ('layer01.text',)}, {}, 'has no stream layer01.text'),
    ({}, {'dataset': 'scenes:n=40'}, 'no sample of these rows: its dataset'),
    ({}, {'model': '/none'}, 'There is no model'),
    ({'batch': 999}, {}, '--batch=999 is more than a window has, about 90 of'),
  )
  def test_a_mistake_is_told_and_leaves_nothing(self, train, reads, message):
    with self.assertRaisesRegex(errors.UserError, message):
      live.train(self.config(**train), self.live(**reads), self.out)
    self.assertFalse(os.path.exists(self.out))

  def test_other_weights_than_the_sample_s_are_told(self):
    folder = os.path.join(self.create_tempdir().full_path, 'model')
    other = save_model(folder, seed=1)
    with self.assertRaisesRegex(errors.UserError, 'is not what --store holds'):
      live.train(self.config(), self.live(model=other), self.out)
    self.assertFalse(os.path.exists(self.out))


if __name__ == '__main__':
  absltest.main()
