"""How good the small LLaVA-NeXT is on scenes that it never saw."""

import dataclasses
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


def _chooser(model: llava_folder.LLaVA, logits):
  """Which option each row takes: (batch, options [n]) -> places [n]."""
  letters = model.tokenizer.convert_tokens_to_ids(list(questions.LETTERS))

  def choose(batch: llava_batches.AnswerBatch, options_n: np.ndarray):
    logit_BTV = np.asarray(logits(model.params, batch))
    first_B = np.argmax(batch.weight_BT > 0, axis=1)
    logit_BO = logit_BTV[np.arange(len(first_B)), first_B][:, letters]
    offered_BO = np.arange(len(letters)) < options_n[:, None]
    return np.where(offered_BO, logit_BO, -np.inf).argmax(1)

  return choose


def _right(
  model: llava_folder.LLaVA, asked: questions.Questions, drawn, choose, shows
) -> np.ndarray:
  """Whether each question is answered by its right option."""
  texts, right_n, right = asked.choices(), asked.right_n, []
  for start in range(0, len(texts), _BATCH):
    at = np.arange(start, start + _BATCH)
    kept = np.minimum(at, len(texts) - 1)  # Filled up: one shape, one trace.
    rows = [
      [(llava_rows.prompt(texts[i], shows), questions.LETTERS[right_n[i]])]
      for i in kept
    ]
    images = drawn[asked.row_n[kept]] if shows else None
    batch = llava_batches.batch(model, rows, images, llava_batches.ASKED_LENGTH)
    options_n = np.array([len(asked.options[i]) for i in kept])
    chosen = choose(batch, options_n) == asked.right_n[kept]
    right.append(chosen[at < len(texts)])
  return np.concatenate(right)


def _told(model: llava_folder.LLaVA, run, asked, drawn, shows) -> np.ndarray:
  """Whether each open question is answered greedily by its very words."""
  n, found = len(asked.text), []
  for start in range(0, n, _BATCH):
    at = np.arange(start, start + _BATCH)
    kept = np.minimum(at, n - 1)
    rows = [
      [(llava_rows.prompt(asked.text[i], shows), asked.answer[i])] for i in kept
    ]
    images = drawn[asked.row_n[kept]] if shows else None
    batch = llava_batches.batch(model, rows, images, llava_batches.ASKED_LENGTH)
    likeliest_BT = np.asarray(run(model.params, batch)).argmax(-1)
    right_BT = (likeliest_BT == batch.next_BT) | (batch.weight_BT == 0)
    found.append(right_BT.all(1)[at < n])
  return np.concatenate(found)


def measure(model: llava_folder.LLaVA, world: scenes_lib.World) -> Entries:
  """Accuracy by kind of question, and without the image.

  `KIND/accuracy` is of questions with options; `chance` is one over those, and
  without the image nothing can be better than that: see `data.questions`.
  `KIND/open` is of questions without, answered word for word.
  """
  world = dataclasses.replace(world, seed=world.seed + _UNSEEN)
  sampled = scenes_lib.sample(world, np.arange(SCENES))
  drawn = render.render(sampled, model.module.config.vision.image_size)
  run, entries = _logits(model), {}
  choose = _chooser(model, run)
  for kind in questions.KINDS:
    asked = questions.ask(world, sampled, kind)
    if not asked.text:
      continue
    for name, shows in (('accuracy', True), ('accuracy_blind', False)):
      right = _right(model, asked, drawn, choose, shows)
      entries[f'{kind}/{name}'] = results.entry(
        bootstrap.mean(right.astype(np.float64), asked.row_n)
      )
    plain = questions.ask(world, sampled, kind, 1)
    for name, shows in (('open', True), ('open_blind', False)):
      right = _told(model, run, plain, drawn, shows)
      entries[f'{kind}/{name}'] = results.entry(
        bootstrap.mean(right.astype(np.float64), plain.row_n)
      )
    options = np.array([len(o) for o in asked.options])
    entries[f'{kind}/chance'] = results.entry(
      float((1 / options).mean()), n=len(options)
    )
  return entries
