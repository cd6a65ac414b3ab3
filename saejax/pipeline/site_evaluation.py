"""How good a crosscoder or a transcoder is, on matched rows."""

from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

import jax
import numpy as np
import scipy.sparse

from saejax import encode
from saejax import errors
from saejax import io
from saejax import nn
from saejax import results
from saejax import store as store_lib
from saejax import types
from saejax.analysis import bootstrap
from saejax.analysis import energy
from saejax.analysis import sites as sites_lib
from saejax.data import batches
from saejax.data import pairs as pairs_lib
from saejax.pipeline import sides

_ROWS = 4096  # Rows encoded at once.
_DEAD_ROWS = 100_000  # A concept silent on so many pairs is dead.
Entries = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Matched:
  """Matched rows of a split: what is read, and what each site should be.

  `means` are those of training, from which R² is measured.
  """

  read_nD: np.ndarray
  targets: dict[str, np.ndarray]
  means: dict[str, np.ndarray]
  group_n: np.ndarray
  left_out: dict[str, int]


def _streams(
  store: store_lib.Store, sites: Sequence[io.Site]
) -> tuple[store_lib.Stream, ...]:
  streams = tuple(store[site.stream] for site in sites)
  for site, stream in zip(sites, streams, strict=True):
    if stream.d != site.d:
      raise errors.UserError(
        f'The dictionary is for rows of {site.stream} of width {site.d}; in '
        f'{store.path} they have width {stream.d}.'
      )
  return streams


def read_matched(
  sae: nn.LinearSAE,
  sites: Sequence[io.Site],
  store: store_lib.Store,
  split: str,
  most: int | None = None,
) -> Matched:
  """Pairs of a split, one row of each stream, drawn as in the first epoch."""
  streams = _streams(store, sites)
  for stream in streams:
    sides.check_rows(stream, store.path, split)
  pairs = pairs_lib.match(streams, split)
  n = len(pairs.pair_G)
  at_n = batches.permute(np.arange(min(n, most or n)), n, seed=0)
  rows_nM = pairs.choose(np.sort(at_n), seed=0, epoch=0)
  scales = [site.scale for site in sites]
  x_nD = pairs_lib.join(streams, scales, rows_nM)
  parts = sites_lib.split(x_nD, [site.d for site in sites])
  targets = {s.stream: x for s, x in zip(sites, parts, strict=True)}
  means = {
    site.stream: np.asarray(stream.stats['train'].mean) * site.scale
    for site, stream in zip(sites, streams, strict=True)
  }
  if isinstance(sae, nn.Transcoder):
    x_nD, last = parts[0], sites[-1].stream
    targets, means = {last: targets[last]}, {last: means[last]}
  return Matched(
    read_nD=x_nD,
    targets=targets,
    means=means,
    group_n=streams[0].column('group')[rows_nM[:, 0]],
    left_out={s.stream: k for s, k in zip(sites, pairs.left_out, strict=True)},
  )


@functools.lru_cache(maxsize=8)
def _jitted(sae: nn.LinearSAE):
  return jax.jit(functools.partial(sae.apply, method='encode'))


def encode_rows(
  sae: nn.LinearSAE, variables: types.ArrayTree, x_nD: np.ndarray
) -> scipy.sparse.csr_matrix:
  """Codes of rows, at the highest matmul precision, on one device."""
  blocks = [scipy.sparse.csr_matrix((0, sae.s), dtype=np.float32)]
  with jax.default_matmul_precision('highest'):
    for start in range(0, len(x_nD), _ROWS):
      x_bD = x_nD[start : start + _ROWS]
      padded_BD = np.pad(x_bD, ((0, _ROWS - len(x_bD)), (0, 0)))
      codes = _jitted(sae)(variables, padded_BD)
      blocks.append(encode.to_csr(codes, sae.s)[: len(x_bD)])
  return scipy.sparse.vstack(blocks, format='csr')


def _r2(group_n, error_n, spread_n) -> bootstrap.Estimate:
  columns_n2 = np.stack([error_n, spread_n], axis=1)
  _, sums_G2 = bootstrap.sum_by(group_n, columns_n2)
  explained = lambda sums: 1 - sums[..., 0] / sums[..., 1]
  return bootstrap.estimate(explained, sums_G2, len(group_n))


def _reconstruction(sae, variables, z_nS, found: Matched, split) -> Entries:
  """R² of each site, and of all together."""
  params, constants = variables['params'], variables['constants']
  b_D = np.asarray(params['b_dec']) * sae.use_b_dec / constants['scale'][0]
  b_D = np.asarray(b_D + constants['center'][0])
  xhat_nD = z_nS @ np.asarray(params['w_dec']) + b_D
  widths = [x_nD.shape[1] for x_nD in found.targets.values()]
  square = lambda x_nD: (x_nD.astype(np.float64) ** 2).sum(1)
  missed, spread = {}, {}
  for (name, y_nD), yhat_nD in zip(
    found.targets.items(), sites_lib.split(xhat_nD, widths), strict=True
  ):
    missed[name] = square(y_nD - yhat_nD)
    spread[name] = square(y_nD - found.means[name][None])
  r2 = {f'{n}/r2': _r2(found.group_n, missed[n], spread[n]) for n in missed}
  r2['r2'] = _r2(found.group_n, sum(missed.values()), sum(spread.values()))
  return {
    name: results.entry(e, split=split, unit='share of variance')
    for name, e in r2.items()
  }


def evaluate(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  sites: Sequence[io.Site],
  store: store_lib.Store,
  split: str,
) -> Entries:
  """R² of each site from its training mean, L0, dead concepts, who has which.

  Raises:
    UserError, StoreError: the store has no such pairs.
  """
  # Both are asked for first, so that what is missing is told before any work.
  train = read_matched(sae, sites, store, 'train', _DEAD_ROWS)
  found = read_matched(sae, sites, store, split)
  z_nS = encode_rows(sae, variables, found.read_nD)
  entries = _reconstruction(sae, variables, z_nS, found, split)
  entry = lambda v, **k: results.entry(v, split=split, **k)
  active_n = np.diff(z_nS.indptr)
  entries['l0'] = entry(
    bootstrap.mean(active_n, found.group_n), unit='concepts a pair'
  )
  for name, count in found.left_out.items():
    entries[f'{name}/left_out'] = entry(count, unit='rows')
  count_S = energy.usage(encode_rows(sae, variables, train.read_nD)).count_S
  entries['dead_fraction'] = results.entry(
    float((count_S == 0).mean()), n=len(train.group_n), split='train'
  )
  if len(found.targets) > 1:
    widths = [x_nD.shape[1] for x_nD in found.targets.values()]
    w_SD = np.asarray(variables['params']['w_dec'])[count_S > 0]
    own_SM = sites_lib.norm_shares(w_SD, widths) > sites_lib.OWN
    n = len(own_SM)
    for name, own_S in zip(found.targets, own_SM.T, strict=True):
      entries[f'{name}/own_concepts'] = entry(int(own_S.sum()), n=n)
    entries['shared_concepts'] = entry(int((~own_SM.any(1)).sum()), n=n)
  return entries
