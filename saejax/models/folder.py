"""Model folders in Hugging Face layout: config, weights, words, pixels."""

import copy
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
from saejax.models import checkpoints
from saejax.models import families
from saejax.models import hub
from saejax.models import preprocessing
from saejax.models import texts as texts_lib
from saejax.models import vision_only
from saejax.models import weights

CONFIG, WEIGHTS = 'config.json', 'model.safetensors'
PREPROCESSOR = preprocessing.CONFIG


@dataclasses.dataclass(frozen=True)
class VLM:
  """A two-tower model, or the image tower of one, with what surrounds it.

  Attributes:
    module: the towers; `module.dtype` is what they compute in.
    params: float32; on the mesh, if `load` was given one.
    tokenizer: the model's own; None of an image tower alone.
    pixels: how images become what the towers read.
    name: of the model, for manifests.
    revision: the hash of the commit on the hub, if it came from there.
  """

  module: families.Module
  params: types.ArrayTree
  tokenizer: transformers.PreTrainedTokenizerBase | None
  pixels: preprocessing.Pixels
  name: str
  revision: str | None = None

  def tokenize(self, texts: list[str]) -> np.ndarray:
    """Token ids int32 [N, T]; long texts are cut.

    T is the longest text, rounded up; of a model that reads a text's last
    token, the most that it takes.

    Raises:
      UserError: the model reads no texts.
    """
    if self.tokenizer is None:
      raise errors.UserError(
        f'{self.name} is an image tower alone and reads no texts: give a model '
        'that has both towers.'
      )
    most = self.module.config.text.max_position_embeddings
    return texts_lib.encode(
      self.tokenizer, texts, most, whole=self.module.reads_last_token
    )


def load(
  model: str,
  *,
  revision: str | None = None,
  offline: bool = False,
  mesh: jax.sharding.Mesh | None = None,
  dtype: jnp.dtype = jnp.float32,
) -> VLM:
  """Loads a model from a folder, or from the hub by its id.

  Args:
    model: a folder in Hugging Face layout, or `org/name`.
    revision: branch, tag or commit on the hub; None for `main`.
    offline: never ask the network.
    mesh: where the parameters go, each device reading its part alone; None
      leaves them on the host.
    dtype: of the computation.

  Raises:
    UserError: something is missing or does not fit.
  """
  found = hub.resolve(model, revision, offline)
  config = read_config(found.path)
  module = families.build(config, dtype)
  shapes = families.abstract_params(module)
  tokenizer = None
  if not isinstance(module, vision_only.VisionOnly):
    tokenizer = texts_lib.load(found.path, config['model_type'])
  return VLM(
    module=module,
    params=weights.load(
      checkpoints.open_folder(found.path),
      shapes,
      found.path,
      weights.shardings(shapes, mesh) if mesh else None,
    ),
    tokenizer=tokenizer,
    pixels=preprocessing.load(found.path, module),
    name=found.name,
    revision=found.revision,
  )


def read_config(path: str) -> dict[str, Any]:
  """The `config.json` of a model folder; UserError where there is none."""
  file = os.path.join(path, CONFIG)
  try:
    with open(file, encoding='utf-8') as f:
      config = json.load(f)
  except FileNotFoundError:
    raise errors.UserError(
      f'{path} is not a model folder: it has no {CONFIG}.'
    ) from None
  except ValueError as e:
    raise errors.UserError(f'{file} is not JSON: {e}.') from None
  if not isinstance(config, dict):
    raise errors.UserError(f'{file} holds no JSON object, but {config!r:.40}.')
  return config


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
  # Like the published ones, which were trained to read padding, unmasked.
  tokenizer = copy.deepcopy(vlm.tokenizer)
  if vlm.module.reads_last_token:
    tokenizer.model_input_names = ['input_ids']
    tokenizer.init_kwargs['model_input_names'] = ['input_ids']
  tokenizer.save_pretrained(path)
  preprocessor = _processor(vlm, config['model_type'])
  for name, data in ((CONFIG, config), (PREPROCESSOR, preprocessor)):
    with open(os.path.join(path, name), 'w', encoding='utf-8') as f:
      json.dump(data, f, indent=1)
      f.write('\n')
