"""An SAE in place of what it reconstructs, within a LLaVA-NeXT.

The residual stream that enters a layer is replaced by its reconstruction at the
positions of the image, or at all but the first, and the model goes on: what
does the caption lose, and which questions does it still answer (arXiv
2506.04706 §5)? Loss recovered is the share of what a floor costs that the SAE
does not. Against zeros that says little, since the model has never seen such a
stream; beside them stand the mean of the modality and another image's tokens.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tqdm

from saejax import errors
from saejax import io
from saejax import results
from saejax.analysis import bootstrap
from saejax.data import questions
from saejax.models import edits
from saejax.pipeline import coding
from saejax.pipeline import onward
from saejax.pipeline import splicing_rows as rows_lib
from saejax.pipeline import splicing_setup
from saejax.report import figures
from saejax.report import figures_sight

SITES = {'image': edits.on_image, 'all': edits.but_first}
# What stands in place of the stream; 'none' is the stream itself.
FLOORS = {'image': ('mean', 'other', 'zero'), 'all': ('mean', 'zero')}
_MODALITIES = ('image', 'text')
_PREFIX = 'splice'
Entries = dict[str, dict[str, Any]]
Config = splicing_setup.SpliceConfig


@dataclasses.dataclass(frozen=True)
class Found:
  """Results, and the figure."""

  entries: Entries
  figure: figures.Figure

  def write(self, out: str) -> None:
    """Writes figures/, then results.json."""
    self.figure.save(os.path.join(out, results.FIGURES), 'splice')
    results.write(out, self.entries)


@functools.partial(jax.jit, static_argnames='sae')
def _reconstruct(sae, variables, x_BMD, tokens):
  return edits.reconstruct(sae, variables)(x_BMD, tokens)


@functools.partial(jax.jit, static_argnames=('module', 'layer'))
def _told(module, params, p: onward.Prefix, x_BMD, layer: int):
  """NLL of each row's answer in nats, and logits of its first token."""
  y_BMD, *_ = module.apply(
    {'params': params}, x_BMD, p.tokens, layer, p.cache, method='onward'
  )
  at_BA = jnp.concatenate([p.answers.first_B[:, None], p.told_BA], axis=1)
  rows_BAD = jnp.take_along_axis(y_BMD, at_BA[..., None], axis=1)
  logit_BAV = module.apply({'params': params}, rows_BAD, method='logits')
  logit_BAV = logit_BAV.astype(jnp.float32)
  nats_BA = optax.softmax_cross_entropy_with_integer_labels(
    logit_BAV[:, 1:], p.answers.next_BA
  )
  return jnp.sum(nats_BA * p.answers.weight_BA, axis=1), logit_BAV[:, 0]


def other_image(x_BMD: np.ndarray, is_image_BM: np.ndarray, n: int):
  """Rows with the image tokens of the next row, the first follows the last.

  Where images have other numbers of tokens, those of the next start again.

  Args:
    x_BMD: rows, of which the first n count.
    is_image_BM: where images are.
    n: at least 2.
  """
  moved_BMD = np.array(x_BMD)
  for b in range(n):
    there = (b + 1) % n
    own_m, from_m = (np.flatnonzero(is_image_BM[i]) for i in (b, there))
    if len(from_m):
      moved_BMD[b, own_m] = x_BMD[
        there, from_m[np.arange(len(own_m)) % len(from_m)]
      ]
  return moved_BMD


def _variants(setup: splicing_setup.Setup, p: onward.Prefix, n: int, sites):
  """What enters the layer, by site and what stands there."""
  x_BMD = np.asarray(p.x_BMD)
  xhat_BMD = np.asarray(
    _reconstruct(setup.sae, setup.variables, p.x_BMD, p.tokens)
  )
  is_image_BM = np.asarray(p.tokens.is_image_BT)
  mean_BMD = np.where(
    is_image_BM[..., None], setup.mean['image'], setup.mean['text']
  )
  stands = {'sae': xhat_BMD, 'mean': mean_BMD, 'zero': np.zeros_like(x_BMD)}
  yield ('', 'none'), x_BMD
  for site in sites:
    is_BM = np.asarray(SITES[site](p.tokens))[..., None]
    for what, y_BMD in stands.items():
      yield (site, what), np.where(is_BM, y_BMD, x_BMD).astype(x_BMD.dtype)
    if 'other' in FLOORS[site]:
      yield (site, 'other'), other_image(x_BMD, is_image_BM, n)


def _captions(setup: splicing_setup.Setup, shown: rows_lib.Shown):
  """NLL of captions by site and what stands there, [rows] each."""
  found: dict[tuple[str, str], list[np.ndarray]] = {}
  tokens = []
  for b in tqdm.tqdm(
    rows_lib.captioned(setup, shown), unit='batch', disable=None
  ):
    p = onward.begin(setup.model, b, setup.layer, 'image')
    for key, x_BMD in _variants(setup, p, b.n, SITES):
      nats_B, _ = _told(
        setup.model.module, setup.model.params, p, x_BMD, setup.layer
      )
      found.setdefault(key, []).append(np.asarray(nats_B)[: b.n])
    tokens.append(b.answers.weight_BA[: b.n].sum(1))
  return {k: np.concatenate(v) for k, v in found.items()}, np.concatenate(
    tokens
  )


def _loss_entries(nats, tokens_n, group_n, split: str) -> Entries:
  """Nats per token, and the share of what each floor costs that is kept."""
  n = len(tokens_n)

  def over(statistic, *columns):
    _, sums_GK = bootstrap.sum_by(group_n, np.stack(columns, axis=1))
    return results.entry(bootstrap.estimate(statistic, sums_GK, n), split=split)

  per_token = lambda s: s[..., 0] / s[..., 1]

  def recovered(s):
    whole = s[..., 2] - s[..., 0]
    with np.errstate(invalid='ignore', divide='ignore'):
      # A floor that costs nothing leaves nothing to recover.
      return np.where(whole > 0, (s[..., 2] - s[..., 1]) / whole, np.nan)

  entries, none = {}, nats['', 'none']
  for (site, what), nats_n in nats.items():
    at = f'{_PREFIX}/{site or "unedited"}'
    name = f'{at}/nats/{what}' if site else f'{at}/nats'
    entries[name] = over(per_token, nats_n, tokens_n) | {
      'unit': 'nats per token'
    }
    if site and what != 'sae':
      entries[f'{at}/loss_recovered/{what}'] = over(
        recovered, none, nats[site, 'sae'], nats_n
      )
  return entries


def _rows_entries(setup: splicing_setup.Setup, shown, split: str) -> Entries:
  """L0 and variance explained of the tokens that are replaced, by modality."""
  sums: dict[str, list[np.ndarray]] = {m: [] for m in _MODALITIES}
  groups: dict[str, list[np.ndarray]] = {m: [] for m in _MODALITIES}
  start = 0
  for b in rows_lib.captioned(setup, shown):
    x_BTD = onward.rows_entering(setup.model, b, setup.layer)
    tokens = jax.tree.map(lambda a, n=b.n: np.asarray(a)[:n], b.inputs.tokens)
    z_nS, xhat_nD = coding.code(
      setup.sae, setup.variables, x_BTD, tokens.is_image_BT
    )
    x_nD = x_BTD.reshape(xhat_nD.shape)
    for m in _MODALITIES:
      is_BT = rows_lib.positions(tokens, m)
      at_n = np.flatnonzero(is_BT)
      columns = (
        np.diff(z_nS.indptr)[at_n],
        ((x_nD - xhat_nD)[at_n] ** 2).sum(1),
        ((x_nD[at_n] - setup.mean[m]) ** 2).sum(1),
        np.ones(len(at_n)),
      )
      sums[m].append(np.stack(columns, axis=1))
      row_n = np.nonzero(is_BT)[0]
      groups[m].append(shown.group_n[start : start + b.n][row_n])
    start += b.n
  entries = {}
  for m in _MODALITIES:
    _, sums_GK = bootstrap.sum_by(
      np.concatenate(groups[m]), np.concatenate(sums[m])
    )
    n = int(sums_GK[:, 3].sum())
    for name, of in (
      ('l0', lambda s: s[..., 0] / s[..., 3]),
      ('fve', lambda s: 1 - s[..., 1] / s[..., 2]),
    ):
      e = bootstrap.estimate(of, sums_GK, n)
      entries[f'{_PREFIX}/{name}/{m}'] = results.entry(e, split=split)
  return entries


def _answers(setup: splicing_setup.Setup, asked: rows_lib.Asked):
  """Whether questions are answered rightly, by what the model sees: [rows]."""
  right: dict[str, list[np.ndarray]] = {}
  for shows in (True, False):
    done = 0
    for b in rows_lib.questioned(setup, asked, shows):
      p = onward.begin(setup.model, b, setup.layer, 'image')
      if shows:
        every = _variants(setup, p, b.n, ('image',))
      else:
        every = [(('', 'without_image'), np.asarray(p.x_BMD))]
      rows = range(done, done + b.n)
      for (_, what), x_BMD in every:
        _, logit_BV = _told(
          setup.model.module, setup.model.params, p, x_BMD, setup.layer
        )
        logit_nV = np.asarray(logit_BV)[: b.n]
        said_n = [
          logit_V[asked.option_ids_n[i]].argmax()
          for i, logit_V in zip(rows, logit_nV, strict=True)
        ]
        right.setdefault(what, []).append(said_n == asked.right_n[rows])
      done += b.n
  return {what: np.concatenate(v) for what, v in right.items()}


def _answer_entries(
  right: Mapping[str, np.ndarray], asked: rows_lib.Asked, split: str
) -> Entries:
  entries: Entries = {}
  kinds = ['', *dict.fromkeys(asked.kind_n)]
  options_n = np.array([len(ids) for ids in asked.option_ids_n])
  for kind in kinds:
    at = f'{_PREFIX}/accuracy' + (f'/{kind}' if kind else '')
    kept_n = np.array([kind in ('', k) for k in asked.kind_n])
    columns = np.stack([v[kept_n] for v in right.values()], axis=1)
    means = bootstrap.means(columns, asked.group_n[kept_n])
    for what, e in zip(right, means, strict=True):
      entries[f'{at}/{what}'] = results.entry(e, split=split)
    lost = right['none'].astype(float) - right['sae']
    entries[f'{at}/lost'] = results.entry(
      bootstrap.mean(lost[kept_n], asked.group_n[kept_n]), split=split
    )
    chance = (1 / options_n[kept_n]).mean()
    entries[f'{at}/chance'] = results.entry(
      float(chance), n=int(kept_n.sum()), split=split
    )
  return entries


def splice(config: Config, sae_path: str, split: str = 'test') -> Found:
  """Replaces the stream by an SAE's reconstruction, and by floors.

  Args:
    config: the model, the layer, and what it is shown.
    sae_path: folder of the dictionary.
    split: that is measured on; means are of train.

  Raises:
    UserError: something is missing, or does not fit.
  """
  sae, variables = io.load(sae_path)
  setup = splicing_setup.start(config, sae, variables, sae_path)
  shown = rows_lib.show(setup, split, config.examples)
  if len(shown.images) < 2:
    raise errors.UserError(
      f'--dataset={config.dataset} has {len(shown.images)} examples in '
      f'{split}; this needs two or more.'
    )
  fit = rows_lib.show(setup, 'train', config.examples)
  setup = dataclasses.replace(setup, mean=rows_lib.means(setup, fit))
  nats, tokens_n = _captions(setup, shown)
  entries = _loss_entries(nats, tokens_n, shown.group_n, split)
  entries |= _rows_entries(setup, shown, split)
  if shown.scenes is not None:
    asked = rows_lib.ask(setup, shown, questions.KINDS)
    entries |= _answer_entries(_answers(setup, asked), asked, split)
  return Found(entries, figures_sight.spliced(_points(entries)))


def _points(entries: Entries) -> Sequence[Mapping[str, Any]]:
  """Loss recovered by site and floor, for the figure."""
  found = []
  for site, floors in FLOORS.items():
    for floor in floors:
      e = entries[f'{_PREFIX}/{site}/loss_recovered/{floor}']
      found.append(
        {'site': site, 'floor': floor, 'recovered': e['value'],
         'low': e.get('low'), 'high': e.get('high')}
      )  # fmt: skip
  return found
