"""How good a dictionary is: R², L0, dead concepts, retrieval kept."""

from collections.abc import Mapping
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
from saejax.analysis import retrieval
from saejax.data import batches
from saejax.pipeline import sides

KS = (1, 5, 10)
_DEAD_ROWS = 100_000  # A concept silent on so many rows of a stream is dead.
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
  image: sides.Side, text: sides.Side, split: str
) -> Entries:
  """The three R², over both modalities and within each, and L0."""
  train = [s.stream.stats['train'] for s in (image, text)]
  rows = np.array([t.rows for t in train], np.float64)
  pooled_mean_D = rows @ np.array([t.mean for t in train]) / rows.sum()
  parts = {
    'image': _moments(image, pooled_mean_D),
    'text': _moments(text, pooled_mean_D),
  }
  found: dict[str, bootstrap.Estimate] = reconstruction.r2(list(parts.values()))
  for name, part in parts.items():
    found[f'{name}/r2'] = reconstruction.r2([part])['r2']
  entries = {
    name: results.entry(e, split=split, unit='share of variance')
    for name, e in found.items()
  }
  active = {
    name: np.diff(side.z_nS.indptr)
    for name, side in (('image', image), ('text', text))
  }
  every = np.concatenate([active['image'], active['text']])
  groups = np.concatenate([image.group_n, text.group_n])
  for name, values, group_n in (
    ('l0', every, groups),
    ('image/l0', active['image'], image.group_n),
    ('text/l0', active['text'], text.group_n),
  ):
    entries[name] = results.entry(
      bootstrap.mean(values, group_n), split=split, unit='concepts a row'
    )
  entries['image/share'] = results.entry(
    len(image.rows_n) / len(every), n=len(every), split=split
  )
  return entries


def retrieval_results(
  image_nD: np.ndarray,
  text_nD: np.ndarray,
  image: sides.Side,
  text: sides.Side,
  split: str,
) -> Entries:
  """Recall@1, 5, 10 both ways by cosine, and what chance would give."""
  a_nD, b_nD = retrieval.unit_rows(image_nD), retrieval.unit_rows(text_nD)
  hit = retrieval.hits(image.pair_n, text.pair_n, text.key_n)
  entries = {}
  for way, query, candidate, side, hit_qc in (
    ('image_to_text', a_nD, b_nD, image, hit),
    ('text_to_image', b_nD, a_nD, text, hit.T.tocsr()),
  ):
    rank_q = retrieval.ranks(query, candidate, hit_qc)
    has = rank_q >= 0
    for k in KS:
      recalled = (rank_q[has] < k).astype(np.float64)
      entries[f'{way}/recall@{k}'] = results.entry(
        bootstrap.mean(recalled, side.group_n[has]), split=split
      )
    chance = hit_qc.sum() / max(np.prod(hit_qc.shape, dtype=np.float64), 1)
    entries[f'{way}/chance@1'] = results.entry(
      float(chance), n=int(has.sum()), split=split
    )
  return entries


def raw_results(image: sides.Side, text: sides.Side, split: str) -> Entries:
  """What the embeddings themselves show: cosines, gap, retrieval."""
  a_nD, b_nD = (retrieval.unit_rows(s.x_nD) for s in (image, text))
  pairs, at_pair = np.unique(image.pair_n, return_index=True)
  at = np.minimum(np.searchsorted(pairs, text.pair_n), len(pairs) - 1)
  paired = pairs[at] == text.pair_n
  own_nD = a_nD[at_pair[at]]
  cosine_n = (own_nD * b_nD).sum(1)[paired]
  mean_a_D, mean_b_D = a_nD.mean(0), b_nD.mean(0)
  entries = {
    'raw/paired_cosine': results.entry(
      bootstrap.mean(cosine_n, text.group_n[paired]), split=split
    ),
    'raw/unpaired_cosine': results.entry(
      float(mean_a_D @ mean_b_D), n=len(a_nD) * len(b_nD), split=split
    ),
    'raw/gap': results.entry(
      float(np.linalg.norm(mean_a_D - mean_b_D)),
      n=len(a_nD) + len(b_nD),
      split=split,
    ),
  }
  found = retrieval_results(image.x_nD, text.x_nD, image, text, split)
  return entries | {f'raw/{name}': e for name, e in found.items()}


def dead_results(
  sae: nn.LinearSAE, variables: types.ArrayTree, store: store_lib.Store
) -> Entries:
  """The share of concepts silent on up to 100,000 training rows a stream."""
  count_S, seen = np.zeros(sae.s), 0
  for name in ('image', 'text'):
    rows_N = store[name].rows('train')
    n = min(len(rows_N), _DEAD_ROWS)
    picked = rows_N[batches.permute(np.arange(n), len(rows_N), seed=0)]
    z_nS = encode.encode(sae, variables, store[name], np.sort(picked)).z_nS
    count_S += energy.usage(z_nS).count_S
    seen += n
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
  # Both are decoded with the bias that the SAE adds back.
  back = lambda side: (
    side.z_nS @ decoder_SD + encode.bias(sae, variables, side.stream)
  )
  after = retrieval_results(back(image), back(text), image, text, split)
  return (
    reconstruction_results(image, text, split)
    | raw_results(image, text, split)
    | {f'reconstructed/{name}': e for name, e in after.items()}
  )


def evaluate(
  sae_path: str, store_path: str, split: str = 'test'
) -> Mapping[str, Mapping[str, Any]]:
  """Evaluates a dictionary on a store's split.

  Raises:
    UserError, StoreError: no such dictionary, store or split.
  """
  sae, variables = io.load(sae_path)
  store = store_lib.Store(store_path)
  image, text = sides.encode_pairs(sae, variables, store, split)
  return evaluate_sides(sae, variables, image, text, split) | dead_results(
    sae, variables, store
  )
