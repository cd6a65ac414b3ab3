"""What analyses say of a learned dictionary whose rows have known causes.

Shared atoms, atoms of one modality, and pairs of an image atom and a text atom:
bridges, which point alike and fire together; orthogonal ones that fire
together; and aligned ones that never do. Prints, for each seed and for all of
them, precision and recall of modality classes and of bridges:

  PYTHONPATH=. python -m tests.pipeline.planted_study [SEEDS]
"""

from collections.abc import Sequence
import dataclasses
import os
import sys
import tempfile

import numpy as np
import scipy.stats

from saejax.analysis import modality
from saejax.pipeline import findings
from saejax.train import config as config_lib
from saejax.train import loop
from tests import planted

D, SHARED, OWN, PAIRS = 96, 12, 8, 10
ROWS, STEPS, K = 30_000, 1500, 4
# With as many concepts as atoms, some concept settles between the two ends of a
# bridge, whose atoms are then not found: spare ones take such ends over.
LATENTS_AN_ATOM = 2
COSINE = 0.4  # Of bridges and of aligned pairs.
_CHANCE, _SAID, _NOISE = 0.08, 0.8, 0.01
SPLITS = (0.6, 0.2, 0.2)
SEEN = 1000  # Rows of train in which an atom fired, for it to count.
FOUND = 0.9  # Cosine from which a concept is an atom's.
KINDS = ('bridge', 'orthogonal', 'apart')


@dataclasses.dataclass(frozen=True)
class Plant:
  """Atoms [A, D], the class of each, pairs of each kind, and what fired."""

  atoms_AD: np.ndarray
  class_A: np.ndarray
  pairs: dict[str, list[tuple[int, int]]]
  image_ND: np.ndarray
  text_ND: np.ndarray
  count_A: np.ndarray


def plant(seed: int, n: int = ROWS) -> Plant:
  rng = np.random.default_rng(seed)
  basis_DD = np.linalg.qr(rng.normal(size=(D, D)))[0]
  rows = iter(basis_DD)
  take = lambda m: np.stack([next(rows) for _ in range(m)])
  fires = lambda m: rng.random((n, m)) < _CHANCE
  said = lambda on_NA: on_NA & (rng.random(on_NA.shape) < _SAID)
  tilt = lambda x, y: COSINE * x + np.sqrt(1 - COSINE**2) * y
  # Atoms, their class, firing in images, and firing in texts.
  groups, pairs, none = [], {}, lambda m: np.zeros((n, m), bool)
  on = fires(SHARED)
  groups.append((take(SHARED), 'shared', on, said(on)))
  groups.append((take(OWN), 'image', fires(OWN), none(OWN)))
  groups.append((take(OWN), 'text', none(OWN), fires(OWN)))
  first = SHARED + 2 * OWN
  for kind in KINDS:
    image_AD, other_AD, on = take(PAIRS), take(PAIRS), fires(PAIRS)
    text_AD = other_AD if kind == 'orthogonal' else tilt(image_AD, other_AD)
    in_text = fires(PAIRS) & ~on if kind == 'apart' else said(on)
    groups.append((image_AD, 'image', on, none(PAIRS)))
    groups.append((text_AD, 'text', none(PAIRS), in_text))
    pairs[kind] = [(first + p, first + PAIRS + p) for p in range(PAIRS)]
    first += 2 * PAIRS
  atoms_AD = np.concatenate([g[0] for g in groups])
  on_2NA = [np.concatenate([g[m] for g in groups], 1) for m in (2, 3)]

  def made(on_NA):
    z_NA = on_NA * rng.uniform(0.7, 1.3, on_NA.shape)
    x_ND = z_NA @ atoms_AD + _NOISE * rng.normal(size=(n, D))
    return x_ND.astype(np.float32)

  return Plant(
    atoms_AD=atoms_AD,
    class_A=np.concatenate([[g[1]] * len(g[0]) for g in groups]),
    pairs=pairs,
    image_ND=made(on_2NA[0]),
    text_ND=made(on_2NA[1]),
    count_A=on_2NA[0].sum(0) + on_2NA[1].sum(0),
  )


def study(folder: str, p: Plant, seed: int, steps: int = STEPS):
  """A dictionary learned on the plant, and its analysis."""
  store = planted.write_store(
    os.path.join(folder, 'store'), p.image_ND, p.text_ND, SPLITS
  )
  config = config_lib.TrainConfig(
    store=store, latents=LATENTS_AN_ATOM * len(p.atoms_AD), k=K, steps=steps,
    lr=5e-3, seed=seed, batch=256, mesh=(1, 1),
  )  # fmt: skip
  trained = loop.train(config, os.path.join(folder, 'run'), resume=False)
  s = findings.load_subject(trained, store, 'test')
  return s, findings.analyse_subject(s)


@dataclasses.dataclass(frozen=True)
class Rates:
  """How many were found, how many there are, and how many of both."""

  found: int
  true: int
  both: int

  @property
  def precision(self) -> float:
    return self.both / max(self.found, 1)

  @property
  def recall(self) -> float:
    return self.both / max(self.true, 1)

  def __str__(self) -> str:
    parts = []
    for name, n in (('precision', self.found), ('recall', self.true)):
      test = scipy.stats.binomtest(self.both, max(n, 1))
      low, high = test.proportion_ci(method='wilson')
      share = self.both / max(n, 1)
      parts.append(f'{name} {share:.3f} ({low:.3f} to {high:.3f}, n = {n})')
    return ', '.join(parts)


def _rates(found: set, true: set) -> Rates:
  return Rates(len(found), len(true), len(found & true))


def pooled(rates: Sequence[Rates]) -> Rates:
  """Those of several seeds, whose atoms have nothing to do with each other."""
  fields = map(dataclasses.astuple, rates)
  return Rates(*(sum(column) for column in zip(*fields, strict=True)))


def score(s: findings.Subject, found: findings.Analysis, p: Plant):
  """What was found of atoms, classes and bridges: Rates by name.

  A concept is that of the atom it points at. What points at none is wrong in
  any bridge, and in a class if it fires as often as atoms have to, for them to
  count; `stray` is the share of all activation that such concepts have, and
  `stray_classed` how many have a class, however seldom they fire. Of pairs that
  are no bridges it is told how many were taken for some.
  """
  cosine_SA = s.d_SD @ p.atoms_AD.T
  atom_S = np.where(cosine_SA.max(1) >= FOUND, cosine_SA.argmax(1), -1)
  seen = {int(a) for a in np.flatnonzero(p.count_A * SPLITS[0] >= SEEN)}
  count_S = found.concepts['count_image'] + found.concepts['count_text']
  often_S = count_S * SPLITS[0] / SPLITS[2] >= SEEN
  class_S = found.concepts['modality_class']
  energy_S = sum(np.asarray(side.z_nS.sum(0)).ravel() for side in s.test)
  scores = {
    'atoms': _rates(seen & set(atom_S.tolist()), seen),
    'stray': float(energy_S[atom_S == -1].sum() / energy_S.sum()),
    'stray_classed': int((class_S[atom_S == -1] > 0).sum()),
  }
  for name in modality.CLASSES[1:]:
    true = {a for a in seen if p.class_A[a] == name}
    own_S = class_S == modality.CLASSES.index(name)
    got = {
      int(a) if a >= 0 else ('none', int(i))
      for i, a in enumerate(atom_S)
      if own_S[i] and (int(a) in seen or (a == -1 and often_S[i]))
    }
    scores[name] = _rates(got, true)
  b = found.bridges
  real_P = b['replicated'] & b['cross'] & b['aligned']
  got = {
    tuple(int(atom_S[c]) if atom_S[c] >= 0 else ('none', int(c)) for c in pair)
    for pair in zip(
      b['image_concept'][real_P], b['text_concept'][real_P], strict=True
    )
  }
  true = {pair for pair in p.pairs['bridge'] if seen.issuperset(pair)}
  scores['bridges'] = _rates(got, true)
  for kind in KINDS[1:]:
    scores[kind] = len(got & set(p.pairs[kind]))
  return scores


if __name__ == '__main__':
  every = []
  for seed_ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
    with tempfile.TemporaryDirectory() as at:
      plant_ = plant(seed_)
      every.append(score(*study(at, plant_, seed_), plant_))
    for name_, found_ in every[-1].items():
      print(f'seed {seed_}, {name_}: {found_}', flush=True)
  for name_, found_ in every[0].items():
    if isinstance(found_, Rates):
      print(f'all, {name_}: {pooled([e[name_] for e in every])}')
