"""Verdicts on line of sight follow from intervals and nulls, and change."""

import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from saejax.report import claims_sight as claims
from saejax.report import paper2
from saejax.report import study

LAYERS, FACTORS = (1, 3), ('colour', 'shape')


def entry(value, low=None, high=None, **more):
  bounds = {} if low is None else {'low': low, 'high': high}
  return {'value': value, 'n': 100, **bounds, **more}


def probed(layer: int, factor: str, value: float) -> dict:
  at = f'probe/{factor}/multinomial/layer{layer:02d}/top1'
  return {
    at: entry(value, value - 0.03, value + 0.03),
    f'{at}/shuffled': entry(0.12, 0.08, 0.16),
    f'{at}/commonest': entry(0.14, 0.1, 0.18),
  }


def shared(layer: int, paired: float, cka: float) -> dict:
  at = f'layer{layer:02d}/image-text'
  return {
    f'{at}/paired_share': entry(paired),
    f'{at}/paired_share/permuted': entry(0.02),
    f'{at}/shared_share': entry(0.5, 0.45, 0.55),
    f'{at}/shared_share/chance': entry(0.3),
    f'{at}/cka': entry(cka, cka - 0.03, cka + 0.03),
    f'{at}/cka/permuted': entry(0.0, -0.02, 0.02),
  }


def specific(other: str, site: str) -> dict:
  at = f'steer/{site}'
  return {
    f'{at}/specificity/classes': entry(3) | {'n': 5},
    f'{at}/specificity/turned': entry(0.7, 0.6, 0.8),
    f'{at}/specificity/{other}/before': entry(0.9, 0.85, 0.95),
    f'{at}/specificity/{other}/chance': entry(0.1),
    f'{at}/specificity/{other}/after': entry(0.89, 0.84, 0.94),
    f'{at}/specificity/{other}/fall': entry(0.01, -0.01, 0.04),
  }


def steered(other: str) -> dict:
  at = 'steer/image'
  return (
    specific(other, 'turned')
    | specific(other, 'image')
    | {
      f'{at}/adjusted/chosen/turned': entry(0.7, 0.6, 0.8),
      f'{at}/adjusted/chosen/rise': entry(0.6, 0.55, 0.65),
      f'{at}/random/chosen/rise': entry(0.01, 0.0, 0.02),
      f'{at}/adjusted/red/rise': entry(0.6, 0.5, 0.7),
      f'{at}/adjusted/red/rise/null': entry(0.01, -0.02, 0.03),
      f'{at}/adjusted/red/rise/wrong_classes': entry(0.0),
    }
  )


def over_layers(factor: str) -> dict:
  at = f'steer/{factor}'
  return {
    f'{at}/causal_classes': entry(4) | {'n': 5},
    f'{at}/red/layer': entry(3),
    f'{at}/red/p_holm': entry(0.01),
  }


SPLICED = {
  'splice/image/loss_recovered/mean': entry(0.95, 0.92, 0.97),
  'splice/l0/image': entry(7.5, 7.4, 7.6),
  'splice/accuracy/without_image': entry(0.27, 0.24, 0.31),
  'splice/accuracy/none': entry(0.8, 0.77, 0.83),
  'splice/accuracy/chance': entry(0.26),
}
EXPLAINED = {
  'sae/auroc': entry(0.8, 0.77, 0.83),
  'sae/auroc/shuffled': entry(0.5, 0.45, 0.55),
  'random/auroc': entry(0.6, 0.55, 0.65),
  'whitened/auroc': entry(0.62, 0.57, 0.67),
  'sae-shuffled/auroc': entry(0.3, 0.25, 0.35),
  'sae-random/auroc': entry(0.2, 0.15, 0.25),
  'sae-whitened/auroc': entry(0.18, 0.13, 0.23),
}


def given() -> dict:
  """Of a world in which every claim holds."""
  return {
    'layers': LAYERS,
    'factors': FACTORS,
    'width': 128,
    'probe': {
      k: e
      for layer in (0, *LAYERS)
      for factor in FACTORS
      for k, e in probed(layer, factor, 0.8).items()
    },
    'transfer': probed(3, 'colour', 0.4),
    'sharing': shared(1, 0.1, 0.1) | shared(3, 0.5, 0.4),
    'splice': {layer: dict(SPLICED) for layer in LAYERS},
    'steer': {
      'colour': {layer: steered('shape') for layer in LAYERS},
      'shape': {layer: steered('colour') for layer in LAYERS},
    },
    'over_layers': over_layers('colour') | over_layers('shape'),
    'autointerp': {layer: dict(EXPLAINED) for layer in LAYERS},
  }


def evidence(*at: str | int, **changed) -> claims.Evidence:
  """With some entries of one stage changed; those that are None, left out."""
  found = given()
  place = found
  for key in at:
    place = place[key]
  for name, e in changed.items():
    place.pop(name, None)
    if e is not None:
      place[name] = e
  return claims.Evidence(**found)


AT_1 = 'probe/colour/multinomial/layer01/top1'
IMAGE_TEXT = 'layer03/image-text'
SHAPE = 'steer/image/specificity/shape'
TURNED = 'steer/turned/specificity/shape'
RECOVERED = 'splice/image/loss_recovered/mean'


class ClaimsTest(parameterized.TestCase):
  def test_where_all_hold(self):
    for claim in claims.CLAIMS:
      self.assertEqual(claim(evidence()).verdict, claims.HOLDS, claim.__name__)

  @parameterized.parameters(
    (claims.readable, ('probe',), {AT_1: entry(0.05, 0.02, 0.07)}, 'fails'),
    (claims.readable, ('probe',), {AT_1: entry(0.15, 0.1, 0.2)}, 'open'),
    (claims.readable, ('probe',), {f'{AT_1}/shuffled': entry(0.8, 0.7, 0.9)},
     'open'),
    (claims.causes, ('over_layers',),
     {'steer/shape/causal_classes': entry(0) | {'n': 5}}, 'fails'),
    (claims.causes, ('over_layers',),
     {'steer/colour/causal_classes': entry(2) | {'n': 5}}, 'open'),
    (claims.causes, ('steer', 'colour', 3),
     {'steer/image/random/chosen/rise': entry(0.6, 0.5, 0.7)}, 'open'),
    (claims.causes, ('steer', 'colour', 3),
     {'steer/image/adjusted/chosen/rise': entry(-0.1, -0.2, -0.05)}, 'fails'),
    # Where no class passes, what is random may be as good.
    (claims.causes, ('steer', 'colour', 1),
     {'steer/image/random/chosen/rise': entry(0.6, 0.5, 0.7)}, 'holds'),
    (claims.specific, ('steer', 'colour', 3),
     {f'{SHAPE}/fall': entry(0.2, 0.1, 0.3)}, 'fails'),
    (claims.specific, ('steer', 'colour', 3),
     {f'{SHAPE}/fall': entry(0.04, 0.0, 0.08)}, 'open'),
    # What is added decides nothing of what is turned, nor the converse.
    (claims.turned, ('steer', 'colour', 3),
     {f'{SHAPE}/fall': entry(0.2, 0.1, 0.3)}, 'holds'),
    (claims.specific, ('steer', 'colour', 3),
     {f'{TURNED}/fall': entry(0.2, 0.1, 0.3)}, 'holds'),
    (claims.turned, ('steer', 'colour', 3),
     {f'{TURNED}/fall': entry(0.2, 0.1, 0.3)}, 'fails'),
    # What is told by chance alone cannot be lost.
    (claims.specific, ('steer', 'colour', 3),
     {f'{SHAPE}/before': entry(0.12, 0.09, 0.16)}, 'open'),
    # Nothing turns half of the answers there; elsewhere it does.
    (claims.specific, ('steer', 'colour', 3), {f'{SHAPE}/fall': None}, 'holds'),
    (claims.keeps, ('splice', 3), {RECOVERED: entry(0.7, 0.6, 0.8)}, 'fails'),
    (claims.keeps, ('splice', 3), {RECOVERED: entry(0.9, 0.8, 1.0)}, 'open'),
    (claims.keeps, ('splice', 3), {'splice/l0/image': entry(8.1, 8, 8.2)},
     'open'),
    (claims.shares, ('sharing',), {f'{IMAGE_TEXT}/paired_share': entry(0.11)},
     'open'),
    (claims.shares, ('sharing',), {f'{IMAGE_TEXT}/cka': entry(0.1, 0.07, 0.13)},
     'open'),
    (claims.shares, ('sharing',), {f'{IMAGE_TEXT}/cka': entry(0, -0.01, 0.02)},
     'fails'),
    (claims.shares, ('sharing',),
     {'layer01/image-text/cka': entry(0.6, 0.5, 0.7)}, 'fails'),
    (claims.shares, ('sharing',),
     {f'{IMAGE_TEXT}/paired_share/permuted': entry(0.45)}, 'open'),
    (claims.interpretable, ('autointerp', 1),
     {'sae-shuffled/auroc': entry(-0.1, -0.2, -0.01)}, 'fails'),
    (claims.interpretable, ('autointerp', 1),
     {'sae-whitened/auroc': entry(0.02, -0.01, 0.05)}, 'open'),
    (claims.interpretable, ('autointerp', 1),
     {'sae-whitened/auroc': None}, 'open'),
    (claims.interpretable, ('autointerp', 3),
     {'sae-random/auroc': entry(-0.1, -0.15, -0.05)}, 'fails'),
    # Levels that overlap, of which the difference is sure.
    (claims.interpretable, ('autointerp', 3),
     {'random/auroc': entry(0.79, 0.75, 0.84)}, 'holds'),
    (claims.interpretable, ('autointerp', 3),
     {'sae-random/auroc': entry(0.3, 0.3, 0.3) | {'n': 9}}, 'open'),
    (claims.blind, ('splice', 1),
     {'splice/accuracy/without_image': entry(0.4, 0.35, 0.45)}, 'fails'),
    (claims.blind, ('splice', 1),
     {'splice/accuracy/none': entry(0.27, 0.24, 0.31)}, 'open'),
  )  # fmt: skip
  def test_one_number_changes_the_verdict(self, claim, at, changed, want):
    self.assertEqual(claim(evidence(*at, **changed)).verdict, want)

  @parameterized.parameters(*claims.CLAIMS)
  def test_a_number_that_is_undefined_or_missing_leaves_it_open(self, claim):
    def each(found, change):
      return {
        key: each(value, change)
        if isinstance(value, dict) and 'value' not in value
        else change(value)
        for key, value in found.items()
      }

    nothing = {
      name: {} for name in given() if name not in ('layers', 'factors', 'width')
    }
    undefined = {
      name: each(given()[name], lambda e: {'value': None, 'n': 0})
      for name in nothing
    }
    for changed in (nothing, undefined):
      judged = claim(claims.Evidence(**given() | changed))
      self.assertEqual(judged.verdict, claims.OPEN)

  def test_the_tower_stands_beside_where_it_was_probed(self):
    named = 'colour, vision tower'
    self.assertNotIn(named, claims.readable(evidence()).null)
    tower = entry(0.9, 0.87, 0.93)
    found = claims.readable(
      evidence('probe', **{'probe/colour/multinomial/tower/top1': tower})
    )
    self.assertEqual(found.null[named], tower)
    # It decides nothing.
    self.assertEqual(found.verdict, claims.HOLDS)

  def test_of_one_layer_depth_says_nothing(self):
    found = claims.Evidence(**given() | {'layers': (3,)})
    self.assertEqual(claims.shares(found).verdict, claims.OPEN)
    self.assertEqual(claims.readable(found).verdict, claims.HOLDS)

  def test_where_nothing_turns_half_of_the_answers_nothing_is_specific(self):
    found = given()
    for own in found['steer']['colour'].values():
      del own[f'{SHAPE}/fall']
    self.assertEqual(claims.specific(claims.Evidence(**found)).verdict, 'open')

  def test_single_classes_stand_beside_their_own_nulls(self):
    found = claims.causes(evidence())
    at = 'colour, red at layer 3'
    self.assertIn(at, found.measured)
    self.assertFalse(any('chosen' in name for name in found.measured))
    self.assertIn(f'{at}, random within the same damage', found.null)


class ReportTest(absltest.TestCase):
  def test_says_every_claim_with_numbers_bounds_and_nulls(self):
    judged = [claim(evidence()) for claim in claims.CLAIMS]
    with tempfile.TemporaryDirectory() as folder:
      told = paper2.report(folder, '<m>', 'scenes:n=5', 'k = 6.', judged, ())
    text, page = study.markdown(told), study.html(told)
    for i in range(len(claims.CLAIMS) - 1):
      self.assertIn(f'## Claim {i + 1}\n', text)
    self.assertIn(f'## {paper2.CONTROL}\n', text)
    self.assertEqual(text.count('| <m> | holds |'), len(claims.CLAIMS))
    self.assertIn('colour, layer 1: 0.80 (0.77 to 0.83', text)
    self.assertIn('Model: &lt;m&gt;', page)
    self.assertNotIn('<m>', page)
    self.assertIn('procedural world', page)


if __name__ == '__main__':
  absltest.main()
