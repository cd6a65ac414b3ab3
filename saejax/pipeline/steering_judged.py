"""What a language model says of rollouts: which class each tells of.

Whether a word stands in a text is one judge of it; a text may name a class in
other words, or name it to deny it. So a model reads each text and names the
class, not knowing which was steered to, nor whether one was.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import re
from typing import Any

import tqdm

from saejax.data import judge as judge_lib

WHEN = ('before', 'after')
_NONE = 'none'
_ASKED = (
  'A model was shown an image of one thing and asked: {asked}\n'
  'It wrote: {text}\n\n'
  'Which {factor} does it say that the image has? Answer with one of these '
  'alone: {names}, {none}.'
)


def messages(
  asked: str, text: str, factor: str, names: Sequence[str]
) -> judge_lib.Messages:
  """The question which class a text tells of.

  Args:
    asked: what the text answers.
    text: that is judged.
    factor: whose classes they are.
    names: of all classes.
  """
  words = _ASKED.format(
    asked=asked, text=text, factor=factor, names=', '.join(names), none=_NONE
  )
  return [{'role': 'user', 'content': words}]


def named(answer: str, names: Sequence[str]) -> str | None:
  """The class that an answer names, 'none', or None if it cannot be read.

  Its last line counts, as a judge may think aloud, if it names but one.
  """
  last = (answer.strip().splitlines() or [''])[-1]
  # Longer names first: light blue is not blue.
  known = sorted((*names, _NONE), key=len, reverse=True)
  told = '|'.join(map(re.escape, known))
  found = set(re.findall(rf'\b(?:{told})\b', last.lower()))
  return found.pop() if len(found) == 1 else None


def judged(
  judge: judge_lib.Judge,
  lines: Sequence[Mapping[str, Any]],
  factor: str,
  names: Sequence[str],
) -> list[dict[str, Any]]:
  """Rollouts with the class that a judge reads in each.

  Args:
    judge: who is asked; answers are kept.
    lines: of `steering_after.rollouts`.
    factor: that is steered.
    names: of its classes.

  Returns:
    The lines, each with `judge`, its name, and `judged_before` and
    `judged_after`: a class, 'none', or null for an answer that cannot be read.

  Raises:
    UserError: who is asked cannot answer.
  """
  found = []
  for line in tqdm.tqdm(lines, unit='text', desc='judging', disable=None):
    own = {'judge': judge.model}
    for when in WHEN:
      asked = messages(line['asked'], line[when], factor, names)
      answer = judge_lib.ask(judge, asked).text
      own[f'judged_{when}'] = named(answer, names)
    found.append({**line, **own})
  return found
