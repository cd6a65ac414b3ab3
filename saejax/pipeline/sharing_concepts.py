"""Which concepts of an SAE the contexts of a layer share."""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any

import numpy as np

from saejax import results
from saejax import store as store_lib
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
    halves: of the strongest tokens of two halves of the bare texts.
    l0: before and after it was matched.
  """

  counts: Mapping[str, sharing.Counts]
  means: Mapping[str, np.ndarray]
  rests: Mapping[str, np.ndarray]
  halves: tuple[np.ndarray, np.ndarray]
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


def read(
  dictionary: reading.Dictionary,
  encoded: Mapping[str, reading.Encoded],
  n: int,
  l0: float,
  settings: Settings,
) -> Layer:
  """Counts and means of codes at the L0 that all layers have."""
  matched = dict(
    zip(
      encoded, sharing.match_l0([e.z_nS for e in encoded.values()], l0),
      strict=True,
    )
  )  # fmt: skip
  own = dictionary.directions
  top = lambda context, **k: sharing.top_means(
    encoded[context].x_nD, matched[context], settings.top, **k
  )
  text = encoded['text']
  is_first_n = np.random.default_rng(settings.seed).random(n) < 0.5
  parts = []
  for side in (True, False):
    at_n = np.flatnonzero(is_first_n[text.example_n] == side)
    parts.append(
      sharing.top_means(text.x_nD[at_n], matched['text'][at_n], settings.top)
    )
  return Layer(
    counts={
      c: sharing.counts(matched[c], e.example_n, n) for c, e in encoded.items()
    },
    means={c: top(c) for c in encoded},
    rests={c: top(c, own_SD=own) for c in encoded},
    halves=(parts[0], parts[1]),
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
    at: _over_concepts(sharing.cosines(a, b), split),
    f'{at}/others': _over_concepts(sharing.other_cosines(a, b), split),
  }


def pair(
  layer: Layer, a: str, b: str, at: str, settings: Settings, split: str
) -> Pair:
  """What two contexts of a layer share, and what chance would."""
  one, other = layer.counts[a], layer.counts[b]
  n, cut, draws = len(one.tokens_N), settings.threshold, settings.draws
  share = lambda x, y: float(sharing.shared_share(x, y, cut))
  shared_S = (one.rate_S > cut) & (other.rate_S > cut)
  live_S = (one.rate_S > cut) | (other.rate_S > cut)
  firing = sharing.co_firing(one, other)
  paired_S = firing.paired(shared_S)
  order = sharing.shuffle(
    sharing.strata(one, other), np.random.default_rng(settings.seed)
  )
  shuffled = sharing.co_firing(one, other.rows(order)).paired(shared_S)
  few = max(draws // 10, 5)
  live = max(int(live_S.sum()), 1)
  entry = lambda value: results.entry(
    float(value) if live_S.any() else math.nan, n=int(live_S.sum()), split=split
  )
  spread = depth.spread
  entries = {
    f'{at}/live': results.entry(int(live_S.sum()), n=n, split=split),
    f'{at}/shared': results.entry(int(shared_S.sum()), n=n, split=split),
    f'{at}/shared_share': depth.interval(
      share(one.rate_S, other.rate_S),
      sharing.resampled_share(one, other, cut, draws, settings.seed), n, split,
    ),
    f'{at}/shared_share/chance': entry(
      sharing.chance_share(one.rate_S, other.rate_S, cut)
    ),
    f'{at}/shared_share/exchanged': spread(
      sharing.exchanged_share(one, other, cut, few), n, split, _EXCHANGED
    ),
    f'{at}/shared_share/ceiling': spread(
      sharing.halves_share(other, cut, few), n, split, _HALVES
    ),
    f'{at}/paired_share': entry(paired_S.sum() / live),
    f'{at}/paired_share/permuted': entry(shuffled.sum() / live),
    f'{at}/phi': depth.interval(
      sharing.mean_phi(one, other, shared_S),
      sharing.resampled_phi(one, other, shared_S, draws, settings.seed),
      n, split,
    ),
    f'{at}/phi/permuted': spread(
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
    f'{at}/agreement/ceiling': _agreement(
      *layer.halves, shared_S, 'own', split
    )['own'],
  }  # fmt: skip
  return Pair(
    shared_S,
    paired_S,
    firing.phi_S,
    sharing.cosines(layer.means[a], layer.means[b]),
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
