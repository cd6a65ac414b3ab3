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
from saejax.pipeline import interpreting_pictures as pictures_lib
from saejax.pipeline import interpreting_reading as reading

# Examples that a concept is explained from: strongest, spread and silent ones.
_TOLD, _PICTURED = (10, 5, 8), (6, 3, 4)
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
    pictures: whether a judge sees pictures, in place of words.
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
  pictures: bool = False

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


def paths(
  sae: str | None, store: str | None, analysis: str | None
) -> tuple[str, str]:
  """The dictionary and the store, as they are given or as an analysis says.

  Raises:
    UserError: both are given, or neither.
  """
  if analysis:
    if sae or store:
      raise errors.UserError('Give --analysis, or --sae and --store.')
    return from_analysis(analysis)
  if not sae or not store:
    raise errors.UserError('Give --sae and --store, or --analysis.')
  return sae, store


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
    pictures: where they are to be shown.
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
  pictures: pictures_lib.Pictures | None = None


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
  data = reading.open_data(store, config.dataset)
  pictures = None
  if config.pictures:
    pictures = pictures_lib.open_pictures(store, stream, data)
  texts = [
    reading.describe(store, stream, r.pair_N, data) for r in (train, test)
  ]
  eligible_S = interpretation.eligible(train.examples_that_fire(), train.n)
  _check_eligible(eligible_S, config, train.n)
  energy_S = np.asarray(train.z_nS.mean(0)).ravel()
  concepts, stratum = interpretation.draw_by_energy(
    energy_S, eligible_S, config.concepts, config.strata, config.seed
  )
  return Subject(
    config, store, stream, train, test, *texts, eligible_S, concepts, stratum,
    energy_S[concepts], sources(train, test, concepts, config.seed), pictures,
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


def _with_pictures(
  s: Subject, e: explainers.Evidence, z_n: np.ndarray,
  fires_E: np.ndarray, silent_E: np.ndarray,
) -> explainers.Evidence:  # fmt: skip
  """Evidence with the pictures of its examples, lit where a concept fires."""
  pair_of = lambda examples: s.train.pair_N[examples].tolist()
  whole = s.pictures.whole
  silent = [whole(pair) for pair in pair_of(silent_E)]
  p, patch_n = reading.patches(s.train, s.store.about.get('patches'))
  if p is None or not len(fires_E):
    fires = [whole(pair) for pair in pair_of(fires_E)]
  else:
    lit_EP = reading.lit(z_n, s.train.example_n, patch_n, fires_E, p)
    fires = [
      s.pictures.lit(pair, lit_P)
      for pair, lit_P in zip(pair_of(fires_E), lit_EP, strict=True)
    ]
  return dataclasses.replace(e, pictures=fires, silent_pictures=silent)


def _evidence(s: Subject, z_n: np.ndarray, a_N: np.ndarray, seed: int):
  """What a concept is explained from."""
  counts = _PICTURED if s.pictures else _TOLD
  shown = interpretation.shown(a_N, *counts, seed)
  fires_E = shown.fires[np.argsort(-a_N[shown.fires], kind='stable')]
  found = explainers.evidence(a_N, fires_E, shown.silent, s.train_texts)
  if s.pictures is None:
    return found
  return _with_pictures(s, found, z_n, fires_E, shown.silent)


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
    evidence.append(_evidence(s, source.train_nC[:, j], a_N, c.seed + j))
    like_D = x_train_ND[a_N > 0].mean(0) if (a_N > 0).any() else x_train_ND[0]
    t = interpretation.trial(
      test_NC[:, j], x_test_ND, like_D, c.positives, c.negatives, c.seed + j
    )
    trials.append(t if eligible_C[j] and can_be_tried(t) else None)
  return Prepared(source, train_NC, test_NC, evidence, trials)


def can_be_tried(t: interpretation.Trial) -> bool:
  silent = len(t.random) + len(t.hard)
  return len(t.fires) >= _LEAST and silent >= _LEAST_SILENT


def trial_examples(
  s: Subject, t: interpretation.Trial
) -> list[explainers.Example]:
  """Descriptions, or whole pictures, that an explanation is tried on."""
  if s.pictures is None:
    return [s.test_texts[i] for i in t.examples]
  return [s.pictures.whole(i) for i in s.test.pair_N[t.examples].tolist()]


def cost(s: Subject, prepared: Sequence[Prepared], judge) -> explainers.Cost:
  """What a judge would take: every trial twice, for another's explanation."""
  evidence = [e for p in prepared for e in p.evidence]
  trials = [trial_examples(s, t) for p in prepared for t in p.trials if t]
  return explainers.cost(judge, evidence, 2 * trials)
