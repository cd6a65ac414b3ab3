"""Contrastive training of a two-tower model, by CLIP's loss or by SigLIP's."""

from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from saejax import types

_SCALE_MOST = 100.0  # CLIP's bound on the logit scale.

Logs = dict[str, jax.Array]


@flax.struct.dataclass
class ContrastiveState:
  step: jax.Array
  params: types.ArrayTree
  opt_state: optax.OptState


@flax.struct.dataclass
class PairBatch:
  """Matched rows: images as the model takes them, token ids [B, T]."""

  image: Any
  ids_BT: jax.Array


def info_nce(
  image_BD: jax.Array, text_BD: jax.Array, scale: jax.Array
) -> jax.Array:
  """Symmetric cross-entropy of each row with its match among the batch.

  CLIP's loss (arXiv 2103.00020, figure 3).
  """
  logits_BB = jnp.minimum(scale, _SCALE_MOST) * image_BD @ text_BD.T
  own_B = jnp.arange(len(image_BD))
  cross_entropy = optax.softmax_cross_entropy_with_integer_labels
  by_image, by_text = (
    jnp.mean(cross_entropy(logits, own_B))
    for logits in (logits_BB, logits_BB.T)
  )
  return (by_image + by_text) / 2


def sigmoid_loss(
  image_BD: jax.Array, text_BD: jax.Array, scale: jax.Array, bias: jax.Array
) -> jax.Array:
  """Each pair of the batch is judged alone: match or not.

  SigLIP's loss (arXiv 2303.15343, §3.2): summed over pairs, over B.
  """
  logits_BB = scale * image_BD @ text_BD.T + bias
  match_BB = 2 * jnp.eye(len(image_BD)) - 1
  return -jnp.mean(jnp.sum(jax.nn.log_sigmoid(match_BB * logits_BB), axis=1))


def make_optimiser(
  lr: float,
  steps: int,
  weight_decay: float,
  is_frozen: Callable[[tuple[str, ...]], bool] | None = None,
) -> optax.GradientTransformation:
  """AdamW, warm-up then cosine; only matrices decay.

  Args:
    lr: peak learning rate.
    steps: of the whole training.
    weight_decay: of matrices.
    is_frozen: which parameters stay as they are, by path.
  """
  schedule = optax.warmup_cosine_decay_schedule(
    0.0, lr, min(200, max(steps // 10, 1)), max(steps, 2), lr / 100
  )
  is_matrix = lambda params: jax.tree.map(lambda x: x.ndim > 1, params)
  tx = optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.adamw(schedule, b2=0.98, weight_decay=weight_decay, mask=is_matrix),
  )
  if is_frozen is None:
    return tx
  label = lambda params: flax.traverse_util.path_aware_map(
    lambda path, _: 'frozen' if is_frozen(path) else 'trained', params
  )
  return optax.partition({'trained': tx, 'frozen': optax.set_to_zero()}, label)


def summary(image_BD: jax.Array, text_BD: jax.Array, scale: jax.Array) -> Logs:
  """What to log of a batch's embeddings."""
  gap_D = jnp.mean(image_BD, axis=0) - jnp.mean(text_BD, axis=0)
  return {
    'scale': scale,
    'gap': jnp.linalg.norm(gap_D),
    'paired_cosine': jnp.mean(jnp.sum(image_BD * text_BD, axis=1)),
  }


def make_step(
  loss: Callable[[types.ArrayTree, PairBatch], tuple[jax.Array, Logs]],
  tx: optax.GradientTransformation,
) -> Callable[[ContrastiveState, PairBatch], tuple[ContrastiveState, Logs]]:
  """Returns step(state, batch) -> (state, logs)."""

  def step(state: ContrastiveState, batch: PairBatch):
    grad = jax.value_and_grad(loss, has_aux=True)
    (value, logs), grads = grad(state.params, batch)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    state = ContrastiveState(
      step=state.step + 1,
      params=optax.apply_updates(state.params, updates),
      opt_state=opt_state,
    )
    return state, {'loss': value} | logs

  return step
