"""Communities of an analysis' real cross bridges, against rewired bridges."""

from collections.abc import Mapping
import csv
import io
import os
from typing import Any

import numpy as np
import scipy.sparse

from saejax import results
from saejax.analysis import bootstrap
from saejax.analysis import communities
from saejax.store import files

TABLE = 'communities.csv'
_DRAWS = 40
Entries = dict[str, dict[str, Any]]
Arrays = dict[str, np.ndarray]


def _graph(i_E, j_E, weight_E) -> scipy.sparse.csr_matrix:
  return scipy.sparse.csr_matrix((weight_E, (i_E, j_E)))


def measure(
  bridges: Mapping[str, np.ndarray], s: int, n: int, split: str, seed: int = 0
) -> tuple[Entries, Arrays]:
  """Communities by the excess on `val`, their modularity by that reported.

  There are none, and every concept's is -1, unless their modularity is above
  that of 97.5 % of rewired graphs, of which communities are sought alike. Two
  or three loose blocks may pass for chance: sparse graphs are modular too.

  Args:
    bridges: arrays of an analysis.
    s: how many concepts there are.
    n: pairs of rows that the reported excess rests on.
    split: that it is of.
    seed: of the rewired graphs.
  """
  real_P = bridges['replicated'] & bridges['cross']
  image_I, i_E = np.unique(
    bridges['image_concept'][real_P], return_inverse=True
  )
  text_J, j_E = np.unique(bridges['text_concept'][real_P], return_inverse=True)
  chosen_E = bridges['excess_val'][real_P]
  told_E = bridges['excess'][real_P]
  value, null, count = float('nan'), bootstrap.Estimate(float('nan'), 0), 0
  community_S = np.full(s, -1, np.int32)
  if len(i_E):
    label_I, label_J = communities.find(_graph(i_E, j_E, chosen_E))
    value = communities.modularity(_graph(i_E, j_E, told_E), label_I, label_J)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(_DRAWS):
      k_E = communities.rewired(i_E, j_E, rng)
      labels = communities.find(_graph(i_E, k_E, chosen_E))
      drawn.append(communities.modularity(_graph(i_E, k_E, told_E), *labels))
    low, high = bootstrap.interval(np.array(drawn)[:, None])
    null = bootstrap.Estimate(
      float(np.mean(drawn)), _DRAWS, float(low[0]), float(high[0])
    )
    # Rounding alone must not tell a graph from its like.
    if value > high[0] + 1e-9:
      community_S[image_I], community_S[text_J] = label_I, label_J
      count = int(label_I.max()) + 1
  entry = lambda v, **k: results.entry(v, split=split, **k)
  rewired = entry(null, unit='rewired graphs')
  return {
    'bridges/communities': entry(count, n=int(real_P.sum()), unit='bridges'),
    'bridges/modularity': entry(value, n=n),
    'bridges/modularity_rewired': rewired
    | ({'interval': 'range of rewired graphs'} if 'low' in rewired else {}),
  }, {'community': community_S}


def write(
  bridges: Mapping[str, np.ndarray], community_S: np.ndarray, out: str
) -> None:
  """Writes `communities.csv`: members, with their bridges and excess."""
  real_P = bridges['replicated'] & bridges['cross']
  rows = []
  for side in ('image', 'text'):
    concept_P = bridges[f'{side}_concept']
    for concept in np.unique(concept_P[real_P]):
      own_P = real_P & (concept_P == concept)
      if (c := int(community_S[concept])) >= 0:
        excess = float(bridges['excess'][own_P].sum())
        rows.append((c, side, int(concept), int(own_P.sum()), excess))
  rows.sort(key=lambda row: (row[0], row[1], -row[4]))
  text = io.StringIO(newline='')
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(('community', 'modality', 'concept', 'bridges', 'excess'))
  writer.writerows(rows)
  os.makedirs(out, exist_ok=True)
  files.write_text(os.path.join(out, TABLE), text.getvalue())
