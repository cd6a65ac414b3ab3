"""Model folders in Hugging Face layout: config, weights, words, pixels."""

import dataclasses
import json
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
import transformers

from saejax import errors
from saejax import types
from saejax.models import clip
from saejax.models import weights

CONFIG, WEIGHTS = 'config.json', 'model.safetensors'
PREPROCESSOR = 'preprocessor_config.json'
_LENGTHS = 8  # Token lengths are padded to multiples of this.


@dataclasses.dataclass(frozen=True)
class Pixels:
  """How pixels become what the model reads: (x·rescale − mean) / std."""

  side: int
  mean_3: tuple[float, ...]
  std_3: tuple[float, ...]
  rescale: float

  def __call__(self, image_NHW3: jax.Array) -> jax.Array:
    """Normalises uint8 images that already have the model's size."""
    scaled = image_NHW3.astype(jnp.float32) * self.rescale
    mean, std = jnp.asarray(self.mean_3), jnp.asarray(self.std_3)
    return (scaled - mean[None, None, None]) / std[None, None, None]


@dataclasses.dataclass(frozen=True)
class VLM:
  """A two-tower model with what surrounds it."""

  module: clip.CLIP
  params: types.ArrayTree
  tokenizer: transformers.PreTrainedTokenizerFast
  pixels: Pixels
  name: str

  def tokenize(self, texts: list[str]) -> np.ndarray:
    """Token ids int32 [N, T]; T is the longest text, rounded up."""
    most = self.module.config.text.max_position_embeddings
    ids = self.tokenizer(texts, truncation=True, max_length=most)['input_ids']
    longest = max(map(len, ids))
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
  """Loads a CLIP folder; UserError says what is missing or does not fit."""
  config = _read(path, CONFIG)
  if config.get('model_type') != 'clip':
    raise errors.UserError(
      f'{path} holds a model of type {config.get("model_type")!r}; this '
      "version reads 'clip'."
    )
  module = clip.CLIP(clip.CLIPConfig.from_dict(config))
  expected = jax.eval_shape(
    lambda: module.init(
      jax.random.key(0),
      jnp.zeros((1, *[module.config.vision.image_size] * 2, 3)),
      jnp.zeros((1, 8), jnp.int32),
    )
  )['params']
  file = os.path.join(path, WEIGHTS)
  if not os.path.exists(file):
    raise errors.UserError(f'{path} has no {WEIGHTS}.')
  checkpoint = safetensors.numpy.load_file(file)
  pixels = _read(path, PREPROCESSOR)
  return VLM(
    module=module,
    params=weights.load(checkpoint, expected, file),
    tokenizer=transformers.PreTrainedTokenizerFast.from_pretrained(
      path, local_files_only=True
    ),
    pixels=Pixels(
      side=module.config.vision.image_size,
      mean_3=tuple(pixels['image_mean']),
      std_3=tuple(pixels['image_std']),
      rescale=pixels['rescale_factor'],
    ),
    name=os.path.basename(os.path.normpath(path)),
  )


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
  side = {'height': vlm.pixels.side, 'width': vlm.pixels.side}
  preprocessor = {
    'image_processor_type': 'CLIPImageProcessor',
    'do_resize': True,
    'size': side,
    'resample': 3,
    'do_center_crop': False,
    'crop_size': side,
    'do_convert_rgb': True,
    'do_rescale': True,
    'rescale_factor': vlm.pixels.rescale,
    'do_normalize': True,
    'image_mean': list(vlm.pixels.mean_3),
    'image_std': list(vlm.pixels.std_3),
  }
  for name, data in ((CONFIG, config), (PREPROCESSOR, preprocessor)):
    with open(os.path.join(path, name), 'w', encoding='utf-8') as f:
      json.dump(data, f, indent=1)
      f.write('\n')
