"""Figures as PNG and SVG, each with the numbers it shows as CSV."""

from collections.abc import Mapping
from collections.abc import Sequence
import csv
import dataclasses
import io
import itertools
import os
import re
from typing import Any

from matplotlib import figure
from matplotlib import rc_context
import numpy as np

# Told apart by readers of every kind of colour vision (Okabe and Ito, 2008).
COLOURS = {
  'image': '#D55E00',
  'shared': '#8a8a8a',
  'text': '#0072B2',
  'twin': '#009E73',
}
SERIES = ('#D55E00', '#0072B2', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
_MARKERS = 'osD^v'  # As many as not to divide the colours: 30 are told apart.
IMAGE_CUT, TEXT_CUT = 0.9, 0.1
_BINS = 20
_NAMED_CLASSES = 40  # More names than these cannot be read.
STYLE = {
  'font.size': 9,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.titlesize': 10,
  'axes.titlelocation': 'left',
  'legend.frameon': False,
  'svg.fonttype': 'none',  # Text stays text: smaller, and it can be searched.
  'svg.hashsalt': 'saejax',  # The same figure is the same file.
}
# Inches of a column and of a page in print, and type that is read there.
_COLUMN, _PAGE = 3.3, 7.0
_SMALL = {
  'font.size': 7, 'axes.labelsize': 7, 'axes.titlesize': 7.5,
  'xtick.labelsize': 6.5, 'ytick.labelsize': 6.5, 'legend.fontsize': 6.5,
}  # fmt: skip
_PARETO_ROWS = {'own': 'own codes', 'omp': 'one encoder (OMP)'}


@dataclasses.dataclass(frozen=True)
class Figure:
  """A drawing and the table of what it shows, `columns[name][row]`."""

  drawing: figure.Figure
  columns: Mapping[str, Sequence]

  def save(self, folder: str, name: str) -> None:
    """Writes `name.png`, `name.svg` and `name.csv` into a folder."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    self.drawing.savefig(f'{path}.png', dpi=160)
    with open(f'{path}.svg', 'w', encoding='utf-8') as f:
      f.write(self.svg())
    with open(f'{path}.csv', 'w', newline='', encoding='utf-8') as f:
      writer = csv.writer(f)
      writer.writerow(self.columns)
      writer.writerows(zip(*self.columns.values(), strict=True))

  def svg(self) -> str:
    """The drawing as an element to stand in a page."""
    buffer = io.StringIO()
    with rc_context(STYLE):
      self.drawing.savefig(buffer, format='svg', metadata={'Date': None})
    drawn = buffer.getvalue()
    return re.sub(r'<metadata>.*?</metadata>', '', drawn[drawn.index('<svg') :],
                  flags=re.DOTALL)  # fmt: skip


def panels(columns: int = 1, width: float = 7.2, height: float = 2.7):
  """An empty drawing of panels side by side, and its axes; sizes in inches."""
  drawing = figure.Figure(figsize=(width, height), layout='constrained')
  return drawing, np.atleast_1d(drawing.subplots(1, columns))


def sparsity_curve(points: Sequence[Mapping[str, float]]) -> Figure:
  """R² against L0: one point a dictionary, with its interval.

  Args:
    points: each with `l0`, `r2`, `r2_low`, `r2_high`, and likewise
      `image/r2`… and `text/r2`….
  """
  points = sorted(points, key=lambda p: p['l0'])
  with rc_context(STYLE):
    drawing, (ax,) = panels(width=5.4, height=3)
    for prefix, label, colour in (
      ('', 'all rows', '#222222'),
      ('image/', 'images', COLOURS['image']),
      ('text/', 'texts', COLOURS['text']),
    ):
      r2 = np.array([p[f'{prefix}r2'] for p in points])
      low = np.array([p[f'{prefix}r2_low'] for p in points])
      high = np.array([p[f'{prefix}r2_high'] for p in points])
      l0 = [p[f'{prefix}l0'] for p in points]
      ax.errorbar(
        l0, r2, [r2 - low, high - r2], color=colour, label=label,
        marker='o', markersize=4, linewidth=1.4, capsize=2,
      )  # fmt: skip
    ax.set_xscale('log', base=2)
    ticks = [p['l0'] for p in points]
    ax.set_xticks(ticks, [f'{t:.3g}' for t in ticks])
    ax.minorticks_off()
    ax.set_xlabel('active concepts a row (L0)')
    ax.set_ylabel('variance explained (R²)')
    ax.legend()
  names = list(points[0]) if points else []
  return Figure(drawing, {n: [p[n] for p in points] for n in names})


def sweep_curve(points: Sequence[Mapping[str, Any]]) -> Figure:
  """R² against L0 of a sweep: a colour for each series, a point a dictionary.

  Args:
    points: each with `member`, `series`, `l0`, `r2`, `r2_low` and `r2_high`;
      a dictionary that diverged has None for them, and is only in the table.
  """
  shown = [p for p in points if None not in p.values() and p['l0'] > 0]
  series = list(dict.fromkeys(p['series'] for p in shown))
  with rc_context(STYLE):
    drawing, (ax,) = panels(width=6.4, height=3.2)
    for i, name in enumerate(series):
      own = [p for p in shown if p['series'] == name]
      r2, low, high = (
        np.array([p[key] for p in own]) for key in ('r2', 'r2_low', 'r2_high')
      )
      ax.errorbar(
        [p['l0'] for p in own], r2, [r2 - low, high - r2], label=name,
        color=SERIES[i % len(SERIES)], marker=_MARKERS[i % len(_MARKERS)],
        markersize=4, linestyle='none', elinewidth=1, capsize=2,
      )  # fmt: skip
    ax.set_xscale('log', base=2)
    ax.xaxis.set_major_formatter('{x:.3g}')
    ax.set_xlabel('active concepts a row (L0)')
    ax.set_ylabel('variance explained (R²)')
    if series:
      drawing.legend(loc='outside right upper')
  names = list(points[0]) if points else []
  return Figure(drawing, {n: [p[n] for p in points] for n in names})


def _pareto_style(i: int, is_sae: bool) -> dict[str, Any]:
  """Told apart by line, marker and colour; SAEs by solid lines."""
  colours = (*SERIES, '#222222')
  return {
    'color': colours[i % len(colours)],
    'marker': _MARKERS[i % len(_MARKERS)],
    'linestyle': '-' if is_sae else '--',
    'linewidth': 1.4 if is_sae else 0.9,
    'markersize': 3,
    'capsize': 1.5,
    'elinewidth': 0.7,
  }


def _pareto_panel(ax, points, methods) -> None:
  for i, (method, is_sae) in enumerate(methods):
    own = [
      p
      for p in points
      if p['method'] == method and None not in (p['l0'], p['r2'], p['r2_low'])
    ]
    own.sort(key=lambda p: p['l0'])
    r2, low, high, l0 = (
      np.array([p[key] for p in own])
      for key in ('r2', 'r2_low', 'r2_high', 'l0')
    )
    ax.errorbar(
      l0, r2, [r2 - low, high - r2], label=method, **_pareto_style(i, is_sae)
    )


def pareto_curves(points: Sequence[Mapping[str, Any]]) -> Figure:
  """R² against measured L0 of many methods: a column of panels for each store.

  As wide as one column of a paper, or, of several stores, as its page. Above
  are the methods' own codes, below those of one encoder for all; all panels
  share their axes, which end at 0: what is worse than the mean is not drawn.

  Args:
    points: each with `store`, `method`, `is_sae`, `codes` ('own' or 'omp'),
      `l0`, `r2`, `r2_low` and `r2_high`.
  """
  stores = list(dict.fromkeys(p['store'] for p in points))
  methods = list(dict.fromkeys((p['method'], p['is_sae']) for p in points))
  is_alone = len(stores) < 2
  with rc_context(STYLE | _SMALL):
    width, height = (_COLUMN, 4.6) if is_alone else (_PAGE, 4.0)
    drawing = figure.Figure(figsize=(width, height), layout='constrained')
    axes = drawing.subplots(
      2, len(stores), sharex=True, sharey=True, squeeze=False
    )
    for (row, codes), (column, store) in itertools.product(
      enumerate(('own', 'omp')), enumerate(stores)
    ):
      ax = axes[row, column]
      own = [p for p in points if (p['store'], p['codes']) == (store, codes)]
      _pareto_panel(ax, own, methods)
      if row == 0:
        ax.set_title(store, parse_math=False)
      if column == 0:
        ax.set_ylabel(f'R², {_PARETO_ROWS[codes]}')
    lowest = min((p['r2'] for p in points if p['r2'] is not None), default=0)
    axes[0, 0].set_ylim(max(lowest - 0.02, 0), 1.02)
    axes[0, 0].set_xscale('log', base=2)
    axes[0, 0].xaxis.set_major_formatter('{x:.3g}')
    for ax in axes[1]:
      ax.set_xlabel('active codes a row (L0)' if is_alone else 'L0')
    drawing.legend(
      *axes[1, 0].get_legend_handles_labels(), loc='outside lower center',
      ncols=3 if is_alone else 6, columnspacing=1, handlelength=2.4,
    )  # fmt: skip
  names = list(points[0]) if points else []
  return Figure(drawing, {n: [p[n] for p in points] for n in names})


def _histogram(ax, score_S, weight_S) -> tuple[np.ndarray, np.ndarray]:
  """Draws shares of a total over modality scores, ends coloured."""
  shares, edges = np.histogram(
    score_S, bins=_BINS, range=(0, 1), weights=weight_S
  )
  shares = shares / max(shares.sum(), 1e-12)
  centres = (edges[:-1] + edges[1:]) / 2
  colour = lambda c: COLOURS[
    'image' if c > IMAGE_CUT else 'text' if c < TEXT_CUT else 'shared'
  ]
  ax.bar(centres, shares, 0.9 / _BINS, color=[colour(c) for c in centres])
  ax.set_xlabel('modality score (0 text only, 1 image only)')
  return centres, shares


def modality_histograms(
  score_S: np.ndarray,
  energy_S: np.ndarray,
  twin_score_S: np.ndarray | None = None,
  twin_energy_S: np.ndarray | None = None,
) -> Figure:
  """Modality scores of live concepts: as they count, and by their energy.

  The structureless twin, if there is one, is drawn as a line.
  """
  live_S = np.isfinite(score_S)
  columns = {}
  with rc_context(STYLE):
    drawing, axes = panels(2)
    for ax, name, of in (
      (axes[0], 'concepts', lambda energy_S: np.ones(len(energy_S))),
      (axes[1], 'energy', lambda energy_S: energy_S),
    ):
      centres, shares = _histogram(ax, score_S[live_S], of(energy_S)[live_S])
      columns |= {'modality_score': centres, f'share_of_{name}': shares}
      ax.set_title(f'share of {name}')
      if twin_score_S is not None:
        kept_S = np.isfinite(twin_score_S)
        shares, edges = np.histogram(
          twin_score_S[kept_S], bins=_BINS, range=(0, 1),
          weights=of(twin_energy_S)[kept_S],
        )  # fmt: skip
        shares = shares / max(shares.sum(), 1e-12)
        ax.stairs(shares, edges, color=COLOURS['twin'], label='Gaussian twin')
        columns[f'twin_share_of_{name}'] = shares
        ax.legend(loc='upper center')
  return Figure(drawing, columns)


def gap_cosines(
  cosine_S: np.ndarray, energy_S: np.ndarray, floors: Mapping[str, float]
) -> Figure:
  """|cos| of concept directions to the gap direction, against their energy."""
  with rc_context(STYLE):
    drawing, (ax,) = panels(width=5.4, height=2.7)
    ax.scatter(cosine_S, energy_S, s=9, color='#444444', alpha=0.6, linewidth=0)
    ax.set_yscale('log')
    ax.set_xlim(0, 1)
    for i, (name, value) in enumerate(floors.items()):
      ax.axvline(
        value, color=COLOURS['twin'], linestyle=('-', '--')[i % 2],
        linewidth=1.2, label=f'median of random, {name}: {value:.3f}',
      )  # fmt: skip
    ax.set_xlabel('|cos| to the direction between the modality means')
    ax.set_ylabel('energy')
    ax.legend()
  return Figure(drawing, {'cosine_to_gap': cosine_S, 'energy': energy_S})


def bridge_excess(
  b_P: np.ndarray, b0_P: np.ndarray, kind_P: Sequence[str]
) -> Figure:
  """B of the strongest bridges, split into what shuffled pairs give and not."""
  with rc_context(STYLE):
    drawing, (ax,) = panels(height=2.4)
    place = np.arange(len(b_P))
    ax.bar(place, b0_P, color='#c8c8c8', label='unpaired part B⁰')
    ax.bar(place, b_P - b0_P, bottom=b0_P, color='#444444', label='excess')
    ax.set_xlabel('cross bridges, by excess')
    ax.set_ylabel('B')
    ax.legend()
  return Figure(drawing, {'b': b_P, 'b0': b0_P, 'kind': list(kind_P)})


def recall_curves(
  ks: Sequence[int], curves: Mapping[str, Mapping[str, Sequence[float]]]
) -> Figure:
  """Recall among the first k candidates, and what chance would give.

  Args:
    ks: how many candidates are looked at, rising.
    curves: `recall` with `low` and `high`, and `chance`, each by k, for
      'image_to_text' and its like.
  """
  columns = {'k': ks}
  with rc_context(STYLE):
    drawing, (ax,) = panels(width=5.4, height=3)
    for way, c in curves.items():
      colour = COLOURS[way.partition('_')[0]]
      ax.plot(ks, c['recall'], color=colour, label=way.replace('_', ' '))
      ax.fill_between(
        ks, c['low'], c['high'], color=colour, alpha=0.2, linewidth=0
      )
      ax.plot(ks, c['chance'], color=colour, linestyle='--', linewidth=1)
      columns |= {f'{way}_{name}': values for name, values in c.items()}
    ax.plot([], [], color=COLOURS['shared'], linestyle='--', label='chance')
    ax.set_xscale('log')
    ax.set_ylim(0, 1.02)
    ax.set_xlabel('candidates looked at (k)')
    ax.set_ylabel('recall@k')
    ax.legend()
  return Figure(drawing, columns)


def class_accuracy(columns: Mapping[str, Sequence], chance: float) -> Figure:
  """Zero-shot accuracy of every class that has images, the best first.

  Args:
    columns: by class, 'class', 'images', 'top1' with 'low' and 'high', and
      'single_top1', that of a single template.
    chance: accuracy of guessing.
  """
  columns = {name: np.asarray(values) for name, values in columns.items()}
  order = np.argsort(-columns['top1'], kind='stable')
  order = order[columns['images'][order] > 0]
  columns = {name: values[order] for name, values in columns.items()}
  place, top1 = np.arange(len(order)), columns['top1']
  with rc_context(STYLE):
    drawing, (ax,) = panels(height=3)
    ax.errorbar(
      place, top1, [top1 - columns['low'], columns['high'] - top1],
      color=COLOURS['image'], ecolor=COLOURS['shared'], elinewidth=0.8,
      linestyle='none', marker='o', markersize=3, label='all templates',
    )  # fmt: skip
    ax.plot(place, columns['single_top1'], '_', color=COLOURS['text'],
            label='first template')  # fmt: skip
    ax.axhline(chance, color=COLOURS['shared'], linestyle='--', linewidth=1,
               label=f'chance: {chance:.3g}')  # fmt: skip
    if len(order) <= _NAMED_CLASSES:
      ax.set_xticks(
        place, columns['class'], rotation=60, ha='right', parse_math=False
      )
    else:
      ax.set_xlabel('classes, by accuracy')
    ax.set_ylim(-0.02, 1.02)
    ax.set_ylabel('top-1 accuracy')
    drawing.legend(loc='outside right upper')
  return Figure(drawing, columns)
