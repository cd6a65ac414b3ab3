"""What changed codes are worth: recall both ways, zero-shot accuracy, the gap.

Rows are encoded once; whatever is done to their codes, they are decoded, with
the bias that the dictionary adds back, and compared as unit rows.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses

import numpy as np
import scipy.sparse

from saejax import encode
from saejax import errors
from saejax import nn
from saejax import store as store_lib
from saejax import types
from saejax.analysis import bootstrap
from saejax.analysis import retrieval
from saejax.analysis import zero_shot
from saejax.pipeline import classifying
from saejax.pipeline import matching
from saejax.pipeline import sides

RECALL, GAP, ZERO_SHOT = 'recall1', 'gap', 'zero_shot'
Change = Callable[[scipy.sparse.csr_matrix], scipy.sparse.csr_matrix]


@dataclasses.dataclass(frozen=True)
class Coded:
  """Rows with their codes, and how these are decoded."""

  x_nD: np.ndarray
  z_nS: scipy.sparse.csr_matrix
  d_SD: np.ndarray
  bias_D: np.ndarray
  group_n: np.ndarray

  def units(self, change: Change | None) -> np.ndarray:
    """Unit rows decoded from changed codes; as they are stored, for None."""
    if change is None:
      return retrieval.unit_rows(self.x_nD)
    return retrieval.unit_rows(change(self.z_nS) @ self.d_SD + self.bias_D)


@dataclasses.dataclass(frozen=True)
class Labelled:
  """Images with classes, and the prompts that name these."""

  image: Coded
  label_n: np.ndarray
  prompt: Coded
  prompt_label_n: np.ndarray


@dataclasses.dataclass(frozen=True)
class Seen:
  """What one change of the codes leaves.

  Attributes:
    rank: by way, the rank of each query's best hit, 0 the best.
    right_n: whether each labelled image finds its class; None without classes.
    gap: between the means of unit rows.
    units: unit rows of images and of texts.
  """

  rank: Mapping[str, np.ndarray]
  right_n: np.ndarray | None
  gap: float
  units: tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class World:
  """Everything that is measured on: images, their texts, and classes."""

  image: Coded
  text: Coded
  hits: tuple[retrieval.Hits, retrieval.Hits]  # One for each way.
  labelled: Labelled | None

  def see(self, change: Change | None) -> Seen:
    """Changes all codes alike, and measures; the stored rows for None."""
    units = self.image.units(change), self.text.units(change)
    rank = {
      way: retrieval.ranks(query_qD, candidate_cD, hit)
      for way, query_qD, candidate_cD, hit in zip(
        matching.WAYS, units, units[::-1], self.hits, strict=True
      )
    }
    right_n = None
    if (known := self.labelled) is not None:
      class_CD = zero_shot.class_rows(
        known.prompt.units(change), known.prompt_label_n
      )
      right_n = (
        zero_shot.ranks(known.image.units(change), known.label_n, class_CD) < 1
      )
    mean_image_D, mean_text_D = (u.mean(0, dtype=np.float64) for u in units)
    gap = float(np.linalg.norm(mean_image_D - mean_text_D))
    return Seen(rank, right_n, gap, units)

  def estimates(
    self, seen: Seen, base: Seen | None = None
  ) -> dict[str, bootstrap.Estimate]:
    """Every measure with its interval over groups; changes from `base`, if any.

    Changes are of the same rows, and so are their intervals. The gap's own
    change has none.
    """
    groups = dict(
      zip(matching.WAYS, (self.image.group_n, self.text.group_n), strict=True)
    )
    hit = lambda s, way: (s.rank[way][:, None] < np.array(matching.KS)) * 1.0
    found, first = {}, {}
    for way, group_n in groups.items():
      found_qK = hit(seen, way) - (hit(base, way) if base else 0)
      first[way] = found_qK[:, 0]
      for k, e in zip(
        matching.KS, bootstrap.means(found_qK, group_n), strict=True
      ):
        found[f'recall{k}_{way}'] = e
    found[RECALL] = _mean_of_ways(first, groups)
    if seen.right_n is not None:
      right_n = seen.right_n * 1.0 - (base.right_n if base else 0)
      found[ZERO_SHOT] = bootstrap.mean(right_n, self.labelled.image.group_n)
    n = sum(map(len, groups.values()))
    found[GAP] = (
      bootstrap.Estimate(seen.gap - base.gap, n)
      if base
      else _gap(*seen.units, *groups.values())
    )
    return found


def values(seen: Seen) -> dict[str, float]:
  """Every measure as a number, by name."""
  found = {
    f'recall{k}_{way}': float((rank_q < k).mean())
    for way, rank_q in seen.rank.items()
    for k in matching.KS
  }
  found[RECALL] = float(np.mean([found[f'recall1_{w}'] for w in seen.rank]))
  if seen.right_n is not None:
    found[ZERO_SHOT] = float(seen.right_n.mean())
  return found | {GAP: seen.gap}


def _side_by_side(parts) -> tuple[np.ndarray, int]:
  """Sums of each group and its rows, of parts that share groups: [G, ΣK]."""
  group_n = np.concatenate([group_n for _, group_n in parts])
  blocks = []
  for i, (x_nK, mine_n) in enumerate(parts):
    one_nK = np.concatenate([x_nK, np.ones((len(mine_n), 1))], axis=1)
    blocks.append(
      np.concatenate(
        [
          one_nK if i == j else np.zeros((len(other_n), one_nK.shape[1]))
          for j, (_, other_n) in enumerate(parts)
        ]
      )
    )
  _, sums_GK = bootstrap.sum_by(group_n, np.concatenate(blocks, axis=1))
  return sums_GK, len(group_n)


def _mean_of_ways(first, groups) -> bootstrap.Estimate:
  """Recall@1 both ways, which count the same, over groups that both share."""
  parts = [(first[way][:, None], group_n) for way, group_n in groups.items()]
  sums_G4, n = _side_by_side(parts)
  mean = lambda s: (s[..., 0] / s[..., 1] + s[..., 2] / s[..., 3]) / 2
  return bootstrap.estimate(mean, sums_G4, n)


def _gap(a_nD, b_nD, group_a_n, group_b_n) -> bootstrap.Estimate:
  sums_GK, n = _side_by_side([(a_nD, group_a_n), (b_nD, group_b_n)])
  d = a_nD.shape[1]

  def gap(s: np.ndarray) -> np.ndarray:
    a, b = s[..., : d + 1], s[..., d + 1 :]
    return np.linalg.norm(
      a[..., :-1] / a[..., -1:] - b[..., :-1] / b[..., -1:], axis=-1
    )

  return bootstrap.estimate(gap, sums_GK, n)


def _coded(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  stream: store_lib.Stream,
  rows_n: np.ndarray,
) -> Coded:
  encoded = encode.encode(sae, variables, stream, rows_n)
  groups = 'group' in stream.spec.columns
  return Coded(
    x_nD=encoded.x_nD,
    z_nS=encoded.z_nS,
    d_SD=np.asarray(variables['params']['w_dec']),
    bias_D=encode.bias(sae, variables, stream),
    group_n=stream.column('group')[rows_n] if groups else rows_n,
  )


def has_classes(store: store_lib.Store) -> bool:
  """Whether a store has both images with classes and their prompts."""
  return (
    'image' in store.streams
    and classifying.has_labels(store)
    and classifying.PROMPTS in store.streams
  )


def read_labelled(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  store: store_lib.Store,
  split: str,
  most: int,
  seed: int = 0,
) -> Labelled:
  """Up to `most` labelled images of a split, at random, and all prompts.

  Raises:
    UserError: no image has a class, or prompts do not fit the classes.
  """
  classes = classifying.read_classes(store)
  sides.check_rows(store['image'], store.path, split)
  label_n = classifying.read_labels(store, classes, split)
  at_n = np.flatnonzero(label_n >= 0)
  if len(at_n) > most:
    at_n = np.random.default_rng(seed).choice(at_n, most, replace=False)
    at_n.sort()
  image, prompts = store['image'], store[classifying.PROMPTS]
  return Labelled(
    image=_coded(sae, variables, image, image.rows(split)[at_n]),
    label_n=label_n[at_n],
    prompt=_coded(sae, variables, prompts, prompts.rows('all')),
    prompt_label_n=prompts.column(classifying.LABEL).astype(np.int64),
  )


def check_classes(store: store_lib.Store, path: str) -> store_lib.Store:
  """The store at `path`; UserError unless its classes are of the same model."""
  source = store_lib.Store(path)
  if not has_classes(source):
    raise errors.UserError(
      f'--classes_store={path} lacks labelled images or a stream '
      f'{classifying.PROMPTS}; it has {list(source.streams)}. Embed a data set '
      'with class names.'
    )
  for what in ('model', 'revision'):
    ours, theirs = store.about.get(what), source.about.get(what)
    if ours != theirs:
      raise errors.UserError(
        f'--classes_store={path} is of {what} {theirs!r}, {store.path} of '
        f'{ours!r}: embed both with one model.'
      )
  return source


def read_world(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  store: store_lib.Store,
  split: str,
  most: int,
  seed: int = 0,
) -> World:
  """Up to `most` images of a split, at random, with all their texts."""
  image, text = sides.encode_some_pairs(
    sae, variables, store, split, most, seed
  )
  hits = retrieval.hits(image.pair_n, text.pair_n, text.key_n)
  d_SD = np.asarray(variables['params']['w_dec'])
  coded = lambda side: Coded(
    x_nD=side.x_nD,
    z_nS=side.z_nS,
    d_SD=d_SD,
    bias_D=encode.bias(sae, variables, side.stream),
    group_n=side.group_n,
  )
  return World(coded(image), coded(text), (hits, hits.turned()), None)
