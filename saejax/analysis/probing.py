"""Probes that may read a few concepts, beside one that reads all of a row.

The concepts of a probe are chosen and weighed on one split, its threshold on
another, and it is scored on a third (sparse probing: arXiv 2305.01610).
"""

import dataclasses

import numpy as np

from saejax.analysis import factors

JUMP = 0.03  # In F1: a further concept that adds less is no part of a split.


def choose(z_nS, label_nF: np.ndarray, k: int) -> np.ndarray:
  """The k concepts that tell each label best together, chosen one by one.

  Each is the one that is most correlated with what the least-squares fit on
  those before it leaves over (orthogonal matching pursuit).

  Args:
    z_nS: codes, sparse.
    label_nF: bool.
    k: how many concepts a label.

  Returns:
    int [F, k], best first; -1 where no further concept is correlated.
  """
  n, f = label_nF.shape
  z_nS = z_nS.tocsc().astype(np.float64)
  mean_S = np.asarray(z_nS.mean(0)).ravel()
  square_S = np.asarray(z_nS.multiply(z_nS).mean(0)).ravel()
  std_S = np.sqrt(np.maximum(square_S - mean_S**2, 0))
  varies_S = std_S > 1e-9
  left_nF = label_nF - label_nF.mean(0)
  start_nF = left_nF.copy()
  chosen_Fk = np.full((f, k), -1)
  for j in range(k):
    # The residual has mean 0, so codes need no centring.
    shared_SF = abs(z_nS.T @ left_nF) / n
    with np.errstate(invalid='ignore', divide='ignore'):
      shared_SF = np.where(varies_S[:, None], shared_SF / std_S[:, None], -1)
    for i in range(f):
      taken = chosen_Fk[i, :j]
      shared_SF[taken[taken >= 0], i] = -1
      best = int(shared_SF[:, i].argmax())
      if shared_SF[best, i] <= 1e-9:
        continue
      chosen_Fk[i, j] = best
      own = chosen_Fk[i, : j + 1]
      z_nk = z_nS[:, own[own >= 0]].toarray() - mean_S[own[own >= 0]]
      w_k, *_ = np.linalg.lstsq(z_nk, start_nF[:, i], rcond=None)
      left_nF[:, i] = start_nF[:, i] - z_nk @ w_k
  return chosen_Fk


def sparse_probe(
  z_train_nS, label_train_nF: np.ndarray, chosen_Fk: np.ndarray, *others
) -> list[np.ndarray]:
  """Scores [n, F] on other codes of a ridge classifier on chosen concepts."""
  columns = [z.tocsc() for z in (z_train_nS, *others)]
  scores = [np.zeros((z.shape[0], len(chosen_Fk))) for z in others]
  for i, own in enumerate(chosen_Fk):
    own = own[own >= 0]
    if not len(own):
      continue
    train_nk, *rest = (z[:, own].toarray() for z in columns)
    mean_k, w_k1 = factors.linear_weights(train_nk, label_train_nF[:, [i]])
    for score_nF, z_nk in zip(scores, rest, strict=True):
      score_nF[:, i] = ((z_nk - mean_k) @ w_k1)[:, 0]
  return scores


def best_threshold(score_nF: np.ndarray, label_nF: np.ndarray) -> np.ndarray:
  """The threshold of each column that gives the highest F1: [F].

  Rows of at least the threshold are called positive; it lies half-way to the
  next score below.
  """
  order_nF = np.argsort(-score_nF, axis=0, kind='stable')
  sorted_nF = np.take_along_axis(score_nF, order_nF, 0)
  right_nF = np.cumsum(np.take_along_axis(label_nF, order_nF, 0), axis=0)
  called_n1 = np.arange(1, len(score_nF) + 1)[:, None]
  f1_nF = 2 * right_nF / (called_n1 + label_nF.sum(0))
  # Equal scores are called alike, so only the last of them is a place to cut.
  f1_nF[:-1][sorted_nF[:-1] == sorted_nF[1:]] = -1
  best_F = f1_nF.argmax(0)
  below_F = np.minimum(best_F + 1, len(score_nF) - 1)
  at = lambda place_F: np.take_along_axis(sorted_nF, place_F[None], 0)[0]
  return (at(best_F) + at(below_F)) / 2


def f1_counts(called_nF: np.ndarray, label_nF: np.ndarray) -> np.ndarray:
  """Of each row and factor: right calls, then calls plus positives; [n, 2F]."""
  called_nF, label_nF = called_nF.astype(bool), label_nF.astype(bool)
  both_nF = called_nF & label_nF
  return np.concatenate(
    [both_nF.astype(np.float64), called_nF.astype(np.float64) + label_nF], 1
  )


def mean_f1(counts_K: np.ndarray) -> np.ndarray:
  """The mean F1 over factors, of sums of `f1_counts` [..., 2F]."""
  return f1(counts_K).mean(-1)


def f1(counts_K: np.ndarray) -> np.ndarray:
  """F1 of each factor, of sums of `f1_counts` [..., 2F]; 0 without calls."""
  right, either = np.split(counts_K, 2, axis=-1)
  return 2 * right / np.maximum(either, 1)


@dataclasses.dataclass(frozen=True)
class Probed:
  """A probe of every factor on test: its AUROC, and its calls as counts."""

  auroc_F: np.ndarray
  counts_nK: np.ndarray  # `f1_counts`.

  @property
  def f1_F(self) -> np.ndarray:
    return f1(self.counts_nK.sum(0))


def score(
  val_nF: np.ndarray,
  label_val_nF: np.ndarray,
  test_nF: np.ndarray,
  label_test_nF: np.ndarray,
) -> Probed:
  """Scores on test, at thresholds that are best on val."""
  cut_F = best_threshold(val_nF, label_val_nF)
  return Probed(
    auroc_F=factors.paired_auroc(test_nF, label_test_nF),
    counts_nK=f1_counts(test_nF >= cut_F, label_test_nF),
  )


def splits(f1_kF: np.ndarray) -> np.ndarray:
  """How many concepts share a factor: int [F].

  One, and each further one for as long as F1 jumps by JUMP (feature splitting,
  arXiv 2409.14507).

  Args:
    f1_kF: F1 of probes on 1, 2, … concepts.
  """
  jumps_kF = np.diff(f1_kF, axis=0) >= JUMP
  return 1 + np.cumprod(jumps_kF, axis=0).sum(0)
