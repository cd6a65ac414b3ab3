"""Text that a causal model goes on with, token by token, inside one jit.

Works with every module that has `hidden`, `logits` and a language model's
config: `llama.CausalLM` and `llava_next.LlavaNext`.

Letters as in `llama`, and N new tokens.
"""

from typing import Any

import flax
import jax
from jax import lax
import jax.numpy as jnp

from saejax import types
from saejax.models import llama
from saejax.models import llava_next

Module = llama.CausalLM | llava_next.LlavaNext


@flax.struct.dataclass
class Sampling:
  """How a token is drawn.

  Attributes:
    temperature: that logits are divided by; 0 takes the largest.
    top_p: the smallest set of tokens with this probability is drawn from
      (arXiv 1904.09751, §3.1).
  """

  temperature: float = 0.0
  top_p: float = 1.0


def draw(logit_BV: jax.Array, key: jax.Array, sampling: Sampling) -> jax.Array:
  """A token of each row, int32 [B]."""
  logit_BV = logit_BV.astype(jnp.float32)
  if not sampling.temperature:
    return jnp.argmax(logit_BV, axis=-1).astype(jnp.int32)
  logit_BV = logit_BV / sampling.temperature
  if sampling.top_p < 1:
    down_BV = -jnp.sort(-logit_BV, axis=-1)
    part_BV = jax.nn.softmax(down_BV, axis=-1)
    before_BV = jnp.cumsum(part_BV, axis=-1) - part_BV
    least_B1 = jnp.min(
      jnp.where(before_BV < sampling.top_p, down_BV, jnp.inf),
      axis=-1,
      keepdims=True,
    )
    logit_BV = jnp.where(logit_BV < least_B1, -jnp.inf, logit_BV)
  return jax.random.categorical(key, logit_BV).astype(jnp.int32)


def text_config(module: Module) -> llama.LlamaConfig:
  c = module.config
  return c if isinstance(c, llama.LlamaConfig) else c.text


def generate(
  module: Module,
  params: types.ArrayTree,
  tokens: llama.Tokens,
  image: llava_next.Image | None = None,
  *,
  most: int,
  ends: tuple[int, ...],
  pad: int = 0,
  key: jax.Array | None = None,
  sampling: Sampling | None = None,
  edits: llama.Edits | None = None,
  step_edits: llama.Edits | None = None,
) -> jax.Array:
  """Goes on with every row until it ends, or has `most` new tokens.

  Args:
    module: a model.
    params: its parameters.
    tokens: the prompts, padded on the right, from slot 0.
    image: what stands at their image positions.
    most: new tokens of a row.
    ends: tokens that end a row; they are kept.
    pad: what follows an end.
    key: of what is drawn; None with temperature 0 only.
    sampling: how tokens are drawn; None takes the likeliest.
    edits: of the prompts, see `llama.Decoder`.
    step_edits: of every new token that is read; None for none.

  Returns:
    New tokens, int32 [B, N].
  """
  b, t = tokens.ids_BT.shape
  length_B = tokens.is_real_BT.sum(axis=1)
  key = jax.random.key(0) if key is None else key
  sampling = sampling or Sampling()
  end_E = jnp.asarray(ends, jnp.int32)
  # The last token is never read, so it needs no slot.
  cache = llama.empty_cache(text_config(module), b, t + most - 1, module.dtype)

  def read(tokens, cache, at_B, edits, image=None):
    x_BTD, _, cache = module.apply(
      {'params': params}, tokens, cache, edits, image, method='hidden'
    )
    last_B1D = jnp.take_along_axis(x_BTD, at_B[:, None, None], axis=1)
    logit_B1V = module.apply({'params': params}, last_B1D, method='logits')
    return logit_B1V[:, 0], cache

  def take(n: Any, logit_BV, ended_B, new_BN):
    token_B = draw(logit_BV, jax.random.fold_in(key, n), sampling)
    token_B = jnp.where(ended_B, pad, token_B)
    new_BN = lax.dynamic_update_slice(new_BN, token_B[:, None], (0, n))
    ended_B |= (token_B[:, None] == end_E[None]).any(axis=1)
    return token_B, ended_B, new_BN

  def step(state):
    n, token_B, ended_B, new_BN, cache = state
    here = llama.tokens_of(token_B[:, None], start_B=length_B + n - 1)
    logit_BV, cache = read(here, cache, jnp.zeros(b, int), step_edits)
    return (n + 1, *take(n, logit_BV, ended_B, new_BN), cache)

  logit_BV, cache = read(tokens, cache, length_B - 1, edits, image)
  new_BN = jnp.full((b, most), pad, jnp.int32)
  first = take(0, logit_BV, jnp.zeros(b, bool), new_BN)
  state = lax.while_loop(
    lambda state: (state[0] < most) & ~state[2].all(),
    step,
    (jnp.asarray(1), *first, cache),
  )
  return state[3]
