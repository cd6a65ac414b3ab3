"""Names of concepts from words, and how well a name tells when it fires.

A name is chosen on some rows and scored on others: the area under the ROC of
the concept's activation for "the caption holds the name".
"""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import re

import numpy as np
import scipy.sparse
import scipy.stats

from saejax.analysis import exemplars

TOP_ROWS = 50  # Strongest rows whose captions name a concept.
PRECISION_ROWS = 20  # Strongest rows of which the share with the name is given.
_PRIOR_ROWS = float(TOP_ROWS)  # What the Dirichlet prior weighs.
_BETTER = 1.1  # A phrase's score over that of each of its words, to be taken.
_CELLS = 1 << 22  # Of a table of concepts by names held at once.
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


def words(text: str) -> list[str]:
  """Words of a text in lower case, without punctuation."""
  return _WORD.findall(text.lower())


def n_grams(text: str, lengths: Iterable[int]) -> set[str]:
  """Runs of words of the given lengths, each once."""
  found = words(text)
  return {
    ' '.join(found[i : i + n])
    for n in lengths
    for i in range(len(found) - n + 1)
  }


def common_n_grams(
  texts: Sequence[str], lengths: Sequence[int], least: int, most: int
) -> list[str]:
  """The n-grams that the most texts hold, at least `least`; sorted by name."""
  counts: dict[str, int] = {}
  for text in texts:
    for gram in n_grams(text, lengths):
      counts[gram] = counts.get(gram, 0) + 1
  kept = sorted(g for g, count in counts.items() if count >= least)
  return sorted(sorted(kept, key=lambda g: -counts[g])[:most])


def presence(
  texts: Sequence[str], vocabulary: Sequence[str]
) -> scipy.sparse.csr_matrix:
  """Which texts hold which entries as a run of words: 0 and 1, [n, W]."""
  place: dict[str, list[int]] = {}
  for w, entry in enumerate(vocabulary):
    place.setdefault(' '.join(words(entry)), []).append(w)
  lengths = {len(entry.split(' ')) for entry in place}
  rows, columns = [], []
  for i, text in enumerate(texts):
    held = [w for g in n_grams(text, lengths) for w in place.get(g, ())]
    rows += [i] * len(held)
    columns += held
  return scipy.sparse.csr_matrix(
    (np.ones(len(rows)), (rows, columns)), shape=(len(texts), len(vocabulary))
  )


def _ranks_above_zero(z_nS) -> scipy.sparse.csc_matrix:
  """Ranks of non-negative codes, less that of the column's zeros, in place."""
  z_nS = scipy.sparse.csc_matrix(z_nS, dtype=np.float64, copy=True)
  z_nS.eliminate_zeros()
  n = z_nS.shape[0]
  for s in range(z_nS.shape[1]):
    run = slice(z_nS.indptr[s], z_nS.indptr[s + 1])
    zeros = n - (run.stop - run.start)
    rank_n = zeros + scipy.stats.rankdata(z_nS.data[run])
    z_nS.data[run] = rank_n - (zeros + 1) / 2
  return z_nS


def auroc(z_nS, has_nW) -> np.ndarray:
  """Area under the ROC of every concept for every column of 0 and 1: [S, W].

  What `factors.auroc` gives, for codes that are not negative: only active rows
  are touched. Ties count half; NaN where a column is constant.
  """
  n = has_nW.shape[0]
  has_nW = scipy.sparse.csr_matrix(has_nW, dtype=np.float64)
  count_W = np.asarray(has_nW.sum(0)).ravel()
  rank_nS = _ranks_above_zero(z_nS)
  zeros_S = n - np.diff(rank_nS.indptr)
  above_SW = (rank_nS.T @ has_nW).toarray()
  above_SW += (zeros_S[:, None] + 1) / 2 * count_W
  above_SW -= count_W * (count_W + 1) / 2
  with np.errstate(invalid='ignore', divide='ignore'):
    return above_SW / (count_W * (n - count_W))


@dataclasses.dataclass(frozen=True)
class Scores:
  """Of each concept's own name; NaN where it has none or it cannot be scored.

  Attributes:
    area_S: AUROC of the activation for rows that hold the name.
    null_S: the mean of that over the names of all other concepts.
    drawn_S: that for one other concept's name, drawn without replacement.
    precision_S: share of the PRECISION_ROWS strongest rows that hold the name.
    rate_S: share of all rows that hold it.
  """

  area_S: np.ndarray
  null_S: np.ndarray
  drawn_S: np.ndarray
  precision_S: np.ndarray
  rate_S: np.ndarray


def own_scores(z_nS, has_nW, index_S: np.ndarray, seed: int = 0) -> Scores:
  """Scores each concept's name, and the names of others beside it.

  Args:
    z_nS: codes that are not negative.
    has_nW: which rows hold which name, 0 and 1.
    index_S: each concept's name, -1 for none.
    seed: of the draw of others' names.
  """
  z_nS = scipy.sparse.csc_matrix(z_nS)
  named_s = np.flatnonzero(index_S >= 0)
  used_U, place_s = np.unique(index_S[named_s], return_inverse=True)
  has_nU = scipy.sparse.csc_matrix(has_nW)[:, used_U]
  rate_U = np.asarray(has_nU.mean(0)).ravel()
  area, null, drawn, precision, rate = np.full((5, len(index_S)), np.nan)
  # Turned round by one: everyone has another's name.
  order = np.random.default_rng(seed).permutation(len(named_s))
  other_s = np.empty(len(named_s), int)
  other_s[order] = np.roll(order, 1)
  times_U = np.bincount(place_s, minlength=len(used_U))
  block = max(_CELLS // max(len(used_U), 1), 1)
  for start in range(0, len(named_s), block):
    at = np.arange(start, min(start + block, len(named_s)))
    area_bU = auroc(z_nS[:, named_s[at]], has_nU)
    each = np.arange(len(at))
    own_b, to = area_bU[each, place_s[at]], named_s[at]
    area[to], rate[to] = own_b, rate_U[place_s[at]]
    # Over the other concepts, of which some may have the same name.
    weight_bU = np.isfinite(area_bU) * times_U
    weight_bU[each, place_s[at]] -= np.isfinite(own_b)
    total_b = (np.nan_to_num(area_bU) * weight_bU).sum(1)
    with np.errstate(invalid='ignore'):
      null[to] = total_b / weight_bU.sum(1)
    if len(named_s) > 1:
      drawn[to] = area_bU[each, place_s[other_s[at]]]
  top_sK, _ = exemplars.top_rows(z_nS[:, named_s], PRECISION_ROWS)
  for s, rows_K, u in zip(named_s, top_sK, place_s, strict=True):
    rows_k = rows_K[rows_K >= 0]
    if len(rows_k):
      precision[s] = has_nU[:, [u]][rows_k].mean()
  return Scores(area, null, drawn, precision, rate)


def log_odds(
  inside_SW: np.ndarray, total_W: np.ndarray, rows_S: np.ndarray, rows: int
) -> np.ndarray:
  """How much commoner words are in some rows than in the rest: z-scores [S, W].

  The log-odds ratio with an informative Dirichlet prior, over its standard
  error (Monroe, Colaresi and Quinn, 2008, section 3.5), of rows that hold a
  word: the prior is the share of all rows that do, and weighs TOP_ROWS rows.

  Args:
    inside_SW: rows of each set that hold the word.
    total_W: rows of all that hold it.
    rows_S: rows of each set.
    rows: rows of all.
  """
  prior_W = _PRIOR_ROWS * total_W / max(rows, 1)
  rows_S1 = rows_S[:, None]
  a_SW, b_SW = inside_SW + prior_W, total_W - inside_SW + prior_W
  a_not_SW = rows_S1 + _PRIOR_ROWS - a_SW
  b_not_SW = rows - rows_S1 + _PRIOR_ROWS - b_SW
  with np.errstate(invalid='ignore', divide='ignore'):
    delta_SW = np.log(a_SW / a_not_SW) - np.log(b_SW / b_not_SW)
    # Words may be in most rows: what is small where words are rare is kept.
    square_SW = 1 / a_SW + 1 / a_not_SW + 1 / b_SW + 1 / b_not_SW
    return delta_SW / np.sqrt(square_SW)


def parts(vocabulary: Sequence[str]) -> np.ndarray:
  """Places of the single words of every phrase, -1 for none: [W, P]."""
  place = {' '.join(words(entry)): w for w, entry in enumerate(vocabulary)}
  split = [words(entry) for entry in vocabulary]
  longest = max(map(len, split), default=1)
  found_WP = np.full((len(vocabulary), longest), -1)
  for w, own in enumerate(split):
    if len(own) > 1:
      found_WP[w, : len(own)] = [place.get(word, -1) for word in own]
  return found_WP


def best_names(score_SW: np.ndarray, part_WP: np.ndarray) -> np.ndarray:
  """The name of the highest score, words before phrases: [S].

  A phrase counts only where it scores a tenth more than each of its words, or
  "blue thing" would take the place of "blue" by chance.
  """
  beside_SW = np.zeros_like(score_SW)
  for part_W in part_WP.T:
    has = np.flatnonzero(part_W >= 0)
    own_SW = score_SW[:, part_W[has]]
    beside_SW[:, has] = np.maximum(beside_SW[:, has], own_SW)
  kept_SW = np.where(score_SW >= _BETTER * beside_SW, score_SW, -np.inf)
  is_word_W = (part_WP < 0).all(1)
  return np.where(is_word_W, score_SW, kept_SW).argmax(1)


def distinctive(
  z_nS,
  has_nW,
  part_WP: np.ndarray,
  key_n: np.ndarray,
  k: int = TOP_ROWS,
) -> np.ndarray:
  """Each concept's most distinctive name of its k strongest rows; -1 for none.

  Args:
    z_nS: codes.
    has_nW: which rows hold which names, 0 and 1.
    part_WP: `parts` of the names.
    key_n: rows of equal key count once among the strongest.
    k: how many of them.
  """
  n, w = has_nW.shape
  top_SK, _ = exemplars.top_rows(scipy.sparse.csr_matrix(z_nS), k, key_n)
  index_S = np.full(len(top_SK), -1)
  rows_S = (top_SK >= 0).sum(1)
  if not w:
    return index_S
  has_nW = scipy.sparse.csr_matrix(has_nW, dtype=np.float64)
  total_W = np.asarray(has_nW.sum(0)).ravel()
  fires = np.flatnonzero(rows_S)
  block = max(_CELLS // w, 1)
  for start in range(0, len(fires), block):
    at = fires[start : start + block]
    b, k_ = np.nonzero(top_SK[at] >= 0)
    in_bn = scipy.sparse.csr_matrix(
      (np.ones(len(b)), (b, top_SK[at][b, k_])), shape=(len(at), n)
    )
    z_bW = log_odds((in_bn @ has_nW).toarray(), total_W, rows_S[at], n)
    z_bW = np.nan_to_num(z_bW, nan=-np.inf, posinf=-np.inf)
    best_b = best_names(z_bW, part_WP)
    index_S[at] = np.where(z_bW[np.arange(len(at)), best_b] > 0, best_b, -1)
  return index_S


def _unit(x_nD: np.ndarray) -> np.ndarray:
  norm_n1 = np.linalg.norm(x_nD, axis=1, keepdims=True)
  return x_nD / np.maximum(norm_n1, 1e-12)


def without(x_nD: np.ndarray, away_kD: np.ndarray) -> np.ndarray:
  """Rows without their part in the span of `away_kD`."""
  basis_Dk, sizes_k, _ = np.linalg.svd(away_kD.T, full_matrices=False)
  basis_Dk = basis_Dk[:, sizes_k > 1e-6 * max(sizes_k.max(initial=0), 1e-12)]
  return x_nD - (x_nD @ basis_Dk) @ basis_Dk.T


def word_cosines(
  d_SD: np.ndarray, word_WD: np.ndarray, means_2D: np.ndarray
) -> np.ndarray:
  """Cosine of each concept's direction to each word, freed of means: [S, W].

  Words lie about a mean of their own, all texts apart from all images: words
  are centred, and from both words and concepts is taken what lies in the span
  of the two modality means, which holds the gap and what all rows share.
  """
  about_WD = _unit(without(word_WD - word_WD.mean(0), means_2D))
  return _unit(without(d_SD, means_2D)) @ about_WD.T


def nearest_words(
  d_SD: np.ndarray,
  word_WD: np.ndarray,
  part_WP: np.ndarray,
  means_2D: np.ndarray,
) -> np.ndarray:
  """Each concept's nearest name by `word_cosines`, int [S].

  Args:
    d_SD: the concepts' directions.
    word_WD: the names' unit rows.
    part_WP: `parts` of the names.
    means_2D: means of images and of texts.
  """
  block = max(_CELLS // max(len(word_WD), 1), 1)
  found = [
    best_names(
      word_cosines(d_SD[start : start + block], word_WD, means_2D), part_WP
    )
    for start in range(0, len(d_SD), block)
  ]
  return np.concatenate(found)
