"""Training the small model: its first steps, resuming, and what ships."""

import dataclasses
import json
import os
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import flax
import jax
import numpy as np
import safetensors.numpy

from saejax import errors
from saejax import pretrained
from saejax import sharding
from saejax.models import folder
from saejax.pipeline import vlm
from saejax.pipeline import vlm_losses
from saejax.pipeline import vlm_models
from saejax.pipeline import vlm_quality

TINY = vlm.VLMConfig(
  steps=6, batch=16, d=16, vision_width=32, vision_layers=1, text_width=32,
  text_layers=1, log_every=1, checkpoint_every=2,
)  # fmt: skip

# Loss of the first, second and tenth step of `train_vlm` for each model that
# ships. They change with the world, its captions, the model, its initialisation
# or the optimiser. If one of these was meant to change, the model that ships no
# longer is what its provenance says: train it again, and write down the new
# numbers. Other versions of JAX agree to about 1e-4.
GOLDEN = {
  'clip': (6.06301, 5.95683, 5.74060),
  'siglip': (10.49148, 10.51041, 8.55475),
  'siglip2': (15.519, 15.56226, 13.54329),
  'aimv2': (6.55319, 6.5307, 6.28849),
}
GOLDEN_CAPTIONER = (5.42434, 5.43542, 5.06181)


def tiny(model: str) -> vlm.VLMConfig:
  if model == 'clip':
    return TINY
  changes = {'d': 32} if model.startswith('siglip') else {'caption_steps': 4}
  return dataclasses.replace(TINY, model=model, patch=12, **changes)


def log(out: str) -> list[dict[str, float]]:
  with open(os.path.join(out, 'metrics.jsonl')) as f:
    return [json.loads(line) for line in f]


class FirstStepsTest(parameterized.TestCase):
  def first_steps(self, begin, config) -> tuple[float, ...]:
    model = vlm_models.new_model(config)
    mesh = sharding.make_mesh((1, 1))
    state, step = begin(config, model, mesh)
    losses = []
    with jax.set_mesh(mesh):
      for i in range(10):
        state, logs = step(state, vlm.make_batch(config, model, mesh, i))
        losses.append(float(logs['loss']))
    return losses[0], losses[1], losses[9]

  @parameterized.parameters(
    *((vlm.start, name, GOLDEN[name]) for name in GOLDEN),
    (vlm.start_captioner, 'aimv2', GOLDEN_CAPTIONER),
  )
  def test_the_shipped_models_start_like_this(self, begin, name, golden):
    np.testing.assert_allclose(
      self.first_steps(begin, vlm_models.SHIPPED[name]), golden, rtol=1e-3,
      err_msg='Read the comment above GOLDEN before changing the numbers.',
    )  # fmt: skip


class TrainTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(mock.patch.object(vlm_quality, 'SCENES', 64))
    self.out = os.path.join(self.create_tempdir().full_path, 'run')

  @parameterized.parameters('clip', 'siglip2', 'aimv2')
  def test_resuming_gives_the_same_bits_and_the_folder_says_how(self, model):
    config = tiny(model)
    whole = vlm.train_vlm(config, self.out)
    other = f'{self.out}-parts'
    make = vlm.make_batch

    class Stop(Exception):
      pass

    def stopping(config, model, mesh, step):
      if step == 5:
        raise Stop
      return make(config, model, mesh, step)

    vlm.make_batch = stopping
    try:
      with self.assertRaises(Stop):
        vlm.train_vlm(config, other)
    finally:
      vlm.make_batch = make
    with self.assertRaisesRegex(errors.UserError, '--resume'):
      vlm.train_vlm(config, other)
    parts = vlm.train_vlm(config, other, resume=True)
    arrays = [
      safetensors.numpy.load_file(os.path.join(m, folder.WEIGHTS))
      for m in (whole, parts)
    ]
    for name, array in arrays[0].items():
      np.testing.assert_array_equal(arrays[1][name], array, name)
    self.assertEqual([m['step'] for m in log(other)], list(range(1, 7)))
    np.testing.assert_array_equal(
      [m['loss'] for m in log(other)], [m['loss'] for m in log(self.out)]
    )
    with open(os.path.join(whole, vlm_quality.PROVENANCE)) as f:
      made = json.load(f)
    self.assertEqual(made['config']['steps'], 6)
    self.assertIn('jax', made['environment'])
    self.assertGreater(made['minutes'], 0)
    self.assertEqual(made['held_out']['gap']['n'], 2 * vlm_quality.SCENES)

  def test_an_image_tower_that_captions_stays_but_for_its_pooling(self):
    trees = {}
    run_steps = vlm._run_steps

    def keep(config, model, mesh, started, phase, out):
      done = run_steps(config, model, mesh, started, phase, out)
      trees[phase.metrics] = done.params
      return done

    with mock.patch.object(vlm, '_run_steps', keep):
      vlm.train_vlm(tiny('aimv2'), self.out)
    told, matched = (
      flax.traverse_util.flatten_dict(trees[name])
      for name in ('captioning.jsonl', 'metrics.jsonl')
    )
    self.assertEqual(set(told), set(matched))
    for path, array in told.items():
      same = np.array_equal(array, matched[path])
      self.assertEqual(same, vlm_losses.is_trunk(path), path)

  def test_it_learns(self):
    vlm.train_vlm(dataclasses.replace(TINY, steps=60, lr=3e-3), self.out)
    loss = [m['loss'] for m in log(self.out)]
    self.assertLess(np.mean(loss[-10:]), np.mean(loss[:10]) - 0.2)

  def test_mistakes_are_told_and_leave_nothing(self):
    for changes, message in (
      (dict(steps=0), '--steps=0 must be positive'),
      (dict(log_every=0), '--log_every=0 must be positive'),
      (dict(vision_width=5), '--vision_width=5 must be a multiple of 32'),
      (dict(batch=12), 'must be a multiple of 8'),
      (dict(patch=7), '--patch=7 does not divide'),
      (dict(model='siglip'), '--d=16 must be --vision_width=32'),
      (dict(model='aimv2'), '--caption_steps=0 with --model=aimv2'),
      (dict(caption_steps=3), '--caption_steps=3 with --model=clip'),
      (dict(model='blip'), '--model=blip is unknown'),
    ):
      with self.assertRaisesRegex(errors.UserError, message):
        vlm.train_vlm(dataclasses.replace(TINY, **changes), self.out)
      self.assertFalse(os.path.exists(self.out))


class ShippedTest(parameterized.TestCase):
  @parameterized.parameters(*vlm_models.SHIPPED.items())
  def test_it_is_what_its_provenance_says(self, name, config):
    path = pretrained.path(f'{name}-scenes')
    with open(os.path.join(path, vlm_quality.PROVENANCE)) as f:
      made = json.load(f)
    self.assertEqual(made['config'], dataclasses.asdict(config))
    found = vlm_quality.measure(folder.load(path), config.world())
    self.assertEqual(set(found), set(made['held_out']))
    for key, entry in made['held_out'].items():
      np.testing.assert_allclose(
        found[key]['value'], entry['value'], rtol=5e-3, atol=2e-3, err_msg=key
      )
    # Of 2,048 candidates: chance is 0.005.
    for way in ('image_to_text', 'text_to_image'):
      self.assertGreaterEqual(found[f'{way}/recall@10']['value'], 0.4)
    size = sum(
      os.path.getsize(os.path.join(path, name)) for name in os.listdir(path)
    )
    self.assertLess(size, 3e6)

  def test_clip_has_the_gap_that_clip_has(self):
    path = os.path.join(pretrained.path('clip-scenes'), vlm_quality.PROVENANCE)
    with open(path) as f:
      self.assertGreaterEqual(json.load(f)['held_out']['gap']['value'], 0.4)

  def test_an_unknown_name_is_told(self):
    with self.assertRaisesRegex(
      errors.UserError, 'it ships aimv2-scenes, clip-scenes'
    ):
      pretrained.path('clip-everything')


if __name__ == '__main__':
  absltest.main()
