"""How good concepts are: of one kind, of right size, apart, neither rare."""

import dataclasses
from typing import Any

import numpy as np

from saejax import encode
from saejax import errors
from saejax import results
from saejax import store as store_lib
from saejax.analysis import bootstrap
from saejax.analysis import energy
from saejax.analysis import modality
from saejax.analysis import monosemanticity
from saejax.analysis import quality
from saejax.pipeline import findings
from saejax.pipeline import naming_scores

_DENSE = 0.1  # Share of rows from which a concept is dense.
_RANDOM = 256  # Directions that a floor is made of.
Entries = dict[str, dict[str, Any]]
Arrays = dict[str, np.ndarray]


def density(s: findings.Subject) -> tuple[Entries, Arrays]:
  """How often concepts fire: of each modality, and of all rows alike."""
  entries, arrays = {}, {}
  for name, side in zip(naming_scores.SIDES, s.test, strict=True):
    rate_S = energy.usage(side.z_nS).rate_S
    live_S = rate_S[rate_S > 0]
    mean = lambda values_S: naming_scores.mean_over(
      'concepts', values_S, s.split
    )
    entries |= {
      f'density/{name}/silent': mean(rate_S == 0),
      f'density/{name}/dense': mean(rate_S > _DENSE),
      f'density/{name}/median': naming_scores.over(
        'concepts',
        bootstrap.median(live_S, np.arange(len(live_S))),
        s.split,
      ),
    }
    arrays[name] = rate_S
  return entries, arrays


def shrinkage(s: findings.Subject) -> Entries:
  """Mean ⟨x, x̂⟩ / ‖x̂‖² of each modality; 1 if nothing is shrunk."""
  entries = {}
  for name, side in zip(naming_scores.SIDES, s.test, strict=True):
    xhat_nD = side.z_nS @ s.d_SD + encode.bias(s.sae, s.variables, side.stream)
    factor_n = quality.shrinkage(side.x_nD, xhat_nD)
    kept_n = np.isfinite(factor_n)
    entries[f'shrinkage/{name}'] = results.entry(
      bootstrap.mean(factor_n[kept_n], side.group_n[kept_n]), split=s.split
    )
  return entries


def max_cosine(
  s: findings.Subject, live_S: np.ndarray
) -> tuple[Entries, Arrays]:
  """The largest cosine of live directions, and of as many random ones."""
  found = {
    'concepts': quality.max_cosines(s.d_SD[live_S]),
    'isotropic': quality.max_cosines(
      quality.isotropic(int(live_S.sum()), s.sae.d)
    ),
  }
  entries = {}
  for kind, cosine_n in found.items():
    suffix = '' if kind == 'concepts' else f'_{kind}'
    each = np.arange(len(cosine_n))
    about = bootstrap.median(cosine_n, each)
    entries[f'max_cosine/median{suffix}'] = naming_scores.over(
      'concepts', about, s.split
    )
    entries[f'max_cosine/above_0.9{suffix}'] = naming_scores.mean_over(
      'concepts', np.where(np.isfinite(cosine_n), cosine_n > 0.9, np.nan),
      s.split,
    )  # fmt: skip
  return entries, found


@dataclasses.dataclass(frozen=True)
class Other:
  """Images of the reported split by another model: which, and their rows."""

  at_n: np.ndarray  # Of the subject's test images.
  e_nD: np.ndarray


def open_other(path: str, store: store_lib.Store) -> store_lib.Store:
  """The store of an independent model, of the same data.

  Raises:
    UserError: it is of other data, or of the same model.
  """
  other = store_lib.Store(path)
  dataset, model = (other.about.get(key) for key in ('dataset', 'model'))
  if dataset != store.about.get('dataset'):
    raise errors.UserError(
      f'--other_store={path} is of another data set than {store.path}; embed '
      'the same one, with the same settings, by another model.'
    )
  if model is not None and model == store.about.get('model'):
    raise errors.UserError(
      f'--other_store={path} is of {model} as well; what is alike to the same '
      'model says nothing. Give a store of another model.'
    )
  return other


def read_other(path: str, store: store_lib.Store, split: str) -> Other:
  """Reads the same images from the store of an independent model.

  Raises:
    UserError: it is of other images, of the same model, or shares too few.
  """
  other = open_other(path, store)
  rows_n = store['image'].rows(split)
  pair_n = store['image'].column('pair')[rows_n]
  theirs_N = other['image'].column('pair')
  _, at_n, row_n = np.intersect1d(
    pair_n, theirs_N, assume_unique=False, return_indices=True
  )
  if len(at_n) < 2:
    raise errors.UserError(
      f'--other_store={path} shares {len(at_n)} images of {split} with '
      f'{store.path}: their pair columns must agree.'
    )
  order = np.argsort(at_n)
  e_nD = other['image'].take(row_n[order]).astype(np.float32)
  return Other(at_n[order], e_nD)


def _scored(z_ns, e_nD, randoms, bin_s, split: str) -> tuple[Entries, Any]:
  """Scores of concepts, and what they stand beside.

  Args:
    z_ns: codes of concepts.
    e_nD: the images by the other model.
    randoms: activations of random directions, for each bin of firings.
    bin_s: each concept's bin.
    split: which is reported.

  Returns:
    entries by the end of their names, and scores [s].
  """
  score_s = monosemanticity.scores(z_ns, e_nD)
  null_s = monosemanticity.permuted(z_ns, e_nD).mean(0)
  random_BR = np.array([monosemanticity.scores(r, e_nD) for r in randoms])
  random_BR = random_BR.reshape(len(randoms), _RANDOM)
  floor_s = monosemanticity.floors(random_BR)[bin_s]
  # A direction's score is over bins as concepts are.
  share_B = np.bincount(bin_s, minlength=len(randoms))
  random_R = np.ma.masked_invalid(random_BR)
  random_R = (
    np.ma.average(random_R, axis=0, weights=share_B).filled(np.nan)
    if len(randoms)
    else np.full(_RANDOM, np.nan)
  )
  mean = lambda values: naming_scores.mean_over('concepts', values, split)
  return {
    'mean': mean(score_s),
    'mean_permuted': mean(null_s),
    'mean_excess': mean(score_s - null_s),
    'mean_random': mean(random_R),
    'above_random': mean(monosemanticity.above(score_s, floor_s)),
  }, score_s


def monosemantic(s: findings.Subject, other: Other) -> tuple[Entries, Arrays]:
  """MonoSemanticity of concepts for images, and of what knows nothing.

  By the other model's embeddings as they are, and by those about their mean.
  'permuted' gives each image's activations to another image, and 'excess' is
  what a concept has beyond its own; 'random' are random directions that fire
  for as many images as concepts do, and 'above_random' is the share of concepts
  above 95 % of those that fire about as often as they: 0.05 if they know
  nothing.
  """
  image = s.test[0]
  z_nS, x_nD = image.z_nS[other.at_n], image.x_nD[other.at_n]
  firings_S = energy.usage(z_nS).count_S
  kept = np.flatnonzero(firings_S >= modality.LEAST_FIRINGS)
  bin_s, firings_B = monosemanticity.bins(firings_S[kept])
  randoms = [
    monosemanticity.random_activations(x_nD, _RANDOM, int(firings))
    for firings in firings_B
  ]
  entries, arrays = {}, {}
  for name, e_nD in (
    ('monosemanticity', other.e_nD),
    ('monosemanticity_centred', monosemanticity.centred(other.e_nD)),
  ):
    found, score_s = _scored(z_nS[:, kept], e_nD, randoms, bin_s, s.split)
    entries |= {f'{name}/{key}': entry for key, entry in found.items()}
    arrays[name] = np.full(s.sae.s, np.nan)
    arrays[name][kept] = score_s
  return entries, arrays
