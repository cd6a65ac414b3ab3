"""Paired data from a known dictionary, and stores of it.

Every factor has one direction in images and another in texts, which lie at an
angle; a factor that an image shows, its texts may mention. Each modality has
directions of its own besides, and a mean of its own.
"""

import dataclasses

import numpy as np

from saejax import store

D = 48
FACTORS, OWN = 16, 6  # Shared factors; directions only one modality has.
COSINE = 0.6  # Between a factor's two directions.
_SHOWN, _MENTIONED = 0.12, 0.8
_NOISE = 0.01


@dataclasses.dataclass(frozen=True)
class Planted:
  """Rows, and what made them; image atoms come first in `atoms_SD`."""

  image_ND: np.ndarray
  text_ND: np.ndarray
  shown_NF: np.ndarray
  mentioned_NF: np.ndarray
  atoms_SD: np.ndarray


def _unit(x_ND: np.ndarray) -> np.ndarray:
  return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)


def sample(n: int, seed: int = 0, matched: bool = True) -> Planted:
  """Draws n images with one text each; unmatched texts are of other images."""
  fixed = np.random.default_rng(12345)
  basis_DD = np.linalg.qr(fixed.normal(size=(D, D)))[0]
  image_FD = basis_DD[:FACTORS]
  other_FD = basis_DD[FACTORS : 2 * FACTORS]
  text_FD = COSINE * image_FD + np.sqrt(1 - COSINE**2) * other_FD
  own_image, own_text = np.split(
    basis_DD[2 * FACTORS : 2 * FACTORS + 2 * OWN], 2
  )
  rng = np.random.default_rng(seed)
  shown_NF = rng.random((n, FACTORS)) < _SHOWN
  mentioned_NF = shown_NF & (rng.random((n, FACTORS)) < _MENTIONED)
  if not matched:
    mentioned_NF = mentioned_NF[rng.permutation(n)]

  def rows(active_NF, atoms_FD, own_OD):
    own_NO = rng.random((n, OWN)) < _SHOWN
    codes = np.concatenate([active_NF, own_NO], axis=1)
    strength = codes * rng.uniform(0.7, 1.3, size=codes.shape)
    x_ND = strength @ np.concatenate([atoms_FD, own_OD])
    return (x_ND + _NOISE * rng.normal(size=x_ND.shape)).astype(np.float32)

  return Planted(
    image_ND=rows(shown_NF, image_FD, own_image),
    text_ND=rows(mentioned_NF, text_FD, own_text),
    shown_NF=shown_NF,
    mentioned_NF=mentioned_NF,
    atoms_SD=_unit(np.concatenate([image_FD, own_image, text_FD, own_text])),
  )


def write_store(
  path: str,
  image_ND: np.ndarray,
  text_ND: np.ndarray,
  splits=(0.7, 0.15, 0.15),
  labels: tuple[np.ndarray, np.ndarray] | None = None,
) -> str:
  """Writes paired rows as a store, with labels f0, f1, … if given."""
  pair_N = np.arange(len(image_ND))
  columns = {
    'group': pair_N,
    'pair': pair_N,
    'split': store.assign_splits(pair_N, splits),
  }
  names = tuple(f'f{i}' for i in range(labels[0].shape[1])) if labels else ()
  streams = {
    name: store.StreamSpec(d=image_ND.shape[1], modality=name, labels=names)
    for name in ('image', 'text')
  }
  writer = store.StoreWriter(path, streams, {'dataset': {'name': 'planted'}})
  for m, (name, x_ND) in enumerate((('image', image_ND), ('text', text_ND))):
    extra = {'labels': labels[m].astype(np.uint8)} if labels else {}
    words = [{'caption': f'{name} {i}'} for i in pair_N]
    writer.write(name, 0, x_ND, columns | extra, words)
  writer.finish()
  return path
