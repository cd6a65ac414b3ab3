"""CLIP: parity with transformers' torch model, and what must hold without."""

import json
import os

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from saejax import errors
from saejax.models import clip
from saejax.models import folder
from saejax.models import weights
from saejax.models import words

try:
  import torch
  import transformers
except ImportError:
  torch = None

CONFIG = {
  'model_type': 'clip',
  'projection_dim': 24,
  'vision_config': {
    'hidden_size': 40,
    'intermediate_size': 80,
    'num_hidden_layers': 2,
    'num_attention_heads': 4,
    'image_size': 32,
    'patch_size': 8,
  },
  'text_config': {
    'hidden_size': 32,
    'intermediate_size': 64,
    'num_hidden_layers': 2,
    'num_attention_heads': 4,
    'vocab_size': 99,
    'max_position_embeddings': 16,
    'bos_token_id': 97,
    'eos_token_id': 98,
    'pad_token_id': 0,
  },
}


def config(act: str = 'quick_gelu', eos: int = 98) -> dict:
  found = json.loads(json.dumps(CONFIG))
  for tower in ('vision_config', 'text_config'):
    found[tower]['hidden_act'] = act
  found['text_config']['eos_token_id'] = eos
  return found


def inputs(n: int = 5):
  rng = np.random.default_rng(0)
  image = rng.normal(size=(n, 32, 32, 3)).astype(np.float32)
  ids = rng.integers(3, 97, size=(n, 12))
  for row, end in zip(ids, (3, 11, 7, 5, 9), strict=True):
    row[end] = 98
    row[end + 1 :] = 0
  return image, ids.astype(np.int32)


def init(module: clip.CLIP):
  image, ids = inputs()
  params = module.init(jax.random.key(0), image, ids)['params']
  # Away from the symmetric start, where a swapped bias would not show.
  leaves, tree = jax.tree.flatten(params)
  rng = np.random.default_rng(1)
  noisy = [
    x + 0.1 * rng.normal(size=x.shape).astype(np.float32) for x in leaves
  ]
  return jax.tree.unflatten(tree, noisy)


@absltest.skipIf(torch is None, 'torch is not here: ./launch.sh test --parity')
class ParityTest(parameterized.TestCase):
  @parameterized.parameters(
    ('quick_gelu', 98), ('gelu', 98), ('gelu_pytorch_tanh', 98), ('gelu', 2)
  )
  def test_equals_transformers(self, act, eos):
    reference = transformers.CLIPModel(
      transformers.CLIPConfig(**config(act, eos))
    ).eval()
    module = clip.CLIP(clip.CLIPConfig.from_dict(reference.config.to_dict()))
    params = init(module)
    state = {
      k: torch.tensor(np.array(v)) for k, v in weights.export(params).items()
    }
    reference.load_state_dict(state, strict=True)
    image, ids = inputs()
    with torch.no_grad():
      expected = reference(
        pixel_values=torch.tensor(image.transpose(0, 3, 1, 2)),
        input_ids=torch.tensor(ids.astype(np.int64)),
        output_hidden_states=True,
      )
    variables = {'params': params}
    image_BD, seen = module.apply(variables, image, method='image')
    text_BD, said = module.apply(variables, ids, method='text')
    close = lambda a, b: np.testing.assert_allclose(
      a, b.detach().numpy(), rtol=2e-5, atol=2e-5
    )
    close(image_BD, expected.image_embeds)
    close(text_BD, expected.text_embeds)
    for out, of in (
      (seen, expected.vision_model_output), (said, expected.text_model_output)
    ):  # fmt: skip
      for layer in range(2):
        close(out[f'layers_{layer}']['residual'], of.hidden_states[layer])
      close(out['residual'], of.hidden_states[2])
      close(out['projected'], of.pooler_output)  # Version 5 projects it.
      close(out['tokens'], of.last_hidden_state)
    _, _, scale = module.apply(variables, image, ids)
    np.testing.assert_allclose(
      np.asarray(image_BD @ text_BD.T * scale),
      expected.logits_per_image.numpy(),
      rtol=1e-4,
      atol=1e-4,
    )

  def test_transformers_reads_the_folders_we_write(self):
    path = self.create_tempdir().full_path
    vlm = small_vlm()
    folder.save(path, vlm, vlm_config(vlm))
    reference = transformers.CLIPModel.from_pretrained(
      path, dtype=torch.float32
    ).eval()
    ours = folder.load(path)
    ids = ours.tokenize(['a b c', 'c'])
    with torch.no_grad():
      expected = reference.get_text_features(
        input_ids=torch.tensor(ids.astype(np.int64))
      ).pooler_output.numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found, _ = ours.module.apply({'params': ours.params}, ids, method='text')
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    processor = transformers.AutoImageProcessor.from_pretrained(path)
    theirs = processor(list(pixels), return_tensors='np')['pixel_values']
    np.testing.assert_allclose(
      ours.pixels(pixels), theirs.transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-6
    )


def small_vlm() -> folder.VLM:
  tokenizer = words.word_tokenizer(['a', 'b', 'c'], 16)
  found = config(eos=tokenizer.eos_token_id)
  module = clip.CLIP(clip.CLIPConfig.from_dict(found))
  pixels = folder.Pixels(32, (0.5, 0.4, 0.3), (0.5, 0.6, 0.7), 1 / 255)
  return folder.VLM(module, init(module), tokenizer, pixels, 'small')


def vlm_config(vlm: folder.VLM) -> dict:
  return config(eos=vlm.tokenizer.eos_token_id)


class CLIPTest(parameterized.TestCase):
  def test_text_is_causal_and_read_at_its_end(self):
    module = clip.CLIP(clip.CLIPConfig.from_dict(config()))
    params = init(module)
    _, ids = inputs()
    changed = ids.copy()
    changed[:, 4] = 50
    a = module.apply({'params': params}, ids, method='text')
    b = module.apply({'params': params}, changed, method='text')
    np.testing.assert_array_equal(a[1]['tokens'][:, :4], b[1]['tokens'][:, :4])
    moved = np.abs(a[1]['tokens'] - b[1]['tokens']).max(-1)
    self.assertTrue((moved[:, 4:] > 1e-4).all())
    # Row 0 ends at 3, before the change; the others read past it.
    same = np.abs(a[0] - b[0]).max(-1) == 0
    np.testing.assert_array_equal(same, [True, False, False, False, False])

  def test_bfloat16_stays_near_float32(self):
    found = clip.CLIPConfig.from_dict(config())
    params = init(clip.CLIP(found))
    image, ids = inputs()
    exact = clip.CLIP(found).apply({'params': params}, image, ids)
    rough = clip.CLIP(found, jnp.bfloat16).apply({'params': params}, image, ids)
    for a, b in zip(exact[:2], rough[:2], strict=True):
      self.assertGreater(jnp.sum(a * b, axis=1).min(), 0.995)

  def test_a_folder_comes_back(self):
    path = self.create_tempdir().full_path
    vlm = small_vlm()
    folder.save(path, vlm, vlm_config(vlm))
    again = folder.load(path)
    jax.tree.map(
      lambda a, b: np.testing.assert_array_equal(
        np.asarray(a, np.float16), np.asarray(b, np.float16)
      ),
      vlm.params,
      again.params,
    )
    self.assertEqual(again.pixels, vlm.pixels)
    ids = again.tokenize(['a c', 'b b b unheard'])
    np.testing.assert_array_equal(
      ids, [[1, 4, 6, 3, 0, 0, 0, 0], [1, 5, 5, 5, 2, 3, 0, 0]]
    )

  def test_long_texts_are_cut_and_still_end(self):
    ids = small_vlm().tokenize(['a ' * 40])
    self.assertEqual(ids.shape, (1, 16))
    self.assertEqual(ids[0, -1], 3)


class BadFolderTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.path = self.create_tempdir().full_path
    vlm = small_vlm()
    folder.save(self.path, vlm, vlm_config(vlm))
    self.weights = os.path.join(self.path, 'model.safetensors')

  def rewrite(self, change) -> None:
    arrays = safetensors.numpy.load_file(self.weights)
    change(arrays)
    safetensors.numpy.save_file(arrays, self.weights)

  def test_a_missing_tensor_is_named(self):
    name = 'text_model.encoder.layers.1.mlp.fc1.bias'
    self.rewrite(lambda a: a.pop(name))
    with self.assertRaisesRegex(errors.UserError, f'lacks the tensor {name}'):
      folder.load(self.path)

  def test_a_tensor_left_over_is_named(self):
    self.rewrite(lambda a: a.update(extra=np.zeros(3, np.float32)))
    with self.assertRaisesRegex(errors.UserError, 'does not use: extra'):
      folder.load(self.path)

  def test_position_ids_of_old_checkpoints_are_no_leftover(self):
    ids = np.arange(16)[None]
    name = 'text_model.embeddings.position_ids'
    self.rewrite(lambda a: a.update({name: ids}))
    folder.load(self.path)

  def test_a_wrong_shape_is_named(self):
    name = 'visual_projection.weight'
    self.rewrite(lambda a: a.update({name: np.zeros((3, 4), np.float32)}))
    with self.assertRaisesRegex(errors.UserError, f'{name} has shape .3, 4.'):
      folder.load(self.path)

  def test_other_models_and_folders_are_refused(self):
    with self.assertRaisesRegex(errors.UserError, 'no config.json'):
      folder.load(self.create_tempdir().full_path)
    with open(os.path.join(self.path, 'config.json'), 'w') as f:
      json.dump({'model_type': 'bert'}, f)
    with self.assertRaisesRegex(errors.UserError, "type 'bert'"):
      folder.load(self.path)


if __name__ == '__main__':
  absltest.main()
