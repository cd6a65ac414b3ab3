"""Training steps of torch libraries, as peers to be measured against.

A script that the Python of an environment with those libraries runs; it imports
nothing of saejax. It reads requests from stdin and answers each on stdout, both
as one line of JSON:

  {"do": "prepare", "peer": ..., and the fields of Asked}  → {"versions": ...}
  {"do": "time", "n": ...}  → {"seconds": ...} that n training steps took
  {"do": "error"}           → {"error": ...} Σ‖x − x̂‖² over the last B rows
  {"do": "memory"}          → {"bytes": ...} most on the GPU, null without one

What fails is answered by {"problem": ...}. Between requests it sleeps.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import contextlib
import dataclasses
import functools
import importlib
import importlib.metadata
import json
import math
import os
import sys
import time
import types
from typing import Any
from typing import TextIO

import numpy as np


@dataclasses.dataclass(frozen=True)
class Asked:
  """What to train, and on what; `aux_weight` is 0 without AuxK.

  `data` is a .npy file of rows; the last `b` are for the error alone, the
  others are trained on in order, again and again. `steps` are those of the
  whole run, `dead_after` rows, `clip` a norm, 0 for none.
  """

  arch: str
  d: int
  s: int
  k: int
  b: int
  steps: int
  lr: float
  clip: float
  aux_weight: float
  dead_after: int
  device: str
  threads: int
  data: str


@dataclasses.dataclass(frozen=True)
class Peer:
  """A library's training: a step for each batch, and reconstruction."""

  train: Callable[[Iterable[Any]], Any]
  reconstruct: Callable[[Any], Any]


class Absent(Exception):
  """The peer has no such variant."""


def rate(steps: int, step: int) -> float:
  """Share of the learning rate: 5 % linear warm-up, then cosine, as ours."""
  warmup = max(steps // 20, 1)
  if step < warmup:
    return step / warmup
  return (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1))) / 2


def _schedule(asked: Asked, optimiser):
  import torch

  share = functools.partial(rate, asked.steps)
  return torch.optim.lr_scheduler.LambdaLR(optimiser, share)


def dictionary_learning(asked: Asked) -> Peer:
  """`update` of its trainers, which clips to 1 and keeps unit rows."""
  from dictionary_learning import trainers

  kind = {
    'topk': trainers.TopKTrainer,
    'batch_topk': trainers.BatchTopKTrainer,
  }[asked.arch]
  trainer = kind(
    steps=asked.steps,
    activation_dim=asked.d,
    dict_size=asked.s,
    k=asked.k,
    layer=0,
    lm_name='',
    lr=asked.lr,
    auxk_alpha=asked.aux_weight,
    warmup_steps=0,
    device=asked.device,
    seed=0,
  )
  trainer.scheduler = _schedule(asked, trainer.optimizer)
  if asked.aux_weight:
    trainer.dead_feature_threshold = asked.dead_after
  done = 0

  def train(batches):
    nonlocal done
    for x_BD in batches:
      trainer.update(done, x_BD)
      done += 1

  def reconstruct(x_BD):
    z_BS = trainer.ae.encode(x_BD, use_threshold=False)
    return trainer.ae.decode(z_BS)

  return Peer(train, reconstruct)


def overcomplete(asked: Asked) -> Peer:
  """`train_sae` of its loop, which keeps unit rows."""
  import torch

  # It imports these for extracting features, which is not asked of it here.
  for name in ('torchvision', 'torchvision.transforms', 'timm'):
    try:
      importlib.import_module(name)
    except ImportError:
      sys.modules[name] = types.ModuleType(name)
  from overcomplete import sae as library
  from overcomplete.sae import losses
  from overcomplete.sae import train as loop

  kind, k = {
    'topk': (library.TopKSAE, asked.k),
    'batch_topk': (library.BatchTopKSAE, asked.k * asked.b),
  }[asked.arch]
  torch.manual_seed(0)
  model = kind(asked.d, nb_concepts=asked.s, top_k=k, device=asked.device)
  optimiser = torch.optim.Adam(model.parameters(), lr=asked.lr)
  criterion = lambda x, x_hat, *_: (x - x_hat).square().mean()
  if asked.aux_weight:
    criterion = functools.partial(
      losses.top_k_auxiliary_loss, penalty=asked.aux_weight
    )
  train = functools.partial(
    loop.train_sae,
    model,
    criterion=criterion,
    optimizer=optimiser,
    scheduler=_schedule(asked, optimiser),
    nb_epochs=1,
    clip_grad=asked.clip,
    monitoring=0,
    device=asked.device,
  )
  return Peer(train, lambda x_BD: model(x_BD)[2])


def sparsify(asked: Asked) -> Peer:
  """The steps of its trainer, which takes rows from a language model only."""
  if asked.arch != 'topk':
    raise Absent(f'sparsify has no {asked.arch}')
  if asked.device == 'cpu':
    os.environ['SPARSIFY_DISABLE_TRITON'] = '1'
  import sparsify as library
  import torch

  torch.manual_seed(0)
  config = library.SparseCoderConfig(num_latents=asked.s, k=asked.k)
  coder = library.SparseCoder(asked.d, config, device=asked.device)
  optimiser = torch.optim.Adam(coder.parameters(), lr=asked.lr)
  schedule = _schedule(asked, optimiser)
  idle_S = torch.zeros(asked.s, dtype=torch.long, device=asked.device)

  def update(x_BD):
    coder.set_decoder_norm_to_unit_norm()
    dead_S = idle_S > asked.dead_after if asked.aux_weight else None
    out = coder(x_BD, dead_mask=dead_S)
    (out.fvu + asked.aux_weight * out.auxk_loss).backward()
    coder.remove_gradient_parallel_to_decoder_directions()
    if asked.clip:
      torch.nn.utils.clip_grad_norm_(coder.parameters(), asked.clip)
    optimiser.step()
    optimiser.zero_grad()
    schedule.step()
    idle_S.add_(len(x_BD))
    idle_S[out.latent_indices.flatten()] = 0

  def train(batches):
    for x_BD in batches:
      update(x_BD)

  return Peer(train, lambda x_BD: coder(x_BD).sae_out)


def sae_lens(asked: Asked) -> Peer:
  """`step` of its trainer, which clips to 1 and weighs codes by row norms."""
  import sae_lens as library
  from sae_lens import config as configs
  from sae_lens.training import sae_trainer
  import torch

  config, kind = {
    'topk': (library.TopKTrainingSAEConfig, library.TopKTrainingSAE),
    'batch_topk': (
      library.BatchTopKTrainingSAEConfig,
      library.BatchTopKTrainingSAE,
    ),
  }[asked.arch]
  torch.manual_seed(0)
  sae = kind(
    config(
      d_in=asked.d,
      d_sae=asked.s,
      k=asked.k,
      aux_loss_coefficient=asked.aux_weight,
      device=asked.device,
    )
  )
  # Concepts are dead after so many steps; never, without AuxK.
  window = asked.dead_after // asked.b if asked.aux_weight else 2**30
  trainer = sae_trainer.SAETrainer(
    configs.SAETrainerConfig(
      total_training_samples=asked.steps * asked.b,
      train_batch_size_samples=asked.b,
      lr=asked.lr,
      lr_end=asked.lr,
      device=asked.device,
      dead_feature_window=window,
    ),
    sae,
    iter(()),
  )
  trainer.lr_scheduler = _schedule(asked, trainer.optimizer)

  def train(batches):
    for x_BD in batches:
      trainer.step(x_BD)
      trainer.n_training_steps += 1

  return Peer(train, sae)


PEERS = {
  'dictionary_learning': dictionary_learning,
  'overcomplete': overcomplete,
  'sparsify': sparsify,
  'sae_lens': sae_lens,
}
_PACKAGES = {'sparsify': 'eai-sparsify'}


class Session:
  """One peer in training on the rows of a file."""

  def __init__(self, asked: Asked, make: Callable[[Asked], Peer]):
    import torch

    torch.set_num_threads(asked.threads)
    # As JAX does by default: TensorFloat-32 where there is such a unit.
    torch.set_float32_matmul_precision('high')
    self.asked, self.at, self.torch = asked, 0, torch
    self.x_ND = np.load(asked.data, allow_pickle=False)
    if asked.device != 'cpu':
      torch.cuda.reset_peak_memory_stats()
    self.peer = make(asked)

  def batches(self, n: int):
    rows = len(self.x_ND) - self.asked.b
    for _ in range(n):
      x_BD = self.x_ND[self.at : self.at + self.asked.b]
      yield self.torch.from_numpy(x_BD).to(self.asked.device)
      self.at = (self.at + self.asked.b) % rows

  def time(self, n: int) -> dict[str, float]:
    start = time.perf_counter()
    self.peer.train(self.batches(n))
    if self.asked.device != 'cpu':
      self.torch.cuda.synchronize()
    return {'seconds': time.perf_counter() - start}

  def error(self) -> dict[str, float]:
    x_BD = self.torch.from_numpy(self.x_ND[-self.asked.b :])
    with self.torch.no_grad():
      xhat_BD = self.peer.reconstruct(x_BD.to(self.asked.device))
    missed_BD = (x_BD - xhat_BD.float().cpu()).double()
    return {'error': float((missed_BD**2).sum())}

  def memory(self) -> dict[str, int | None]:
    if self.asked.device == 'cpu':
      return {'bytes': None}
    return {'bytes': self.torch.cuda.max_memory_allocated()}


def _prepare(peers, peer: str, **asked) -> tuple[Session, dict[str, Any]]:
  session = Session(Asked(**asked), peers[peer])
  versions = {'torch': session.torch.__version__}
  package = _PACKAGES.get(peer, peer)
  with contextlib.suppress(importlib.metadata.PackageNotFoundError):
    versions[package] = importlib.metadata.version(package)
  return session, {'versions': versions}


def serve(
  requests: TextIO,
  answers: TextIO,
  peers: Mapping[str, Callable[[Asked], Peer]] = PEERS,
) -> None:
  """Answers requests until there are no more."""
  session = None
  for line in requests:
    request = json.loads(line)
    do = request.pop('do')
    try:
      if do == 'prepare':
        session = None  # Frees the one before.
        session, answer = _prepare(peers, **request)
      else:
        answer = {'time': Session.time, 'error': Session.error,
                  'memory': Session.memory}[do](session, **request)  # fmt: skip
    except Exception as e:  # Whatever a library raises is its answer.
      said = ' '.join(str(e).split())
      kind = '' if isinstance(e, Absent) else f'{type(e).__name__}: '
      answer = {'problem': f'{kind}{said}'[:300]}
    answers.write(json.dumps(answer) + '\n')
    answers.flush()


def main(peers: Mapping[str, Callable[[Asked], Peer]] = PEERS) -> None:
  """Serves on stdin and stdout; what libraries print goes to stderr."""
  with os.fdopen(os.dup(sys.stdout.fileno()), 'w') as answers:
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin, answers, peers)


if __name__ == '__main__':
  main()
