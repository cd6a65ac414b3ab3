"""Figures of what changes of codes do."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from matplotlib import figure
from matplotlib import rc_context
import numpy as np

from saejax.report import figures

_COLUMNS = 3  # Of panels.
_STYLE = {
  'font.size': 9,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.titlesize': 10,
  'axes.titlelocation': 'left',
  'legend.frameon': False,
}
_WHAT = {'remove': 'removed', 'keep': 'kept alone', 'scale': 'scaled'}


def _colour(name: str) -> str:
  kind = name.partition('_')[0]
  return figures.COLOURS.get(kind, '#222222')


def recall_by_size(
  points: Sequence[Mapping[str, Any]], base: float, edit: str
) -> figures.Figure:
  """Recall@1 against the number of concepts changed: a panel for each set.

  Random sets are a band, the reconstruction alone a line; sizes at which the
  set stands out (p at most 0.05, not adjusted) have a filled marker.

  Args:
    points: each with `set`, `concepts`, `recall1` with `low` and `high`,
      `random` with `random_low` and `random_high`, and `p`.
    base: recall of the reconstruction.
    edit: 'remove', 'keep' or 'scale'.
  """
  names = list(dict.fromkeys(p['set'] for p in points))
  rows = -(-len(names) // _COLUMNS)
  with rc_context(_STYLE):
    drawing = figure.Figure(figsize=(7.2, 0.7 + 2.1 * rows), layout='tight')
    axes = drawing.subplots(
      rows, min(_COLUMNS, len(names)), sharex=True, sharey=True, squeeze=False
    ).ravel()
    for ax, name in zip(axes, names, strict=False):
      own = [p for p in points if p['set'] == name]
      of = lambda key, own=own: np.array([p[key] for p in own], float)
      n, colour = of('concepts'), _colour(name)
      ax.axhline(base, color='#222222', linewidth=0.8, linestyle=':')
      ax.fill_between(
        n, of('random_low'), of('random_high'), color='#d8d8d8', linewidth=0
      )
      ax.plot(n, of('random'), color='#8a8a8a', linestyle='--', linewidth=1)
      recall = of('recall1')
      ax.errorbar(
        n, recall, [recall - of('low'), of('high') - recall],
        color=colour, linewidth=1.4, elinewidth=0.8, capsize=2,
      )  # fmt: skip
      for p in own:
        ax.plot(
          p['concepts'], p['recall1'], 'o', color=colour, markersize=4.5,
          markerfacecolor=colour if p['p'] <= 0.05 else 'white',
        )  # fmt: skip
      ax.set_title(name.replace('_', ' '))
      ax.set_xscale('log', base=2)
      ax.xaxis.set_major_formatter('{x:.0f}')
    for ax in axes[len(names) :]:
      ax.set_axis_off()
    drawing.supxlabel(f'concepts {_WHAT[edit]}', fontsize=9)
    drawing.supylabel('recall@1, mean of both ways', fontsize=9)
    drawing.suptitle(
      'line: the set; grey: matched random sets; dotted: reconstruction; '
      'filled: p ≤ 0.05',
      fontsize=8,
    )
  keys = list(points[0]) if points else []
  return figures.Figure(drawing, {k: [p[k] for p in points] for k in keys})
