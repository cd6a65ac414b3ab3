"""Concepts to interpret: drawn, read, and set beside others that fire alike."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

import numpy as np

from saejax import errors
from saejax import run
from saejax import store as store_lib
from saejax.analysis import interpretation
from saejax.pipeline import interpreting_explainers as explainers
from saejax.pipeline import interpreting_reading as reading

_TOP, _SPREAD, _SILENT = 10, 5, 8  # Examples that a concept is explained from.
_LEAST = 3  # Held-out examples that fire, for a concept to be scored.


@dataclasses.dataclass(frozen=True, kw_only=True)
class InterpretConfig:
  """Flags of `autointerp`.

  Attributes:
    sae: folder of the dictionary.
    store: folder of the store.
    stream: of the store; None for the images that the SAE was trained on.
    dataset: spec of what the store was made of, where it keeps no captions.
    other_store: the same images by an independent encoder, for
      MonoSemanticity.
    concepts: how many are drawn, over all strata.
    strata: equal parts of the live concepts, by energy.
    examples: of each split, at most.
    positives: firing examples that an explanation is tried on, at most.
    negatives: silent ones, half of them hard.
    split: of which they are.
    seed: of what is drawn.
  """

  sae: str
  store: str
  stream: str | None = None
  dataset: str | None = None
  other_store: str | None = None
  concepts: int = 40
  strata: int = 4
  examples: int = 2000
  positives: int = 20
  negatives: int = 20
  split: str = 'test'
  seed: int = 0

  def __post_init__(self):
    for name, least in (
      ('concepts', 2), ('strata', 1), ('examples', 10), ('positives', _LEAST),
      ('negatives', 2),
    ):  # fmt: skip
      if getattr(self, name) < least:
        raise errors.UserError(
          f'--{name}={getattr(self, name)} must be at least {least}.'
        )
    if self.strata > self.concepts:
      raise errors.UserError(
        f'--strata={self.strata} are more than --concepts={self.concepts}.'
      )


def from_analysis(path: str) -> tuple[str, str]:
  """The dictionary and the store that `analyse` read.

  Raises:
    UserError: the folder is not of `analyse`.
  """
  config = run.read(path).get('config') or {}
  asked = config.get('analyse')
  if not isinstance(asked, Mapping) or not {'sae', 'store'} <= asked.keys():
    raise errors.UserError(
      f'--analysis={path} is no folder that analyse wrote: give --sae and '
      '--store.'
    )
  return asked['sae'], asked['store']


@dataclasses.dataclass(frozen=True)
class Source:
  """Concepts of one kind, on train and held-out rows: [n, C] activations."""

  name: str
  train_nC: np.ndarray
  test_nC: np.ndarray


@dataclasses.dataclass(frozen=True)
class Subject:
  """All that concepts are explained from and tried on."""

  config: InterpretConfig
  store: store_lib.Store
  stream: store_lib.Stream
  train: reading.Rows
  test: reading.Rows
  train_texts: Sequence[str]
  test_texts: Sequence[str]
  concepts: np.ndarray
  stratum: np.ndarray
  energy: np.ndarray
  sources: Sequence[Source]


def _sources(
  train: reading.Rows, test: reading.Rows, concepts: np.ndarray, seed: int
) -> list[Source]:
  """The SAE's concepts, and others that fire as often."""
  own = [np.asarray(r.z_nS[:, concepts].todense()) for r in (train, test)]
  rate_C = (own[0] > 0).mean(0)
  rng = np.random.default_rng(seed)
  d, c = train.x_nD.shape[1], len(concepts)
  pick = np.zeros((d, c), np.float32)
  chosen = rng.permutation(d)
  chosen = np.resize(chosen, c)
  # Where there are more concepts than dimensions, these come with both signs.
  sign = np.where(np.arange(c) // d % 2 == 0, 1, -1) * rng.choice([-1, 1])
  pick[chosen, np.arange(c)] = sign
  found = [Source('sae', *own)]
  for name, direction_DC in (
    ('dimension', pick), ('random', rng.normal(size=(d, c))),
  ):  # fmt: skip
    along = [r.x_nD @ direction_DC.astype(np.float32) for r in (train, test)]
    found.append(Source(name, *interpretation.fire_alike(*along, rate_C)))
  return found


def read(config: InterpretConfig) -> Subject:
  """Loads everything, and draws the concepts.

  Raises:
    UserError, StoreError: something does not fit.
  """
  sae, variables = reading.load(config.sae)
  store = store_lib.Store(config.store)
  stream = reading.choose_stream(store, config.sae, config.stream)
  of = lambda split, seed: reading.read(
    sae, variables, stream, split, config.examples, seed
  )
  train, test = of('train', config.seed), of(config.split, config.seed + 1)
  energy_S = np.asarray(train.z_nS.mean(0)).ravel()
  live_S = np.asarray((train.z_nS != 0).sum(0)).ravel() >= _LEAST
  if live_S.sum() < 2:
    raise errors.UserError(
      f'{int(live_S.sum())} concepts of {config.sae} fire in train of stream '
      f'{stream.name}; there is nothing to explain.'
    )
  concepts, stratum = interpretation.draw_by_energy(
    energy_S, live_S, config.concepts, config.strata, config.seed
  )
  texts = [
    reading.describe(store, r.pair_N, config.dataset) for r in (train, test)
  ]
  return Subject(
    config, store, stream, train, test, *texts, concepts, stratum,
    energy_S[concepts], _sources(train, test, concepts, config.seed),
  )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Prepared:
  """A source's concepts: what explains them, and what they are tried on."""

  source: Source
  train_NC: np.ndarray
  test_NC: np.ndarray
  evidence: Sequence[explainers.Evidence]
  trials: Sequence[interpretation.Trial]


def prepare(s: Subject, source: Source) -> Prepared:
  """Draws examples; nothing is asked."""
  c = s.config
  train_NC = interpretation.strongest(
    source.train_nC, s.train.example_n, s.train.n
  )
  test_NC = interpretation.strongest(source.test_nC, s.test.example_n, s.test.n)
  x_train_ND, x_test_ND = s.train.pooled(), s.test.pooled()
  evidence, trials = [], []
  for j in range(train_NC.shape[1]):
    a_N = train_NC[:, j]
    shown = interpretation.shown(a_N, _TOP, _SPREAD, _SILENT, c.seed + j)
    evidence.append(
      explainers.evidence(a_N, shown.fires, shown.silent, s.train_texts)
    )
    like_D = x_train_ND[a_N > 0].mean(0) if (a_N > 0).any() else x_train_ND[0]
    trials.append(
      interpretation.trial(
        test_NC[:, j], x_test_ND, like_D, c.positives, c.negatives, c.seed + j
      )
    )
  return Prepared(source, train_NC, test_NC, evidence, trials)


def trial_texts(s: Subject, prepared: Prepared) -> list[list[str]]:
  """Descriptions that each concept's explanation is tried on."""
  return [[s.test_texts[i] for i in t.examples] for t in prepared.trials]


def cost(s: Subject, prepared: Sequence[Prepared], endpoint) -> explainers.Cost:
  """What a judge would take: every trial twice, for another's explanation."""
  evidence = [e for p in prepared for e in p.evidence]
  trials = [
    t
    for p in prepared
    for texts, trial in zip(trial_texts(s, p), p.trials, strict=True)
    if can_be_tried(trial)
    for t in (texts, texts)
  ]
  return explainers.cost(endpoint, evidence, trials)


def can_be_tried(t: interpretation.Trial) -> bool:
  return len(t.fires) >= _LEAST and len(t.random) + len(t.hard) > 0
