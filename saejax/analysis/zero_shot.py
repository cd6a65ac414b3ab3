"""Zero-shot classification: an image's class is that of the nearest prompt."""

import dataclasses

import numpy as np
import scipy.sparse

from saejax.analysis import bootstrap
from saejax.analysis import retrieval


def class_rows(prompt_nD: np.ndarray, label_n: np.ndarray) -> np.ndarray:
  """One unit row for each class 0…C-1, from its prompts; [C, D].

  The mean of the prompts' unit rows, scaled to unit length again, as CLIP has
  it (arXiv 2103.00020, section 3.1.4).
  """
  unit_nD = retrieval.unit_rows(prompt_nD)
  # A sum points where the mean does.
  _, sum_CD = bootstrap.sum_by(label_n, unit_nD)
  return retrieval.unit_rows(sum_CD).astype(unit_nD.dtype)


def ranks(
  image_nD: np.ndarray, label_n: np.ndarray, class_CD: np.ndarray
) -> np.ndarray:
  """Rank of each image's own class, 0 the nearest; int64 [n].

  Ties count against, so that equal classes are never told apart.
  """
  classes = len(class_CD)
  each_CC = scipy.sparse.identity(classes, np.int64, format='csr')
  hit = retrieval.Hits(retrieval.one_hot(label_n, classes), each_CC)
  return retrieval.ranks(image_nD, class_CD, hit)


@dataclasses.dataclass(frozen=True)
class ByClass:
  """Accuracy of each class with its bounds, NaN without images; their mean.

  Classes count the same in the mean, however many images they have.
  """

  images_C: np.ndarray
  value_C: np.ndarray
  low_C: np.ndarray
  high_C: np.ndarray
  mean: bootstrap.Estimate


def by_class(
  correct_n: np.ndarray, label_n: np.ndarray, group_n: np.ndarray, classes: int
) -> ByClass:
  """Accuracy within classes, with bootstrap intervals over groups."""
  of_nC = retrieval.one_hot(label_n, classes)
  right_nC = of_nC.multiply(np.asarray(correct_n, np.float64)[:, None])
  _, sums_GK = bootstrap.sum_by(
    group_n, scipy.sparse.hstack([right_nC, of_nC], format='csr')
  )

  def share(totals_K):
    right, images = totals_K[..., :classes], totals_K[..., classes:]
    with np.errstate(invalid='ignore'):
      return right / images

  total_K = np.asarray(sums_GK.sum(0)).ravel()
  draws_RC = share(bootstrap.resample(sums_GK))
  low_C, high_C = bootstrap.interval(draws_RC)
  low, high = bootstrap.interval(np.nanmean(draws_RC, axis=1)[:, None])
  return ByClass(
    images_C=total_K[classes:].astype(np.int64),
    value_C=share(total_K),
    low_C=low_C,
    high_C=high_C,
    mean=bootstrap.Estimate(
      float(np.nanmean(share(total_K))),
      len(label_n),
      float(low[0]),
      float(high[0]),
    ),
  )
