"""Splits: a function of the group, so that no image straddles two of them."""

from collections.abc import Sequence

import numpy as np

from saejax.store import hashing

SPLITS = ('train', 'val', 'test')
DEFAULT_FRACTIONS = (0.9, 0.05, 0.05)
_STREAM = 0x51  # Keeps these draws apart from all others.


def assign_splits(
  group_N: np.ndarray,
  fractions: Sequence[float] = DEFAULT_FRACTIONS,
  seed: int = 0,
) -> np.ndarray:
  """Hashes groups to split codes, int8 [N]: the index into SPLITS."""
  fractions = np.asarray(fractions, np.float64)
  if len(fractions) != len(SPLITS) or not (fractions >= 0).all():
    raise ValueError(
      f'Split fractions must be three non-negative numbers for {SPLITS}; '
      f'got {fractions.tolist()}.'
    )
  if abs(fractions.sum() - 1) > 1e-6:
    raise ValueError(
      f'Split fractions must add up to 1; {fractions.tolist()} add up to '
      f'{fractions.sum():g}.'
    )
  u_N = hashing.uniform(group_N, 1, seed=seed, stream=_STREAM)[:, 0]
  edges = np.cumsum(fractions)[:-1]
  return np.searchsorted(edges, u_N, side='right').astype(np.int8)
