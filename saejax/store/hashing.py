"""Counter-based randomness: hashes of integers, in NumPy.

A draw is a function of (seed, index, stream) and of nothing else, so any row
of anything can be made alone, in any order, on any machine.
"""

import functools

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix64(x: np.ndarray) -> np.ndarray:
  """SplitMix64's finaliser, a bijection of uint64 (Steele et al., 2014)."""
  x = np.asarray(x, np.uint64)
  with np.errstate(over='ignore'):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return x ^ (x >> np.uint64(31))


@functools.lru_cache(maxsize=1024)
def _salt(seed: int, stream: int) -> np.uint64:
  with np.errstate(over='ignore'):
    return mix64(mix64(np.uint64(seed % 2**64) * _GOLDEN + np.uint64(stream)))


def hash64(index: np.ndarray, *, seed: int = 0, stream: int = 0) -> np.ndarray:
  """Hashes integers of any shape to uint64, apart for each (seed, stream)."""
  with np.errstate(over='ignore'):
    index = np.asarray(index).astype(np.uint64) * _GOLDEN
    return mix64(index + _salt(int(seed), int(stream)))


def uniform(
  index_N: np.ndarray, n: int, *, seed: int = 0, stream: int = 0
) -> np.ndarray:
  """Uniform draws in [0, 1), float64 [N, n], one row per index."""
  index_N1 = hash64(index_N, seed=seed, stream=stream)[:, None]
  bits_NM = hash64(index_N1 + np.arange(n, dtype=np.uint64)[None])
  return (bits_NM >> np.uint64(11)).astype(np.float64) * 2.0**-53
