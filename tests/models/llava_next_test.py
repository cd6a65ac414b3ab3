"""LLaVA-NeXT: parity with torch on images, tokens, generation and edits."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
from PIL import Image
import transformers

from saejax import errors
from saejax.models import generation
from saejax.models import llava_folder
from saejax.models import llava_next
from tests.models import llava_configs
from tests.models import parity

IMAGE, EOS = llava_configs.IMAGE, llava_configs.EOS
# One that fits a size, wide and high ones, small and large ones.
SIZES = ((64, 64), (50, 60), (33, 95), (90, 21), (7, 9), (200, 120))
SIDE = {'height': 32, 'width': 32}


def processor() -> transformers.LlavaNextImageProcessorPil:
  return transformers.LlavaNextImageProcessorPil(
    size={'shortest_edge': 32},
    crop_size=SIDE,
    image_grid_pinpoints=llava_configs.config()['image_grid_pinpoints'],
  )


def images(sizes) -> list[Image.Image]:
  return [Image.fromarray(a) for a in llava_configs.pictures(sizes)]


def prompts(counts) -> list[list[int]]:
  """Rows of different lengths with so many image tokens each."""
  rng = np.random.default_rng(len(counts))
  word = lambda n: rng.integers(3, 120, n).tolist()
  rows = []
  for b, n in enumerate(counts):
    row = [1, *word(2 + b)]
    for _ in range(n):
      row += [IMAGE, *word(3)]
    rows.append(row)
  return rows


def batch(kind: str = 'llama', counts=(1, 2, 0, 3)):
  """A config, token ids, images of each row, and what the model reads."""
  config = llava_next.LlavaNextConfig.from_dict(llava_configs.config(kind))
  every = images(SIZES[: sum(counts)])
  ends = np.cumsum(counts)
  of_row = [every[end - n : end] for end, n in zip(ends, counts, strict=True)]
  ids = prompts(counts)
  return (
    config,
    ids,
    of_row,
    llava_folder.read(config, processor(), ids, of_row),
  )


def edit(x_BTD, tokens):
  """Turns what stands at images around, and moves the rest a little."""
  shifted = x_BTD + 0.5
  return np.where(1, 0, 0) + jax.numpy.where(
    tokens.is_image_BT[..., None], -x_BTD, shifted
  )


@parity.needs_torch
class ParityTest(parity.ParityTest, parameterized.TestCase):
  def models(self, kind: str):
    theirs = parity.reference(
      'LlavaNextForConditionalGeneration',
      'LlavaNextConfig',
      {
        k: v for k, v in llava_configs.config(kind).items() if k != 'model_type'
      },
    )
    ours = llava_next.LlavaNext(
      llava_next.LlavaNextConfig.from_dict(theirs.config.to_dict())
    )
    shapes = llava_folder.abstract_params(ours)
    state = llava_folder.canonical(parity.state(theirs))
    return theirs, ours, parity.weights.load(state, shapes, 'torch')

  def theirs_of(self, inputs, of_row):
    """The same batch as torch takes it."""
    every = [i for row in of_row for i in row]
    found = processor()(every, return_tensors='np')
    tokens = inputs.tokens
    return {
      'input_ids': parity.ids(np.asarray(tokens.ids_BT)),
      'attention_mask': parity.ids(np.asarray(tokens.is_real_BT)),
      'pixel_values': parity.torch.tensor(found['pixel_values']),
      'image_sizes': parity.torch.tensor(found['image_sizes']),
    }

  @parameterized.parameters('llama', 'mistral')
  def test_features_hidden_states_and_logits(self, kind):
    theirs, ours, params = self.models(kind)
    _, _, of_row, inputs = batch(kind)
    seen = self.record(theirs.model.language_model)
    given = self.theirs_of(inputs, of_row)
    expected = theirs(**given, output_hidden_states=True)
    variables = {'params': params}
    x_BTD = parity.apply(
      ours, variables, inputs.tokens.ids_BT, inputs.image, method='embed'
    )
    logit_BTV, out, _ = parity.apply(
      ours, variables, inputs.tokens, None, None, inputs.image
    )
    real = lambda a: np.asarray(a)[np.asarray(inputs.tokens.is_real_BT)]
    *states, last = expected.hidden_states
    self.assert_equal(real(x_BTD), real(states[0]), 'merged embeddings')
    for i, state in enumerate(states):
      layer = out[f'layers_{i}']
      self.assert_equal(real(layer['residual']), real(state), f'residual {i}')
      for part in ('attention', 'mlp'):
        self.assert_equal(real(layer[part]), real(seen[i, part]), f'{part} {i}')
    self.assert_equal(real(out['tokens']), real(last), 'tokens')
    self.assert_equal(real(logit_BTV), real(expected.logits), 'logits')

  @parameterized.parameters(*((size,) for size in SIZES))
  def test_one_image_of_any_size(self, size):
    theirs, ours, params = self.models('llama')
    config = ours.config
    of_row = [images([size])]
    inputs = llava_folder.read(config, processor(), prompts([1]), of_row)
    expected = theirs(**self.theirs_of(inputs, of_row))
    logit_BTV, *_ = parity.apply(
      ours, {'params': params}, inputs.tokens, None, None, inputs.image
    )
    real = lambda a: np.asarray(a)[np.asarray(inputs.tokens.is_real_BT)]
    self.assert_equal(real(logit_BTV), real(expected.logits), 'logits')

  @parameterized.product(kind=('llama', 'mistral'), edited=(False, True))
  def test_greedy_generation_and_edits(self, kind, edited):
    theirs, ours, params = self.models(kind)
    _, _, of_row, inputs = batch(kind, (1, 2, 1))
    at_layer = 1
    if edited:

      def hook(block, args, kwargs):
        x = args[0] if args else kwargs['hidden_states']
        is_image = parity.torch.zeros(x.shape[:2], dtype=bool)
        if x.shape[1] > 1:  # New tokens come one at a time, and are texts.
          is_image = parity.torch.tensor(flags)
        x = parity.torch.where(is_image[..., None], -x, x + 0.5)
        if args:
          return (x, *args[1:]), kwargs
        return args, kwargs | {'hidden_states': x}

      block = theirs.model.language_model.layers[at_layer]
      handle = block.register_forward_pre_hook(hook, with_kwargs=True)
      self.addCleanup(handle.remove)
    edits = {at_layer: edit} if edited else None
    for b in range(3):  # A row alone: theirs pads on the left.
      one = llava_folder.read(
        ours.config,
        processor(),
        prompts((1, 2, 1))[b : b + 1],
        of_row[b : b + 1],
      )
      length = int(np.sum(one.tokens.is_real_BT))
      flags = np.asarray(one.tokens.is_image_BT)[:, :length]
      given = self.theirs_of(one, of_row[b : b + 1])
      given['input_ids'] = given['input_ids'][:, :length]
      given['attention_mask'] = given['attention_mask'][:, :length]
      expected = theirs.generate(
        **given, max_new_tokens=12, do_sample=False, pad_token_id=0
      )[0, length:]
      expected = np.pad(expected, (0, 12 - len(expected)))
      if b == 0:
        logits = theirs(**given).logits
      rows = jax.jit(
        lambda p, tokens, image: generation.generate(
          ours, p, tokens, image, most=12, ends=(EOS,), edits=edits,
          step_edits=edits,
        )
      )(params, inputs.tokens, inputs.image)  # fmt: skip
      np.testing.assert_array_equal(rows[b], expected, f'row {b}')
      if b == 0:
        logit_BTV, *_ = parity.apply(
          ours, {'params': params}, one.tokens, None, None, one.image,
        ) if not edits else parity.apply(
          ours, {'params': params}, one.tokens, None, image=one.image,
          edits=edits,
        )  # fmt: skip
        self.assert_equal(logit_BTV[:, :length], logits, 'logits')


class TowerTest(absltest.TestCase):
  def test_what_is_projected_stands_where_patches_do(self):
    config, *_, inputs = batch()
    module = llava_next.LlavaNext(config)
    image, t = inputs.image, inputs.tokens
    params = module.init(jax.random.key(0), t, image=image)
    seen_BTD = module.apply(params, image, method='tower')
    embedded_BTD = module.apply(params, t.ids_BT, image, method='embed')
    project = lambda module, x_BTD: module.multi_modal_projector(x_BTD)
    projected_BTD = module.apply(params, seen_BTD, method=project)
    n = len(image.tile_NHWC) * config.layout.patches**2
    source_BT = np.asarray(image.source_BT)
    is_patch_BT = (source_BT >= 0) & (source_BT < n)
    self.assertTrue((source_BT == n).any())  # Of a newline.
    self.assertEqual(
      seen_BTD.shape, (*t.ids_BT.shape, config.vision.hidden_size)
    )
    np.testing.assert_array_equal(np.asarray(seen_BTD)[~is_patch_BT], 0)
    np.testing.assert_allclose(
      np.asarray(projected_BTD)[is_patch_BT],
      np.asarray(embedded_BTD)[is_patch_BT],
      rtol=1e-5,
      atol=1e-5,
    )


class ReadTest(absltest.TestCase):
  def test_a_row_without_its_image_is_told(self):
    config, ids, of_row, _ = batch()
    of_row[1] = of_row[1][:1]
    with self.assertRaisesRegex(
      errors.UserError, '2 image tokens and 1 images'
    ):
      llava_folder.read(config, processor(), ids, of_row)


if __name__ == '__main__':
  absltest.main()
