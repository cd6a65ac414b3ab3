"""Unit rows, and gradients that stay on them."""

import jax
import jax.numpy as jnp

_TINY = 1e-12  # Keeps a zero row at zero instead of NaN.


def unit_rows(x_ND: jax.Array) -> jax.Array:
  """Scales rows to unit L2 norm; zero rows stay zero."""
  norm_N1 = jnp.linalg.norm(x_ND, axis=-1, keepdims=True)
  return x_ND / jnp.maximum(norm_N1, _TINY)


def remove_parallel(grad_ND: jax.Array, unit_ND: jax.Array) -> jax.Array:
  """Removes from each gradient row its part along the unit row."""
  along_N1 = jnp.sum(grad_ND * unit_ND, axis=-1, keepdims=True)
  return grad_ND - along_N1 * unit_ND
