"""Concepts to interpret: drawn, read, and set beside others that fire alike."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math

import numpy as np

from saejax import errors
from saejax import run
from saejax import store as store_lib
from saejax.analysis import interpretation
from saejax.pipeline import interpreting_explainers as explainers
from saejax.pipeline import interpreting_reading as reading

_TOP, _SPREAD, _SILENT = 10, 5, 8  # Examples that a concept is explained from.
# Held-out examples that fire and that do not, for a concept to be scored.
_LEAST, _LEAST_SILENT = 3, 10
# Of fewer examples none is eligible.
_LEAST_EXAMPLES = math.ceil(
  interpretation.LEAST_EXAMPLES / interpretation.MOST_SHARE
)


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
    strata: equal parts of the eligible concepts, by energy.
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
      ('concepts', 2), ('strata', 1), ('examples', _LEAST_EXAMPLES),
      ('positives', _LEAST), ('negatives', _LEAST_SILENT),
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
  """All that concepts are explained from and tried on.

  Attributes:
    eligible_S: concepts of the dictionary to draw from.
    concepts: those that are drawn, with the stratum and the energy of each.
  """

  config: InterpretConfig
  store: store_lib.Store
  stream: store_lib.Stream
  train: reading.Rows
  test: reading.Rows
  train_texts: Sequence[str]
  test_texts: Sequence[str]
  eligible_S: np.ndarray
  concepts: np.ndarray
  stratum: np.ndarray
  energy: np.ndarray
  sources: Sequence[Source]


def sources(
  train: reading.Rows, test: reading.Rows, concepts: np.ndarray, seed: int
) -> list[Source]:
  """The SAE's concepts, and others that fire in as many examples."""
  own = [np.asarray(r.z_nS[:, concepts].todense()) for r in (train, test)]
  top = lambda z_nC, least: interpretation.strongest(
    z_nC, train.example_n, train.n, least
  )
  count_C = (top(own[0], 0) > 0).sum(0)
  d, c = train.x_nD.shape[1], len(concepts)
  directions = {
    'dimension': interpretation.dimensions(d, c, (seed, 0)),
    'random': np.random.default_rng((seed, 1)).normal(size=(d, c)),
    'whitened': interpretation.whitened(train.x_nD, c, (seed, 2)),
  }
  found = [Source('sae', *own)]
  for name, direction_DC in directions.items():
    along = [r.x_nD @ direction_DC.astype(np.float32) for r in (train, test)]
    alike = interpretation.fire_alike(*along, top(along[0], -np.inf), count_C)
    found.append(Source(name, *alike))
  return found


def _check_eligible(eligible_S: np.ndarray, c: InterpretConfig, n: int) -> None:
  """UserError where there are too few concepts to draw from."""
  if eligible_S.sum() >= 2:
    return
  raise errors.UserError(
    f'{int(eligible_S.sum())} of {len(eligible_S)} concepts of {c.sae} fire in '
    f'at least {interpretation.LEAST_EXAMPLES} and at most '
    f'{interpretation.MOST_SHARE:.0%} of the {n} examples of train that are '
    'read; two or more must. Give more --examples, or a larger store.'
  )


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
  texts = [
    reading.describe(store, r.pair_N, config.dataset) for r in (train, test)
  ]
  eligible_S = interpretation.eligible(train.examples_that_fire(), train.n)
  _check_eligible(eligible_S, config, train.n)
  energy_S = np.asarray(train.z_nS.mean(0)).ravel()
  concepts, stratum = interpretation.draw_by_energy(
    energy_S, eligible_S, config.concepts, config.strata, config.seed
  )
  return Subject(
    config, store, stream, train, test, *texts, eligible_S, concepts, stratum,
    energy_S[concepts], sources(train, test, concepts, config.seed),
  )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Prepared:
  """A source's concepts: what explains them, and what they are tried on.

  Trials are None of what is not eligible, or fires for too few or too many
  held-out examples.
  """

  source: Source
  train_NC: np.ndarray
  test_NC: np.ndarray
  evidence: Sequence[explainers.Evidence]
  trials: Sequence[interpretation.Trial | None]


def prepare(s: Subject, source: Source) -> Prepared:
  """Draws examples; nothing is asked."""
  c = s.config
  train_NC = interpretation.strongest(
    source.train_nC, s.train.example_n, s.train.n
  )
  test_NC = interpretation.strongest(source.test_nC, s.test.example_n, s.test.n)
  x_train_ND, x_test_ND = s.train.pooled(), s.test.pooled()
  eligible_C = interpretation.eligible((train_NC > 0).sum(0), s.train.n)
  evidence, trials = [], []
  for j in range(train_NC.shape[1]):
    a_N = train_NC[:, j]
    shown = interpretation.shown(a_N, _TOP, _SPREAD, _SILENT, c.seed + j)
    evidence.append(
      explainers.evidence(a_N, shown.fires, shown.silent, s.train_texts)
    )
    like_D = x_train_ND[a_N > 0].mean(0) if (a_N > 0).any() else x_train_ND[0]
    t = interpretation.trial(
      test_NC[:, j], x_test_ND, like_D, c.positives, c.negatives, c.seed + j
    )
    trials.append(t if eligible_C[j] and can_be_tried(t) else None)
  return Prepared(source, train_NC, test_NC, evidence, trials)


def can_be_tried(t: interpretation.Trial) -> bool:
  silent = len(t.random) + len(t.hard)
  return len(t.fires) >= _LEAST and silent >= _LEAST_SILENT


def trial_texts(s: Subject, t: interpretation.Trial) -> list[str]:
  """Descriptions that an explanation is tried on."""
  return [s.test_texts[i] for i in t.examples]


def cost(s: Subject, prepared: Sequence[Prepared], endpoint) -> explainers.Cost:
  """What a judge would take: every trial twice, for another's explanation."""
  evidence = [e for p in prepared for e in p.evidence]
  trials = [trial_texts(s, t) for p in prepared for t in p.trials if t]
  return explainers.cost(endpoint, evidence, 2 * trials)
