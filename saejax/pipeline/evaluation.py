"""How good a dictionary is: R², L0, dead concepts, retrieval kept."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from saejax import encode
from saejax import io
from saejax import nn
from saejax import results
from saejax import store as store_lib
from saejax import types
from saejax.analysis import bootstrap
from saejax.analysis import energy
from saejax.analysis import reconstruction
from saejax.data import batches
from saejax.pipeline import matching
from saejax.pipeline import sides
from saejax.pipeline import site_evaluation

_DEAD_ROWS = 100_000  # A concept silent on so many rows of a stream is dead.
_PAIR = ('image', 'text')
Entries = dict[str, dict[str, Any]]


def _moments(side: sides.Side, pooled_mean_D) -> reconstruction.Moments:
  return reconstruction.moments(
    side.x_nD,
    side.error_n,
    side.group_n,
    side.stream.stats['train'].mean,
    pooled_mean_D,
  )


def reconstruction_results(
  encoded: Mapping[str, sides.Side], split: str
) -> Entries:
  """The three R², over all sides and within each, and L0."""
  train = [s.stream.stats['train'] for s in encoded.values()]
  rows = np.array([t.rows for t in train], np.float64)
  pooled_mean_D = rows @ np.array([t.mean for t in train]) / rows.sum()
  parts = {n: _moments(side, pooled_mean_D) for n, side in encoded.items()}
  found: dict[str, bootstrap.Estimate] = reconstruction.r2(list(parts.values()))
  for name, part in parts.items():
    found[f'{name}/r2'] = reconstruction.r2([part])['r2']
  entries = {
    name: results.entry(e, split=split, unit='share of variance')
    for name, e in found.items()
  }
  active = {n: np.diff(side.z_nS.indptr) for n, side in encoded.items()}
  every = np.concatenate(list(active.values()))
  groups = np.concatenate([side.group_n for side in encoded.values()])
  for name, values, group_n in (
    ('l0', every, groups),
    *((f'{n}/l0', active[n], side.group_n) for n, side in encoded.items()),
  ):
    entries[name] = results.entry(
      bootstrap.mean(values, group_n), split=split, unit='concepts a row'
    )
  for name in list(encoded)[:-1]:  # The last is what remains.
    entries[f'{name}/share'] = results.entry(
      len(active[name]) / len(every), n=len(every), split=split
    )
  return entries


def count_firings(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  store: store_lib.Store,
  streams: Sequence[str] = _PAIR,
) -> tuple[np.ndarray, int]:
  """Firings [S] in up to 100,000 training rows a stream, and how many rows."""
  count_S, seen = np.zeros(sae.s, np.int64), 0
  for name in streams:
    rows_N = store[name].rows('train')
    n = min(len(rows_N), _DEAD_ROWS)
    picked = rows_N[batches.permute(np.arange(n), len(rows_N), seed=0)]
    z_nS = encode.encode(sae, variables, store[name], np.sort(picked)).z_nS
    count_S += energy.usage(z_nS).count_S
    seen += n
  return count_S, seen


def dead_results(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  store: store_lib.Store,
  streams: Sequence[str] = _PAIR,
) -> Entries:
  """The share of concepts silent on up to 100,000 training rows a stream."""
  count_S, seen = count_firings(sae, variables, store, streams)
  share = float((count_S == 0).mean())
  return {'dead_fraction': results.entry(share, n=seen, split='train')}


def evaluate_sides(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  image: sides.Side,
  text: sides.Side,
  split: str,
) -> Entries:
  """Everything `evaluate` reports of encoded rows."""
  decoder_SD = np.asarray(variables['params']['w_dec'])

  def back(side: sides.Side) -> sides.Side:
    """Decoded, with the bias that the SAE adds back."""
    x_nD = side.z_nS @ decoder_SD + encode.bias(sae, variables, side.stream)
    return dataclasses.replace(side, x_nD=x_nD)

  entries = reconstruction_results({'image': image, 'text': text}, split)
  for kind, pair in (
    ('raw', (image, text)),
    ('reconstructed', (back(image), back(text))),
  ):
    a, b = map(matching.unit, pair)
    found = matching.recall_results(matching.retrieve(a, b), split)
    if kind == 'raw':
      found |= matching.cosine_results(a, b, split)
    entries |= {f'{kind}/{name}': e for name, e in found.items()}
  return entries


def evaluate_streams(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  store: store_lib.Store,
  streams: Sequence[str],
  split: str,
) -> Entries:
  """R², L0 and dead concepts of any streams, together and each by itself.

  Raises:
    UserError, StoreError: a stream is not there, or has no rows in the split.
  """
  for name in streams:
    for part in ('train', split):
      sides.check_rows(store[name], store.path, part)
  encoded = {
    name: sides.encode_side(sae, variables, store[name], split)
    for name in streams
  }
  dead = dead_results(sae, variables, store, streams)
  return reconstruction_results(encoded, split) | dead


def evaluate(
  sae_path: str,
  store_path: str,
  split: str = 'test',
  streams: Sequence[str] = (),
) -> Mapping[str, Mapping[str, Any]]:
  """Evaluates a dictionary on a store's split.

  Args:
    sae_path: the dictionary's folder.
    store_path: the store's folder.
    split: of its rows.
    streams: to evaluate one by one; none for paired images and texts, of which
      retrieval is measured too.

  Raises:
    UserError, StoreError: no such dictionary, store, stream or split.
  """
  sae, variables = io.load(sae_path)
  store = store_lib.Store(store_path)
  if sites := io.read_sites(sae_path):
    return site_evaluation.evaluate(sae, variables, sites, store, split)
  if streams:
    return evaluate_streams(sae, variables, store, streams, split)
  image, text = sides.encode_pairs(sae, variables, store, split)
  return evaluate_sides(sae, variables, image, text, split) | dead_results(
    sae, variables, store
  )
