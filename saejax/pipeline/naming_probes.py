"""Labels by a few concepts: sparse probes, splitting and absorption."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from saejax import encode
from saejax import errors
from saejax import results
from saejax.analysis import absorption
from saejax.analysis import bootstrap
from saejax.analysis import factors
from saejax.analysis import probing
from saejax.data import scenes
from saejax.pipeline import findings
from saejax.pipeline import naming_scores
from saejax.pipeline import reading
from saejax.store import manifest

KS = (1, 2, 5)
_MOST = max(KS)
_ROWS = 30_000  # Training rows that probes are fit on.
Entries = dict[str, dict[str, Any]]
Hierarchy = Mapping[str, Sequence[str]]


def read_hierarchy(path: str | None, s: findings.Subject) -> Hierarchy:
  """Kinds of labels: parent to children; of the procedural world, its own.

  Raises:
    UserError: the file is not understood, or names what is no label.
  """
  labels = s.test[0].stream.labels
  if path is None:
    dataset = s.store.about.get('dataset')
    is_world = isinstance(dataset, dict) and dataset.get('name') == 'scenes'
    return scenes.hierarchy() if is_world and labels else {}
  try:
    found = manifest.read_json(path, errors.UserError)
  except OSError as e:
    raise errors.UserError(
      f'--hierarchy={path} cannot be read: {e.strerror}.'
    ) from None
  is_list = lambda v: isinstance(v, list) and all(isinstance(c, str) for c in v)
  if not all(map(is_list, found.values())):
    raise errors.UserError(
      f'--hierarchy={path} is not understood: expected an object of a parent '
      'and the list of its children, such as {"red": ["red circle"]}.'
    )
  named = {*found, *(c for children in found.values() for c in children)}
  if unknown := sorted(named - set(labels)):
    raise errors.UserError(
      f'--hierarchy={path} names {unknown[0]!r}, which is no label of '
      f'{s.store.path}; it has {len(labels)} labels.'
    )
  return found


@dataclasses.dataclass(frozen=True)
class Probes:
  """Probes of all factors of one modality that are common enough; [F].

  Attributes:
    names: of the factors.
    chosen_Fk: their concepts, best first.
    by_k: probes on k concepts.
    val_f1_kF: F1 on val of probes on 1, 2, … concepts.
    raw: probes on whole rows.
    found_nF: which test rows those call positive.
    direction_FD: their directions.
    shuffled_F: AUROC of one concept chosen for shuffled labels.
  """

  names: list[str]
  chosen_Fk: np.ndarray
  by_k: dict[int, probing.Probed]
  val_f1_kF: np.ndarray
  raw: probing.Probed
  found_nF: np.ndarray
  direction_FD: np.ndarray
  shuffled_F: np.ndarray
  label_nF: np.ndarray

  @property
  def splits_F(self) -> np.ndarray:
    return probing.splits(self.val_f1_kF)


def probe(s: findings.Subject, m: int) -> Probes | None:
  """Fits on train, cuts on val, scores on the reported split."""
  stream, val, test = s.test[m].stream, s.val[m], s.test[m]
  rows_N = stream.rows('train')
  picked = np.linspace(0, len(rows_N) - 1, min(len(rows_N), _ROWS))
  train = encode.encode(s.sae, s.variables, stream, rows_N[picked.astype(int)])
  labels = [stream.column('labels')[train.rows_n].astype(bool)]
  labels += [val.labels(), test.labels()]
  kept = np.flatnonzero(np.all([factors.enough(nF) for nF in labels], axis=0))
  if not len(kept):
    return None
  y_train, y_val, y_test = (nF[:, kept] for nF in labels)
  chosen_Fk = probing.choose(train.z_nS, y_train, _MOST)
  by_k, val_f1 = {}, []
  for k in range(1, _MOST + 1):
    at_val, at_test = probing.sparse_probe(
      train.z_nS, y_train, chosen_Fk[:, :k], val.z_nS, test.z_nS
    )
    if k in KS:
      by_k[k] = probing.score(at_val, y_val, at_test, y_test)
    called = at_val >= probing.best_threshold(at_val, y_val)
    val_f1.append(probing.f1(probing.f1_counts(called, y_val).sum(0)))
  mean_D, w_DF = factors.linear_weights(train.x_nD, y_train)
  raw_val, raw_test = ((side.x_nD - mean_D) @ w_DF for side in (val, test))
  order = np.random.default_rng(0).permutation(len(y_train))
  drawn_Fk = probing.choose(train.z_nS, y_train[order], 1)
  (at_test,) = probing.sparse_probe(
    train.z_nS, y_train[order], drawn_Fk, test.z_nS
  )
  return Probes(
    names=[stream.labels[f] for f in kept],
    chosen_Fk=chosen_Fk,
    by_k=by_k,
    val_f1_kF=np.stack(val_f1),
    raw=probing.score(raw_val, y_val, raw_test, y_test),
    found_nF=raw_test >= probing.best_threshold(raw_val, y_val),
    direction_FD=(w_DF / np.linalg.norm(w_DF, axis=0)).T,
    shuffled_F=factors.paired_auroc(at_test, y_test),
    label_nF=y_test,
  )


def probe_entries(p: Probes, name: str, s: findings.Subject, m: int) -> Entries:
  """Mean AUROC over factors and mean F1 over groups, of every probe."""
  test = s.test[m]
  mean = lambda v: naming_scores.mean_over('factors', v, s.split)
  entries = {
    f'probing/{name}/factors': results.entry(len(p.names), split=s.split),
    f'probing/{name}/shuffled/mean_auroc': mean(p.shuffled_F),
    f'splitting/{name}/mean_concepts': mean(p.splits_F),
    f'splitting/{name}/share_split': mean(p.splits_F > 1),
  }
  for kind, found in [
    ('raw', p.raw),
    *((f'k{k}', v) for k, v in p.by_k.items()),
  ]:
    _, sums_GK = bootstrap.sum_by(test.group_n, found.counts_nK)
    entries[f'probing/{name}/{kind}/mean_auroc'] = mean(found.auroc_F)
    entries[f'probing/{name}/{kind}/mean_f1'] = results.entry(
      bootstrap.estimate(probing.mean_f1, sums_GK, len(test.rows_n)),
      split=s.split,
    )
  return entries


@dataclasses.dataclass(frozen=True)
class Absorbed:
  """A parent's rows on the reported split, and what becomes of them.

  Attributes:
    parent: its place among the factors that are probed.
    children: how many of its children are probed.
    rows_n: rows that hold the parent and that its probe finds.
    silent_n: of them, where its main concept is silent.
    absorbed_n: where a child's concept stands for it.
    null_n: where a concept of another parent's child would.
  """

  parent: int
  children: int
  rows_n: np.ndarray
  silent_n: np.ndarray
  absorbed_n: np.ndarray
  null_n: np.ndarray


def absorptions(
  p: Probes, s: findings.Subject, m: int, hierarchy: Hierarchy
) -> list[Absorbed]:
  """Absorption of every parent that a probe of whole rows reads well."""
  # Those that no concept is correlated with are left out.
  place = {n: i for i, n in enumerate(p.names) if p.chosen_Fk[i, 0] >= 0}
  families = [
    (place[parent], [place[c] for c in children if c in place])
    for parent, children in hierarchy.items()
    if parent in place
  ]
  read = lambda f: p.raw.auroc_F[f] >= reading.PROBE_LEAST
  families = [(f, c) for f, c in families if c and read(f)]
  found = []
  for at, (parent, children) in enumerate(families):
    rows_n = np.flatnonzero(p.label_nF[:, parent] & p.found_nF[:, parent])
    z_nS, main = s.test[m].z_nS[rows_n], int(p.chosen_Fk[parent, 0])
    others = [
      c
      for f, c in families[at + 1 :] + families[:at]
      if not set(c) & set(children)
    ]
    absorb = lambda own, z_nS=z_nS, main=main, parent=parent: (
      absorption.absorbed(
        z_nS, s.d_SD, p.direction_FD[parent], main, p.chosen_Fk[own, 0]
      )
    )
    found.append(
      Absorbed(
        parent=parent,
        children=len(children),
        rows_n=rows_n,
        silent_n=z_nS[:, [main]].toarray().ravel() == 0,
        absorbed_n=absorb(children),
        null_n=absorb(others[0]) if others else np.zeros(len(rows_n), bool),
      )
    )
  return found


def absorption_entries(
  found: list[Absorbed], name: str, s: findings.Subject, m: int
) -> Entries:
  """Mean shares over parents, with bounds over groups."""
  entries = {
    f'absorption/{name}/parents': results.entry(len(found), split=s.split)
  }
  if not found:
    return entries
  group_n = s.test[m].group_n
  for key in ('silent', 'absorbed', 'null'):
    counts_nK = np.zeros((len(group_n), 2 * len(found)))
    for i, a in enumerate(found):
      counts_nK[a.rows_n, i] = getattr(a, f'{key}_n')
      counts_nK[a.rows_n, len(found) + i] = 1
    _, sums_GK = bootstrap.sum_by(group_n, counts_nK)

    def share(sums_K):
      part, rows = np.split(sums_K, 2, axis=-1)
      return (part / np.maximum(rows, 1)).mean(-1)

    entries[f'absorption/{name}/{key}'] = results.entry(
      bootstrap.estimate(share, sums_GK, sum(len(a.rows_n) for a in found)),
      split=s.split,
    )
  return entries


def probe_table(tables: Mapping[str, Probes]) -> list[list[Any]]:
  """One line a modality and factor, after the line of names."""
  head = ['modality', 'factor', 'positives', 'raw_auroc', 'raw_f1', 'splits']
  head += [f'{what}_k{k}' for k in KS for what in ('auroc', 'f1')]
  lines = [[*head, 'shuffled_auroc', 'concepts']]
  number = lambda v: f'{v:.4f}'
  for name, p in tables.items():
    for i, factor in enumerate(p.names):
      line = [name, factor, int(p.label_nF[:, i].sum())]
      line += [number(p.raw.auroc_F[i]), number(p.raw.f1_F[i]), p.splits_F[i]]
      for k in KS:
        line += [number(p.by_k[k].auroc_F[i]), number(p.by_k[k].f1_F[i])]
      concepts = ' '.join(str(c) for c in p.chosen_Fk[i] if c >= 0)
      lines.append([*line, number(p.shuffled_F[i]), concepts])
  return lines


def absorption_table(
  tables: Mapping[str, Probes], found: Mapping[str, list[Absorbed]]
) -> list[list[Any]]:
  """One line a modality and parent, after the line of names."""
  lines = [['modality', 'parent', 'children', 'concept', 'rows', 'silent',
            'absorbed', 'null']]  # fmt: skip
  for name, absorbed in found.items():
    p = tables[name]
    for a in absorbed:
      shares = [
        f'{part_n.mean():.4f}' if len(part_n) else ''
        for part_n in (a.silent_n, a.absorbed_n, a.null_n)
      ]
      lines.append(
        [name, p.names[a.parent], a.children, p.chosen_Fk[a.parent, 0],
         len(a.rows_n), *shares]
      )  # fmt: skip
  return lines
