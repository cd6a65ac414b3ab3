"""How good the small LLaVA-NeXT is on scenes that it never saw."""

import dataclasses
import itertools
from typing import Any

import jax
import numpy as np

from saejax import results
from saejax.analysis import bootstrap
from saejax.data import questions
from saejax.data import render
from saejax.data import scenes as scenes_lib
from saejax.models import llava_folder
from saejax.pipeline import llava_batches
from saejax.pipeline import llava_rows

SCENES = 1024
_UNSEEN = 1_000_000  # Added to the seed of the world that was trained on.
_BATCH = 32
Entries = dict[str, dict[str, Any]]


def _logits(model: llava_folder.LLaVA):
  """(params, batch) -> logits [B, T, V]."""

  @jax.jit
  def run(params, batch):
    found, *_ = model.module.apply(
      {'params': params}, batch.tokens, image=batch.image
    )
    return found

  return run


def _told(
  model: llava_folder.LLaVA, run, asked: questions.Questions, texts, images
) -> np.ndarray:
  """Whether each question is answered greedily by its very words."""
  n, found = len(texts), []
  for start in range(0, n, _BATCH):
    at = np.arange(start, start + _BATCH)
    kept = np.minimum(at, n - 1)  # Filled up: one shape, one trace.
    shows = images is not None
    rows = [
      [(llava_rows.prompt(texts[i], shows), asked.answer[i])] for i in kept
    ]
    drawn = images[asked.row_n[kept]] if shows else None
    batch = llava_batches.batch(model, rows, drawn, llava_batches.ASKED_LENGTH)
    likeliest_BT = np.asarray(run(model.params, batch)).argmax(-1)
    right_BT = (likeliest_BT == batch.next_BT) | (batch.weight_BT == 0)
    found.append(right_BT.all(1)[at < n])
  return np.concatenate(found)


def measure(model: llava_folder.LLaVA, world: scenes_lib.World) -> Entries:
  """Accuracy by kind of question, and without the image.

  `KIND/accuracy` is of questions with options, `KIND/open` of those without,
  each answered word for word. `chance` is one over the options, and without the
  image nothing can be better than that: see `data.questions`.
  """
  world = dataclasses.replace(world, seed=world.seed + _UNSEEN)
  sampled = scenes_lib.sample(world, np.arange(SCENES))
  drawn = render.render(sampled, model.module.config.vision.image_size)
  run, entries = _logits(model), {}
  for kind, (name, options) in itertools.product(
    questions.KINDS, (('accuracy', 4), ('open', 1))
  ):
    asked = questions.ask(world, sampled, kind, options)
    if not asked.text:
      continue
    texts = asked.text if options == 1 else asked.offered()
    for suffix, images in (('', drawn), ('_blind', None)):
      right = _told(model, run, asked, texts, images)
      entries[f'{kind}/{name}{suffix}'] = results.entry(
        bootstrap.mean(right.astype(np.float64), asked.row_n)
      )
    if options > 1:
      offered = np.array([len(o) for o in asked.options])
      entries[f'{kind}/chance'] = results.entry(
        float((1 / offered).mean()), n=len(offered)
      )
  return entries
