"""t-SNE of tens of thousands of directions, whose time grows with their number.

Forces between all points are sums of smooth kernels, which are evaluated on a
grid by FFT and interpolated from it (FIt-SNE; Linderman et al., 2019); nearest
neighbours are exact. 50,000 points of width 128 take about three minutes of one
core, half a minute of them for the neighbours, whose time grows with the square
of their number.
"""

import dataclasses

import numpy as np
import scipy.fft
import scipy.sparse

from saejax.analysis import neighbours

_PERPLEXITY, _NEAR = 10.0, 30
_EARLY, _LATE = 150, 350  # Steps, of which the first pull harder.
_PULL = 12.0
_MOMENTUM = 0.8
_SPACING = 0.4  # Of the grid; the kernels vary over 1.
_PAD = 2  # Nodes past the outermost points.
_BLOCK = 64  # Nodes by which the grid grows, so that kernels can be kept.
_NODES = 1024  # Of a side, at most: a wider map has a coarser grid.


def affinities(cosine_NK: np.ndarray, perplexity: float) -> np.ndarray:
  """Shares [N, K] of each point's neighbours, of that perplexity.

  By bisection of the width of a Gaussian of 1 − cosine; NaN cosines have none.
  """
  apart_NK = np.where(np.isfinite(cosine_NK), 1 - cosine_NK, np.inf)
  apart_NK = apart_NK - apart_NK.min(1, keepdims=True)
  wanted = np.log(perplexity)
  low_N, high_N = np.full(len(apart_NK), 1e-3), np.full(len(apart_NK), 1e9)
  share_NK = np.zeros_like(apart_NK)
  finite = np.where(np.isfinite(apart_NK), apart_NK, 0)
  for _ in range(50):
    beta_N = np.sqrt(low_N * high_N)
    share_NK = np.exp(-apart_NK * beta_N[:, None])
    total_N = share_NK.sum(1)
    share_NK /= total_N[:, None]
    mean_N = (share_NK * finite).sum(1)
    entropy_N = np.log(total_N) + beta_N * mean_N
    broad = entropy_N > wanted
    low_N, high_N = (
      np.where(broad, beta_N, low_N),
      np.where(broad, high_N, beta_N),
    )
  return share_NK


def _symmetric(index_NK, share_NK) -> scipy.sparse.csr_matrix:
  """(P + Pᵀ) / 2n, which adds up to 1."""
  n, k = index_NK.shape
  kept = index_NK.ravel() >= 0
  rows = np.repeat(np.arange(n), k)[kept]
  p = scipy.sparse.csr_matrix(
    (share_NK.ravel()[kept], (rows, index_NK.ravel()[kept])), shape=(n, n)
  )
  p = (p + p.T).tocsr()
  p.sort_indices()
  return (p / p.sum()).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class _Kernels:
  """Transforms of 1 / (1 + d²) and its square, on a grid of a size."""

  nodes: int
  spacing: float
  first: np.ndarray
  second: np.ndarray


def _kernels(nodes: int, spacing: float) -> _Kernels:
  # Twice as wide, so that the ends do not meet.
  at = np.arange(2 * nodes)
  apart = np.minimum(at, 2 * nodes - at).astype(np.float32) * spacing
  kernel = 1 / (1 + apart[:, None] ** 2 + apart[None] ** 2)
  transform = lambda x: scipy.fft.rfft2(x.astype(np.float32))
  return _Kernels(nodes, spacing, transform(kernel), transform(kernel**2))


def _repulsion(y_N2: np.ndarray, kernels: _Kernels | None):
  """Σ_j (y_i − y_j) / (1 + d²)², and Σ_ij 1 / (1 + d²) without i = j."""
  n = len(y_N2)
  low_2 = y_N2.min(0)
  extent = float((y_N2.max(0) - low_2).max())
  spacing = max(_SPACING, extent / (_NODES - 2 * _PAD - 1))
  wide = int(np.ceil(extent / spacing)) + 2 * _PAD + 1
  nodes = -(-wide // _BLOCK) * _BLOCK
  if kernels is None or (kernels.nodes, kernels.spacing) != (nodes, spacing):
    kernels = _kernels(nodes, spacing)
  place_N2 = (y_N2 - low_2) / spacing + _PAD
  near_N2 = np.rint(place_N2).astype(np.int64)
  t_N2 = (place_N2 - near_N2).astype(np.float32)
  # Lagrange's weights of the nearest node and of those beside it.
  weight_3N2 = np.stack(
    [t_N2 * (t_N2 - 1) / 2, 1 - t_N2**2, t_N2 * (t_N2 + 1) / 2]
  )
  corners = [
    (
      (near_N2[:, 0] + i - 1) * nodes + near_N2[:, 1] + j - 1,
      weight_3N2[i, :, 0] * weight_3N2[j, :, 1],
    )
    for i in range(3)
    for j in range(3)
  ]
  padded = (2 * nodes, 2 * nodes)

  def spread(charge_N):
    grid = np.zeros(nodes * nodes)
    for at_N, weight_N in corners:
      grid += np.bincount(at_N, weight_N * charge_N, minlength=nodes * nodes)
    grid = grid.astype(np.float32).reshape(nodes, nodes)
    return scipy.fft.rfft2(grid, padded)

  def gather(transformed):
    field = scipy.fft.irfft2(transformed, padded)[:nodes, :nodes].ravel()
    return sum(field[at_N] * weight_N for at_N, weight_N in corners)

  middle_2 = y_N2.mean(0)  # Smaller numbers lose fewer digits.
  y_N2 = y_N2 - middle_2
  ones = spread(np.ones(n, np.float32))
  total = float(gather(ones * kernels.first).sum(dtype=np.float64)) - n
  force_N2 = y_N2 * gather(ones * kernels.second)[:, None]
  for axis in (0, 1):
    force_N2[:, axis] -= gather(spread(y_N2[:, axis]) * kernels.second)
  return force_N2, max(total, 1e-9), kernels


def _attraction(
  y_N2: np.ndarray, p: scipy.sparse.csr_matrix, row_E
) -> np.ndarray:
  """Σ_j p_ij (y_i − y_j) / (1 + d²)."""
  apart_E2 = y_N2[row_E] - y_N2[p.indices]
  weight_E = p.data / (1 + np.einsum('EI,EI->E', apart_E2, apart_E2))
  pull = scipy.sparse.csr_matrix((weight_E, p.indices, p.indptr), p.shape)
  return np.asarray(pull.sum(1)) * y_N2 - pull @ y_N2


def _start(d_ND: np.ndarray, seed: int) -> np.ndarray:
  """The two principal axes, small; with noise that parts equal points."""
  centred_ND = d_ND - d_ND.mean(0)
  _, vectors_DD = np.linalg.eigh(centred_ND.T.astype(np.float64) @ centred_ND)
  y_N2 = centred_ND @ vectors_DD[:, :-3:-1]
  if y_N2.shape[1] < 2:
    y_N2 = np.pad(y_N2, ((0, 0), (0, 2 - y_N2.shape[1])))
  noise_N2 = np.random.default_rng(seed).normal(size=y_N2.shape)
  y_N2 = y_N2 / max(y_N2.std(), 1e-12) + 0.01 * noise_N2
  return (1e-2 * y_N2).astype(np.float32)


def fit(
  d_ND: np.ndarray, seed: int = 0, early: int = _EARLY, late: int = _LATE
) -> np.ndarray:
  """Coordinates [N, 2] by t-SNE on cosine distance, float32.

  Args:
    d_ND: directions, at least three.
    seed: of the noise at the start; the rest has none.
    early, late: steps, of which the early ones pull neighbours harder.
  """
  n = len(d_ND)
  d_ND = neighbours.unit(d_ND)
  k = min(_NEAR, n - 1)
  (near,) = neighbours.nearest(d_ND, [(np.ones(n, bool), k)])
  share_NK = affinities(near.cosine_NK, min(_PERPLEXITY, (k + 1) / 2))
  p = _symmetric(near.index_NK, share_NK)
  row_E = np.repeat(np.arange(n), np.diff(p.indptr))
  y_N2 = _start(d_ND, seed)
  step_N2, gain_N2 = np.zeros_like(y_N2), np.ones_like(y_N2)
  rate, kernels = max(n / (4 * _PULL), 10.0), None
  for t in range(early + late):
    pull = _PULL if t < early else 1.0
    away_N2, total, kernels = _repulsion(y_N2, kernels)
    gradient_N2 = 4 * (pull * _attraction(y_N2, p, row_E) - away_N2 / total)
    turned = np.sign(gradient_N2) == np.sign(step_N2)
    gain_N2 = np.maximum(np.where(turned, gain_N2 * 0.8, gain_N2 + 0.2), 0.01)
    step_N2 = _MOMENTUM * step_N2 - rate * gain_N2 * gradient_N2
    # No point leaps over the map.
    step_N2 = np.clip(step_N2, -5, 5).astype(np.float32)
    y_N2 = y_N2 + step_N2
    y_N2 = y_N2 - y_N2.mean(0)
  return y_N2
