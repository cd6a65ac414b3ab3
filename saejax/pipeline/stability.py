"""Dictionaries of one model beside each other: what comes back of them."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import itertools
from typing import Any

import numpy as np
import scipy.sparse

from saejax import errors
from saejax import io
from saejax import results
from saejax import store as store_lib
from saejax.analysis import bootstrap
from saejax.analysis import energy
from saejax.analysis import stability
from saejax.data import batches
from saejax.pipeline import evaluation
from saejax.pipeline import sides

HEADLINE = 512  # Concepts of most energy, of which a mean is told apart.
_FLOOR_ROWS = 50_000  # Of train, a stream.
# Settings that say how a run was made but not what.
_NO_DIFFERENCE = {'mesh', 'log_every', 'checkpoint_every', 'keep'}
Entries = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Run:
  """A dictionary's live concepts and what they do on held-out rows.

  Attributes:
    name: what it is called in results.
    s: concepts, dead ones too.
    config: the settings it was trained with; empty if it does not say.
    live_L: which concepts ever fire.
    d_LD: their directions.
    z_nL: their codes of the reported rows, images before texts.
    energy_L: with both modalities weighing the same.
    rate_L: share of rows in which they fire, likewise.
  """

  name: str
  s: int
  config: Mapping[str, Any]
  live_L: np.ndarray
  d_LD: np.ndarray
  z_nL: scipy.sparse.csr_matrix
  energy_L: np.ndarray
  rate_L: np.ndarray


def load_run(name: str, path: str, store: store_lib.Store, split: str) -> Run:
  """A dictionary on a split of a store."""
  sae, variables = io.load(path)
  if io.read_sites(path):
    raise errors.UserError(
      f'The dictionary at {path} is of several streams at once; stability is '
      'measured of those that encode row by row.'
    )
  pair = sides.encode_pairs(sae, variables, store, split)
  live_L = np.flatnonzero(evaluation.count_firings(sae, variables, store)[0])
  if not len(live_L):
    raise errors.UserError(f'No concept of {path} ever fires.')
  usage = [energy.usage(side.z_nS) for side in pair]
  return Run(
    name=name,
    s=sae.s,
    config=io.read_config(path).get('provenance', {}).get('config') or {},
    live_L=live_L,
    d_LD=np.asarray(variables['params']['w_dec'])[live_L],
    z_nL=scipy.sparse.vstack([s.z_nS for s in pair], format='csr')[:, live_L],
    energy_L=sum(u.energy_S for u in usage)[live_L] / 2,
    rate_L=sum(u.rate_S for u in usage)[live_L] / 2,
  )


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
  """Names of the settings in which two runs differ, joined by '+'."""
  if not a or not b:
    return 'unknown'
  names = (a.keys() | b.keys()) - _NO_DIFFERENCE
  found = sorted(n for n in names if a.get(n) != b.get(n))
  if 'rows' in found and _share(a) == _share(b):
    found[found.index('rows')] = 'draw'
  return '+'.join(found) or 'nothing'


def _share(config: Mapping[str, Any]) -> float | None:
  """The share of images among the rows of a run that was told how many."""
  if not config.get('rows'):
    return None
  asked = dict(part.split('=') for part in config['rows'].split(','))
  image, text = int(asked['image']), int(asked['text'])
  return image / (image + text)


def share_start(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
  """Whether two runs began from the same weights, which fakes stability."""
  names = ('seed', 'arch', 'latents', 'expansion', 'settings')
  return bool(a) and bool(b) and all(a.get(n) == b.get(n) for n in names)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
  """Two runs, their live concepts matched by cosine."""

  a: Run
  b: Run
  kind: str
  matching: stability.Matching
  correlation_M: np.ndarray  # Of the matched concepts' codes.

  def _mean(self, of_a_L: np.ndarray, of_b_L: np.ndarray) -> np.ndarray:
    return (of_a_L[self.matching.i_M] + of_b_L[self.matching.j_M]) / 2

  @functools.cached_property
  def energy_M(self) -> np.ndarray:
    return self._mean(self.a.energy_L, self.b.energy_L)

  @functools.cached_property
  def rate_M(self) -> np.ndarray:
    return self._mean(self.a.rate_L, self.b.rate_L)

  def numbers(self) -> dict[str, float]:
    """What is told of a pair; NaN where undefined."""
    cosine_M, top = self.matching.similarity_M, min(HEADLINE, self.n)
    tenths = stability.by_decile(cosine_M, self.rate_M)
    return {
      'mean': float(cosine_M.mean()),
      'energy_weighted': stability.weighted_mean(cosine_M, self.energy_M),
      'top': float(stability.top_means(cosine_M, self.energy_M, [top])[0]),
      'rarest_tenth': float(tenths[0]),
      'commonest_tenth': float(tenths[-1]),
      'spearman_energy': stability.rank_correlation(cosine_M, self.energy_M),
      'spearman_rate': stability.rank_correlation(cosine_M, self.rate_M),
      'activation_correlation': float(np.nanmean(self.correlation_M))
      if np.isfinite(self.correlation_M).any()
      else float('nan'),
    }

  @property
  def n(self) -> int:
    return len(self.matching.i_M)

  def rests_on(self, name: str) -> int:
    """How many matched concepts one of `numbers` is of."""
    tenths = stability.tenths(self.rate_M, self.rate_M)
    fewer = {
      'top': min(HEADLINE, self.n),
      'rarest_tenth': len(tenths[0]),
      'commonest_tenth': len(tenths[-1]),
    }
    return fewer.get(name, self.n)


def compare(a: Run, b: Run) -> Pair:
  """Matches two runs of one model; their rows are the same."""
  matching = stability.match_rows(a.d_LD, b.d_LD)
  return Pair(
    a=a,
    b=b,
    kind=difference(a.config, b.config),
    matching=matching,
    correlation_M=stability.paired_correlations(
      a.z_nL, b.z_nL, matching.i_M, matching.j_M
    ),
  )


def floors(
  store: store_lib.Store, s: int, r: int, seed: int = 0
) -> dict[str, float]:
  """What dictionaries of s and r concepts without any training would reach."""
  train = [store[name].rows('train') for name in ('image', 'text')]
  n = min(_FLOOR_ROWS, *map(len, train))
  rows = [
    store[name].take(
      np.sort(rows_N[batches.permute(np.arange(n), len(rows_N), seed=seed)])
    )
    for name, rows_N in zip(('image', 'text'), train, strict=True)
  ]
  return stability.floors(np.concatenate(rows).astype(np.float32), s, r, seed)


def _over_concepts(pair: Pair, name: str) -> tuple[float | None, float | None]:
  """Bounds of a mean over concepts of a single pair."""
  cosine_M = pair.matching.similarity_M
  tenths = stability.tenths(cosine_M, pair.rate_M)
  found_M = {
    'mean': cosine_M,
    'rarest_tenth': tenths[0],
    'commonest_tenth': tenths[-1],
    'activation_correlation': pair.correlation_M,
  }.get(name)
  if found_M is None:
    return None, None
  found_M = found_M[np.isfinite(found_M)]
  found = bootstrap.mean(found_M, np.arange(len(found_M)))
  return found.low, found.high


def spread(pairs: Sequence[Pair], name: str, split: str) -> dict[str, Any]:
  """One number of several pairs as a result: its mean and its range.

  Of a single pair the bounds are a bootstrap over its concepts, where the
  number is a mean over them.
  """
  value_P = np.array([p.numbers()[name] for p in pairs])
  n = int(np.mean([p.rests_on(name) for p in pairs]))
  entry = results.entry(float(value_P.mean()), n=n, split=split)
  low, high, interval = value_P.min(), value_P.max(), 'range over pairs of runs'
  if len(pairs) == 1:
    low, high = _over_concepts(pairs[0], name)
    interval = 'bootstrap over concepts'
  if low is not None and np.isfinite([low, high]).all():
    entry |= {'low': float(low), 'high': float(high), 'interval': interval}
  runs = {run.name for p in pairs for run in (p.a, p.b)}
  return entry | {'unit': 'concepts', 'seeds': len(runs)}


def kind_results(pairs: Iterable[Pair], split: str) -> Entries:
  """Every number, by what the runs differ in: `KIND/NAME`."""
  entries: Entries = {}
  ordered = sorted(pairs, key=lambda p: p.kind)
  for kind, found in itertools.groupby(ordered, key=lambda p: p.kind):
    same = list(found)
    for name in same[0].numbers():
      entries[f'{kind}/{name}'] = spread(same, name, split)
    entries[f'{kind}/pairs'] = results.entry(len(same), unit='pairs of runs')
  return entries


def diet_results(pairs: Sequence[Pair], split: str) -> Entries:
  """Stability of each share of images against the middle one.

  `diet/share=P/…` are pairs of a run of that share and one of the middle share;
  `diet/control/…` are of the middle share and other rows.
  """
  shares = {
    s for p in pairs for s in map(_share, (p.a.config, p.b.config)) if s
  }
  if len(shares) < 2:
    return {}
  reference = min(shares, key=lambda s: abs(s - 0.5))
  entries: Entries = {}
  for share in sorted(shares):
    wanted = {share, reference}
    own = [
      p for p in pairs
      if {_share(p.a.config), _share(p.b.config)} == wanted
      and p.kind in ('seed', 'rows+seed')
    ]  # fmt: skip
    if own:
      for name in ('mean', 'energy_weighted', 'rarest_tenth'):
        entries[f'diet/share={share:.3f}/{name}'] = spread(own, name, split)
  control = [p for p in pairs if p.kind == 'draw+seed']
  for name in ('mean', 'energy_weighted', 'rarest_tenth'):
    if control:
      entries[f'diet/control/{name}'] = spread(control, name, split)
  return entries


def concept_stability(pairs: Sequence[Pair], run: Run) -> np.ndarray:
  """A run's mean matched cosine over its pairs with other starts: [S].

  NaN for concepts that are dead or never matched.
  """
  total_S, count_S = np.zeros(run.s), np.zeros(run.s)
  for p in pairs:
    if share_start(p.a.config, p.b.config) or run not in (p.a, p.b):
      continue
    own_M = p.matching.i_M if p.a is run else p.matching.j_M
    total_S[run.live_L[own_M]] += p.matching.similarity_M
    count_S[run.live_L[own_M]] += 1
  with np.errstate(invalid='ignore'):
    return np.where(count_S > 0, total_S / count_S, np.nan)
