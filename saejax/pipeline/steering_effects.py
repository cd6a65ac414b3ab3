"""What directions do to answers and to captions, at one site of one layer.

Efficacy is the probability of the target's letter or name, over scenes of other
classes; damage the rise of the negative log-likelihood of captions of other
scenes, in nats per token, those apart that name a class of the factor.
Strengths are in units of the mean length of an image token at the layer, or,
where tokens are turned, of the length that each has in what is turned.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
import os
import re
from typing import Any

import numpy as np

from saejax.analysis import steering
from saejax.data import scenes as scenes_lib
from saejax.pipeline import onward
from saejax.pipeline import steering_scenes
from saejax.store import files

PARTS = 'parts'
HALF = 0.5  # Share of answers that are turned where specificity is asked.
Arrays = dict[str, np.ndarray]
Prefixes = list[tuple[onward.Prefix, int]]


@dataclasses.dataclass(frozen=True)
class Subject:
  """A model, where it is edited, and the scenes it is asked about.

  Attributes:
    asker: the model and how it is asked.
    world: of the scenes.
    factor: whose classes are steered.
    layer: whose input is edited.
    norm: the unit of strengths.
    strength_K: strengths, rising.
    asked: scenes that are asked about, by split.
    told: scenes whose captions are told, by split.
    images: of each class, that are asked about.
    span: what is turned, of `onward`; None where directions are added.
  """

  asker: steering_scenes.Asker
  world: scenes_lib.World
  factor: str
  layer: int
  norm: float
  strength_K: np.ndarray
  asked: Mapping[str, steering_scenes.Shown]
  told: Mapping[str, steering_scenes.Shown]
  images: int
  span: onward.Span | None = None

  def sources(
    self, split: str, target: int, most: int | None = None
  ) -> steering_scenes.Shown:
    """Scenes of other classes than the target, `images` if none is said."""
    shown = self.asked[split]
    others_n = np.flatnonzero(shown.label[self.factor] != target)
    return shown.take(others_n[: most or self.images])

  def scaled(self, unit_ND: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """What is added, at a strength for all, or at one for each."""
    strength_N1 = np.broadcast_to(strength, (len(unit_ND),))[:, None]
    return (self.norm * strength_N1 * unit_ND).astype(np.float32)

  def ladder(self, unit_ND: np.ndarray) -> np.ndarray:
    """Every direction at every strength, [N·K, D]."""
    every = [
      self.scaled(v_D[None], k) for v_D in unit_ND for k in self.strength_K
    ]
    return np.concatenate(every)


@dataclasses.dataclass(frozen=True)
class Question:
  """Rows of one target, as they enter the layer.

  Attributes:
    prefixes: of all rows.
    choices: what is asked.
    group_r: the scene of each row.
  """

  prefixes: Prefixes
  choices: steering_scenes.Choices
  group_r: np.ndarray


def ask(
  s: Subject,
  site: str,
  shown: steering_scenes.Shown,
  factor: str,
  target: int | None,
  nameless: bool = False,
) -> Question:
  """Reads questions with options up to the layer.

  Args:
    s: who is asked.
    site: of `onward.SITES`.
    shown: scenes.
    factor: that is asked after.
    target: as of `steering_scenes.choices`.
    nameless: whether questions leave out which class scenes show, of the factor
      that is steered: "what shape is the red thing" asks for that as well.
  """
  choices = steering_scenes.choices(
    shown, factor, target, s.world, s.asker.letters
  )
  if nameless:
    names = steering_scenes.FACTORS[s.factor]
    own = [names[shown.label[s.factor][i]] for i in choices.scene_n]
    choices = dataclasses.replace(
      choices,
      text=[
        re.sub(rf'\bthe {word}( thing)?\b', 'the thing', text)
        for word, text in zip(own, choices.text, strict=True)
      ],
    )
  batches = s.asker.asked(shown, choices)
  return Question(
    prefixes=onward.begin_all(s.asker.model, batches, s.layer, site, s.span),
    choices=choices,
    group_r=shown.scenes.index_N[choices.scene_n],
  )


def chances(s: Subject, q: Question, added_ND: np.ndarray) -> np.ndarray:
  """Probability of every option, [N, rows, O]."""
  ids = s.asker.word_ids(q.choices.options)
  return onward.chances(s.asker.model, q.prefixes, s.layer, added_ND, ids)


def of_target(q: Question, chance_NrO: np.ndarray) -> np.ndarray:
  """Probability of the target, [N, rows]."""
  at = q.choices.target_n[None, :, None]
  return np.take_along_axis(chance_NrO, at, axis=2)[..., 0]


def says(place_n: np.ndarray, chance_NrO: np.ndarray) -> np.ndarray:
  """Whether the likeliest option is the one at some place, [N, rows]."""
  return chance_NrO.argmax(2) == place_n[None]


def damage(
  s: Subject, told: Prefixes, added_ND: np.ndarray, base_r: np.ndarray
) -> np.ndarray:
  """Rise of the captions' NLL, nats per token over all rows: [N]."""
  nats_Nr = onward.nats(s.asker.model, told, s.layer, added_ND)
  return (nats_Nr - base_r[None]).sum(1) / onward.lengths(told).sum()


def kept(out: str, name: str, make: Callable[[], Arrays]) -> Arrays:
  """Arrays of a part of the work: from its file, or made and written."""
  path = os.path.join(out, PARTS, f'{name}.safetensors')
  if os.path.exists(path):
    return {k: np.array(v) for k, v in files.map_arrays(path).items()}
  found = make()
  os.makedirs(os.path.dirname(path), exist_ok=True)
  files.write_arrays(path, found)
  return found


def kept_lines(
  out: str, name: str, make: Callable[[], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
  """Likewise of records."""
  path = os.path.join(out, PARTS, f'{name}.jsonl')
  if os.path.exists(path):
    with open(path, encoding='utf-8') as f:
      return [json.loads(line) for line in f]
  found = make()
  os.makedirs(os.path.dirname(path), exist_ok=True)
  files.write_lines(path, found)
  return found


def measure_damage(
  s: Subject,
  site: str,
  classes: Sequence[int],
  unit: Mapping[str, np.ndarray],
  null_ND: np.ndarray,
) -> Arrays:
  """Damage at every strength, by kind of direction.

  Returns:
    `val/KIND` [C, K]; `test/KIND` [C, K, rows] by scene, beside `test.tokens`
    and `test.group` [rows]; `val/null` [N, K]. NaN of classes that are not
    steered.
  """
  found, classes = {}, list(classes)
  k, zero_1D = len(s.strength_K), np.zeros((1, null_ND.shape[1]), np.float32)
  for split in ('val', 'test'):
    batches = s.asker.captioned(s.told[split], s.world, s.factor)
    told = onward.begin_all(s.asker.model, batches, s.layer, site, s.span)
    base_r = onward.nats(s.asker.model, told, s.layer, zero_1D)[0]
    tokens_r = onward.lengths(told)
    for kind, unit_CD in unit.items():
      added = s.ladder(unit_CD[classes])
      nats = onward.nats(s.asker.model, told, s.layer, added) - base_r[None]
      nats_CKr = np.full((len(unit_CD), k, len(base_r)), np.nan, nats.dtype)
      nats_CKr[classes] = nats.reshape(len(classes), k, -1)
      found[f'{split}/{kind}'] = (
        nats_CKr.sum(2) / tokens_r.sum() if split == 'val' else nats_CKr
      )
    if split == 'val':
      found['val/null'] = damage(s, told, s.ladder(null_ND), base_r).reshape(
        -1, k
      )
    else:
      found |= {
        'test.tokens': tokens_r,
        'test.group': s.told[split].scenes.index_N,
      }
  return {name: np.array(a, order='C') for name, a in found.items()}


@dataclasses.dataclass(frozen=True)
class _Asked:
  """Questions of val, by which a strength is chosen, and of test.

  Attributes:
    val: what is asked there.
    test: likewise.
    base_val: the target's mean probability there, unedited.
    base_test: likewise.
    budget: damage that a strength may do, nats per token.
  """

  val: Question
  test: Question
  base_val: float
  base_test: float
  budget: float


def _by_own_choice(
  s: Subject, asked: _Asked, unit_ND: np.ndarray, damage_NK: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """What directions do on test, each at the strength that it does most at.

  Each chooses as the direction that is tested does: on val, within the same
  damage. Forced to the damage of the tested one's choice they would not be
  exchangeable with it, for it alone had the best of several. On val no
  strength is asked about that does more than is allowed, nor an only one:
  at most K runs a direction there, and one on test.

  Returns:
    Changes of the target's mean probability [N], and strengths' indices [N].
  """
  effect = lambda q, added, base: (
    of_target(q, chances(s, q, added)).mean(1) - base
  )
  allowed_NK = damage_NK <= asked.budget
  row_n, k_n = np.nonzero(allowed_NK & (allowed_NK.sum(1) > 1)[:, None])
  effect_NK = np.zeros(damage_NK.shape)
  if len(row_n):
    effect_NK[row_n, k_n] = effect(
      asked.val, s.scaled(unit_ND[row_n], s.strength_K[k_n]), asked.base_val
    )
  at_N = steering.best_strength(effect_NK, damage_NK, asked.budget)
  added_ND = s.scaled(unit_ND, s.strength_K[at_N])
  return effect(asked.test, added_ND, asked.base_test), at_N


def measure_class(
  s: Subject,
  site: str,
  target: int,
  classes: Sequence[int],
  unit: Mapping[str, np.ndarray],
  null_ND: np.ndarray,
  harm: Arrays,
  tested: str,
  budget: float,
) -> Arrays:
  """What directions of one class do, and directions that are not its own.

  The strength is the one of largest effect on val among those that do little
  damage there; then all is measured on test. Directions by chance, and those of
  other classes, choose likewise.

  Args:
    s: who is asked.
    site: of `onward.SITES`.
    target: the class.
    classes: all that are steered.
    unit: directions by kind.
    null_ND: directions by chance.
    harm: of `measure_damage`.
    tested: the kind that is held against chance.
    budget: damage that a strength may do, nats per token.

  Returns:
    `chosen/KIND` the strength's index and `half/KIND` the least that turns half
    of the answers on val, −1 if none; `chance/KIND` [K, rows] and
    `flip/KIND` [K, rows] on test, `base`, `right` and `group` [rows]; `null`
    [N] and `wrong` [classes] mean changes of the target's probability, and
    `null.strength` and, on val, `null.damage` [N].
  """
  found: Arrays = {}
  d = null_ND.shape[1]
  zero_1D = np.zeros((1, d), np.float32)
  val = q = ask(s, site, s.sources('val', target), s.factor, target)
  base = float(of_target(q, chances(s, q, zero_1D)).mean())
  for kind, unit_CD in unit.items():
    told = chances(s, q, s.ladder(unit_CD[target][None]))
    rise_K = of_target(q, told).mean(1) - base
    found[f'chosen/{kind}'] = np.array(
      steering.best_strength(rise_K, harm[f'val/{kind}'][target], budget)
    )
    turned_K = says(q.choices.target_n, told).mean(1)
    found[f'half/{kind}'] = np.array(steering.least_that_turns(turned_K, HALF))
  q = ask(s, site, s.sources('test', target), s.factor, target)
  start = chances(s, q, zero_1D)
  found |= {
    'base': of_target(q, start)[0],
    'right': says(q.choices.truth_n, start)[0].astype(np.uint8),
    'group': q.group_r,
  }
  for kind, unit_CD in unit.items():
    chance = chances(s, q, s.ladder(unit_CD[target][None]))
    found[f'chance/{kind}'] = of_target(q, chance)
    found[f'flip/{kind}'] = says(q.choices.target_n, chance).astype(np.uint8)
  asked = _Asked(val, q, base, float(found['base'].mean()), budget)
  damage_NK = harm['val/null']
  found['null'], at_N = _by_own_choice(s, asked, null_ND, damage_NK)
  found['null.strength'] = s.strength_K[at_N]
  found['null.damage'] = np.take_along_axis(damage_NK, at_N[:, None], 1)[:, 0]
  others = [c for c in classes if c != target]
  found['wrong'], _ = _by_own_choice(
    s, asked, unit[tested][others], harm[f'val/{tested}'][others]
  )
  return {name: np.array(a, order='C') for name, a in found.items()}
