"""The small LLaVA-NeXT that `train_vlm` makes, before its training.

Its vision tower starts as that of the CLIP that ships; its language model knows
nothing. A scene is drawn to one tile.
"""

import dataclasses
from typing import Any

import jax
from tokenizers import AddedToken
import transformers

from saejax import errors
from saejax import pretrained
from saejax.data import questions
from saejax.models import folder
from saejax.models import llama
from saejax.models import llava_folder
from saejax.models import llava_next
from saejax.models import words

USER, ASSISTANT = 'USER:', 'ASSISTANT:'
VISION = 'clip-scenes'
SIDE = 48  # Of a tile.
_CONTEXT = 512
_HEAD = 32  # Width of an attention head.


@dataclasses.dataclass(frozen=True, kw_only=True)
class LlavaConfig:
  """Flags of `train_vlm --model=llava_next`.

  Attributes:
    captions: what captions say, see `scenes.World`.
    seed: of the initial weights and the world.
    caption_steps: in which the language model learns from text alone, before.
    steps: in which the whole learns to caption and to answer.
    batch: rows a step.
    lr: peak learning rate.
    weight_decay: of matrices.
    text_width: of the language model.
    text_layers: of the language model.
    log_every: steps between metrics.
    checkpoint_every: steps between checkpoints.
  """

  captions: str = 'partial'
  seed: int = 0
  caption_steps: int = 1_000
  steps: int = 7_000
  batch: int = 16
  lr: float = 1e-3
  weight_decay: float = 0.05
  text_width: int = 128
  text_layers: int = 6
  log_every: int = 50
  checkpoint_every: int = 500


SHIPPED = LlavaConfig()


def check(config: LlavaConfig) -> None:
  """Raises UserError for sizes that no model can have."""
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    if field.name not in ('captions', 'seed', 'weight_decay') and value <= 0:
      raise errors.UserError(f'--{field.name}={value} must be positive.')
  if config.text_width % (2 * _HEAD):
    raise errors.UserError(
      f'--text_width={config.text_width} must be a multiple of {2 * _HEAD}: '
      f'heads are {_HEAD} wide, and two share keys and values.'
    )


def tokenizer() -> transformers.PreTrainedTokenizerFast:
  """Whole words, after a start token; `<image>` is one of its own."""
  found = words.word_tokenizer(
    [USER, ASSISTANT, *questions.vocabulary()], _CONTEXT, ends=False
  )
  image = AddedToken(llava_folder.IMAGE, special=True, normalized=False)
  found.add_tokens([image], special_tokens=True)
  return found


def hf_config(config: LlavaConfig, tokenizer: Any, vision: Any):
  """The model's Hugging Face `config.json`."""
  c = config
  heads = c.text_width // _HEAD
  side = SIDE
  return {
    'architectures': ['LlavaNextForConditionalGeneration'],
    'model_type': 'llava_next',
    'image_token_index': tokenizer.convert_tokens_to_ids(llava_folder.IMAGE),
    'image_grid_pinpoints': [
      [side, side], [side, 2 * side], [2 * side, side], [2 * side, 2 * side],
    ],
    'projector_hidden_act': 'gelu',
    'vision_feature_layer': -2,
    'vision_feature_select_strategy': 'default',
    'vision_config': dict(vision),
    'text_config': {
      'model_type': 'llama',
      'hidden_size': c.text_width,
      'intermediate_size': -(-8 * c.text_width // 3 // 32) * 32,
      'num_hidden_layers': c.text_layers,
      'num_attention_heads': heads,
      'num_key_value_heads': heads // 2,
      'hidden_act': 'silu',
      'rms_norm_eps': 1e-5,
      'initializer_range': c.text_width**-0.5,
      'rope_theta': 10000.0,
      'max_position_embeddings': _CONTEXT,
      'vocab_size': len(tokenizer),
      'bos_token_id': tokenizer.bos_token_id,
      'eos_token_id': tokenizer.eos_token_id,
      'pad_token_id': tokenizer.pad_token_id,
      'tie_word_embeddings': False,
    },
    'tie_word_embeddings': False,
  }  # fmt: skip


def processor(config: llava_next.LlavaNextConfig) -> Any:
  """Images to tiles, as `transformers` does it."""
  half, side = [0.5] * 3, config.vision.image_size
  return transformers.LlavaNextImageProcessorPil(
    size={'shortest_edge': side},
    crop_size={'height': side, 'width': side},
    image_grid_pinpoints=[list(p) for p in config.image_grid_pinpoints],
    image_mean=half,
    image_std=half,
  )


def new_model(config: LlavaConfig) -> tuple[llava_folder.LLaVA, dict[str, Any]]:
  """An untrained model, a function of the seed, and its `config.json`."""
  path = pretrained.path(VISION)
  clip = folder.load(path)
  vision = folder.read_config(path)['vision_config']
  words_ = tokenizer()
  asked = hf_config(config, words_, vision)
  parsed = llava_next.LlavaNextConfig.from_dict(asked)
  module = llava_next.LlavaNext(parsed)
  tokens = llama.tokens_of(jax.numpy.zeros((1, 1), int))
  start = jax.jit(
    lambda key: module.init(
      key,
      tokens,
      image=llava_next.Image(
        tile_NHWC=jax.numpy.zeros((1, SIDE, SIDE, 3)),
        source_BT=jax.numpy.zeros((1, 1), int),
      ),
    )
  )(jax.random.key(config.seed))
  params = start['params'] | {'vision_tower': clip.params['vision_model']}
  model = llava_folder.LLaVA(
    module=module,
    params=params,
    tokenizer=words_,
    processor=processor(parsed),
    ends=(words_.eos_token_id,),
    name='llava-scenes',
  )
  return model, asked
