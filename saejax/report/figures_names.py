"""Figures of how well concepts are named, how often they fire, how near."""

from collections.abc import Mapping

from matplotlib import rc_context
import numpy as np

from saejax.report import figures

_BINS = 25


def _shares(values_n, edges: np.ndarray) -> np.ndarray:
  """Shares of values between edges; those beyond count in the last bins."""
  values_n = np.asarray(values_n)[np.isfinite(values_n)]
  counts, _ = np.histogram(np.clip(values_n, edges[0], edges[-1]), edges)
  return counts / max(len(values_n), 1)


def name_scores(
  scores: Mapping[str, np.ndarray], nulls: Mapping[str, np.ndarray]
) -> figures.Figure:
  """Held-out AUROC of names: a panel for each source, others' names as a line.

  Args:
    scores: by source, of each concept's own name; NaN is left out.
    nulls: by source, of another concept's name.
  """
  edges = np.linspace(0, 1, _BINS + 1)
  columns = {'auroc_from': edges[:-1]}
  with rc_context(figures.STYLE):
    drawing, axes = figures.panels(max(len(scores), 1))
    for ax, (source, score_S) in zip(axes, scores.items(), strict=False):
      own, null = _shares(score_S, edges), _shares(nulls[source], edges)
      ax.bar(edges[:-1], own, np.diff(edges), align='edge', color='#444444',
             label='own name')  # fmt: skip
      ax.stairs(null, edges, color=figures.COLOURS['twin'],
                label="another's name")  # fmt: skip
      ax.set_title(f'names from {source}')
      ax.set_xlabel('AUROC on held-out rows')
      columns |= {source: own, f'{source}_null': null}
    axes[0].set_ylabel('share of concepts')
    if scores:
      handles = axes[0].get_legend_handles_labels()
      drawing.legend(*handles, loc='outside lower center', ncols=2)
  return figures.Figure(drawing, columns)


def densities(
  shares: Mapping[str, np.ndarray], edges: np.ndarray
) -> figures.Figure:
  """How often concepts fire, by modality: shares over log10 of the rate."""
  with rc_context(figures.STYLE):
    drawing, (ax,) = figures.panels(width=5.4)
    for name, share in shares.items():
      ax.stairs(share, edges, color=figures.COLOURS[name], label=name)
    ax.set_xlabel('log10 of the share of rows (the left end also never)')
    ax.set_ylabel('share of concepts')
    ax.legend()
  return figures.Figure(drawing, {'log10_from': edges[:-1], **shares})


def max_cosines(found: Mapping[str, np.ndarray]) -> figures.Figure:
  """Largest cosine of each direction to another: concepts and random ones."""
  edges = np.linspace(0, 1, 2 * _BINS + 1)
  shares = {name: _shares(cosine_n, edges) for name, cosine_n in found.items()}
  colours = {'concepts': '#444444', 'isotropic': figures.COLOURS['twin']}
  with rc_context(figures.STYLE):
    drawing, (ax,) = figures.panels(width=5.4)
    for name, share in shares.items():
      ax.stairs(share, edges, color=colours[name], label=name)
    ax.set_xlabel('largest cosine to another direction')
    ax.set_ylabel('share')
    ax.legend()
  return figures.Figure(drawing, {'cosine_from': edges[:-1], **shares})
