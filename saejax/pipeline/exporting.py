"""The store of `caching`, from transformers' model on torch.

Prompts, positions, rows and columns are those of `caching`; pixels, the model
and its residuals are of transformers, read by hooks.
"""

import dataclasses

import jax
import numpy as np
import transformers

from saejax import errors
from saejax import nn
from saejax import pretrained
from saejax import types
from saejax.models import llava_folder
from saejax.pipeline import caching
from saejax.torch_bridge import llava_export
from saejax.torch_bridge import present
from saejax.torch_bridge import sae_torch


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(caching.CacheConfig):
  """Flags of `export_llava`: those of `cache_llava`, but --mesh and --tower.

  Attributes:
    device: where torch computes.
  """

  device: str = 'cpu'


def from_torch(config: ExportConfig) -> caching.Source:
  """The model of a config, on torch."""
  model, path = llava_folder.describe(
    pretrained.find(config.model),
    revision=config.revision,
    offline=config.offline,
  )
  theirs = llava_export.load(path, config.dtype, config.device)

  def read(prompts, images, layers):
    ids = [model.tokenizer(prompt)['input_ids'] for prompt in prompts]
    of_rows = [()] * len(ids) if images is None else images
    tokens, _, _ = llava_folder.lay_out(model.module.config, ids, of_rows)
    tokens = jax.device_get(tokens)
    every = [image for of_row in of_rows for image in of_row]
    pixels = model.processor(every, return_tensors='np') if every else None
    # What pads the shape is left out: torch compiles nothing.
    most = int(np.sum(tokens.is_real_BT, axis=1).max())
    given = llava_export.inputs(
      theirs, tokens.ids_BT[:, :most], tokens.is_real_BT[:, :most], pixels
    )
    return tokens, llava_export.residuals(theirs, given, layers)

  about = {'backend': f'transformers {transformers.__version__} on torch'}
  return caching.Source(model, read, about)


def export(config: ExportConfig, out: str) -> dict[str, int]:
  """Writes the store; the rows of each stream. See `caching.cache`.

  Raises:
    UserError, StoreError: torch is not there, something cannot be read, or
      `out` holds something else.
  """
  present.require('This', '; cache_llava does the same without')
  caching.check(config)
  if config.tower:
    raise errors.UserError(
      "What the vision tower gives is not read from torch: use cache_llava's "
      '--tower.'
    )
  present.check_device('--device', config.device)
  return caching.cache(config, out, from_torch)


def torch_dictionary(sae: nn.LinearSAE, variables: types.ArrayTree):
  """An SAE for `llava_edits.reconstruct` and `clamp`, see `sae_torch`."""
  arch = next(k for k, v in nn.ARCHITECTURES.items() if type(sae) is v)
  spec = sae_torch.Spec(arch, sae.k, tuple(sae.modalities), sae.use_b_dec)
  arrays = variables['params'] | variables['constants']
  return sae_torch.dictionary(spec, jax.device_get(arrays))
