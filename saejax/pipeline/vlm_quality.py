"""How good a small model is on scenes it never saw, and how it was made."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
import os
import time
from typing import Any

import numpy as np

from saejax import provenance
from saejax import results
from saejax import sharding
from saejax.analysis import bootstrap
from saejax.analysis import geometry
from saejax.analysis import retrieval
from saejax.data import captions
from saejax.data import render
from saejax.data import scenes
from saejax.models import folder
from saejax.pipeline import embedders
from saejax.store import manifest

PROVENANCE = 'provenance.json'
SCENES = 2048
_UNSEEN = 1_000_000  # Added to the seed of the world that was trained on.


def measure(vlm: folder.VLM, world: scenes.World) -> dict[str, dict[str, Any]]:
  """Retrieval, cosines, gap and effective rank on 2,048 unseen scenes.

  One caption a scene; captions that say the same count as hits.
  """
  world = dataclasses.replace(world, seed=world.seed + _UNSEEN)
  sampled = scenes.sample(world, np.arange(SCENES))
  said = captions.caption(world, sampled)
  embed = embedders.embedder(vlm, sharding.make_mesh())
  drawn = render.render(sampled, vlm.pixels.side)
  image_ND = embed.image(vlm.pixels.shape(drawn))
  text_ND = embed.text(vlm.tokenize(said.text))
  place_N = np.arange(SCENES)
  hit = retrieval.hits(place_N, place_N, said.meaning_N)
  fit = geometry.fit(image_ND, text_ND)
  entries = {
    'gap': results.entry(fit.gap, n=2 * SCENES),
    'paired_cosine': results.entry(
      bootstrap.mean((image_ND * text_ND).sum(1), place_N)
    ),
    'effective_rank': results.entry(
      geometry.effective_rank(fit.within_DD), n=2 * SCENES
    ),
  }
  for way, query, candidate, hits in (
    ('image_to_text', image_ND, text_ND, hit),
    ('text_to_image', text_ND, image_ND, hit.turned()),
  ):
    rank_N = retrieval.ranks(query, candidate, hits)
    for k in (1, 10):
      entries[f'{way}/recall@{k}'] = results.entry(
        bootstrap.mean((rank_N < k).astype(np.float64), place_N)
      )
  return entries


def _seconds(metrics_file: str, batch: int) -> float:
  """Time that the steps of a run took, pauses left out, from its log."""
  seconds, before = 0.0, 0
  with open(metrics_file, encoding='utf-8') as f:
    for line in map(json.loads, f):
      seconds += (line['step'] - before) * batch / line['rows_per_s']
      before = line['step']
  return seconds


def describe(
  model: str,
  config: Mapping[str, Any],
  held_out: Mapping[str, Any],
  logs: Sequence[str],
) -> None:
  """Writes `provenance.json` into a model's folder, with its quality."""
  seconds = sum(_seconds(log, config['batch']) for log in logs)
  manifest.write_json(
    os.path.join(model, PROVENANCE),
    {
      'program': 'train_vlm',
      'config': dict(config),
      'environment': provenance.collect(),
      'date': time.strftime('%Y-%m-%d', time.gmtime()),
      'minutes': round(seconds / 60, 1),
      'held_out': dict(held_out),
    },
  )
