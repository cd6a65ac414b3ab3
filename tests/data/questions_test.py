"""Questions about scenes: true, and fair to those who cannot see."""

import collections
import math

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax.data import questions
from saejax.data import scenes as scenes_lib

WORLD = scenes_lib.World(seed=5)
N = 6000


def scenes(n: int = N, first: int = 0) -> scenes_lib.Scenes:
  return scenes_lib.sample(WORLD, first + np.arange(n))


class QuestionsTest(parameterized.TestCase):
  @parameterized.parameters(*questions.KINDS)
  def test_the_answer_is_what_the_scene_holds(self, kind):
    held = scenes_lib.present(scenes())
    found = questions.ask(WORLD, scenes(), kind)
    self.assertGreater(len(found.text), 400)
    s, names = scenes(), list(scenes_lib.COLOURS)
    for row, text, answer in zip(
      found.row_n, found.text, found.answer, strict=True
    ):
      if kind == 'where':
        shape = text.split()[-2]
        drawn = s.shape_NO[row, : s.count_N[row]].tolist()
        self.assertEqual(drawn.count(scenes_lib.SHAPES.index(shape)), 1)
        x, y = s.centre_NO2[row, drawn.index(scenes_lib.SHAPES.index(shape))]
        self.assertEqual('left' in answer, x < 0.5)
        self.assertEqual('top' in answer, y < 0.5)
        continue
      self.assertTrue(held[row, scenes_lib.column(f'{kind}={answer}')])
      if kind == 'colour':
        pair = scenes_lib.pair_name(
          names.index(answer), scenes_lib.SHAPES.index(text.split()[-2])
        )
        self.assertTrue(held[row, scenes_lib.column(pair)])
      if kind == 'shape':
        pair = f'pair={text.split()[4]} {answer}'
        self.assertTrue(held[row, scenes_lib.column(pair)])

  @parameterized.parameters(*questions.KINDS)
  def test_one_option_is_right_and_it_is_told_which(self, kind):
    found = questions.ask(WORLD, scenes(), kind)
    expected = 2 if kind in ('count', 'size') else 4
    for options, right, answer, text in zip(
      found.options, found.right_n, found.answer, found.choices(), strict=True
    ):
      self.assertLen(set(options), expected)
      self.assertEqual(options[right], answer)
      self.assertIn(f'{questions.LETTERS[right]} {answer}', text)

  @parameterized.parameters(*questions.KINDS)
  def test_who_knows_the_world_but_not_the_scene_is_at_chance(self, kind):
    """The best blind reader takes the option that the question has most."""
    told: dict[str, collections.Counter] = {}
    asked = questions.ask(WORLD, scenes(30_000, 10**6), kind, 1)
    for text, answer in zip(asked.text, asked.answer, strict=True):
      told.setdefault(text, collections.Counter())[answer] += 1
    found = questions.ask(WORLD, scenes(20_000), kind)
    best = [
      max(range(len(o)), key=lambda i: told[text][o[i]])
      for text, o in zip(found.text, found.options, strict=True)
    ]
    chance = 1 / len(found.options[0])
    rate = np.mean(best == found.right_n)
    self.assertLess(
      abs(rate - chance), 4 * math.sqrt(chance * (1 - chance) / len(best))
    )
    # While among all answers that reader does better than that.
    open_ = [told[t].most_common(1)[0][0] for t in asked.text]
    if kind not in ('where', 'size'):
      self.assertGreater(
        np.mean(np.array(open_) == asked.answer), 1 / len(told[asked.text[0]])
      )

  def test_a_scene_is_asked_the_same_alone(self):
    found = questions.ask(WORLD, scenes(), 'colour')
    row = int(found.row_n[7])
    alone = questions.ask(WORLD, scenes(1, row), 'colour')
    self.assertEqual(alone.choices(), found.choices()[7:8])

  def test_every_word_is_known(self):
    known = set(questions.vocabulary())
    for kind in questions.KINDS:
      found = questions.ask(WORLD, scenes(), kind)
      for text in (*found.choices(), *found.answer):
        self.assertContainsSubset(text.split(), known)


if __name__ == '__main__':
  absltest.main()
