"""Random sets of concepts that are like a chosen one, and tests against them.

What removing a set of concepts does says little by itself: strong concepts
matter more than weak ones. So a set is compared with random sets that are
matched concept by concept, in five features of training rows.
"""

import dataclasses

import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.spatial.distance

from saejax.analysis import energy
from saejax.analysis import modality

_AS_GOOD = 0.1  # Squared distance below which partners hardly differ.
FEATURES = ('energy', 'modality_score', 'rate', 'lost_r2', 'b0_mass')


@dataclasses.dataclass(frozen=True)
class Rows:
  """Rows [n, D] of one modality, their codes, and what these decode to."""

  x_nD: np.ndarray
  z_nS: scipy.sparse.csr_matrix
  xhat_nD: np.ndarray


def _lost_r2(rows: Rows, d_SD: np.ndarray) -> np.ndarray:
  """How much R² within the modality removing each concept alone costs: [S].

  ‖r + z_i D_i‖² − ‖r‖² of residuals r, summed over rows.
  """
  z_nS = rows.z_nS.astype(np.float64)
  residual_nD = rows.x_nD.astype(np.float64) - rows.xhat_nD
  square_S = np.asarray(z_nS.multiply(z_nS).sum(0)).ravel()
  cross_S = ((z_nS.T @ residual_nD) * d_SD).sum(1)
  added_S = 2 * cross_S + square_S * (d_SD**2).sum(1)
  away_nD = rows.x_nD - rows.x_nD.mean(0, dtype=np.float64)
  return added_S / max((away_nD**2).sum(), 1e-12)


def features(image: Rows, text: Rows, d_SD: np.ndarray) -> np.ndarray:
  """FEATURES of every concept, [S, 5].

  Energy, firing rate and lost R² with both modalities weighing the same; the
  modality score, NaN of a concept that never fires; and the B⁰ mass, Σ_j
  B⁰_ij + B⁰_ji, what it adds to the similarity of unmatched reconstructions.
  """
  d_SD = d_SD.astype(np.float64)
  a, b = (energy.usage(rows.z_nS) for rows in (image, text))
  mean_image_D, mean_text_D = (u.energy_S @ d_SD for u in (a, b))
  b0_S = a.energy_S * (d_SD @ mean_text_D) + b.energy_S * (d_SD @ mean_image_D)
  columns = (
    (a.energy_S + b.energy_S) / 2,
    modality.score(a.energy_S, b.energy_S),
    (a.rate_S + b.rate_S) / 2,
    (_lost_r2(image, d_SD) + _lost_r2(text, d_SD)) / 2,
    b0_S,
  )
  return np.stack(columns, axis=1)


def standardise(features_SF: np.ndarray) -> np.ndarray:
  """Features on scales to match on, of mean 0 and variance 1; live concepts.

  Logarithms of what is positive, asinh (of multiples of the median size) of
  what has both signs, the modality score as it is.
  """
  energy_S, score_S, rate_S, *signed = features_SF.T
  log = lambda x_S: np.log(np.maximum(x_S, 1e-12))
  median = lambda x_S: max(np.median(abs(x_S)), 1e-12)
  columns = [log(energy_S), score_S, log(rate_S)]
  columns += [np.arcsinh(x_S / median(x_S)) for x_S in signed]
  x_SF = np.stack(columns, axis=1)
  return (x_SF - x_SF.mean(0)) / np.maximum(x_SF.std(0), 1e-12)


def near(
  place_SF: np.ndarray, chosen_C: np.ndarray, others_n: np.ndarray, most: float
) -> np.ndarray:
  """How many other concepts are within `most` in every feature: int64 [C]."""
  away_Cn = scipy.spatial.distance.cdist(
    place_SF[chosen_C], place_SF[others_n], 'chebyshev'
  )
  return (away_Cn <= most).sum(1)


def draw(
  place_SF: np.ndarray,
  chosen_C: np.ndarray,
  pool_n: np.ndarray,
  draws: int,
  seed: int = 0,
) -> np.ndarray:
  """Random sets [R, C]: entry c of each is like concept c of the chosen ones.

  Each set takes half of the pool at random, so that sets differ even where few
  concepts are alike, and of it the distinct partners that are nearest in total,
  by squared distances that are each multiplied by a draw from 1/2 to 3/2. As
  partners go with places, the first k of a random set are matched to the first
  k chosen.

  Args:
    place_SF: features, standardised.
    chosen_C: concepts to match.
    pool_n: concepts to draw from; at least as many, and none of the chosen.
    draws: how many sets.
    seed: of the draws.
  """
  rng = np.random.default_rng(seed)
  cost_Cn = _AS_GOOD + scipy.spatial.distance.cdist(
    place_SF[chosen_C], place_SF[pool_n], 'sqeuclidean'
  )
  sets_RC = np.empty((draws, len(chosen_C)), np.int64)
  half = max((len(pool_n) + 1) // 2, len(chosen_C))
  for r in range(draws):
    some_h = rng.choice(len(pool_n), half, replace=False)
    drawn_Ch = cost_Cn[:, some_h] * rng.uniform(0.5, 1.5, (len(cost_Cn), half))
    _, at_C = scipy.optimize.linear_sum_assignment(drawn_Ch)
    sets_RC[r] = pool_n[some_h[at_C]]
  return sets_RC


def mean_differences(
  place_SF: np.ndarray, chosen_C: np.ndarray, sets_RC: np.ndarray
) -> np.ndarray:
  """Mean of the chosen minus that of the random sets, in deviations: [F].

  Deviations of all live concepts; below 0.25 is usually called well matched.
  """
  return place_SF[chosen_C].mean(0) - place_SF[sets_RC].mean((0, 1))


def rank_p(value: float, random_R: np.ndarray) -> float:
  """(1 + how many random values are as low or lower) / (1 + R)."""
  return float((1 + np.sum(random_R <= value)) / (1 + len(random_R)))


def holm(p_P: np.ndarray) -> np.ndarray:
  """p-values adjusted for their number (Holm, 1979): any dependence."""
  p_P = np.asarray(p_P, np.float64)
  order = np.argsort(p_P, kind='stable')
  steps = p_P[order] * np.arange(len(p_P), 0, -1)
  adjusted_P = np.empty(len(p_P))
  adjusted_P[order] = np.minimum(np.maximum.accumulate(steps), 1)
  return adjusted_P
