"""Which concepts of an SAE the contexts of a layer share."""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any

import numpy as np

from saejax import results
from saejax import store as store_lib
from saejax.analysis import agreement
from saejax.analysis import bootstrap
from saejax.analysis import sharing
from saejax.pipeline import sharing_depth as depth
from saejax.pipeline import sharing_reading as reading

Entries = dict[str, dict[str, Any]]
_EXCHANGED = '95 % of exchanged examples'
_HALVES = '95 % of splits in halves'


@dataclasses.dataclass(frozen=True)
class Settings:
  """What counts as shared, and how much is drawn.

  Attributes:
    threshold: share of tokens that a concept must fire for, on both sides.
    top: strongest tokens whose means are compared.
    draws: resamples and permutations.
    seed: of them.
  """

  threshold: float
  top: int
  draws: int
  seed: int


@dataclasses.dataclass(frozen=True)
class Layer:
  """A layer's concepts in every context, over the same examples.

  Attributes:
    counts: firings by example, of as many tokens each.
    means: of each concept's strongest tokens, [S, D]; and without their own
      direction.
    halves: likewise of two halves of the examples, the same in all contexts.
    l0: before and after it was matched.
  """

  counts: Mapping[str, sharing.Counts]
  means: Mapping[str, np.ndarray]
  rests: Mapping[str, np.ndarray]
  halves: Mapping[str, tuple[np.ndarray, np.ndarray]]
  l0: tuple[float, float]


def encode(
  dictionary: reading.Dictionary,
  store: store_lib.Store,
  split: str,
  pair_N: np.ndarray,
  seed: int,
) -> dict[str, reading.Encoded]:
  """Codes of as many tokens of an example in every context."""
  tokens = {
    context: reading.of_examples(
      store, dictionary.layer, context, split, pair_N
    )
    for context in reading.CONTEXTS
  }
  equal = reading.equalise(tokens, len(pair_N), seed)
  return {
    context: reading.encoded(dictionary, store, context, found)
    for context, found in equal.items()
  }


def mean_l0(encoded: Mapping[str, reading.Encoded]) -> float:
  """Over all contexts, which have as many tokens."""
  return float(np.mean([sharing.l0(e.z_nS) for e in encoded.values()]))


def _half(own: reading.Encoded, z_nS, is_in_N, top: int) -> np.ndarray:
  """Means of the strongest tokens of some examples: [S, D]."""
  at_n = np.flatnonzero(is_in_N[own.example_n])
  return agreement.top_means(own.x_nD[at_n], z_nS[at_n], top)


def read(
  dictionary: reading.Dictionary,
  encoded: Mapping[str, reading.Encoded],
  n: int,
  l0: float,
  settings: Settings,
) -> Layer:
  """Counts and means of codes at the L0 that all layers have."""
  cut = sharing.match_l0(
    [e.z_nS for e in encoded.values()],
    l0,
    [e.scale for e in encoded.values()],
  )
  matched = dict(zip(encoded, cut, strict=True))
  own = dictionary.directions
  top = lambda context, **k: agreement.top_means(
    encoded[context].x_nD, matched[context], settings.top, **k
  )
  is_first_N = np.random.default_rng(settings.seed).permutation(n) < n // 2
  half = lambda context, first: _half(
    encoded[context], matched[context], is_first_N == first, settings.top
  )
  return Layer(
    counts={
      c: sharing.counts(matched[c], e.example_n, n) for c, e in encoded.items()
    },
    means={c: top(c) for c in encoded},
    rests={c: top(c, own_SD=own) for c in encoded},
    halves={c: (half(c, True), half(c, False)) for c in encoded},
    l0=(
      mean_l0(encoded),
      float(np.mean([sharing.l0(z) for z in matched.values()])),
    ),
  )


@dataclasses.dataclass(frozen=True)
class Pair:
  """Two contexts of a layer: what is shared, by concept."""

  shared_S: np.ndarray
  paired_S: np.ndarray
  phi_S: np.ndarray
  agreement_S: np.ndarray
  entries: Entries


def _over_concepts(value_S: np.ndarray, split: str) -> dict[str, Any]:
  """A mean over concepts, with its bounds over these."""
  found = value_S[np.isfinite(value_S)]
  entry = results.entry(
    bootstrap.mean(found, np.arange(len(found))), split=split
  )
  return entry | {'interval': 'bootstrap over concepts'}


def _agreement(a_SD, b_SD, among_S, at: str, split: str) -> Entries:
  """Cosine of each concept's means, beside that with others' means."""
  among = among_S & np.isfinite(a_SD).all(1) & np.isfinite(b_SD).all(1)
  a, b = a_SD[among], b_SD[among]
  return {
    at: _over_concepts(agreement.cosines(a, b), split),
    f'{at}/others': _over_concepts(agreement.other_cosines(a, b), split),
  }


def _agreement_halves(one, other, among_S, at: str, split: str) -> Entries:
  """Cosines of one half's means with the other's, of two contexts and of one.

  Of the same concepts, and of as many examples.
  """
  parts = (*one, *other)
  among = among_S & np.all([np.isfinite(p).all(1) for p in parts], axis=0)
  a, a2, b, b2 = (p[among] for p in parts)
  mean = lambda *pairs: _over_concepts(
    np.mean([agreement.cosines(x, y) for x, y in pairs], axis=0), split
  )
  return {
    f'{at}/halves': mean((a, b2), (a2, b)),
    f'{at}/ceiling': mean((a, a2), (b, b2)),
  }


def _share(layer: Layer, a: str, b: str, at: str, settings, split) -> Entries:
  """The share of concepts that fire in both, and what it stands beside."""
  one, other = layer.counts[a], layer.counts[b]
  n, cut = len(one.tokens_N), settings.threshold
  drawn = (cut, settings.draws, settings.seed)
  live_S = sum(c.rate_S for c in layer.counts.values()) > 0
  chance = sharing.chance_share(one.rate_S, other.rate_S, cut, live_S)
  halves = lambda x, y: sharing.halves_share(x, y, *drawn)
  spread = lambda draws_R, what: depth.spread(draws_R, n, split, what)
  return {
    at: depth.interval(
      float(sharing.shared_share(one.rate_S, other.rate_S, cut)),
      sharing.resampled_share(one, other, *drawn),
      n,
      split,
      least=0,
    ),
    f'{at}/chance': results.entry(chance, n=int(live_S.sum()), split=split),
    f'{at}/exchanged': spread(
      sharing.exchanged_share(one, other, *drawn), _EXCHANGED
    ),
    f'{at}/halves': spread(halves(one, other), _HALVES),
    # Of either context: one that fires less surely has the lower.
    f'{at}/ceiling': spread(
      (halves(one, one) + halves(other, other)) / 2, _HALVES
    ),
  }


def pair(
  layer: Layer, a: str, b: str, at: str, settings: Settings, split: str
) -> Pair:
  """What two contexts of a layer share, and what chance would.

  `ceiling` is what two halves of one context's examples share, in the mean of
  both contexts, and `halves` what one half in a context shares with the other
  half in the other. Only these two are of as many examples as each other: with
  `halves` at `ceiling`, the contexts are as alike as samples of one.
  """
  one, other = layer.counts[a], layer.counts[b]
  n, cut, draws = len(one.tokens_N), settings.threshold, settings.draws
  shared_S = (one.rate_S > cut) & (other.rate_S > cut)
  live_S = (one.rate_S > cut) | (other.rate_S > cut)
  firing = sharing.co_firing(one, other)
  paired_S = firing.paired(shared_S)
  order = sharing.shuffle(
    sharing.strata(one, other), np.random.default_rng(settings.seed)
  )
  shuffled = sharing.co_firing(one, other.rows(order)).paired(shared_S)
  live = max(int(live_S.sum()), 1)
  entry = lambda value: results.entry(
    float(value) if live_S.any() else math.nan, n=int(live_S.sum()), split=split
  )
  entries = {
    f'{at}/live': results.entry(int(live_S.sum()), n=n, split=split),
    f'{at}/shared': results.entry(int(shared_S.sum()), n=n, split=split),
    **_share(layer, a, b, f'{at}/shared_share', settings, split),
    f'{at}/paired_share': entry(paired_S.sum() / live),
    f'{at}/paired_share/permuted': entry(shuffled.sum() / live),
    f'{at}/phi': depth.interval(
      sharing.mean_phi(one, other, shared_S),
      sharing.resampled_phi(one, other, shared_S, draws, settings.seed),
      n, split,
    ),
    f'{at}/phi/permuted': depth.spread(
      sharing.resampled_phi(
        one, other, shared_S, draws, settings.seed, shuffled=True
      ),
      n, split,
    ),
    **_agreement(
      layer.means[a], layer.means[b], shared_S, f'{at}/agreement', split
    ),
    **_agreement(
      layer.rests[a], layer.rests[b], shared_S, f'{at}/agreement_rest', split
    ),
    **_agreement_halves(
      layer.halves[a], layer.halves[b], shared_S, f'{at}/agreement', split
    ),
  }  # fmt: skip
  return Pair(
    shared_S,
    paired_S,
    firing.phi_S,
    agreement.cosines(layer.means[a], layer.means[b]),
    entries,
  )


def table(number: int, layer: Layer, pairs: Mapping[str, Pair]):
  """A row for each concept that fires anywhere, as dicts."""
  rate = {context: c.rate_S for context, c in layer.counts.items()}
  fires_S = sum(rate.values()) > 0
  score = {
    b: sharing.score(rate['image'], rate[b]) for b in ('caption', 'text')
  }
  for s in np.flatnonzero(fires_S):
    row = {'layer': number, 'concept': int(s)}
    row |= {f'p_{context}': float(r[s]) for context, r in rate.items()}
    row |= {f'score_{b}': float(v[s]) for b, v in score.items()}
    for name, p in pairs.items():
      row |= {
        f'{name}/shared': int(p.shared_S[s]),
        f'{name}/paired': int(p.paired_S[s]),
        f'{name}/phi': float(p.phi_S[s]),
        f'{name}/agreement': float(p.agreement_S[s]),
      }
    yield {
      key: '' if isinstance(v, float) and math.isnan(v) else v
      for key, v in row.items()
    }
