"""Reads what `analyse` wrote, and draws its figures."""

from collections.abc import Mapping
import dataclasses
import functools
import json
import os
from typing import Any

import numpy as np

from saejax import results
from saejax.report import figures
from saejax.store import files

KINDS = ('unread', 'other', 'related', 'true')  # Of a bridge, by its code.
_STRONGEST = 60  # Bridges drawn.


@dataclasses.dataclass(frozen=True)
class Analysis:
  """The folder of an analysis."""

  path: str

  @functools.cached_property
  def results(self) -> dict[str, dict[str, Any]]:
    return results.read(self.path)

  @functools.cached_property
  def concepts(self) -> Mapping[str, np.ndarray]:
    return files.map_arrays(os.path.join(self.path, results.CONCEPTS))

  @functools.cached_property
  def bridges(self) -> Mapping[str, np.ndarray]:
    return files.map_arrays(os.path.join(self.path, results.BRIDGES))

  def _json(self, name: str) -> list[dict[str, Any]]:
    with open(os.path.join(self.path, name), encoding='utf-8') as f:
      return json.load(f)

  @functools.cached_property
  def exemplars(self) -> list[dict[str, Any]]:
    return self._json(results.EXEMPLARS)

  @functools.cached_property
  def bridge_pairs(self) -> list[dict[str, Any]]:
    return self._json(results.BRIDGE_PAIRS)

  @functools.cached_property
  def twin(self) -> 'Analysis | None':
    """The analysis of the structureless twin, if there is one."""
    path = os.path.join(self.path, results.TWIN)
    found = os.path.exists(os.path.join(path, results.RESULTS))
    return Analysis(path) if found else None

  @property
  def energy_S(self) -> np.ndarray:
    """Energy with both modalities weighing the same."""
    c = self.concepts
    return (c['energy_image'] + c['energy_text']) / 2

  @property
  def cross_P(self) -> np.ndarray:
    """Places of cross bridges, strongest excess first."""
    return np.flatnonzero(self.bridges['cross'])

  def kind(self, p: int) -> str:
    """How a bridge's two concepts go together; '' where nothing is known."""
    kind_P = self.bridges.get('kind')
    return '' if kind_P is None else KINDS[kind_P[p]]


def draw(
  a: Analysis, entries: Mapping[str, Mapping[str, Any]]
) -> dict[str, figures.Figure]:
  """Every figure of an analysis, by name; `entries` are its results."""
  c, twin = a.concepts, a.twin
  live_S = c['live']
  floor = 'geometry/cosine_to_gap_floor_'
  floors = {
    name.removeprefix(floor): e['value']
    for name, e in entries.items()
    if name.startswith(floor)
  }
  top = a.cross_P[:_STRONGEST]
  return {
    'modality': figures.modality_histograms(
      c['modality_score'],
      a.energy_S,
      twin and twin.concepts['modality_score'],
      twin and twin.energy_S,
    ),
    'gap_cosine': figures.gap_cosines(
      c['cosine_to_gap'][live_S], a.energy_S[live_S], floors
    ),
    'bridges': figures.bridge_excess(
      a.bridges['b'][top], a.bridges['b0'][top], [a.kind(p) for p in top]
    ),
  }


def write_figures(path: str, entries: Mapping[str, Mapping[str, Any]]) -> None:
  """Draws an analysis into its own folder `figures/`."""
  for name, drawn in draw(Analysis(path), entries).items():
    drawn.save(os.path.join(path, results.FIGURES), name)
