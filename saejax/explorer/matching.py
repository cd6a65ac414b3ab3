"""Which concept of one dictionary is which of another, by what they do."""

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from saejax.explorer import content
from saejax.explorer import sources

LEAST_FIRINGS = 10  # In the sample, for a concept to have a partner.
LEAST = 0.2  # Correlation of partners.
_LEAST_PAIRS = 100
_CELLS = 1 << 25  # Numbers held at once.
_SIDES = ('image', 'text')
_METHOD = (
  'largest correlation of codes over {n:,} matched pairs, within images and '
  'within texts; none below 0.2, or of concepts that fire there fewer than 10 '
  'times'
)


def _dense(
  e: Mapping[str, np.ndarray], side: str, rows: np.ndarray, index_S, n: int
) -> np.ndarray:
  """Codes [R, n] of some rows of the sample, by index of concept."""
  starts = e[f'sample_{side}_starts']
  concept, value = e[f'sample_{side}_concepts'], e[f'sample_{side}_values']
  z_Rn = np.zeros((len(rows), n), np.float32)
  for at, row in enumerate(rows.tolist()):
    run = slice(starts[row], starts[row + 1])
    own = index_S[concept[run]]
    z_Rn[at, own[own >= 0]] = value[run][own >= 0]
  return z_Rn


def standardised(z_image_Rn, z_text_Rn) -> np.ndarray:
  """Codes of both sides less each side's mean, of norm 1: [2R, n].

  0 for concepts that fire too rarely.
  """
  fires_n = (z_image_Rn > 0).sum(0) + (z_text_Rn > 0).sum(0)
  z_Qn = np.concatenate([z - z.mean(0) for z in (z_image_Rn, z_text_Rn)])
  norm_n = np.linalg.norm(z_Qn, axis=0)
  z_Qn /= np.where(norm_n > 0, norm_n, 1)
  z_Qn[:, fires_n < LEAST_FIRINGS] = 0
  return z_Qn


def partners(a_Qn: np.ndarray, b_Qm: np.ndarray):
  """The column of b most correlated with each of a, -1 for none; [n] each."""
  n, m = a_Qn.shape[1], b_Qm.shape[1]
  index_n, best_n = np.full(n, -1), np.zeros(n)
  if not m:
    return index_n, best_n
  block = max(_CELLS // m, 1)
  for start in range(0, n, block):
    found_bm = a_Qn[:, start : start + block].T @ b_Qm
    place_b = found_bm.argmax(1)
    value_b = found_bm[np.arange(len(place_b)), place_b]
    kept = value_b >= LEAST
    index_n[start : start + block] = np.where(kept, place_b, -1)
    best_n[start : start + block] = np.where(kept, np.minimum(value_b, 1), 0)
  return index_n, best_n


def match_all(
  analyses: Sequence[sources.Analysed], ids: Sequence[str]
) -> list[content.Match]:
  """Matches of all dictionaries whose stores hold the same data set.

  Their models and widths may differ.
  """
  found = []
  for i, a in enumerate(analyses):
    for j in range(i + 1, len(analyses)):
      b = analyses[j]
      if a.store.about.get('dataset') != b.store.about.get('dataset'):
        continue
      _, rows_a, rows_b = np.intersect1d(
        a.evidence['sample_pairs'],
        b.evidence['sample_pairs'],
        return_indices=True,
      )
      if len(rows_a) < _LEAST_PAIRS:
        continue
      z_a, z_b = (
        standardised(
          *(
            _dense(x.evidence, side, rows, x.index_S, len(x.live))
            for side in _SIDES
          )
        )
        for x, rows in ((a, rows_a), (b, rows_b))
      )
      for first, second, ends in ((z_a, z_b, (i, j)), (z_b, z_a, (j, i))):
        index_N, correlation_N = partners(first, second)
        found.append(
          content.Match(
            a=ids[ends[0]],
            b=ids[ends[1]],
            method=_METHOD.format(n=len(rows_a)),
            index_N=index_N,
            correlation_N=correlation_N,
          )
        )
  return found
