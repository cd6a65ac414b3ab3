"""What images and texts share within a vision language model, by depth.

The three contexts of a store of `caching` are kept apart: an image's positions;
its caption after it, which knows of the image; the bare caption, which does
not. Concepts of SAEs are compared at one L0 over as many tokens; means of rows
are compared whether there are SAEs or not.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import csv
import dataclasses
import os
from typing import Any

import tqdm

from saejax import errors
from saejax import results
from saejax import store as store_lib
from saejax.pipeline import sharing_concepts as concepts
from saejax.pipeline import sharing_depth as depth
from saejax.pipeline import sharing_reading as reading
from saejax.report import figures
from saejax.report import figures_sharing

TABLE = 'concepts.csv'
_TOLD = (
  ('CKA', 'cka', 'permuted', 'cka/permuted'),
  ('shared', 'shared_share', 'chance', 'shared_share/chance'),
  ('by halves', 'shared_share/halves', 'of one', 'shared_share/ceiling'),
  ('co-firing', 'phi', 'permuted', 'phi/permuted'),
)
Entries = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharingConfig:
  """Flags of `sharing`.

  Attributes:
    examples: of the split, at most; an example is an image with its text.
    threshold: share of tokens that a concept must fire for to count.
    l0: mean active concepts a token, which all layers are cut to; None for the
      least that any has.
    top: strongest tokens of a concept whose means are compared.
    neighbours: of an example, for mutual k-NN.
    draws: resamples for intervals, and permutations for what chance gives.
    seed: of what is drawn.
  """

  examples: int = 500
  threshold: float = 1e-3
  l0: float | None = None
  top: int = 20
  neighbours: int = 10
  draws: int = 200
  seed: int = 0

  def __post_init__(self):
    for name, least in (
      ('examples', 4), ('top', 1), ('neighbours', 1), ('draws', 20),
    ):  # fmt: skip
      if getattr(self, name) < least:
        raise errors.UserError(
          f'--{name}={getattr(self, name)} must be at least {least}.'
        )
    if not 0 <= self.threshold < 1:
      raise errors.UserError(
        f'--threshold={self.threshold} must be a share of tokens, 0 to 1.'
      )
    if self.l0 is not None and self.l0 <= 0:
      raise errors.UserError(f'--l0={self.l0} must be positive.')


@dataclasses.dataclass(frozen=True)
class Found:
  """Results, figures, and a row for every concept."""

  entries: Entries
  figures: Mapping[str, figures.Figure]
  rows: Sequence[Mapping[str, Any]]

  def write(self, out: str) -> None:
    """Writes figures/ and concepts.csv, then results.json."""
    for name, figure in self.figures.items():
      figure.save(os.path.join(out, results.FIGURES), name)
    if self.rows:
      os.makedirs(out, exist_ok=True)
      path = os.path.join(out, TABLE)
      with open(path, 'w', newline='', encoding='utf-8') as f:
        writer = csv.DictWriter(f, list(self.rows[0]))
        writer.writeheader()
        writer.writerows(self.rows)
    results.write(out, self.entries)


def _load(
  paths: Sequence[str], store: store_lib.Store
) -> dict[int, reading.Dictionary]:
  """SAEs by layer, rising."""
  found: dict[int, reading.Dictionary] = {}
  if paths and reading.is_pooled(store):
    raise errors.UserError(
      f'{store.path} holds means over positions, and an SAE is read token by '
      'token: cache without --pool, or leave --sae and --saes.'
    )
  for path in paths:
    own = reading.load(path, store)
    if own.layer in found:
      raise errors.UserError(
        f'{found[own.layer].path} and {path} are both of layer {own.layer}: '
        'give one for each layer.'
      )
    found[own.layer] = own
  return dict(sorted(found.items()))


def _concepts(
  saes: Mapping[int, reading.Dictionary],
  store: store_lib.Store,
  pair_N,
  config: SharingConfig,
  split: str,
  bar: tqdm.tqdm,
) -> tuple[Entries, list[dict[str, Any]]]:
  """Every SAE at one L0: results, and rows by concept."""
  settings = concepts.Settings(
    config.threshold, config.top, config.draws, config.seed
  )
  encoded = {}
  for number, own in saes.items():
    encoded[number] = concepts.encode(own, store, split, pair_N, config.seed)
    bar.update()
  l0 = config.l0 or min(map(concepts.mean_l0, encoded.values()))
  entries, rows = {}, []
  for number, own in saes.items():
    layer = concepts.read(own, encoded[number], len(pair_N), l0, settings)
    at = f'layer{number:02d}'
    for name, value in zip(('l0', 'l0_matched'), layer.l0, strict=True):
      entries[f'{at}/{name}'] = results.entry(
        value, n=len(pair_N), split=split, unit='concepts a token'
      )
    pairs = {
      f'{a}-{b}': concepts.pair(layer, a, b, f'{at}/{a}-{b}', settings, split)
      for a, b in depth.PAIRS
    }
    for found in pairs.values():
      entries |= found.entries
    rows += concepts.table(number, layer, pairs)
    bar.update()
  return entries, rows


def sharing(
  store_path: str,
  sae_paths: Sequence[str],
  config: SharingConfig,
  split: str = 'test',
) -> Found:
  """Compares the contexts of every layer of a store.

  Args:
    store_path: a store of `cache_llava` or `export_llava`.
    sae_paths: dictionaries, each of one layer; may be none.
    config: what is done.
    split: of which examples are read; nothing is chosen by them.

  Raises:
    UserError, StoreError: something does not fit.
  """
  store = store_lib.Store(store_path)
  numbers = reading.layers(store)
  saes = _load(sae_paths, store)
  pair_N = reading.choose(
    store, numbers[0], split, config.examples, config.seed
  )
  classes = reading.classes(store, pair_N)
  settings = depth.Settings(config.draws, config.neighbours, config.seed)
  with tqdm.tqdm(
    total=len(numbers) + 2 * len(saes), unit='layer', disable=None
  ) as bar:
    measured = {}
    for number in numbers:
      measured[number] = depth.layer(
        store, number, split, pair_N, classes, settings
      )
      bar.update()
    entries = depth.entries(measured, split)
    rows = []
    if saes:
      more, rows = _concepts(saes, store, pair_N, config, split, bar)
      entries |= more
  drawn = {
    'representations': figures_sharing.by_layer(
      entries, numbers, figures_sharing.REPRESENTATIONS
    )
  }
  if saes:
    drawn['concepts'] = figures_sharing.by_layer(
      entries, list(saes), figures_sharing.CONCEPTS
    )
  return Found(entries, drawn, rows)


def _line(entries: Entries, name: str) -> str:
  e = entries.get(name)
  if e is None or e['value'] is None:
    return '—'
  bounds = ''
  if e.get('low') is not None:
    bounds = f' [{e["low"]:.3f}, {e["high"]:.3f}]'
  return f'{e["value"]:.3f}{bounds}'


def summary(found: Found) -> str:
  """What was found, in a few lines to print."""
  layers = sorted({name.split('/')[0] for name in found.entries})
  lines = []
  for at in layers:
    for pair in ('image-caption', 'image-text'):
      name = f'{at}/{pair}'
      told = [
        f'{what} {_line(found.entries, f"{name}/{key}")}'
        f' ({ref} {_line(found.entries, f"{name}/{beside}")})'
        for what, key, ref, beside in _TOLD
        if f'{name}/{key}' in found.entries
      ]
      lines.append(f'{name}: {"; ".join(told)}')
  return '\n'.join(lines)
