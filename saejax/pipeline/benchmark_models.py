"""How fast the towers embed, beside the torch models of transformers.

The weights are random and in both the same in number: speed does not depend on
their values.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from saejax import errors
from saejax.models import families
from saejax.models import siglip2
from saejax.pipeline import timing
from saejax.torch_bridge import towers

_BASE = {
  'hidden_size': 768,
  'intermediate_size': 3072,
  'num_hidden_layers': 12,
  'num_attention_heads': 12,
}
_SMALL_IMAGE = {
  'hidden_size': 96,
  'intermediate_size': 384,
  'num_hidden_layers': 4,
  'num_attention_heads': 3,
  'image_size': 48,
  'patch_size': 8,
}
_SMALL_TEXT = {
  'hidden_size': 64,
  'intermediate_size': 256,
  'num_hidden_layers': 2,
  'num_attention_heads': 2,
  'vocab_size': 91,
  'max_position_embeddings': 40,
  'eos_token_id': 3,
  'bos_token_id': 1,
  'pad_token_id': 0,
}
_LARGE = {
  'hidden_size': 1024,
  'intermediate_size': 4096,
  'num_hidden_layers': 24,
  'num_attention_heads': 16,
}
_GATED = {'hidden_size': 768, 'intermediate_size': 2048}

# What config files may leave out are the sizes of the first models published.
CONFIGS: dict[str, dict[str, Any]] = {
  'clip-small': {
    'model_type': 'clip',
    'projection_dim': 64,
    'vision_config': _SMALL_IMAGE,
    'text_config': _SMALL_TEXT,
  },
  'clip-base-32': {'model_type': 'clip', 'text_config': {}},
  'siglip-base-16': {'model_type': 'siglip'},
  'siglip2-base-16': {'model_type': 'siglip2'},
  'aimv2-base-14': {
    'model_type': 'aimv2',
    'vision_config': {
      **_BASE,
      **_GATED,
      'num_attention_heads': 6,
      'image_size': 224,
    },
  },
  'clip-large-14': {
    'model_type': 'clip',
    'projection_dim': 768,
    'vision_config': {**_LARGE, 'image_size': 224, 'patch_size': 14},
    'text_config': {**_BASE, 'max_position_embeddings': 77},
  },
}


@dataclasses.dataclass(frozen=True)
class Inputs:
  """The same random inputs as we take them, and as transformers does."""

  ours: Any
  theirs: dict[str, np.ndarray]


def image_inputs(module, batch: int) -> Inputs:
  rng, vision = np.random.default_rng(0), module.config.vision
  if isinstance(module, siglip2.SigLIP2):
    t = vision.num_patches
    side = int(t**0.5)
    patch_BTP = rng.standard_normal(
      (batch, t, 3 * vision.patch_size**2), dtype=np.float32
    )
    mask_BT = np.ones((batch, t), bool)
    grid_B2 = np.full((batch, 2), side, np.int32)
    return Inputs(
      siglip2.Patches(patch_BTP, mask_BT, grid_B2),
      {
        'pixel_values': patch_BTP,
        'pixel_attention_mask': mask_BT.astype(np.int32),
        'spatial_shapes': grid_B2.astype(np.int64),
      },
    )
  side = vision.image_size
  image_BHW3 = rng.standard_normal((batch, side, side, 3), dtype=np.float32)
  first = np.ascontiguousarray(image_BHW3.transpose(0, 3, 1, 2))
  return Inputs(image_BHW3, {'pixel_values': first})


def text_inputs(module, batch: int, length: int) -> Inputs:
  """Texts of one length, at most the model's; SigLIP's are always full."""
  text = module.config.text
  full = module.reads_last_token
  length = text.max_position_embeddings if full else length
  ids_BT = np.random.default_rng(0).integers(
    4, min(text.vocab_size, 1000), (batch, length), dtype=np.int32
  )
  theirs = {'input_ids': ids_BT.astype(np.int64)}
  if not full:
    ids_BT[:, -1] = text.eos_token_id
    theirs = {
      'input_ids': ids_BT.astype(np.int64),
      'attention_mask': np.ones(ids_BT.shape, np.int64),
    }
  return Inputs(ids_BT, theirs)


def _flops(call: Callable, *inputs) -> float:
  """Operations of one call, as the compiler counts them."""
  return jax.jit(call).lower(*inputs).cost_analysis()['flops']


def check(names: Sequence[str], with_torch: bool) -> None:
  """Raises UserError for a model that is not here, or if there is no torch."""
  for name in set(names) - set(CONFIGS):
    raise errors.UserError(
      f'There is no model {name!r} to measure; there are '
      f'{", ".join(CONFIGS)}, llava-scenes and llava-WIDTHxBLOCKS.'
    )
  if with_torch and importlib.util.find_spec('torch') is None:
    raise errors.UserError(
      'torch is not installed: leave it out with --notorch, or install it with '
      './launch.sh test --parity.'
    )


def _measure_way(way, module, params, inputs, theirs, rounds, label):
  """Rates by who embeds, ours in operations too, and the ratio of both."""
  call = lambda params, x: module.apply({'params': params}, x, method=way)[0]
  fast, placed = jax.jit(call), jax.device_put(inputs.ours)
  calls = {'saejax': lambda: fast(params, placed)}
  if theirs:
    calls['torch'] = lambda: theirs(**inputs.theirs)
  seconds = timing.in_turns(calls, rounds, label)
  n = len(inputs.theirs['input_ids' if way == 'text' else 'pixel_values'])
  unit = 'captions/s' if way == 'text' else 'images/s'
  found = {
    who: {**timing.rate(seconds_R, n), 'unit': unit}
    for who, seconds_R in seconds.items()
  }
  tera = _flops(call, params, placed) / 1e12
  found['saejax/tflops'] = {
    **timing.rate(seconds['saejax'], tera),
    'unit': 'TFLOP/s',
  }
  if theirs:
    found['ratio'] = {
      **timing.rate(seconds['saejax'] / seconds['torch'], 1.0),
      'unit': 'times torch',
    }
  return found


def measure(
  name: str,
  *,
  batch: int,
  rounds: int,
  dtype: str = 'float32',
  length: int = 24,
  with_torch: bool = True,
) -> dict[str, dict[str, Any]]:
  """Images and captions a second of one model, batches already on the device.

  Args:
    name: of CONFIGS.
    batch: images, or captions, a call.
    rounds: timed calls of each; the first is left out.
    dtype: of parameters and computation.
    length: tokens of a caption, where the model does not fix it.
    with_torch: also time transformers' model, on the CPU.
  """
  config = CONFIGS[name]
  module = families.build(config, jnp.dtype(dtype))
  rng = np.random.default_rng(0)
  make = lambda s: 0.02 * rng.standard_normal(s.shape, np.float32)
  params = jax.tree.map(
    lambda s: jnp.asarray(make(s), jnp.dtype(dtype)),
    families.abstract_params(module),
  )
  inputs = {
    'image': image_inputs(module, batch),
    'text': text_inputs(module, batch, length),
  }
  theirs = towers.towers(config, dtype) if with_torch else (None, None)
  entries = {}
  for (way, x), peer in zip(inputs.items(), theirs, strict=True):
    label = f'{name} {way}'
    found = _measure_way(way, module, params, x, peer, rounds, label)
    entries |= {f'{name}/{way}/{key}': entry for key, entry in found.items()}
  return entries
