"""LLaVA-NeXT folders in Hugging Face layout, and what the model reads."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
import os
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import safetensors.numpy
import transformers

from saejax import errors
from saejax import types
from saejax.models import checkpoints
from saejax.models import folder
from saejax.models import hub
from saejax.models import llama
from saejax.models import llava_next
from saejax.models import llava_sharding
from saejax.models import texts
from saejax.models import tiles
from saejax.models import weights

IMAGE = '<image>'
_SLOTS = 32  # Rows are padded to multiples of this, so that few shapes occur,
_TILES = 4  # and the tiles of a batch to multiples of that.


@flax.struct.dataclass
class Inputs:
  """A batch of prompts with their images, as the model reads it.

  Attributes:
    tokens: padded on the right.
    image: None where there is none.
  """

  tokens: llama.Tokens
  image: llava_next.Image | None


@dataclasses.dataclass(frozen=True)
class LLaVA:
  """A model with what surrounds it.

  Attributes:
    module: `module.dtype` is what it computes in.
    params: on the mesh, if `load` was given one; None of `describe`.
    tokenizer: the model's own.
    processor: of images, of `transformers`, which works with Pillow.
    ends: tokens that end an answer.
    name: of the model, for manifests.
    revision: the hash of the commit on the hub, if it came from there.
  """

  module: llava_next.LlavaNext
  params: types.ArrayTree
  tokenizer: transformers.PreTrainedTokenizerBase
  processor: Any
  ends: tuple[int, ...]
  name: str
  revision: str | None = None

  def prepare(
    self,
    prompts: Sequence[str],
    images: Sequence[Sequence[Image.Image]] | None = None,
  ) -> Inputs:
    """Prompts and their images as the model reads them.

    Args:
      prompts: texts, each with as many `<image>` as it has images.
      images: RGB images of each prompt; None for none at all.

    Raises:
      UserError: a prompt has not as many `<image>` as images.
    """
    ids = [self.tokenizer(prompt)['input_ids'] for prompt in prompts]
    images = [()] * len(ids) if images is None else images
    return read(self.module.config, self.processor, ids, images)


def read(
  config: llava_next.LlavaNextConfig,
  processor: Any,
  ids: Sequence[Sequence[int]],
  images: Sequence[Sequence[Image.Image]],
) -> Inputs:
  """A batch from token ids with one image token an image.

  Args:
    config: of the model.
    processor: of its images.
    ids: token ids of each row.
    images: of each row.

  Raises:
    UserError: a row has not as many image tokens as images.
  """
  layout = config.layout
  tokens, source_BT, used = lay_out(config, ids, images)
  if not used:
    return Inputs(tokens=tokens, image=None)
  tile_NHWC = np.zeros(
    (_up(used, _TILES), layout.side, layout.side, 3), np.float32
  )
  every = [image for of_row in images for image in of_row]
  tile_NHWC[:used] = _tiles(processor, every, layout)
  newline = len(tile_NHWC) * layout.patches**2
  image = llava_next.Image(
    tile_NHWC=tile_NHWC, source_BT=np.where(source_BT == -2, newline, source_BT)
  )
  return Inputs(tokens=tokens, image=image)


def lay_out(
  config: llava_next.LlavaNextConfig,
  ids: Sequence[Sequence[int]],
  images: Sequence[Sequence[Image.Image]],
) -> tuple[llama.Tokens, np.ndarray, int]:
  """What stands at each position of a batch, without a look at the images.

  Args:
    config: of the model.
    ids: token ids of each row, with one image token an image.
    images: of each row.

  Returns:
    Tokens, the sources [B, T] of `tiles.pack`, and how many tiles they count.

  Raises:
    UserError: a row has not as many image tokens as images.
  """
  sizes = [[(i.height, i.width) for i in of_row] for of_row in images]
  image_id, layout = config.image_token_index, config.layout
  try:
    rows, sources, used = tiles.pack(ids, sizes, image_id, layout)
  except ValueError as e:
    raise errors.UserError(f'{e} Each {IMAGE} stands for one.') from None
  most = _up(max(map(len, rows)), _SLOTS)
  ids_BT = np.zeros((len(rows), most), np.int32)
  source_BT = np.full((len(rows), most), -1, np.int32)
  for b, (row, source) in enumerate(zip(rows, sources, strict=True)):
    ids_BT[b, : len(row)] = row
    source_BT[b, : len(row)] = source
  tokens = llama.tokens_of(ids_BT, [len(row) for row in rows], image_id)
  return tokens, source_BT, used


def _up(n: int, multiple: int) -> int:
  return -(-n // multiple) * multiple


def _tiles(processor: Any, images: Sequence[Image.Image], layout: tiles.Layout):
  """Whitened tiles [N, H, W, 3] of all images, one after the other."""
  found = []
  for image in images:
    tile_NCHW = processor(image, return_tensors='np')['pixel_values'][0]
    n = tiles.count((image.height, image.width), layout)
    if tile_NCHW.shape != (n, 3, layout.side, layout.side):
      raise errors.UserError(
        f'The image processor makes {tile_NCHW.shape} numbers of an image of '
        f'{image.height} by {image.width}, and the model reads '
        f'{(n, 3, layout.side, layout.side)}: preprocessor_config.json does '
        'not fit config.json.'
      )
    found.append(tile_NCHW.transpose(0, 2, 3, 1))
  return np.concatenate(found)


def abstract_params(module: llava_next.LlavaNext) -> types.ArrayTree:
  """Shapes of the module's parameters; nothing is computed."""
  c, p = module.config, module.config.layout.patches**2
  side = c.vision.image_size
  image = llava_next.Image(
    tile_NHWC=jnp.zeros((1, side, side, 3)),
    source_BT=jnp.zeros((1, p), jnp.int32),
  )
  tokens = llama.tokens_of(jnp.zeros((1, p), jnp.int32))
  call = lambda key: module.init(key, tokens, image=image)
  return jax.eval_shape(call, jax.random.key(0))['params']


def canonical(
  checkpoint: Mapping[str, weights.Tensor],
) -> dict[str, weights.Tensor]:
  """A checkpoint of any version by the names of the module."""
  return {llava_next.canonical(name): t for name, t in checkpoint.items()}


def load(
  model: str,
  *,
  revision: str | None = None,
  offline: bool = False,
  mesh: jax.sharding.Mesh | None = None,
  dtype: jnp.dtype = jnp.float32,
) -> LLaVA:
  """Loads a model from a folder, or from the hub by its id.

  Args:
    model: a folder in Hugging Face layout, or `org/name`.
    revision: branch, tag or commit on the hub; None for `main`.
    offline: never ask the network.
    mesh: where the parameters go, each device reading its part alone; None
      leaves them on the host.
    dtype: of the parameters and the computation.

  Raises:
    UserError: something is missing or does not fit.
  """
  found, path = describe(model, revision=revision, offline=offline, dtype=dtype)
  shapes = abstract_params(found.module)
  params = weights.load(
    canonical(checkpoints.open_folder(path)),
    shapes,
    path,
    llava_sharding.shardings(shapes, mesh) if mesh else None,
    dtype,
  )
  return dataclasses.replace(found, params=params)


def describe(
  model: str,
  *,
  revision: str | None = None,
  offline: bool = False,
  dtype: jnp.dtype = jnp.float32,
) -> tuple[LLaVA, str]:
  """A model without its parameters, and the folder that has them; as `load`."""
  found = hub.resolve(model, revision, offline)
  config = folder.read_config(found.path)
  if config.get('model_type') != 'llava_next':
    raise errors.UserError(
      f'{model} is of type {config.get("model_type")!r}, not llava_next.'
    )
  parsed = llava_next.LlavaNextConfig.from_dict(config)
  tokenizer = texts.load(found.path, 'llava_next')
  described = LLaVA(
    module=llava_next.LlavaNext(parsed, dtype),
    params=None,
    tokenizer=tokenizer,
    processor=_processor(found.path),
    ends=_ends(config, tokenizer),
    name=found.name,
    revision=found.revision,
  )
  return described, found.path


def _processor(path: str) -> Any:
  try:
    return transformers.AutoImageProcessor.from_pretrained(
      path, backend='pil', local_files_only=True, trust_remote_code=False
    )
  except Exception as e:  # The file may hold anything.
    raise errors.UserError(
      f'{path} has no image processor that can be used ({texts.first_line(e)}).'
    ) from e


def _ends(config: dict[str, Any], tokenizer: Any) -> tuple[int, ...]:
  """Tokens that end an answer: the language model's, else the tokenizer's."""
  given = (config.get('text_config') or {}).get('eos_token_id')
  given = tokenizer.eos_token_id if given is None else given
  return tuple(given) if isinstance(given, list) else (given,)


def is_there(path: str) -> bool:
  """Whether `save` has ended there."""
  return os.path.exists(os.path.join(path, folder.CONFIG))


def save(path: str, model: LLaVA, config: dict[str, Any]) -> None:
  """Writes a folder that `load`, and `transformers`, can read; float16."""
  os.makedirs(path, exist_ok=True)
  halves = {
    llava_next.published(name): np.ascontiguousarray(array.astype(np.float16))
    for name, array in weights.export(model.params).items()
  }
  safetensors.numpy.save_file(
    halves, os.path.join(path, folder.WEIGHTS), metadata={'format': 'pt'}
  )
  model.tokenizer.save_pretrained(path)
  model.processor.save_pretrained(path)
  c = model.module.config
  processor = {
    'processor_class': 'LlavaNextProcessor',
    'patch_size': c.vision.patch_size,
    'num_additional_image_tokens': 1 if c.drops_class else 0,
    'vision_feature_select_strategy': 'default' if c.drops_class else 'full',
    'image_token': IMAGE,
  }
  # The config last: with it the folder is whole.
  for name, data in (
    ('processor_config.json', processor),
    (folder.CONFIG, config),
  ):
    with open(os.path.join(path, name), 'w', encoding='utf-8') as f:
      json.dump(data, f, indent=1)
      f.write('\n')
