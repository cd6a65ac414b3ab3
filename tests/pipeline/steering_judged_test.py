"""A judge reads what was written, and does not know what was steered to."""

import dataclasses
import os

from absl.testing import absltest
from absl.testing import parameterized

from saejax.pipeline import steering_findings
from saejax.pipeline import steering_judged

NAMES = ('red', 'blue', 'light blue')
# To whom, from whom, and what was written before and after.
WRITTEN = (
  ('blue', 'red', 'a red ring', 'a thing like the sky'),
  ('blue', 'red', 'a red ring', 'not blue but red'),
  ('red', 'blue', 'like the sky', 'I cannot tell'),
)
READ = {
  'a red ring': 'red', 'a thing like the sky': 'It is Blue.',
  'not blue but red': 'red', 'like the sky': 'blue', 'I cannot tell': 'Hm?',
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Spy:
  """Knows what each text tells of, and keeps what it was asked."""

  cache: str
  asked: list = dataclasses.field(default_factory=list)
  model: str = 'spy'

  def body(self, messages):
    return {'messages': list(messages)}

  def say(self, messages):
    self.asked.append(messages[0]['content'])
    (said,) = (v for k, v in READ.items() if f'wrote: {k}\n' in self.asked[-1])
    return said, 1


def lines() -> list[dict]:
  return [
    {'scene': i, 'asked': 'what is it ?', 'target': target, 'source': source,
     'before': before, 'after': after}
    for i, (target, source, before, after) in enumerate(WRITTEN)
  ]  # fmt: skip


class JudgedTest(parameterized.TestCase):
  def judged(self):
    spy = Spy(os.path.join(self.create_tempdir().full_path, 'answers'))
    return spy, steering_judged.judged(spy, lines(), 'colour', NAMES)

  def test_each_text_is_read_once(self):
    spy, found = self.judged()
    self.assertEqual(
      [(x['judged_before'], x['judged_after']) for x in found],
      [('red', 'blue'), ('red', 'red'), ('blue', None)],
    )
    self.assertLen(spy.asked, 5)  # A text that comes again is known.
    again = steering_judged.judged(spy, lines(), 'colour', NAMES)
    self.assertEqual(again, found)
    self.assertLen(spy.asked, 5)

  def test_a_question_does_not_say_what_was_steered_to(self):
    ask = lambda line: steering_judged.messages(
      line['asked'], line['after'], 'colour', NAMES
    )
    line = lines()[0]
    self.assertEqual(ask(line), ask(line | {'target': 'red', 'source': 'blue'}))
    self.assertIn('red, blue, light blue, none', ask(line)[0]['content'])

  @parameterized.parameters(
    ('Blue.', 'blue'), ('none', 'none'), ('light blue', 'light blue'),
    ('Not red; blue', None), ('It is red?\nNo.\nblue', 'blue'),
    ('bluebell', None), ('', None),
  )  # fmt: skip
  def test_answers_are_read(self, answer, expected):
    names = sorted(NAMES, key=len)
    self.assertEqual(steering_judged.named(answer, names), expected)

  def test_what_is_read_stands_beside_what_words_are_there(self):
    _, found = self.judged()
    site = steering_findings.Site(
      'image', {}, {'all': steering_findings.Class(0, {}, {}, found)}
    )
    entries, _ = steering_findings._rollouts(site)
    value = lambda key: entries[f'steer/image/rollouts/{key}']['value']
    self.assertAlmostEqual(value('target_judged/after'), 1 / 3)
    self.assertAlmostEqual(value('target_named/after'), 1 / 3)
    self.assertAlmostEqual(value('source_judged/before'), 1)
    self.assertAlmostEqual(value('source_named/before'), 2 / 3)
    self.assertAlmostEqual(value('judge_unread'), 1 / 6)
    plain = steering_findings.Class(0, {}, {}, lines())
    unread, _ = steering_findings._rollouts(
      dataclasses.replace(site, classes={'all': plain})
    )
    self.assertNotIn('steer/image/rollouts/judge_unread', unread)


if __name__ == '__main__':
  absltest.main()
