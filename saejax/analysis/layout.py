"""Places for concepts on a page: near each other where directions are."""

import numpy as np
import sklearn.manifold

_LEAST = 5  # Fewer points than this have no neighbourhoods to keep.


def concept_map(d_SD: np.ndarray, seed: int = 0) -> np.ndarray:
  """Coordinates [S, 2] in [0, 1] by t-SNE on cosine distance of directions.

  Distances on the map mean little; only who is near whom does.
  """
  s = len(d_SD)
  if s < _LEAST:
    return np.random.default_rng(seed).uniform(size=(s, 2))
  at_S2 = sklearn.manifold.TSNE(
    metric='cosine',
    init='random' if min(d_SD.shape) < 3 else 'pca',
    perplexity=min(20, (s - 1) / 3),
    random_state=seed,
  ).fit_transform(d_SD)
  low_2, high_2 = at_S2.min(0), at_S2.max(0)
  return (at_S2 - low_2) / np.maximum(high_2 - low_2, 1e-12)
