"""Concepts to intervene on, ranked, from training rows alone."""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import functools

import numpy as np

from saejax import encode
from saejax import errors
from saejax import io
from saejax import nn
from saejax import store as store_lib
from saejax import types
from saejax.analysis import bridges as bridges_lib
from saejax.analysis import matched_sets
from saejax.analysis import modality
from saejax.pipeline import findings
from saejax.pipeline import sides

SETS = (
  'cross_bridges', 'replicated_bridges', 'self_bridges', 'shared',
  'image_only', 'text_only',
)  # fmt: skip
_LEVEL = 0.05
_ALIKE = 4  # Concepts like one that is matched, with a caliper.


@dataclasses.dataclass(frozen=True)
class Trial:
  """A set of concepts, and the random sets that it is held against.

  Attributes:
    name: of the set.
    concepts_C: the concepts, strongest first.
    random_RC: the random sets; as many first concepts are matched to as many.
    sizes: how many of them are taken.
  """

  name: str
  concepts_C: np.ndarray
  random_RC: np.ndarray
  sizes: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Choice:
  """What training rows say of concepts.

  Attributes:
    ranked: concepts of each set of SETS, the strongest first.
    features_SF: `matched_sets.FEATURES` of all.
    pairs: how many images, with their texts, this rests on.
  """

  ranked: dict[str, np.ndarray]
  features_SF: np.ndarray
  pairs: int

  @property
  def energy_S(self) -> np.ndarray:
    return self.features_SF[:, matched_sets.FEATURES.index('energy')]

  @functools.cached_property
  def _place_SF(self) -> np.ndarray:
    """Where concepts lie to be matched; NaN for one that never fires."""
    live_S = self.energy_S > 0
    place_SF = np.full(self.features_SF.shape, np.nan)
    place_SF[live_S] = matched_sets.standardise(self.features_SF[live_S])
    return place_SF

  def trials(
    self,
    sizes: Sequence[int],
    draws: int,
    caliper: float | None = None,
    seed: int = 0,
    names: Sequence[str] = SETS,
  ) -> Iterator[Trial]:
    """Every set that has a concept, with random sets of concepts outside it.

    A set has at most a third of the live concepts, so that there is choice;
    and what it lacks for a size, that size lacks. With a caliper, it is
    left with those that at least four others resemble, to so many standard
    deviations in every feature.
    """
    live_n = np.flatnonzero(self.energy_S > 0)
    most = min(max(sizes), len(live_n) // 3)
    for name in names:
      concepts_C = self.ranked[name][:most]
      pool_n = np.setdiff1d(live_n, concepts_C)
      if caliper is not None and len(concepts_C):
        near_C = matched_sets.near(self._place_SF, concepts_C, pool_n, caliper)
        concepts_C = concepts_C[near_C >= _ALIKE]
      own = sorted({min(n, len(concepts_C)) for n in sizes} - {0})
      if own:
        random_RC = matched_sets.draw(
          self._place_SF, concepts_C, pool_n, draws, seed
        )
        yield Trial(name, concepts_C, random_RC, tuple(own))

  def differences(self, t: Trial, n: int) -> dict[str, float]:
    """How far a set's first n concepts are from those matched to them."""
    found_F = matched_sets.mean_differences(
      self._place_SF, t.concepts_C[:n], t.random_RC[:, :n]
    )
    return dict(zip(matched_sets.FEATURES, found_F.tolist(), strict=True))


def load(sae_path: str) -> tuple[nn.LinearSAE, types.ArrayTree]:
  """A dictionary whose concepts can be chosen; UserError for any other."""
  sae, variables = io.load(sae_path)
  if sae.signed:
    raise errors.UserError(
      f'The dictionary at {sae_path} has codes of both signs: there is no '
      'modality score by which to choose concepts. evaluate takes it.'
    )
  if sites := io.read_sites(sae_path):
    names = ' and '.join(site.stream for site in sites)
    raise errors.UserError(
      f'The dictionary at {sae_path} is for {names} at once; concepts are '
      'changed in codes of single streams. evaluate takes it.'
    )
  return sae, variables


def _in_order(*concepts_P: np.ndarray) -> np.ndarray:
  """Ends of bridges, bridge by bridge, each concept where it comes first."""
  every = np.stack(concepts_P, axis=1).ravel()
  _, first = np.unique(every, return_index=True)
  return every[np.sort(first)]


def _by_excess(b: bridges_lib.Bridges, where_P: np.ndarray) -> np.ndarray:
  """Places of bridges, strongest excess first; of those that point alike."""
  where = np.flatnonzero(where_P & (b.cosine_P > 0) & (b.excess_P > 0))
  return where[np.argsort(-b.excess_P[where], kind='stable')]


def _matched(image: sides.Side, text: sides.Side, groups=None):
  """Matched codes, of some groups if given."""
  keep = lambda side: (
    slice(None) if groups is None else np.isin(side.group_n, groups)
  )
  a, b = keep(image), keep(text)
  return bridges_lib.match(
    image.z_nS[a], text.z_nS[b], image.pair_n[a], text.pair_n[b]
  )


def replicated(
  image: sides.Side, text: sides.Side, d_SD: np.ndarray
) -> np.ndarray:
  """Bridges (as i·S + j) found on one half of the groups and met on the other.

  As `analyse` has them on two splits: significant (Benjamini–Yekutieli) on the
  first; on the second, p below 0.05 and lift.
  """
  s = len(d_SD)
  groups = np.unique(image.group_n)
  found = []
  for groups_g in (groups[::2], groups[1::2]):
    m = _matched(image, text, groups_g)
    if not len(m.pairs_G):
      return np.zeros(0, np.int64)
    b = bridges_lib.bridges(m, d_SD)
    positive_P = (b.cosine_P > 0) & (b.excess_P > 0)
    found.append((m, b, positive_P, bridges_lib.p_values(m, b)))
  (m, b, positive_P, p_P), (again, b2, positive2_P, p2_P) = found
  tests = bridges_lib.tested_pairs(m)
  first_P = positive_P & bridges_lib.significant(p_P, tests, _LEVEL)
  joint_P, expected_P, *_ = bridges_lib.firing(again, b2.i_P, b2.j_P)
  lift_P = joint_P / np.maximum(expected_P, 1e-12)
  second_P = positive2_P & (p2_P < _LEVEL) & (lift_P >= findings.LEAST_LIFT)
  key = lambda b, of_P: b.i_P[of_P].astype(np.int64) * s + b.j_P[of_P]
  return np.intersect1d(key(b, first_P), key(b2, second_P))


def rank(
  image: sides.Side, text: sides.Side, d_SD: np.ndarray
) -> dict[str, np.ndarray]:
  """Concepts of each set, the strongest first.

  Bridges by excess, both ends of each; the others by energy.
  """
  scores = modality.modality_scores(
    image.z_nS, text.z_nS, image.group_n, text.group_n
  )
  b = bridges_lib.bridges(_matched(image, text), d_SD)
  score_S, self_P = scores.score_S, b.i_P == b.j_P
  cross_P = (score_S[b.i_P] > modality.IMAGE_CUT) & (
    score_S[b.j_P] < modality.TEXT_CUT
  )
  key_P = b.i_P.astype(np.int64) * len(d_SD) + b.j_P
  real_P = np.isin(key_P, replicated(image, text, d_SD))
  energy_S = sum(
    np.asarray(side.z_nS.mean(0, dtype=np.float64)).ravel()
    for side in (image, text)
  )
  ends = lambda where_P: _in_order(b.i_P[where_P], b.j_P[where_P])
  strongest = np.argsort(-energy_S, kind='stable')
  of_class = lambda name: strongest[
    scores.class_S[strongest] == modality.CLASSES.index(name)
  ]
  return {
    'cross_bridges': ends(_by_excess(b, cross_P)),
    'replicated_bridges': ends(_by_excess(b, real_P & ~self_P)),
    'self_bridges': ends(_by_excess(b, self_P)),
    'shared': of_class('shared'),
    'image_only': of_class('image'),
    'text_only': of_class('text'),
  }


def choose(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  store: store_lib.Store,
  most_pairs: int,
  seed: int = 0,
) -> Choice:
  """Ranks the concepts of every set on up to `most_pairs` training images."""
  image, text = sides.encode_some_pairs(
    sae, variables, store, 'train', most_pairs, seed
  )
  d_SD = np.asarray(variables['params']['w_dec'])
  rows = (
    matched_sets.Rows(
      x_nD=side.x_nD,
      z_nS=side.z_nS,
      xhat_nD=side.z_nS @ d_SD + encode.bias(sae, variables, side.stream),
    )
    for side in (image, text)
  )
  features_SF = matched_sets.features(*rows, d_SD)
  ranked = rank(image, text, d_SD)
  return Choice(
    ranked={name: ranked[name] for name in SETS},
    features_SF=features_SF,
    pairs=len(np.unique(image.pair_n)),
  )
