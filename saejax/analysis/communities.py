"""Communities of bridges: groups of concepts that meet among themselves.

Bridges are a bipartite graph of image concepts and text concepts, weighted by
their excess. A partition of both sides has the modularity

  Q = Σ_ij (A_ij − k_i d_j / W) [i and j are in one community] / W,

k and d the sums of A over either side and W its total (Barber, 2007,
arXiv 0707.1616, equation 15). Every sparse graph has some partition of high
modularity: what it says is told by graphs of the same degrees (`rewired`).
"""

import numpy as np
import scipy.sparse

_SWEEPS = 100  # Of labels; they settle after a few.
_TRADES = 5  # Of neighbours, for each image concept.


def _one_hot(label_n: np.ndarray, c: int) -> scipy.sparse.csr_matrix:
  n = len(label_n)
  return scipy.sparse.csr_matrix(
    (np.ones(n), (np.arange(n), label_n)), shape=(n, c)
  )


def _within(a_IJ, label_I, label_J) -> tuple[scipy.sparse.csr_matrix, ...]:
  """Weight between communities [C, C], and their sums on either side [C]."""
  c = int(max(label_I.max(initial=-1), label_J.max(initial=-1))) + 1
  a_CC = _one_hot(label_I, c).T @ a_IJ @ _one_hot(label_J, c)
  total = lambda axis: np.asarray(a_CC.sum(axis)).ravel()
  return a_CC.tocsr(), total(1), total(0)


def modularity(a_IJ, label_I: np.ndarray, label_J: np.ndarray) -> float:
  """Barber's modularity of a partition of both sides; NaN of no weight.

  Args:
    a_IJ: weights, sparse.
    label_I: community of each image concept, from 0.
    label_J: of each text concept.
  """
  weight = a_IJ.sum()
  if not weight:
    return float('nan')
  a_CC, k_C, d_C = _within(a_IJ, label_I, label_J)
  return float(a_CC.trace() / weight - k_C @ d_C / weight**2)


def _best_labels(a_IJ, label_J: np.ndarray) -> np.ndarray:
  """For each of one side, the community in which it adds most modularity.

  Given the labels of the other side, those of this one do not depend on each
  other. Only communities that something is joined to can be best.
  """
  c = int(label_J.max(initial=-1)) + 1
  gain_IC = (a_IJ @ _one_hot(label_J, c)).tocsr()
  k_I = np.asarray(a_IJ.sum(1)).ravel()
  d_C = np.asarray(gain_IC.sum(0)).ravel()
  of_I = np.repeat(np.arange(len(k_I)), np.diff(gain_IC.indptr))
  data = gain_IC.data - k_I[of_I] * d_C[gain_IC.indices] / d_C.sum()
  order = np.lexsort((gain_IC.indices, -data, of_I))  # Ties: lowest label.
  rows, first = np.unique(of_I[order], return_index=True)
  label_I = np.zeros(len(k_I), int)
  label_I[rows] = gain_IC.indices[order[first]]
  return label_I


def _merge(a_IJ, label_I: np.ndarray, label_J: np.ndarray):
  """Joins pairs of communities that are each other's best, if it helps."""
  a_CC, k_C, d_C = _within(a_IJ, label_I, label_J)
  weight = a_IJ.sum()
  both = (a_CC + a_CC.T).tocoo()
  off = both.row != both.col
  i, j, data = both.row[off], both.col[off], both.data[off]
  gain = data - (k_C[i] * d_C[j] + k_C[j] * d_C[i]) / weight
  order = np.lexsort((i + j, -gain))  # Of a tie, both ends see the same one.
  order = order[gain[order] > 1e-12 * weight]
  to_C = np.arange(len(k_C))
  best_C = np.full(len(k_C), -1)
  for e in order[::-1]:
    best_C[i[e]] = j[e]
  pairs = [c for c, b in enumerate(best_C) if c < b and best_C[b] == c]
  to_C[best_C[pairs]] = pairs
  return to_C[label_I], to_C[label_J], bool(pairs)


def _settle(a_IJ, label_I: np.ndarray, label_J: np.ndarray):
  """Labels of either side in turn, until modularity no longer rises."""
  best = -np.inf
  found = label_I, label_J
  for _ in range(_SWEEPS):
    label_I = _best_labels(a_IJ, label_J)
    label_J = _best_labels(a_IJ.T.tocsr(), label_I)
    q = modularity(a_IJ, label_I, label_J)
    if not q > best + 1e-12:
      break
    best, found = q, (label_I, label_J)
  return found


def _propagate(a_IJ) -> tuple[np.ndarray, np.ndarray]:
  label_J = np.arange(a_IJ.shape[1])
  label_I, label_J = _settle(a_IJ, None, label_J)
  while True:
    label_I, label_J, is_merged = _merge(a_IJ, label_I, label_J)
    if not is_merged:
      return label_I, label_J
    label_I, label_J = _settle(a_IJ, label_I, label_J)


def find(a_IJ) -> tuple[np.ndarray, np.ndarray]:
  """A partition of both sides of high modularity: labels from 0.

  Labels spread from either side, communities join while it helps (LPAb+; Liu
  and Murata, 2010, arXiv 0910.2298), and the better of the two is taken. The
  largest community by weight comes first. Nothing is left to chance.

  Args:
    a_IJ: weights, sparse, above 0, with none of its rows or columns empty.
  """
  a_IJ = scipy.sparse.csr_matrix(a_IJ, dtype=np.float64)
  one = _propagate(a_IJ)
  other = _propagate(a_IJ.T.tocsr())[::-1]
  label_I, label_J = max((one, other), key=lambda ls: modularity(a_IJ, *ls))
  a_CC, _, _ = _within(a_IJ, label_I, label_J)
  rank_C = np.empty(a_CC.shape[0], int)
  rank_C[np.argsort(-a_CC.diagonal(), kind='stable')] = np.arange(len(rank_C))
  return rank_C[label_I], rank_C[label_J]


def _couples(n: int, times: int, rng: np.random.Generator) -> list[list[int]]:
  """Pairs of different numbers below n, each as likely."""
  first = rng.integers(n, size=times)
  other = rng.integers(n - 1, size=times) if times else first
  return np.stack([first, other + (other >= first)], axis=1).tolist()


def rewired(
  i_E: np.ndarray, j_E: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
  """Other text ends of edges, so that every concept keeps its degree: j of [E].

  Pairs of image concepts trade the neighbours that only one of them has
  (curveball; Strona et al., 2014). An edge keeps its image end and its weight:
  text concepts are then not as strong as they were, which makes graphs of
  somewhat higher modularity; communities are found too seldom, not too often.
  """
  rows, place_E = np.unique(i_E, return_inverse=True)
  near = [set() for _ in rows]
  for i, j in zip(place_E.tolist(), j_E.tolist(), strict=True):
    near[i].add(j)
  trades = _TRADES * len(rows) if len(rows) > 1 else 0
  for a, b in _couples(len(rows), trades, rng):
    shared = near[a] & near[b]
    pool = sorted(near[a] ^ near[b])
    rng.shuffle(pool)
    cut = len(near[a]) - len(shared)
    near[a], near[b] = shared.union(pool[:cut]), shared.union(pool[cut:])
  drawn_E = np.empty(len(j_E), int)
  order = np.argsort(place_E, kind='stable')
  drawn_E[order] = [j for own in near for j in rng.permutation(sorted(own))]
  return drawn_E
