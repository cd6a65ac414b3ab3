"""The whole program of steering, on a model that was never trained."""

import csv
import dataclasses
import os
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import errors
from saejax import io
from saejax import nn
from saejax import results
from saejax.analysis import steering as steering_lib
from saejax.models import llava_folder
from saejax.pipeline import llava_models
from saejax.pipeline import steering
from saejax.pipeline import steering_after
from saejax.pipeline import steering_scenes
from saejax.pipeline import steering_setup


class SteerTest(parameterized.TestCase):
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
    self.assertIsNone(given.span)
    self.assertGreater(s.norm, 1)
    self.assertLen(at.null_ND, 19)  # 40 would let one of two pass.
    e, basis_nD = made.entering, s.span.basis_nD
    np.testing.assert_allclose(
      basis_nD @ basis_nD.T, np.eye(len(basis_nD)), atol=1e-5
    )
    shape_CD = steering_lib.adjusted_differences(
      e.image_nD, e.shown.label['shape'], 10,
      steering_scenes.beside(e.shown, 'shape'),
    )  # fmt: skip
    shape_nD = shape_CD[np.bincount(e.shown.label['shape'], minlength=10) >= 10]
    for v_ND in (*at.directions.unit.values(), at.null_ND):
      v_ND = v_ND[np.isfinite(v_ND).all(1)]
      left_NF = v_ND @ steering_lib.unit(shape_nD).T
      self.assertLess(np.abs(left_NF).max(), 0.05)  # But for what is tiny.
      within_ND = v_ND @ basis_nD.T @ basis_nD
      np.testing.assert_allclose(within_ND, v_ND, atol=1e-5)
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
