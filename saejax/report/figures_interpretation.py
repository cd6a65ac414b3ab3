"""Figures of how well explanations tell when concepts fire."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
import numpy as np

from saejax.report import figures

# What is measured; where chance is.
_PANELS = {
  'auroc': ('detection (AUROC)', 0.5),
  'hard': ('against hard negatives', 0.5),
  'iou': ('IoU with object masks', None),
  'monosemanticity': ('MonoSemanticity', None),
  'monosemanticity_centred': ('MonoSemanticity, centred', None),
}
_LABELS = {
  'sae': 'concepts', 'dimension': 'residual\ndimensions',
  'random': 'random\ndirections',
}  # fmt: skip


def detection(
  entries: Mapping[str, Mapping[str, Any]], sources: Sequence[str]
) -> figures.Figure:
  """A panel for each measure there is; grey is everyone given another's.

  Args:
    entries: results of `autointerp`.
    sources: kinds of concepts.
  """
  points = []
  for what in _PANELS:
    for source in sources:
      for end, kind in (('', 'own'), ('/shuffled', 'shuffled')):
        e = entries.get(f'{source}/{what}{end}')
        if e is not None:
          point = {'measure': what, 'source': source, 'explanation': kind}
          points.append(
            point | {k: e.get(k) for k in ('value', 'low', 'high', 'n')}
          )
  shown = [m for m in _PANELS if any(p['measure'] == m for p in points)]
  with rc_context(figures.STYLE):
    drawing, axes = figures.panels(
      max(len(shown), 1), max(2.4 * len(shown), 2.4), 2.9
    )
    for ax, what in zip(axes, shown, strict=False):
      title, chance = _PANELS[what]
      for kind, colour, shift in (
        ('own', '#D55E00', -0.1), ('shuffled', '#8a8a8a', 0.1),
      ):  # fmt: skip
        for i, source in enumerate(sources):
          for p in points:
            if (p['measure'], p['source'], p['explanation']) != (
              what, source, kind,
            ) or p['value'] is None:  # fmt: skip
              continue
            bounds = [[0], [0]]
            if p['low'] is not None:
              bounds = [[p['value'] - p['low']], [p['high'] - p['value']]]
            ax.errorbar(
              [i + shift], [p['value']], np.maximum(bounds, 0), color=colour,
              marker='o', markersize=4, capsize=2, linestyle='none',
            )  # fmt: skip
      if chance is not None:
        ax.axhline(chance, color='#222222', linewidth=0.8, linestyle=':')
      ax.set_xticks(range(len(sources)), [_LABELS.get(s, s) for s in sources])
      ax.set_xlim(-0.5, len(sources) - 0.5)
      ax.set_title(title)
  names = list(points[0]) if points else []
  return figures.Figure(drawing, {n: [p[n] for p in points] for n in names})
