"""Where concepts fire within the examples that are shown, token by token.

Of each side, where its store says where tokens are: `image_heat_starts`,
`_cells`, `_q` and `_scale` are `analysis.heat.Cells`; a cell is a patch of the
image, row by row, or the place of a token among those kept of its caption.
`_rows` are the shown examples by the rows that stand for them, rising by
example. `image_heat_kept` says of each of which patches the store has every
token, eight to a byte; `text_heat_spans` holds the letters, from and to, of the
tokens of each, which begin at `text_heat_token_starts`.
"""

from typing import Any

import numpy as np

from saejax.analysis import heat
from saejax.pipeline import evidence_patches
from saejax.pipeline import findings
from saejax.pipeline import token_sides

_PATCHES = (
  'The strongest of the tokens that see a patch of the image: of the image as '
  'a whole, and of its tiles; tokens that end a row see none.'
)
_WORDS = 'The tokens of the caption.'
_ROW = (
  'A row is a token: one position of the language model’s stream at {layer}. '
  'An example, a picture or a caption, counts by its strongest token; rates, '
  'energies and histograms count tokens.'
)
_POOLED = (
  'A row is the mean over an example’s tokens, at {layer} of the language '
  'model.'
)
Arrays = dict[str, np.ndarray]


def _is_placed(t: token_sides.Tokens) -> bool:
  """Whether the store says where in their examples tokens are."""
  is_image = t.stream.modality == 'image'
  wanted = ('position', 'patch') if is_image else ('start', 'end')
  return all(t.column(name) is not None for name in wanted) and all(
    (t.column(name) >= 0).any() for name in wanted
  )


def _cell(t: token_sides.Tokens) -> np.ndarray:
  """Where in its example each token is."""
  if t.stream.modality == 'image':
    return t.column('patch')
  starts_N = np.searchsorted(t.example_n, np.arange(t.example_n[-1] + 1))
  return np.arange(len(t.example_n)) - starts_N[t.example_n]


def _kept(t: token_sides.Tokens, examples_E: np.ndarray, p: int) -> Arrays:
  """Of which patches of examples the store has every token."""
  position_n, patch_n = t.column('position'), t.column('patch')
  # An image begins where the patch's number is the place in it: what comes
  # before is the same of all.
  first = (position_n - patch_n)[patch_n >= 0].min()
  starts = np.searchsorted(t.example_n, examples_E)
  stops = np.searchsorted(t.example_n, examples_E, 'right')
  kept_EP = np.zeros((len(examples_E), p * p), bool)
  for e, (start, stop) in enumerate(zip(starts, stops, strict=True)):
    order = start + np.argsort(position_n[start:stop])
    kept_EP[e] = evidence_patches.whole(
      position_n[order] - first, patch_n[order], p
    )
  return {'image_heat_kept': np.packbits(kept_EP, axis=1)}


def _spans(t: token_sides.Tokens, examples_E: np.ndarray) -> Arrays:
  """Letters of the tokens of examples."""
  at_n = np.flatnonzero(np.isin(t.example_n, examples_E))
  starts = np.searchsorted(t.example_n[at_n], examples_E)
  span_n2 = np.stack([t.column('start'), t.column('end')], 1)[at_n]
  return {
    'text_heat_spans': span_n2.astype(np.int32),
    'text_heat_token_starts': np.append(starts, len(at_n)).astype(np.int64),
  }


def measure(s: findings.Subject, side: int, shown_SX: np.ndarray) -> Arrays:
  """Cells of the shown examples of one side; {} where rows have no places.

  Args:
    s: the subject.
    side: 0 for images, 1 for texts.
    shown_SX: examples of each concept by band, −1 for none.
  """
  if s.tokens is None or not _is_placed(s.tokens[side]):
    return {}
  t, name = s.tokens[side], ('image', 'text')[side]
  found = heat.cells(t.z_nS, t.example_n, _cell(t), shown_SX)
  examples_E = np.unique(shown_SX[shown_SX >= 0])
  p = s.store.about.get('patches', 0)
  rows_E = t.rows_n[np.searchsorted(t.example_n, examples_E)]
  own = _spans(t, examples_E) if side else _kept(t, examples_E, p)
  return own | {
    f'{name}_heat_starts': found.starts,
    f'{name}_heat_cells': found.cell,
    f'{name}_heat_q': found.q,
    f'{name}_heat_scale': found.scale_S,
    f'{name}_heat_rows': rows_E.astype(np.int64),
  }


def about(s: findings.Subject) -> dict[str, Any]:
  """What the arrays cannot say; {} of a store whose rows are no tokens."""
  if s.tokens is None:
    return {}
  image, text = s.tokens
  number = int(image.stream.name.partition('.')[0].removeprefix('layer'))
  layer = f'layer {number}'
  has_places = 'position' in image.stream.spec.columns
  p = s.store.about.get('patches', 0)
  told: dict[str, Any] = {}
  if _is_placed(image):
    told['image'] = {'w': p, 'h': p, 'cells': _PATCHES}
  if _is_placed(text):
    told['text'] = {'cells': _WORDS}
  return {
    'streams': {'image': image.stream.name, 'text': text.stream.name},
    'reads': 'tokens' if has_places else 'pooled',
    'row': (_ROW if has_places else _POOLED).format(layer=layer),
    'heat': told or None,
  }
