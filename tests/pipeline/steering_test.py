"""A model that reads a planted direction is steered by it; others are not.

The planted reader stands in for a model's later blocks: it scores each option
by how much the class's direction there is in the residual of a scene.
"""

import csv
import dataclasses
import functools
import os
import tempfile
import types
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
import scipy.stats

from saejax import errors
from saejax import io
from saejax import nn
from saejax import results
from saejax.data import questions
from saejax.data import specs
from saejax.models import llava_folder
from saejax.pipeline import llava_models
from saejax.pipeline import onward
from saejax.pipeline import steering
from saejax.pipeline import steering_after
from saejax.pipeline import steering_directions
from saejax.pipeline import steering_effects as effects
from saejax.pipeline import steering_findings
from saejax.pipeline import steering_scenes
from saejax.pipeline import steering_setup

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
      harm = effects.measure_damage(s, 'image', unit, null_ND)
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


class SteerTest(parameterized.TestCase):
  """The whole program on a model that was never trained."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.folder, cls.sae = (os.path.join(folder, n) for n in ('model', 'sae'))
    tiny = llava_models.LlavaConfig(text_width=64, text_layers=2)
    model, hf_config = llava_models.new_model(tiny)
    model = dataclasses.replace(model, params=jax.device_get(model.params))
    llava_folder.save(cls.folder, model, hf_config)
    sae = nn.ARCHITECTURES['topk'](d=64, s=32, k=4)
    io.save(cls.sae, sae, sae.init(jax.random.key(0), method=lambda m: m.w_dec))

  def config(self, **changes) -> steering_setup.SteerConfig:
    given = {
      'layer': 1, 'dataset': 'scenes:n=800,splits=0.6/0.2/0.2', 'nulls': 19,
      'classes': ('red', 'blue'), 'images': 2, 'captions': 4, 'batch': 8,
      'train_scenes': 120, 'strengths': (1.0, 4.0), 'rollouts': 1, 'atoms': 5,
      'directions': ('adjusted', 'means', 'sae', 'unembed', 'text', 'random'),
      'sae': self.sae,
    }  # fmt: skip
    return steering_setup.SteerConfig(model=self.folder, **(given | changes))

  def test_all_is_written_and_a_stopped_run_goes_on_to_the_same(self):
    out = os.path.join(self.create_tempdir().full_path, 'out')
    found = steering.steer(self.config(sites=('answer',)), out)
    self.assertEqual(results.read(out), found)
    with open(os.path.join(out, 'classes.csv'), encoding='utf-8') as f:
      lines = list(csv.DictReader(f))
    self.assertEqual([line['class'] for line in lines], ['red', 'blue'])
    for name in ('efficacy_damage', 'classes', 'decomposition'):
      self.assertTrue(os.path.exists(f'{out}/figures/{name}.png'))
    self.assertEqual(found['steer/answer/adjusted/red/p']['n'], 19)
    self.assertEqual(found['steer/answer/adjusted/causal_classes']['n'], 2)
    self.assertIn('steer/decomposition/sae/classes/cosine@5', found)
    self.assertIn('steer/decomposition/neurons/random/cosine@5', found)

    # As if it had been stopped in the second class.
    os.remove(os.path.join(out, results.RESULTS))
    for part in ('effects.safetensors', 'rollouts.jsonl'):
      os.remove(os.path.join(out, 'parts', f'answer.blue.{part}'))
    with self.assertRaisesRegex(errors.UserError, 'Add --resume'):
      steering.steer(self.config(sites=('answer',)), out)
    with self.assertRaisesRegex(errors.UserError, 'other settings .seed: 0'):
      steering.steer(self.config(sites=('answer',), seed=1), out, True)
    with open(os.path.join(out, 'rollouts.jsonl'), encoding='utf-8') as f:
      written = f.read()
    write = mock.Mock(side_effect=steering_after.rollouts)
    with mock.patch.object(steering_after, 'rollouts', write):
      again = steering.steer(self.config(sites=('answer',)), out, True)
    self.assertEqual(again, found)
    # Of the second class alone.
    self.assertEqual([call.args[2] for call in write.mock_calls], [1])
    with open(os.path.join(out, 'rollouts.jsonl'), encoding='utf-8') as f:
      self.assertEqual(f.read(), written)

  def test_directions_are_what_they_say(self):
    config = self.config()
    model = steering_setup.load(config)
    s = steering_setup.subject(config, model)
    made = steering_setup.make(
      config, s.asker, steering_setup.load_sae(config, model)
    )
    e, unit = made.entering, made.directions.unit
    for kind in config.directions:
      of = unit[kind][list(made.classes)]
      np.testing.assert_allclose(np.linalg.norm(of, axis=1), 1, rtol=1e-5)
    red = e.label_n == 0
    away = e.image_nD[red].mean(0) - e.image_nD[~red].mean(0)
    length = np.linalg.norm(away)
    np.testing.assert_allclose(unit['means'][0], away / length, atol=1e-5)
    np.testing.assert_allclose(
      made.directions.length['means'][0], length, rtol=1e-5
    )
    self.assertLess(np.linalg.norm(e.image_nD.mean(0)), e.norm)
    w_dec = np.asarray(io.load(self.sae)[1]['params']['w_dec'])
    cosine = unit['sae'] @ (w_dec / np.linalg.norm(w_dec, axis=1)[:, None]).T
    np.testing.assert_allclose(cosine.max(1), 1, atol=1e-5)
    self.assertLen(made.null_ND, 19)

  def test_where_tokens_are_turned_other_factors_have_no_part(self):
    config = self.config(train_scenes=400)
    model = steering_setup.load(config)
    given = steering_setup.subject(config, model)
    made = steering_setup.make(
      config, given.asker, steering_setup.load_sae(config, model)
    )
    self.assertIs(steering_setup.at('image', given, made)[2], made)
    _, s, at = steering_setup.at('turned', given, made)
    self.assertEqual((s.norm, given.span), (1.0, None))
    e, basis_nD = made.entering, s.span.basis_nD
    np.testing.assert_allclose(
      basis_nD @ basis_nD.T, np.eye(len(basis_nD)), atol=1e-5
    )
    other_nD, _ = steering_directions.spans(e, 'colour')
    for v_ND in (*at.directions.unit.values(), at.null_ND):
      v_ND = v_ND[np.isfinite(v_ND).all(1)]
      np.testing.assert_allclose(v_ND @ other_nD.T, 0, atol=1e-6)
      np.testing.assert_allclose(np.linalg.norm(v_ND, axis=1), 1, rtol=1e-5)
    # A class's own direction is within what is turned.
    red_D = at.directions.unit['adjusted'][0]
    self.assertAlmostEqual(np.linalg.norm(basis_nD @ red_D), 1, places=3)
    # Scenes of red things stand further along it than others do.
    score_n = (e.image_nD - s.span.centre_D) @ red_D
    self.assertGreater(
      score_n[e.label_n == 0].mean(), score_n[e.label_n != 0].mean()
    )

  @parameterized.parameters(
    ({'layer': 9}, '--layer=9: there is no such layer; the model has 2'),
    ({'dataset': 'scenes:n=30'}, 'needs twice as many|no scene of one thing'),
    ({'train_scenes': 20}, 'Of the classes of colour, 0 have 10 scenes'),
    ({'letters': ('red', 'red')}, 'begin with the same token'),
  )
  def test_a_mistake_is_told_and_leaves_nothing(self, changes, message):
    out = os.path.join(self.create_tempdir().full_path, 'out')
    with self.assertRaisesRegex(errors.UserError, message):
      steering.steer(self.config(**changes), out)
    self.assertFalse(os.path.exists(out))


if __name__ == '__main__':
  absltest.main()
