"""Answers of a language model, such as one behind an endpoint like OpenAI's.

Only the standard library, one request at a time, no request unless it is asked
for. Every answer is kept in a folder under the hash of what was asked, pictures
and all, so that a run that stops goes on where it was, and a run again costs
nothing.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import hashlib
import http.client
import json
import os
import re
import time
from typing import Any
from typing import Protocol
import urllib.error
import urllib.parse
import urllib.request

from saejax import errors

_TRIES = 4
_WAIT = 1.0  # Seconds before the second try; doubled before each other.
_PASSING = (408, 409, 429, 500, 502, 503, 504)  # Worth another try.
_PER_TOKEN = 4  # Characters, about.
Messages = Sequence[Mapping[str, Any]]


class Judge(Protocol):
  """Who is asked: a function from a question to words.

  Attributes:
    model: its name.
    cache: folder of answers.
  """

  model: str
  cache: str

  def body(self, messages: Messages) -> dict[str, Any]:
    """All that an answer depends on, as JSON."""
    ...

  def say(self, messages: Messages) -> tuple[str, int]:
    """The words of a new answer, and how many tokens it took."""
    ...


@dataclasses.dataclass(frozen=True)
class Picture:
  """An image of a question, as a data URL.

  Attributes:
    url: with the file in it.
    is_masked: whether it shows where something is.
  """

  url: str = dataclasses.field(repr=False)
  is_masked: bool = False


Part = str | Picture


@dataclasses.dataclass(frozen=True)
class Endpoint:
  """Who is asked.

  Attributes:
    url: that chat/completions is below, such as http://localhost:8000/v1.
    model: its name there.
    cache: folder of answers.
    key: secret of the endpoint; it is sent, and written nowhere.
    most: tokens of an answer.
    timeout: seconds for one.
  """

  url: str
  model: str
  cache: str
  key: str | None = dataclasses.field(default=None, repr=False)
  most: int = 400
  timeout: float = 120.0

  def body(self, messages: Messages) -> dict[str, Any]:
    return {
      'model': self.model,
      'messages': list(messages),
      'temperature': 0,
      'max_tokens': self.most,
    }

  def say(self, messages: Messages) -> tuple[str, int]:
    """One answer, after some tries.

    Raises:
      UserError: the endpoint cannot be reached, refuses, or says what is no
        answer.
    """
    for turn in range(_TRIES):
      try:
        raw = _post(self, self.body(messages))
        break
      except urllib.error.HTTPError as e:
        if e.code not in _PASSING or turn == _TRIES - 1:
          raise _refused(self, e, pictures(messages)) from e
      except (OSError, http.client.HTTPException) as e:
        if turn == _TRIES - 1:
          raise errors.UserError(
            f'{self.url} cannot be reached '
            f'({getattr(e, "reason", None) or e}): is it running?'
          ) from e
      time.sleep(_WAIT * 2**turn)
    return _text(self, raw)


@dataclasses.dataclass(frozen=True)
class Answer:
  """What was said, and the tokens it took; those of the cache took none."""

  text: str
  tokens: int
  is_new: bool


def check(url: str) -> None:
  """UserError for what is no address."""
  try:
    parts = urllib.parse.urlsplit(url)
    is_address = bool(parts.hostname) and parts.port != 0
  except ValueError:
    is_address = False
  is_address = is_address and not re.search(r'\s', url)
  if not is_address or not url.startswith(('http://', 'https://')):
    raise errors.UserError(
      f'--judge_url={url} is no address: write http://HOST:PORT/v1 or https://….'
    )


def content(parts: Sequence[Part]) -> str | list[dict[str, Any]]:
  """What a message holds; words alone are one string."""
  if not any(isinstance(part, Picture) for part in parts):
    return ''.join(parts)
  found: list[dict[str, Any]] = []
  for part in parts:
    if isinstance(part, Picture):
      found.append({'type': 'image_url', 'image_url': {'url': part.url}})
    elif found and found[-1]['type'] == 'text':
      found[-1]['text'] += part
    else:
      found.append({'type': 'text', 'text': part})
  return found


def path_of(judge: Judge, messages: Messages) -> str:
  """The file of an answer: of the model and all that is asked, not of where."""
  said = json.dumps(judge.body(messages), sort_keys=True)
  digest = hashlib.sha256(said.encode()).hexdigest()
  return os.path.join(judge.cache, f'{digest}.json')


def is_known(judge: Judge, messages: Messages) -> bool:
  """Whether asking would cost nothing."""
  return os.path.exists(path_of(judge, messages))


def _parts(messages: Messages) -> list[Mapping[str, Any]]:
  found = []
  for message in messages:
    held = message['content']
    found += [{'text': held}] if isinstance(held, str) else held
  return found


def tokens(messages: Messages) -> int:
  """About how many tokens a question has, of words alone."""
  letters = sum(len(part.get('text', '')) for part in _parts(messages))
  return -(-letters // _PER_TOKEN)


def pictures(messages: Messages) -> int:
  """How many pictures a question has."""
  return sum('image_url' in part for part in _parts(messages))


def characters(messages: Messages) -> int:
  """How long a question is, its pictures as they are sent among it."""
  return sum(
    len(part.get('text', '')) + len(part.get('image_url', {}).get('url', ''))
    for part in _parts(messages)
  )


def _read(path: str) -> Answer | None:
  """A kept answer; None if there is none that can be read."""
  try:
    with open(path, encoding='utf-8') as f:
      found = json.load(f)
    return Answer(str(found['text']), 0, False)
  except (OSError, ValueError, KeyError, TypeError):
    return None


def _keep(path: str, data: Mapping[str, Any]) -> None:
  os.makedirs(os.path.dirname(path), exist_ok=True)
  half = f'{path}.part'
  with open(half, 'w', encoding='utf-8') as f:
    json.dump(data, f)
  os.replace(half, path)  # Whole, or not there.


def _post(endpoint: Endpoint, body: Mapping[str, Any]) -> bytes:
  """One request.

  Raises:
    OSError: of the network, or `HTTPError` of the endpoint.
  """
  headers = {'Content-Type': 'application/json'}
  if endpoint.key:
    headers['Authorization'] = f'Bearer {endpoint.key}'
  request = urllib.request.Request(
    f'{endpoint.url.rstrip("/")}/chat/completions',
    data=json.dumps(body).encode(),
    headers=headers,
    method='POST',
  )
  with urllib.request.urlopen(request, timeout=endpoint.timeout) as response:
    return response.read()


def _refused(
  endpoint: Endpoint, e: urllib.error.HTTPError, count: int
) -> errors.UserError:
  said = ' '.join(e.read(400).decode('utf-8', 'replace').split())[:200]
  remedy = ''
  if e.code in (401, 403):
    remedy = ': set the environment variable that --judge_key names'
  elif count:
    remedy = f' to {count} pictures: leave --pictures if it takes none'
  return errors.UserError(
    f'{endpoint.url} answers {e.code} {e.reason}{remedy}. It says: {said}'
  )


def _text(endpoint: Endpoint, raw: bytes) -> tuple[str, int]:
  """The words of a response, and the tokens it says it took."""
  try:
    found = json.loads(raw)
    first = found['choices'][0]
    # What was cut short is no answer: a thought that did not end.
    is_whole = first.get('finish_reason') != 'length'
    text = first['message']['content'] if is_whole else ''
    used = (found.get('usage') or {}).get('total_tokens') or 0
    return str(text or ''), int(used)
  except (ValueError, KeyError, IndexError, TypeError) as e:
    raise errors.UserError(
      f'{endpoint.url} does not answer as chat/completions does '
      f'({type(e).__name__}: {e}): {raw[:100]!r}.'
    ) from e


def ask(judge: Judge, messages: Messages) -> Answer:
  """The answer to a question: the one that is kept, or a new one.

  Raises:
    UserError: who is asked cannot answer.
  """
  path = path_of(judge, messages)
  if (kept := _read(path)) is not None:
    return kept
  text, used = judge.say(messages)
  _keep(path, {'model': judge.model, 'text': text, 'tokens': used})
  return Answer(text, used, True)
