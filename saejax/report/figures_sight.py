"""Figures of what can be read off a model, and of what edits of it do."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from matplotlib import figure
from matplotlib import rc_context
import numpy as np

from saejax.report import figures

_COLUMNS = 3  # Of panels.


def _grid(names: Sequence[str], share_y: bool = True):
  """A drawing of a panel for each name, and the axes that are used."""
  columns = min(_COLUMNS, max(len(names), 1))
  rows = -(-len(names) // columns)
  drawing = figure.Figure(
    figsize=(max(2.5 * columns, 4.6), 0.9 + 2.2 * rows), layout='constrained'
  )
  axes = drawing.subplots(
    rows, columns, sharex=True, sharey=share_y, squeeze=False
  ).ravel()
  for ax in axes[len(names) :]:
    ax.set_axis_off()
  return drawing, axes[: len(names)]


def _legend(drawing, axes) -> None:
  """One legend below for all panels, each label once."""
  found = {}
  for ax in axes:
    for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
      found.setdefault(label, handle)
  if found:
    drawing.legend(
      found.values(), found, loc='outside lower center', ncols=3,
      columnspacing=1, handlelength=2.2,
    )  # fmt: skip


def accuracy_by_layer(lines: Sequence[Mapping[str, Any]]) -> figures.Figure:
  """Accuracy of probes by layer: a panel for each factor.

  Filled markers are rows themselves, hollow ones codes of an SAE; dashes are
  the same probes of shuffled labels, dots the commonest class, and level lines
  on the right references, which have no layer.

  Args:
    lines: each with `factor`, `probe`, `site`, `layer` ('' of a reference),
      `is_sae`, `top1` with `top1_low` and `top1_high`, `top1_shuffled` and
      `top1_commonest`.
  """
  factors = list(dict.fromkeys(p['factor'] for p in lines))
  kinds = list(dict.fromkeys((p['probe'], p['is_sae']) for p in lines))
  with rc_context(figures.STYLE):
    drawing, axes = _grid(factors)
    for ax, factor in zip(axes, factors, strict=True):
      own = [p for p in lines if p['factor'] == factor]
      for i, (kind, is_sae) in enumerate(kinds):
        colour = figures.SERIES[i % len(figures.SERIES)]
        here = [p for p in own if (p['probe'], p['is_sae']) == (kind, is_sae)]
        at = [p for p in here if p['layer'] != '']
        of = lambda key, at=at: np.array([p[key] for p in at], float)
        label = f'{kind} of codes' if is_sae else kind.replace('_', ' ')
        if at:
          top1 = of('top1')
          ax.errorbar(
            of('layer'), top1, [top1 - of('top1_low'), of('top1_high') - top1],
            color=colour, linewidth=1.3, elinewidth=0.8, marker='o',
            markersize=3.5, markerfacecolor='white' if is_sae else colour,
            label=label,
          )  # fmt: skip
          ax.plot(of('layer'), of('top1_shuffled'), '--', color=colour,
                  linewidth=0.9)  # fmt: skip
        for p in here:
          if p['layer'] == '':
            ax.axhline(p['top1'], color=colour, linewidth=0.8, linestyle='-.',
                       label=f'{p["site"]}')  # fmt: skip
      ax.axhline(own[0]['top1_commonest'], color='#222222', linewidth=0.8,
                 linestyle=':', label='commonest class')  # fmt: skip
      ax.plot([], [], '--', color='#222222', label='shuffled labels')
      ax.set_title(f'{factor} ({own[0]["classes"]} classes)')
      ax.set_ylim(0, 1.02)
    drawing.supxlabel('layer', fontsize=9)
    drawing.supylabel('top-1 accuracy', fontsize=9)
    _legend(drawing, axes)
  names = list(lines[0]) if lines else []
  return figures.Figure(drawing, {n: [p[n] for p in lines] for n in names})


def spliced(points: Sequence[Mapping[str, Any]]) -> figures.Figure:
  """Loss recovered by an SAE in the model, by floor: a panel for each site.

  Args:
    points: each with `site`, `floor`, `recovered`, `low` and `high`; None
      where a floor costs nothing.
  """
  sites = list(dict.fromkeys(p['site'] for p in points))
  with rc_context(figures.STYLE):
    drawing, axes = figures.panels(len(sites), width=5.4)
    for ax, site in zip(axes, sites, strict=True):
      own = [p for p in points if p['site'] == site]
      for i, p in enumerate(own):
        if p['recovered'] is None:
          continue
        low = p['recovered'] if p['low'] is None else p['low']
        high = p['recovered'] if p['high'] is None else p['high']
        ax.errorbar(
          i, p['recovered'],
          [[p['recovered'] - low], [high - p['recovered']]],
          color='#444444', marker='o', markersize=4, capsize=2,
        )  # fmt: skip
      ax.axhline(1, color=figures.COLOURS['shared'], linewidth=0.8)
      ax.axhline(0, color=figures.COLOURS['shared'], linewidth=0.8)
      ax.set_xticks(range(len(own)), [p['floor'] for p in own])
      ax.set_xlim(-0.6, len(own) - 0.4)
      ax.set_title(f'spliced at {site}')
    axes[0].set_ylabel('loss recovered')
  names = list(points[0]) if points else []
  return figures.Figure(drawing, {n: [p[n] for p in points] for n in names})
