"""What a dictionary holds: energy, modality, geometry, bridges."""

import dataclasses
import os
from typing import Any

import numpy as np

from saejax import errors
from saejax import io
from saejax import nn
from saejax import results
from saejax import store as store_lib
from saejax import types
from saejax.analysis import bootstrap
from saejax.analysis import bridges as bridges_lib
from saejax.analysis import energy
from saejax.analysis import geometry
from saejax.analysis import layout
from saejax.analysis import modality
from saejax.pipeline import communities
from saejax.pipeline import sides
from saejax.pipeline import subspaces
from saejax.pipeline import token_sides
from saejax.store import files

LEAST_LIFT = 1.5  # Of co-firing over chance, for a bridge to count as real.
_LEVEL = 0.05
_FIT_ROWS = 100_000  # Training rows a stream that means and covariances take.
_KEPT_BRIDGES = 20_000
Entries = dict[str, dict[str, Any]]
Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Subject:
  """A dictionary with the encoded rows it is studied on, image and text.

  Attributes:
    sae, variables: the dictionary.
    store: what the rows are of.
    val, test: rows of val, and of the split to report on.
    split: which that is.
    whole_val, whole_test: of tokens, the examples that they are of; else None.
    tokens: every token of `test`, more than may be looked at; else None.
  """

  sae: nn.LinearSAE
  variables: types.ArrayTree
  store: store_lib.Store
  val: tuple[sides.Side, sides.Side]
  test: tuple[sides.Side, sides.Side]
  split: str
  whole_val: tuple[sides.Side, sides.Side] | None = None
  whole_test: tuple[sides.Side, sides.Side] | None = None
  tokens: tuple[token_sides.Tokens, token_sides.Tokens] | None = None

  @property
  def d_SD(self) -> np.ndarray:
    return np.asarray(self.variables['params']['w_dec'])

  @property
  def are_tokens(self) -> bool:
    """Whether rows are tokens; a store of layers may have means of them."""
    columns = self.tokens[0].stream.spec.columns if self.tokens else ()
    return 'position' in columns

  def training_rows(self, name: str) -> np.ndarray:
    """Up to 100,000 training rows [n, D] of a stream, evenly spread."""
    stream = self.test[('image', 'text').index(name)].stream
    rows_N = stream.rows('train')
    picked = np.linspace(0, len(rows_N) - 1, min(len(rows_N), _FIT_ROWS))
    return stream.take(rows_N[picked.astype(int)]).astype(np.float32)

  def whole(self) -> 'Subject':
    """With an example as a row, where rows are tokens; else as it is."""
    if self.whole_val is None or self.whole_test is None:
      return self
    return dataclasses.replace(
      self, val=self.whole_val, test=self.whole_test, whole_val=None,
      whole_test=None,
    )  # fmt: skip


def _load_tokens(
  sae_path: str,
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  store: store_lib.Store,
  split: str,
) -> Subject:
  names = token_sides.streams(sae_path, store)
  for part in ('val', split):
    sides.check_pairs(store, part, names=names)
  read = lambda part: token_sides.pair(sae, variables, store, names, part)
  val, test = read('val'), read(split)
  as_rows = lambda form, pair: (form(pair[0]), form(pair[1]))
  return Subject(
    sae=sae,
    variables=variables,
    store=store,
    val=as_rows(token_sides.measured, val),
    test=as_rows(token_sides.measured, test),
    split=split,
    whole_val=as_rows(token_sides.examples, val),
    whole_test=as_rows(token_sides.examples, test),
    tokens=test,
  )


def load_subject(sae_path: str, store_path: str, split: str) -> Subject:
  """Loads a dictionary and encodes `val` and the split to report on.

  Of a store of layers, those of the layer that the dictionary was trained on.
  """
  sae, variables = io.load(sae_path)
  if sae.signed:
    raise errors.UserError(
      f'The dictionary at {sae_path} has codes of both signs; what bridges and '
      'modality scores mean holds for codes that are not negative. evaluate '
      'takes it.'
    )
  if sites := io.read_sites(sae_path):
    names = ' and '.join(site.stream for site in sites)
    raise errors.UserError(
      f'The dictionary at {sae_path} is for {names} at once; bridges and '
      'modality scores are of streams encoded one by one. evaluate takes it.'
    )
  store = store_lib.Store(store_path)
  if token_sides.are_in(store):
    return _load_tokens(sae_path, sae, variables, store, split)
  # Both are asked for first, so that a missing split is told before any work.
  sides.check_pairs(store, 'val')
  return Subject(
    sae=sae,
    variables=variables,
    store=store,
    test=sides.encode_pairs(sae, variables, store, split),
    val=sides.encode_pairs(sae, variables, store, 'val'),
    split=split,
  )


def usage_results(s: Subject) -> tuple[Entries, Arrays]:
  """Energy and firing of every concept, and how concentrated energy is.

  A concept is live if any row of the split has it: of all tokens, measured or
  not, since bridges are of all.
  """
  image, text = (energy.usage(side.z_nS) for side in s.test)
  balanced_S = (image.energy_S + text.energy_S) / 2
  rows = image.rows + text.rows
  every = [energy.usage(side.z_nS) for side in s.tokens or s.test]
  live_S = every[0].count_S + every[1].count_S > 0
  entry = lambda v, unit: results.entry(v, n=rows, split=s.split, unit=unit)
  entries = {
    'concepts/live': results.entry(
      int(live_S.sum()), n=every[0].rows + every[1].rows, split=s.split,
      unit='concepts',
    ),
    'energy/half': entry(energy.concepts_carrying(balanced_S, 0.5), 'concepts'),
    'energy/most': entry(energy.concepts_carrying(balanced_S, 0.9), 'concepts'),
  }  # fmt: skip
  return entries, {
    'live': live_S,
    'energy_image': image.energy_S,
    'energy_text': text.energy_S,
    'rate_image': image.rate_S,
    'rate_text': text.rate_S,
    'count_image': image.count_S,
    'count_text': text.count_S,
  }


def modality_results(s: Subject) -> tuple[Entries, Arrays]:
  """ModalityScore of every concept with bounds, classes, and the null."""
  image, text = s.test
  scores = modality.modality_scores(
    image.z_nS,
    text.z_nS,
    image.group_n,
    text.group_n,
    are_tokens=s.are_tokens,
  )
  null_S = modality.permuted_scores(
    image.z_nS,
    text.z_nS,
    examples=(image.pair_n, text.pair_n) if s.are_tokens else None,
  )
  live = int(np.isfinite(scores.score_S).sum())
  entries = {
    f'modality/{name}': results.entry(
      scores.count(name), n=live, split=s.split, unit='concepts'
    )
    for name in modality.CLASSES[1:]
  }
  unsure = np.isfinite(scores.score_S) & (scores.class_S == 0)
  entries['modality/unclassified'] = results.entry(
    int(unsure.sum()), n=live, split=s.split, unit='concepts'
  )
  for name, score_S in (
    ('single_share', scores.score_S),
    ('single_share_permuted', null_S),
  ):
    score_L = score_S[np.isfinite(score_S)]
    single_L = (score_L > modality.IMAGE_CUT) | (score_L < modality.TEXT_CUT)
    entries[f'modality/{name}'] = results.entry(
      bootstrap.mean(single_L, np.arange(len(score_L))), split=s.split
    ) | {'interval': 'bootstrap over concepts'}
  return entries, {
    'modality_score': scores.score_S,
    'modality_low': scores.low_S,
    'modality_high': scores.high_S,
    'modality_class': scores.class_S,
    'modality_score_permuted': null_S,
  }


def geometry_results(s: Subject, live_S: np.ndarray) -> tuple[Entries, Arrays]:
  """The gap, and how near concepts lie to its direction."""
  fit = geometry.fit(s.training_rows('image'), s.training_rows('text'))
  cosine_S = geometry.cosines(s.d_SD, fit.direction_D)
  floors = geometry.floors(fit)
  mean = lambda side: side.x_nD.mean(0, dtype=np.float64)
  gap = float(np.linalg.norm(mean(s.test[0]) - mean(s.test[1])))
  rows = sum(len(side.rows_n) for side in s.test)
  live = int(live_S.sum())
  entries = {
    'geometry/gap': results.entry(gap, n=rows, split=s.split),
    'geometry/effective_rank': results.entry(
      geometry.effective_rank(fit.within_DD), split='train'
    ),
    'geometry/cosine_to_gap_median': results.entry(
      float(np.median(cosine_S[live_S])) if live else float('nan'), n=live
    ),
    **{
      f'geometry/cosine_to_gap_floor_{name}': results.entry(value)
      for name, value in floors.items()
    },
  }
  return entries, {'cosine_to_gap': cosine_S}


def _strength_results(real_P, b, correlation_P, entry) -> Entries:
  """How strongly the two ends of real cross bridges go together."""
  median = lambda x_P: float(np.median(x_P[real_P])) if real_P.any() else np.nan
  return {
    'bridges/cross_cosine_median': entry(median(b.cosine_P)),
    'bridges/cross_correlation_median': entry(median(correlation_P)),
  }


def _looked_up(key_P, among_V, value_V) -> np.ndarray:
  """Values of keys by those of others, all different; NaN where none is."""
  order_V = np.argsort(among_V)
  at_P = np.searchsorted(among_V, key_P, sorter=order_V)
  padded = np.append(order_V, 0)[at_P]  # Past the end: any, it is not equal.
  if not len(among_V):
    return np.full(len(key_P), np.nan)
  return np.where(among_V[padded] == key_P, value_V[padded], np.nan)


def bridge_results(
  s: Subject, score_S: np.ndarray
) -> tuple[Entries, Arrays, Arrays]:
  """Bridges: found on `val`, replicated and measured on the reported split.

  Results, each concept's mass on either side, and the bridges.
  """
  matched = {
    name: bridges_lib.match(image.z_nS, text.z_nS, image.pair_n, text.pair_n)
    for name, (image, text) in (('val', s.val), ('test', s.test))
  }
  found = {name: bridges_lib.bridges(m, s.d_SD) for name, m in matched.items()}
  # A bridge fires together more than chance has it and points the same way.
  positive = {
    name: (b.cosine_P > 0) & (b.excess_P > 0) for name, b in found.items()
  }
  p_val = bridges_lib.p_values(matched['val'], found['val'])
  tests = bridges_lib.tested_pairs(matched['val'])
  significant = positive['val'] & bridges_lib.significant(p_val, tests, _LEVEL)
  b = found['test']
  key = lambda b: b.i_P.astype(np.int64) * s.sae.s + b.j_P
  p_test = bridges_lib.p_values(matched['test'], b)
  joint_P, expected_P, _, _ = bridges_lib.firing(matched['test'], b.i_P, b.j_P)
  lift_P = joint_P / np.maximum(expected_P, 1e-12)
  replicated = (
    np.isin(key(b), key(found['val'])[significant])
    & positive['test']
    & (p_test < _LEVEL)
    & (lift_P >= LEAST_LIFT)
  )
  within_DD = geometry.fit(*map(s.training_rows, ('image', 'text'))).within_DD
  least = geometry.chance_cosine(within_DD)
  aligned_P = b.cosine_P > least
  excess_val_P = _looked_up(key(b), key(found['val']), found['val'].excess_P)
  self_P = b.i_P == b.j_P
  cross_P = ~self_P & (score_S[b.i_P] > 0.9) & (score_S[b.j_P] < 0.1)
  correlation_P = bridges_lib.correlations(matched['test'], b.i_P, b.j_P)
  totals = bridges_lib.totals(matched['test'], s.d_SD)
  n = len(matched['test'].pairs_G)
  excess = totals['sum_b'] - totals['sum_b0']
  entry = lambda v, **k: results.entry(v, n=n, split=s.split, **k)
  pairing = lambda *which: results.entry(
    bridges_lib.excess(matched['test'], s.d_SD, *which), split=s.split
  )
  part = lambda where: float(b.excess_P[where].sum() / excess) if excess else 0
  entries = {
    'bridges/sum_b': entry(totals['sum_b']),
    'bridges/sum_b0': entry(totals['sum_b0']),
    'bridges/similarity': entry(totals['similarity']),
    'bridges/identity_error': entry(
      abs(totals['sum_b'] - totals['similarity'])
    ),
    'bridges/tested': results.entry(
      tests, n=len(matched['val'].pairs_G), split='val', unit='pairs'
    ),
    'bridges/significant': results.entry(
      int(significant.sum()), split='val', unit='pairs'
    ),
    'bridges/replicated': entry(int(replicated.sum()), unit='pairs'),
    'bridges/replicated_cross': entry(
      int((replicated & cross_P).sum()), unit='pairs'
    ),
    'bridges/excess': pairing(),
    'bridges/cross_excess': pairing(score_S > 0.9, score_S < 0.1),
    'bridges/replicated_aligned': entry(
      int((replicated & cross_P & aligned_P).sum()), unit='pairs'
    ),
    'bridges/cosine_floor': results.entry(least, split='train'),
    'bridges/cross_share_of_excess': entry(part(cross_P)),
    'bridges/self_share_of_excess': entry(part(self_P)),
    **_strength_results(replicated & cross_P, b, correlation_P, entry),
  }
  keep = np.argsort(-b.excess_P, kind='stable')
  keep = keep[(positive['test'] | replicated)[keep]][:_KEPT_BRIDGES]
  arrays = {
    'image_concept': b.i_P.astype(np.int32),
    'text_concept': b.j_P.astype(np.int32),
    'b': b.b_P,
    'b0': b.b0_P,
    'excess': b.excess_P,
    'excess_val': excess_val_P,
    'cosine': b.cosine_P,
    'correlation': correlation_P,
    'joint': joint_P.astype(np.int64),
    'lift': lift_P,
    'p': p_test,
    'replicated': replicated,
    'cross': cross_P,
    'aligned': aligned_P,
  }
  mass = bridges_lib.mass(b, replicated, s.sae.s)
  return entries, mass, {name: array[keep] for name, array in arrays.items()}


@dataclasses.dataclass(frozen=True)
class Analysis:
  """Everything `analyse` finds of one dictionary."""

  entries: Entries
  concepts: Arrays
  bridges: Arrays

  def write_arrays(self, out: str) -> None:
    os.makedirs(out, exist_ok=True)
    files.write_arrays(os.path.join(out, results.CONCEPTS), self.concepts)
    files.write_arrays(os.path.join(out, results.BRIDGES), self.bridges)
    communities.write(self.bridges, self.concepts['community'], out)


def analyse_subject(s: Subject) -> Analysis:
  """Every number and array, from codes alone."""
  entries, concepts = usage_results(s)
  live_S = concepts['live']
  found, scores = modality_results(s)
  entries, concepts = entries | found, concepts | scores
  found, cosines = geometry_results(s, live_S)
  entries, concepts = entries | found, concepts | cosines
  found, crossing = subspaces.measure(
    (s.training_rows('image'), s.training_rows('text')),
    s.val,
    s.test,
    s.d_SD,
    live_S,
    s.split,
  )
  entries, concepts = entries | found, concepts | crossing
  found, mass, bridges = bridge_results(s.whole(), concepts['modality_score'])
  joined, groups = communities.measure(
    bridges, s.sae.s, found['bridges/replicated']['n'], s.split
  )
  found, concepts = found | joined, concepts | mass | groups
  map_S2 = np.full((s.sae.s, 2), np.nan)
  map_S2[live_S] = layout.concept_map(s.d_SD[live_S])
  return Analysis(
    entries=entries | found,
    concepts=concepts | {'map': map_S2},
    bridges=bridges,
  )
