"""Answers of a language model behind an OpenAI-compatible endpoint.

Only the standard library, one request at a time, no request unless it is asked
for. Every answer is kept in a folder under the hash of what was asked, so that
a run that stops goes on where it was, and a run again costs nothing.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import hashlib
import json
import os
import time
from typing import Any
import urllib.error
import urllib.request

from saejax import errors

_TRIES = 4
_WAIT = 1.0  # Seconds before the second try; doubled before each other.
_PASSING = (408, 409, 429, 500, 502, 503, 504)  # Worth another try.
_PER_TOKEN = 4  # Characters, about.
Messages = Sequence[Mapping[str, Any]]


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


@dataclasses.dataclass(frozen=True)
class Answer:
  """What was said, and the tokens it took; those of the cache took none."""

  text: str
  tokens: int
  is_new: bool


def check(url: str) -> None:
  """UserError for what is no address."""
  if not url.startswith(('http://', 'https://')):
    raise errors.UserError(
      f'--judge_url={url} is no address: write http://HOST:PORT/v1 or https://….'
    )


def _body(endpoint: Endpoint, messages: Messages) -> dict[str, Any]:
  return {
    'model': endpoint.model,
    'messages': list(messages),
    'temperature': 0,
    'max_tokens': endpoint.most,
  }


def path_of(endpoint: Endpoint, messages: Messages) -> str:
  """The file of an answer: of the model and all that is asked, not of where."""
  said = json.dumps(_body(endpoint, messages), sort_keys=True)
  digest = hashlib.sha256(said.encode()).hexdigest()
  return os.path.join(endpoint.cache, f'{digest}.json')


def is_known(endpoint: Endpoint, messages: Messages) -> bool:
  """Whether asking would cost nothing."""
  return os.path.exists(path_of(endpoint, messages))


def tokens(messages: Messages) -> int:
  """About how many tokens a question has, of text alone."""
  text = ''
  for message in messages:
    content = message['content']
    parts = [{'text': content}] if isinstance(content, str) else content
    text += ''.join(part.get('text', '') for part in parts)
  return -(-len(text) // _PER_TOKEN)


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


def _refused(endpoint: Endpoint, e: urllib.error.HTTPError) -> errors.UserError:
  said = ' '.join(e.read(400).decode('utf-8', 'replace').split())[:200]
  remedy = (
    ': set the environment variable that --judge_key names'
    if e.code in (401, 403)
    else ''
  )
  return errors.UserError(
    f'{endpoint.url} answers {e.code} {e.reason}{remedy}. It says: {said}'
  )


def _text(endpoint: Endpoint, raw: bytes) -> tuple[str, int]:
  """The words of a response, and the tokens it says it took."""
  try:
    found = json.loads(raw)
    text = found['choices'][0]['message']['content']
    used = (found.get('usage') or {}).get('total_tokens') or 0
    return str(text or ''), int(used)
  except (ValueError, KeyError, IndexError, TypeError) as e:
    raise errors.UserError(
      f'{endpoint.url} does not answer as chat/completions does '
      f'({type(e).__name__}: {e}): {raw[:100]!r}.'
    ) from e


def ask(endpoint: Endpoint, messages: Messages) -> Answer:
  """The answer to a question: the one that is kept, or a new one.

  Raises:
    UserError: the endpoint cannot be reached, refuses, or says what is no
      answer.
  """
  path = path_of(endpoint, messages)
  if (kept := _read(path)) is not None:
    return kept
  for turn in range(_TRIES):
    try:
      raw = _post(endpoint, _body(endpoint, messages))
      break
    except urllib.error.HTTPError as e:
      if e.code not in _PASSING or turn == _TRIES - 1:
        raise _refused(endpoint, e) from e
    except (OSError, TimeoutError) as e:
      if turn == _TRIES - 1:
        raise errors.UserError(
          f'{endpoint.url} cannot be reached '
          f'({getattr(e, "reason", None) or e}): is it running?'
        ) from e
    time.sleep(_WAIT * 2**turn)
  text, used = _text(endpoint, raw)
  _keep(path, {'model': endpoint.model, 'text': text, 'tokens': used})
  return Answer(text, used, True)
