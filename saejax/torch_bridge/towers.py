"""The torch models of transformers, as the peer to be measured against."""

from collections.abc import Callable
from typing import Any

import numpy as np

_CLASSES = {
  'clip': 'CLIP',
  'siglip': 'Siglip',
  'siglip2': 'Siglip2',
  'aimv2': 'Aimv2',
}


def towers(
  config: dict[str, Any], dtype: str = 'float32', device: str = 'cpu'
) -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]:
  """Functions that embed images and texts with a model of random weights.

  Args:
    config: a Hugging Face config.
    dtype: of parameters and computation.
    device: where torch computes.

  Returns:
    image(**inputs) and text(**inputs), of NumPy arrays by transformers' names.
  """
  import torch
  import transformers

  name = _CLASSES[config['model_type']]
  parsed = getattr(transformers, f'{name}Config')(**config)
  model = getattr(transformers, f'{name}Model')(parsed).eval()
  model = model.to(device, getattr(torch, dtype))

  def run(method):
    def call(**inputs: np.ndarray) -> np.ndarray:
      with torch.inference_mode():
        placed = {k: torch.from_numpy(v).to(device) for k, v in inputs.items()}
        cast = {
          k: v.to(model.dtype) if v.is_floating_point() else v
          for k, v in placed.items()
        }
        pooled = method(**cast).pooler_output
        return pooled.float().cpu().numpy()

    return call

  return run(model.get_image_features), run(model.get_text_features)
