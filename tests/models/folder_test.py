"""Model folders come back as they were saved, and damage is told in a line."""

import json
import os
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
from PIL import Image
import safetensors.numpy
import transformers

from saejax import errors
from saejax.models import families
from saejax.models import folder
from saejax.models import preprocessing
from saejax.models import words
from tests.models import aimv2_test
from tests.models import clip_test
from tests.models import parity
from tests.models import siglip2_test
from tests.models import siglip_test

CONFIGS = {
  'clip': clip_test.CONFIG,
  'siglip': siglip_test.CONFIG,
  'siglip2': siglip2_test.CONFIG,
  'aimv2': aimv2_test.CONFIG,
}
NAMES = {
  'clip': 'CLIP',
  'siglip': 'Siglip',
  'siglip2': 'Siglip2',
  'aimv2': 'Aimv2',
}


def small(kind: str) -> tuple[folder.VLM, dict]:
  """A model of a family that reads three words, and its config."""
  tokenizer = words.word_tokenizer(['a', 'b', 'c'], 16)
  text = CONFIGS[kind]['text_config'] | {
    'bos_token_id': tokenizer.bos_token_id,
    'eos_token_id': tokenizer.eos_token_id,
    'pad_token_id': tokenizer.pad_token_id,
  }
  config = CONFIGS[kind] | {
    'architectures': [f'{NAMES[kind]}Model'],
    'text_config': text,
  }
  module = families.build(config)
  vlm = folder.VLM(
    module=module,
    params=parity.init(module, *families.example(module))['params'],
    tokenizer=tokenizer,
    pixels=preprocessing.Pixels(
      side=20 if kind == 'siglip2' else 32,
      mean_3=(0.5, 0.4, 0.3),
      std_3=(0.5, 0.6, 0.7),
      patch=4 if kind == 'siglip2' else None,
    ),
    name='small',
  )
  return vlm, config


def image(width: int = 50, height: int = 31) -> Image.Image:
  rng = np.random.default_rng(width)
  pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
  return Image.fromarray(pixels)


class FolderTest(parameterized.TestCase):
  def saved(self, kind: str) -> tuple[folder.VLM, str]:
    path = self.create_tempdir().full_path
    vlm, config = small(kind)
    folder.save(path, vlm, config)
    return vlm, path

  @parameterized.parameters(*CONFIGS)
  def test_comes_back(self, kind):
    vlm, path = self.saved(kind)
    with self.assertNoLogs('transformers', 'WARNING'):
      again = folder.load(path)
    jax.tree.map(
      lambda a, b: np.testing.assert_array_equal(
        np.asarray(a, np.float16), np.asarray(b, np.float16)
      ),
      vlm.params,
      again.params,
    )
    self.assertEqual(again.module, vlm.module)
    self.assertEqual(again.pixels, vlm.pixels)
    self.assertEqual(again.name, os.path.basename(path))
    texts = ['a c', 'b b b unheard', '', 'a ' * 40]
    np.testing.assert_array_equal(again.tokenize(texts), vlm.tokenize(texts))

  @parameterized.parameters(*CONFIGS)
  def test_reads_images(self, kind):
    _, path = self.saved(kind)
    vlm = folder.load(path)
    images = [image(50, 31), image(32, 32), image(3, 90), image(1, 1)]
    batch = preprocessing.stack([vlm.pixels.prepare(x) for x in images])
    image_BD, _ = parity.apply(
      vlm.module, {'params': vlm.params}, vlm.pixels(batch), method='image'
    )
    self.assertEqual(image_BD.shape, (4, vlm.module.config.projection_dim))
    np.testing.assert_allclose(np.linalg.norm(image_BD, axis=1), 1, rtol=1e-5)

  @parameterized.parameters('clip', 'siglip2')
  def test_images_of_the_right_size_need_no_processor(self, kind):
    vlm, path = self.saved(kind)
    side = vlm.pixels.side
    image_NHW3 = np.stack([image(side, side)] * 2)
    jax.tree.map(
      np.testing.assert_array_equal,
      vlm.pixels.shape(image_NHW3),
      preprocessing.stack(
        [folder.load(path).pixels.prepare(image(side, side))] * 2
      ),
    )

  def test_padding_of_texts(self):
    texts = ['a c', 'b b b unheard']
    # CLIP reads a text's end; the length is a multiple of eight.
    np.testing.assert_array_equal(
      small('clip')[0].tokenize(texts),
      [[1, 4, 6, 3, 0, 0, 0, 0], [1, 5, 5, 5, 2, 3, 0, 0]],
    )
    # SigLIP reads the last token of its whole context.
    ids = small('siglip')[0].tokenize(texts)
    self.assertEqual(ids.shape, (2, 16))
    np.testing.assert_array_equal(ids[:, :8], small('clip')[0].tokenize(texts))

  @parameterized.parameters(*CONFIGS)
  def test_long_texts_are_cut_and_still_end(self, kind):
    ids = small(kind)[0].tokenize(['a ' * 40])
    self.assertEqual(ids.shape, (1, 16))
    self.assertEqual(ids[0, -1], 3)


class BadFolderTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.path = self.create_tempdir().full_path
    self.vlm, self.config = small('clip')
    folder.save(self.path, self.vlm, self.config)

  def assert_refused(self, pattern: str) -> None:
    with self.assertRaisesRegex(errors.UserError, pattern) as caught:
      folder.load(self.path)
    self.assertNotIn('\n', str(caught.exception))

  def write(self, name: str, content: str) -> None:
    with open(os.path.join(self.path, name), 'w', encoding='utf-8') as f:
      f.write(content)

  def change(self, name: str, **changes) -> None:
    with open(os.path.join(self.path, name), encoding='utf-8') as f:
      config = json.load(f) | changes
    self.write(name, json.dumps(config))

  def remove(self, name: str) -> None:
    os.remove(os.path.join(self.path, name))

  def rewrite(self, change) -> None:
    file = os.path.join(self.path, 'model.safetensors')
    arrays = safetensors.numpy.load_file(file)
    change(arrays)
    safetensors.numpy.save_file(arrays, file)

  def test_a_missing_tensor_is_named(self):
    name = 'text_model.encoder.layers.1.mlp.fc1.bias'
    self.rewrite(lambda a: a.pop(name))
    self.assert_refused(f'lacks the tensor {name}')

  def test_a_tensor_left_over_is_named(self):
    self.rewrite(lambda a: a.update(extra=np.zeros(3, np.float32)))
    self.assert_refused('does not use: extra')

  def test_position_ids_of_old_checkpoints_are_no_leftover(self):
    name = 'text_model.embeddings.position_ids'
    self.rewrite(lambda a: a.update({name: np.arange(16)[None]}))
    folder.load(self.path)

  def test_a_wrong_shape_is_named(self):
    name = 'visual_projection.weight'
    self.rewrite(lambda a: a.update({name: np.zeros((3, 4), np.float32)}))
    self.assert_refused(f'{name} has shape .3, 4.')

  def test_no_folder_of_a_model(self):
    self.path = self.create_tempdir().full_path
    self.assert_refused('no config.json')

  @parameterized.parameters(
    ('{"model_type": "bert"}', "type 'bert'.* reads clip, siglip"),
    ('{}', 'type None'),
    ('{"model_type"', 'config.json is not JSON'),
    ('[1, 2]', r'no JSON object, but \[1, 2\]'),
  )
  def test_configs(self, content, pattern):
    self.write('config.json', content)
    self.assert_refused(pattern)

  def test_no_processor(self):
    self.remove('preprocessor_config.json')
    self.assert_refused('no image processor: it has no preprocessor_config')

  @parameterized.parameters(
    ('{"image_proc', 'preprocessor_config.json that is JSON'),
    ('{"image_processor_type": "NoProcessor"}', 'no image processor that can'),
    ('[]', 'no image processor that can'),
  )
  def test_damaged_processors(self, content, pattern):
    self.write('preprocessor_config.json', content)
    self.assert_refused(pattern)

  @parameterized.parameters(
    ({'size': {'height': 24, 'width': 24}}, '24 x 24 x 3 .* reads 32 x 32 x 3'),
    ({'size': {'shortest_edge': 32}}, '48 x 32 x 3 .* reads 32 x 32 x 3'),
    ({'image_mean': 'grey'}, 'no image processor that can be used'),
  )
  def test_processors_that_do_not_fit(self, changes, pattern):
    self.change('preprocessor_config.json', **changes)
    self.assert_refused(pattern)

  def test_no_tokenizer(self):
    self.remove('tokenizer.json')
    self.assert_refused('no tokenizer: .* tokenizer.json')

  def test_of_a_tokenizer_that_needs_no_config(self):
    self.remove('tokenizer_config.json')
    self.remove('tokenizer.json')
    self.assert_refused('CLIPTokenizer is read from .*vocab.json')

  @parameterized.parameters(
    ('tokenizer.json', '{"version": 1', 'damaged'),
    ('tokenizer.json', '{"model": {"type": "None"}}', 'damaged'),
    ('tokenizer_config.json', '{"tok', 'tokenizer_config.json is damaged'),
    ('tokenizer_config.json', '[3]', 'tokenizer_config.json is damaged'),
    (
      'tokenizer_config.json',
      '{"tokenizer_class": "MyTokenizer"}',
      'asks for a MyTokenizer, which transformers',
    ),
    ('tokenizer_config.json', '{"tokenizer_class": "CLIPConfig"}', 'damaged'),
  )
  def test_damaged_tokenizers(self, name, content, pattern):
    self.write(name, content)
    self.assert_refused(pattern)

  def test_a_tokenizer_that_lacks_a_package(self):
    class Lacking(type):
      def __getattr__(cls, name):
        raise ImportError('SiglipTokenizer requires\nthe SentencePiece library')

    class SiglipTokenizer(metaclass=Lacking):
      pass

    self.change('tokenizer_config.json', tokenizer_class='SiglipTokenizer')
    with mock.patch.object(transformers, 'SiglipTokenizer', SiglipTokenizer):
      self.assert_refused('pip install sentencepiece protobuf')


if __name__ == '__main__':
  absltest.main()
