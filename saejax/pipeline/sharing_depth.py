"""How alike images and texts arrange the same examples, layer by layer."""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any

import numpy as np

from saejax import results
from saejax import store as store_lib
from saejax.analysis import bootstrap
from saejax.analysis import cka
from saejax.pipeline import sharing_reading as reading

PAIRS = (('image', 'caption'), ('image', 'text'), ('caption', 'text'))
HALVES = 'text halves'
MEASURES = ('cka', 'knn', 'class_cosine')
PERMUTED = '95 % of permuted examples'
_CELLS = 1 << 22  # Of draws' labels held at once.
_LEAST_CLASS = 10  # Examples of a class, on both sides.
Entries = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Measured:
  """A number with its draws over resamples, and over permuted examples."""

  value: float
  draws_R: np.ndarray
  permuted_R: np.ndarray
  n: int
  least: float = -1.0  # What it can be.

  def entries(self, at: str, split: str) -> Entries:
    return {
      at: interval(self.value, self.draws_R, self.n, split, self.least),
      f'{at}/permuted': spread(self.permuted_R, self.n, split),
    }


def interval(
  value: float, draws_R, n: int, split: str, least: float = -1.0
) -> dict[str, Any]:
  """A result with its bounds over resampled examples.

  A resample has fewer different examples, which moves what is measured (means
  of classes are noisier, and so less alike): the draws lend their spread about
  their own mean, not their place. Bounds stay within what can be: `least` to 1.
  """
  low, high = math.nan, math.nan
  if np.isfinite(draws_R).any() and math.isfinite(value):
    about = np.nanpercentile(draws_R, [2.5, 97.5]) - np.nanmean(draws_R)
    low, high = np.clip(value + about, least, 1.0)
  found = results.entry(
    bootstrap.Estimate(value, n, float(low), float(high)), split=split
  )
  return found | {'interval': 'bootstrap over examples'}


def spread(
  draws_R: np.ndarray, n: int, split: str, what: str = PERMUTED
) -> dict[str, Any]:
  """A reference: the mean of its draws, and where most of them lie."""
  if not np.isfinite(draws_R).any():
    return results.entry(math.nan, n=n, split=split)
  low, high = np.nanpercentile(draws_R, [2.5, 97.5])
  found = results.entry(float(np.nanmean(draws_R)), n=n, split=split)
  return found | {'low': float(low), 'high': float(high), 'interval': what}


@dataclasses.dataclass(frozen=True)
class Settings:
  """How much is drawn, and how many neighbours count."""

  draws: int
  neighbours: int
  seed: int


def _cka(x_ND, y_ND, settings: Settings) -> Measured:
  k_NN, l_NN = cka.gram(x_ND), cka.gram(y_ND)
  weight_RN = cka.weights(len(x_ND), settings.draws, settings.seed)
  return Measured(
    float(cka.cka(k_NN, l_NN)[0]),
    cka.cka(k_NN, l_NN, weight_RN),
    cka.permuted_cka(k_NN, l_NN, settings.draws, settings.seed),
    len(x_ND),
  )


def _knn(x_ND, y_ND, settings: Settings) -> Measured:
  k = min(settings.neighbours, len(x_ND) - 1)
  near_x, near_y = cka.neighbours(x_ND, k), cka.neighbours(y_ND, k)
  overlap_N = cka.overlap(near_x, near_y)
  weight_RN = cka.weights(len(x_ND), settings.draws, settings.seed)
  return Measured(
    float(overlap_N.mean()),
    weight_RN @ overlap_N / len(x_ND),
    cka.permuted_overlap(near_x, near_y, settings.draws, settings.seed),
    len(x_ND),
    least=0.0,
  )


def _class_cosine(x_ND, y_ND, label_x, label_y, settings) -> Measured | None:
  """The mean over classes; resamples weigh rows and labels alike."""
  enough = np.minimum(label_x.sum(0), label_y.sum(0)) >= _LEAST_CLASS
  if not enough.any():
    return None
  a_NC, b_NC = label_x[:, enough], label_y[:, enough]
  mean = lambda a, b: np.nanmean(cka.class_cosines(x_ND, y_ND, a, b), axis=1)
  n, draws = len(x_ND), settings.draws
  rng = np.random.default_rng(settings.seed)
  # Rows of y in another order are its labels in another.
  order_RN = np.stack([rng.permutation(n) for _ in range(draws)])
  weight_RN = cka.weights(n, draws, settings.seed)
  resampled, permuted = [], []
  step = max(_CELLS // a_NC.size, 1)
  for start in range(0, draws, step):
    w_rN1 = weight_RN[start : start + step, :, None]
    resampled.append(mean(a_NC * w_rN1, b_NC * w_rN1))
    order_rN = order_RN[start : start + step]
    same = np.broadcast_to(a_NC, (len(order_rN), *a_NC.shape))
    permuted.append(mean(same, b_NC[order_rN]))
  return Measured(
    float(mean(a_NC[None], b_NC[None])[0]),
    np.concatenate(resampled),
    np.concatenate(permuted),
    n,
  )


def measure(
  x_ND: np.ndarray,
  y_ND: np.ndarray,
  settings: Settings,
  labels: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, Measured]:
  """Every measure of the same examples on two sides.

  Args:
    x_ND: one side.
    y_ND: the other.
    settings: what is drawn.
    labels: classes of the examples on each side.
  """
  found = {'cka': _cka(x_ND, y_ND, settings), 'knn': _knn(x_ND, y_ND, settings)}
  if labels is not None:
    classes = _class_cosine(x_ND, y_ND, *labels, settings)
    found |= {'class_cosine': classes} if classes else {}
  return found


def _sides(classes: reading.Classes | None, context: str):
  if classes is None:
    return None
  return classes.shown_NC if context == 'image' else classes.told_NC


def layer(
  store: store_lib.Store,
  number: int,
  split: str,
  pair_N: np.ndarray,
  classes: reading.Classes | None,
  settings: Settings,
) -> dict[str, dict[str, Measured]]:
  """Measures of every pair of contexts of a layer, and of halves of the text.

  These are one half of each bare text's tokens against the other half: how
  alike two readings of one thing are, of half the tokens and so noisier.
  """
  n = len(pair_N)
  tokens = {
    context: reading.of_examples(store, number, context, split, pair_N)
    for context in reading.CONTEXTS
  }
  mean = {
    context: reading.pooled(store, number, context, found, n)
    for context, found in tokens.items()
  }
  found = {}
  for a, b in PAIRS:
    labels = None if classes is None else (
      _sides(classes, a), _sides(classes, b),
    )  # fmt: skip
    found[f'{a}-{b}'] = measure(mean[a], mean[b], settings, labels)
  if reading.is_pooled(store):
    return found
  parts = reading.halves(tokens['text'], n, settings.seed)
  long_N = np.bincount(tokens['text'].example_n, minlength=n) > 1
  if cka.is_enough(int(long_N.sum())):
    one, other = (
      reading.pooled(store, number, 'text', part, n)[long_N] for part in parts
    )
    labels = None
    if classes is not None:
      labels = (classes.told_NC[long_N],) * 2
    found[HALVES] = measure(one, other, settings, labels)
  return found


def entries(
  found: Mapping[int, Mapping[str, Mapping[str, Measured]]], split: str
) -> Entries:
  """Results by layer, pair and measure."""
  return {
    name: entry
    for number, pairs in found.items()
    for pair, measures in pairs.items()
    for what, m in measures.items()
    for name, entry in m.entries(
      f'layer{number:02d}/{pair}/{what}', split
    ).items()
  }
