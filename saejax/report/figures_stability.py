"""Figures of stability."""

from collections.abc import Mapping
from collections.abc import Sequence

from matplotlib import rc_context
import numpy as np

from saejax.report import figures

_WORDS = {
  'seed': 'seed',
  'data_seed': 'order',
  'rows': 'share of images',
  'draw': 'rows',
}


def _label(kind: str) -> str:
  """What runs differ in, as words."""
  names = [n for n in kind.split('+') if n != 'seed'] or ['seed']
  other = 'other ' + ' and '.join(_WORDS.get(n, n) for n in names)
  return other + (' and seed' if '+seed' in kind else '')


def _floors(ax, floors: Mapping[str, float]) -> None:
  styles = (':', '--', '-.')
  for style, (name, value) in zip(styles, floors.items(), strict=False):
    ax.axhline(value, color=figures.COLOURS['shared'], linestyle=style,
               linewidth=1, label=f'floor, {name}: {value:.2f}')  # fmt: skip


def top_curves(
  tops: Sequence[int],
  curves: Mapping[str, np.ndarray],
  floors: Mapping[str, float],
) -> figures.Figure:
  """Mean matched cosine of the n concepts of most energy, against n.

  Args:
    tops: n, rising.
    curves: by what the runs differ in, [pairs, len(tops)].
    floors: of untrained dictionaries, by name.
  """
  columns = {'n': list(tops)}
  with rc_context(figures.STYLE):
    drawing, (ax,) = figures.panels(width=5.4, height=3)
    for i, (kind, y_PN) in enumerate(curves.items()):
      colour = figures.SERIES[i % len(figures.SERIES)]
      ax.plot(tops, y_PN.mean(0), color=colour, label=_label(kind))
      ax.fill_between(
        tops, y_PN.min(0), y_PN.max(0), color=colour, alpha=0.2, linewidth=0
      )
      columns |= {
        kind: y_PN.mean(0),
        f'{kind} low': y_PN.min(0),
        f'{kind} high': y_PN.max(0),
      }
    _floors(ax, floors)
    ax.set_xscale('log')
    ax.set_ylim(0, 1.02)
    ax.set_xlabel('concepts, those of most energy first')
    ax.set_ylabel('mean matched cosine')
    drawing.legend(loc='outside right upper')
  return figures.Figure(drawing, columns)


def tenths(
  by_rate: Mapping[str, np.ndarray], by_energy: Mapping[str, np.ndarray]
) -> figures.Figure:
  """Mean matched cosine by tenth of concepts, rarest and faintest first.

  Args:
    by_rate: by what the runs differ in, [≤ 10] from the rarest up.
    by_energy: the same from the faintest up.
  """
  columns = {}
  with rc_context(figures.STYLE):
    drawing, both = figures.panels(2)
    for ax, what, found in (
      (both[0], 'frequency', by_rate),
      (both[1], 'energy', by_energy),
    ):
      for i, (kind, y_T) in enumerate(found.items()):
        colour = figures.SERIES[i % len(figures.SERIES)]
        ax.plot(
          1 + np.arange(len(y_T)), y_T, 'o-', color=colour, label=_label(kind),
          markersize=3,
        )  # fmt: skip
        columns |= {'tenth': 1 + np.arange(len(y_T)), f'{kind} by {what}': y_T}
      ax.set_xlabel(f'tenth of concepts by {what}')
      ax.set_ylim(0, 1.02)
    both[0].set_ylabel('mean matched cosine')
    both[0].legend()
  return figures.Figure(drawing, columns)


def diets(points: Sequence[Mapping[str, float]]) -> figures.Figure:
  """Stability against the middle diet, by share of images.

  Args:
    points: each with `share` (None for the control of other rows), `mean`,
      `energy_weighted` and `rarest_tenth`, each with `_low` and `_high`.
  """
  shown = [p for p in points if p['share'] is not None]
  control = [p for p in points if p['share'] is None]
  labels = {
    'mean': 'all concepts',
    'energy_weighted': 'weighted by energy',
    'rarest_tenth': 'rarest tenth',
  }
  with rc_context(figures.STYLE):
    drawing, (ax,) = figures.panels(width=5.4, height=3)
    for i, (name, label) in enumerate(labels.items()):
      y, low, high = (
        np.array([p[name + end] for p in shown])
        for end in ('', '_low', '_high')
      )
      ax.errorbar(
        [p['share'] for p in shown], y, [y - low, high - y], marker='o',
        markersize=4, capsize=2, color=figures.SERIES[i], label=label,
      )  # fmt: skip
      for p in control:
        ax.axhline(p[name], color=figures.SERIES[i], linestyle='--',
                   linewidth=1)  # fmt: skip
    ax.plot([], [], color=figures.COLOURS['shared'], linestyle='--',
            label='same share, other rows')  # fmt: skip
    ax.set_ylim(0, 1.02)
    ax.set_xlabel('images among the training rows')
    ax.set_ylabel('matched cosine to the middle diet')
    drawing.legend(loc='outside right upper')
  return figures.Figure(drawing, {n: [p[n] for p in points] for n in points[0]})
