"""On labelled data: what concepts read, and whether bridges are true."""

import csv
import dataclasses
import os
from typing import Any

import jax
import numpy as np

from saejax import encode
from saejax import results
from saejax import types
from saejax.analysis import factors
from saejax.data import scenes
from saejax.pipeline import findings
from saejax.train import calibrate

PROBE_LEAST, READ_LEAST = 0.95, 0.9  # AUROC.
ASSIGN_LEAST = 0.8  # AUROC on val at which a bridge's end reads a factor.
TOP = 20
_RANDOM_PAIRS = 20_000
_UNTRAINED_SEED = 1_000_003
Entries = dict[str, dict[str, Any]]


def _untrained(s: findings.Subject) -> types.ArrayTree:
  """The same SAE before training, from another seed, at the same L0."""
  fresh = s.sae.init(
    jax.random.key(_UNTRAINED_SEED), method=lambda module: module.w_dec
  )
  params = dict(fresh['params'])
  constants = dict(s.variables['constants'])
  variables = {'params': params, 'constants': constants}
  if 'threshold' in constants:
    constants['threshold'] = _threshold(s, variables, s.sae.k)
  elif 'threshold' in params or not s.sae.meets_k:
    # What decides L0 was learned: put a threshold where as many pass on val.
    l0 = np.mean([side.z_nS.nnz / len(side.rows_n) for side in s.val])
    threshold = _threshold(s, variables, l0)
    name, sign = ('threshold', 1) if 'threshold' in params else ('b_enc', -1)
    params[name] = np.full(s.sae.s, sign * threshold, np.float32)
  return variables


def _threshold(s: findings.Subject, variables, k: float) -> np.float32:
  """What k pre-activations a row exceed on val, of both modalities alike."""
  pre = jax.jit(lambda v, x, m: s.sae.apply(v, x, m, method='preactivations'))

  def blocks():
    for side in s.val:
      m = encode.modality_index(s.sae, side.stream)
      modality_n = np.full(len(side.x_nD), m, np.int32)
      yield (
        np.asarray(pre(variables, side.x_nD, modality_n)),
        0.5 / len(side.x_nD),
      )

  return calibrate.exact_threshold(blocks, k)


@dataclasses.dataclass(frozen=True)
class Candidates:
  """Scores [n, S] that a reader may be chosen from, on val and on test."""

  val: Any
  test: Any


def _candidates(
  s: findings.Subject, which: int, name: str
) -> dict[str, Candidates]:
  """Concepts, and what they are compared with, for images (0) or texts (1)."""
  val, test = s.val[which], s.test[which]
  d = s.sae.d
  random_DS = np.random.default_rng(0).normal(size=(d, s.sae.s))
  train_nD = s.training_rows(name)
  _, axes_DD = np.linalg.eigh(np.cov(train_nD, rowvar=False))
  untrained = _untrained(s)
  again = lambda side: (
    encode.encode(s.sae, untrained, side.stream, side.rows_n).z_nS
  )
  project = lambda side, w_DK: side.x_nD @ w_DK
  return {
    'sae': Candidates(val.z_nS, test.z_nS),
    'random': Candidates(project(val, random_DS), project(test, random_DS)),
    'pca': Candidates(
      factors.both_signs(project(val, axes_DD)),
      factors.both_signs(project(test, axes_DD)),
    ),
    'untrained': Candidates(again(val), again(test)),
  }


def _columns(z, index_F: np.ndarray) -> np.ndarray:
  picked = z[:, index_F]
  return picked.toarray() if hasattr(picked, 'toarray') else picked


@dataclasses.dataclass(frozen=True)
class FactorTable:
  """Readers of every factor that a probe reads; columns are [F]."""

  names: list[str]
  probe_F: np.ndarray
  readers: dict[str, factors.Readers]
  scores_nF: np.ndarray  # Of each factor's own reader, on test.
  labels_nF: np.ndarray
  group_n: np.ndarray

  @property
  def beats_F(self) -> np.ndarray:
    """Whether the concept reads better than everything it is compared with."""
    rivals = [r.test_F for name, r in self.readers.items() if name != 'sae']
    return self.readers['sae'].test_F > np.max(rivals, axis=0)


def factor_table(s: findings.Subject, which: int) -> FactorTable:
  """Chooses readers on val and scores them on test, for probed factors."""
  name = ('image', 'text')[which]
  val, test = s.val[which], s.test[which]
  label_val, label_test = val.labels(), test.labels()
  stream = s.test[which].stream
  train_nD = s.training_rows(name)
  rows_N = stream.rows('train')
  picked = np.linspace(0, len(rows_N) - 1, len(train_nD)).astype(int)
  label_train = stream.column('labels')[rows_N[picked]].astype(bool)
  usable_F = factors.enough(label_val) & factors.enough(label_test)
  probe_nF = factors.linear_probes(train_nD, label_train, test.x_nD)
  probe_F = factors.paired_auroc(probe_nF, label_test)
  kept = np.flatnonzero(usable_F & (probe_F >= PROBE_LEAST))
  readers = {
    kind: factors.best_readers(
      c.val, label_val[:, kept], c.test, label_test[:, kept]
    )
    for kind, c in _candidates(s, which, name).items()
  }
  return FactorTable(
    names=[stream.labels[f] for f in kept],
    probe_F=probe_F[kept],
    readers=readers,
    scores_nF=_columns(test.z_nS, readers['sae'].index_F),
    labels_nF=label_test[:, kept],
    group_n=test.group_n,
  )


def factor_results(table: FactorTable, name: str, split: str) -> Entries:
  """How many factors single concepts read, and whether they beat chance."""
  n = len(table.names)
  entry = lambda v, **k: results.entry(v, split=split, **k)
  kinds = [f.split('=')[0] for f in table.names]
  entries = {
    f'factors/{name}/probed': entry(n, unit='factors'),
    f'factors/{name}/probed_shapes': entry(
      kinds.count('shape'), unit='factors'
    ),
  }
  if not n:
    return entries
  read_F = table.readers['sae'].test_F >= READ_LEAST
  both_F = read_F & table.beats_F
  share = lambda kept_F: entry(float(kept_F.mean()), n=n)
  entries |= {
    f'factors/{name}/read': entry(
      factors.share_reading(
        table.scores_nF, table.labels_nF, table.group_n, READ_LEAST
      )
    ),
    f'factors/{name}/beats': share(table.beats_F),
    f'factors/{name}/read_and_beats': share(both_F),
  }
  for kind, readers in table.readers.items():
    entries[f'factors/{name}/mean_auroc_{kind}'] = entry(
      float(readers.test_F.mean()), n=n
    )
  return entries


def bridge_truth(
  s: findings.Subject, analysis: findings.Analysis
) -> tuple[Entries, np.ndarray, factors.Readings, factors.Readings]:
  """How many of the strongest cross bridges join concepts that read the same.

  Concepts are assigned on val what they read; bridges are ranked on the
  reported split. Random pairs of an image and a text concept stand beside.
  """
  names = s.test[0].stream.labels
  shared = s.val[0].labels().any(0) & s.val[1].labels().any(0)
  read = lambda side: factors.readings(
    side.z_nS, side.labels() & shared[None], ASSIGN_LEAST
  )
  image, text = read(s.val[0]), read(s.val[1])
  is_world = s.store.about['dataset']['name'] == 'scenes'
  related = scenes.related() if is_world else np.eye(len(names), dtype=bool)
  b = analysis.bridges
  kind_P = factors.bridge_kinds(
    image, text, b['image_concept'], b['text_concept'], related
  )
  score_S = analysis.concepts['modality_score']
  rng = np.random.default_rng(0)
  any_of = lambda where_S: rng.choice(np.flatnonzero(where_S), _RANDOM_PAIRS)
  chance = np.zeros(0, 'U8')
  if (score_S > 0.9).any() and (score_S < 0.1).any():
    chance = factors.bridge_kinds(
      image, text, any_of(score_S > 0.9), any_of(score_S < 0.1), related
    )
  entry = lambda v, k: results.entry(v, n=k, split=s.split)
  share = lambda kinds, what: float((kinds == what).mean()) if len(kinds) else 0
  real_P = b['cross'] & b['replicated']
  entries = {
    'bridges/random_true': entry(share(chance, 'true'), len(chance)),
    'bridges/random_related': entry(share(chance, 'related'), len(chance)),
    'bridges/replicated_true': entry(
      int((real_P & (kind_P == 'true')).sum()), int(real_P.sum())
    ),
  }
  # Strongest first: of all cross bridges, and of those that replicate.
  for name, where_P in (('top', b['cross']), ('real_top', real_P)):
    top = np.flatnonzero(where_P)[:TOP]
    kinds, n = kind_P[top], len(top)
    true = top[kinds == 'true']
    ends = b['image_concept'][true], b['text_concept'][true]
    covered = np.unique(factors.common_factors(image, text, *ends))
    entries |= {
      f'bridges/{name}{TOP}': entry(n, n),
      f'bridges/{name}{TOP}_true': entry(share(kinds, 'true'), n),
      f'bridges/{name}{TOP}_related': entry(share(kinds, 'related'), n),
      f'bridges/{name}{TOP}_true_factors': entry(len(covered), n),
    }
  return entries, kind_P, image, text


def write_table(out: str, tables: dict[str, FactorTable]) -> None:
  """Writes `factors.csv`: one line a factor and modality."""
  with open(
    os.path.join(out, results.FACTORS), 'w', newline='', encoding='utf-8'
  ) as f:
    w = csv.writer(f)
    kinds = ('sae', 'random', 'pca', 'untrained')
    w.writerow(
      ['modality', 'factor', 'probe', 'concept', 'val', *kinds, 'beats']
    )
    for name, t in tables.items():
      for i, factor in enumerate(t.names):
        tests = [f'{t.readers[k].test_F[i]:.4f}' for k in kinds]
        w.writerow(
          [
            name, factor, f'{t.probe_F[i]:.4f}', t.readers['sae'].index_F[i],
            f'{t.readers["sae"].val_F[i]:.4f}', *tests, int(t.beats_F[i]),
          ]
        )  # fmt: skip


def read_factors(
  s: findings.Subject, analysis: findings.Analysis, out: str
) -> findings.Analysis:
  """Adds to an analysis what the store's labels let it say."""
  tables = {
    name: factor_table(s, which) for which, name in enumerate(('image', 'text'))
  }
  entries = dict(analysis.entries)
  for name, table in tables.items():
    entries |= factor_results(table, name, s.split)
  found, kind_P, image, text = bridge_truth(s, analysis)
  write_table(out, tables)
  kinds = ('unread', 'other', 'related', 'true')
  return dataclasses.replace(
    analysis,
    entries=entries | found,
    concepts=analysis.concepts
    | {
      'factor_image': image.factor_S.astype(np.int32),
      'factor_image_auroc': image.auroc_S,
      'factor_text': text.factor_S.astype(np.int32),
      'factor_text_auroc': text.auroc_S,
    },
    bridges=analysis.bridges
    | {'kind': np.array([kinds.index(k) for k in kind_P], np.int8)},
  )
