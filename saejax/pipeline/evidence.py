"""The rows behind every concept and bridge, for pages that show them.

`evidence.safetensors` has an entry for each concept of the dictionary, dead
ones too, and rows are numbers of the store's streams; -1 is none. Where rows
are tokens, one stands for its example, and `evidence_heat` tells of the others.
`evidence.json` says the version, 2; without one it is 1, without heat.
"""

from collections.abc import Mapping
import dataclasses
import os
from typing import Any

import numpy as np
import scipy.sparse

from saejax import results
from saejax.analysis import bridges as bridges_lib
from saejax.analysis import evidence
from saejax.analysis import neighbours
from saejax.analysis import places
from saejax.pipeline import evidence_heat
from saejax.pipeline import findings
from saejax.pipeline import sides
from saejax.store import files
from saejax.store import hashing
from saejax.store import manifest

VERSION = 2
_SIDES = ('image', 'text')
STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0)
_BRIDGES = 2000  # Those with examples, the strongest.
_STEERED, _FOUND = 200, 6  # Concepts, and pictures that each query finds.
_QUERIES, _ACTIVE = 300, 12  # Rows of each side, and concepts of each.
_NEAR, _NEAR_SIDE = 10, 4
_SAMPLE = 2000  # Pairs whose codes are kept, to match dictionaries by.
Arrays = dict[str, np.ndarray]
_SAMPLING = (
  'Examples come from {split}, by fixed rules: rows are ranked by activation, '
  'those that show or say the same count once, and each is shown in one band '
  'only.'
)
_SPLITS = {
  'test': 'the split test, that neither training nor selection saw',
  'all': 'all rows, those that were trained on too',
}
_RULES = {
  'top': 'The rows in which it fires most.',
  'q99': 'Rows nearest to the 99th percentile of its activations.',
  'q90': 'Rows nearest to the 90th percentile of its activations.',
  'q50': 'Rows nearest to the median of its activations.',
  'near': 'The rows in which it fires least: just above its threshold.',
  'none': 'Rows at random in which it does not fire.',
}
_STEERING = (
  'A caption in which the concept fires, or that of the picture in which it '
  "does: strength times its code times the concept's direction is added to the "
  'vector, so that −1 removes the concept, and pictures are searched by cosine.'
)


def _whose(side: sides.Side) -> np.ndarray:
  """Equal for rows that are the same to the eye."""
  is_text = side.stream.modality == 'text'
  return side.key_n if is_text else side.group_n


def _store_rows(side: sides.Side, rows: np.ndarray) -> np.ndarray:
  """Rows of the store for rows of a side; -1 stays."""
  return np.where(rows >= 0, side.rows_n[rows], -1).astype(np.int32)


def examples(s: findings.Subject) -> Arrays:
  """Rows of every concept by band, and its histograms."""
  found: Arrays = {}
  for i, (name, side) in enumerate(zip(_SIDES, s.whole().test, strict=True)):
    rows_SX, values_SX = evidence.band_rows(side.z_nS, _whose(side))
    found[f'{name}_rows'] = _store_rows(side, rows_SX)
    found[f'{name}_values'] = values_SX
    found |= evidence_heat.measure(s, i, rows_SX)
  h = evidence.histograms(*(side.z_nS for side in s.test))
  return found | {
    'histogram_range': np.stack([h.low_S, h.high_S], 1),
    'histogram_image': h.image_SB,
    'histogram_text': h.text_SB,
  }


def around(d_SD: np.ndarray, concepts: Mapping[str, np.ndarray]) -> Arrays:
  """Neighbours of live concepts, what the map keeps of them, and its groups."""
  live = np.flatnonzero(concepts['live'])
  score_L = concepts['modality_score'][live]
  joint_L2 = concepts['map'][live]
  is_image_L = score_L >= 0.5
  every, image, text = neighbours.nearest(
    d_SD[live],
    [
      (np.ones(len(live), bool), _NEAR),
      (is_image_L, _NEAR_SIDE),
      (~is_image_L, _NEAR_SIDE),
    ],
  )
  index_L8 = np.concatenate([image.index_NK, text.index_NK], 1)

  def spread(of_L, empty, dtype):
    """Of live concepts to all."""
    out = np.full((len(d_SD), *of_L.shape[1:]), empty, dtype)
    out[live] = of_L
    return out

  near_L8 = (
    np.where(index_L8 >= 0, live[index_L8], -1) if len(live) else index_L8
  )
  cosine_L8 = np.concatenate([image.cosine_NK, text.cosine_NK], 1)
  faithful_L = neighbours.preserved(every.index_NK, joint_L2)
  split_L2 = places.by_modality(score_L, joint_L2)
  return {
    'near': spread(near_L8, -1, np.int32),
    'near_cosine': spread(cosine_L8, np.nan, np.float32),
    'max_cosine': spread(every.cosine_NK[:, 0], np.nan, np.float32),
    'faithful': spread(faithful_L, np.nan, np.float32),
    'map_split': spread(split_L2, np.nan, np.float64),
    'cluster': spread(places.clusters(joint_L2), -1, np.int32),
  }


@dataclasses.dataclass(frozen=True)
class _Pairs:
  """Matched pairs, and codes by concept.

  Attributes:
    matched: codes of pairs.
    image_G: the image row of each.
    texts, starts_G, ends_G: its text rows are texts[start:end].
    image_GS, text_GS: codes of `matched`, CSC.
    text_nS: codes of text rows, CSC.
  """

  matched: bridges_lib.Matched
  image_G: np.ndarray
  texts: np.ndarray
  starts_G: np.ndarray
  ends_G: np.ndarray
  image_GS: scipy.sparse.csc_matrix
  text_GS: scipy.sparse.csc_matrix
  text_nS: scipy.sparse.csc_matrix

  def text_of(self, g: int, b_n: np.ndarray) -> int:
    """The text of a pair in which a concept fires most, or the first."""
    own = self.texts[self.starts_G[g] : self.ends_G[g]]
    return int(own[b_n[own].argmax()])


def _column(z: scipy.sparse.csc_matrix, concept: int) -> np.ndarray:
  return z[:, [int(concept)]].toarray().ravel()


def pair_up(s: findings.Subject) -> _Pairs:
  """The matched pairs of the reported split."""
  image, text = s.test
  m = bridges_lib.match(image.z_nS, text.z_nS, image.pair_n, text.pair_n)
  order = np.argsort(image.pair_n, kind='stable')
  texts = np.argsort(text.pair_n, kind='stable')
  pair_n = text.pair_n[texts]
  return _Pairs(
    matched=m,
    image_G=order[np.searchsorted(image.pair_n[order], m.pairs_G)],
    texts=texts,
    starts_G=np.searchsorted(pair_n, m.pairs_G),
    ends_G=np.searchsorted(pair_n, m.pairs_G, 'right'),
    image_GS=m.image_GS.tocsc(),
    text_GS=m.text_GS.tocsc(),
    text_nS=text.z_nS.tocsc(),
  )


def bridge_examples(s: findings.Subject, p: _Pairs, bridges: Arrays) -> Arrays:
  """2x2 tables of the strongest bridges, with pairs for every cell."""
  image, text = s.test
  shown = np.arange(min(len(bridges['image_concept']), _BRIDGES))
  i_P, j_P = (bridges[f'{n}_concept'][shown] for n in ('image', 'text'))
  t = evidence.tables(p.matched, i_P, j_P)
  shape = (len(shown), len(evidence.CELLS), evidence.PER_CELL)
  image_rows, text_rows = np.full(shape, -1), np.full(shape, -1)
  values = np.zeros((*shape, 2), np.float32)
  for e in shown:
    a_G, b_G = _column(p.image_GS, i_P[e]), _column(p.text_GS, j_P[e])
    b_n = _column(p.text_nS, j_P[e])
    for c, pairs in enumerate(evidence.cell_pairs(a_G, b_G, seed=int(e))):
      said = np.array([p.text_of(g, b_n) for g in pairs], np.int64)
      at = (e, c, slice(len(pairs)))
      image_rows[at], text_rows[at] = p.image_G[pairs], said
      values[at] = np.stack([a_G[pairs], b_n[said]], 1)
  return {
    'bridge_table': t.counts_P4.astype(np.int64),
    'bridge_null': t.null_P3.astype(np.float64),
    'bridge_image_rows': _store_rows(image, image_rows),
    'bridge_text_rows': _store_rows(text, text_rows),
    'bridge_values': values,
  }


def query_examples(s: findings.Subject, seed: int = 0) -> Arrays:
  """Concepts that are active in some rows of either side, drawn by a seed."""
  found: Arrays = {}
  for name, side in zip(_SIDES, s.test, strict=True):
    rng = np.random.default_rng(seed)
    _, first = np.unique(_whose(side), return_index=True)
    n = min(_QUERIES, len(first))
    rows = np.sort(rng.choice(first, n, replace=False))
    concepts_nK, values_nK = evidence.active(side.z_nS[rows], _ACTIVE)
    found[f'query_{name}_rows'] = _store_rows(side, rows)
    found[f'query_{name}_concepts'] = concepts_nK.astype(np.int32)
    found[f'query_{name}_values'] = values_nK
  return found


def sample(p: _Pairs) -> Arrays:
  """Codes of some matched pairs, the same ones for every model.

  They are chosen by a hash of the pair's number, so that other dictionaries, of
  other stores of the data set too, keep those of the same pairs.
  """
  pairs_G = p.matched.pairs_G
  chosen = np.sort(np.argsort(hashing.hash64(pairs_G), kind='stable')[:_SAMPLE])
  found: Arrays = {'sample_pairs': pairs_G[chosen].astype(np.int64)}
  for side, z_GS in (
    ('image', p.matched.image_GS),
    ('text', p.matched.text_GS),
  ):
    z_RS = z_GS.tocsr()[chosen]
    found[f'sample_{side}_starts'] = z_RS.indptr.astype(np.int64)
    found[f'sample_{side}_concepts'] = z_RS.indices.astype(np.int32)
    found[f'sample_{side}_values'] = z_RS.data.astype(np.float32)
  return found


def _query(p: _Pairs, concept: int) -> tuple[int, float] | None:
  """A text to change for a concept, and the code that strength 1 adds.

  None for a concept that fires in no matched pair.
  """
  b_n = _column(p.text_nS, concept)
  if b_n.any():
    return int(b_n.argmax()), float(b_n.max())
  a_G = _column(p.image_GS, concept)
  if not a_G.any():
    return None
  return p.text_of(int(a_G.argmax()), b_n), float(np.median(a_G[a_G > 0]))


def steering(
  s: findings.Subject, p: _Pairs, concepts: Arrays, most: int = _STEERED
) -> Arrays:
  """What is found when concepts are taken from, or added to, a caption.

  Of so many concepts that bridges join most strongly, then of most energy. Of
  tokens none: pictures are not searched by them.
  """
  image, text = s.test
  mass_S = concepts['bridge_mass_image'] + concepts['bridge_mass_text']
  energy_S = concepts['energy_image'] + concepts['energy_text']
  order = np.lexsort((-energy_S, -mass_S))
  order = order[concepts['live'][order]][:most].tolist()
  found = {c: q for c in order if (q := _query(p, c)) is not None}
  query_C = np.array([row for row, _ in found.values()], np.int64)
  code_C = np.array([code for _, code in found.values()], np.float32)
  chosen_C = np.array(list(found), np.int32)
  step_CD = code_C[:, None] * s.d_SD[chosen_C]
  rows_CTK = evidence.steered(
    text.x_nD[query_C], step_CD, image.x_nD, STRENGTHS, _FOUND
  )
  return {
    'steer_concepts': chosen_C,
    'steer_query': _store_rows(text, query_C),
    'steer_rows': _store_rows(image, rows_CTK),
  }


def measure(s: findings.Subject, a: findings.Analysis) -> Arrays:
  """Every array of the evidence."""
  whole = s.whole()
  p = pair_up(whole)
  return (
    examples(s)
    | around(s.d_SD, a.concepts)
    | bridge_examples(whole, p, a.bridges)
    | query_examples(whole)
    | sample(p)
    | steering(whole, p, a.concepts, 0 if s.tokens else _STEERED)
  )


def about(s: findings.Subject) -> dict[str, Any]:
  """What the arrays cannot say: rules, in words."""
  return {
    'bands': [
      {'name': name, 'size': size, 'rule': _RULES[name]}
      for name, size in evidence.BANDS.items()
    ],
    'sampling': _SAMPLING.format(split=_SPLITS[s.split]),
    'strengths': list(STRENGTHS),
    'steering': _STEERING,
    'null': 'joint firings under shuffled pairs, hypergeometric, 95 %',
    'split': s.split,
    'rows': {n: len(x.rows_n) for n, x in zip(_SIDES, s.test, strict=True)},
    'k': s.sae.k,
    'latents': s.sae.s,
    'version': VERSION,
    **evidence_heat.about(s),
  }


def write(s: findings.Subject, a: findings.Analysis, out: str) -> None:
  """Writes `evidence.safetensors` and `evidence.json`."""
  os.makedirs(out, exist_ok=True)
  files.write_arrays(os.path.join(out, results.EVIDENCE), measure(s, a))
  manifest.write_json(os.path.join(out, results.EVIDENCE_ABOUT), about(s))
