"""A second map, by modality, and groups of near concepts at three scales."""

from collections.abc import Sequence

import numpy as np
import scipy.cluster.hierarchy

LEVELS = (8, 32, 128)  # Groups, from the coarsest.
_ROUNDS = 40
_ORDER = 10  # Halvings of the square that a Hilbert curve runs through.


def hilbert(at_N2: np.ndarray) -> np.ndarray:
  """Place of points of the unit square along a Hilbert curve, int64 [N].

  Points that follow each other on the curve lie near each other.
  """
  side = 1 << _ORDER
  x, y = np.clip((at_N2.T * side).astype(np.int64), 0, side - 1)
  place_N = np.zeros(len(at_N2), np.int64)
  half = side // 2
  while half:
    rx, ry = (x & half) > 0, (y & half) > 0
    place_N += half * half * ((3 * rx) ^ ry)
    turned = ~ry & rx
    x, y = np.where(turned, side - 1 - x, x), np.where(turned, side - 1 - y, y)
    x, y = np.where(~ry, y, x), np.where(~ry, x, y)
    half //= 2
  return place_N


def by_modality(score_N: np.ndarray, joint_N2: np.ndarray) -> np.ndarray:
  """Places [N, 2] with the modality score for x.

  y runs evenly along a Hilbert curve through the joint map, so that concepts
  that are near there have a like height; an undefined score stands in the
  middle.
  """
  n = len(score_N)
  y_N = np.empty(n)
  y_N[np.argsort(hilbert(joint_N2), kind='stable')] = np.arange(n)
  x_N = np.nan_to_num(score_N, nan=0.5)
  return np.stack([x_N, (y_N + 0.5) / max(n, 1)], 1)


def _centres(at_N2: np.ndarray, k: int, seed: int) -> np.ndarray:
  """Places far from each other to begin with (k-means++)."""
  rng = np.random.default_rng(seed)
  chosen = [at_N2[rng.integers(len(at_N2))]]
  apart_N = ((at_N2 - chosen[0]) ** 2).sum(1)
  for _ in range(k - 1):
    total = apart_N.sum()
    share_N = apart_N / total if total > 0 else None
    chosen.append(at_N2[rng.choice(len(at_N2), p=share_N)])
    apart_N = np.minimum(apart_N, ((at_N2 - chosen[-1]) ** 2).sum(1))
  return np.stack(chosen)


def _kmeans(at_N2: np.ndarray, k: int, seed: int) -> np.ndarray:
  """Group of each point, numbered without gaps."""
  centre_K2 = _centres(at_N2, k, seed)
  label_N = np.zeros(len(at_N2), np.int64)
  for _ in range(_ROUNDS):
    # ‖x‖² is the same for all centres.
    far_NK = (centre_K2**2).sum(1)[None] - 2 * at_N2 @ centre_K2.T
    label_N = far_NK.argmin(1)
    count_K = np.bincount(label_N, minlength=k)
    sums_K2 = np.stack(
      [np.bincount(label_N, at_N2[:, i], minlength=k) for i in (0, 1)], 1
    )
    moved_K2 = sums_K2 / np.maximum(count_K, 1)[:, None]
    moved_K2 = np.where(count_K[:, None] > 0, moved_K2, centre_K2)
    if np.array_equal(moved_K2, centre_K2):
      break
    centre_K2 = moved_K2
  return np.unique(label_N, return_inverse=True)[1]


def clusters(
  at_N2: np.ndarray, levels: Sequence[int] = LEVELS, seed: int = 0
) -> np.ndarray:
  """Groups of points that lie together, nested: int32 [N, len(levels)].

  The finest are found by k-means and the coarser by joining those (Ward), so
  that a group of one level lies within one of the level before. Few points have
  fewer groups, of about six each at the finest.

  Args:
    at_N2: the map.
    levels: how many groups at most, from the coarsest.
    seed: where k-means begins.
  """
  n = len(at_N2)
  if not n:
    return np.zeros((0, len(levels)), np.int32)
  finest_N = _kmeans(at_N2, int(np.clip(n // 6, 1, levels[-1])), seed)
  k = int(finest_N.max()) + 1
  count_K = np.bincount(finest_N)
  centre_K2 = np.stack(
    [np.bincount(finest_N, at_N2[:, i]) / count_K for i in (0, 1)], 1
  )
  found = [finest_N]
  for most in reversed(levels[:-1]):
    wanted = max(min(most, k // 3), 1)
    label_K = np.zeros(k, np.int64)
    if k > 1:
      tree = scipy.cluster.hierarchy.ward(centre_K2)
      label_K = scipy.cluster.hierarchy.fcluster(tree, wanted, 'maxclust') - 1
    found.append(label_K[finest_N])
  return np.stack(found[::-1], 1).astype(np.int32)
