"""Figures of what images and texts share, layer by layer."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
import numpy as np

from saejax.report import figures

# Results by the end of their names; what chance gives, and the most there is.
CONCEPTS = {
  'shared_share': ('shared concepts', 'chance', 'ceiling'),
  'phi': ('co-firing (φ)', 'permuted', None),
  'agreement': ('cosine of top means', 'others', 'ceiling'),
}
REPRESENTATIONS = {
  'cka': ('CKA, debiased', 'permuted', None),
  'knn': ('mutual k-NN', 'permuted', None),
  'class_cosine': ('cosine of class means', 'permuted', None),
}
_PAIRS = {
  'image-caption': ('image, caption after it', '#D55E00', '-'),
  'image-text': ('image, bare text', '#0072B2', '-'),
  'caption-text': ('caption, bare text', '#8a8a8a', '-'),
  'text halves': ('halves of the text', '#222222', ':'),
}


def _points(
  entries: Mapping[str, Mapping[str, Any]],
  layers: Sequence[int],
  measures: Mapping[str, tuple[str, str, str | None]],
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
        for key, other in zip(('chance', 'ceiling'), others, strict=True):
          beside = entries.get(f'{at}/{other}', {})
          point[key] = beside.get('value')
        points.append(point)
  return points


def _numbers(points, key: str) -> np.ndarray:
  return np.array([np.nan if p[key] is None else p[key] for p in points], float)


def by_layer(
  entries: Mapping[str, Mapping[str, Any]],
  layers: Sequence[int],
  measures: Mapping[str, tuple[str, str, str | None]],
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
        ax.plot(
          at, _numbers(own, 'chance'), color=colour, linestyle='--',
          linewidth=0.8,
        )  # fmt: skip
        if np.isfinite(_numbers(own, 'ceiling')).any():
          ax.plot(
            at, _numbers(own, 'ceiling'), color=colour, linestyle=':',
            linewidth=0.8,
          )  # fmt: skip
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
    drawing.suptitle('dashed: chance; dotted: ceiling', fontsize=8)
  names = list(points[0]) if points else []
  return figures.Figure(drawing, {n: [p[n] for p in points] for n in names})
