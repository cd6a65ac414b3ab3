"""Trains a small VLM on the procedural world, into a Hugging Face folder."""

import contextlib
import dataclasses
import functools
import os

import jax
import numpy as np

from saejax import errors
from saejax import run
from saejax import sharding
from saejax.data import batches
from saejax.data import captions
from saejax.data import render
from saejax.data import scenes
from saejax.models import folder
from saejax.pipeline import vlm_losses
from saejax.pipeline import vlm_models
from saejax.pipeline import vlm_quality
from saejax.train import checkpoint
from saejax.train import contrastive
from saejax.train import logging

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


def _start(begun: vlm_losses.Start, mesh: jax.sharding.Mesh):
  """The state before the first step, and the jitted step."""
  params, loss, tx = begun
  state = contrastive.ContrastiveState(
    step=jax.numpy.int32(0), params=params, opt_state=tx.init(params)
  )
  # The towers leave their layout to the compiler: an embedding lookup is
  # ambiguous under Explicit axes.
  step = jax.sharding.auto_axes(
    contrastive.make_step(loss, tx), out_sharding=P()
  )
  state = jax.device_put(state, jax.NamedSharding(mesh, P()))
  return state, jax.jit(step, donate_argnums=0)


def start(config: VLMConfig, vlm: folder.VLM, mesh: jax.sharding.Mesh):
  """The state before the first step of matching, and the jitted step."""
  both = config.model == 'siglip2'
  make = vlm_losses.matching_and_captioning if both else vlm_losses.matching
  return _start(make(config, vlm), mesh)


def start_captioner(
  config: VLMConfig, vlm: folder.VLM, mesh: jax.sharding.Mesh
):
  """The state before the first step of captioning, and the jitted step."""
  return _start(vlm_losses.captioning_alone(config, vlm), mesh)


@dataclasses.dataclass(frozen=True)
class _Phase:
  """One of the trainings of a run: its first batch, its length, its files."""

  offset: int
  steps: int
  metrics: str
  checkpoints: str
  show: str  # The metric that the progress bar has beside the loss.


def _run_steps(config, vlm, mesh, started, phase, out):
  """Trains from the last checkpoint on; returns the trained model."""
  state, step_fn = started
  metrics = os.path.join(out, phase.metrics)
  manager = checkpoint.open_manager(
    os.path.join(out, phase.checkpoints), keep=2
  )
  with contextlib.closing(manager):
    state, first = checkpoint.restore_latest(manager, state)
    logging.truncate(metrics, first)
    writer = logging.MetricsWriter(
      metrics,
      start=first,
      steps=phase.steps,
      every=config.log_every,
      batch=config.batch,
      show=lambda m: f'loss {m["loss"]:.3f}, {phase.show} {m[phase.show]:.2f}',
    )
    make = functools.partial(make_batch, config, vlm, mesh)
    todo = range(phase.offset + first, phase.offset + phase.steps)
    with writer, jax.set_mesh(mesh):
      ahead = batches.prefetch(make, todo)
      for step, batch in enumerate(ahead, start=first + 1):
        state, logs = step_fn(state, batch)
        writer.add(step, logs)
        if step % config.checkpoint_every == 0 or step == phase.steps:
          checkpoint.save(manager, step, state)
    manager.wait_until_finished()
  params = vlm_losses.without_decoder(jax.device_get(state.params))
  return dataclasses.replace(vlm, params=params)


def _train(config, vlm, mesh, out) -> folder.VLM:
  if config.caption_steps:
    phase = _Phase(
      config.steps,
      config.caption_steps,
      'captioning.jsonl',
      'captioning',
      'accuracy',
    )
    started = start_captioner(config, vlm, mesh)
    vlm = _run_steps(config, vlm, mesh, started, phase, out)
  phase = _Phase(0, config.steps, 'metrics.jsonl', 'checkpoints', 'gap')
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
    vlm_quality.describe(model, asked, config.world(), logs)
  return model
