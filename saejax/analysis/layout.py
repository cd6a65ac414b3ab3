"""Places for concepts on a page: near each other where directions are."""

import numpy as np
import sklearn.manifold
import threadpoolctl

from saejax.analysis import layout_large

_LARGE = 5000  # Points from which scikit-learn's t-SNE takes too long.
_LEAST = 5  # Fewer points than this have no neighbourhoods to keep.


def concept_map(d_SD: np.ndarray, seed: int = 0) -> np.ndarray:
  """Coordinates [S, 2] in [0, 1] by t-SNE on cosine distance of directions.

  Distances on the map mean little; only who is near whom does.
  """
  s = len(d_SD)
  if s < _LEAST:
    return np.random.default_rng(seed).uniform(size=(s, 2))
  large = s > _LARGE
  at_S2 = layout_large.fit(d_SD, seed) if large else _small(d_SD, seed)
  low_2, high_2 = at_S2.min(0), at_S2.max(0)
  return (at_S2 - low_2) / np.maximum(high_2 - low_2, 1e-12)


def _small(d_SD: np.ndarray, seed: int) -> np.ndarray:
  """Coordinates by scikit-learn."""
  s = len(d_SD)
  # Principal axes need two dimensions and some spread.
  flat = min(d_SD.shape) < 3 or not np.ptp(d_SD, axis=0).any()
  tsne = sklearn.manifold.TSNE(
    metric='cosine',
    init='random' if flat else 'pca',
    perplexity=min(20, (s - 1) / 3),
    random_state=seed,
  )
  # Its threads wait for each other by spinning: on two cores they make it 3 to
  # 40 times slower than one, and more where something else is running.
  with threadpoolctl.threadpool_limits(1):
    return tsne.fit_transform(d_SD)
