"""Names of concepts: chosen on val, scored on the reported split."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from saejax import results
from saejax.analysis import bootstrap
from saejax.analysis import energy
from saejax.analysis import factors
from saejax.analysis import geometry
from saejax.analysis import modality
from saejax.analysis import naming
from saejax.pipeline import findings
from saejax.pipeline import naming_words

WELL = 0.9  # AUROC from which a name is good.
BEST = 'best'
SIDES = ('image', 'text')
Entries = dict[str, dict[str, Any]]


def over(what: str, estimate: bootstrap.Estimate, split: str, **k) -> dict:
  """A result whose bounds come from resampling concepts or factors."""
  entry = results.entry(estimate, split=split, **k)
  named = {'interval': f'bootstrap over {what}'} if 'low' in entry else {}
  return entry | named


def mean_over(what: str, values_n, split: str) -> dict[str, Any]:
  """The mean of what is defined, with its interval over concepts or so."""
  values_n = np.asarray(values_n)[np.isfinite(values_n)]
  found = bootstrap.mean(values_n, np.arange(len(values_n)))
  return over(what, found, split)


@dataclasses.dataclass(frozen=True)
class Concepts:
  """What is known of each concept before it is named.

  Attributes:
    live_S: fires on val or on the reported split.
    often_S: fires at least 30 times on val, in the modality it is named by.
    side_S: 0 if it is named by images, 1 by texts: where it has more energy
      on val; -1 if it does not fire there.
    score_S: modality score on the reported split.
    energy_S: balanced energy there.
  """

  live_S: np.ndarray
  often_S: np.ndarray
  side_S: np.ndarray
  score_S: np.ndarray
  energy_S: np.ndarray

  def modality(self, i: int) -> str:
    score = self.score_S[i]
    if not np.isfinite(score):
      return ''
    if modality.TEXT_CUT <= score <= modality.IMAGE_CUT:
      return 'shared'
    return 'image' if score > modality.IMAGE_CUT else 'text'


def concepts(s: findings.Subject) -> Concepts:
  """How concepts are used on val and on the reported split."""
  val, test = (
    [energy.usage(side.z_nS) for side in pair] for pair in (s.val, s.test)
  )
  fires_S = val[0].count_S + val[1].count_S > 0
  side_S = np.where(val[0].energy_S >= val[1].energy_S, 0, 1)
  return Concepts(
    often_S=np.where(side_S, val[1].count_S, val[0].count_S)
    >= modality.LEAST_FIRINGS,
    live_S=fires_S | (test[0].count_S + test[1].count_S > 0),
    side_S=np.where(fires_S, side_S, -1),
    score_S=modality.score(test[0].energy_S, test[1].energy_S),
    energy_S=(test[0].energy_S + test[1].energy_S) / 2,
  )


@dataclasses.dataclass(frozen=True)
class Named:
  """Names of all concepts by one source, and their scores on both splits."""

  names: Sequence[str]
  index_S: np.ndarray  # -1 where there is none.
  val_S: np.ndarray  # AUROC.
  test: naming.Scores

  def name(self, i: int) -> str:
    return self.names[self.index_S[i]] if self.index_S[i] >= 0 else ''


def _named(s, c: Concepts, source: naming_words.Source, choose) -> Named:
  """Names the concepts of each side by `choose(side, own concepts)`."""
  size = len(c.side_S)
  index_S = np.full(size, -1)
  val_S = np.full(size, np.nan)
  fields = [f.name for f in dataclasses.fields(naming.Scores)]
  test = {name: np.full(size, np.nan) for name in fields}
  for m in range(len(SIDES)):
    own = np.flatnonzero(c.side_S == m)
    if not len(own):
      continue
    index_S[own] = choose(m, own)
    score = lambda side, held, own=own: naming.own_scores(
      side.z_nS[:, own], held, index_S[own]
    )
    val_S[own] = score(s.val[m], source.val[m]).area_S
    found = score(s.test[m], source.test[m])
    for name, array in test.items():
      array[own] = getattr(found, name)
  return Named(source.names, index_S, val_S, naming.Scores(**test))


def by_captions(s, c: Concepts, source: naming_words.Source) -> Named:
  """Names from the captions of the strongest rows of val."""
  part_WP = naming.parts(source.names)

  def choose(m: int, own: np.ndarray) -> np.ndarray:
    side = s.val[m]
    key_n = side.key_n if m else side.group_n
    return naming.distinctive(side.z_nS[:, own], source.val[m], part_WP, key_n)

  return _named(s, c, source, choose)


def by_words(
  s, c: Concepts, source: naming_words.Source, word_WD: np.ndarray
) -> Named:
  """Names whose embedding is nearest to the concept's direction."""
  fit = geometry.fit(*(s.training_rows(name) for name in SIDES))
  means_2D = np.stack([fit.mean_image_D, fit.mean_text_D])
  part_WP = naming.parts(source.names)
  near = lambda m, own: naming.nearest_words(
    s.d_SD[own], word_WD, part_WP, means_2D
  )
  return _named(s, c, source, near)


def by_labels(s, c: Concepts, source: naming_words.Source) -> Named:
  """The known label that each concept tells best on val."""

  def choose(m: int, own: np.ndarray) -> np.ndarray:
    area_sF = naming.auroc(s.val[m].z_nS[:, own], source.val[m])
    usable_F = factors.enough(s.val[m].labels())
    area_sF = np.where(usable_F, np.nan_to_num(area_sF), -1)
    return area_sF.argmax(1) if usable_F.any() else np.full(len(own), -1)

  return _named(s, c, source, choose)


def best(found: Mapping[str, Named]) -> np.ndarray:
  """The place of the source whose name scores best on val; -1 without any."""
  area_KS = np.stack([np.nan_to_num(n.val_S, nan=-1) for n in found.values()])
  return np.where(area_KS.max(0) >= 0, area_KS.argmax(0), -1)


def _weighted_share(reached_n, weight_n) -> bootstrap.Estimate:
  """The share of the weight that is reached; undefined without any concept."""
  if not len(weight_n):
    return bootstrap.Estimate(float('nan'), 0)
  return bootstrap.estimate(
    lambda sums: sums[..., 0] / np.maximum(sums[..., 1], 1e-12),
    np.stack([reached_n * weight_n, weight_n], 1),
    len(weight_n),
  )


def _source_entries(
  area_S, null_S, c: Concepts, split: str, **beside
) -> Entries:
  live = np.flatnonzero(c.live_S)
  weight_n = c.energy_S[live]
  reached_n = (np.nan_to_num(area_S[live]) >= WELL).astype(float)
  entries = {
    'mean_auroc': mean_over('concepts', area_S, split),
    'null_auroc': mean_over('concepts', null_S, split),
    'coverage_live': mean_over('concepts', reached_n, split),
    'coverage_energy': over(
      'concepts', _weighted_share(reached_n, weight_n), split
    ),
  }
  for m, side in enumerate(SIDES):
    entries[f'mean_auroc_{side}'] = mean_over(
      'concepts', area_S[c.side_S == m], split
    )
  entries['mean_auroc_often'] = mean_over('concepts', area_S[c.often_S], split)
  beside = {n: mean_over('concepts', v, split) for n, v in beside.items()}
  return entries | beside


def entries(found: Mapping[str, Named], c: Concepts, split: str) -> Entries:
  """Mean scores of each source, their null, and coverage."""
  out = {
    f'name/{source}/{key}': e
    for source, n in found.items()
    for key, e in _source_entries(
      n.test.area_S,
      n.test.null_S,
      c,
      split,
      precision=n.test.precision_S,
      precision_chance=n.test.rate_S,
    ).items()
  }
  if found:
    place_S = best(found)
    pick = lambda rows: np.where(
      place_S >= 0, np.stack(rows)[place_S, np.arange(len(place_S))], np.nan
    )
    chosen = _source_entries(
      pick([n.test.area_S for n in found.values()]),
      pick([n.test.null_S for n in found.values()]),
      c,
      split,
    )
    out |= {f'name/{BEST}/{key}': e for key, e in chosen.items()}
  return out
