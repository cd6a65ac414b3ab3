"""Metrics as JSON lines, read a step late; and a progress line."""

from collections.abc import Callable
from collections.abc import Sequence
import contextlib
import json
import os
import sys
import time
from typing import Any

import jax
import numpy as np
import tqdm

from saejax import metrics as metrics_lib


def truncate(path: str, step: int) -> None:
  """Drops lines after a step, which a resumed run will write again."""
  if not os.path.exists(path):
    return
  with open(path, encoding='utf-8') as f:
    lines = [line for line in f if line.endswith('\n')]
  kept = [line for line in lines if json.loads(line)['step'] <= step]
  with open(f'{path}.tmp', 'w', encoding='utf-8') as f:
    f.writelines(kept)
  os.replace(f'{path}.tmp', path)


class MetricsWriter(contextlib.ExitStack):
  """Writes one line of JSON for every window of steps, and shows progress.

  `add` takes a step's device arrays and reads those of the step before, so the
  device never waits for the host. Sums are added up over the window in float64
  and divided once; logs are the window's last.

  Args:
    path: of the JSON lines, or None for a process that stays silent.
    start: steps that were taken before.
    steps: steps in all.
    every: steps of a window.
    batch: rows of a step.
    show: a line's numbers as the progress line's words; None for no such line.
  """

  def __init__(
    self,
    path: str | None,
    *,
    start: int,
    steps: int,
    every: int,
    batch: int,
    show: Callable[[dict[str, float]], str] | None,
  ):
    super().__init__()
    self._file = path and self.enter_context(open(path, 'a', encoding='utf-8'))
    self._every, self._batch, self._show = every, batch, show
    self._pending: tuple[int, Any, Any] | None = None
    self._total: metrics_lib.Metrics | None = None
    self._since = (time.perf_counter(), start)
    self._bar = self.enter_context(
      tqdm.tqdm(
        initial=start * batch,
        total=steps * batch,
        unit='row',
        unit_scale=True,
        disable=None if path and show else True,  # None: only on a terminal.
        file=sys.stderr,
        dynamic_ncols=True,
      )
    )
    self.callback(self._flush)

  def add(
    self,
    step: int,
    logs: dict[str, jax.Array],
    sums: metrics_lib.Metrics | None = None,
  ) -> None:
    self._flush()
    self._pending = (step, sums, logs)

  def _flush(self) -> None:
    if self._pending is None:
      return
    step, sums, logs = self._pending
    self._pending = None
    sums, logs = jax.device_get((sums, logs))
    sums = jax.tree.map(lambda x: np.asarray(x, np.float64), sums)
    self._total = sums if self._total is None else self._total.merge(sums)
    self._bar.update(self._batch)
    if step % self._every:
      return
    now = time.perf_counter()
    seconds, since = now - self._since[0], self._since[1]
    self._since = (now, step)
    line = {'step': step} | (self._total.compute() if self._total else {})
    line |= {name: float(value) for name, value in logs.items()}
    line['rows_per_s'] = round((step - since) * self._batch / seconds, 1)
    self._total = None
    if self._file:
      self._file.write(json.dumps(line) + '\n')
      self._file.flush()
    if self._show:
      self._bar.set_postfix_str(self._show(line))


class MembersWriter(contextlib.ExitStack):
  """A `MetricsWriter` for each member of a sweep.

  `add` takes the arrays of all members, of which it reads those of the step
  before in one transfer.

  Args:
    writers: by member; they are closed with this one.
    unstack: takes metrics, or logs, of all members apart, once on the host.
  """

  def __init__(
    self,
    writers: Sequence[MetricsWriter],
    unstack: Callable[[Any], Sequence[Any]],
  ):
    super().__init__()
    self._writers = [self.enter_context(w) for w in writers]
    self._unstack = unstack
    self._pending: tuple[int, Any, Any] | None = None
    self.callback(self._flush)

  def add(self, step: int, logs: Any, sums: Any) -> None:
    self._flush()
    self._pending = (step, logs, sums)

  def _flush(self) -> None:
    if self._pending is None:
      return
    step, *seen = self._pending
    self._pending = None
    parts = map(self._unstack, jax.device_get(seen))
    for writer, logs, sums in zip(self._writers, *parts, strict=True):
      writer.add(step, logs, sums)
