"""Nearest directions, and how many of them a map keeps near."""

import dataclasses

import numpy as np
import scipy.spatial

_CELLS = 1 << 24  # Cosines held at once.


@dataclasses.dataclass(frozen=True)
class Neighbours:
  """Nearest others first: indices [N, k], -1 past the last, and cosines."""

  index_NK: np.ndarray
  cosine_NK: np.ndarray


def unit(d_ND: np.ndarray) -> np.ndarray:
  """Rows of length 1, float32; rows of 0 stay."""
  norm_N1 = np.linalg.norm(d_ND, axis=1, keepdims=True)
  return (d_ND / np.maximum(norm_N1, 1e-12)).astype(np.float32)


def _top(cosine_bM: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
  """Places and values of the k largest of each row, largest first."""
  k = min(k, cosine_bM.shape[1])
  if not k:
    empty = np.zeros((len(cosine_bM), 0))
    return empty.astype(np.int64), empty
  part_bK = np.argpartition(-cosine_bM, k - 1, axis=1)[:, :k]
  value_bK = np.take_along_axis(cosine_bM, part_bK, 1)
  # By value, then by place, whatever the order of the partition.
  order_bK = np.lexsort((part_bK, -value_bK), axis=1)
  take = lambda x: np.take_along_axis(x, order_bK, 1)
  return take(part_bK), take(value_bK)


def nearest(
  d_ND: np.ndarray, groups: list[tuple[np.ndarray, int]]
) -> list[Neighbours]:
  """Nearest rows by cosine, within several groups of rows at once.

  Args:
    d_ND: directions.
    groups: for each, which rows belong to it, bool [N], and how many to find.
  """
  d_ND = unit(d_ND)
  n = len(d_ND)
  found = [
    Neighbours(np.full((n, k), -1), np.full((n, k), np.nan)) for _, k in groups
  ]
  members = [np.flatnonzero(own_N) for own_N, _ in groups]
  rows = max(_CELLS // max(n, 1), 1)
  for start in range(0, n, rows):
    block = slice(start, min(start + rows, n))
    cosine_bN = d_ND[block] @ d_ND.T
    own_b = np.arange(block.stop - start)
    cosine_bN[own_b, start + own_b] = -np.inf  # None is its own neighbour.
    for (_, k), at_M, f in zip(groups, members, found, strict=True):
      whole = len(at_M) == n
      place_bK, value_bK = _top(cosine_bN if whole else cosine_bN[:, at_M], k)
      is_other = np.isfinite(value_bK)
      index_bK = np.where(is_other, at_M[place_bK] if len(at_M) else -1, -1)
      width = index_bK.shape[1]
      f.index_NK[block, :width] = index_bK
      f.cosine_NK[block, :width] = np.where(is_other, value_bK, np.nan)
  return found


def preserved(index_NK: np.ndarray, at_N2: np.ndarray) -> np.ndarray:
  """Share of each point's k nearest directions among its k nearest on a map.

  The trustworthiness of a single point (Venna and Kaski, 2001), without its
  weights: 1 where the map keeps all, about k / N by chance. NaN where there is
  no other point.
  """
  n, k = index_NK.shape
  if n < 2 or not k:
    return np.full(n, np.nan)
  k = min(k, n - 1)
  _, near_NK = scipy.spatial.cKDTree(at_N2).query(at_N2, k + 1)
  near_NK = np.where(near_NK == np.arange(n)[:, None], -2, near_NK)
  kept_N = (index_NK[:, :k, None] == near_NK[:, None, :]).any(2).sum(1)
  return np.minimum(kept_N / k, 1.0)
