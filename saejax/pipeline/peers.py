"""Torch libraries that train the same SAEs, each in a process of its own.

The process is of another Python, which has those libraries, and runs
`torch_bridge.peer_steps`: the protocol is told there.
"""

import json
import os
import subprocess
import tempfile
from typing import Any

from saejax import errors
from saejax.torch_bridge import peer_steps

NAMES = tuple(peer_steps.PEERS)
SCRIPT = peer_steps.__file__
# No peer here has a reason to ask the network for anything.
_ENVIRONMENT = {'HF_HUB_OFFLINE': '1', 'WANDB_MODE': 'disabled'}


def check(python: str | None, names: tuple[str, ...]) -> None:
  """Raises UserError if there is no such Python, or an unknown peer."""
  for name in names:
    if name not in NAMES:
      raise errors.UserError(
        f'--peers: there is no peer {name!r}; there are {", ".join(NAMES)}.'
      )
  if python and not (os.path.isfile(python) and os.access(python, os.X_OK)):
    raise errors.UserError(
      f'--peers_python={python} is no program: expected the Python of an '
      'environment with the libraries to measure.'
    )


class PeerError(Exception):
  """A peer that could not do what it was asked; the message is one line."""


class Peer:
  """A library in training. Once it has failed, every answer is None.

  `problem` then says why; it is kept rather than raised, so that those it runs
  in turns with go on.
  """

  def __init__(self, name: str, python: str):
    self.name, self.problem = name, None
    self.versions: dict[str, str] = {}
    self._said = tempfile.TemporaryFile()
    # Isolated: else the folder of the script would be searched for modules.
    self._process = subprocess.Popen(
      [python, '-I', SCRIPT],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._said,
      env=os.environ | _ENVIRONMENT,
      text=True,
    )

  def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
    try:
      self._process.stdin.write(json.dumps(request) + '\n')
      self._process.stdin.flush()
      answer = json.loads(self._process.stdout.readline())
    except (OSError, json.JSONDecodeError):
      raise PeerError(f'its process ended: {self._last_words()}') from None
    if 'problem' in answer:
      raise PeerError(answer['problem'])
    return answer

  def _last_words(self) -> str:
    self._said.seek(0)
    lines = self._said.read().decode(errors='replace').strip().splitlines()
    return lines[-1] if lines else 'it said nothing.'

  def _ask(self, do: str, key: str, **rest: Any) -> Any:
    if self.problem is not None:
      return None
    try:
      return self._exchange({'do': do} | rest)[key]
    except PeerError as e:
      self.problem = str(e)
      return None

  def prepare(self, **asked: Any) -> None:
    """Makes a fresh model; `asked` are the fields of `peer_steps.Asked`."""
    self.problem = None
    versions = self._ask('prepare', 'versions', peer=self.name, **asked)
    self.versions = versions or self.versions

  def time(self, n: int) -> float | None:
    """Seconds of n training steps, by its own clock."""
    return self._ask('time', 'seconds', n=n)

  def error(self) -> float | None:
    """Σ‖x − x̂‖² over the held-out rows."""
    return self._ask('error', 'error')

  def peak_memory(self) -> int | None:
    """Bytes on the GPU at the most, if it trains on one."""
    return self._ask('memory', 'bytes')

  def close(self) -> None:
    if self._process.poll() is None:
      self._process.stdin.close()
      self._process.wait()
    self._process.stdout.close()
    self._said.close()
