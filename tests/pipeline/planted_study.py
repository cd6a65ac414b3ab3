"""What analyses say of a learned dictionary whose rows have known causes.

Shared atoms, atoms of one modality, and pairs of an image atom and a text atom:
bridges, which point alike and fire together; orthogonal ones that fire
together; and aligned ones that never do. Prints, for three seeds, precision
and recall of modality classes and of bridges:

  PYTHONPATH=. python -m tests.pipeline.planted_study
"""

import dataclasses
import os
import tempfile

import numpy as np

from saejax.analysis import modality
from saejax.pipeline import findings
from saejax.train import config as config_lib
from saejax.train import loop
from tests import planted

D, SHARED, OWN, PAIRS = 96, 12, 8, 10
ROWS, STEPS, K = 30_000, 3000, 4
COSINE = 0.4  # Of bridges and of aligned pairs.
_CHANCE, _SAID, _NOISE = 0.08, 0.8, 0.01
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
    os.path.join(folder, 'store'), p.image_ND, p.text_ND, (0.6, 0.2, 0.2)
  )
  config = config_lib.TrainConfig(
    store=store, latents=len(p.atoms_AD), k=K, steps=steps, lr=5e-3, seed=seed,
    batch=512, mesh=(1, 1),
  )  # fmt: skip
  trained = loop.train(config, os.path.join(folder, 'run'), resume=False)
  s = findings.load_subject(trained, store, 'test')
  return s, findings.analyse_subject(s)


def _rates(found: set, true: set) -> tuple[float, float]:
  both = len(found & true)
  return both / max(len(found), 1), both / max(len(true), 1)


def score(s: findings.Subject, found: findings.Analysis, p: Plant):
  """Precision and recall of classes and bridges, and the share recovered.

  A concept is that of the atom it points at; what points at none is wrong
  wherever it turns up.
  """
  cosine_SA = s.d_SD @ p.atoms_AD.T
  atom_S = np.where(cosine_SA.max(1) >= FOUND, cosine_SA.argmax(1), -1)
  seen = {int(a) for a in np.flatnonzero(p.count_A * 0.6 >= SEEN)}
  kept = lambda a: a == -1 or a in seen
  scores = {'recovered': len(seen & set(atom_S.tolist())) / len(seen)}
  for name in modality.CLASSES[1:]:
    true = {a for a in seen if p.class_A[a] == name}
    own_S = found.concepts['modality_class'] == modality.CLASSES.index(name)
    got = {
      int(a) if a >= 0 else ('none', int(i))
      for i, a in enumerate(atom_S)
      if own_S[i] and kept(a)
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
  for seed_ in range(3):
    with tempfile.TemporaryDirectory() as at:
      plant_ = plant(seed_)
      print(seed_, score(*study(at, plant_, seed_), plant_), flush=True)
