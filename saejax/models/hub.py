"""Finds a model: a folder here, or one of the Hugging Face hub by its id.

What the cache has is used as it is; the network is asked only for what it
lacks. HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE mean what they mean elsewhere.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import logging
import os
import re
import sys

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub import errors as hub_errors
from huggingface_hub import utils as hub_utils

from saejax import errors
from saejax.models import checkpoints

_CONFIG = 'config.json'
_PREPROCESSORS = ('preprocessor_config.json', 'processor_config.json')
_TOKENIZERS = (
  'tokenizer.json',
  'vocab.json',
  'spiece.model',
  'tokenizer.model',
)
# All that is downloaded but for the weights.
_FILES = (
  _CONFIG, *_PREPROCESSORS, *_TOKENIZERS,
  'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json',
  'merges.txt', 'chat_template.json', 'chat_template.jinja',
)  # fmt: skip
# Of a language model alone, too: where its answers end.
_GENERATION = 'generation_config.json'
# HTTPError is that of the library's own client, whichever version has which.
_FAILURES = (
  hub_errors.HTTPError, hub_errors.LocalEntryNotFoundError, ConnectionError,
  TimeoutError,
)  # fmt: skip
_IN_CACHE = re.compile(r'models--(.+)/snapshots/([0-9a-f]{40})$')


@dataclasses.dataclass(frozen=True)
class Resolved:
  """Where a model is, and what pins it.

  Attributes:
    path: its folder.
    name: its id on the hub; of other folders, the folder's name.
    revision: the hash of the commit on the hub; None of other folders.
  """

  path: str
  name: str
  revision: str | None


def resolve(
  model: str,
  revision: str | None = None,
  offline: bool = False,
  words_only: bool = False,
) -> Resolved:
  """Finds a model, downloading it only if the cache does not have all of it.

  Args:
    model: a folder, or an id `org/name` on the hub.
    revision: a branch, tag or commit hash on the hub; None for `main`.
    offline: never ask the network; HF_HUB_OFFLINE=1 is the same.
    words_only: whether it is a language model alone, which has no images to
      prepare; its weights must be safetensors.

  Raises:
    UserError: there is no such model or revision, it may not be read, or it is
      not in the cache and the network may not or cannot be asked.
  """
  if os.path.isdir(model):
    return _of_folder(model, revision)
  _check_id(model)
  offline = offline or constants.HF_HUB_OFFLINE
  cached = _cached(model, revision)
  if not (cached and _is_usable(cached, not offline, words_only)):
    if offline:
      raise errors.UserError(
        f'{_called(model, revision)} is not, or not wholly, in the cache '
        f'{constants.HF_HUB_CACHE}, and the network is not asked: run once '
        'without offline, or give a folder.'
      )
    cached = _download(model, revision, words_only)
  return Resolved(cached, model, os.path.basename(cached))


def config_file(
  model: str, revision: str | None = None, offline: bool = False
) -> str:
  """The `config.json` of a model on the hub, and nothing else of it.

  Raises:
    UserError: as `resolve`.
  """
  _check_id(model)
  cached = _cached(model, revision)
  if cached:
    return os.path.join(cached, _CONFIG)
  if offline or constants.HF_HUB_OFFLINE:
    raise errors.UserError(
      f'{_called(model, revision)} is not in the cache '
      f'{constants.HF_HUB_CACHE}, and the network is not asked: run once '
      'without offline, or give a folder.'
    )
  try:
    with _quiet():
      return huggingface_hub.hf_hub_download(model, _CONFIG, revision=revision)
  except _FAILURES as e:
    raise errors.UserError(_why(e, model, revision)) from e


def _called(model: str, revision: str | None) -> str:
  return f'{model} at revision {revision}' if revision else model


def _of_folder(path: str, revision: str | None) -> Resolved:
  found = _IN_CACHE.search(os.path.realpath(path).replace(os.sep, '/'))
  if found:
    resolved = Resolved(path, found[1].replace('--', '/'), found[2])
  else:
    resolved = Resolved(path, os.path.basename(os.path.abspath(path)), None)
  if revision not in (None, resolved.revision):
    raise errors.UserError(
      f'{path} is a folder, which has no revision {revision}: give the id of a '
      'model on the hub, or no revision.'
    )
  return resolved


def _check_id(model: str) -> None:
  try:
    hub_utils.validate_repo_id(model)
    is_id = model.count('/') == 1
  except hub_errors.HFValidationError:
    is_id = False
  if not is_id:
    raise errors.UserError(
      f'There is no model {model}: expected a folder, or an id such as '
      'openai/clip-vit-base-patch32.'
    )


def _cached(model: str, revision: str | None) -> str | None:
  """The snapshot in the cache that a revision means, if there is one."""
  config = huggingface_hub.try_to_load_from_cache(
    model, _CONFIG, revision=revision
  )
  return os.path.dirname(config) if isinstance(config, str) else None


def _formats(words_only: bool) -> tuple[str, ...]:
  return ('safetensors',) if words_only else tuple(checkpoints.FORMATS)


def _is_usable(path: str, whole: bool, words_only: bool) -> bool:
  """Whether a snapshot has its weights; `whole`: also what goes with them.

  An interrupted download, or other programs, leave snapshots of some files;
  models that lack a tokenizer, say, are never whole.
  """
  try:
    checkpoints.files(path, _formats(words_only))
  except errors.UserError:
    return False
  names = os.listdir(path)
  has_any = lambda wanted: any(name in names for name in wanted)
  is_seeing = words_only or has_any(_PREPROCESSORS)
  return not whole or (is_seeing and has_any(_TOKENIZERS))


def _download(model: str, revision: str | None, words_only: bool) -> str:
  """Fetches what is needed of a model, its weights in one format."""
  try:
    with _quiet():
      info = huggingface_hub.model_info(model, revision=revision)
      names = [file.rfilename for file in info.siblings or ()]
      chosen = checkpoints.choose(
        names, _called(model, revision), _formats(words_only)
      )
      return huggingface_hub.snapshot_download(
        model,
        revision=revision,
        allow_patterns=[
          *_FILES,
          *([_GENERATION] if words_only else []),
          *checkpoints.patterns(*chosen),
        ],
      )
  except _FAILURES as e:
    raise errors.UserError(_why(e, model, revision)) from e


def _why(e: Exception, model: str, revision: str | None) -> str:
  """What went wrong on the way to the hub, in one line."""
  first_line = (str(e).strip() or type(e).__name__).splitlines()[0].rstrip('.')
  # Gated models are a kind of those not found.
  if isinstance(e, hub_errors.GatedRepoError):
    return (
      f'{model} is gated: accept its terms on its page of the hub, then run hf '
      'auth login or set HF_TOKEN.'
    )
  if isinstance(e, hub_errors.RepositoryNotFoundError):
    return (
      f'There is no folder {model}, and no such model on the hub; if it is '
      'private, run hf auth login or set HF_TOKEN.'
    )
  if isinstance(e, hub_errors.RevisionNotFoundError):
    return f'{model} has no revision {revision or "main"} on the hub.'
  if isinstance(e, hub_errors.HfHubHTTPError):
    return f'The hub does not give {_called(model, revision)}: {first_line}.'
  return (
    f'{_called(model, revision)} is not wholly in the cache '
    f'{constants.HF_HUB_CACHE}, and the hub cannot be reached ({first_line}): '
    'give a folder, or run again with a network; HF_HUB_OFFLINE=1 makes do '
    'with the cache.'
  )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Without the library's advice, and without bars where no terminal is."""
  logger = logging.getLogger('huggingface_hub')
  level = logger.level
  logger.setLevel(logging.ERROR)
  unasked = constants.HF_HUB_DISABLE_PROGRESS_BARS is None
  if unasked and not sys.stderr.isatty():
    hub_utils.disable_progress_bars()
  try:
    yield
  finally:
    logger.setLevel(level)
