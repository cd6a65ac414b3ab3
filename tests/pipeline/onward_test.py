"""Going on from a layer is what the whole model does with the same edit."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
import optax
from PIL import Image

from saejax.data import captions
from saejax.data import render
from saejax.data import scenes as scenes_lib
from saejax.models import edits
from saejax.models import llava_folder
from saejax.pipeline import llava_models
from saejax.pipeline import onward

TINY = llava_models.LlavaConfig(text_width=64, text_layers=2)
WORLD = scenes_lib.World()
N, SIZE = 3, 2
SPAN = onward.Span(
  basis_nD=np.eye(5, 64, 3, dtype=np.float32),
  centre_D=np.linspace(-1, 1, 64, dtype=np.float32),
)
ASKED = ('what place is this ?', 'describe the image .', 'how many ?')


@functools.cache
def model() -> llava_folder.LLaVA:
  return llava_models.new_model(TINY)[0]


@functools.cache
def batches(shown: bool = True):
  scenes = scenes_lib.sample(WORLD, np.arange(N))
  before = f'{llava_folder.IMAGE} ' if shown else ''
  return onward.batches(
    model(),
    [f'USER: {before}{text} ASSISTANT:' for text in ASKED],
    ['red', *captions.caption(WORLD, scenes).text[1:]],
    [Image.fromarray(a) for a in render.render(scenes, 48)] if shown else None,
    SIZE,
  )


def directions() -> np.ndarray:
  v_ND = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
  return np.concatenate([np.zeros((1, 64), np.float32), 3 * v_ND])


@functools.partial(jax.jit, static_argnames=('layer', 'site'))
def whole(inputs, first_B, added_D, layer: int, site: str):
  """Logits of the whole model with an edit."""
  at = lambda tokens: tokens.position_BT == first_B[:, None]
  where = at if site == 'answer' else edits.on_image
  span = SPAN if site == 'turned' else None
  edit = edits.where(where, onward.edit(span, added_D))
  return model().module.apply(
    {'params': model().params}, inputs.tokens, None, {layer: edit}, inputs.image
  )[0]


class OnwardTest(parameterized.TestCase):
  def test_rows_are_told_from_the_end_of_the_prompt(self):
    rows = batches()
    self.assertEqual([b.n for b in rows], [2, 1])
    self.assertEqual(
      rows[0].inputs.tokens.ids_BT.shape, rows[1].inputs.tokens.ids_BT.shape
    )
    words = model().tokenizer
    for b in rows:
      for row in range(b.n):
        ids_T = np.asarray(b.inputs.tokens.ids_BT[row])
        first = int(b.answers.first_B[row])
        self.assertEqual(words.convert_ids_to_tokens(int(ids_T[first])),
                         'ASSISTANT:')  # fmt: skip
        told = int(b.answers.weight_BA[row].sum())
        np.testing.assert_array_equal(
          ids_T[first + 1 : first + 1 + told], b.answers.next_BA[row, :told]
        )
        real = np.asarray(b.inputs.tokens.is_real_BT[row]).sum()
        self.assertEqual(real, first + 1 + told)

  @parameterized.parameters(
    ('image', 1), ('image', 2), ('answer', 0), ('answer', 1), ('turned', 1)
  )
  def test_probabilities_and_nats_are_those_of_the_whole_model(
    self, site, layer
  ):
    span = SPAN if site == 'turned' else None
    found = onward.begin_all(model(), batches(), layer, site, span)
    ids = (7, 3, 11)
    chance_NrO = onward.chances(model(), found, layer, directions(), ids)
    nats_Nr = onward.nats(model(), found, layer, directions())
    self.assertEqual(chance_NrO.shape, (4, N, 3))
    rows = []
    for b in batches():
      a = b.answers
      for row in range(b.n):
        rows.append((b, row, a.first_B[row], a.next_BA[row], a.weight_BA[row]))
    for i, v_D in enumerate(directions()):
      for r, (b, row, first, next_A, weight_A) in enumerate(rows):
        logit_TV = whole(b.inputs, b.answers.first_B, v_D, layer, site)[row]
        part_V = jax.nn.softmax(logit_TV[first])
        np.testing.assert_allclose(
          chance_NrO[i, r], part_V[np.array(ids)], rtol=1e-3
        )
        told = int(weight_A.sum())
        nats = optax.softmax_cross_entropy_with_integer_labels(
          logit_TV[first : first + told], next_A[:told]
        ).sum()
        np.testing.assert_allclose(nats_Nr[i, r], nats, rtol=1e-3)
    if layer < 2 or site == 'answer':
      self.assertGreater(np.abs(nats_Nr[1] - nats_Nr[0]).max(), 1e-3)
    else:  # What leaves the last block at an image is read by no one.
      np.testing.assert_allclose(nats_Nr[1], nats_Nr[0], rtol=1e-5)

  def test_rows_without_an_image_have_no_place_to_edit_there(self):
    found = onward.begin_all(model(), batches(False), 1, 'image')
    nats_Nr = onward.nats(model(), found, 1, directions())
    np.testing.assert_allclose(nats_Nr[1:], nats_Nr[:1].repeat(3, 0), rtol=1e-5)
    np.testing.assert_array_equal(
      onward.lengths(found), [len(a.split()) for a in ('red', *captions.caption(
        WORLD, scenes_lib.sample(WORLD, np.arange(N))).text[1:])]
    )  # fmt: skip

  def test_words_that_do_not_count_have_no_weight_and_stay_in_the_answer(self):
    answers = ['a red circle', 'a redder thing', 'circle red']
    told = lambda words: onward.batches(
      model(), ['ASSISTANT:'] * 3, answers, None, 5, words
    )
    (b,), (whole,) = told(('red', 'circle')), told(())
    self.assertLen(b.answers.next_BA, 3)  # No more rows than are asked.
    for part in ('next_BA', 'first_B'):
      np.testing.assert_array_equal(
        getattr(b.answers, part), getattr(whole.answers, part)
      )
    words = model().tokenizer
    for row, text in enumerate(answers):
      ids = words(text, add_special_tokens=False)['input_ids']
      counted = [
        float(t not in ('red', 'circle')) for t in map(words.decode, ids)
      ]
      np.testing.assert_array_equal(
        b.answers.weight_BA[row, : len(ids)], counted
      )
    self.assertEqual(
      b.answers.weight_BA.sum(), whole.answers.weight_BA.sum() - 4
    )

  def test_rows_that_enter_a_layer_are_those_of_the_model(self):
    b = batches()[0]
    rows = onward.rows_entering(model(), b, 1)
    prefix = onward.begin(model(), b, 1, 'image')
    np.testing.assert_allclose(rows, prefix.x_BMD, rtol=1e-5, atol=1e-6)


if __name__ == '__main__':
  absltest.main()
