"""Steps whose thresholds learn: straight-through gradients of JumpReLU.

A step has no gradient to its threshold θ. Seen through a rectangle of width ε
around θ, it has one: that of its mean over the rows, estimated from those that
fell into the rectangle (Rajamanoharan et al., arXiv 2407.14435).
"""

import functools

import jax
import jax.numpy as jnp


def _near(pre_BS, threshold_S, width: float) -> jax.Array:
  """1/ε for entries within the rectangle, else 0."""
  inside_BS = jnp.abs(pre_BS - threshold_S[None]) < width / 2
  return inside_BS / width


def _above(pre_BS, threshold_S) -> jax.Array:
  return (pre_BS > threshold_S[None]).astype(pre_BS.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def jump_relu(
  pre_BS: jax.Array, threshold_S: jax.Array, width: float
) -> jax.Array:
  """pre where pre > θ, else 0.

  The gradient is 1 where pre > θ, and to θ it is −θ/ε in the rectangle.

  Args:
    pre_BS: pre-activations.
    threshold_S: θ, not negative.
    width: ε, in units of `pre_BS`.
  """
  del width
  return pre_BS * _above(pre_BS, threshold_S)


def _jump_forward(pre_BS, threshold_S, width):
  return jump_relu(pre_BS, threshold_S, width), (pre_BS, threshold_S)


def _jump_backward(width, residuals, g_BS):
  pre_BS, threshold_S = residuals
  near_BS = _near(pre_BS, threshold_S, width)
  dthreshold_S = -threshold_S * jnp.sum(g_BS * near_BS, axis=0)
  return g_BS * _above(pre_BS, threshold_S), dthreshold_S


jump_relu.defvjp(_jump_forward, _jump_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def heaviside(
  pre_BS: jax.Array, threshold_S: jax.Array, width: float
) -> jax.Array:
  """1 where pre > θ, else 0: summed over concepts, it is L0.

  The gradient is 0 to `pre_BS`, and to θ it is −1/ε in the rectangle.
  """
  del width
  return _above(pre_BS, threshold_S)


def _heaviside_forward(pre_BS, threshold_S, width):
  return heaviside(pre_BS, threshold_S, width), (pre_BS, threshold_S)


def _heaviside_backward(width, residuals, g_BS):
  pre_BS, threshold_S = residuals
  near_BS = _near(pre_BS, threshold_S, width)
  return jnp.zeros_like(pre_BS), -jnp.sum(g_BS * near_BS, axis=0)


heaviside.defvjp(_heaviside_forward, _heaviside_backward)
