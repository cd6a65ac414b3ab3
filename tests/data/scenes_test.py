"""The procedural world: stateless, true to its labels, and skewed."""

import dataclasses

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax.data import captions
from saejax.data import render
from saejax.data import scenes

N = 20_000
SHARED = np.arange(len(scenes.SHARED))


def world(captions_: str = 'partial') -> scenes.World:
  return scenes.World(seed=3, captions=captions_)


class SceneTest(parameterized.TestCase):
  def test_a_scene_is_a_function_of_seed_and_index(self):
    whole = scenes.sample(world(), np.arange(50))
    some = scenes.sample(world(), np.array([7, 42]))
    for field in dataclasses.fields(scenes.Scenes):
      np.testing.assert_array_equal(
        getattr(some, field.name), getattr(whole, field.name)[[7, 42]]
      )
    np.testing.assert_array_equal(
      render.render(some), render.render(whole)[[7, 42]]
    )
    self.assertEqual(
      captions.caption(world(), some, 2).text,
      [captions.caption(world(), whole, 2).text[i] for i in (7, 42)],
    )
    other = scenes.sample(scenes.World(seed=4), np.arange(50))
    self.assertFalse(np.array_equal(whole.shape_NO, other.shape_NO))

  def test_frequencies_fall_as_a_power_law(self):
    sampled = scenes.sample(world(), np.arange(N))
    shape_n = sampled.shape_NO[sampled.drawn_NO]
    rate = np.bincount(shape_n, minlength=len(scenes.SHAPES)) / len(shape_n)
    expected = np.arange(1, len(rate) + 1) ** -0.5
    np.testing.assert_allclose(rate, expected / expected.sum(), atol=0.01)

  def test_associations_are_planted(self):
    sampled = scenes.sample(world(), np.arange(N))
    has = scenes.present(sampled)
    of = scenes.column
    first = sampled.shape_NO[:, 0]
    for shape, effect in scenes.ASSOCIATED:
      is_first = first == scenes.SHAPES.index(shape)
      if effect in scenes.COLOURS:
        chosen = list(scenes.COLOURS).index(effect)
        rate = (sampled.colour_NO[is_first, 0] == chosen).mean()
        base = (sampled.colour_NO[first == 0, 0] == chosen).mean()
      else:
        rate = has[is_first, of(f'background={effect}')].mean()
        base = has[first == 0, of(f'background={effect}')].mean()
      self.assertGreater(rate, base + 0.35, (shape, effect))

  def test_labels_say_what_is_drawn(self):
    sampled = scenes.sample(world(), np.arange(200))
    has = scenes.present(sampled)
    for n in range(200):
      expected = {
        f'background={list(scenes.BACKGROUNDS)[sampled.background_N[n]]}'
      }
      expected |= {f'count={scenes.COUNTS[sampled.count_N[n] - 1]}'}
      expected |= {f'texture={scenes.TEXTURES[sampled.texture_N[n]]}'}
      expected |= {f'light={scenes.LIGHTS[sampled.light_N[n]]}'}
      if sampled.frame_N[n] >= 0:
        expected |= {f'frame={list(scenes.FRAMES)[sampled.frame_N[n]]}'}
      for o in range(sampled.count_N[n]):
        colour = list(scenes.COLOURS)[sampled.colour_NO[n, o]]
        shape = scenes.SHAPES[sampled.shape_NO[n, o]]
        expected |= {f'colour={colour}', f'shape={shape}'}
        expected |= {f'pair={colour} {shape}'}
        expected |= {f'size={scenes.SIZES[sampled.size_NO[n, o]]}'}
        expected |= {f'pattern={scenes.PATTERNS[sampled.pattern_NO[n, o]]}'}
      found = {scenes.FACTORS[f] for f in np.flatnonzero(has[n])}
      self.assertEqual(found, expected)

  def test_every_seen_factor_changes_the_image(self):
    base = scenes.sample(world(), np.arange(60))
    one = lambda **kw: dataclasses.replace(base, **kw)
    changed = {
      'shape_NO': (base.shape_NO + 1) % len(scenes.SHAPES),
      'colour_NO': (base.colour_NO + 1) % len(scenes.COLOURS),
      'size_NO': 1 - base.size_NO,
      'pattern_NO': (base.pattern_NO + 1) % len(scenes.PATTERNS),
      'background_N': (base.background_N + 1) % len(scenes.BACKGROUNDS),
      'texture_N': (base.texture_N + 1) % len(scenes.TEXTURES),
      'light_N': (base.light_N + 1) % len(scenes.LIGHTS),
      'frame_N': (base.frame_N + 2) % (len(scenes.FRAMES) + 1) - 1,
      'count_N': base.count_N % 3 + 1,
    }
    image = render.render(base).astype(int)
    for name, value in changed.items():
      other = render.render(one(**{name: value})).astype(int)
      differs = (image != other).any((1, 2, 3))
      self.assertTrue(differs.all(), name)

  def test_images_hold_every_colour(self):
    sampled = scenes.sample(world(), np.arange(300))
    alone = (sampled.count_N == 1) & (sampled.pattern_NO[:, 0] == 0)
    image = render.render(sampled)
    self.assertEqual(image.dtype, np.uint8)
    for n in np.flatnonzero(alone & (sampled.shape_NO[:, 0] == 1))[:20]:
      x, y = (sampled.centre_NO2[n, 0] * 48).astype(int)
      rgb = list(scenes.COLOURS.values())[sampled.colour_NO[n, 0]]
      # Lit and tinted, but of the same hue.
      pixel = image[n, y, x].astype(float)
      cosine = pixel @ rgb / np.linalg.norm(pixel) / np.linalg.norm(rgb)
      self.assertGreater(cosine, 0.97)


class CaptionTest(parameterized.TestCase):
  @parameterized.parameters('partial', 'full')
  def test_captions_only_say_what_is_there(self, kind):
    sampled = scenes.sample(world(kind), np.arange(3000))
    said = captions.caption(world(kind), sampled).mentioned_NF[:, SHARED]
    self.assertTrue((said <= scenes.present(sampled)[:, SHARED]).all())

  def test_full_captions_leave_out_nothing_that_can_be_said(self):
    sampled = scenes.sample(world('full'), np.arange(3000))
    said = captions.caption(world('full'), sampled).mentioned_NF[:, SHARED]
    np.testing.assert_array_equal(said, scenes.present(sampled)[:, SHARED])

  def test_unrelated_captions_share_no_more_than_chance(self):
    sampled = scenes.sample(world('unrelated'), np.arange(N))
    said = captions.caption(world('unrelated'), sampled).mentioned_NF
    has = scenes.present(sampled)
    for name in scenes.SHARED[:40]:
      f = scenes.column(name)
      rate, base = has[said[:, f], f].mean(), has[:, f].mean()
      error = np.sqrt(base * (1 - base) / said[:, f].sum())
      self.assertLess(abs(rate - base), 5 * error, name)

  def test_text_only_factors_are_free_of_the_scene(self):
    said = captions.caption(world(), scenes.sample(world(), np.arange(N)))
    text_only = said.mentioned_NF[:, len(scenes.SHARED + scenes.IMAGE_ONLY) :]
    self.assertEqual(text_only.shape[1], len(scenes.TEXT_ONLY))
    self.assertTrue((text_only.mean(0) > 0.01).all())

  def test_words_mean_what_the_labels_say(self):
    sampled = scenes.sample(world(), np.arange(2000))
    found = captions.caption(world(), sampled)
    for words, mentioned in zip(found.text, found.mentioned_NF, strict=True):
      spoken = set(words.split())
      for kind, values in (
        ('colour', scenes.COLOURS),
        ('shape', scenes.SHAPES),
        ('size', scenes.SIZES),
        ('background', scenes.BACKGROUNDS),
        ('frame', scenes.FRAMES),
        ('mood', scenes.MOODS),
        ('speaker', scenes.SPEAKERS),
      ):
        for value in values:
          labelled = mentioned[scenes.column(f'{kind}={value}')]
          self.assertEqual(value in spoken, labelled, (words, value))

  def test_meanings_are_equal_just_where_the_same_is_said(self):
    sampled = scenes.sample(world(), np.arange(5000))
    a, b = (captions.caption(world(), sampled, j) for j in (0, 1))
    meaning = np.concatenate([a.meaning_N, b.meaning_N])
    said = np.concatenate([a.mentioned_NF, b.mentioned_NF])[:, SHARED]
    _, first, inverse = np.unique(
      meaning, return_index=True, return_inverse=True
    )
    np.testing.assert_array_equal(said, said[first][inverse])
    self.assertLess(len(first), 0.6 * len(meaning))
    same = a.meaning_N == b.meaning_N
    wording = np.array(a.text) != np.array(b.text)
    self.assertGreater((same & wording).sum(), 30)

  def test_there_are_many_captions(self):
    found = captions.caption(world(), scenes.sample(world(), np.arange(N)))
    self.assertGreater(len(set(found.text)), 10_000)
    used = set(' '.join(found.text).split())
    self.assertEqual(used, set(captions.vocabulary()))

  def test_an_unknown_world_is_refused(self):
    with self.assertRaisesRegex(ValueError, "choose 'partial'"):
      scenes.World(captions='none')


class RelatedTest(absltest.TestCase):
  def test_pairs_imply_their_parts_and_associations_link(self):
    related = scenes.related()
    of = scenes.column
    self.assertTrue(related[of('pair=red star'), of('shape=star')])
    self.assertTrue(related[of('pair=red star'), of('pair=red ring')])
    self.assertTrue(related[of('shape=heart'), of('colour=red')])
    self.assertTrue(related[of('shape=moon'), of('background=night')])
    self.assertFalse(related[of('shape=moon'), of('background=snow')])
    self.assertFalse(related[of('pair=red star'), of('shape=cross')])
    np.testing.assert_array_equal(related, related.T)


if __name__ == '__main__':
  absltest.main()
