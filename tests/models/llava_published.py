"""Configs of published LLaVA-NeXT models, as their folders have them."""

_SHARED = {
  'model_type': 'llava_next',
  'image_grid_pinpoints': [
    [336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008],
  ],
  'image_token_index': 32000,
  'projector_hidden_act': 'gelu',
  'vision_feature_layer': -2,
  'vision_feature_select_strategy': 'default',
  'vision_config': {
    'hidden_size': 1024,
    'image_size': 336,
    'intermediate_size': 4096,
    'model_type': 'clip_vision_model',
    'num_attention_heads': 16,
    'num_hidden_layers': 24,
    'patch_size': 14,
    'projection_dim': 768,
    'vocab_size': 32000,
  },
}  # fmt: skip
# llava-hf/llava-v1.6-mistral-7b-hf: 7.57 B parameters.
MISTRAL = _SHARED | {
  'text_config': {
    'intermediate_size': 14336,
    'max_position_embeddings': 32768,
    'model_type': 'mistral',
    'num_key_value_heads': 8,
    'rms_norm_eps': 1e-5,
    'rope_theta': 1000000.0,
    'sliding_window': None,
    'vocab_size': 32064,
  }
}
# llava-hf/llava-v1.6-vicuna-7b-hf: 7.06 B parameters.
VICUNA = _SHARED | {
  'text_config': {
    'max_position_embeddings': 4096,
    'model_type': 'llama',
    'pad_token_id': 0,
    'rms_norm_eps': 1e-5,
    'vocab_size': 32064,
  }
}
ALL = {'mistral': MISTRAL, 'vicuna': VICUNA}
PARAMETERS = {'mistral': 7.57e9, 'vicuna': 7.06e9}
