"""What each of the small models is trained for.

CLIP matches by a softmax, SigLIP by a sigmoid. SigLIP 2 also captions. AIMv2's
image tower captions first; then it stays as it is but for its pooling, and a
text tower is tuned to it (LiT, arXiv 2111.07991).
"""

from collections.abc import Callable

import flax
import jax
import numpy as np
import optax

from saejax import types
from saejax.models import clip
from saejax.models import decoder
from saejax.models import folder
from saejax.pipeline import vlm_models
from saejax.train import captioning
from saejax.train import contrastive

Loss = Callable[
  [types.ArrayTree, contrastive.PairBatch], tuple[jax.Array, contrastive.Logs]
]
Start = tuple[types.ArrayTree, Loss, optax.GradientTransformation]

_DECODER = 'decoder'  # The part of the parameters that no model keeps.


def _decoder(vlm: folder.VLM) -> decoder.Decoder:
  """A decoder as large as the text tower."""
  text = vlm.module.config.text
  return decoder.Decoder(
    clip.TowerConfig(
      hidden_size=text.hidden_size,
      intermediate_size=4 * text.hidden_size,
      num_hidden_layers=text.num_hidden_layers,
      num_attention_heads=text.num_attention_heads,
      hidden_act='gelu_pytorch_tanh',
      vocab_size=text.vocab_size,
      max_position_embeddings=text.max_position_embeddings,
    )
  )


def _with_decoder(config: vlm_models.VLMConfig, vlm: folder.VLM):
  """The model's parameters, and those of a decoder that reads its images."""
  width = vlm.module.config.vision.hidden_size
  start = jax.jit(_decoder(vlm).init)(
    jax.random.key(config.seed),
    np.zeros((1, 1, width), np.float32),
    np.zeros((1, 2), np.int32),
  )
  return {**vlm.params, _DECODER: start['params']}


def _caption_loss(vlm: folder.VLM, params, tokens_BPD, ids_BT):
  logits_BTV = _decoder(vlm).apply(
    {'params': params[_DECODER]}, tokens_BPD, ids_BT
  )
  return captioning.next_token_loss(
    logits_BTV, ids_BT, vlm.tokenizer.pad_token_id
  )


def is_trunk(path: tuple[str, ...]) -> bool:
  """Whether a parameter is of an image tower before its pooling."""
  return path[0] == 'vision_model' and path[1] != 'head'


def matching(config: vlm_models.VLMConfig, vlm: folder.VLM) -> Start:
  """Parameters, loss and optimiser of the contrastive training."""
  is_frozen = is_trunk if config.caption_steps else None
  sigmoid = config.model.startswith('siglip')
  pair_loss = contrastive.sigmoid_loss if sigmoid else contrastive.info_nce

  def loss(params, batch):
    if is_frozen:
      params = flax.traverse_util.path_aware_map(
        lambda path, x: jax.lax.stop_gradient(x) if is_frozen(path) else x,
        params,
      )
    image_BD, text_BD, *logit = vlm.module.apply(
      {'params': params}, vlm.pixels(batch.image), batch.ids_BT
    )
    logs = contrastive.summary(image_BD, text_BD, logit[0])
    return pair_loss(image_BD, text_BD, *logit), logs

  tx = contrastive.make_optimiser(
    config.lr, config.steps, config.weight_decay, is_frozen
  )
  return vlm.params, loss, tx


def matching_and_captioning(
  config: vlm_models.VLMConfig, vlm: folder.VLM
) -> Start:
  """Both losses of SigLIP 2 at once, with equal weights (its §2.2)."""

  def loss(params, batch):
    variables = {'params': without_decoder(params)}
    embed = lambda x, method: vlm.module.apply(variables, x, method=method)
    image_BD, out = embed(vlm.pixels(batch.image), 'image')
    text_BD, _ = embed(batch.ids_BT, 'text')
    scale, bias = (params[f'logit_{name}'][0] for name in ('scale', 'bias'))
    scale = jax.numpy.exp(scale)
    match = contrastive.sigmoid_loss(image_BD, text_BD, scale, bias)
    told, accuracy = _caption_loss(vlm, params, out['tokens'], batch.ids_BT)
    logs = contrastive.summary(image_BD, text_BD, scale)
    return match + told, logs | {'accuracy': accuracy, 'captioning': told}

  tx = contrastive.make_optimiser(config.lr, config.steps, config.weight_decay)
  return _with_decoder(config, vlm), loss, tx


def captioning_alone(config: vlm_models.VLMConfig, vlm: folder.VLM) -> Start:
  """The first training of AIMv2, without the half that predicts pixels."""

  def loss(params, batch):
    variables = {'params': without_decoder(params)}
    _, out = vlm.module.apply(
      variables, vlm.pixels(batch.image), method='image'
    )
    told, accuracy = _caption_loss(vlm, params, out['tokens'], batch.ids_BT)
    return told, {'accuracy': accuracy}

  tx = contrastive.make_optimiser(
    config.lr, config.caption_steps, config.weight_decay
  )
  return _with_decoder(config, vlm), loss, tx


def without_decoder(params: types.ArrayTree) -> types.ArrayTree:
  """The model's own parameters."""
  return {k: v for k, v in params.items() if k != _DECODER}
