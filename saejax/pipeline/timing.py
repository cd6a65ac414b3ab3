"""Timing of calls against each other, in turns."""

from collections.abc import Callable
from collections.abc import Mapping
import functools
import time
from typing import Any

import jax
import numpy as np
import tqdm

_REST = 0.1  # Seconds.


def turns(
  clocks: Mapping[str, Callable[[], float | None]], rounds: int, label: str
) -> dict[str, np.ndarray]:
  """Seconds by each clock, [rounds]: each once a round, so that whatever slows
  the machine slows all; NaN where a clock gives None.

  Before each is a rest: threads of one library spin for a while after its call,
  and would slow the next.
  """
  seconds = {name: [] for name in clocks}
  for _ in tqdm.trange(rounds, desc=label, leave=False, disable=None):
    for name, clock in clocks.items():
      time.sleep(_REST)
      seconds[name].append(clock())
  return {name: np.asarray(s, np.float64) for name, s in seconds.items()}


def in_turns(
  calls: Mapping[str, Callable[[], Any]], rounds: int, label: str
) -> dict[str, np.ndarray]:
  """Seconds of each call, [rounds], in turns.

  Results of JAX are waited for. Threads that rested sleep, and must be woken:
  so each turn is a call that is not counted, and one that is. The very first
  call of each, which compiles, is extra.
  """
  finish = lambda name: jax.block_until_ready(calls[name]())

  def clock(name):
    finish(name)
    start = time.perf_counter()
    finish(name)
    return time.perf_counter() - start

  for name in calls:
    finish(name)
  clocks = {name: functools.partial(clock, name) for name in calls}
  return turns(clocks, rounds, label)


def spread(each_R: np.ndarray) -> dict[str, float]:
  """The median over rounds, the smallest and the largest."""
  return {
    'value': float(np.median(each_R)),
    'low': float(each_R.min()),
    'high': float(each_R.max()),
    'interval': 'range over rounds',
    'n': len(each_R),
  }


def rate(seconds_R: np.ndarray, items: float) -> dict[str, float]:
  """Items a second: the median over rounds, the slowest and the fastest."""
  return spread(items / seconds_R)
