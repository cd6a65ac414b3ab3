"""How concepts lie to the modality subspace, and tell the modalities apart."""

from typing import Any

import numpy as np

from saejax import results
from saejax.analysis import bootstrap
from saejax.analysis import geometry
from saejax.analysis import subspace
from saejax.pipeline import sides

_RANDOM = 2_000  # Directions that make up a floor.
Entries = dict[str, dict[str, Any]]
Arrays = dict[str, np.ndarray]


def _mean_codes(side: sides.Side) -> np.ndarray:
  return np.asarray(side.z_nS.astype(np.float64).mean(0)).ravel()


def geometry_results(
  found: subspace.Subspaces,
  within_DD: np.ndarray,
  d_SD: np.ndarray,
  live_S: np.ndarray,
) -> tuple[Entries, Arrays]:
  """Projected norms on the three subspaces, and both floors of each."""
  entries: Entries = {}
  arrays: Arrays = {}
  random = geometry.random_directions(within_DD, _RANDOM)
  for name, basis_RD in found.bases.items():
    norm_S = subspace.projected_norm(d_SD, basis_RD)
    arrays[f'projected_{name}'] = norm_S
    live = int(live_S.sum())
    entries[f'subspace/{name}/rank'] = results.entry(
      len(basis_RD), split='train', unit='dimensions'
    )
    entries[f'subspace/{name}/projected_median'] = results.entry(
      bootstrap.median(norm_S[live_S], np.arange(live))
    ) | {'interval': 'bootstrap over concepts'}
    for kind, x_ND in random.items():
      norm_N = subspace.projected_norm(x_ND, basis_RD)
      entries[f'subspace/{name}/floor_{kind}'] = results.entry(
        float(np.median(norm_N)), n=len(norm_N), unit='random directions'
      )
  return entries, arrays


def classifier_results(
  found: subspace.Subspaces,
  within_DD: np.ndarray,
  d_SD: np.ndarray,
  live_S: np.ndarray,
  test: tuple[sides.Side, sides.Side],
  split: str,
) -> tuple[Entries, Arrays]:
  """Concepts as classifiers of modality, in both readings, and references."""
  rows = [side.x_nD for side in test]
  auroc = lambda w_ND: subspace.fold(
    subspace.modality_auroc(*(x_nD @ w_ND.T for x_nD in rows))
  )
  direction_S = auroc(d_SD)
  activation_S = subspace.fold(
    subspace.modality_auroc(*(side.z_nS for side in test))
  )
  n = sum(map(len, rows))
  live = int(live_S.sum())
  entry = lambda v, **k: results.entry(v, split=split, **k)
  entries = {
    f'modality_auroc/{name}_median': entry(
      bootstrap.median(value_S[live_S], np.arange(live))
    )
    | {'interval': 'bootstrap over concepts'}
    for name, value_S in (
      ('direction', direction_S), ('activation', activation_S),
    )
  }  # fmt: skip
  for kind, w_ND in geometry.random_directions(within_DD, _RANDOM).items():
    few_ND = w_ND[: max(len(d_SD), 200)]
    entries[f'modality_auroc/random_{kind}_median'] = entry(
      float(np.median(auroc(few_ND))), n=len(few_ND), unit='random directions'
    )
  entries['modality_auroc/ceiling'] = entry(
    float(auroc(found.classifier_D[None])[0]), n=n
  )
  return entries, {
    'modality_auroc_direction': direction_S,
    'modality_auroc_activation': activation_S,
  }


def gap_results(
  d_SD: np.ndarray, test: tuple[sides.Side, sides.Side], split: str
) -> tuple[Entries, Arrays]:
  """The exact split of the gap of reconstructions over concepts."""
  means = [_mean_codes(side) for side in test]
  found = subspace.gap_split(*means, d_SD.astype(np.float64))
  image, text = ((side.z_nS @ d_SD).mean(0, dtype=np.float64) for side in test)
  error = abs(found.part_S.sum() - float(np.linalg.norm(image - text)))
  n = sum(len(side.rows_n) for side in test)
  entry = lambda v, unit=None: results.entry(v, n=n, split=split, unit=unit)
  entries = {
    'gap_split/gap': entry(found.gap),
    'gap_split/half': entry(found.carrying(0.5), 'concepts'),
    'gap_split/most': entry(found.carrying(0.9), 'concepts'),
    'gap_split/identity_error': entry(error),
  }
  return entries, {'gap_part': found.part_S}


def measure(
  train: tuple[np.ndarray, np.ndarray],
  val: tuple[sides.Side, sides.Side],
  test: tuple[sides.Side, sides.Side],
  d_SD: np.ndarray,
  live_S: np.ndarray,
  split: str,
) -> tuple[Entries, Arrays]:
  """Everything above: fitted on `train` and `val`, told of `test`."""
  found = subspace.fit(*train, *(side.x_nD for side in val))
  within_DD = geometry.fit(*train).within_DD
  entries: Entries = {}
  arrays: Arrays = {}
  for some, own in (
    geometry_results(found, within_DD, d_SD, live_S),
    classifier_results(found, within_DD, d_SD, live_S, test, split),
    gap_results(d_SD, test, split),
  ):
    entries |= some
    arrays |= own
  return entries, arrays
