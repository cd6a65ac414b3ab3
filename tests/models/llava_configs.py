"""Small LLaVA-NeXT models that tests build."""

import numpy as np

IMAGE, EOS, PAD = 127, 2, 0

TEXT = {
  'vocab_size': 128,
  'hidden_size': 32,
  'intermediate_size': 56,
  'num_hidden_layers': 3,
  'num_attention_heads': 4,
  'num_key_value_heads': 2,
  'rms_norm_eps': 1e-3,  # Large, so that a wrong one shows.
  'max_position_embeddings': 512,
  'bos_token_id': 1,
  'eos_token_id': EOS,
  'pad_token_id': PAD,
}
VISION = {
  'model_type': 'clip_vision_model',
  'hidden_size': 40,
  'intermediate_size': 72,
  'num_hidden_layers': 3,
  'num_attention_heads': 5,
  'image_size': 32,
  'patch_size': 8,
  'layer_norm_eps': 2e-3,
}


def config(kind: str = 'llama', **text) -> dict:
  """A config of a whole model; `text` changes its language model's."""
  window = {'sliding_window': 24} if kind == 'mistral' else {}
  return {
    'model_type': 'llava_next',
    'image_token_index': IMAGE,
    'image_grid_pinpoints': [[32, 64], [64, 32], [64, 64], [96, 32], [32, 96]],
    'vision_feature_layer': -2,
    'text_config': TEXT | {'model_type': kind} | window | text,
    'vision_config': VISION,
  }


def pictures(sizes, seed: int = 0) -> list[np.ndarray]:
  """Images [H, W, 3] of bytes."""
  rng = np.random.default_rng(seed)
  return [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in sizes]
