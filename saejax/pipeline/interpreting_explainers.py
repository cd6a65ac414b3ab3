"""Who explains a concept, and tells from that when it should fire.

A judge is a language model, see `data.judge`: it sees what is known of examples
in words, or their pictures. Without one a concept's explanation is the word or
phrase that is most distinctive of the examples it fires for.
"""

from collections.abc import Sequence
import dataclasses
import json
import math
import re
from typing import Protocol

import numpy as np
import scipy.sparse

from saejax.analysis import interpretation
from saejax.analysis import naming
from saejax.data import judge as judge_lib

NAMING = 'naming'
_LEAST_TEXTS, _MOST_NAMES = 3, 4000
_LENGTHS = (1, 2)
_BATCH = 10  # Examples that a judge scores at a time.
_MOST = 10.0  # Of activations as a judge sees them, and of its scores.
_ANSWER = 30  # Tokens, about.
_NUMBER = re.compile(r'-?\d+(?:\.\d+)?')
_EXPLAIN = (
  'You study a unit of a neural network. Below are {what} with its activation '
  'from 0 to 10{where}, and {what} for which it is silent. Say in one short '
  'phrase what the {things} it fires for have in common and the others lack. '
  'Answer with the phrase alone.'
)
_WHERE = (
  ': patches at which it fires are as they are, and all else of the image is '
  'darkened'
)
_DETECT = (
  'A unit of a neural network is said to fire for: {explanation}\n'
  'Below are {count} numbered {what}. For each say how likely the unit fires, '
  'from 0 (surely not) to 10 (surely). Answer with a JSON list of {count} '
  'numbers and nothing else.'
)
_WORDS, _SEEN = 'descriptions of inputs', 'images'
Example = judge_lib.Part  # What is known of it in words, or its picture.


@dataclasses.dataclass(frozen=True)
class Evidence:
  """What a concept is explained from.

  Attributes:
    fires: descriptions of examples for which it fires, strongest first.
    strength: of each, 0 to 10.
    silent: descriptions of some for which it does not.
    pictures: of `fires`, each with where it fires if that is known; none if
      words are to do.
    silent_pictures: of `silent`.
  """

  fires: Sequence[str]
  strength: Sequence[float]
  silent: Sequence[str]
  pictures: Sequence[judge_lib.Picture] = ()
  silent_pictures: Sequence[judge_lib.Picture] = ()


class Explainer(Protocol):
  """Explains concepts, and scores examples by an explanation.

  `cut` is from which score on an example is called; `is_graded`, whether there
  are scores between.
  """

  cut: float
  is_graded: bool

  def explain(
    self, evidence: Sequence[Evidence], a_NC: np.ndarray
  ) -> list[str]:
    """The explanation of each concept; '' where there is none."""
    ...

  def score(self, explanation: str, examples: Sequence[Example]) -> np.ndarray:
    """How likely the concept fires for each example."""
    ...


@dataclasses.dataclass(frozen=True)
class Naming:
  """Explains by the most distinctive name of the strongest examples.

  What may be so common there by chance is no name, and explains nothing.

  Attributes:
    texts: of the examples that concepts are explained from.
  """

  texts: Sequence[str]
  cut: float = 0.5
  is_graded: bool = False

  def explain(
    self, evidence: Sequence[Evidence], a_NC: np.ndarray
  ) -> list[str]:
    del evidence  # It reads all examples.
    names = naming.common_n_grams(
      self.texts, _LENGTHS, _LEAST_TEXTS, _MOST_NAMES
    )
    if not names:
      return [''] * a_NC.shape[1]
    has_nW = naming.presence(self.texts, names)
    index_C = naming.distinctive(
      scipy.sparse.csr_matrix(a_NC), has_nW, naming.parts(names),
      np.arange(len(self.texts)),
    )  # fmt: skip
    is_name_C = (
      interpretation.by_chance(a_NC, has_nW, index_C) <= interpretation.LEVEL
    )
    return [
      names[i] if is_name else ''
      for i, is_name in zip(index_C, is_name_C, strict=True)
    ]

  def score(self, explanation: str, examples: Sequence[str]) -> np.ndarray:
    if not explanation:
      return np.zeros(len(examples))
    return naming.presence(examples, [explanation]).toarray().ravel()


def _lines(
  marks: Sequence[str], examples: Sequence[Example]
) -> list[judge_lib.Part]:
  """A line for each example, which a mark begins."""
  pairs = zip(marks, examples, strict=True)
  return [part for mark, e in pairs for part in (f'\n{mark} ', e)]


def explain_messages(evidence: Evidence) -> judge_lib.Messages:
  """The question what a concept stands for."""
  seen = evidence.pictures
  fires, silent = seen or evidence.fires, evidence.silent
  silent = evidence.silent_pictures if seen else silent
  is_masked = any(picture.is_masked for picture in seen)
  asked = _EXPLAIN.format(
    what=_SEEN if seen else _WORDS,
    things=_SEEN if seen else 'inputs',
    where=_WHERE if is_masked else '',
  )
  parts = [
    'Fires:',
    *_lines([f'- ({value:.1f})' for value in evidence.strength], fires),
    '\n\nSilent:',
    *_lines(['-'] * len(silent), silent),
  ]
  return [
    {'role': 'system', 'content': asked},
    {'role': 'user', 'content': judge_lib.content(parts)},
  ]


def detect_messages(
  explanation: str, examples: Sequence[Example]
) -> judge_lib.Messages:
  """The question for which examples a concept fires."""
  n = len(examples)
  is_seen = any(isinstance(e, judge_lib.Picture) for e in examples)
  asked = _DETECT.format(
    explanation=explanation, count=n, what=_SEEN if is_seen else _WORDS
  )
  marks = [f'{i + 1}.' for i in range(n)]
  content = judge_lib.content([f'{asked}\n', *_lines(marks, examples)])
  return [{'role': 'user', 'content': content}]


def batches(examples: Sequence[Example]) -> list[Sequence[Example]]:
  """Examples as a judge is asked about them."""
  return [examples[i : i + _BATCH] for i in range(0, len(examples), _BATCH)]


def numbers(text: str, count: int) -> np.ndarray:
  """The scores of an answer, 0 to 10; NaN for all where there are not as many.

  A judge may think aloud: the last list that is as long as asked counts.
  """
  found = None
  for part in re.findall(r'\[[^][]*\]', text):
    values = _NUMBER.findall(part)
    if len(values) == count:
      found = values
  if found is None:
    values = _NUMBER.findall(text)
    found = values if len(values) == count else None
  if found is None:
    return np.full(count, math.nan)
  return np.clip(np.array(found, float), 0, _MOST)


@dataclasses.dataclass
class Spent:
  """What the judge has been asked so far."""

  calls: int = 0
  tokens: int = 0
  unread: int = 0
  answers: int = 0


@dataclasses.dataclass(frozen=True)
class Judge:
  """Explains and scores by asking."""

  judge: judge_lib.Judge
  spent: Spent = dataclasses.field(default_factory=Spent)
  cut: float = _MOST / 2
  is_graded: bool = True

  def _ask(self, messages: judge_lib.Messages) -> str:
    answer = judge_lib.ask(self.judge, messages)
    self.spent.calls += answer.is_new
    self.spent.tokens += answer.tokens
    return answer.text

  def explain(
    self, evidence: Sequence[Evidence], a_NC: np.ndarray
  ) -> list[str]:
    del a_NC
    return [
      ' '.join(self._ask(explain_messages(e)).split())[:300] if e.fires else ''
      for e in evidence
    ]

  def score(self, explanation: str, examples: Sequence[Example]) -> np.ndarray:
    if not explanation:
      return np.zeros(len(examples))
    found = []
    for part in batches(examples):
      score_n = numbers(
        self._ask(detect_messages(explanation, part)), len(part)
      )
      self.spent.answers += 1
      self.spent.unread += bool(np.isnan(score_n).any())
      # What cannot be read says nothing, one way or the other.
      found.append(np.nan_to_num(score_n, nan=_MOST / 2 - 1e-6))
    return np.concatenate(found)


@dataclasses.dataclass(frozen=True)
class Cost:
  """What asking would take.

  Attributes:
    calls: questions.
    known: explanations that are there already.
    tokens: of words, about.
    pictures: that are sent, each as often as it is.
    characters: of all questions, pictures as they are sent among them.
  """

  calls: int
  known: int
  tokens: int
  pictures: int = 0
  characters: int = 0

  def line(self) -> str:
    shown = (
      f' and {self.pictures:,} pictures, {self.characters:,} characters in all'
      if self.pictures
      else ''
    )
    return (
      f'the judge is asked {self.calls:,} questions, about {self.tokens:,} '
      f'tokens{" of words" if shown else ""}{shown}; {self.known:,} '
      'explanations are known already'
    )


def cost(
  judge: judge_lib.Judge | None,
  evidence: Sequence[Evidence],
  trials: Sequence[Sequence[Example]],
) -> Cost:
  """Counts questions before any is asked.

  Of what follows from an explanation, whether it is known cannot be told, and
  so all is counted.

  Args:
    judge: who would be asked; None to count without what is known.
    evidence: of each concept.
    trials: examples that each explanation is tried on.
  """
  explained = [explain_messages(e) for e in evidence if e.fires]
  is_known = [bool(judge) and judge_lib.is_known(judge, m) for m in explained]
  ask = [m for m, known in zip(explained, is_known, strict=True) if not known]
  ask += [
    detect_messages(' ' * 4 * _ANSWER, part)
    for examples in trials
    for part in batches(examples)
  ]
  return Cost(
    len(ask),
    sum(is_known),
    sum(judge_lib.tokens(m) + _ANSWER for m in ask),
    sum(judge_lib.pictures(m) for m in ask),
    sum(judge_lib.characters(m) for m in ask),
  )


def evidence(
  a_N: np.ndarray,
  fires: np.ndarray,
  silent: np.ndarray,
  texts: Sequence[str],
) -> Evidence:
  """Examples as an explainer reads them."""
  most = max(float(a_N.max(initial=0)), 1e-12)
  order = fires[np.argsort(-a_N[fires], kind='stable')]
  return Evidence(
    [texts[i] for i in order],
    [round(float(a_N[i]) / most * _MOST, 1) for i in order],
    [texts[i] for i in silent],
  )


def to_json(e: Evidence) -> str:
  """As a line for a table."""
  return json.dumps(list(e.fires[:5]))
