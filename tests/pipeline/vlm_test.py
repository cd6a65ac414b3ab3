"""Training the small model: its first steps, resuming, and what ships."""

import dataclasses
import json
import os

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
import safetensors.numpy

from saejax import errors
from saejax import pretrained
from saejax import sharding
from saejax.models import folder
from saejax.pipeline import vlm
from saejax.pipeline import vlm_models
from saejax.pipeline import vlm_quality

TINY = vlm.VLMConfig(
  steps=6, batch=16, d=16, vision_width=32, vision_layers=1, text_width=32,
  text_layers=1, log_every=1, checkpoint_every=2,
)  # fmt: skip

# Loss of the first, second and tenth step of `train_vlm` as it is by default.
# They change with the world, its captions, the model, its initialisation or the
# optimiser. If one of these was meant to change, the model that ships no longer
# is what its provenance says: train it again, and write down the new numbers.
# Other versions of JAX agree to about 1e-4.
GOLDEN = (6.06301, 5.95683, 5.74060)


def log(out: str) -> list[dict[str, float]]:
  with open(os.path.join(out, 'metrics.jsonl')) as f:
    return [json.loads(line) for line in f]


class FirstStepsTest(absltest.TestCase):
  def test_the_shipped_model_starts_like_this(self):
    config = vlm.VLMConfig()
    model = vlm_models.new_model(config)
    mesh = sharding.make_mesh((1, 1))
    state, step = vlm.start(config, model, mesh)
    losses = []
    with jax.set_mesh(mesh):
      for i in range(10):
        state, logs = step(state, vlm.make_batch(config, model, mesh, i))
        losses.append(float(logs['loss']))
    np.testing.assert_allclose(
      (losses[0], losses[1], losses[9]), GOLDEN, rtol=1e-3,
      err_msg='Read the comment above GOLDEN before changing the numbers.',
    )  # fmt: skip


class TrainTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.out = os.path.join(self.create_tempdir().full_path, 'run')

  def test_resuming_gives_the_same_bits_and_the_folder_says_how(self):
    whole = vlm.train_vlm(TINY, self.out)
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
        vlm.train_vlm(TINY, other)
    finally:
      vlm.make_batch = make
    with self.assertRaisesRegex(errors.UserError, '--resume'):
      vlm.train_vlm(TINY, other)
    parts = vlm.train_vlm(TINY, other, resume=True)
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
    ):
      with self.assertRaisesRegex(errors.UserError, message):
        vlm.train_vlm(dataclasses.replace(TINY, **changes), self.out)
      self.assertFalse(os.path.exists(self.out))


class ShippedTest(absltest.TestCase):
  def test_it_is_what_its_provenance_says(self):
    path = pretrained.path('clip-scenes')
    with open(os.path.join(path, vlm_quality.PROVENANCE)) as f:
      made = json.load(f)
    self.assertEqual(made['config'], dataclasses.asdict(vlm.VLMConfig()))
    found = vlm_quality.measure(folder.load(path), vlm.VLMConfig().world())
    self.assertEqual(set(found), set(made['held_out']))
    for name, entry in made['held_out'].items():
      np.testing.assert_allclose(
        found[name]['value'], entry['value'], rtol=5e-3, atol=2e-3, err_msg=name
      )
    self.assertGreaterEqual(found['gap']['value'], 0.4)
    size = sum(
      os.path.getsize(os.path.join(path, name)) for name in os.listdir(path)
    )
    self.assertLess(size, 3e6)

  def test_an_unknown_name_is_told(self):
    with self.assertRaisesRegex(errors.UserError, 'it ships clip-scenes'):
      pretrained.path('clip-everything')


if __name__ == '__main__':
  absltest.main()
