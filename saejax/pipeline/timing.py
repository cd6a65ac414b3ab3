"""Timing of calls against each other, in turns."""

from collections.abc import Callable
from collections.abc import Mapping
import time
from typing import Any

import jax
import numpy as np
import tqdm

_REST = 0.1  # Seconds.


def in_turns(
  calls: Mapping[str, Callable[[], Any]], rounds: int, label: str
) -> dict[str, np.ndarray]:
  """Seconds of each call, [rounds]: each once a round, so that whatever slows
  the machine slows all.

  Results of JAX are waited for. Threads of one library spin for a while after
  its call, and would slow the next; then they sleep, and must be woken. So each
  turn is a rest, a call that is not counted, and one that is. The very first
  call of each, which compiles, is extra.
  """
  finish = lambda name: jax.block_until_ready(calls[name]())
  for name in calls:
    finish(name)
  seconds = {name: [] for name in calls}
  for _ in tqdm.trange(rounds, desc=label, leave=False, disable=None):
    for name in calls:
      time.sleep(_REST)
      finish(name)
      start = time.perf_counter()
      finish(name)
      seconds[name].append(time.perf_counter() - start)
  return {name: np.asarray(s) for name, s in seconds.items()}


def rate(seconds_R: np.ndarray, items: float) -> dict[str, float]:
  """Items a second: the median over rounds, the slowest and the fastest."""
  each_R = items / seconds_R
  return {
    'value': float(np.median(each_R)),
    'low': float(each_R.min()),
    'high': float(each_R.max()),
    'interval': 'range over rounds',
    'n': len(each_R),
  }
