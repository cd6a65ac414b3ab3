"""Bridges: pairs of concepts that meet across matched image and text.

B = E_γ[z_ιᵀ z_τ] ⊙ (D Dᵀ) over matched pairs γ (arXiv 2504.11695). Its sum is
the mean similarity of matched reconstructions, exactly. Much of it would be
there without any pairing, B⁰ = E_ι[z_i] E_τ[z_j] ⟨D_i, D_j⟩, the mean over all
shuffles; what pairing adds is the excess B − B⁰, by which bridges are ranked.

A pair γ is an image with the mean of its captions' codes, so an image counts
once however often it is described.
"""

import dataclasses

import numpy as np
import scipy.sparse
import scipy.special
import scipy.stats

from saejax.analysis import bootstrap

LEAST_EXPECTED = 5  # Joint firings by chance, below which nothing is tested.
_EXACT_BELOW = 50  # Expected joint firings up to which the exact test is used.


@dataclasses.dataclass(frozen=True)
class Matched:
  """Codes of matched pairs: row g of both is one image and its texts."""

  pairs_G: np.ndarray
  image_GS: scipy.sparse.csr_matrix
  text_GS: scipy.sparse.csr_matrix  # Mean over the image's texts.


def match(
  z_image_nS: scipy.sparse.csr_matrix,
  z_text_nS: scipy.sparse.csr_matrix,
  pair_image_n: np.ndarray,
  pair_text_n: np.ndarray,
) -> Matched:
  """Lines up images with the mean codes of their texts; others are left out."""
  texts_G, sums_GS = bootstrap.sum_by(pair_text_n, z_text_nS)
  count_G = np.unique(pair_text_n, return_counts=True)[1]
  mean_GS = scipy.sparse.diags(1 / count_G) @ sums_GS
  pairs_G, at_image, at_text = np.intersect1d(
    pair_image_n, texts_G, return_indices=True
  )
  return Matched(
    pairs_G=pairs_G,
    image_GS=z_image_nS[at_image].tocsr().astype(np.float64),
    text_GS=mean_GS.tocsr()[at_text],
  )


def _means(m: Matched) -> tuple[np.ndarray, np.ndarray]:
  mean_S = lambda z: np.asarray(z.mean(0), np.float64).ravel()
  return mean_S(m.image_GS), mean_S(m.text_GS)


@dataclasses.dataclass(frozen=True)
class Bridges:
  """Concept pairs (i, j) that fire together at least once, one entry each."""

  i_P: np.ndarray
  j_P: np.ndarray
  b_P: np.ndarray
  b0_P: np.ndarray
  cosine_P: np.ndarray  # ⟨D_i, D_j⟩; rows of D are unit.

  @property
  def excess_P(self) -> np.ndarray:
    return self.b_P - self.b0_P


def bridges(m: Matched, d_SD: np.ndarray) -> Bridges:
  """B, B⁰ and the cosine of every pair with some co-activation.

  Pairs that never fire together have B = 0 and excess −B⁰; they are left out,
  so memory follows what fires together and not S².
  """
  n = len(m.pairs_G)
  joint = (m.image_GS.T @ m.text_GS / max(n, 1)).tocoo()
  i_P, j_P = joint.row, joint.col
  mean_image_S, mean_text_S = _means(m)
  cosine_P = np.einsum('PD,PD->P', d_SD[i_P], d_SD[j_P], dtype=np.float64)
  return Bridges(
    i_P=i_P,
    j_P=j_P,
    b_P=joint.data * cosine_P,
    b0_P=mean_image_S[i_P] * mean_text_S[j_P] * cosine_P,
    cosine_P=cosine_P,
  )


def totals(m: Matched, d_SD: np.ndarray) -> dict[str, float]:
  """ΣB, ΣB⁰ and the similarity of reconstructions that ΣB must equal.

  `similarity` is E_γ⟨x̂_ι − b, x̂_τ − b⟩, computed from the reconstructions
  alone; `sum_b0` is what it would be for unmatched pairs.
  """
  d_SD = d_SD.astype(np.float64)
  image_GD, text_GD = m.image_GS @ d_SD, m.text_GS @ d_SD
  return {
    'sum_b': float(bridges(m, d_SD).b_P.sum()),
    'sum_b0': float(image_GD.mean(0) @ text_GD.mean(0)),
    'similarity': float((image_GD * text_GD).sum(1).mean()),
  }


def excess(
  m: Matched,
  d_SD: np.ndarray,
  image_S: np.ndarray | None = None,
  text_S: np.ndarray | None = None,
) -> bootstrap.Estimate:
  """Σ_ij B_ij − B⁰_ij over pairs of concepts, with its bounds over pairs γ.

  It is the mean over γ of ⟨x̂_ι − x̄_ι, x̂_τ − x̄_τ⟩ of what these concepts
  decode to, pairs that never fire together included; 0 without any pairing.

  Args:
    m: codes of matched pairs.
    d_SD: the dictionary.
    image_S: which image concepts, bool [S]; by default all.
    text_S: which text concepts, likewise.
  """

  def apart(z_GS, kept_S) -> np.ndarray:
    d_kD = d_SD.astype(np.float64)
    kept_S = np.ones(len(d_SD), bool) if kept_S is None else kept_S
    xhat_GD = z_GS @ (d_kD * kept_S[:, None])
    return xhat_GD - xhat_GD.mean(0)

  value_G = (apart(m.image_GS, image_S) * apart(m.text_GS, text_S)).sum(1)
  return bootstrap.mean(value_G, np.arange(len(value_G)))


def _entries(z_SS, i_P: np.ndarray, j_P: np.ndarray) -> np.ndarray:
  """Entries (i, j) of a sparse matrix, which cannot be asked for none."""
  if not len(i_P):
    return np.zeros(0, z_SS.dtype)
  return np.asarray(z_SS[i_P, j_P]).ravel()


def firing(m: Matched, i_P: np.ndarray, j_P: np.ndarray):
  """Joint firings of each pair, and those expected by chance."""
  n = len(m.pairs_G)
  image_GS, text_GS = m.image_GS != 0, m.text_GS != 0
  count = lambda z: np.asarray(z.sum(0)).ravel().astype(np.int64)
  count_image_S, count_text_S = count(image_GS), count(text_GS)
  joint_SS = (image_GS.T.astype(np.int64) @ text_GS.astype(np.int64)).tocsr()
  joint_P = _entries(joint_SS, i_P, j_P)
  expected_P = count_image_S[i_P] * count_text_S[j_P] / max(n, 1)
  return joint_P, expected_P, count_image_S, count_text_S


def correlations(m: Matched, i_P: np.ndarray, j_P: np.ndarray) -> np.ndarray:
  """Pearson's r of an image concept's and a text concept's codes: [P].

  What B has without the concepts' scale: r ⊙ D Dᵀ is its correlation variant.
  NaN where a concept is constant over the pairs.
  """
  n = max(len(m.pairs_G), 1)
  image_GS = m.image_GS.astype(np.float64)
  text_GS = m.text_GS.astype(np.float64)
  mean_image_S, mean_text_S = _means(m)
  spread = lambda z, mean_S: np.sqrt(
    np.maximum(np.asarray(z.multiply(z).sum(0)).ravel() / n - mean_S**2, 0)
  )
  joint_P = _entries((image_GS.T @ text_GS).tocsr(), i_P, j_P) / n
  covariance_P = joint_P - mean_image_S[i_P] * mean_text_S[j_P]
  scale_P = spread(image_GS, mean_image_S)[i_P]
  scale_P = scale_P * spread(text_GS, mean_text_S)[j_P]
  with np.errstate(invalid='ignore', divide='ignore'):
    return np.where(scale_P > 1e-12, covariance_P / scale_P, np.nan)


def mass(b: Bridges, real_P: np.ndarray, s: int) -> dict[str, np.ndarray]:
  """Excess that each concept's real bridges carry, on either side: [s] each.

  `bridge_mass_image` sums over the bridges whose image concept it is,
  `bridge_mass_text` over those whose text concept it is.
  """
  total = lambda at_P: np.bincount(
    at_P[real_P], weights=b.excess_P[real_P], minlength=s
  )
  return {
    'bridge_mass_image': total(b.i_P), 'bridge_mass_text': total(b.j_P),
  }  # fmt: skip


def p_values(m: Matched, b: Bridges) -> np.ndarray:
  """One-sided p of each pair's co-activation under shuffled pairing; [P].

  The larger of two tests: of co-firing, by the hypergeometric distribution
  that shuffling gives it, exactly; and, where enough joint firings are
  expected for a normal approximation, of Σ z_i z_j by its mean and variance
  over all shuffles. NaN where fewer than 5 joint firings are expected.
  """
  n = len(m.pairs_G)
  joint_P, expected_P, count_image_S, count_text_S = firing(m, b.i_P, b.j_P)
  p_P = np.full(len(b.i_P), np.nan)
  tested = expected_P >= LEAST_EXPECTED
  p_P[tested] = scipy.stats.hypergeom.sf(
    joint_P[tested] - 1,
    n,
    count_image_S[b.i_P[tested]],
    count_text_S[b.j_P[tested]],
  )
  mean_image_S, mean_text_S = _means(m)
  square = lambda z: np.asarray(z.multiply(z).mean(0)).ravel()
  var_image_S = square(m.image_GS) - mean_image_S**2
  var_text_S = square(m.text_GS) - mean_text_S**2
  joint = (m.image_GS.T @ m.text_GS / n).tocsr()
  covariance_P = (
    _entries(joint, b.i_P, b.j_P) - mean_image_S[b.i_P] * mean_text_S[b.j_P]
  )
  variance_P = var_image_S[b.i_P] * var_text_S[b.j_P] / max(n - 1, 1)
  with np.errstate(invalid='ignore', divide='ignore'):
    z_P = covariance_P / np.sqrt(variance_P)
  many = tested & (expected_P >= _EXACT_BELOW)
  p_P[many] = np.maximum(p_P[many], scipy.stats.norm.sf(z_P[many]))
  return p_P


def tested_pairs(m: Matched) -> int:
  """How many pairs are tested, those that never fire together included."""
  none = np.zeros(0, np.int64)
  _, _, count_image_S, count_text_S = firing(m, none, none)
  least = LEAST_EXPECTED * len(m.pairs_G)
  image_S, text_S = np.sort(count_image_S), np.sort(count_text_S)
  image_S = image_S[image_S > 0]
  needed_S = np.searchsorted(text_S, -(-least // image_S), side='left')
  return int((len(text_S) - needed_S).sum())


def significant(p_P: np.ndarray, tests: int, level: float = 0.05) -> np.ndarray:
  """Benjamini–Yekutieli: false discoveries at most `level`, any dependence."""
  tested = np.flatnonzero(np.isfinite(p_P))  # The rest never has a rank.
  order = tested[np.argsort(p_P[tested])]
  harmonic = scipy.special.digamma(max(tests, 1) + 1) + np.euler_gamma
  rank = np.arange(1, len(order) + 1)
  under = np.flatnonzero(p_P[order] * (tests * harmonic) <= level * rank)
  accepted = np.zeros(len(p_P), bool)
  if len(under):
    accepted[order[: under[-1] + 1]] = True
  return accepted
