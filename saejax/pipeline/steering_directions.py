"""Directions of classes at a layer, by several routes.

  means     the mean over a class's image tokens minus that over all others'
  adjusted  the same with all else that scenes hold being equal (least squares)
  probe     weights of a multinomial probe of image tokens, pooled
  text      the mean over words of bare captions that name the class, minus
            that of captions that name another
  unembed   the class's row of the unembedding minus the mean of the others'
  sae       the decoder row whose code tells the class best
  random    of the covariance of pooled image tokens

All have unit length; the length that they had is kept.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np

from saejax import errors
from saejax import nn
from saejax import types
from saejax.analysis import bootstrap
from saejax.analysis import classification
from saejax.analysis import factors
from saejax.analysis import steering
from saejax.data import captions
from saejax.data import questions
from saejax.data import scenes as scenes_lib
from saejax.pipeline import coding
from saejax.pipeline import onward
from saejax.pipeline import steering_scenes
from saejax.train import probes

KINDS = ('adjusted', 'means', 'probe', 'text', 'unembed', 'sae', 'random')
# Whose lengths are those of the residual stream.
RAW = ('adjusted', 'means', 'text')
LEAST_SCENES = 10  # Of a class in train, for it to have a direction.
_VAL = 4  # Of so many scenes one is held out, to choose penalty and concept.


@dataclasses.dataclass(frozen=True)
class Entering:
  """What enters a layer, of training scenes.

  Attributes:
    image_nD: the mean over each scene's image tokens.
    text_nD: that over the words of its bare caption.
    norm: mean length of an image token; the unit of strengths.
    label_n: the scene's class.
    shown: the scenes.
    told_n: the class that its caption names; −1 for none or several.
    codes_nS: the mean over image tokens of an SAE's codes, if there is one.
  """

  image_nD: np.ndarray
  text_nD: np.ndarray
  norm: float
  label_n: np.ndarray
  shown: steering_scenes.Shown
  told_n: np.ndarray
  codes_nS: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Directions:
  """Unit directions of every class by kind, and lengths they had: [C, D]."""

  unit: Mapping[str, np.ndarray]
  length: Mapping[str, np.ndarray]

  def arrays(self) -> dict[str, np.ndarray]:
    """For a file."""
    found = {f'{k}.unit': v.astype(np.float32) for k, v in self.unit.items()}
    return found | {
      f'{k}.length': v.astype(np.float32) for k, v in self.length.items()
    }


def read(
  asker: steering_scenes.Asker,
  shown: steering_scenes.Shown,
  world: scenes_lib.World,
  factor: str,
  layer: int,
  sae: tuple[nn.LinearSAE, types.ArrayTree] | None,
) -> Entering:
  """Runs training scenes, and their captions without them, up to a layer."""
  model = asker.model
  prompts = [asker.row(questions.DESCRIBE)] * len(shown)
  seen = onward.batches(
    model, prompts, [''] * len(prompts), shown.images, asker.batch
  )
  image, codes, norms = [], [], []
  for b in seen:
    x_BTD = onward.rows_entering(model, b, layer)
    is_BT = np.asarray(b.inputs.tokens.is_image_BT)[: b.n]
    image.append(_mean(x_BTD, is_BT))
    norms.append(np.linalg.norm(x_BTD[is_BT], axis=1))
    if sae is not None:
      codes.append(_codes(*sae, x_BTD, is_BT))
  said = captions.caption(world, shown.scenes)
  text = []
  for b in onward.batches(
    model, said.text, [''] * len(shown), None, asker.batch
  ):
    tokens = b.inputs.tokens
    # All but the start, which is like no other.
    is_BT = np.asarray(tokens.is_real_BT & (tokens.position_BT > 0))[: b.n]
    text.append(_mean(onward.rows_entering(model, b, layer), is_BT))
  columns = [
    scenes_lib.column(f'{factor}={c}') for c in steering_scenes.FACTORS[factor]
  ]
  told_nC = said.mentioned_NF[:, columns]
  return Entering(
    image_nD=np.concatenate(image),
    text_nD=np.concatenate(text),
    norm=float(np.concatenate(norms).mean()),
    label_n=shown.label[factor],
    shown=shown,
    told_n=np.where(told_nC.sum(1) == 1, told_nC.argmax(1), -1),
    codes_nS=np.concatenate(codes) if codes else None,
  )


def _mean(x_BTD: np.ndarray, is_BT: np.ndarray) -> np.ndarray:
  part_BT = is_BT / np.maximum(is_BT.sum(1, keepdims=True), 1)
  return np.einsum('BTD,BT->BD', x_BTD, part_BT)


def _codes(sae, variables, x_BTD, is_BT) -> np.ndarray:
  """The mean code of each row over some positions."""
  z_nS, _ = coding.code(sae, variables, x_BTD, is_BT)
  at_n = np.flatnonzero(is_BT)
  _, sums_BS = bootstrap.sum_by(np.nonzero(is_BT)[0], z_nS[at_n])
  return sums_BS.toarray() / is_BT.sum(1)[:, None]


def _probe(e: Entering, classes: int) -> np.ndarray:
  """Weights [C, D] on rows as they are, at the penalty best on scenes held."""
  held_n = np.arange(len(e.label_n)) % _VAL == 0
  mean_D, std_D = e.image_nD.mean(0), e.image_nD.std(0)
  scale_D = np.maximum(std_D, 1e-8)
  x_nD = (e.image_nD - mean_D) / scale_D
  found = probes.fit(
    'multinomial', x_nD[~held_n], e.label_n[None, ~held_n], classes
  ).at(0)
  reached = [
    classification.accuracy(found.at(r).scores(x_nD[held_n]), e.label_n[held_n])
    for r in range(len(found.b_C))
  ]
  w_DC = found.at(int(np.argmax(reached))).w_DC
  return (w_DC / scale_D[:, None]).T


def _unembed(asker: steering_scenes.Asker, names) -> np.ndarray:
  kernel_DV = np.asarray(asker.model.params['lm_head']['kernel'], np.float32)
  row_CD = kernel_DV[:, asker.word_ids(names)].T
  rest_CD = (row_CD.sum(0)[None] - row_CD) / (len(names) - 1)
  return row_CD - rest_CD


def _adjusted(e: Entering, factor: str) -> np.ndarray:
  """Class means with all else being equal, [C, D]."""
  return steering.adjusted_differences(
    e.image_nD,
    e.shown.label[factor],
    len(steering_scenes.FACTORS[factor]),
    steering_scenes.beside(e.shown, factor),
  )


def own_span(e: Entering, factor: str) -> tuple[np.ndarray, float]:
  """What classes of a factor span, without what those of other factors do.

  Classes of few scenes are left out.

  Returns:
    An orthonormal basis [n, D], and how many times as long the classes were
    before.
  """
  found = {}
  for name, classes in steering_scenes.FACTORS.items():
    counts_C = np.bincount(e.shown.label[name], minlength=len(classes))
    found[name] = _adjusted(e, name)[counts_C >= LEAST_SCENES]
  own_cD = found.pop(factor)
  other_nD = steering.span(np.concatenate(list(found.values())))
  left_cD = steering.without(own_cD, other_nD)
  lost = np.linalg.norm(own_cD) / max(np.linalg.norm(left_cD), 1e-12)
  return steering.span(left_cD), float(lost)


def directions(
  asker: steering_scenes.Asker,
  e: Entering,
  factor: str,
  kinds: tuple[str, ...],
  w_dec_SD: np.ndarray | None,
  seed: int,
) -> Directions:
  """Directions of every class of a factor; NaN where a class has no scene.

  Raises:
    UserError: an SAE is needed and not given.
  """
  names = steering_scenes.FACTORS[factor]
  c = len(names)
  found: dict[str, Any] = {}
  for kind in kinds:
    if kind == 'means':
      found[kind] = steering.mean_differences(e.image_nD, e.label_n, c)
    elif kind == 'adjusted':
      found[kind] = _adjusted(e, factor)
    elif kind == 'text':
      found[kind] = steering.mean_differences(e.text_nD, e.told_n, c)
    elif kind == 'probe':
      found[kind] = _probe(e, c)
    elif kind == 'unembed':
      found[kind] = _unembed(asker, names)
    elif kind == 'random':
      found[kind] = steering.like_covariance(e.image_nD, c, seed)
    elif kind == 'sae':
      if e.codes_nS is None or w_dec_SD is None:
        raise errors.UserError('--directions: sae needs --sae.')
      area_SC = factors.auroc(e.codes_nS, np.eye(c)[e.label_n])
      found[kind] = w_dec_SD[np.nan_to_num(area_SC).argmax(0)]
  return Directions(
    unit={k: steering.unit(v) for k, v in found.items()},
    length={k: np.linalg.norm(v, axis=1) for k, v in found.items()},
  )
