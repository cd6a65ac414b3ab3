"""Model folders in Hugging Face layout: config, weights, words, pixels."""

import dataclasses
import json
import math
import os
from typing import Any

import numpy as np
import safetensors.numpy
import transformers

from saejax import errors
from saejax import types
from saejax.models import clip
from saejax.models import families
from saejax.models import preprocessing
from saejax.models import siglip
from saejax.models import siglip2
from saejax.models import weights

CONFIG, WEIGHTS = 'config.json', 'model.safetensors'
PREPROCESSOR = 'preprocessor_config.json'
_LENGTHS = 8  # Token lengths are padded to multiples of this.


@dataclasses.dataclass(frozen=True)
class VLM:
  """A two-tower model with what surrounds it."""

  module: clip.CLIP | siglip.SigLIP
  params: types.ArrayTree
  tokenizer: transformers.PreTrainedTokenizerFast
  pixels: preprocessing.Pixels
  name: str

  def tokenize(self, texts: list[str]) -> np.ndarray:
    """Token ids int32 [N, T]; T is the longest text, rounded up, or if the
    model reads a text's last token, the most that it takes."""
    most = self.module.config.text.max_position_embeddings
    ids = self.tokenizer(texts, truncation=True, max_length=most)['input_ids']
    longest = most if self.module.reads_last_token else max(map(len, ids))
    length = min(-(-longest // _LENGTHS) * _LENGTHS, most)
    ids_NT = np.full((len(ids), length), self.tokenizer.pad_token_id, np.int32)
    for row, tokens in zip(ids_NT, ids, strict=True):
      row[: len(tokens)] = tokens
    return ids_NT


def _read(path: str, name: str) -> dict[str, Any]:
  file = os.path.join(path, name)
  if not os.path.exists(file):
    raise errors.UserError(f'{path} is not a model folder: it has no {name}.')
  with open(file, encoding='utf-8') as f:
    return json.load(f)


def load(path: str) -> VLM:
  """Loads a model folder; UserError says what is missing or does not fit."""
  module = families.build(_read(path, CONFIG))
  file = os.path.join(path, WEIGHTS)
  if not os.path.exists(file):
    raise errors.UserError(f'{path} has no {WEIGHTS}.')
  checkpoint = safetensors.numpy.load_file(file)
  return VLM(
    module=module,
    params=weights.load(checkpoint, families.abstract_params(module), file),
    tokenizer=transformers.PreTrainedTokenizerFast.from_pretrained(
      path, local_files_only=True
    ),
    pixels=_pixels(module, _read(path, PREPROCESSOR)),
    name=os.path.basename(os.path.normpath(path)),
  )


def _pixels(module, processor: dict[str, Any]) -> preprocessing.Pixels:
  vision = module.config.vision
  patch = vision.patch_size if isinstance(module, siglip2.SigLIP2) else None
  side = vision.image_size
  if patch:
    side = patch * math.isqrt(processor['max_num_patches'])
  return preprocessing.Pixels(
    side=side,
    mean_3=tuple(processor['image_mean']),
    std_3=tuple(processor['image_std']),
    rescale=processor['rescale_factor'],
    patch=patch,
  )


def _processor(vlm: VLM, kind: str) -> dict[str, Any]:
  """The folder's `preprocessor_config.json`, as `transformers` reads it."""
  name = {'siglip': 'Siglip', 'siglip2': 'Siglip2'}.get(kind, 'CLIP')
  pixels = vlm.pixels
  side = {'height': pixels.side, 'width': pixels.side}
  bicubic, bilinear = 3, 2  # As Pillow counts them.
  if pixels.patch is None:
    size = {'size': side, 'resample': bicubic}
    if name == 'CLIP':
      size |= {'do_center_crop': False, 'crop_size': side}
  else:
    size = {
      'patch_size': pixels.patch,
      'max_num_patches': (pixels.side // pixels.patch) ** 2,
      'resample': bilinear,
    }
  return {
    'image_processor_type': f'{name}ImageProcessor',
    'do_resize': True,
    **size,
    'do_convert_rgb': True,
    'do_rescale': True,
    'rescale_factor': pixels.rescale,
    'do_normalize': True,
    'image_mean': list(pixels.mean_3),
    'image_std': list(pixels.std_3),
  }


def save(path: str, vlm: VLM, config: dict[str, Any]) -> None:
  """Writes a folder that `load`, and `transformers`, can read; float16."""
  os.makedirs(path, exist_ok=True)
  halves = {
    name: np.ascontiguousarray(array.astype(np.float16)).reshape(array.shape)
    for name, array in weights.export(vlm.params).items()
  }
  safetensors.numpy.save_file(
    halves, os.path.join(path, WEIGHTS), metadata={'format': 'pt'}
  )
  vlm.tokenizer.save_pretrained(path)
  preprocessor = _processor(vlm, config['model_type'])
  for name, data in ((CONFIG, config), (PREPROCESSOR, preprocessor)):
    with open(os.path.join(path, name), 'w', encoding='utf-8') as f:
      json.dump(data, f, indent=1)
      f.write('\n')
