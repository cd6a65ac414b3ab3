"""Verdicts follow from intervals and nulls, and change with them."""

from absl.testing import absltest
from absl.testing import parameterized

from saejax.report import claims
from saejax.report import paper1


def entry(value, low=None, high=None, **more):
  bounds = {} if low is None else {'low': low, 'high': high}
  return {'value': value, 'n': 100, **bounds, **more}


def evidence(**changed) -> claims.Evidence:
  """Of a world in which every claim holds, but for what is changed."""
  given = {
    'pareto': {
      'topk/l0=8/omp/r2': entry(0.8, 0.79, 0.81),
      'pca/l0=8/omp/r2': entry(0.6, 0.59, 0.61),
      'topk/l0=8/r2': entry(0.1, 0.0, 0.2),
    },
    'stability': {
      'seed/commonest_tenth': entry(0.9, 0.88, 0.92),
      'seed/rarest_tenth': entry(0.3, 0.25, 0.35),
      'floor/covariance': entry(0.4),
    },
    'analysis': {
      'modality/single_share': entry(0.8),
      'modality/single_share_permuted': entry(0.1),
      'surrogate/modality/single_share': entry(0.6),
      'subspace/means/projected_median': entry(0.05, 0.04, 0.06),
      'subspace/means/floor_isotropic': entry(0.08),
      'subspace/means/floor_covariance': entry(0.05),
      'modality_auroc/direction_median': entry(0.55, 0.5, 0.6),
      'modality_auroc/activation_median': entry(0.52, 0.5, 0.54),
      'modality_auroc/random_covariance_median': entry(0.58),
      'modality_auroc/ceiling': entry(0.99),
      'bridges/replicated_cross': entry(12),
      'bridges/excess': entry(0.2, 0.18, 0.22),
      'bridges/cross_excess': entry(0.1, 0.08, 0.12),
      'surrogate/bridges/replicated_cross': entry(1),
    },
    'intervene': {},
    'diets': {
      'diet/control/energy_weighted': entry(0.9, 0.89, 0.91),
      'diet/share=0.167/energy_weighted': entry(0.88, 0.87, 0.89),
      'diet/share=0.500/energy_weighted': entry(0.3),  # Is no other mixture.
      'diet/share=0.833/energy_weighted': entry(0.89, 0.88, 0.9),
      'diet/share=0.833/mean': entry(0.2),
      'floor/covariance': entry(0.4),
    },
  }
  for stage, entries in changed.items():
    given[stage] = given[stage] | entries
  return claims.Evidence(**given)


class ClaimsTest(parameterized.TestCase):
  def test_where_all_hold(self):
    for claim in claims.CLAIMS:
      self.assertEqual(claim(evidence()).verdict, claims.HOLDS, claim.__name__)

  @parameterized.parameters(
    (claims.sparsity, 'pareto', {'pca/l0=8/omp/r2': entry(0.9, 0.89, 0.91)},
     'fails'),
    (claims.sparsity, 'pareto', {'pca/l0=8/omp/r2': entry(0.8, 0.7, 0.9)},
     'open'),
    (claims.rare_concepts_change, 'stability',
     {'seed/rarest_tenth': entry(0.95, 0.94, 0.96)}, 'fails'),
    (claims.rare_concepts_change, 'stability',
     {'floor/covariance': entry(0.95)}, 'fails'),
    (claims.mixtures, 'diets',
     {'diet/share=0.167/energy_weighted': entry(0.7, 0.69, 0.71)}, 'fails'),
    (claims.mixtures, 'diets',
     {'diet/share=0.833/energy_weighted': entry(0.88, 0.8, 0.9)}, 'open'),
    (claims.mixtures, 'diets',
     {'diet/control/energy_weighted': entry(0.99, 0.98, 1)}, 'fails'),
    # Where nothing comes back at all, a mixture changes nothing.
    (claims.mixtures, 'diets', {'floor/covariance': entry(0.9)}, 'open'),
    (claims.single_modality, 'analysis',
     {'modality/single_share': entry(0.4)}, 'fails'),
    (claims.single_modality, 'analysis',
     {'surrogate/modality/single_share': entry(0.95)}, 'open'),
    (claims.orthogonal, 'analysis',
     {'subspace/means/projected_median': entry(0.3, 0.28, 0.32)}, 'fails'),
    (claims.orthogonal, 'analysis',
     {'modality_auroc/direction_median': entry(0.9, 0.88, 0.92)}, 'fails'),
    (claims.bridges, 'analysis', {'bridges/replicated_cross': entry(0)},
     'fails'),
    (claims.bridges, 'analysis',
     {'bridges/cross_excess': entry(0.01, -0.01, 0.02)}, 'open'),
    (claims.bridges, 'analysis',
     {'bridges/cross_excess': entry(-0.02, -0.03, -0.01)}, 'fails'),
    (claims.bridges, 'analysis',
     {'surrogate/bridges/replicated_cross': entry(12)}, 'open'),
    (claims.bridges, 'analysis',
     {'bridges/replicated_cross': entry(4),
      'surrogate/bridges/replicated_cross': entry(0)}, 'open'),
    (claims.bridges, 'analysis',
     {'bridges/replicated_cross': entry(5),
      'surrogate/bridges/replicated_cross': entry(0)}, 'holds'),
  )  # fmt: skip
  def test_one_number_changes_the_verdict(self, claim, stage, changed, want):
    self.assertEqual(claim(evidence(**{stage: changed})).verdict, want)

  def test_a_number_that_is_undefined_leaves_it_open(self):
    found = claims.compare(entry(None), entry(0.5))
    self.assertEqual(found, claims.OPEN)

  def test_own_codes_are_not_taken_for_the_common_encoder(self):
    found = claims.sparsity(evidence())
    self.assertEqual(list(found.measured), ['topk, L0 8'])
    self.assertEqual(found.measured['topk, L0 8']['value'], 0.8)


class ReportTest(absltest.TestCase):
  def test_says_every_claim_with_numbers_bounds_and_nulls(self):
    judged = [claim(evidence()) for claim in claims.CLAIMS]
    found = {'a|<b>': {'none': judged}}
    page = paper1.html('nowhere', 'scenes:n=5', found)
    self.assertNotIn('<b>/', page)
    self.assertIn('a|&lt;b&gt;', page)
    self.assertIn('0.80 (0.79 to 0.81', page)
    self.assertIn('procedural world', page)
    text = paper1.markdown('nowhere', 'coco:images=x', found)
    self.assertNotIn('procedural world', text)
    self.assertIn('a\\|<b>', text)
    for i in range(len(claims.CLAIMS)):
      self.assertIn(f'## Claim {i + 1}', text)

  def test_says_how_verdicts_differ_between_worlds(self):
    judged = lambda e: [claim(e) for claim in claims.CLAIMS]
    apart = evidence(
      analysis={
        'bridges/replicated_cross': entry(0),
        'bridges/excess': entry(0.001, -0.01, 0.01),
        'bridges/cross_excess': entry(0, -0.01, 0.01),
      }
    )
    found = {'a': {'none': judged(evidence())}}
    worlds = {'partial': judged(evidence()), 'unrelated': judged(apart)}
    verdicts = {w: [j.verdict for j in of] for w, of in worlds.items()}
    self.assertEqual(set(verdicts['partial']), {claims.HOLDS})
    self.assertEqual(
      verdicts['unrelated'], [*verdicts['partial'][:-1], claims.FAILS]
    )
    text = paper1.markdown('nowhere', 'scenes:n=5', found, worlds)
    _, _, section = text.partition(f'## {paper1.COUNTER_WORLDS}')
    rows = [r for r in section.splitlines() if r.startswith('| ')][2:]
    self.assertLen(rows, len(claims.CLAIMS))
    for row in rows[:-1]:
      self.assertEqual(row.count('| holds; '), len(worlds), row)
    self.assertRegex(rows[-1], r'bridges \| holds; .* \| fails; replicated ')
    page = paper1.html('nowhere', 'scenes:n=5', found, worlds)
    self.assertIn(paper1.COUNTER_WORLDS, page)
    self.assertIn('<b class="fails">fails</b>', page)
    alone = paper1.html('nowhere', 'scenes:n=5', found)
    self.assertNotIn(paper1.COUNTER_WORLDS, alone)
    self.assertNotIn('<b class="fails">', alone)


if __name__ == '__main__':
  absltest.main()
