"""Figures of how well explanations tell when concepts fire."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
import numpy as np

from saejax.report import figures

# What is measured; where chance is, unless it was measured.
_PANELS = {
  'auroc': ('detection (AUROC)', 0.5),
  'hard': ('against hard negatives', None),
  'iou': ('IoU with object masks', None),
  'monosemanticity': ('MonoSemanticity', None),
  'monosemanticity_centred': ('MonoSemanticity, centred', None),
}
_LABELS = {
  'sae': 'concepts', 'dimension': 'residual\ndimensions',
  'random': 'random\ndirections', 'whitened': 'whitened\nrandom',
}  # fmt: skip


def _draw(
  ax,
  points: Sequence[Mapping[str, Any]],
  sources: Sequence[str],
  chance: float | None,
) -> None:
  """Points of one measure, each kind of concept in its place."""
  for p in points:
    if p['value'] is None:
      continue
    i, is_own = sources.index(p['source']), p['explanation'] == 'own'
    bounds = [[0], [0]]
    if p['low'] is not None:
      bounds = [[p['value'] - p['low']], [p['high'] - p['value']]]
    ax.errorbar(
      [i - 0.1 if is_own else i + 0.1], [p['value']], np.maximum(bounds, 0),
      color='#D55E00' if is_own else '#8a8a8a', marker='o', markersize=4,
      capsize=2, linestyle='none',
    )  # fmt: skip
    if not is_own:
      chance = None
      ax.hlines(
        p['value'], i - 0.4, i + 0.4, color='#222222', linewidth=0.8,
        linestyle=':',
      )  # fmt: skip
  if chance is not None:
    ax.axhline(chance, color='#222222', linewidth=0.8, linestyle=':')
  ax.set_xticks(range(len(sources)), [_LABELS.get(s, s) for s in sources])
  ax.set_xlim(-0.5, len(sources) - 0.5)


def detection(
  entries: Mapping[str, Mapping[str, Any]], sources: Sequence[str]
) -> figures.Figure:
  """A panel for each measure there is; grey is everyone given another's.

  Where that is known a dotted line of each kind is at it, since hard negatives
  are below half for what says nothing.

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
    width = max(0.85 * len(sources), 2.4)
    drawing, axes = figures.panels(
      max(len(shown), 1), width * max(len(shown), 1), 2.9
    )
    for ax, what in zip(axes, shown, strict=False):
      title, chance = _PANELS[what]
      of_panel = [p for p in points if p['measure'] == what]
      _draw(ax, of_panel, sources, chance)
      ax.set_title(title)
  names = list(points[0]) if points else []
  return figures.Figure(drawing, {n: [p[n] for p in points] for n in names})
