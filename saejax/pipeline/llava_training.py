"""Trains the small LLaVA-NeXT on the procedural world.

First its language model alone, on texts of that world; then the whole, to
caption scenes and to answer about them (the two stages of LLaVA, arXiv
2304.08485 §4.2, but that all parts learn in the second).
"""

import dataclasses
import functools
import os

import jax.numpy as jnp
import optax

from saejax import errors
from saejax import run
from saejax import sharding
from saejax.data import scenes as scenes_lib
from saejax.models import llava_folder
from saejax.pipeline import llava_batches
from saejax.pipeline import llava_models
from saejax.pipeline import llava_quality
from saejax.pipeline import vlm_quality
from saejax.pipeline import vlm_steps
from saejax.train import contrastive

_LANGUAGE = ('language_model', 'lm_head')
_LOGS = ('captioning.jsonl', 'metrics.jsonl')


def answer_loss(module, params, batch: llava_batches.AnswerBatch):
  """Cross-entropy in nats of each token to be told, and accuracy."""
  logit_BTV, *_ = module.apply(
    {'params': params}, batch.tokens, image=batch.image
  )
  nats_BT = optax.softmax_cross_entropy_with_integer_labels(
    logit_BTV, batch.next_BT
  )
  right_BT = jnp.argmax(logit_BTV, axis=-1) == batch.next_BT
  mean = lambda a_BT: jnp.sum(a_BT * batch.weight_BT) / batch.weight_BT.sum()
  return mean(nats_BT), {'accuracy': mean(right_BT)}


def _phase(config, model, mesh, out, name: str):
  """Trains one stage: 'text' or 'whole'; the model after it."""
  is_text = name == 'text'
  steps = config.caption_steps if is_text else config.steps
  frozen = (lambda path: path[0] not in _LANGUAGE) if is_text else None
  tx = contrastive.make_optimiser(config.lr, steps, config.weight_decay, frozen)
  loss = functools.partial(answer_loss, model.module)
  started = vlm_steps.start((model.params, loss, tx), mesh)
  world = scenes_lib.World(seed=config.seed, captions=config.captions)
  build = llava_batches.text_batch if is_text else llava_batches.image_batch

  def make(step):
    first = step * config.batch
    found = build(model, world, range(first, first + config.batch))
    return llava_batches.place(found, mesh)

  phase = vlm_steps.Phase(
    offset=config.steps if is_text else 0,
    steps=steps,
    metrics=_LOGS[0] if is_text else _LOGS[1],
    checkpoints='captioning' if is_text else 'checkpoints',
    show='accuracy',
  )
  params = vlm_steps.run(config, make, started, phase, mesh, out)
  return dataclasses.replace(model, params=params)


def train(config: llava_models.LlavaConfig, out: str, resume: bool) -> str:
  """Trains the model; returns its folder, `out/model`.

  Raises:
    UserError: `out` is taken, or a size is not one.
  """
  mesh = sharding.make_mesh()
  llava_models.check(config)
  if config.batch % (8 * mesh.size):
    raise errors.UserError(
      f'--batch={config.batch} must be a multiple of {8 * mesh.size}: an '
      f'eighth of it is texts, and devices are {mesh.size}.'
    )
  run.open_folder(out, dataclasses.asdict(config), resume)
  path = os.path.join(out, 'model')
  if not llava_folder.is_there(path):
    model, hf_config = llava_models.new_model(config)
    for name in ('text', 'whole'):
      model = _phase(config, model, mesh, out, name)
    llava_folder.save(path, model, hf_config)
  if not os.path.exists(os.path.join(path, vlm_quality.PROVENANCE)):
    world = scenes_lib.World(seed=config.seed, captions=config.captions)
    found = llava_quality.measure(llava_folder.load(path), world)
    asked = {'model': 'llava_next'} | dataclasses.asdict(config)
    logs = [os.path.join(out, name) for name in _LOGS]
    vlm_quality.describe(path, asked, found, logs)
  return path
