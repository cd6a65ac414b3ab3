"""How well codes of held-out rows reconstruct them: R² and L0, by modality."""

from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np
import scipy.sparse

from saejax import results
from saejax import store as store_lib
from saejax.analysis import bootstrap
from saejax.analysis import reconstruction

STREAMS = ('image', 'text')
UNITS = {'r2': 'share of variance', 'l0': 'concepts a row'}
Entries = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Coded:
  """‖x − x̂‖² and the number of active codes of every row of a stream."""

  error_n: np.ndarray
  active_n: np.ndarray


def coded(
  x_nD: np.ndarray, z_nS: scipy.sparse.csr_matrix, w_SD: np.ndarray, b_D
) -> Coded:
  """What codes come to on atoms and a bias."""
  away_nD = x_nD - z_nS @ w_SD - b_D
  return Coded((away_nD.astype(np.float64) ** 2).sum(1), z_nS.getnnz(axis=1))


@dataclasses.dataclass(frozen=True)
class Held:
  """Rows of a split of both streams, and the means they are measured from."""

  streams: Mapping[str, store_lib.Stream]
  split: str
  rows: Mapping[str, np.ndarray]
  x: Mapping[str, np.ndarray]
  moments: Mapping[str, reconstruction.Moments]


def read(store: store_lib.Store, split: str) -> Held:
  """Reads the rows of a split."""
  streams = {name: store[name] for name in STREAMS}
  train = [stream.stats['train'] for stream in streams.values()]
  count = np.array([t.rows for t in train], np.float64)
  pooled_mean_D = count @ np.array([t.mean for t in train]) / count.sum()
  rows = {name: stream.rows(split) for name, stream in streams.items()}
  x, moments = {}, {}
  for name, stream in streams.items():
    x[name] = stream.take(rows[name]).astype(np.float32)
    moments[name] = reconstruction.moments(
      x[name],
      np.zeros(len(x[name])),
      stream.column('group')[rows[name]],
      stream.stats['train'].mean,
      pooled_mean_D,
    )
  return Held(streams, split, rows, x, moments)


def _statistics(sums: np.ndarray) -> dict[str, np.ndarray]:
  """Names to numbers, from sums [..., 2, 5] over rows of both streams."""
  error, within, pooled, active, count = np.moveaxis(sums, -1, 0)
  whole = lambda top, bottom: top.sum(-1) / bottom.sum(-1)
  r2, l0 = 1 - error / within, active / count
  found = {
    'r2': 1 - whole(error, within),
    'r2_pooled': 1 - whole(error, pooled),
    'balanced/r2': r2.mean(-1),
    'l0': whole(active, count),
    'balanced/l0': l0.mean(-1),
  }
  for m, name in enumerate(STREAMS):
    found |= {f'{name}/r2': r2[..., m], f'{name}/l0': l0[..., m]}
  return found


def _sums(held: Held, of: Mapping[str, Coded]) -> np.ndarray:
  """What each group adds: [G, 2, 5], streams by error, …, count."""
  group_N, columns = [], []
  for m, name in enumerate(STREAMS):
    moments, found = held.moments[name], of[name]
    n = len(moments.group_n)
    part_n25 = np.zeros((n, 2, 5))
    part_n25[:, m] = np.stack(
      [
        found.error_n,
        moments.within_n,
        moments.pooled_n,
        found.active_n,
        np.ones(n),
      ],
      axis=1,
    )
    group_N.append(moments.group_n)
    columns.append(part_n25.reshape(n, 10))
  _, sums_GK = bootstrap.sum_by(
    np.concatenate(group_N), np.concatenate(columns)
  )
  return sums_GK


def r2(held: Held, of: Mapping[str, Coded]) -> float:
  """R² within modality, without an interval: to choose by."""
  return float(_statistics(_sums(held, of).sum(0).reshape(2, 5))['r2'])


def score(held: Held, of: Mapping[str, Coded]) -> Entries:
  """R² and L0 with intervals over groups.

  `r2` is within modality and `r2_pooled` about one mean, as `evaluate` has
  them; `image/…` and `text/…` are of one stream, `balanced/…` the mean of both.
  """
  sums_GK = _sums(held, of)
  values = _statistics(sums_GK.sum(0).reshape(2, 5))
  draws = _statistics(bootstrap.resample(sums_GK).reshape(-1, 2, 5))
  rows = {name: len(held.rows[name]) for name in STREAMS}
  entries = {}
  for name, value in values.items():
    low, high = bootstrap.interval(draws[name][:, None])
    first = name.partition('/')[0]
    n = rows.get(first, sum(rows.values()))
    entries[name] = results.entry(
      bootstrap.Estimate(float(value), n, float(low[0]), float(high[0])),
      split=held.split,
      unit=UNITS['l0' if name.endswith('l0') else 'r2'],
    )
  return entries
