"""What there is to look at of a concept or a bridge: rows, at every strength.

Functions of codes alone, which choose by stated rules and never by looks.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np
import scipy.sparse
import scipy.stats

from saejax.analysis import bridges as bridges_lib

# Examples of each kind, by the activation's quantile among the rows in which
# the concept fires; 'near' are the weakest, 'none' are rows without it.
BANDS = {'top': 12, 'q99': 4, 'q90': 4, 'q50': 4, 'near': 4, 'none': 4}
_QUANTILES = {'q99': 0.99, 'q90': 0.9, 'q50': 0.5}
BINS = 24  # Of a histogram.
CELLS = ('both', 'left', 'right', 'neither')
PER_CELL = 6


def band_slices() -> dict[str, slice]:
  """Where the examples of each band stand among all."""
  ends = np.cumsum(list(BANDS.values())).tolist()
  return {
    name: slice(end - size, end)
    for (name, size), end in zip(BANDS.items(), ends, strict=True)
  }


def _band_places(fired: int) -> dict[str, np.ndarray]:
  """Places in the list of rows, strongest first; no place is in two bands."""
  places = {'top': np.arange(min(fired, BANDS['top']))}
  last = max(fired - BANDS['near'], len(places['top']))
  places['near'] = np.arange(last, fired)[::-1]
  free = np.ones(fired, bool)
  for taken in places.values():
    free[taken] = False
  for name, q in _QUANTILES.items():
    left = np.flatnonzero(free)
    centre = (1 - q) * (fired - 1)
    chosen = left[np.argsort(abs(left - centre), kind='stable')[: BANDS[name]]]
    places[name] = np.sort(chosen)
    free[chosen] = False
  return places


def _without(
  order_n: np.ndarray, start: int, key_n: np.ndarray, fired: np.ndarray
) -> np.ndarray:
  """The first rows of an order, from a start, whose keys never fired."""
  n, wanted, block = len(order_n), BANDS['none'], 4 * BANDS['none']
  chosen: list[int] = []
  seen = set()
  for at in range(0, n, block):
    rows = order_n[(start + np.arange(at, min(at + block, n))) % n]
    for row in rows[~np.isin(key_n[rows], fired)].tolist():
      if key_n[row] not in seen and len(chosen) < wanted:
        seen.add(key_n[row])
        chosen.append(row)
    if len(chosen) == wanted:
      break
  return np.array(chosen, np.int64)


def band_rows(
  z_nS: scipy.sparse.csr_matrix, key_n: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
  """Rows of every concept, from the strongest to those where it is silent.

  The bands of `BANDS` stand side by side. Of rows of equal key, which show or
  say the same, the strongest stands for all. A quantile's rows are those
  nearest to its place, and a row is in one band only: the top, the weakest, and
  then the quantiles, from the highest, take theirs.

  Args:
    z_nS: codes, not negative.
    key_n: equal for rows that are the same to the eye.
    seed: of the rows in which a concept does not fire.

  Returns:
    rows [S, X], -1 where a band has fewer, and activations [S, X].
  """
  n, s = z_nS.shape
  z_Sn, slices = z_nS.T.tocsr(), band_slices()
  order_n = np.random.default_rng(seed).permutation(n)
  start_S = np.random.default_rng(seed + 1).integers(0, max(n, 1), s)
  rows_SX = np.full((s, sum(BANDS.values())), -1)
  values_SX = np.zeros(rows_SX.shape, np.float32)
  for i in range(s):
    run = slice(z_Sn.indptr[i], z_Sn.indptr[i + 1])
    rows_f, values_f = z_Sn.indices[run], z_Sn.data[run]
    strongest = np.argsort(-values_f, kind='stable')
    keys, first = np.unique(key_n[rows_f[strongest]], return_index=True)
    kept = strongest[np.sort(first)]
    for name, places in _band_places(len(kept)).items():
      at = slices[name].start + np.arange(len(places))
      rows_SX[i, at] = rows_f[kept[places]]
      values_SX[i, at] = values_f[kept[places]]
    silent = _without(order_n, int(start_S[i]), key_n, keys)
    at = slices['none'].start + np.arange(len(silent))
    rows_SX[i, at] = silent
  return rows_SX, values_SX


@dataclasses.dataclass(frozen=True)
class Histograms:
  """Activations where a concept fires: counts [S, BINS] by modality.

  Bins are even in the logarithm from low to high; a concept that never fires
  has NaN bounds.
  """

  low_S: np.ndarray
  high_S: np.ndarray
  image_SB: np.ndarray
  text_SB: np.ndarray


def histograms(
  z_image_nS: scipy.sparse.csr_matrix, z_text_nS: scipy.sparse.csr_matrix
) -> Histograms:
  """Histograms of both modalities over bins that they share."""
  s = z_image_nS.shape[1]
  low_S, high_S = np.full(s, np.inf), np.full(s, -np.inf)
  entries = []
  for z_nS in (z_image_nS, z_text_nS):
    z = z_nS.tocoo()
    fires = z.data > 0
    concept, log = z.col[fires], np.log(z.data[fires].astype(np.float64))
    np.minimum.at(low_S, concept, log)
    np.maximum.at(high_S, concept, log)
    entries.append((concept, log))
  width_S = np.where(high_S > low_S, high_S - low_S, 1.0)
  counts = []
  for concept, log in entries:
    share = (log - low_S[concept]) / width_S[concept]
    bin_ = np.clip((share * BINS).astype(int), 0, BINS - 1)
    found = np.bincount(concept * BINS + bin_, minlength=s * BINS)
    counts.append(found.reshape(s, BINS).astype(np.int32))
  bound = lambda x: np.where(np.isfinite(x), np.exp(x), np.nan)
  return Histograms(bound(low_S), bound(high_S), *counts)


@dataclasses.dataclass(frozen=True)
class Tables:
  """2x2 tables of bridges over matched pairs, and what chance would give.

  `counts_P4` is in the order of `CELLS` and adds up to the pairs; `left` is
  where the image concept fires alone. `null_P3`: joint firings expected under
  shuffled pairing, and the bounds of 95 % of shuffles (hypergeometric).
  """

  counts_P4: np.ndarray
  null_P3: np.ndarray


def tables(m: bridges_lib.Matched, i_P: np.ndarray, j_P: np.ndarray) -> Tables:
  n = len(m.pairs_G)
  both_P, expected_P, image_S, text_S = bridges_lib.firing(m, i_P, j_P)
  left_P, right_P = image_S[i_P] - both_P, text_S[j_P] - both_P
  low_P, high_P = scipy.stats.hypergeom.interval(
    0.95, n, image_S[i_P], text_S[j_P]
  )
  return Tables(
    np.stack([both_P, left_P, right_P, n - both_P - left_P - right_P], 1),
    np.stack([expected_P, low_P, high_P], 1),
  )


def cell_pairs(
  a_G: np.ndarray, b_G: np.ndarray, seed: int = 0
) -> list[np.ndarray]:
  """Up to 6 pairs for each cell of a bridge's table, in the order of `CELLS`.

  Where both fire, those of the largest product; where one fires, those in which
  it fires most; where neither does, pairs at random.

  Args:
    a_G: the image concept's code in each pair.
    b_G: the text concept's.
    seed: of the random pairs.
  """
  strongest = lambda at, by: at[np.argsort(-by[at], kind='stable')][:PER_CELL]
  a, b = a_G > 0, b_G > 0
  silent = np.flatnonzero(~a & ~b)
  rng = np.random.default_rng(seed)
  return [
    strongest(np.flatnonzero(a & b), a_G * b_G),
    strongest(np.flatnonzero(a & ~b), a_G),
    strongest(np.flatnonzero(~a & b), b_G),
    rng.choice(silent, min(PER_CELL, len(silent)), replace=False),
  ]


def active(
  z_nS: scipy.sparse.csr_matrix, k: int
) -> tuple[np.ndarray, np.ndarray]:
  """The k strongest concepts of each row [n, k], -1 past the last; codes."""
  z_nS = z_nS.tocsr()
  concepts_nK = np.full((z_nS.shape[0], k), -1)
  values_nK = np.zeros(concepts_nK.shape, np.float32)
  for row in range(z_nS.shape[0]):
    run = slice(z_nS.indptr[row], z_nS.indptr[row + 1])
    order = np.argsort(-z_nS.data[run], kind='stable')[:k]
    order = order[z_nS.data[run][order] > 0]
    concepts_nK[row, : len(order)] = z_nS.indices[run][order]
    values_nK[row, : len(order)] = z_nS.data[run][order]
  return concepts_nK, values_nK


def steered(
  query_CD: np.ndarray,
  step_CD: np.ndarray,
  candidate_nD: np.ndarray,
  strengths: Sequence[float],
  k: int,
) -> np.ndarray:
  """What queries find when a direction is added to them: rows [C, T, k].

  Args:
    query_CD: a query for each concept.
    step_CD: what strength 1 adds to it.
    candidate_nD: rows that are searched, by cosine.
    strengths: T multiples of the step.
    k: how many are found, the nearest first; -1 past the last.
  """
  norm_n = np.linalg.norm(candidate_nD, axis=1)
  unit_nD = candidate_nD / np.maximum(norm_n, 1e-12)[:, None]
  found_CTK = np.full((len(query_CD), len(strengths), k), -1)
  for t, strength in enumerate(strengths):
    score_Cn = (query_CD + strength * step_CD) @ unit_nD.T
    order_CK = np.argsort(-score_Cn, axis=1, kind='stable')[:, :k]
    found_CTK[:, t, : order_CK.shape[1]] = order_CK
  return found_CTK
