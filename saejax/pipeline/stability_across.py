"""Concepts of different models, matched by what they do on the same rows."""

from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np
import scipy.sparse

from saejax import errors
from saejax import io
from saejax import results
from saejax import store as store_lib
from saejax.analysis import bootstrap
from saejax.analysis import stability
from saejax.pipeline import sides

Entries = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
  """Codes of one model's dictionary on rows to match by and rows to report."""

  name: str
  match_nS: scipy.sparse.csr_matrix
  report_nS: scipy.sparse.csr_matrix
  keys: tuple[np.ndarray, ...]  # Pairs of the rows, which all must share.


def load(name: str, path: str, store_path: str) -> Member:
  """Encodes `val`, to match by, and `test`, to report."""
  sae, variables = io.load(path)
  store = store_lib.Store(store_path)
  pairs = [
    sides.encode_pairs(sae, variables, store, split)
    for split in ('val', 'test')
  ]
  stack = lambda pair: scipy.sparse.vstack([s.z_nS for s in pair], format='csr')
  return Member(
    name=name,
    match_nS=stack(pairs[0]),
    report_nS=stack(pairs[1]),
    keys=tuple(side.pair_n for pair in pairs for side in pair),
  )


def _live(z_nS) -> np.ndarray:
  return np.flatnonzero(np.asarray((z_nS != 0).sum(0)).ravel())


def _held_out(
  a: Member, b: Member, order_n: np.ndarray, order_m: np.ndarray
) -> np.ndarray:
  """r on `test` of concepts matched on `val`; rows of b in the given orders."""
  live_a, live_b = _live(a.match_nS), _live(b.match_nS)
  match_a, match_b = a.match_nS[:, live_a], b.match_nS[order_n][:, live_b]
  found = stability.match(stability.correlations(match_a, match_b))
  return stability.paired_correlations(
    a.report_nS, b.report_nS[order_m], live_a[found.i_M], live_b[found.j_M]
  )


def compare(a: Member, b: Member, seed: int = 0) -> Entries:
  """Mean r of matched concepts on rows that the matching did not see.

  Beside it the same with the rows of one model permuted throughout, which
  leaves each concept what it is and breaks what they share.
  """
  for k_a, k_b in zip(a.keys, b.keys, strict=True):
    if not np.array_equal(k_a, k_b):
      raise errors.UserError(
        f'{a.name} and {b.name} have different rows in val or test: concepts '
        'of two models are matched on the same images and texts.'
      )
  rng = np.random.default_rng(seed)
  n, m = a.match_nS.shape[0], a.report_nS.shape[0]
  same = _held_out(a, b, np.arange(n), np.arange(m))
  null = _held_out(a, b, rng.permutation(n), rng.permutation(m))
  entries: Entries = {}
  for name, r_M in (('correlation', same), ('correlation_permuted', null)):
    # A concept that is silent on test predicts nothing there.
    r_M = np.nan_to_num(r_M)
    entries[name] = results.entry(
      bootstrap.mean(r_M, np.arange(len(r_M))), split='test', unit='concepts'
    ) | {'interval': 'bootstrap over concepts'}
  entries['share_above_half'] = results.entry(
    float((np.nan_to_num(same) > 0.5).mean()), n=len(same), split='test'
  )
  return entries


def across(members: Sequence[Member]) -> Entries:
  """Every pair of models: `across/A|B/…`."""
  return {
    f'across/{a.name}|{b.name}/{name}': entry
    for i, a in enumerate(members)
    for b in members[i + 1 :]
    for name, entry in compare(a, b).items()
  }
