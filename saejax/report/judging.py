"""Verdicts on claims, by intervals and nulls.

A claim is judged by intervals and nulls, never by a value alone: it *holds*
where what was measured clears its null, *fails* where the null clears it, and
is *open* in between, and where something was not measured.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

HOLDS, FAILS, OPEN = 'holds', 'fails', 'open'
Entry = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
  """What was found of a claim.

  Attributes:
    verdict: HOLDS, FAILS or OPEN.
    measured: name and entry of each number it rests on.
    null: the same of what it is held against.
    rule: how the verdict follows.
  """

  verdict: str
  measured: Mapping[str, Entry]
  null: Mapping[str, Entry]
  rule: str


def low(e: Entry) -> float | None:
  return e.get('low', e['value'])


def high(e: Entry) -> float | None:
  return e.get('high', e['value'])


def compare(measured: Entry | None, null: Entry | None) -> str:
  """HOLDS where the whole interval lies above the null's, FAILS where below."""
  if measured is None or null is None:
    return OPEN
  bounds = (low(measured), high(measured), low(null), high(null))
  if None in bounds:
    return OPEN
  own_low, own_high, null_low, null_high = bounds
  if own_low > null_high:
    return HOLDS
  return FAILS if own_high < null_low else OPEN


def all_of(verdicts: Sequence[str]) -> str:
  """HOLDS where all hold, FAILS where one fails."""
  if FAILS in verdicts:
    return FAILS
  return HOLDS if verdicts and set(verdicts) == {HOLDS} else OPEN


def judged(
  verdicts: Sequence[str],
  measured: Mapping[str, Entry | None],
  null: Mapping[str, Entry | None],
  rule: str,
) -> Judged:
  """All of some verdicts, beside those numbers that were measured."""
  there = lambda numbers: {k: e for k, e in numbers.items() if e is not None}
  return Judged(
    verdict=all_of(verdicts),
    measured=there(measured),
    null=there(null),
    rule=rule,
  )


def missing(stage: str) -> Judged:
  return Judged(
    verdict=OPEN, measured={}, null={}, rule=f'{stage} was not run.'
  )
