"""What steering comes to over several layers.

A class passes where one of the layers does, so p values are corrected over all
classes at all layers: more layers are no more chances.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import os
from typing import Any

import numpy as np

from saejax import results
from saejax.analysis import matched_sets
from saejax.report import claims_steering
from saejax.report import figures
from saejax.report import figures_steering

_AT = claims_steering.TESTED
_KINDS = ('adjusted', 'means', 'random')
Entries = Mapping[str, Mapping[str, Any]]
ByLayer = Mapping[int, Entries]


@dataclasses.dataclass(frozen=True)
class Found:
  """Results, and the figure."""

  entries: dict[str, dict[str, Any]]
  figure: figures.Figure

  def write(self, out: str) -> None:
    """Writes figures/, then results.json."""
    self.figure.save(os.path.join(out, results.FIGURES), 'by_layer')
    results.write(out, self.entries)


def _tests(by_layer: ByLayer) -> Iterator[tuple[str, int, float, float]]:
  """Class, layer, p and rise of everything that was tested."""
  for layer, found in by_layer.items():
    for name, entry in found.items():
      at, _, key = name.rpartition('/')
      if key == 'p' and os.path.dirname(at) == _AT:
        yield (
          os.path.basename(at),
          layer,
          entry['value'],
          (found[f'{at}/rise']['value']),
        )


def over_layers(by_layer: ByLayer, nulls: int) -> dict[str, dict[str, Any]]:
  """Of every class its best layer and p, corrected (Holm) over all tests.

  The best layer is that of the least p; of equals that where the target's
  probability rises most.

  Args:
    by_layer: results of `steer` of one factor.
    nulls: directions by chance, of each.

  Returns:
    `CLASS/p_holm` and `CLASS/layer`, and `causal_classes`.
  """
  tests = list(_tests(by_layer))
  holm = matched_sets.holm(np.array([p for _, _, p, _ in tests]))
  best: dict[str, tuple[float, float, int]] = {}
  for (name, layer, _, rise), p in zip(tests, holm, strict=True):
    own = float(p), -rise, layer
    best[name] = min(best.get(name, own), own)
  entry = lambda v, **k: results.entry(v, split='test', **k)
  passed = sum(p <= claims_steering.LEVEL for p, *_ in best.values())
  found = {'causal_classes': entry(passed, n=len(best), unit='classes')}
  for name, (p, _, layer) in best.items():
    found[f'{name}/layer'] = entry(layer)
    found[f'{name}/p_holm'] = results.p_entry(
      p, nulls, split='test', tests=len(tests)
    )
  return found


def compare(steer: Mapping[str, ByLayer], nulls: int) -> Found:
  """Steering at several layers, as results and a figure.

  Args:
    steer: results of `steer` by factor and layer.
    nulls: directions by chance, of each.
  """
  entries, points = {}, []
  for factor, by_layer in steer.items():
    for name, entry in over_layers(by_layer, nulls).items():
      entries[f'steer/{factor}/{name}'] = entry
    for layer, found in by_layer.items():
      for kind in _KINDS:
        e = found.get(f'steer/image/{kind}/chosen/rise')
        if e is None:
          continue
        points.append(
          {'factor': factor, 'layer': layer, 'direction': kind,
           'rise': e['value'], 'low': e['low'], 'high': e['high']}
        )  # fmt: skip
  return Found(entries, figures_steering.by_layer(points))
