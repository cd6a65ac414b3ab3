"""The small models that `train_vlm` makes: their sizes, before training."""

import dataclasses
from typing import Any

import jax

from saejax import errors
from saejax.data import captions
from saejax.data import scenes
from saejax.models import families
from saejax.models import folder
from saejax.models import preprocessing
from saejax.models import words

# Tokens; the fullest caption has 31. SigLIP reads them all, padding or not.
_CONTEXT = {'clip': 40, 'siglip': 32, 'siglip2': 32, 'aimv2': 40}
_IMAGE_SIDE = 48
_HEAD = 32  # Width of an attention head.


@dataclasses.dataclass(frozen=True, kw_only=True)
class VLMConfig:
  """Flags of `train_vlm`."""

  model: str = 'clip'
  captions: str = 'partial'
  seed: int = 0
  steps: int = 9_000
  caption_steps: int = 0  # Of an AIMv2's image tower, before.
  batch: int = 256
  lr: float = 1e-3
  weight_decay: float = 0.05
  d: int = 64
  patch: int = 8
  vision_width: int = 96
  vision_layers: int = 4
  text_width: int = 64
  text_layers: int = 2
  log_every: int = 100
  checkpoint_every: int = 500

  def world(self) -> scenes.World:
    return scenes.World(seed=self.seed, captions=self.captions)


# What makes the models that ship. What a SigLIP pools is its embedding: it has
# no projection of images to another width.
SHIPPED = {
  'clip': VLMConfig(),
  'siglip': VLMConfig(model='siglip', d=96, patch=12, steps=5_000),
  'siglip2': VLMConfig(model='siglip2', d=96, patch=12, steps=5_000),
  'aimv2': VLMConfig(model='aimv2', patch=12, steps=4_000, caption_steps=5_000),
}


def check(config: VLMConfig) -> None:
  """Raises UserError for sizes that no model can have."""
  if config.model not in SHIPPED:
    raise errors.UserError(
      f'--model={config.model} is unknown: choose of {", ".join(SHIPPED)}.'
    )
  if config.patch <= 0 or _IMAGE_SIDE % config.patch:
    raise errors.UserError(
      f'--patch={config.patch} does not divide the images, which are '
      f'{_IMAGE_SIDE} pixels wide.'
    )
  for width in ('vision_width', 'text_width'):
    value = getattr(config, width)
    if value <= 0 or value % _HEAD:
      raise errors.UserError(
        f'--{width}={value} must be a multiple of {_HEAD}, the width of an '
        'attention head.'
      )
  if config.model.startswith('siglip') and config.d != config.vision_width:
    raise errors.UserError(
      f'--d={config.d} must be --vision_width={config.vision_width}: what a '
      'SigLIP pools of an image is its embedding.'
    )
  if (config.model == 'aimv2') != (config.caption_steps > 0):
    raise errors.UserError(
      f'--caption_steps={config.caption_steps} with --model={config.model}: '
      'positive for aimv2, whose image tower first learns to caption, and 0 '
      'for all others.'
    )


def _tower(config: VLMConfig, width: int, layers: int) -> dict[str, Any]:
  tower = {
    'hidden_size': width,
    'intermediate_size': 4 * width,
    'num_hidden_layers': layers,
    'num_attention_heads': width // _HEAD,
  }
  if config.model == 'aimv2':
    # As many weights as 4·width has, in the three matrices of a gated MLP.
    gated = {'intermediate_size': 8 * width // 3, 'hidden_act': 'silu'}
    return tower | gated | {'rms_norm_eps': 1e-5}
  if config.model == 'clip':
    act = {'hidden_act': 'quick_gelu', 'layer_norm_eps': 1e-5}
    return tower | act | {'projection_dim': config.d}
  return tower | {'hidden_act': 'gelu_pytorch_tanh', 'layer_norm_eps': 1e-6}


def _ends(config: VLMConfig) -> tuple[dict[str, Any], dict[str, Any]]:
  """What an image tower and a text tower have of their own."""
  pixels = {'image_size': _IMAGE_SIDE, 'patch_size': config.patch}
  if config.model == 'siglip2':
    patches = (_IMAGE_SIDE // config.patch) ** 2
    return {'num_patches': patches, 'patch_size': config.patch}, {
      'projection_size': config.d
    }
  if config.model == 'siglip':
    return pixels, {'projection_size': config.d}
  if config.model == 'aimv2':
    return pixels | {'use_head': True, 'is_native': False}, {}
  return pixels, {}


def hf_config(config: VLMConfig, tokenizer) -> dict[str, Any]:
  """The model's Hugging Face `config.json`."""
  kind = config.model
  vision, text = _ends(config)
  projected = {'projection_dim': config.d, 'logit_scale_init_value': 2.6592}
  name = {'clip': 'CLIP', 'aimv2': 'Aimv2'}.get(kind, kind.capitalize())
  return {
    'architectures': [f'{name}Model'],
    'model_type': kind,
    **({} if kind.startswith('siglip') else projected),
    'vision_config': {
      'model_type': f'{kind}_vision_model',
      **_tower(config, config.vision_width, config.vision_layers),
      **vision,
    },
    'text_config': {
      'model_type': f'{kind}_text_model',
      **_tower(config, config.text_width, config.text_layers),
      **text,
      'vocab_size': len(tokenizer),
      'max_position_embeddings': _CONTEXT[kind],
      'bos_token_id': tokenizer.bos_token_id,
      'eos_token_id': tokenizer.eos_token_id,
      'pad_token_id': tokenizer.pad_token_id,
    },
  }


def new_model(config: VLMConfig) -> folder.VLM:
  """An untrained model with its tokenizer, a function of the seed."""
  tokenizer = words.word_tokenizer(
    captions.vocabulary(), _CONTEXT[config.model]
  )
  module = families.build(hf_config(config, tokenizer))
  start = jax.jit(module.init)(
    jax.random.key(config.seed), *families.example(module)
  )
  half = (0.5, 0.5, 0.5)
  return folder.VLM(
    module=module,
    params=start['params'],
    tokenizer=tokenizer,
    pixels=preprocessing.Pixels(
      side=_IMAGE_SIDE,
      mean_3=half,
      std_3=half,
      patch=config.patch if config.model == 'siglip2' else None,
    ),
    name=f'{config.model}-scenes',
  )
