"""The judge that flags ask for: behind an endpoint, or one that runs here."""

from collections.abc import Callable
import dataclasses
import functools
import hashlib
import os
from typing import Any

from saejax import errors
from saejax.data import judge as judge_lib
from saejax.models import checkpoints
from saejax.models import hub
from saejax.torch_bridge import judge_torch
from saejax.torch_bridge import present

DTYPES = ('auto', 'float32', 'bfloat16', 'float16')
_ANSWERS = 'answers'
_SAFE = ('safetensors',)
# Of a folder, what an answer depends on beside the weights.
_ENDINGS = ('.json', '.jinja', '.model', '.txt')


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgeConfig:
  """Flags of a judge.

  Attributes:
    judge_url: of an OpenAI-compatible endpoint; None for a model that runs
      here.
    judge_model: its name there; here a folder, or an id on the hub. None for no
      judge.
    judge_key: environment variable that holds the endpoint's key.
    judge_revision: branch, tag or commit of a model on the hub.
    judge_device: where torch runs the model.
    judge_dtype: of its parameters, one of `DTYPES`.
    answers: folder of answers; None for one in the results.
    offline: never ask the network for the model.
  """

  judge_url: str | None = None
  judge_model: str | None = None
  judge_key: str = 'OPENAI_API_KEY'
  judge_revision: str | None = None
  judge_device: str = 'cpu'
  judge_dtype: str = 'auto'
  answers: str | None = None
  offline: bool = False


@dataclasses.dataclass(frozen=True)
class Local:
  """A model that runs here, loaded when it is first asked.

  Attributes:
    model: its name.
    cache: folder of answers.
    weights: what tells it from others: a commit of the hub, or a hash.
    dtype: of its parameters.
    load: gives the function that answers, see `judge_torch.speaker`.
    most: tokens of an answer.
  """

  model: str
  cache: str
  weights: str
  dtype: str
  load: Callable[[int], Callable[..., tuple[str, int]]]
  most: int = 400

  @functools.cached_property
  def _speaker(self) -> Callable[..., tuple[str, int]]:
    return self.load(self.most)

  def body(self, messages: judge_lib.Messages) -> dict[str, Any]:
    return {
      'weights': self.weights,
      'dtype': self.dtype,
      'messages': list(messages),
      'max_tokens': self.most,
    }

  def say(self, messages: judge_lib.Messages) -> tuple[str, int]:
    return self._speaker(messages)


def fingerprint(path: str) -> str:
  """A hash of a folder's weights, config and tokenizer."""
  names = set(checkpoints.files(path, _SAFE))
  names |= {n for n in os.listdir(path) if n.endswith(_ENDINGS)}
  whole = hashlib.sha256()
  for name in sorted(names):
    with open(os.path.join(path, name), 'rb') as f:
      own = hashlib.file_digest(f, 'sha256').hexdigest()
    whole.update(f'{name} {own}\n'.encode())
  return whole.hexdigest()


def _local(c: JudgeConfig, cache: str) -> Local:
  """A folder's or the hub's model.

  Raises:
    UserError: torch is not there, or no such model.
  """
  present.require('A judge that runs here', ', or give --judge_url')
  if c.judge_device != 'cpu':
    # JAX, which starts later, would take most of the memory.
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  present.check_device('--judge_device', c.judge_device)
  found = hub.resolve(c.judge_model, c.judge_revision, c.offline, True)
  checkpoints.files(found.path, _SAFE)
  judge_torch.check_kind(found.path)
  return Local(
    found.name,
    cache,
    found.revision or fingerprint(found.path),
    c.judge_dtype,
    functools.partial(
      judge_torch.speaker, found.path, c.judge_dtype, c.judge_device
    ),
  )


def open_judge(c: JudgeConfig, out: str) -> judge_lib.Judge | None:
  """The judge that is asked for, if any; nothing is asked of it yet.

  Args:
    c: the flags.
    out: folder of results.

  Raises:
    UserError: a flag is missing, or the model.
  """
  cache = c.answers or os.path.join(out, _ANSWERS)
  if c.judge_url is None:
    return None if c.judge_model is None else _local(c, cache)
  judge_lib.check(c.judge_url)
  if not c.judge_model:
    raise errors.UserError('--judge_url needs --judge_model, a name there.')
  key = os.environ.get(c.judge_key) or None
  return judge_lib.Endpoint(c.judge_url, c.judge_model, cache, key)
