"""Stores of labelled images and prompts, from directions that are known."""

import numpy as np

from saejax import store

D, CLASSES, TEMPLATES, PER_CLASS = 24, 6, 8, 48
NAMES = tuple(f'thing {c}' for c in range(CLASSES))


def unit(x_nD: np.ndarray) -> np.ndarray:
  return x_nD / np.linalg.norm(x_nD, axis=-1, keepdims=True)


def directions() -> np.ndarray:
  """A direction of each class, at right angles: [C, D]."""
  return np.linalg.qr(np.random.default_rng(7).normal(size=(D, D)))[0][:CLASSES]


def images(
  noise: float, labels: np.ndarray | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
  """Unit rows about the directions of their classes, and the labels."""
  if labels is None:
    labels = np.tile(np.arange(CLASSES), PER_CLASS)
  noise_ND = np.random.default_rng(seed).normal(size=(len(labels), D))
  return unit(directions()[labels] + noise * noise_ND / D**0.5), labels


def prompts(noise: float, templates: int = TEMPLATES) -> np.ndarray:
  """Prompts [C * T, D], class-major, each about its class's direction."""
  shape = (CLASSES, templates, D)
  noise_CTD = np.random.default_rng(1).normal(size=shape)
  x_CTD = directions()[:, None] + noise * noise_CTD / D**0.5
  return unit(x_CTD).reshape(-1, D)


def splits(n: int) -> np.ndarray:
  """Split codes of images [n]: a third of every class is in each."""
  return np.arange(n) // CLASSES % 3


def write(
  path: str,
  image: tuple[np.ndarray, np.ndarray] | None = None,
  prompt_ND: np.ndarray | None = None,
  about: dict | None = None,
  **columns: np.ndarray,
) -> str:
  """Writes a store of whichever is given.

  `columns` take the place of columns of prompts.
  """
  streams, parts = {}, {}
  if image is not None:
    x_ND, labels = image
    n = np.arange(len(x_ND))
    beside = {'group': n, 'split': splits(len(n)), 'pair': n, 'label': labels}
    parts['image'] = x_ND, beside, None
  if prompt_ND is not None:
    each = len(prompt_ND) // CLASSES
    beside = {
      'label': np.repeat(np.arange(CLASSES), each),
      'template': np.tile(np.arange(each), CLASSES),
    } | columns
    words = [
      {'caption': f'template {t}: {NAMES[c]}'}
      for c in range(CLASSES)
      for t in range(each)
    ]
    parts['prompts'] = prompt_ND, beside, words
  for name, (x_ND, beside, _) in parts.items():
    streams[name] = store.StreamSpec(
      d=x_ND.shape[1],
      modality='image' if name == 'image' else 'text',
      columns=tuple(beside),
    )
  dataset = {'name': 'by hand', 'classes': list(NAMES)}
  origin = {'model': 'm', 'revision': 'r', 'dataset': dataset}
  writer = store.StoreWriter(path, streams, origin | (about or {}))
  for name, (x_ND, beside, words) in parts.items():
    writer.write(name, 0, x_ND, beside, words)
  writer.finish()
  return path
