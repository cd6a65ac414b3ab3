"""Folders of small LLaVA-NeXT models that torch saved, for tests."""

import dataclasses

import torch
import transformers

from saejax.models import llava_next
from saejax.pipeline import llava_models
from tests.models import llava_configs

CONFIG = llava_models.LlavaConfig(text_width=64, text_layers=3)
_VISION = llava_configs.VISION | {'image_size': llava_models.SIDE}


def save(folder: str, seed: int = 0, **changes) -> None:
  """Writes a model with every parameter away from its start."""
  words = llava_models.tokenizer()
  given = llava_models.hf_config(
    dataclasses.replace(CONFIG, **changes), words, _VISION
  )
  torch.manual_seed(seed)
  config = transformers.LlavaNextConfig(
    **{k: v for k, v in given.items() if k not in ('model_type',)}
  )
  model = transformers.LlavaNextForConditionalGeneration(config).eval()
  with torch.no_grad():
    for parameter in model.parameters():
      parameter += 0.1 * torch.randn(parameter.shape)
  model.save_pretrained(folder)
  words.save_pretrained(folder)
  parsed = llava_next.LlavaNextConfig.from_dict(given)
  llava_models.processor(parsed).save_pretrained(folder)
