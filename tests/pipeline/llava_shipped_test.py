"""The LLaVA-NeXT that ships says the same in torch, edited or not."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
from PIL import Image

from saejax import pretrained
from saejax.data import questions
from saejax.data import render
from saejax.data import scenes as scenes_lib
from saejax.models import edits as ours
from saejax.models import generation
from saejax.models import llava_folder
from saejax.pipeline import llava_rows
from saejax.torch_bridge import llava_edits as theirs
from saejax.torch_bridge import llava_export
from tests.models import parity

NEW, SCENES = 12, 4
FIRST = 1 << 40  # Far from scenes that it was trained on.


def asked():
  """Prompts about scenes, and the scene of each: to describe it, and of each
  kind a question, with options and without."""
  world = scenes_lib.World()
  scenes = scenes_lib.sample(world, FIRST + np.arange(SCENES))
  drawn = [Image.fromarray(a) for a in render.render(scenes, 48)]
  texts = [(0, questions.DESCRIBE)]
  for kind, options in zip(questions.KINDS, (1, 4) * 3, strict=True):
    found = questions.ask(world, scenes, kind, options)
    said = found.text if options == 1 else found.offered()
    texts += [*zip(found.row_n, said, strict=True)][:2]
  prompts = [llava_rows.prompt(text, image=True) for _, text in texts]
  return prompts, [drawn[i] for i, _ in texts]


@parity.needs_torch
class ShippedTest(parity.ParityTest, parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    if parity.torch is None:
      return
    path = pretrained.path('llava-scenes')
    cls.ours, cls.theirs = llava_folder.load(path), llava_export.load(path)
    cls.prompts, cls.images = asked()
    text = cls.ours.module.config.text
    cls.layer = text.num_hidden_layers // 2
    rng = np.random.default_rng(0)
    cls.v_D = rng.normal(size=text.hidden_size).astype(np.float32)

  def our_answers(self, edit=None, step_edit=None) -> np.ndarray:
    inputs = self.ours.prepare(self.prompts, [[i] for i in self.images])
    run = jax.jit(
      lambda params, inputs: generation.generate(
        self.ours.module, params, inputs.tokens, inputs.image, most=NEW,
        ends=self.ours.ends,
        edits=edit and {self.layer: edit},
        step_edits=step_edit and {self.layer: step_edit},
      ),
      # Each is called once: compiling takes all the time.
      compiler_options={'xla_backend_optimization_level': 0},
    )  # fmt: skip
    with jax.default_matmul_precision('highest'):
      return np.asarray(run(self.ours.params, inputs))

  def their_answer(self, prompt: str, image: Image.Image) -> np.ndarray:
    """Of one row, with the positions that their processor would make."""
    ids = [self.ours.tokenizer(prompt)['input_ids']]
    tokens, _, _ = llava_folder.lay_out(self.ours.module.config, ids, [[image]])
    n = int(np.sum(tokens.is_real_BT))
    given = llava_export.inputs(
      self.theirs,
      np.asarray(tokens.ids_BT)[:, :n],
      np.ones((1, n), int),
      self.ours.processor([image], return_tensors='np'),
    )
    found = self.theirs.generate(
      **given,
      max_new_tokens=NEW,
      do_sample=False,
      eos_token_id=list(self.ours.ends),
      pad_token_id=0,
    )[0, n:].numpy()
    return np.pad(found, (0, NEW - len(found)))

  def their_answers(self) -> np.ndarray:
    return np.stack(
      [
        self.their_answer(prompt, image)
        for prompt, image in zip(self.prompts, self.images, strict=True)
      ]
    )

  def words(self, answers: np.ndarray) -> list[str]:
    return [self.ours.tokenizer.decode(a[a > 0]) for a in answers]

  def test_answers_are_the_same(self):
    answers = self.our_answers()
    self.assertEqual(self.words(answers), self.words(self.their_answers()))
    np.testing.assert_array_equal(answers, self.their_answers())
    # It says something, and not always the same.
    self.assertGreater(len(set(self.words(answers))), len(self.prompts) // 3)

  def test_answers_under_an_edit_are_the_same(self):
    v_D = self.v_D / np.linalg.norm(self.v_D)
    plain = self.our_answers()
    inputs = self.ours.prepare(self.prompts[:1], [self.images[:1]])
    _, out, _ = self.ours.module.apply(
      {'params': self.ours.params}, inputs.tokens, image=inputs.image,
      method='hidden',
    )  # fmt: skip
    x_TD = out[f'layers_{self.layer}']['residual'][0]
    is_image_T = np.asarray(inputs.tokens.is_image_BT)[0]
    v_D *= 2 * np.linalg.norm(np.asarray(x_TD)[is_image_T], axis=1).mean()
    answers = self.our_answers(ours.where(ours.on_image, ours.add(v_D)))
    edit = theirs.where(theirs.on_image, theirs.add(v_D))
    with theirs.edited(self.theirs, {self.layer: edit}):
      found = self.their_answers()
    self.assertEqual(self.words(answers), self.words(found))
    np.testing.assert_array_equal(answers, found)
    self.assertFalse(np.array_equal(answers, plain))


if __name__ == '__main__':
  absltest.main()
