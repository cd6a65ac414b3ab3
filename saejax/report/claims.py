"""The claims of arXiv 2504.11695, each held to the numbers of one model.

What clears what is said in each claim's own words; see `judging`.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses

import scipy.stats

from saejax.report import judging

HOLDS, FAILS, OPEN = judging.HOLDS, judging.FAILS, judging.OPEN
Entry, Judged = judging.Entry, judging.Judged
compare, all_of = judging.compare, judging.all_of
_LEVEL = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
  """Results of one model, by stage; stages that were not run are empty.

  Attributes:
    pareto: entries of this model, without the prefix.
    stability: of retrained dictionaries.
    analysis: with `surrogate/…`.
    intervene: of removed concepts.
    diets: of dictionaries trained on other mixtures.
  """

  pareto: Mapping[str, Entry]
  stability: Mapping[str, Entry]
  analysis: Mapping[str, Entry]
  intervene: Mapping[str, Entry]
  diets: Mapping[str, Entry]


_SAES = ('batch_topk', 'topk', 'jumprelu')


def _points(
  pareto: Mapping[str, Entry], key: str
) -> dict[str, dict[int, Entry]]:
  """Entries METHOD/l0=N/KEY as found[method][N]."""
  found: dict[str, dict[int, Entry]] = {}
  for name, entry in pareto.items():
    method, _, rest = name.partition('/')
    l0, _, what = rest.partition('/')
    if what == key and l0.startswith('l0='):
      found.setdefault(method, {})[int(l0.removeprefix('l0='))] = entry
  return found


def sparsity(e: Evidence) -> Judged:
  """SAEs reconstruct better than other linear methods at equal sparsity."""
  points = _points(e.pareto, 'omp/r2')
  saes = {m: p for m, p in points.items() if m in _SAES}
  others = {m: p for m, p in points.items() if m not in _SAES}
  shared = sorted({n for p in saes.values() for n in p}
                  & {n for p in others.values() for n in p})  # fmt: skip
  measured, null, verdicts = {}, {}, []
  best = lambda of, n: max(
    (m for m in of if n in of[m]), key=lambda m: of[m][n]['value'] or -1
  )
  for n in shared:
    sae, other = best(saes, n), best(others, n)
    measured[f'{sae}, L0 {n}'] = saes[sae][n]
    null[f'{other}, L0 {n}'] = others[other][n]
    verdicts.append(compare(saes[sae][n], others[other][n]))
  return Judged(
    verdict=all_of(verdicts),
    measured=measured,
    null=null,
    rule='R² of the best SAE against that of the best other method, both by '
    'orthogonal matching pursuit on their atoms, at every L0.',
  )


def rare_concepts_change(e: Evidence) -> Judged:
  """Retrained, rare concepts change drastically while common ones stay."""
  s = e.stability
  if not (common := s.get('seed/commonest_tenth')):
    return judging.missing('stability')
  rare = s['seed/rarest_tenth']
  floor = s['floor/covariance']
  verdict = all_of(
    [compare(common, rare), compare(common, floor), _not(compare(rare, floor))]
  )
  return Judged(
    verdict=verdict,
    measured={'commonest tenth': common, 'rarest tenth': rare},
    null={'floor, covariance': floor},
    rule='Matched cosine of the commonest tenth above that of the rarest and '
    'above the floor of random directions of the data’s covariance, the rarest '
    'not above it.',
  )


LITTLE = 0.1  # Of what other rows leave above the floor.


def mixtures(e: Evidence) -> Judged:
  """Other mixtures of images and texts change the dictionary little."""
  key = 'energy_weighted'
  if not (control := e.diets.get(f'diet/control/{key}')):
    return judging.missing('stability of mixtures')
  floor = e.diets['floor/covariance']
  shares = {
    float(name.split('/')[1].partition('=')[2]): entry
    for name, entry in e.diets.items()
    if name.startswith('diet/share=') and name.endswith(f'/{key}')
  }
  # The middle one, with which the others are compared, is no other mixture.
  shares.pop(min(shares, key=lambda share: abs(share - 0.5)))
  line = {
    bound: control[bound] - LITTLE * (control[bound] - floor['value'])
    for bound in ('value', 'low', 'high')
    if control.get(bound) is not None
  }
  verdict = all_of([compare(entry, line) for entry in shares.values()])
  if compare(control, floor) != HOLDS:
    verdict = OPEN  # Where nothing comes back, there is nothing to change.
  return Judged(
    verdict=verdict,
    measured={f'images {share:.0%}': shares[share] for share in sorted(shares)},
    null={'same share, other rows': control, 'floor, covariance': floor},
    rule='Matched cosine, weighted by energy, of dictionaries trained on each '
    'mixture with those trained on the middle one, as many rows of both: it '
    f'keeps more than {1 - LITTLE:.0%} of what the same share of other rows '
    'keeps above the floor. Open where other rows keep nothing above it.',
  )


def _not(verdict: str) -> str:
  """A wish that something does not exceed: open counts for it."""
  return FAILS if verdict == HOLDS else HOLDS


def single_modality(e: Evidence) -> Judged:
  """Most concepts fire for one modality, beyond what covariance would give."""
  a = e.analysis
  share = a['modality/single_share']
  null = {'permuted labels': a['modality/single_share_permuted']}
  verdicts = [compare(share, {'value': 0.5})]
  if twin := a.get('surrogate/modality/single_share'):
    null['Gaussian twin'] = twin
    # What the twin shows as well is no finding, and no refutation either.
    verdicts.append(HOLDS if compare(share, twin) == HOLDS else OPEN)
  return Judged(
    verdict=all_of(verdicts),
    measured={'share of concepts': share},
    null=null,
    rule='More than half of live concepts have a modality score above 0.9 or '
    'below 0.1, and more than in the Gaussian twin, which says what means and '
    'covariance give by themselves.',
  )


def orthogonal(e: Evidence) -> Judged:
  """Concepts lie almost orthogonal to the modality subspace, and tell modality
  badly."""
  a = e.analysis
  cosine = a['subspace/means/projected_median']
  floor = a['subspace/means/floor_isotropic']
  direction = a['modality_auroc/direction_median']
  reference = a['modality_auroc/random_covariance_median']
  verdict = all_of(
    [_not(compare(cosine, floor)), _not(compare(direction, reference))]
  )
  return Judged(
    verdict=verdict,
    measured={
      'median |cos| to the gap': cosine,
      'median AUROC, directions': direction,
      'median AUROC, activations': a['modality_auroc/activation_median'],
    },
    null={
      '|cos|, isotropic': floor,
      '|cos|, covariance': a['subspace/means/floor_covariance'],
      'AUROC, covariance': reference,
      'AUROC, best classifier': a['modality_auroc/ceiling'],
    },
    rule='Neither the median |cos| to the gap nor the median AUROC of concept '
    'directions exceeds that of random directions.',
  )


def _is_more(count: Entry, other: Entry) -> bool:
  """Whether a count exceeds another, by the exact test of two Poisson rates.

  Given their sum the first is binomial with one half (Przyborowski & Wilenski,
  Biometrika 31, 1940): five are more than none, four are not.
  """
  both = count['value'] + other['value']
  if not both:
    return False
  test = scipy.stats.binomtest(count['value'], both, alternative='greater')
  return bool(test.pvalue < _LEVEL)


def bridges(e: Evidence) -> Judged:
  """Single-modality concepts cooperate across modalities through bridges."""
  a = e.analysis
  real, excess = a['bridges/replicated_cross'], a['bridges/cross_excess']
  null: dict[str, Entry] = {}
  twin = a.get('surrogate/bridges/replicated_cross')
  if twin:
    null['Gaussian twin'] = twin
  # Some pairs of concepts, and what all of them add: both must be there.
  verdict = compare(excess, {'value': 0}) if real['value'] else FAILS
  if verdict == HOLDS and twin and not _is_more(real, twin):
    verdict = OPEN  # Covariance alone may give as many.
  measured = {
    'replicated cross bridges': real,
    'what pairing adds to similarity': a['bridges/excess'],
    'to that of single-modality parts': excess,
  }
  p = e.intervene.get('intervene/cross_bridges/all_sizes/recall1/p_holm')
  if p is not None:
    measured['p, removed beside matched random'] = p
  return Judged(
    verdict=verdict,
    measured=measured,
    null=null,
    rule='Cross bridges that are significant on val, corrected for all tests, '
    'and replicate on test with lift; more of them than in the Gaussian twin, '
    'by an exact test of the two counts (five against none are more); '
    'and pairing adds to the similarity of what image-only and text-only '
    'concepts decode to. What removing them does is told beside.',
  )


Claim = Callable[[Evidence], Judged]
CLAIMS: tuple[Claim, ...] = (
  sparsity, rare_concepts_change, mixtures, single_modality, orthogonal,
  bridges,
)  # fmt: skip
