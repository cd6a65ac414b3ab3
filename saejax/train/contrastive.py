"""Contrastive training of a two-tower model (arXiv 2103.00020, figure 3)."""

from collections.abc import Callable

import flax
import jax
import jax.numpy as jnp
import optax

from saejax import types

_SCALE_MOST = 100.0  # CLIP's bound on the logit scale.


@flax.struct.dataclass
class ContrastiveState:
  step: jax.Array
  params: types.ArrayTree
  opt_state: optax.OptState


@flax.struct.dataclass
class PairBatch:
  """Matched rows: preprocessed images [B, H, W, 3] and token ids [B, T]."""

  image_BHW3: jax.Array
  ids_BT: jax.Array


def info_nce(
  image_BD: jax.Array, text_BD: jax.Array, scale: jax.Array
) -> jax.Array:
  """Symmetric cross-entropy of each row with its match among the batch."""
  logits_BB = scale * image_BD @ text_BD.T
  own_B = jnp.arange(len(image_BD))
  cross_entropy = optax.softmax_cross_entropy_with_integer_labels
  by_image, by_text = (
    jnp.mean(cross_entropy(logits, own_B))
    for logits in (logits_BB, logits_BB.T)
  )
  return (by_image + by_text) / 2


def make_optimiser(
  lr: float, steps: int, weight_decay: float
) -> optax.GradientTransformation:
  """AdamW, warm-up then cosine; only matrices decay."""
  schedule = optax.warmup_cosine_decay_schedule(
    0.0, lr, min(200, max(steps // 10, 1)), max(steps, 2), lr / 100
  )
  is_matrix = lambda params: jax.tree.map(lambda x: x.ndim > 1, params)
  return optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.adamw(schedule, b2=0.98, weight_decay=weight_decay, mask=is_matrix),
  )


def make_contrastive_step(
  apply: Callable[..., tuple[jax.Array, jax.Array, jax.Array]],
  tx: optax.GradientTransformation,
) -> Callable[
  [ContrastiveState, PairBatch], tuple[ContrastiveState, dict[str, jax.Array]]
]:
  """Returns step(state, batch) -> (state, logs).

  `apply(variables, image, ids)` gives unit rows of both and the logit scale.
  """

  def loss_fn(params, batch):
    image_BD, text_BD, scale = apply(
      {'params': params}, batch.image_BHW3, batch.ids_BT
    )
    scale = jnp.minimum(scale, _SCALE_MOST)
    gap_D = jnp.mean(image_BD, axis=0) - jnp.mean(text_BD, axis=0)
    return info_nce(image_BD, text_BD, scale), {
      'scale': scale,
      'gap': jnp.linalg.norm(gap_D),
      'paired_cosine': jnp.mean(jnp.sum(image_BD * text_BD, axis=1)),
    }

  def step(state: ContrastiveState, batch: PairBatch):
    grad = jax.value_and_grad(loss_fn, has_aux=True)
    (loss, logs), grads = grad(state.params, batch)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    state = ContrastiveState(
      step=state.step + 1,
      params=optax.apply_updates(state.params, updates),
      opt_state=opt_state,
    )
    return state, {'loss': loss} | logs

  return step
