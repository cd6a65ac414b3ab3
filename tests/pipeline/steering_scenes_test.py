"""Each order of the letters is asked once, and a name is asked for plainly."""

from absl.testing import absltest
import numpy as np

from saejax.data import questions
from saejax.data import specs
from saejax.pipeline import steering_after
from saejax.pipeline import steering_scenes

DATA = specs.SceneSet(n=1500, splits=(0.4, 0.3, 0.3))


class ScenesTest(absltest.TestCase):
  def test_each_order_of_the_letters_is_asked_once(self):
    shown = steering_scenes.show(DATA, 'val', 20, 16)
    for factor, count in (('colour', 4), ('size', 2)):
      target = 1
      sources = shown.take(np.flatnonzero(shown.label[factor] != target))
      c = steering_scenes.choices(
        sources, factor, target, DATA.world, questions.LETTERS
      )
      names = steering_scenes.FACTORS[factor]
      self.assertLen(c.text, count * len(sources))
      for i in range(len(sources)):
        at = np.flatnonzero(c.scene_n == i)
        self.assertCountEqual(c.target_n[at], range(count))
        for row in at:
          words = c.text[row].split()[-2 * count + 1 :: 2]
          self.assertLen(set(words), count)
          self.assertEqual(words[c.target_n[row]], names[target])
          truth = names[sources.label[factor][i]]
          self.assertEqual(words[c.truth_n[row]], truth)

  def test_without_letters_the_name_of_a_class_is_asked_for(self):
    shown = steering_scenes.show(DATA, 'val', 8, 16)
    c = steering_scenes.choices(shown, 'shape', 2, DATA.world, ())
    self.assertEqual(c.options, steering_scenes.FACTORS['shape'])
    self.assertEqual(set(c.target_n), {2})
    np.testing.assert_array_equal(c.truth_n, shown.label['shape'])
    for text in c.text:
      self.assertRegex(text, r'^what shape is the \w+ thing \?$')

  def test_without_a_target_the_truth_is_asked_for(self):
    shown = steering_scenes.show(DATA, 'test', 8, 16)
    c = steering_scenes.choices(
      shown, 'shape', None, DATA.world, questions.LETTERS
    )
    np.testing.assert_array_equal(c.target_n, c.truth_n)

  def test_scenes_have_one_thing_and_their_split(self):
    shown = {
      p: steering_scenes.show(DATA, p, 9999, 16) for p in ('val', 'test')
    }
    self.assertTrue((shown['val'].scenes.count_N == 1).all())
    self.assertEmpty(
      {*shown['val'].scenes.index_N} & {*shown['test'].scenes.index_N}
    )

  def test_a_word_is_named_whole(self):
    self.assertTrue(steering_after.names_it('red', 'There is a Red star'))
    self.assertFalse(steering_after.names_it('red', 'a hundred stars'))


if __name__ == '__main__':
  absltest.main()
