"""What can be done to a residual stream, and where.

An edit is a function of a residual [B, T, D] and of what stands at its
positions; `llama.Decoder` applies it to what enters a block. It is traced with
the model, so that whatever it closes over is a constant, or an argument of the
jitted function around it.

Letters as in `llama`; S concepts of a dictionary.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from saejax import types
from saejax.models import llama

# Which positions: bool [B, T].
Where = Callable[[llama.Tokens], jax.Array]


def everywhere(tokens: llama.Tokens) -> jax.Array:
  return tokens.is_real_BT


def on_image(tokens: llama.Tokens) -> jax.Array:
  return tokens.is_image_BT


def on_text(tokens: llama.Tokens) -> jax.Array:
  return tokens.is_real_BT & ~tokens.is_image_BT


def but_first(tokens: llama.Tokens) -> jax.Array:
  """All but the start token, whose residual is like no other."""
  return tokens.is_real_BT & (tokens.position_BT > 0)


def at(positions: Sequence[int]) -> Where:
  """The given slots of every row."""
  chosen_P = jnp.asarray(positions)
  return lambda tokens: (
    tokens.position_BT[..., None] == chosen_P[None, None]
  ).any(-1)


def where(mask: Where, edit: llama.Edit) -> llama.Edit:
  """The edit at some positions alone."""

  def edited(x_BTD, tokens):
    return jnp.where(mask(tokens)[..., None], edit(x_BTD, tokens), x_BTD)

  return edited


def chain(*edits: llama.Edit) -> llama.Edit:
  """One after the other."""

  def edited(x_BTD, tokens):
    for edit in edits:
      x_BTD = edit(x_BTD, tokens)
    return x_BTD

  return edited


def add(direction_D: jax.Array) -> llama.Edit:
  """x + v; subtracts, of −v. [D], or [B, D] of a direction for each row."""

  def edited(x_BTD, tokens):
    del tokens
    v = jnp.asarray(direction_D, x_BTD.dtype)
    return x_BTD + (v[None, None] if v.ndim == 1 else v[:, None])

  return edited


def project_out(directions_nD: jax.Array) -> llama.Edit:
  """x without its part in the span of directions [n, D], or of one [D]."""
  rows_nD = jnp.atleast_2d(jnp.asarray(directions_nD, jnp.float32))
  basis_Dn, _ = jnp.linalg.qr(rows_nD.T)

  def edited(x_BTD, tokens):
    del tokens
    inside_BTn = x_BTD.astype(jnp.float32) @ basis_Dn
    return x_BTD - (inside_BTn @ basis_Dn.T).astype(x_BTD.dtype)

  return edited


def turn(
  basis_nD: jax.Array, centre_D: jax.Array, direction_D: jax.Array
) -> llama.Edit:
  """x with its part in a span laid along a direction: x − Px̃ + |Px̃| v.

  x̃ is x less a centre. A position that holds little of the span changes little,
  so that a picture's thing takes another colour and its ground does not. Where
  the direction is 0, x stays as it is.

  Args:
    basis_nD: orthonormal, of the span that P projects to.
    centre_D: of x.
    direction_D: v; its length is how much of the old length is kept.
  """

  def edited(x_BTD, tokens):
    del tokens
    away_BTD = x_BTD.astype(jnp.float32) - centre_D[None, None]
    part_BTn = away_BTD @ basis_nD.T
    size_BT1 = jnp.linalg.norm(part_BTn, axis=-1, keepdims=True)
    turned_BTD = size_BT1 * direction_D[None, None] - part_BTn @ basis_nD
    moved_BTD = jnp.where(jnp.any(direction_D != 0), turned_BTD, 0)
    return x_BTD + moved_BTD.astype(x_BTD.dtype)

  return edited


def replace(other_BTD: jax.Array) -> llama.Edit:
  """What another run had there, or anything that broadcasts: a mean, zeros."""

  def edited(x_BTD, tokens):
    del tokens
    other = jnp.asarray(other_BTD, x_BTD.dtype)
    wide = other.reshape((1,) * (3 - other.ndim) + other.shape)
    return jnp.broadcast_to(wide, x_BTD.shape)

  return edited


def _run(sae: Any, variables: types.ArrayTree, x_BTD, tokens, modality):
  """The SAE's output at every position, as rows [B·T, …]."""
  x_nD = x_BTD.reshape(-1, x_BTD.shape[-1]).astype(jnp.float32)
  names = list(sae.modalities)
  if len(names) == 1:
    modality_n = jnp.zeros(len(x_nD), jnp.int32)
  elif modality is not None:
    modality_n = jnp.full(len(x_nD), names.index(modality), jnp.int32)
  else:
    image, text = names.index('image'), names.index('text')
    modality_n = jnp.where(tokens.is_image_BT, image, text).reshape(-1)
  return x_nD, sae.apply(variables, x_nD, modality_n)


def reconstruct(
  sae: Any, variables: types.ArrayTree, modality: str | None = None
) -> llama.Edit:
  """x̂ of an SAE in place of x.

  Args:
    sae: a dictionary of the residual's width.
    variables: its parameters and constants.
    modality: whose centre and scale its rows take; None: image where an image
      stands, else text.
  """

  def edited(x_BTD, tokens):
    _, out = _run(sae, variables, x_BTD, tokens, modality)
    return out.xhat_BD.reshape(x_BTD.shape).astype(x_BTD.dtype)

  return edited


def _codes(codes: types.Codes, concept: int) -> jax.Array:
  """One concept's activations [n]."""
  if isinstance(codes, types.Dense):
    return codes.z_BS[:, concept]
  hit_nK = jnp.where(codes.index_BK == concept, codes.values_BK, 0.0)
  if codes.row_BK is None:
    return hit_nK.sum(-1)
  rows = codes.values_BK.shape[0]
  return jnp.zeros(rows).at[codes.row_BK.reshape(-1)].add(hit_nK.reshape(-1))


def clamp(
  sae: Any,
  variables: types.ArrayTree,
  concept: int,
  value: float,
  modality: str | None = None,
) -> llama.Edit:
  """Sets one concept's activation, and leaves the SAE's error as it is.

  x + (value − z)·d, with d the concept's row of the decoder (Templeton et al.
  2024, "Scaling Monosemanticity", methods); as `reconstruct` for the rest.
  """

  def edited(x_BTD, tokens):
    x_nD, out = _run(sae, variables, x_BTD, tokens, modality)
    z_n = _codes(out.codes, concept)
    d_D = jnp.asarray(variables['params']['w_dec'])[concept]
    edited_nD = x_nD + (value - z_n)[:, None] * d_D[None]
    return edited_nD.reshape(x_BTD.shape).astype(x_BTD.dtype)

  return edited
