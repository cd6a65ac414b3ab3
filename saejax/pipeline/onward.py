"""What a LLaVA-NeXT says once the residual stream of one layer is changed.

The blocks before the layer run once. What enters it is kept, and each of many
directions changes a copy, from which the other blocks go on: it is added at
the positions of the image, or where the answer begins; or what an image's
token holds in some span is turned to it. An edit where the answer
begins changes nothing before it: there keys and values of all earlier slots
are kept as well, and the answer's own tokens alone are run.

Letters as in `llama`; M slots that are run again, A tokens of an answer, N
directions, O tokens whose probability is asked.
"""

from collections.abc import Sequence
import dataclasses
import functools
import re

import flax
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

from saejax.models import edits
from saejax.models import llama
from saejax.models import llava_folder

SITES = ('image', 'answer', 'turned')
_ROUND = 8  # Rows are padded to multiples of this.
_CHUNK = 32  # Directions that are sent at a time.
_POSITIONS = 4096  # That are run at once.


@flax.struct.dataclass
class Answers:
  """Where answers are told, and what they are.

  Attributes:
    first_B: slot of the last token of the prompt, from which the first is told.
    next_BA: tokens of the answer.
    weight_BA: 1 of tokens that count, 0 of others and of padding.
  """

  first_B: np.ndarray
  next_BA: np.ndarray
  weight_BA: np.ndarray


@dataclasses.dataclass(frozen=True)
class Batch:
  """Rows as the model reads them; the first `n` are asked, the others repeats.

  Attributes:
    inputs: of `llava_folder`.
    answers: of each row.
    n: how many rows are no padding.
  """

  inputs: llava_folder.Inputs
  answers: Answers
  n: int


@flax.struct.dataclass
class Span:
  """What of a token is turned.

  Attributes:
    basis_nD: orthonormal.
    centre_D: what tokens are about.
  """

  basis_nD: np.ndarray
  centre_D: np.ndarray


@flax.struct.dataclass
class Prefix:
  """What enters a layer, and what it takes to go on from there.

  Attributes:
    x_BMD: the residual.
    tokens: what stands there.
    is_edited_BM: where directions change it.
    told_BA: the place among M from which each token of the answer is told.
    answers: of each row.
    cache: of the slots before; None where the M are all.
    span: what is turned; None where directions are added.
  """

  x_BMD: jax.Array
  tokens: llama.Tokens
  is_edited_BM: jax.Array
  told_BA: jax.Array
  answers: Answers
  cache: llama.Cache | None
  span: Span | None = None


def _tail(
  tokenizer, answer: str, uncounted: Sequence[str]
) -> tuple[list[int], list[float]]:
  """Tokens of an answer, and 0 for those of some words, else 1."""
  if not answer:
    return [], []
  found = tokenizer(
    answer, add_special_tokens=False, return_offsets_mapping=bool(uncounted)
  )
  ids = found['input_ids']
  named = [
    m.span()
    for word in uncounted
    for m in re.finditer(rf'\b{re.escape(word)}\b', answer)
  ]
  counts = lambda at: (
    not any(at[0] < end and start < at[1] for start, end in named)
  )
  return ids, [
    float(counts(at)) for at in found.get('offset_mapping', [(0, 0)] * len(ids))
  ]


def batches(
  model: llava_folder.LLaVA,
  prompts: Sequence[str],
  answers: Sequence[str],
  images: Sequence[Image.Image] | None,
  size: int,
  uncounted: Sequence[str] = (),
) -> list[Batch]:
  """Rows of prompts and answers, so many at a time, all of one shape.

  Args:
    model: its tokenizer and processor are used.
    prompts: with one `<image>` each, or none.
    answers: what follows; may be empty.
    images: of the prompts; None where they have none.
    size: rows of a batch, at most.
    uncounted: words whose tokens in answers have no weight.
  """
  size = max(min(size, len(prompts)), 1)
  encode = lambda text: model.tokenizer(text)['input_ids']
  heads = [encode(p) for p in prompts]
  told = [_tail(model.tokenizer, a, uncounted) for a in answers]
  tails, weights = [t for t, _ in told], [w for _, w in told]
  most = max(map(len, tails), default=0)
  found = []
  for start in range(0, len(prompts), size):
    of = np.minimum(np.arange(start, start + size), len(prompts) - 1)
    ids = [heads[i] + tails[i] for i in of]
    shown = [[] if images is None else [images[i]] for i in of]
    inputs = llava_folder.read(model.module.config, model.processor, ids, shown)
    real_B = np.asarray(inputs.tokens.is_real_BT).sum(1)
    told_B = np.array([len(tails[i]) for i in of])
    next_BA = np.zeros((size, most), np.int32)
    weight_BA = np.zeros((size, most), np.float32)
    for b, i in enumerate(of):
      next_BA[b, : len(tails[i])] = tails[i]
      weight_BA[b, : len(tails[i])] = weights[i]
    asked = Answers(real_B - told_B - 1, next_BA, weight_BA)
    found.append(Batch(inputs, asked, min(size, len(prompts) - start)))
  return _as_short(found)


def _as_short(found: list[Batch]) -> list[Batch]:
  """Batches cut to the longest row of all."""
  reals = [np.asarray(b.inputs.tokens.is_real_BT).sum(1).max() for b in found]
  t = -(-int(max(reals, default=1)) // _ROUND) * _ROUND

  def cut(a):
    a = np.asarray(a)[:, :t]
    return np.pad(a, ((0, 0), (0, t - a.shape[1])))

  short = []
  for b in found:
    image, tokens = b.inputs.image, b.inputs.tokens
    tokens = jax.tree.map(cut, tokens).replace(
      position_BT=np.broadcast_to(
        np.arange(t)[None], (len(b.answers.first_B), t)
      )
    )
    if image is not None:
      pad = ((0, 0), (0, max(t - image.source_BT.shape[1], 0)))
      source_BT = np.pad(image.source_BT, pad, constant_values=-1)[:, :t]
      image = image.replace(source_BT=source_BT)
    inputs = llava_folder.Inputs(tokens=tokens, image=image)
    short.append(dataclasses.replace(b, inputs=inputs))
  return short


def residual(out, layer: int, count: int) -> jax.Array:
  """What enters a block, from a decoder's intermediates."""
  return (
    out['residual'] if layer == count else out[f'layers_{layer}']['residual']
  )


@functools.partial(jax.jit, static_argnames=('module', 'layer', 'site'))
def _begin(module, params, inputs, answers, layer: int, site: str) -> Prefix:
  tokens = inputs.tokens
  _, out, cache = module.apply(
    {'params': params}, tokens, image=inputs.image, method='hidden'
  )
  x_BTD = residual(out, layer, module.config.text.num_hidden_layers)
  after_1A = jnp.arange(answers.next_BA.shape[1])[None]
  if site != 'answer':
    told_BA = answers.first_B[:, None] + after_1A
    return Prefix(x_BTD, tokens, tokens.is_image_BT, told_BA, answers, None)
  m = 1 + answers.next_BA.shape[1]
  slot_BM = answers.first_B[:, None] + jnp.arange(m)[None]
  pad = lambda a: jnp.pad(a, ((0, 0), (0, m)) + ((0, 0),) * (a.ndim - 2))
  take = lambda a: jnp.take_along_axis(
    pad(a), slot_BM.reshape(slot_BM.shape + (1,) * (a.ndim - 2)), axis=1
  )
  # Room for the slots that are written again.
  grow = lambda a: jnp.pad(a, ((0, 0), (0, 0), (0, m), (0, 0)))
  kept = lambda kv: (None,) * layer + tuple(map(grow, kv[layer:]))
  return Prefix(
    x_BMD=take(x_BTD),
    tokens=jax.tree.map(take, tokens).replace(position_BT=slot_BM),
    is_edited_BM=jnp.broadcast_to(jnp.arange(m)[None] == 0, slot_BM.shape),
    told_BA=jnp.broadcast_to(after_1A, answers.next_BA.shape),
    answers=answers,
    cache=llama.Cache(kept(cache.k_LBKUE), kept(cache.v_LBKUE)),
  )


def begin(
  model: llava_folder.LLaVA,
  batch: Batch,
  layer: int,
  site: str,
  span: Span | None = None,
) -> Prefix:
  """Runs the blocks before a layer.

  Args:
    model: with parameters on the device.
    batch: rows.
    layer: whose input is to be changed; one more than the last block stands
      for what leaves it.
    site: of SITES.
    span: what is turned; None adds.
  """
  found = _begin(
    model.module, model.params, batch.inputs, batch.answers, layer, site
  )
  return found.replace(span=span)


def edit(span: Span | None, direction_D: jax.Array) -> llama.Edit:
  """What a direction does to the residual."""
  if span is None:
    return edits.add(direction_D)
  return edits.turn(span.basis_nD, span.centre_D, direction_D)


def _normed(module, params, p: Prefix, added_D, layer: int) -> jax.Array:
  """Normed rows [B, M, D] of an edit by a direction."""
  moved_BMD = jnp.where(
    p.is_edited_BM[..., None],
    edit(p.span, added_D)(p.x_BMD, p.tokens),
    p.x_BMD,
  )
  x_BMD, *_ = module.apply(
    {'params': params}, moved_BMD, p.tokens, layer, p.cache, method='onward'
  )
  return x_BMD


def _logits(module, params, x_BMD, at_BA) -> jax.Array:
  rows_BAD = jnp.take_along_axis(x_BMD, at_BA[..., None], axis=1)
  found = module.apply({'params': params}, rows_BAD, method='logits')
  return found.astype(jnp.float32)


def _first(p: Prefix) -> jax.Array:
  """The place among M from which the first token is told: [B, 1]."""
  if p.cache is None:
    return p.answers.first_B[:, None]
  return jnp.zeros_like(p.answers.first_B)[:, None]


@functools.partial(jax.jit, static_argnames=('module', 'layer', 'at_once'))
def _chances(module, params, p, added_ND, id_O, layer: int, at_once: int):
  def one(added_D):
    x_BMD = _normed(module, params, p, added_D, layer)
    logit_BV = _logits(module, params, x_BMD, _first(p))[:, 0]
    return jax.nn.softmax(logit_BV, axis=-1)[:, id_O]

  return lax.map(one, added_ND, batch_size=at_once)


@functools.partial(jax.jit, static_argnames=('module', 'layer', 'at_once'))
def _nats(module, params, p, added_ND, layer: int, at_once: int):
  def one(added_D):
    x_BMD = _normed(module, params, p, added_D, layer)
    logit_BAV = _logits(module, params, x_BMD, p.told_BA)
    nats_BA = optax.softmax_cross_entropy_with_integer_labels(
      logit_BAV, p.answers.next_BA
    )
    return jnp.sum(nats_BA * p.answers.weight_BA, axis=1)

  return lax.map(one, added_ND, batch_size=at_once)


def _by_chunk(run, p: Prefix, added_ND: np.ndarray) -> np.ndarray:
  """Runs some directions at a time, always as many: one program for any N."""
  size = min(_CHUNK, 1 << max(len(added_ND) - 1, 0).bit_length())
  at_once = max(min(_POSITIONS // p.is_edited_BM.size, size), 1)
  found = []
  for start in range(0, len(added_ND), size):
    part_nD = np.asarray(added_ND[start : start + size], np.float32)
    padded_nD = np.pad(part_nD, ((0, size - len(part_nD)), (0, 0)))
    found.append(np.asarray(run(p, padded_nD, at_once))[: len(part_nD)])
  return np.concatenate(found)


def chances(
  model: llava_folder.LLaVA,
  prefixes: Sequence[tuple[Prefix, int]],
  layer: int,
  added_ND: np.ndarray,
  ids: Sequence[int],
) -> np.ndarray:
  """Probability of each of some tokens to begin the answer: [N, rows, O].

  Args:
    model: as of `begin`.
    prefixes: with how many of their rows count.
    layer: as of `begin`.
    added_ND: directions, in the units of the residual where they are added; 0
      changes nothing.
    ids: of the tokens.
  """
  id_O = np.asarray(ids, np.int32)
  run = lambda p, part_nD, at_once: _chances(
    model.module, model.params, p, part_nD, id_O, layer, at_once
  )
  parts = [_by_chunk(run, p, added_ND)[:, :n] for p, n in prefixes]
  return np.concatenate(parts, axis=1)


def nats(
  model: llava_folder.LLaVA,
  prefixes: Sequence[tuple[Prefix, int]],
  layer: int,
  added_ND: np.ndarray,
) -> np.ndarray:
  """Negative log-likelihood of whole answers, in nats: [N, rows].

  Arguments as of `chances`.
  """
  run = lambda p, part_nD, at_once: _nats(
    model.module, model.params, p, part_nD, layer, at_once
  )
  parts = [_by_chunk(run, p, added_ND)[:, :n] for p, n in prefixes]
  return np.concatenate(parts, axis=1)


def lengths(prefixes: Sequence[tuple[Prefix, int]]) -> np.ndarray:
  """Tokens of each answer that count."""
  return np.concatenate(
    [np.asarray(p.answers.weight_BA)[:n].sum(1) for p, n in prefixes]
  )


def begin_all(
  model, found: Sequence[Batch], layer: int, site: str, span: Span | None = None
):
  """`begin` of every batch, with how many of its rows count."""
  return [(begin(model, b, layer, site, span), b.n) for b in found]


@functools.partial(jax.jit, static_argnames=('module', 'layer'))
def _image_rows(module, params, inputs, layer: int):
  _, out, _ = module.apply(
    {'params': params}, inputs.tokens, image=inputs.image, method='hidden'
  )
  return residual(out, layer, module.config.text.num_hidden_layers)


def rows_entering(
  model: llava_folder.LLaVA, batch: Batch, layer: int
) -> np.ndarray:
  """What enters a layer, float32 [n, T, D]."""
  x_BTD = _image_rows(model.module, model.params, batch.inputs, layer)
  return np.asarray(x_BTD, np.float32)[: batch.n]
