"""Metrics as JSON lines, read a step late; and a progress line."""

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


class MetricsWriter:
  """Sums metrics over a window of steps and writes one line for it.

  `add` takes a step's device arrays and reads those of the step before, so the
  device never waits for the host.
  """

  def __init__(
    self, path: str | None, *, start: int, steps: int, every: int, batch: int
  ):
    self._file = open(path, 'a', encoding='utf-8') if path else None  # noqa: SIM115
    self._every, self._batch = every, batch
    self._pending: tuple[int, Any, Any] | None = None
    self._window: list[Any] = []
    self._since = (time.perf_counter(), start)
    self._bar = tqdm.tqdm(
      initial=start * batch,
      total=steps * batch,
      unit='row',
      unit_scale=True,
      disable=None if path else True,  # None: only on a terminal.
      file=sys.stderr,
      dynamic_ncols=True,
    )

  def add(
    self, step: int, metrics: metrics_lib.Metrics, logs: dict[str, jax.Array]
  ) -> None:
    self._flush()
    self._pending = (step, metrics, logs)

  def _flush(self) -> None:
    if self._pending is None:
      return
    step, metrics, logs = self._pending
    self._pending = None
    metrics, logs = jax.device_get((metrics, logs))
    to64 = lambda x: np.asarray(x, np.float64)
    self._window.append(jax.tree.map(to64, metrics))
    self._bar.update(self._batch)
    if step % self._every:
      return
    total = self._window[0]
    for other in self._window[1:]:
      total = jax.tree.map(np.add, total, other)
    self._window = []
    now = time.perf_counter()
    seconds, since = now - self._since[0], self._since[1]
    self._since = (now, step)
    line = {'step': step} | total.compute()
    line |= {name: float(value) for name, value in logs.items()}
    line['rows_per_s'] = round((step - since) * self._batch / seconds, 1)
    if self._file:
      self._file.write(json.dumps(line) + '\n')
      self._file.flush()
    self._bar.set_postfix_str(
      f'R² {line["r2"]:.3f}, L0 {line["l0"]:.1f}, dead {line["dead"]:.1%}'
    )

  def close(self) -> None:
    self._flush()
    self._bar.close()
    if self._file:
      self._file.close()
