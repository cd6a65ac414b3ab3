"""Embedding the world: right rows beside right words, whatever happens."""

import os
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax import errors
from saejax import pretrained
from saejax import store
from saejax.data import captions
from saejax.data import render
from saejax.data import scenes
from saejax.models import folder
from saejax.pipeline import embedding
from saejax.pipeline import embedding_scenes

N, TEXTS = 40, 3
SPEC = f'scenes:n={N},seed=7,texts={TEXTS}'


def contents(path: str) -> dict[str, bytes]:
  found = {}
  for name in sorted(os.listdir(path)):
    with open(os.path.join(path, name), 'rb') as f:
      found[name] = f.read()
  return found


def embed(out: str, spec: str = SPEC, model: str = 'clip-scenes', **given):
  config = embedding.EmbedConfig(model=model, dataset=spec, **given)
  return embedding.embed(config, out)


class EmbeddingTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.out = os.path.join(self.create_tempdir().full_path, 'store')
    # So that so few scenes are several shards.
    self.enter_context(mock.patch.object(embedding_scenes, 'PER_SHARD', 16))

  def test_rows_are_the_models_and_lie_beside_their_words(self):
    embed(self.out)
    self.assertEmpty(list(store.validate(self.out)))
    found = store.Store(self.out)
    vlm = folder.load(pretrained.path('clip-scenes'))
    world = scenes.World(seed=7)
    sampled = scenes.sample(world, np.arange(N))
    image, text = found['image'], found['text']
    variables = {'params': vlm.params}
    drawn = vlm.pixels(render.render(sampled, vlm.pixels.side))
    np.testing.assert_allclose(
      image.take(np.arange(N)),
      vlm.module.apply(variables, drawn, method='image')[0],
      rtol=1e-4,
      atol=1e-5,
    )
    np.testing.assert_array_equal(
      image.column('labels'), scenes.present(sampled)
    )
    self.assertEqual(len(text), N * TEXTS)
    for j in range(TEXTS):
      said = captions.caption(world, sampled, j)
      rows = np.arange(N) * TEXTS + j
      self.assertEqual([w['caption'] for w in text.words(rows)], said.text)
      np.testing.assert_array_equal(
        text.column('meaning')[rows], said.meaning_N
      )
      np.testing.assert_array_equal(
        text.column('labels')[rows], said.mentioned_NF
      )
      ids = vlm.tokenize(said.text)
      np.testing.assert_allclose(
        text.take(rows),
        vlm.module.apply(variables, ids, method='text')[0],
        rtol=1e-4,
        atol=1e-5,
      )
    pair = image.column('pair')
    np.testing.assert_array_equal(text.column('pair'), np.repeat(pair, TEXTS))
    np.testing.assert_array_equal(
      text.column('split'), np.repeat(image.column('split'), TEXTS)
    )
    self.assertEqual([w['scene'] for w in image.words(pair)], list(range(N)))

  @parameterized.parameters(1, 4)
  def test_killed_and_run_again_it_is_the_same_to_the_byte(self, after):
    whole = f'{self.out}-whole'
    embed(whole)
    write, calls = store.StoreWriter.write, []

    def dying(writer, stream, index, *rest):
      if len(calls) == after:
        raise KeyboardInterrupt
      calls.append((stream, index))
      write(writer, stream, index, *rest)

    with (
      mock.patch.object(store.StoreWriter, 'write', dying),
      self.assertRaises(KeyboardInterrupt),
    ):
      embed(self.out)
    again = []
    with mock.patch.object(
      store.StoreWriter,
      'write',
      lambda writer, stream, index, *rest: (
        again.append((stream, index)),
        write(writer, stream, index, *rest),
      ),
    ):
      embed(self.out)
    self.assertEmpty(set(calls) & set(again))
    self.assertEqual(contents(self.out), contents(whole))

  def test_one_device_gives_the_rows_of_eight(self):
    embed(self.out)
    embed(f'{self.out}-1', mesh=(1, 1))
    for name in ('image', 'text'):
      a, b = (store.Store(p)[name] for p in (self.out, f'{self.out}-1'))
      np.testing.assert_allclose(
        a.take(np.arange(len(a))), b.take(np.arange(len(a))), atol=1e-6
      )

  def test_mistakes_are_told_and_leave_nothing(self):
    for model, spec, message in (
      ('clip-nothing', SPEC, 'There is no model clip-nothing'),
      ('clip-scenes', 'imagenet', 'names no kind of data set that is known'),
      ('clip-scenes', 'scenes:n=0', 'must be at least 1'),
      ('clip-scenes', 'scenes:captions=rude', "captions='rude' is unknown"),
      ('clip-scenes', 'folder:path=/none', '/none is not there'),
    ):
      with self.assertRaisesRegex(errors.UserError, message):
        embed(self.out, spec, model)
      self.assertFalse(os.path.exists(self.out))

  def test_other_scenes_do_not_join_a_store_in_the_making(self):
    with (
      mock.patch.object(
        store.StoreWriter, 'finish', side_effect=KeyboardInterrupt
      ),
      self.assertRaises(KeyboardInterrupt),
    ):
      embed(self.out)
    with self.assertRaisesRegex(store.StoreError, 'other settings'):
      embed(self.out, f'{SPEC},captions=full')


if __name__ == '__main__':
  absltest.main()
