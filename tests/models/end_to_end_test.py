"""From image files and captions to embeddings, as transformers has them."""

import io
import os

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from saejax.data import records
from saejax.models import folder
from saejax.models import preprocessing
from tests.models import aimv2_test
from tests.models import clip_test
from tests.models import folder_test
from tests.models import hub_folders
from tests.models import parity
from tests.models import siglip_test

try:
  import sentencepiece
except ImportError:
  sentencepiece = None

TOLERANCE = 1e-4  # The largest ‖a − b‖ of unit rows.


def context(config: dict, length: int, **vision) -> dict:
  return config | {
    'text_config': config['text_config'] | {'max_position_embeddings': length},
    'vision_config': config['vision_config'] | vision,
  }


@parity.needs_torch
class EndToEndTest(parity.ParityTest, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.path = self.create_tempdir().full_path

  def theirs(self, texts=hub_folders.TEXTS, **kwargs):
    """Unit rows of images and texts by transformers alone."""
    t = parity.transformers
    processor = t.AutoProcessor.from_pretrained(self.path)
    model = t.AutoModel.from_pretrained(self.path, dtype=parity.torch.float32)
    images = [Image.open(io.BytesIO(b)) for b in hub_folders.pictures()]
    inputs = processor(
      text=list(texts), images=images, return_tensors='pt', **kwargs
    )
    found = model.eval()(**inputs)
    return inputs, found.image_embeds.numpy(), found.text_embeds.numpy()

  def assert_equal_rows(self, ours, theirs, name: str) -> None:
    self.assertEqual(ours.shape, theirs.shape, name)
    errors = np.linalg.norm(ours - theirs, axis=1)
    np.testing.assert_array_less(errors, TOLERANCE, name)

  def assert_equal_embeddings(self, image_ND, text_ND) -> folder.VLM:
    with self.assertNoLogs('transformers', 'WARNING'):
      vlm = folder.load(self.path)
    batch = preprocessing.stack(
      [
        vlm.pixels.prepare(records.decode(file))
        for file in hub_folders.pictures()
      ]
    )
    variables = {'params': vlm.params}
    found, _ = parity.apply(
      vlm.module, variables, vlm.pixels(batch), method='image'
    )
    self.assert_equal_rows(found, image_ND, 'image')
    ids_NT = vlm.tokenize(list(hub_folders.TEXTS))
    found, _ = parity.apply(vlm.module, variables, ids_NT, method='text')
    self.assert_equal_rows(found, text_ND, 'text')
    # Or all rows would be equal, whatever was read.
    self.assertGreater(np.std(image_ND, axis=0).max(), 0.01)
    self.assertGreater(np.std(text_ND, axis=0).max(), 0.01)
    return vlm

  @parameterized.product(
    family=('clip', 'aimv2'), size=(32, 56), in_one=(False, True)
  )
  def test_clip_and_aimv2(self, family, size, in_one):
    config = {'clip': clip_test.CONFIG, 'aimv2': aimv2_test.CONFIG}[family]
    hub_folders.save(
      self.path,
      {'clip': 'CLIPModel', 'aimv2': 'Aimv2Model'}[family],
      context(config, 77, image_size=size),
      hub_folders.clip_tokenizer(model_max_length=77),
      parity.transformers.CLIPImageProcessorPil(
        size={'shortest_edge': size}, crop_size={'height': size, 'width': size}
      ),
      in_one,
    )
    inputs, *expected = self.theirs(padding=True, truncation=True)
    self.assertEqual(inputs['input_ids'].shape[1], 77)
    self.assertIn('attention_mask', inputs)
    vlm = self.assert_equal_embeddings(*expected)
    self.assertIsInstance(vlm.tokenizer, parity.transformers.CLIPTokenizer)

  def test_clip_with_a_vocabulary_of_two_files(self):
    tokenizer = hub_folders.clip_tokenizer(model_max_length=77)
    hub_folders.save(
      self.path,
      'CLIPModel',
      context(clip_test.CONFIG, 77),
      tokenizer,
      parity.transformers.CLIPImageProcessorPil(
        size={'shortest_edge': 36}, crop_size={'height': 32, 'width': 32}
      ),
    )
    os.remove(os.path.join(self.path, 'tokenizer.json'))
    tokenizer.backend_tokenizer.model.save(self.path)
    self.assertIn('merges.txt', os.listdir(self.path))
    _, *expected = self.theirs(padding=True, truncation=True)
    self.assert_equal_embeddings(*expected)

  def siglip_processor(self):
    return parity.transformers.SiglipImageProcessorPil(
      size={'height': 32, 'width': 32}
    )

  @absltest.skipIf(sentencepiece is None, 'sentencepiece is not installed')
  def test_siglip(self):
    hub_folders.save(
      self.path,
      'SiglipModel',
      context(siglip_test.CONFIG, 64),
      hub_folders.sentencepiece_tokenizer(
        self.path, model_max_length=64, model_input_names=['input_ids']
      ),
      self.siglip_processor(),
    )
    inputs, *expected = self.theirs(padding='max_length', truncation=True)
    self.assertCountEqual(inputs, ['input_ids', 'pixel_values'])
    self.assertEqual(inputs['input_ids'].shape[1], 64)
    vlm = self.assert_equal_embeddings(*expected)
    ids_NT = vlm.tokenize(list(hub_folders.TEXTS))
    np.testing.assert_array_equal(ids_NT, inputs['input_ids'])
    # Letter case and punctuation are no part of a text, nor is a full stop.
    np.testing.assert_array_equal(ids_NT[0], ids_NT[1])
    np.testing.assert_array_equal(ids_NT[6], [1] * 64)

  def test_siglip2_of_one_resolution(self):
    hub_folders.save(
      self.path,
      'SiglipModel',
      context(siglip_test.CONFIG, 64),
      hub_folders.gemma_tokenizer(
        model_max_length=64, model_input_names=['input_ids']
      ),
      self.siglip_processor(),
    )
    # Trained on lower case, of which transformers knows nothing here.
    inputs, *expected = self.theirs(
      [text.lower() for text in hub_folders.TEXTS],
      padding='max_length',
      truncation=True,
    )
    vlm = self.assert_equal_embeddings(*expected)
    np.testing.assert_array_equal(
      vlm.tokenize(list(hub_folders.TEXTS)), inputs['input_ids']
    )

  def test_siglip2_naflex(self):
    config = siglip_test.CONFIG | {'model_type': 'siglip2'}
    vision = {
      k: v for k, v in config['vision_config'].items() if k != 'image_size'
    }
    hub_folders.save(
      self.path,
      'Siglip2Model',
      context(
        config | {'vision_config': vision}, 64, patch_size=16, num_patches=256
      ),
      hub_folders.gemma_tokenizer(
        model_max_length=64, model_input_names=['input_ids']
      ),
      parity.transformers.Siglip2ImageProcessorPil(do_convert_rgb=True),
    )
    inputs, *expected = self.theirs()
    self.assertGreater(len({tuple(s) for s in inputs['spatial_shapes']}), 5)
    vlm = self.assert_equal_embeddings(*expected)
    ids_NT = vlm.tokenize(list(hub_folders.TEXTS))
    np.testing.assert_array_equal(ids_NT, inputs['input_ids'])
    np.testing.assert_array_equal(
      ids_NT[0], vlm.tokenize(['A Photo of TWO cats'])[0]
    )

  @parameterized.parameters('clip', 'siglip', 'siglip2', 'aimv2')
  def test_transformers_reads_the_folders_we_write(self, kind):
    vlm, config = folder_test.small(kind)
    folder.save(self.path, vlm, config)
    vlm = folder.load(self.path)
    t = parity.transformers
    model = t.AutoModel.from_pretrained(self.path, dtype=parity.torch.float32)
    files = hub_folders.pictures()
    images = [Image.open(io.BytesIO(b)) for b in files]
    texts = ['a c', 'b', 'c b a a unheard', 'a ' * 20]
    reads_last = vlm.module.reads_last_token
    options = {
      'padding': 'max_length' if reads_last else True,
      'truncation': True,
      'return_tensors': 'pt',
    }
    if kind == 'siglip2':
      # AutoTokenizer takes every tokenizer of this type for Gemma's, and the
      # processor for both has sizes of its own.
      read = t.AutoImageProcessor.from_pretrained(self.path)
      tokenizer = t.TokenizersBackend.from_pretrained(self.path)
      inputs = {
        **read(images, return_tensors='pt'), **tokenizer(texts, **options)
      }  # fmt: skip
    else:
      read = t.AutoProcessor.from_pretrained(self.path)
      inputs = read(text=texts, images=images, **options)
    self.assertEqual('attention_mask' in inputs, not reads_last)
    expected = model.eval()(**inputs)
    batch = preprocessing.stack(
      [vlm.pixels.prepare(records.decode(b)) for b in files]
    )
    image_BD, text_BD, *_ = parity.apply(
      vlm.module,
      {'params': vlm.params},
      vlm.pixels(batch),
      vlm.tokenize(texts),
    )
    self.assert_equal_rows(image_BD, expected.image_embeds.numpy(), 'image')
    self.assert_equal_rows(text_BD, expected.text_embeds.numpy(), 'text')


if __name__ == '__main__':
  absltest.main()
