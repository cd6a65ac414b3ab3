"""Trains a small VLM on the procedural world, into a Hugging Face folder."""

import dataclasses
import functools
import os

import jax
import numpy as np

from saejax import errors
from saejax import run
from saejax import sharding
from saejax.data import captions
from saejax.data import render
from saejax.data import scenes
from saejax.models import folder
from saejax.pipeline import vlm_losses
from saejax.pipeline import vlm_models
from saejax.pipeline import vlm_quality
from saejax.pipeline import vlm_steps
from saejax.train import contrastive

P = jax.P
VLMConfig = vlm_models.VLMConfig


def make_batch(
  config: VLMConfig, vlm: folder.VLM, mesh: jax.sharding.Mesh, step: int
) -> contrastive.PairBatch:
  """The batch of a step: scenes never seen before, each with one caption."""
  index_N = step * config.batch + np.arange(config.batch)
  world = config.world()
  sampled = scenes.sample(world, index_N)
  said = captions.caption(world, sampled)
  batch = contrastive.PairBatch(
    image=vlm.pixels.shape(render.render(sampled, vlm.pixels.side)),
    ids_BT=vlm.tokenize(said.text),
  )
  by_row = jax.NamedSharding(mesh, P(sharding.DATA))
  return jax.tree.map(lambda a: jax.device_put(a, by_row), batch)


def start(config: VLMConfig, vlm: folder.VLM, mesh: jax.sharding.Mesh):
  """The state before the first step of matching, and the jitted step."""
  both = config.model == 'siglip2'
  make = vlm_losses.matching_and_captioning if both else vlm_losses.matching
  return vlm_steps.start(make(config, vlm), mesh)


def start_captioner(
  config: VLMConfig, vlm: folder.VLM, mesh: jax.sharding.Mesh
):
  """The state before the first step of captioning, and the jitted step."""
  return vlm_steps.start(vlm_losses.captioning_alone(config, vlm), mesh)


def _run_steps(config, vlm, mesh, started, phase, out) -> folder.VLM:
  make = functools.partial(make_batch, config, vlm, mesh)
  params = vlm_steps.run(config, make, started, phase, mesh, out)
  return dataclasses.replace(vlm, params=vlm_losses.without_decoder(params))


def _train(config, vlm, mesh, out) -> folder.VLM:
  if config.caption_steps:
    phase = vlm_steps.Phase(
      config.steps,
      config.caption_steps,
      'captioning.jsonl',
      'captioning',
      'accuracy',
    )
    started = start_captioner(config, vlm, mesh)
    vlm = _run_steps(config, vlm, mesh, started, phase, out)
  phase = vlm_steps.Phase(
    0, config.steps, 'metrics.jsonl', 'checkpoints', 'gap'
  )
  started = start(config, vlm, mesh)
  return _run_steps(config, vlm, mesh, started, phase, out)


def _check(config: VLMConfig, devices: int) -> None:
  names = ('steps', 'batch', 'lr', 'd', 'log_every', 'checkpoint_every')
  names += ('vision_layers', 'text_layers')
  for name in names:
    if getattr(config, name) <= 0:
      raise errors.UserError(
        f'--{name}={getattr(config, name)} must be positive.'
      )
  vlm_models.check(config)
  if config.batch % devices:
    raise errors.UserError(
      f'--batch={config.batch} must be a multiple of {devices} devices.'
    )


def train_vlm(config: VLMConfig, out: str, resume: bool = False) -> str:
  """Trains a VLM from nothing; returns the model's folder, `out/model`.

  Raises:
    UserError: `out` is taken, or the mesh does not divide the batch.
  """
  mesh = sharding.make_mesh()
  _check(config, mesh.size)
  run.open_folder(out, dataclasses.asdict(config), resume)
  model = os.path.join(out, 'model')
  if not os.path.exists(os.path.join(model, folder.PREPROCESSOR)):
    vlm = vlm_models.new_model(config)
    trained = _train(config, vlm, mesh, out)
    hf_config = vlm_models.hf_config(config, vlm.tokenizer)
    folder.save(model, trained, hf_config)
  if not os.path.exists(os.path.join(model, vlm_quality.PROVENANCE)):
    logs = [os.path.join(out, 'metrics.jsonl')]
    if config.caption_steps:
      logs.insert(0, os.path.join(out, 'captioning.jsonl'))
    asked = dataclasses.asdict(config)
    found = vlm_quality.measure(folder.load(model), config.world())
    vlm_quality.describe(model, asked, found, logs)
  return model
