"""Numbers of concepts and bridges that a page shows, and what they mean."""

from collections.abc import Mapping

import numpy as np

from saejax.explorer import schema
from saejax.explorer import sources

LEAST_P = 1e-30  # Smaller p values are not told apart.
# Name: label, unit, whether it is shown by its logarithm, definition.
_CONCEPTS = {
  'energy': (
    'energy', '', True,
    'Mean activation over all rows, images and texts weighing the same.',
  ),
  'rate': (
    'firing rate', 'share of rows', True,
    'Share of rows in which it is active, images and texts weighing the same.',
  ),
  'rate_image': (
    'firing rate, images', 'share of images', False,
    'Share of images in which it is active.',
  ),
  'rate_text': (
    'firing rate, texts', 'share of texts', False,
    'Share of texts in which it is active.',
  ),
  'modality': (
    'modality score', '', False,
    'Share of its energy that comes from images: 1 is images only, 0 texts '
    'only.',
  ),
  'modality_low': (
    'modality score, low', '', False,
    'Lower bound of its 95 % interval, by resampling images.',
  ),
  'modality_high': (
    'modality score, high', '', False,
    'Upper bound of its 95 % interval, by resampling images.',
  ),
  'axis': (
    'along the gap', '|cos|', False,
    'Absolute cosine of its direction to the difference of the means of images '
    'and texts.',
  ),
  'bridge': (
    'bridge mass', '', False,
    'What its replicated bridges add to the similarity of matched pairs beyond '
    'chance, on either side.',
  ),
  'stability': (
    'stability', 'cosine', False,
    'Mean cosine to its partner when the dictionary is trained again from '
    'another start; undefined where it was not measured.',
  ),
  'label_score': (
    'label score', 'AUROC', False,
    'How well its label tells the rows in which it fires, on rows that did not '
    'choose the label: 0.5 is chance.',
  ),
  'faithful': (
    'place on the map', 'share', False,
    'Share of its ten nearest concepts by direction that are among its ten '
    'nearest on the map.',
  ),
  'max_cosine': (
    'nearest cosine', 'cosine', False,
    'Cosine to the nearest other concept.',
  ),
}  # fmt: skip
# Where rows are tokens.
_OF_TOKENS = {
  'energy': (
    'energy', '', True,
    'Mean activation over all tokens, those of images and of texts weighing '
    'the same.',
  ),
  'rate': (
    'firing rate', 'share of tokens', True,
    'Share of tokens in which it is active, those of images and of texts '
    'weighing the same.',
  ),
  'rate_image': (
    'firing rate, images', 'share of tokens', False,
    'Share of the tokens of images in which it is active.',
  ),
  'rate_text': (
    'firing rate, texts', 'share of tokens', False,
    'Share of the tokens of texts in which it is active.',
  ),
  'axis': (
    'along the gap', '|cos|', False,
    'Absolute cosine of its direction to the difference of the mean tokens of '
    'images and of texts.',
  ),
}  # fmt: skip
_EDGES = {
  'excess': (
    'excess', '', False,
    'What the pair adds to the similarity of matched rows beyond what '
    'unmatched rows have: b less b0. Bridges are ranked by it.',
  ),
  'b': (
    'bridge score', '', False,
    'Mean product of the two activations over matched pairs, times the cosine.',
  ),
  'b0': (
    'by chance', '', False,
    'Product of the two mean activations, times the cosine: the score of '
    'shuffled pairs.',
  ),
  'cosine': (
    'cosine', '', False, 'Cosine of the two directions.',
  ),
  'joint': (
    'pairs together', 'pairs', False,
    'Matched pairs in which both fire.',
  ),
  'lift': (
    'lift', 'times chance', True,
    'Pairs in which both fire, over those expected if pairs were shuffled.',
  ),
  'p': (
    'p', '', True,
    'Of firing together under shuffled pairs, one-sided and not corrected; '
    f'{LEAST_P:.0e} stands for all that is less; undefined where too little '
    'was to be expected.',
  ),
  'correlation': (
    'correlation', '', False,
    "Pearson's correlation of the two activations over matched pairs.",
  ),
}  # fmt: skip


def _columns(told, values: Mapping[str, np.ndarray]) -> list[schema.Column]:
  return [
    schema.Column(
      name=name,
      label=label,
      definition=what,
      values=values[name],
      unit=unit,
      log=log,
    )
    for name, (label, unit, log, what) in told.items()
  ]


def of_concepts(
  a: sources.Analysed, label_score_N: np.ndarray
) -> list[schema.Column]:
  """Numbers of the live concepts."""
  c, e, live = a.concepts, a.evidence, a.live
  stable_S = a.stability_S
  if stable_S is None:
    stable_S = np.full(len(c['live']), np.nan)
  both = lambda name: (c[f'{name}_image'] + c[f'{name}_text'])[live]
  return _columns(
    _CONCEPTS | (_OF_TOKENS if a.reads == 'tokens' else {}),
    {
      'energy': both('energy') / 2,
      'rate': both('rate') / 2,
      'rate_image': c['rate_image'][live],
      'rate_text': c['rate_text'][live],
      'modality': c['modality_score'][live],
      'modality_low': c['modality_low'][live],
      'modality_high': c['modality_high'][live],
      'axis': c['cosine_to_gap'][live],
      'bridge': both('bridge_mass'),
      'stability': stable_S[live],
      'label_score': label_score_N,
      'faithful': e['faithful'][live],
      'max_cosine': e['max_cosine'][live],
    },
  )


def of_bridges(a: sources.Analysed) -> list[schema.Column]:
  """Numbers of the bridges, in the order of the analysis."""
  values = {name: a.bridges[name] for name in _EDGES}
  # Pages read float32, in which less is 0; NaN stays.
  values['p'] = np.maximum(values['p'], LEAST_P)
  return _columns(_EDGES, values)
