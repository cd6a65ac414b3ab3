"""Near-duplicate images: a hash that survives re-encoding, groups that merge.

Copies of a picture that differ in size or compression must fall into one
split, or the test rows have been seen in training. Merging too much costs
little: pictures that only look alike then share a split.
"""

import itertools
import math

import numpy as np
from PIL import Image

_SIDE = 8
_BITS = _SIDE * _SIDE
# Levels out of 255 by which neighbours must differ: more than compression
# leaves of noise in the mean of a cell, so that flat areas hash alike.
_MARGIN = 1.0
_KEY_BITS = 20  # Enough that few of a million hashes share a key by chance.
_MAX_TABLES = 500
MAX_DISTANCE = 16  # Pictures that have nothing in common are 32 apart.


def dhash(image: Image.Image) -> np.uint64:
  """Difference hash: whether each cell is darker than the one to its right.

  The picture is brought to 8 rows of 9 cells of mean brightness, so that size,
  shape, compression and small changes of colour matter little; mirrored or
  cropped pictures hash apart. Pictures without contrast all hash to 0.
  """
  gray = image.convert('L').convert('F')
  cells_89 = np.asarray(
    gray.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX), np.float32
  )
  darker_64 = (np.diff(cells_89, axis=1) > _MARGIN).ravel()
  return np.packbits(darker_64).view('>u8').astype(np.uint64)[0]


def _tables(distance: int) -> list[tuple[tuple[int, int], ...]]:
  """Sets of bit ranges, of which hashes within a distance agree on one.

  Of d + m bands at most d differ, so m agree (the pigeonhole principle); the
  smallest m that makes keys long is taken, while there are few sets.
  """
  agree = 1
  while (
    agree * _BITS // (distance + agree) < _KEY_BITS
    and math.comb(distance + agree + 1, agree + 1) <= _MAX_TABLES
  ):
    agree += 1
  bands = distance + agree
  edges = [_BITS * b // bands for b in range(bands + 1)]
  ranges = list(itertools.pairwise(edges))
  return list(itertools.combinations(ranges, agree))


def _near_pairs(
  hash_U: np.ndarray, distance: int
) -> tuple[np.ndarray, np.ndarray]:
  """Places (i, j) of different hashes within a distance: int64 [E] each."""
  found = [np.empty((2, 0), np.int64)]
  for table in _tables(distance) if distance else ():
    mask = np.uint64(sum((1 << stop) - (1 << start) for start, stop in table))
    key_U = hash_U & mask
    order_U = np.argsort(key_U, kind='stable')
    key_U = key_U[order_U]
    at = np.arange(len(key_U) - 1)
    step = 1
    # Sorted: whoever has no equal `step` places on has none further on.
    while len(at := at[key_U[at] == key_U[at + step]]):
      pair_2E = np.stack([order_U[at], order_U[at + step]])
      apart_E = np.bitwise_count(hash_U[pair_2E[0]] ^ hash_U[pair_2E[1]])
      found.append(pair_2E[:, apart_E <= distance])
      step += 1
      at = at[at + step < len(key_U)]
  return tuple(np.concatenate(found, axis=1))


def _components(n: int, a_E: np.ndarray, b_E: np.ndarray) -> np.ndarray:
  """The smallest node that each of n nodes is joined to: int64 [n]."""
  root_n = np.arange(n)
  while True:
    low_E = np.minimum(root_n[a_E], root_n[b_E])
    high_E = np.maximum(root_n[a_E], root_n[b_E])
    apart_E = low_E != high_E
    if not apart_E.any():
      return root_n
    np.minimum.at(root_n, high_E[apart_E], low_E[apart_E])
    while not np.array_equal(above_n := root_n[root_n], root_n):
      root_n = above_n


def merge_groups(
  hash_N: np.ndarray, group_N: np.ndarray, distance: int = 3
) -> np.ndarray:
  """Merges groups that have images within a Hamming distance of each other.

  Exact and transitive: groups joined by a chain of such images merge.

  Args:
    hash_N: hashes of the images, uint64.
    group_N: their groups, integers.
    distance: bits that may differ, 0 to MAX_DISTANCE.

  Returns:
    int64 [N]: for each image the smallest group of those merged with its own.
  """
  hash_N = np.asarray(hash_N, np.uint64)
  group_N = np.asarray(group_N, np.int64)
  if hash_N.shape != group_N.shape or hash_N.ndim != 1:
    raise ValueError(
      f'Hashes have shape {hash_N.shape} and groups {group_N.shape}; expected '
      'one hash and one group for each image.'
    )
  if not 0 <= distance <= MAX_DISTANCE:
    raise ValueError(f'distance={distance} is outside 0…{MAX_DISTANCE}.')
  groups_G, g_N = np.unique(group_N, return_inverse=True)
  hash_U, u_N = np.unique(hash_N, return_inverse=True)
  near_E, to_E = _near_pairs(hash_U, distance)
  # Groups are the first nodes and hashes the others, so that the smallest
  # node of a component is its smallest group.
  first = len(groups_G)
  root_n = _components(
    first + len(hash_U),
    np.concatenate([g_N, first + near_E]),
    np.concatenate([first + u_N, first + to_E]),
  )
  return groups_G[root_n[g_N]]
