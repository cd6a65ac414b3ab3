"""How well images and their texts find each other: recall, cosines, the gap."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any
from typing import TypeVar

import numpy as np

from saejax import results
from saejax.analysis import bootstrap
from saejax.analysis import retrieval
from saejax.pipeline import sides

KS = (1, 5, 10)
WAYS = ('image_to_text', 'text_to_image')
Entries = dict[str, dict[str, Any]]
T = TypeVar('T', bound=sides.Rows)


@dataclasses.dataclass(frozen=True)
class Retrieved:
  """How queries found their own among all rows of the other modality.

  Queries that have none of their own there are left out.

  Attributes:
    rank_q: of the best hit, 0 the best.
    hits_q: how many candidates answer the query.
    group_q: the query's group.
    candidates: how many there are.
  """

  rank_q: np.ndarray
  hits_q: np.ndarray
  group_q: np.ndarray
  candidates: int

  def recall(self, ks: Sequence[int]) -> list[bootstrap.Estimate]:
    """The share of queries with a hit among the first k, for each k."""
    found_qK = self.rank_q[:, None] < np.asarray(ks)
    return bootstrap.means(found_qK, self.group_q)

  def chance(self, ks: Sequence[int]) -> np.ndarray:
    """The same of candidates in a random order, [K]."""
    return retrieval.chance(self.hits_q, self.candidates, ks)


def unit(rows: T) -> T:
  """The same rows, scaled to length one."""
  return dataclasses.replace(rows, x_nD=retrieval.unit_rows(rows.x_nD))


def retrieve(image: sides.Rows, text: sides.Rows) -> dict[str, Retrieved]:
  """Retrieval both ways, by the inner products of unit rows."""
  hit = retrieval.hits(image.pair_n, text.pair_n, text.key_n)
  found = {}
  for way, query, candidate, hits in (
    (WAYS[0], image, text, hit),
    (WAYS[1], text, image, hit.turned()),
  ):
    rank_q = retrieval.ranks(query.x_nD, candidate.x_nD, hits)
    has_q = rank_q >= 0
    found[way] = Retrieved(
      rank_q=rank_q[has_q],
      hits_q=hits.counts()[has_q],
      group_q=query.group_n[has_q],
      candidates=len(candidate.x_nD),
    )
  return found


def recall_results(found: Mapping[str, Retrieved], split: str) -> Entries:
  """Recall@1, 5, 10 both ways, and what chance would give."""
  entries = {}
  for way, retrieved in found.items():
    n = len(retrieved.rank_q)
    for k, recall, chance in zip(
      KS, retrieved.recall(KS), retrieved.chance(KS), strict=True
    ):
      entries[f'{way}/recall@{k}'] = results.entry(recall, split=split)
      entries[f'{way}/chance@{k}'] = results.entry(
        float(chance), n=n, split=split
      )
  return entries


def cosine_results(image: sides.Rows, text: sides.Rows, split: str) -> Entries:
  """Cosines of pairs and of all, and the gap between means, of unit rows."""
  a_nD, b_nD = image.x_nD, text.x_nD
  pairs, at_pair = np.unique(image.pair_n, return_index=True)
  at = np.minimum(np.searchsorted(pairs, text.pair_n), len(pairs) - 1)
  paired = pairs[at] == text.pair_n
  own_nD = a_nD[at_pair[at]]
  cosine_n = np.einsum('nd,nd->n', own_nD, b_nD)[paired]
  mean_a_D, mean_b_D = (x_nD.mean(0, dtype=np.float64) for x_nD in (a_nD, b_nD))
  return {
    'paired_cosine': results.entry(
      bootstrap.mean(cosine_n, text.group_n[paired]), split=split
    ),
    'unpaired_cosine': results.entry(
      float(mean_a_D @ mean_b_D), n=len(a_nD) * len(b_nD), split=split
    ),
    'gap': results.entry(
      float(np.linalg.norm(mean_a_D - mean_b_D)),
      n=len(a_nD) + len(b_nD),
      split=split,
    ),
  }
