"""What concepts and bridges look like: their strongest rows, with words."""

import os
from typing import Any

import numpy as np

from saejax import results
from saejax.analysis import exemplars
from saejax.pipeline import findings
from saejax.pipeline import sides
from saejax.store import manifest

_EXAMPLES = 12  # Rows of a concept.
_BRIDGES, _PAIRS = 100, 6  # Bridges shown, and pairs of each.
Json = dict[str, Any]


def _shown(side: sides.Side, rows: np.ndarray, values: np.ndarray):
  """Rows of a side as JSON: row in the store, activation, words."""
  words = side.stream.words(side.rows_n[rows])
  return [
    {'row': int(side.rows_n[r]), 'activation': round(float(v), 4)} | w
    for r, v, w in zip(rows, values, words, strict=True)
  ]


def exemplar_table(s: findings.Subject) -> list[Json]:
  """For every concept, its top images and texts with what they are."""
  found = []
  for side in s.test:
    is_text = side.stream.modality == 'text'
    rows_SK, values_SK = exemplars.top_rows(
      side.z_nS, _EXAMPLES, side.key_n if is_text else side.group_n
    )
    kept_SK = rows_SK >= 0
    every = _shown(side, rows_SK[kept_SK], values_SK[kept_SK])
    ends = np.cumsum(kept_SK.sum(1))
    starts = ends - kept_SK.sum(1)
    found.append([every[a:b] for a, b in zip(starts, ends, strict=True)])
  images, texts = found
  return [
    {'concept': i, 'images': image, 'texts': text}
    for i, (image, text) in enumerate(zip(images, texts, strict=True))
  ]


def bridge_pairs(s: findings.Subject, bridges: findings.Arrays) -> list[Json]:
  """For the strongest cross bridges, the matched pairs in which both fire."""
  image, text = s.test
  order = np.argsort(image.pair_n, kind='stable')
  at = np.searchsorted(image.pair_n[order], text.pair_n)
  own_n = order[np.minimum(at, len(order) - 1)]  # The image row of each text.
  has_n = image.pair_n[own_n] == text.pair_n
  z_image, z_text = image.z_nS.tocsc(), text.z_nS.tocsc()
  shown = []
  for p in np.flatnonzero(bridges['cross'])[:_BRIDGES]:
    i, j = int(bridges['image_concept'][p]), int(bridges['text_concept'][p])
    a_n = z_image[:, [i]].toarray().ravel()[own_n] * has_n
    b_n = z_text[:, [j]].toarray().ravel()
    order_n = np.argsort(-a_n * b_n, kind='stable')
    # Each picture once, with the caption that fires most.
    _, first = np.unique(own_n[order_n], return_index=True)
    best = order_n[np.sort(first)][:_PAIRS]
    best = best[(a_n * b_n)[best] > 0]
    pairs = zip(
      _shown(image, own_n[best], a_n[best]),
      _shown(text, best, b_n[best]),
      strict=True,
    )
    shown.append(
      {
        'image_concept': i,
        'text_concept': j,
        'pairs': [{'image': a, 'text': b} for a, b in pairs],
      }
    )
  return shown


def write(s: findings.Subject, bridges: findings.Arrays, out: str) -> None:
  """Writes `exemplars.json` and `bridge_pairs.json`."""
  os.makedirs(out, exist_ok=True)
  for name, data in (
    (results.EXEMPLARS, exemplar_table(s)),
    (results.BRIDGE_PAIRS, bridge_pairs(s, bridges)),
  ):
    manifest.write_json(os.path.join(out, name), data)
