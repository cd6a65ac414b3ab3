"""Trains a small CLIP on the procedural world, into a Hugging Face folder."""

import contextlib
import dataclasses
import functools
import os
from typing import Any

import jax
import numpy as np

from saejax import errors
from saejax import run
from saejax import sharding
from saejax.data import batches
from saejax.data import captions
from saejax.data import render
from saejax.data import scenes
from saejax.models import clip
from saejax.models import folder
from saejax.models import words
from saejax.pipeline import vlm_quality
from saejax.train import checkpoint
from saejax.train import contrastive
from saejax.train import logging

P = jax.P
_CONTEXT = 40  # Tokens; the fullest caption has 31.
_IMAGE_SIDE, _PATCH = 48, 8
_HEAD = 32  # Width of an attention head.


@dataclasses.dataclass(frozen=True, kw_only=True)
class VLMConfig:
  """Flags of `train_vlm`; the defaults make the model that saejax ships."""

  captions: str = 'partial'
  seed: int = 0
  steps: int = 9_000
  batch: int = 256
  lr: float = 1e-3
  weight_decay: float = 0.05
  d: int = 64
  vision_width: int = 96
  vision_layers: int = 4
  text_width: int = 64
  text_layers: int = 2
  log_every: int = 100
  checkpoint_every: int = 500

  def world(self) -> scenes.World:
    return scenes.World(seed=self.seed, captions=self.captions)


def hf_config(config: VLMConfig, tokenizer) -> dict[str, Any]:
  """The model's Hugging Face `config.json`."""
  tower = lambda width, layers: {
    'hidden_size': width,
    'intermediate_size': 4 * width,
    'num_hidden_layers': layers,
    'num_attention_heads': width // _HEAD,
    'hidden_act': 'quick_gelu',
    'layer_norm_eps': 1e-5,
    'projection_dim': config.d,
  }
  return {
    'architectures': ['CLIPModel'],
    'model_type': 'clip',
    'projection_dim': config.d,
    'logit_scale_init_value': 2.6592,
    'vision_config': {
      'model_type': 'clip_vision_model',
      **tower(config.vision_width, config.vision_layers),
      'image_size': _IMAGE_SIDE,
      'patch_size': _PATCH,
    },
    'text_config': {
      'model_type': 'clip_text_model',
      **tower(config.text_width, config.text_layers),
      'vocab_size': len(tokenizer),
      'max_position_embeddings': _CONTEXT,
      'bos_token_id': tokenizer.bos_token_id,
      'eos_token_id': tokenizer.eos_token_id,
      'pad_token_id': tokenizer.pad_token_id,
    },
  }


def new_model(config: VLMConfig) -> folder.VLM:
  """An untrained model with its tokenizer, a function of the seed."""
  tokenizer = words.word_tokenizer(captions.vocabulary(), _CONTEXT)
  module = clip.CLIP(clip.CLIPConfig.from_dict(hf_config(config, tokenizer)))
  image = np.zeros((1, _IMAGE_SIDE, _IMAGE_SIDE, 3), np.float32)
  ids = np.full((1, 8), tokenizer.eos_token_id, np.int32)
  params = jax.jit(module.init)(jax.random.key(config.seed), image, ids)
  half = (0.5, 0.5, 0.5)
  return folder.VLM(
    module=module,
    params=params['params'],
    tokenizer=tokenizer,
    pixels=folder.Pixels(_IMAGE_SIDE, half, half, 1 / 255),
    name='clip-scenes',
  )


def make_batch(
  config: VLMConfig, vlm: folder.VLM, mesh: jax.sharding.Mesh, step: int
) -> contrastive.PairBatch:
  """The batch of a step: scenes never seen before, each with one caption."""
  index_N = step * config.batch + np.arange(config.batch)
  world = config.world()
  sampled = scenes.sample(world, index_N)
  said = captions.caption(world, sampled)
  place = lambda a, *rest: jax.device_put(
    a, jax.NamedSharding(mesh, P(sharding.DATA, *rest))
  )
  image_NHW3 = render.render(sampled, vlm.pixels.side)
  return contrastive.PairBatch(
    image_BHW3=place(image_NHW3), ids_BT=place(vlm.tokenize(said.text))
  )


def start(config: VLMConfig, vlm: folder.VLM, mesh: jax.sharding.Mesh):
  """The state before the first step, and the jitted step."""

  def apply(variables, image_BHW3, ids_BT):
    return vlm.module.apply(variables, vlm.pixels(image_BHW3), ids_BT)

  tx = contrastive.make_optimiser(config.lr, config.steps, config.weight_decay)
  state = contrastive.ContrastiveState(
    step=jax.numpy.int32(0), params=vlm.params, opt_state=tx.init(vlm.params)
  )
  # The towers leave their layout to the compiler: an embedding lookup is
  # ambiguous under Explicit axes.
  step = jax.sharding.auto_axes(
    contrastive.make_contrastive_step(apply, tx), out_sharding=P()
  )
  state = jax.device_put(state, jax.NamedSharding(mesh, P()))
  return state, jax.jit(step, donate_argnums=0)


def _run_steps(config, vlm, mesh, manager, metrics_file):
  state, step_fn = start(config, vlm, mesh)
  state, first = checkpoint.restore_latest(manager, state)
  logging.truncate(metrics_file, first)
  writer = logging.MetricsWriter(
    metrics_file,
    start=first,
    steps=config.steps,
    every=config.log_every,
    batch=config.batch,
    show=lambda m: f'loss {m["loss"]:.3f}, gap {m["gap"]:.2f}',
  )
  make = functools.partial(make_batch, config, vlm, mesh)
  with writer, jax.set_mesh(mesh):
    ahead = batches.prefetch(make, range(first, config.steps))
    for step, batch in enumerate(ahead, start=first + 1):
      state, logs = step_fn(state, batch)
      writer.add(step, logs)
      if step % config.checkpoint_every == 0 or step == config.steps:
        checkpoint.save(manager, step, state)
  return state


def _check(config: VLMConfig) -> None:
  names = ('steps', 'batch', 'lr', 'd', 'log_every', 'checkpoint_every')
  names += ('vision_layers', 'text_layers')
  for name in names:
    if getattr(config, name) <= 0:
      raise errors.UserError(
        f'--{name}={getattr(config, name)} must be positive.'
      )
  for name in ('vision_width', 'text_width'):
    width = getattr(config, name)
    if width <= 0 or width % _HEAD:
      raise errors.UserError(
        f'--{name}={width} must be a multiple of {_HEAD}, the width of an '
        'attention head.'
      )


def train_vlm(config: VLMConfig, out: str, resume: bool = False) -> str:
  """Trains a CLIP from nothing; returns the model's folder, `out/model`.

  Raises:
    UserError: `out` is taken, or the mesh does not divide the batch.
  """
  _check(config)
  mesh = sharding.make_mesh()
  if config.batch % mesh.size:
    raise errors.UserError(
      f'--batch={config.batch} must be a multiple of {mesh.size} devices.'
    )
  run.open_folder(out, dataclasses.asdict(config), resume)
  model = os.path.join(out, 'model')
  metrics_file = os.path.join(out, 'metrics.jsonl')
  if not os.path.exists(os.path.join(model, folder.PREPROCESSOR)):
    vlm = new_model(config)
    manager = checkpoint.open_manager(os.path.join(out, 'checkpoints'), keep=2)
    with contextlib.closing(manager):
      state = _run_steps(config, vlm, mesh, manager, metrics_file)
      manager.wait_until_finished()
    trained = dataclasses.replace(vlm, params=jax.device_get(state.params))
    folder.save(model, trained, hf_config(config, vlm.tokenizer))
  if not os.path.exists(os.path.join(model, vlm_quality.PROVENANCE)):
    asked = dataclasses.asdict(config)
    vlm_quality.describe(model, asked, config.world(), metrics_file)
  return model
