"""transformers' LLaVA-NeXT, as the peer that our speed is measured against."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import numpy as np

from saejax.torch_bridge import llava_edits


def random_model(config: Mapping[str, Any], dtype: str = 'float32') -> Any:
  """A model of random weights, of a Hugging Face config, ready to run."""
  import torch
  import transformers

  given = {k: v for k, v in config.items() if k != 'model_type'}
  parsed = transformers.LlavaNextConfig(**given)
  model = transformers.LlavaNextForConditionalGeneration(parsed)
  return model.eval().to(getattr(torch, dtype))


def caller(
  model: Any,
  given: Mapping[str, Any],
  most: int,
  edits: Mapping[int, llava_edits.Edit],
  step_edits: Mapping[int, llava_edits.Edit],
) -> Callable[[], np.ndarray]:
  """A function that gives `most` greedy tokens [B, most] after each prompt.

  No token ends a row. One token is of one forward, without what `generate`
  adds to it.

  Args:
    model: of transformers.
    given: of `llava_export.inputs`; prompts of one length, without padding.
    most: new tokens.
    edits: of the prompts, see `llava_edits.edited`.
    step_edits: of every new token that is read.
  """
  import torch

  model.generation_config.eos_token_id = None
  length = given['input_ids'].shape[1]

  def call() -> np.ndarray:
    with (
      torch.inference_mode(),
      llava_edits.edited(model, edits, step_edits),
    ):
      if most == 1:
        out = model(**given, use_cache=True, logits_to_keep=1)
        return out.logits[:, -1:].argmax(-1).numpy()
      found = model.generate(
        **given, max_new_tokens=most, do_sample=False, pad_token_id=0
      )
      return found[:, length:].numpy()

  return call
