"""The analysis of a dictionary, its twin's beside it, as a folder."""

import dataclasses
import os
from typing import Any

from saejax import errors
from saejax import io
from saejax import results
from saejax import run
from saejax import store as store_lib
from saejax.pipeline import evaluation
from saejax.pipeline import evidence
from saejax.pipeline import findings
from saejax.pipeline import reading
from saejax.pipeline import showing
from saejax.pipeline import token_sides
from saejax.pipeline import twin
from saejax.report import analysis as report
from saejax.train import config as config_lib
from saejax.train import loop


def _twin_config(sae_path: str, store_path: str) -> config_lib.TrainConfig:
  """The settings a dictionary was trained with, on another store."""
  made_by = io.read_config(sae_path).get('provenance', {}).get('config')
  if not made_by:
    raise errors.UserError(
      f'The dictionary at {sae_path} does not say how it was trained, so its '
      'twin cannot be: use --nosurrogate.'
    )
  fields = {f.name for f in dataclasses.fields(config_lib.TrainConfig)}
  as_tuple = lambda v: tuple(v) if isinstance(v, list) else v
  kept = {k: as_tuple(v) for k, v in made_by.items() if k in fields}
  return config_lib.TrainConfig(**(kept | {'store': store_path}))


def _numbers(subject: findings.Subject, analysis: findings.Analysis):
  """An analysis with the quality of the dictionary it is about."""
  if subject.tokens:  # They have no partner to be found by.
    named = dict(zip(('image', 'text'), subject.test, strict=True))
    return analysis.entries | evaluation.reconstruction_results(
      named, subject.split
    )
  return analysis.entries | evaluation.evaluate_sides(
    subject.sae, subject.variables, *subject.test, subject.split
  )


def analyse_twin(
  sae_path: str, store_path: str, out: str, split: str
) -> dict[str, dict[str, Any]]:
  """Trains and analyses the same on the store's structureless twin."""
  twin_store = os.path.join(out, 'store')
  twin.write_twin(store_lib.Store(store_path), twin_store)
  config = _twin_config(sae_path, twin_store)
  trained = loop.train(config, os.path.join(out, 'run'), resume=True)
  subject = findings.load_subject(trained, twin_store, split)
  analysis = findings.analyse_subject(subject)
  entries = _numbers(subject, analysis)
  analysis.write_arrays(out)
  results.write(out, entries)
  return entries


def analyse(
  sae_path: str, store_path: str, out: str, split: str, with_twin: bool
) -> dict[str, dict[str, Any]]:
  """Analyses a dictionary on a store's split; returns and writes the results.

  Killed, it goes on when run again with the same arguments: a twin's training
  is not done twice.

  Raises:
    UserError, StoreError: nothing can be analysed, or `out` is taken; nothing
      is left behind.
  """
  asked = {
    'analyse': {'sae': sae_path, 'store': store_path, 'split': split}
    | {'surrogate': with_twin}
  }
  results.check_vacant(out)
  run.check_folder(out, asked, resume=True)
  if with_twin:
    if token_sides.are_in(store_lib.Store(store_path)):
      raise errors.UserError(
        f'{store_path} holds layers, of which no twin is made: use '
        '--nosurrogate.'
      )
    _twin_config(sae_path, store_path)  # Told before any work.
  subject = findings.load_subject(sae_path, store_path, split)
  run.open_folder(out, asked, resume=True)
  analysis = findings.analyse_subject(subject)
  if subject.test[0].stream.labels:
    analysis = reading.read_factors(subject, analysis, out)
  showing.write(subject.whole(), analysis.bridges, out)
  evidence.write(subject, analysis, out)
  entries = _numbers(subject, analysis)
  if with_twin:
    beside = os.path.join(out, results.TWIN)
    found = analyse_twin(sae_path, store_path, beside, split)
    entries |= {f'{results.TWIN}/{name}': e for name, e in found.items()}
  # The results come last: with them the folder is finished.
  analysis.write_arrays(out)
  report.write_figures(out, entries)
  results.write(out, entries)
  return entries
