"""The small LLaVA-NeXT: what it is trained on, resumed, saved and read."""

import dataclasses
import functools
import json
import os
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
from PIL import Image

from saejax import errors
from saejax import sharding
from saejax.data import questions
from saejax.data import render
from saejax.data import scenes as scenes_lib
from saejax.models import generation
from saejax.models import llava_folder
from saejax.pipeline import llava_batches
from saejax.pipeline import llava_models
from saejax.pipeline import llava_quality
from saejax.pipeline import llava_rows
from saejax.pipeline import llava_training
from saejax.pipeline import vlm_quality
from saejax.pipeline import vlm_steps
from saejax.train import contrastive
from tests.models import parity

TINY = llava_models.LlavaConfig(
  steps=4,
  caption_steps=2,
  batch=8,
  text_width=64,
  text_layers=2,
  log_every=2,
  checkpoint_every=2,
)
WORLD = scenes_lib.World()


@functools.cache
def tiny() -> llava_folder.LLaVA:
  return llava_models.new_model(TINY)[0]


def asked(n: int = 4):
  """Scenes as drawn, and a row about each."""
  scenes = scenes_lib.sample(WORLD, np.arange(n))
  drawn = render.render(scenes, llava_models.SIDE)
  return drawn, llava_rows.rows(WORLD, scenes, True)


class BatchTest(absltest.TestCase):
  def test_a_scene_is_seen_as_the_processor_shows_it(self):
    model = tiny()
    drawn, rows = asked()
    rows = [row[:1] for row in rows]
    texts = [' '.join(row[0]) for row in rows]
    batch = llava_batches.batch(model, rows, drawn)
    read = model.prepare(texts, [[Image.fromarray(a)] for a in drawn])
    embed = jax.jit(
      lambda ids, image: model.module.apply(
        {'params': model.params}, ids, image, method='embed'
      )
    )
    ours = embed(batch.tokens.ids_BT, batch.image)
    theirs = embed(read.tokens.ids_BT, read.image)
    lengths = np.asarray(read.tokens.is_real_BT).sum(1)
    self.assertLess(len(set(lengths)), len(lengths) + 1)
    for row, n in enumerate(lengths):
      np.testing.assert_allclose(ours[row, :n], theirs[row, :n], atol=1e-5)

  def test_what_is_to_be_told_is_the_answer_and_its_end(self):
    model = tiny()
    drawn, rows = asked(16)
    batch = llava_batches.batch(model, rows, drawn)
    self.assertGreater(max(map(len, rows)), 2)
    for i, row in enumerate(rows):
      told = np.asarray(batch.next_BT)[i][batch.weight_BT[i] > 0]
      words = model.tokenizer.convert_ids_to_tokens(told)
      answers = ' '.join(f'{answer} <eos>' for _, answer in row)
      self.assertEqual(' '.join(words), answers)

  def test_a_row_alone_is_told_whole(self):
    model = tiny()
    rows = [[('', 'there is a star')]]
    batch = llava_batches.batch(model, rows)
    self.assertIsNone(batch.image)
    np.testing.assert_array_equal(batch.weight_BT, [[1, 1, 1, 1, 1, 0]])

  def test_every_kind_and_form_is_asked_often(self):
    turns = [turn for row in asked(600)[1] for turn in row]
    texts = [text for text, _ in turns]
    for part, least in (
      ('describe', 80),
      ('what colour', 150),
      ('what shape', 150),
      ('where is', 250),
      ('what place', 300),
      ('how many', 300),
      ('how large', 250),
    ):
      self.assertGreater(sum(part in text for text in texts), least, part)
    offered = sum(' or ' in text for text in texts)
    self.assertBetween(offered / len(texts), 0.2, 0.5)

  def test_no_question_tells_what_a_later_one_asks(self):
    for row in asked(300)[1]:
      before = ''
      for text, answer in row:
        question = text.split(' ? ')[0]
        if 'shape' in question or 'colour' in question:
          self.assertNotIn(f' {answer} ', before, row)
        before += f' {text.split(" ? ")[0]} {answer} '


class TrainTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.out = os.path.join(self.create_tempdir().full_path, 'run')
    one = sharding.make_mesh((1, 1))  # Compiled in a quarter of the time.
    self.enter_context(mock.patch.object(sharding, 'make_mesh', lambda: one))
    self.enter_context(mock.patch.object(llava_quality, 'SCENES', 24))

  def test_resuming_gives_the_same_bits(self):
    whole = llava_training.train(TINY, self.out, False)
    other = f'{self.out}-parts'

    class Stop(Exception):
      pass

    build, seen = llava_batches.image_batch, []

    def stopping(*args):
      seen.append(args)
      if len(seen) == 4:
        raise Stop
      return build(*args)

    stops = mock.patch.object(llava_batches, 'image_batch', stopping)
    with stops, self.assertRaises(Stop):
      llava_training.train(TINY, other, False)
    parts = llava_training.train(TINY, other, True)
    bits = []
    for path in (whole, parts):
      with open(os.path.join(path, 'model.safetensors'), 'rb') as f:
        bits.append(f.read())
    self.assertEqual(*bits)
    with open(os.path.join(whole, vlm_quality.PROVENANCE)) as f:
      made = json.load(f)
    self.assertEqual(made['config']['model'], 'llava_next')
    self.assertGreater(made['held_out']['colour/accuracy']['n'], 0)
    # Texts were learnt first, by the language model alone.
    start = llava_models.new_model(TINY)[0].params
    ended = llava_folder.load(whole).params
    for part in ('vision_tower', 'language_model'):
      moved = jax.tree.map(
        lambda a, b: np.abs(np.float16(a) - np.float32(b)).max(),
        start[part],
        ended[part],
      )
      self.assertGreater(max(jax.tree.leaves(moved)), 0)

  def test_it_learns_one_batch_by_heart(self):
    model = tiny()
    drawn, rows = asked(8)
    batch = llava_batches.batch(model, rows, drawn)
    mesh = sharding.make_mesh()
    tx = contrastive.make_optimiser(5e-3, 60, 0.0)
    loss = functools.partial(llava_training.answer_loss, model.module)
    params = jax.tree.map(np.array, model.params)
    state, step = vlm_steps.start((params, loss, tx), mesh)
    with jax.set_mesh(mesh):
      placed = llava_batches.place(batch, mesh)
      for _ in range(60):
        state, logs = step(state, placed)
    self.assertGreater(float(logs['accuracy']), 0.95)

  @parameterized.parameters(
    ({'batch': 12}, 'an eighth of it is texts'),
    ({'text_width': 96}, 'must be a multiple of 64'),
    ({'steps': 0}, '--steps=0 must be positive'),
  )
  def test_a_mistake_is_told_and_leaves_nothing(self, changes, message):
    config = dataclasses.replace(TINY, **changes)
    with self.assertRaisesRegex(errors.UserError, message):
      llava_training.train(config, self.out, False)
    self.assertFalse(os.path.exists(self.out))


class QualityTest(parameterized.TestCase):
  @parameterized.parameters((True, 1.0), (False, 0.0))
  def test_an_answer_is_right_if_all_of_it_is(self, ends, expected):
    model = tiny()
    seen = []

    def knows(params, batch):
      del params
      seen.append(batch.image is not None)
      told_BT = np.array(batch.next_BT)
      if not ends:  # All words are right, but there is no end to them.
        told_BT[told_BT == model.tokenizer.eos_token_id] = 0
      return jax.nn.one_hot(told_BT, len(model.tokenizer))

    with (
      mock.patch.object(llava_quality, '_logits', lambda _: knows),
      mock.patch.object(llava_quality, 'SCENES', 200),
    ):
      found = llava_quality.measure(model, WORLD)
    for kind in questions.KINDS:
      for name in ('accuracy', 'accuracy_blind', 'open', 'open_blind'):
        self.assertEqual(found[f'{kind}/{name}']['value'], expected)
      chance = 1 / 2 if kind in ('count', 'size') else 1 / 4
      self.assertEqual(found[f'{kind}/chance']['value'], chance)
    self.assertEqual(set(seen), {True, False})

  def test_a_model_that_knows_nothing_is_no_better_than_chance(self):
    with mock.patch.object(llava_quality, 'SCENES', 32):
      found = llava_quality.measure(tiny(), WORLD)
    right = [e for name, e in found.items() if name.endswith('/accuracy')]
    n = np.array([e['n'] for e in right])
    mean = np.average([e['value'] for e in right], weights=n)
    chance = np.average(
      [e['value'] for name, e in found.items() if name.endswith('/chance')],
      weights=n,
    )
    self.assertLess(mean, chance + 4 * np.sqrt(0.25 / n.sum()))


@parity.needs_torch
class TorchTest(parity.ParityTest):
  def test_torch_reads_the_folder_and_answers_alike(self):
    out = self.create_tempdir().full_path
    model, hf_config = llava_models.new_model(TINY)
    model = dataclasses.replace(model, params=jax.device_get(model.params))
    llava_folder.save(out, model, hf_config)
    ours = llava_folder.load(out)
    theirs = (
      parity.transformers.LlavaNextForConditionalGeneration.from_pretrained(
        out, dtype=parity.torch.float32
      ).eval()
    )
    drawn, rows = asked()
    pictures = [Image.fromarray(a) for a in drawn]
    read = ours.prepare([row[0][0] for row in rows], [[p] for p in pictures])
    answers = jax.jit(
      lambda p, inputs: generation.generate(
        ours.module, p, inputs.tokens, inputs.image, most=6, ends=ours.ends
      )
    )(ours.params, read)
    for row, picture in enumerate(pictures):
      n = int(np.sum(read.tokens.is_real_BT[row]))
      found = ours.processor(picture, return_tensors='np')
      expected = theirs.generate(
        input_ids=parity.ids(np.asarray(read.tokens.ids_BT)[row : row + 1, :n]),
        attention_mask=parity.ids(np.ones((1, n))),
        pixel_values=parity.torch.tensor(found['pixel_values']),
        image_sizes=parity.torch.tensor(found['image_sizes']),
        max_new_tokens=6,
        do_sample=False,
      )[0, n:]
      np.testing.assert_array_equal(
        answers[row], np.pad(expected, (0, 6 - len(expected)))
      )


if __name__ == '__main__':
  absltest.main()
