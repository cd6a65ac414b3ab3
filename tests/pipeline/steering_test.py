"""A model that reads a planted direction is steered by it; others are not.

The planted reader stands in for a model's later blocks: it scores each option
by how much the class's direction there is in the residual of a scene.
"""

import dataclasses
import functools
import types
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import scipy.stats

from saejax.data import questions
from saejax.data import specs
from saejax.pipeline import onward
from saejax.pipeline import steering_after
from saejax.pipeline import steering_effects as effects
from saejax.pipeline import steering_findings
from saejax.pipeline import steering_scenes

D, NULLS = 24, 39
DATA = specs.SceneSet(n=1500, splits=(0.4, 0.3, 0.3))
CLASSES = (0, 1, 2, 3)
NAMES = steering_scenes.FACTORS['colour']
AT = (0, 1, 2, 3)


def planted() -> np.ndarray:
  """A direction of each colour."""
  q_DD = np.linalg.qr(np.random.default_rng(3).normal(size=(D, D)))[0]
  return q_DD[: len(NAMES)]


@dataclasses.dataclass
class Reader:
  """What `onward` has in place of a model."""

  weight_CD: np.ndarray

  def scores(self, x_rD, added_ND):
    return (x_rD[None] + added_ND[:, None]) @ self.weight_CD.T

  def chances(self, model, prefixes, layer, added_ND, ids):
    del model, layer, ids
    (x_rD, option_rO) = prefixes
    score_NrC = self.scores(x_rD, added_ND)
    at = np.broadcast_to(option_rO[None], (len(added_ND), *option_rO.shape))
    score_NrO = np.take_along_axis(score_NrC, at, axis=2)
    part = np.exp(score_NrO - score_NrO.max(2, keepdims=True))
    return part / part.sum(2, keepdims=True)

  def nats(self, model, prefixes, layer, added_ND):
    del model, layer
    return 5 + 0.1 * (added_ND**2).sum(1)[:, None] + np.zeros(len(prefixes))


def residual(shown: steering_scenes.Shown) -> np.ndarray:
  rng = np.random.default_rng(int(shown.scenes.index_N.sum()))
  noise = 0.3 * rng.normal(size=(len(shown), D))
  return planted()[shown.label['colour']] + noise


def ask(s, site, shown, factor, target):
  """`effects.ask` for a reader."""
  del site
  c = steering_scenes.choices(shown, factor, target, s.world, s.asker.letters)
  names = steering_scenes.FACTORS[factor]
  option = [[names.index(w) for w in t.split()[-7::2]] for t in c.text]
  x_rD = residual(shown)[c.scene_n]
  index_r = shown.scenes.index_N[c.scene_n]
  return effects.Question((x_rD, np.array(option)), c, index_r)


class Bent(Reader):
  """Scores that rise and fall with what is added; damage by direction.

  No direction is of a class: weights and costs are drawn anew.
  """

  def __init__(self, seed: int):
    rng = np.random.default_rng(seed)
    super().__init__(rng.normal(size=(len(NAMES), D)))
    self.cost_D = np.exp(1.5 * rng.normal(size=D))

  def scores(self, x_rD, added_ND):
    turned_NC = np.sin(1.5 * added_ND @ self.weight_CD.T)
    return 2 * turned_NC[:, None] + 0.3 * (x_rD @ self.weight_CD.T)[None]

  def nats(self, model, prefixes, layer, added_ND):
    del model, layer
    harm_N1 = 0.05 * (added_ND**2 @ self.cost_D)[:, None]
    return 5 + harm_N1**2 / (0.2 + harm_N1) + np.zeros(len(prefixes))


@functools.cache
def subject() -> effects.Subject:
  asker = types.SimpleNamespace(
    letters=questions.LETTERS,
    word_ids=lambda _: AT,
    model=None,
    captioned=lambda shown, world, factor: list(shown.scenes.index_N),
  )
  pools = {p: steering_scenes.show(DATA, p, 60, 16) for p in ('val', 'test')}
  return effects.Subject(
    asker=asker,
    world=DATA.world,
    factor='colour',
    layer=1,
    norm=1.0,
    strength_K=np.array([0.5, 1.0, 2.0, 4.0]),
    asked=pools,
    told=pools,
    images=6,
  )


class PlantedTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(mock.patch.object(effects, 'ask', ask))
    self.enter_context(
      mock.patch.object(onward, 'begin_all', lambda model, found, *_: found)
    )
    self.enter_context(
      mock.patch.object(onward, 'lengths', lambda found: np.ones(len(found)))
    )

  def run_reader(self, reader, unit_CD, seed=0, classes=CLASSES):
    """The p of each class, and what was measured."""
    null_ND = np.random.default_rng(seed).normal(size=(NULLS, D))
    null_ND /= np.linalg.norm(null_ND, axis=1, keepdims=True)
    with (
      mock.patch.object(onward, 'chances', reader.chances),
      mock.patch.object(onward, 'nats', reader.nats),
    ):
      s, unit = subject(), {'means': unit_CD}
      harm = effects.measure_damage(s, 'image', classes, unit, null_ND)
      found = {
        NAMES[c]: steering_findings.Class(
          c,
          effects.measure_class(
            s, 'image', c, classes, unit, null_ND, harm, 'means', 1.0
          ),
          {},
          (),
        )
        for c in classes
      }
    config = types.SimpleNamespace(
      tested='means', strengths=tuple(s.strength_K), nulls=NULLS,
      directions=('means',),
    )  # fmt: skip
    site = steering_findings.Site('image', harm, found)
    entries, lines = steering_findings._tests(site, config)
    curves, _ = steering_findings._curves(site, config)
    return entries | curves, lines

  def test_the_direction_that_is_read_steers_and_passes(self):
    entries, lines = self.run_reader(Reader(6 * planted()), planted())
    for line in lines:
      self.assertAlmostEqual(line['p'], 1 / (NULLS + 1))
      self.assertGreater(line['turned'], 0.9)
      self.assertGreater(line['rise'], 0.8)
      self.assertLess(line['wrong_max'], 0.05)
      self.assertAlmostEqual(line['p_holm'], 4 / (NULLS + 1))
    # Damage is the square of the strength over ten: up to 2 is within 1.
    self.assertEqual({line['strength'] for line in lines}, {2.0})
    at = 'steer/image'
    self.assertGreater(entries[f'{at}/unedited/accuracy']['value'], 0.95)
    self.assertLess(entries[f'{at}/unedited/efficacy']['value'], 0.05)
    self.assertAlmostEqual(
      entries[f'{at}/means/strength=2/damage']['value'], 0.4, places=5
    )
    # Nulls do the same damage at the same strength here, and may choose it.
    self.assertLess(lines[0]['null_damage_val'], 0.4 + 1e-5)
    self.assertLess(lines[0]['null_max'], lines[0]['rise'])

  def test_a_model_that_ignores_it_does_not_pass(self):
    other_CD = 6 * planted()
    nowhere_CD = np.linalg.qr(planted().T, mode='complete')[0].T[len(NAMES) :]
    unit_CD = np.resize(nowhere_CD, planted().shape)
    _, lines = self.run_reader(Reader(other_CD), unit_CD)
    for line in lines:
      self.assertGreater(line['p'], 0.05)
      self.assertLess(abs(line['rise']), 0.05)

  def test_p_is_uniform_where_a_direction_is_one_of_chance(self):
    p = []
    for seed in range(12):
      rng = np.random.default_rng(100 + seed)
      unit_CD = rng.normal(size=planted().shape)
      unit_CD /= np.linalg.norm(unit_CD, axis=1, keepdims=True)
      reader = Reader(0.5 * rng.normal(size=(len(NAMES), D)))
      _, lines = self.run_reader(reader, unit_CD, seed)
      p += [line['p'] for line in lines]
    self.assertGreater(scipy.stats.kstest(p, 'uniform').pvalue, 0.01)
    self.assertLess(np.mean(np.array(p) <= 0.05), 0.2)

  def test_p_is_uniform_where_curves_bend_and_damage_depends(self):
    """The tested direction has the best of several strengths: so must all."""
    p = []
    for seed in range(30):
      rng = np.random.default_rng(500 + seed)
      unit_CD = rng.normal(size=planted().shape)
      unit_CD /= np.linalg.norm(unit_CD, axis=1, keepdims=True)
      _, lines = self.run_reader(Bent(seed), unit_CD, seed)
      p += [line['p'] for line in lines]
    # At the damage of the tested one's choice a sixth would be below 0.05.
    self.assertLess(np.mean(np.array(p) <= 0.05), 0.1)
    self.assertGreater(scipy.stats.kstest(p, 'uniform').pvalue, 0.01)

  def test_of_names_that_begin_alike_nothing_is_said(self):
    names = steering_scenes.FACTORS['shape']
    alike = [i for i, n in enumerate(names) if n[0] in 'cs']
    # As if tokens were letters: circle and cross, square and star.
    word_ids = lambda of: [ord(n[0]) for n in of]
    s = subject()
    asker = types.SimpleNamespace(
      **(vars(s.asker) | {'letters': (), 'word_ids': word_ids})
    )
    s = dataclasses.replace(s, asker=asker)

    def plain(s, site, shown, factor, target, nameless=False):
      c = steering_scenes.choices(shown, factor, target, s.world, ())
      return effects.Question(c, c, shown.scenes.index_N)

    def tell(model, c, layer, added_ND, ids):
      """The first token of the truth, whatever is added."""
      del model, layer
      told = np.array(ids)[None] == np.array(ids)[c.truth_n][:, None]
      return np.stack([told.astype(float)] * len(added_ND))

    with (
      mock.patch.object(effects, 'ask', plain),
      mock.patch.object(onward, 'chances', tell),
    ):
      found = steering_after.specificity(s, 'image', 0, np.zeros(D))
    shown = s.sources('test', 0, 96)
    known = ~np.isin(shown.label['shape'], alike)
    self.assertBetween(known.sum(), 1, len(shown) - 1)
    np.testing.assert_array_equal(
      found['shape/group'], shown.scenes.index_N[known]
    )
    self.assertTrue(found['shape/before'].all())
    self.assertTrue(found['shape/after'].all())


class AskedTest(absltest.TestCase):
  def test_questions_may_leave_out_the_class_that_is_turned(self):
    s = subject()
    shown = s.sources('test', 2)
    told = []
    asked = lambda shown, choices: told.append(choices.text) or []
    asker = types.SimpleNamespace(**(vars(s.asker) | {'asked': asked}))
    s = dataclasses.replace(s, asker=asker)
    with mock.patch.object(onward, 'begin_all', lambda *_: []):
      for nameless in (False, True):
        effects.ask(s, 'image', shown, 'shape', None, nameless)
    own = np.repeat(shown.label['colour'], len(questions.LETTERS))
    for before, after, c in zip(*told, own, strict=True):
      self.assertIn(f' the {NAMES[c]} thing ', before)
      self.assertEqual(after, before.replace(f'{NAMES[c]} ', '', 1))
      self.assertIn(' the thing ', after)


if __name__ == '__main__':
  absltest.main()
