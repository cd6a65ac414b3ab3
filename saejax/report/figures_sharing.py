"""Figures of what images and texts share, layer by layer."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
import numpy as np

from saejax.report import figures

_Measures = Mapping[str, tuple[str, str, str | None, str | None]]
# Results by the end of their names: what chance gives; what two halves of one
# context give, and at as many examples the halves of two.
CONCEPTS: _Measures = {
  'shared_share': ('shared concepts', 'chance', 'ceiling', 'halves'),
  'phi': ('co-firing (φ)', 'permuted', None, None),
  'agreement': ('cosine of top means', 'others', 'ceiling', 'halves'),
}
REPRESENTATIONS: _Measures = {
  'cka': ('CKA, debiased', 'permuted', None, None),
  'knn': ('mutual k-NN', 'permuted', None, None),
  'class_cosine': ('cosine of class means', 'permuted', None, None),
}
_BESIDE = ('chance', 'ceiling', 'halves')
_PAIRS = {
  'image-caption': ('image, caption after it', '#D55E00', '-'),
  'image-text': ('image, bare text', '#0072B2', '-'),
  'caption-text': ('caption, bare text', '#8a8a8a', '-'),
  'text halves': ('halves of the text', '#222222', ':'),
}


def _points(
  entries: Mapping[str, Mapping[str, Any]],
  layers: Sequence[int],
  measures: _Measures,
) -> list[dict[str, Any]]:
  """What is drawn: a row for each measure, pair and layer."""
  points = []
  for what, (_, *others) in measures.items():
    for pair in _PAIRS:
      for layer in layers:
        at = f'layer{layer:02d}/{pair}/{what}'
        if at not in entries:
          continue
        e = entries[at]
        point = {'measure': what, 'pair': pair, 'layer': layer}
        point |= {key: e.get(key) for key in ('value', 'low', 'high', 'n')}
        for key, other in zip(_BESIDE, others, strict=True):
          beside = entries.get(f'{at}/{other}', {})
          point[key] = beside.get('value')
        points.append(point)
  return points


def _numbers(points, key: str) -> np.ndarray:
  return np.array([np.nan if p[key] is None else p[key] for p in points], float)


def by_layer(
  entries: Mapping[str, Mapping[str, Any]],
  layers: Sequence[int],
  measures: _Measures,
) -> figures.Figure:
  """A panel for each measure that there is, a line for each pair of contexts.

  Args:
    entries: results of `sharing`.
    layers: rising.
    measures: CONCEPTS or REPRESENTATIONS.
  """
  points = _points(entries, layers, measures)
  shown = [m for m in measures if any(p['measure'] == m for p in points)]
  with rc_context(figures.STYLE):
    drawing, axes = figures.panels(max(len(shown), 1), 7.2, 3.0)
    for ax, what in zip(axes, shown, strict=False):
      for pair, (label, colour, line) in _PAIRS.items():
        own = [p for p in points if (p['measure'], p['pair']) == (what, pair)]
        if not own:
          continue
        value, low, high = (_numbers(own, k) for k in ('value', 'low', 'high'))
        at = _numbers(own, 'layer')
        ax.errorbar(
          at, value, np.abs(np.stack([value - low, high - value])),
          color=colour, linestyle=line, marker='o', markersize=3.5,
          linewidth=1.4, elinewidth=0.8, capsize=2, label=label,
        )  # fmt: skip
        for key, style in (
          ('chance', '--'), ('ceiling', ':'), ('halves', 'x'),
        ):  # fmt: skip
          beside = _numbers(own, key)
          if np.isfinite(beside).any():
            ax.plot(
              at, beside, style, color=colour, linewidth=0.8, markersize=3.5
            )
      ax.set_title(measures[what][0])
      ax.set_xlabel('layer')
      ax.set_xticks(list(layers) if len(layers) <= 8 else layers[::4])
    handles = {}
    for ax in axes:
      for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
        handles.setdefault(label, handle)
    drawing.legend(
      handles.values(), handles, loc='outside lower center', ncols=4,
    )  # fmt: skip
    told = 'dashed: chance'
    if any(p['halves'] is not None for p in points):
      told += (
        '; half the examples with the others: dotted in one context, × in two'
      )
    drawing.suptitle(told, fontsize=8)
  names = list(points[0]) if points else []
  return figures.Figure(drawing, {n: [p[n] for p in points] for n in names})
