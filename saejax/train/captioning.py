"""The loss of a model that writes captions."""

import jax
import jax.numpy as jnp
import optax


def next_token_loss(
  logits_BTV: jax.Array, ids_BT: jax.Array, pad: int
) -> tuple[jax.Array, jax.Array]:
  """Cross-entropy in nats a token, and accuracy; neither counts padding.

  Args:
    logits_BTV: of all tokens but the first, [B, T − 1, V].
    ids_BT: the tokens.
    pad: the id of padding.
  """
  next_BT = ids_BT[:, 1:]
  counts_BT = (next_BT != pad).astype(jnp.float32)
  nats_BT = optax.softmax_cross_entropy_with_integer_labels(logits_BTV, next_BT)
  right_BT = jnp.argmax(logits_BTV, axis=-1) == next_BT
  mean = lambda x_BT: jnp.sum(x_BT * counts_BT) / jnp.sum(counts_BT)
  return mean(nats_BT), mean(right_BT)
