"""A run's folder: `run.json` says what was asked; resuming asks the same."""

from collections.abc import Collection
from collections.abc import Mapping
import json
import os
from typing import Any

from saejax import errors
from saejax import provenance
from saejax.store import manifest

RUN = 'run.json'


def as_json(data: Any) -> Any:
  """Data as it reads back from JSON: tuples become lists."""
  return json.loads(json.dumps(data))


def read(path: str) -> dict[str, Any]:
  """Reads a run's record; UserError if the folder holds no run."""
  file = os.path.join(path, RUN)
  if not os.path.exists(file):
    raise errors.UserError(f'There is no run at {path}: it has no {RUN}.')
  return manifest.read_json(file, errors.UserError)


def check_folder(
  out: str,
  config: Mapping[str, Any],
  resume: bool = False,
  may_differ: Collection[str] = (),
) -> None:
  """UserError unless a run of these settings may be written, or go on, there.

  Touches nothing: for use before the work that may find other mistakes.

  Args:
    out: the run's folder.
    config: what is asked for.
    resume: whether a run that is there may go on.
    may_differ: settings in which it may differ from what was asked at first.
  """
  if os.path.exists(out) and not os.path.isdir(out):
    raise errors.UserError(f'--out={out} is a file; name a folder.')
  names = _names(out)
  if not names:
    return
  if RUN not in names:
    raise errors.UserError(
      f'--out={out} holds other files (such as {names[0]}). Choose an empty or '
      'new folder.'
    )
  if not resume:
    raise errors.UserError(
      f'--out={out} holds another run. Add --resume to go on with it, or '
      'choose another folder.'
    )
  found, asked = read(out)['config'], as_json(dict(config))
  fixed = asked.keys() - set(may_differ)
  differ = sorted(k for k in fixed if found.get(k) != asked[k])
  if differ:
    changes = ', '.join(f'{k}: {found.get(k)} → {asked[k]}' for k in differ)
    raise errors.UserError(
      f'--out={out} holds a run with other settings ({changes}). Use the same '
      'flags to go on with it, or choose another folder.'
    )


def _names(out: str) -> list[str]:
  """Files in a folder, but for what a kill can leave of `run.json` itself."""
  if not os.path.isdir(out):
    return []
  return sorted(n for n in os.listdir(out) if n != f'{RUN}.tmp')


def open_folder(
  out: str,
  config: Mapping[str, Any],
  resume: bool = False,
  may_differ: Collection[str] = (),
) -> None:
  """Makes the folder of a new run, after `check_folder`."""
  check_folder(out, config, resume, may_differ)
  if _names(out):
    return
  os.makedirs(out, exist_ok=True)
  record = {
    'format': 'saejax-run',
    'config': dict(config),
    'provenance': provenance.collect(),
  }
  manifest.write_json(os.path.join(out, RUN), record)


def add(out: str, **found: Any) -> None:
  """Writes into a run's record what was not known when it began."""
  manifest.write_json(os.path.join(out, RUN), read(out) | found)
