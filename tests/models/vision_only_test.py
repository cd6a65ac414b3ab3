"""Image towers alone: parity with transformers' classes, from folders."""

import io
import json
import os

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from saejax import errors
from saejax.data import records
from saejax.models import families
from saejax.models import folder
from saejax.models import preprocessing
from tests.models import aimv2_test
from tests.models import clip_test
from tests.models import hub_folders
from tests.models import parity
from tests.models import siglip2_test
from tests.models import siglip_test

PROJECTED = clip_test.VISION | {'projection_dim': 24}
MODELS = {
  'CLIPVisionModelWithProjection': PROJECTED,
  'CLIPVisionModel': PROJECTED,
  'SiglipVisionModel': siglip_test.VISION,
  'Siglip2VisionModel': siglip2_test.VISION,
  'Aimv2VisionModel': aimv2_test.VISION,
}


def processor(model: str):
  if model.startswith('Siglip2'):
    return parity.transformers.Siglip2ImageProcessorPil(
      patch_size=4, max_num_patches=25, do_convert_rgb=True
    )
  if model.startswith('Siglip'):
    return parity.transformers.SiglipImageProcessorPil(
      size={'height': 32, 'width': 32}
    )
  return parity.transformers.CLIPImageProcessorPil(
    size={'shortest_edge': 36}, crop_size={'height': 32, 'width': 32}
  )


@parity.needs_torch
class ParityTest(parity.ParityTest, parameterized.TestCase):
  # As version 5 names tensors, and as version 4 did.
  @parameterized.product(model=(*MODELS,), prefix=('', 'vision_model.'))
  def test_from_files_to_embeddings(self, model, prefix):
    path = self.create_tempdir().full_path
    config = model.removesuffix('WithProjection').replace('Model', 'Config')
    theirs = parity.reference(model, config, MODELS[model])
    read = processor(model)
    theirs.save_pretrained(path)
    if prefix:
      os.remove(os.path.join(path, 'model.safetensors'))
      old = {
        name if name.startswith('vis') else f'{prefix}{name}': tensor
        for name, tensor in theirs.state_dict().items()
      }
      parity.torch.save(old, os.path.join(path, 'pytorch_model.bin'))
    read.save_pretrained(path)
    files = hub_folders.pictures()
    inputs = read(
      [Image.open(io.BytesIO(b)) for b in files], return_tensors='pt'
    )
    found = theirs(**inputs)
    projects = 'WithProjection' in model
    expected = (found.image_embeds if projects else found.pooler_output).numpy()
    vlm = folder.load(path)
    batch = preprocessing.stack(
      [vlm.pixels.prepare(records.decode(b)) for b in files]
    )
    image_BD, out = parity.apply(
      vlm.module, {'params': vlm.params}, vlm.pixels(batch), method='image'
    )
    self.assert_equal(out['projected'], expected, 'projected')
    self.assertEqual(vlm.module.config.projection_dim, expected.shape[1])
    norms = np.linalg.norm(expected, axis=1, keepdims=True)
    self.assert_equal(image_BD, expected / norms, 'unit rows')

  def test_texts_are_refused(self):
    path = self.create_tempdir().full_path
    model = 'SiglipVisionModel'
    theirs = parity.reference(model, 'SiglipVisionConfig', MODELS[model])
    theirs.save_pretrained(path)
    processor(model).save_pretrained(path)
    vlm = folder.load(path)
    self.assertIsNone(vlm.tokenizer)
    with self.assertRaisesRegex(errors.UserError, 'image tower alone'):
      vlm.tokenize(['a'])


class VisionOnlyTest(parameterized.TestCase):
  @parameterized.parameters(*families.TOWERS)
  def test_has_the_parameters_of_the_tower(self, kind):
    vision = PROJECTED | {'num_patches': 16, 'rms_norm_eps': 1e-5}
    both = families.build(
      {
        'model_type': kind.removesuffix('_vision_model'),
        'vision_config': vision,
      }
    )
    alone = families.build(
      json.loads(json.dumps(vision | {'model_type': kind}))
    )
    tower = families.abstract_params(both)['vision_model']
    self.assertEqual(families.abstract_params(alone), tower)

  @parameterized.parameters(
    ('siglip_vision_model', 'vision_use_head'),
    ('siglip2_vision_model', 'vision_use_head'),
    ('aimv2_vision_model', 'use_head'),
  )
  def test_without_a_head_there_is_no_embedding(self, kind, flag):
    with self.assertRaisesRegex(errors.UserError, f'{flag} false'):
      families.build({'model_type': kind, flag: False})


if __name__ == '__main__':
  absltest.main()
