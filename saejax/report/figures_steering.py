"""Figures of steering: what it does, what it costs, and against what chance."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
import numpy as np

from saejax.report import figures

Points = Sequence[Mapping[str, Any]]
_TITLES = {
  'image': 'added at the image',
  'answer': 'added at the answer',
  'turned': 'turned at the image',
}


def _columns(points: Points) -> dict[str, list]:
  names = list(points[0]) if points else []
  return {n: [p[n] for p in points] for n in names}


def efficacy_damage(points: Points) -> figures.Figure:
  """Probability of the target's answer against damage: a panel for each site.

  A line is a kind of direction, a marker a strength.

  Args:
    points: each with `site`, `direction`, `strength`, `efficacy` and `damage`,
      both with `_low` and `_high`.
  """
  sites = list(dict.fromkeys(p['site'] for p in points))
  kinds = list(dict.fromkeys(p['direction'] for p in points))
  ends = [e for p in points for e in (p['damage_low'], p['damage_high'])]
  most = min([*ends, 0]) - 0.02, max([*ends, 0.1]) * 1.1
  ticks = [t for t in (-1, 0, 0.1, 0.3, 1, 10) if most[0] <= t <= most[1]]
  with rc_context(figures.STYLE):
    drawing, axes = figures.panels(max(len(sites), 1), height=3.2)
    for ax, site in zip(axes, sites, strict=False):
      for i, kind in enumerate(kinds):
        own = [p for p in points if (p['site'], p['direction']) == (site, kind)]
        of = lambda key, own=own: np.array([p[key] for p in own], float)
        x, y = of('damage'), of('efficacy')
        ax.errorbar(
          x, y,
          [y - of('efficacy_low'), of('efficacy_high') - y],
          [x - of('damage_low'), of('damage_high') - x],
          color=figures.SERIES[i % len(figures.SERIES)], label=kind,
          marker='o', markersize=3.5, linewidth=1.2, elinewidth=0.7,
        )  # fmt: skip
      ax.set_xscale('symlog', linthresh=0.1)
      ax.set_xlim(*most)
      ax.set_xticks(ticks, [f'{t:g}' for t in ticks])
      ax.minorticks_off()
      ax.set_ylim(-0.02, 1.02)
      ax.set_title(_TITLES[site])
      ax.set_xlabel('damage, nats per token of other captions')
    axes[0].set_ylabel("probability of the target's answer")
    if sites:
      drawing.legend(
        *axes[0].get_legend_handles_labels(), loc='outside lower center',
        ncols=6, columnspacing=1, handlelength=1.6,
      )  # fmt: skip
  return figures.Figure(drawing, _columns(points))


def by_layer(points: Points) -> figures.Figure:
  """The rise of the target's probability over layers: a panel a factor.

  Args:
    points: each with `factor`, `layer`, `direction` and `rise`, with its `low`
      and `high`.
  """
  factors = list(dict.fromkeys(p['factor'] for p in points))
  kinds = list(dict.fromkeys(p['direction'] for p in points))
  with rc_context(figures.STYLE):
    drawing, axes = figures.panels(max(len(factors), 1), height=2.9)
    for ax, factor in zip(axes, factors, strict=False):
      for i, kind in enumerate(kinds):
        own = [
          p for p in points if (p['factor'], p['direction']) == (factor, kind)
        ]
        of = lambda key, own=own: np.array([p[key] for p in own], float)
        ax.errorbar(
          of('layer'), of('rise'),
          [of('rise') - of('low'), of('high') - of('rise')],
          color=figures.SERIES[i % len(figures.SERIES)], label=kind,
          marker='o', markersize=3.5, linewidth=1.2, elinewidth=0.7,
        )  # fmt: skip
      ax.axhline(0, color='#222222', linewidth=0.6)
      ax.set_ylim(-0.05, 1.02)
      ax.set_xticks(sorted({p['layer'] for p in points}))
      ax.set_title(factor)
      ax.set_xlabel('layer that is edited')
    axes[0].set_ylabel("rise of the target's probability")
    axes[0].legend()
  return figures.Figure(drawing, _columns(points))


def ranks(lines: Points) -> figures.Figure:
  """The effect of each class's direction, over that of directions by chance.

  Args:
    lines: each with `site`, `class`, `rise` with `rise_low` and `rise_high`,
      `null_low`, `null_high`, `null_max`, `wrong_mean` and `p_holm`.
  """
  sites = list(dict.fromkeys(p['site'] for p in lines))
  with rc_context(figures.STYLE):
    drawing, axes = figures.panels(max(len(sites), 1), height=3.2)
    for ax, site in zip(axes, sites, strict=False):
      own = [p for p in lines if p['site'] == site]
      of = lambda key, own=own: np.array([p[key] for p in own], float)
      place, rise = np.arange(len(own)), of('rise')
      low = of('null_low')
      ax.bar(place, of('null_high') - low, 0.7, bottom=low, color='#d8d8d8',
             label='95 % of directions by chance')  # fmt: skip
      ax.plot(place, of('null_max'), '_', color='#8a8a8a', markersize=9,
              label='the largest of them')  # fmt: skip
      ax.plot(place, of('wrong_mean'), 'x', color=figures.COLOURS['text'],
              markersize=4, label='directions of other classes')  # fmt: skip
      ax.errorbar(
        place, rise, [rise - of('rise_low'), of('rise_high') - rise],
        color=figures.COLOURS['image'], linestyle='none', elinewidth=0.8,
        marker='o', markersize=4, label='its own direction',
      )  # fmt: skip
      for i, p in enumerate(own):
        if p['p_holm'] <= 0.05:
          ax.annotate('*', (i, p['rise_high']), ha='center')
      ax.axhline(0, color='#222222', linewidth=0.6)
      ax.set_xticks(place, [p['class'] for p in own], rotation=60, ha='right')
      ax.set_title(_TITLES[site])
    axes[0].set_ylabel("rise of the target's probability")
    if sites:
      drawing.legend(
        *axes[0].get_legend_handles_labels(), loc='outside lower center',
        ncols=2,
      )  # fmt: skip
  return figures.Figure(drawing, _columns(lines))


def cosines(points: Points) -> figures.Figure:
  """Cosine of directions to their sparse fits, by number of atoms.

  Args:
    points: each with `basis`, `directions`, `atoms`, `cosine`, `low`, `high`.
  """
  bases = list(dict.fromkeys(p['basis'] for p in points))
  kinds = list(dict.fromkeys(p['directions'] for p in points))
  with rc_context(figures.STYLE):
    drawing, axes = figures.panels(max(len(bases), 1), height=2.9)
    for ax, basis in zip(axes, bases, strict=False):
      for i, kind in enumerate(kinds):
        own = [
          p for p in points if (p['basis'], p['directions']) == (basis, kind)
        ]
        of = lambda key, own=own: np.array([p[key] for p in own], float)
        colour = figures.SERIES[i]
        ax.plot(of('atoms'), of('cosine'), color=colour,
                label=kind.replace('_', ' '))  # fmt: skip
        ax.fill_between(of('atoms'), of('low'), of('high'), color=colour,
                        alpha=0.2, linewidth=0)  # fmt: skip
      ax.set_ylim(0, 1.02)
      ax.set_title(f'in the basis of {basis}')
      ax.set_xlabel('atoms')
    axes[0].set_ylabel('cosine to the direction')
    axes[0].legend()
  return figures.Figure(drawing, _columns(points))
