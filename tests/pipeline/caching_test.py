"""Activations in a store are those of the model, in every context."""

import dataclasses
import os
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
from PIL import Image

from saejax import errors
from saejax import sharding
from saejax import store as store_lib
from saejax.data import captions
from saejax.data import render
from saejax.data import scenes as scenes_lib
from saejax.models import llava_folder
from saejax.models import tiles
from saejax.pipeline import caching
from saejax.pipeline import examples
from saejax.pipeline import llava_models
from saejax.pipeline import llava_reading

N = 10
TINY = llava_models.LlavaConfig(text_width=64, text_layers=2)


class CacheTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    model, hf_config = llava_models.new_model(TINY)
    model = dataclasses.replace(model, params=jax.device_get(model.params))
    llava_folder.save(cls.folder, model, hf_config)
    cls.model = llava_folder.load(cls.folder)
    world = scenes_lib.World(seed=1)
    scenes = scenes_lib.sample(world, np.arange(N))
    cls.said = captions.caption(world, scenes).text
    cls.drawn = [Image.fromarray(a) for a in render.render(scenes, 48)]

  def setUp(self):
    super().setUp()
    one = sharding.make_mesh((1, 1))
    self.enter_context(mock.patch.object(sharding, 'make_mesh', lambda *_: one))
    self.enter_context(mock.patch.object(caching, 'PER_SHARD', 4))
    self.out = os.path.join(self.create_tempdir().full_path, 'store')

  def config(self, **changes) -> caching.CacheConfig:
    given = {'layers': (0, 2), 'batch': 3, 'store_dtype': 'float32'} | changes
    return caching.CacheConfig(
      model=self.folder, dataset=f'scenes:n={N}', **given
    )

  def expected(self, n: int, layer: int, bare: bool):
    """A row alone: its residuals, ids and which positions are the image's."""
    caption = self.said[n]
    prompt = f'USER: <image> describe the image . ASSISTANT: {caption}'
    inputs = (
      self.model.prepare([caption])
      if bare
      else self.model.prepare([prompt], [[self.drawn[n]]])
    )
    _, out, _ = self.model.module.apply(
      {'params': self.model.params},
      inputs.tokens,
      image=inputs.image,
      method='hidden',
    )
    t = inputs.tokens
    real = np.asarray(t.is_real_BT[0])
    x = np.asarray(llava_reading.residuals(out, [layer])[layer][0])[real]
    return x, np.asarray(t.ids_BT[0])[real], np.asarray(t.is_image_BT[0])[real]

  def test_every_stream_is_what_the_model_has_there(self):
    caching.cache(self.config(), self.out)
    store = store_lib.Store(self.out)
    self.assertLen(store.manifest.streams, 6)
    for layer in (0, 2):
      for n in (0, 5, N - 1):
        x, ids, is_image = self.expected(n, layer, False)
        bare, bare_ids, _ = self.expected(n, layer, True)
        words = len(self.said[n].split())
        for context, rows, tokens in (
          ('image', x[is_image], ids[is_image]),
          ('caption', x[-words:], ids[-words:]),
          ('text', bare[1:], bare_ids[1:]),
        ):
          stream = store[f'layer{layer:02d}.{context}']
          at = np.flatnonzero(stream.column('pair') == n)
          found = stream.take(at)
          np.testing.assert_allclose(found, rows, rtol=1e-4, atol=1e-5)
          np.testing.assert_array_equal(stream.column('token_id')[at], tokens)
          self.assertEqual(
            stream.modality, 'image' if context == 'image' else 'text'
          )

  def test_a_row_says_where_it_is(self):
    caching.cache(self.config(layers=(2,)), self.out)
    store = store_lib.Store(self.out)
    layout = self.model.module.config.layout
    self.assertEqual(store.about['patches'], layout.patches)
    seen = tiles.seen((48, 48), layout)
    for n in (0, 5, N - 1):
      stream = store['layer02.image']
      at = np.flatnonzero(stream.column('pair') == n)
      np.testing.assert_array_equal(stream.column('patch')[at], seen)
      self.assertEqual(stream.words(at[:1]), [{'scene': n}])
      for name in ('layer02.caption', 'layer02.text'):
        stream, said = store[name], self.said[n]
        at = np.flatnonzero(stream.column('pair') == n)
        ends = zip(*(stream.column(c)[at] for c in ('start', 'end')))  # noqa: B905
        self.assertEqual([said[a:b] for a, b in ends], said.split())
        self.assertEqual(stream.words(at[-1:]), [{'caption': said}])

  def test_rows_that_are_drawn_keep_their_places(self):
    caching.cache(self.config(layers=(2,), per_example=5), self.out)
    store = store_lib.Store(self.out)
    seen = tiles.seen((48, 48), self.model.module.config.layout)
    stream = store['layer02.image']
    first = int(stream.column('position').min())
    _, _, is_image = self.expected(0, 2, False)
    self.assertGreaterEqual(first, int(np.argmax(is_image)))
    place = stream.column('position') - int(np.argmax(is_image))
    np.testing.assert_array_equal(stream.column('patch'), seen[place])
    stream = store['layer02.text']
    start, end = stream.column('start'), stream.column('end')
    for row, words in enumerate(stream.words(stream.rows('all'))):
      word = words['caption'][start[row] : end[row]]
      place = int(stream.column('position')[row]) - 1
      self.assertEqual(word, words['caption'].split()[place])

  def test_so_many_are_chosen_as_are_asked_for(self):
    for n, most in ((1000, 999), (1500, 1000), (7, 7), (3, 9), (0, 4)):
      chosen = examples.spread(n, most)
      self.assertLen(chosen, min(n, most))
      self.assertTrue((np.diff(chosen) > 0).all())
    self.assertEqual(chosen.tolist(), [])
    self.assertEqual(examples.spread(5, None).tolist(), [0, 1, 2, 3, 4])
    gaps = np.diff(examples.spread(1500, 1000))
    self.assertEqual(set(gaps.tolist()), {1, 2})

  def test_some_examples_are_evenly_spread(self):
    counts = caching.cache(self.config(layers=(2,), examples=4), self.out)
    stream = store_lib.Store(self.out)['layer02.image']
    self.assertEqual(np.unique(stream.column('pair')).tolist(), [0, 2, 5, 7])
    self.assertEqual(counts['layer02.image'], 4 * 78)
    x, _, is_image = self.expected(5, 2, False)
    at = np.flatnonzero(stream.column('pair') == 5)
    np.testing.assert_allclose(
      stream.take(at), x[is_image], rtol=1e-4, atol=1e-5
    )

  def test_a_share_of_positions_is_drawn_alike_in_every_layer(self):
    counts = caching.cache(self.config(per_example=5), self.out)
    self.assertEqual(counts['layer00.image'], 5 * N)
    store = store_lib.Store(self.out)
    first, last = (store[f'layer{n}.image'] for n in ('00', '02'))
    np.testing.assert_array_equal(
      first.column('position'), last.column('position')
    )
    x, _, _ = self.expected(3, 2, False)
    at = np.flatnonzero(last.column('pair') == 3)
    np.testing.assert_allclose(
      last.take(at), x[last.column('position')[at]], rtol=1e-4, atol=1e-5
    )

  def test_pooled_rows_have_the_factors(self):
    caching.cache(self.config(pool=True), self.out)
    store = store_lib.Store(self.out)
    stream = store['layer02.image']
    x, _, is_image = self.expected(4, 2, False)
    np.testing.assert_allclose(
      stream.take(np.array([4]))[0], x[is_image].mean(0), rtol=1e-4, atol=1e-5
    )
    world = scenes_lib.World(seed=1)
    held = scenes_lib.present(scenes_lib.sample(world, np.arange(N)))
    np.testing.assert_array_equal(stream.column('labels'), held)

  @parameterized.parameters(False, True)
  def test_a_killed_run_goes_on_to_the_same_bytes(self, tower):
    caching.cache(self.config(tower=tower), self.out)
    other, seen = f'{self.out}-parts', []
    gather = caching.gather

    class Stop(Exception):
      pass

    def stopping(*args):
      seen.append(args)
      if len(seen) == 3:
        raise Stop
      return gather(*args)

    stops = mock.patch.object(caching, 'gather', stopping)
    with stops, self.assertRaises(Stop):
      caching.cache(self.config(tower=tower), other)
    with self.assertRaisesRegex(store_lib.StoreError, 'another|other'):
      caching.cache(self.config(tower=not tower), other)
    caching.cache(self.config(tower=tower), other)
    for name in sorted(os.listdir(self.out)):
      bits = []
      for folder in (self.out, other):
        with open(os.path.join(folder, name), 'rb') as f:
          bits.append(f.read())
      self.assertEqual(*bits, name)

  @parameterized.parameters(
    ({'layers': (9,)}, 'no layer 9; the model has 2'),
    ({'prompt': '{image} what is it'}, 'must hold {image} once'),
    ({'prompt': '{caption} {image}'}, 'must hold {image} once'),
    ({'pool': True, 'per_example': 3}, 'leave --per_example'),
    ({'examples': 0}, '--examples=0 must be at least 1'),
    ({'batch': 0}, '--batch=0 must be at least 1'),
    ({'dtype': 'int8'}, '--dtype=int8 is unknown'),
  )
  def test_a_mistake_is_told_and_leaves_nothing(self, changes, message):
    with self.assertRaisesRegex(errors.UserError, message):
      caching.cache(self.config(**changes), self.out)
    self.assertFalse(os.path.exists(self.out))


if __name__ == '__main__':
  absltest.main()
