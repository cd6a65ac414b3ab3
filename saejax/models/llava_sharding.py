"""Where the parameters of LLaVA-NeXT lie on a mesh: one table.

Within a block the first of two matrices is split by its outputs and the second
by its inputs, so that each device has whole heads and whole hidden units, and
one sum ends the block (Shoeybi et al., arXiv 1909.08053, §3). What is small is
on every device. Contractions over such axes are ambiguous where axes are
Explicit: apply the module under `jax.sharding.auto_axes`.
"""

from collections.abc import Mapping
import math

import jax
import numpy as np

from saejax import sharding
from saejax import types

P, MODEL = jax.P, sharding.MODEL

# By the last two parts of a parameter's path.
RULES = {
  # The language model.
  'embed_tokens/embedding': P(None, MODEL),  # A lookup is local.
  'gate_proj/kernel': P(None, MODEL),
  'up_proj/kernel': P(None, MODEL),
  'down_proj/kernel': P(MODEL, None),
  'gate_proj/bias': P(MODEL),
  'up_proj/bias': P(MODEL),
  'down_proj/bias': P(),
  'o_proj/kernel': P(MODEL, None),
  'o_proj/bias': P(),
  'input_layernorm/scale': P(),
  'post_attention_layernorm/scale': P(),
  'norm/scale': P(),
  'lm_head/kernel': P(None, MODEL),
  'image_newline': P(),
  # Both towers.
  'q_proj/kernel': P(None, MODEL),
  'k_proj/kernel': P(None, MODEL),
  'v_proj/kernel': P(None, MODEL),
  'q_proj/bias': P(MODEL),
  'k_proj/bias': P(MODEL),
  'v_proj/bias': P(MODEL),
  # The vision tower.
  'embeddings/class_embedding': P(),
  'patch_embedding/kernel': P(None, None, None, MODEL),
  'position_embedding/embedding': P(),
  'out_proj/kernel': P(MODEL, None),
  'out_proj/bias': P(),
  'fc1/kernel': P(None, MODEL),
  'fc1/bias': P(MODEL),
  'fc2/kernel': P(MODEL, None),
  'fc2/bias': P(),
  **{
    f'{norm}/{leaf}': P()
    for norm in ('pre_layrnorm', 'post_layernorm', 'layer_norm1', 'layer_norm2')
    for leaf in ('scale', 'bias')
  },
  # The projector.
  'linear_1/kernel': P(None, MODEL),
  'linear_1/bias': P(MODEL),
  'linear_2/kernel': P(MODEL, None),
  'linear_2/bias': P(),
}


def shardings(
  expected: types.ArrayTree,
  mesh: jax.sharding.Mesh | jax.sharding.AbstractMesh,
) -> types.ArrayTree:
  """The place of every parameter; an axis that devices cannot divide is whole.

  Args:
    expected: the module's parameters, as shapes.
    mesh: one with an axis 'model'; no device is asked for anything.

  Raises:
    ValueError: a parameter has no rule.
  """
  devices = mesh.shape[MODEL]

  def place(path, leaf) -> jax.NamedSharding:
    name = jax.tree_util.keystr(path[-2:], simple=True, separator='/')
    if name not in RULES:
      raise ValueError(
        f'No sharding rule for {jax.tree_util.keystr(path)} of shape '
        f'{leaf.shape}: add {name!r} to llava_sharding.RULES, which knows '
        f'{sorted(RULES)}.'
      )
    spec = [*RULES[name], *[None] * (leaf.ndim - len(RULES[name]))]
    whole = [
      axis if axis and size % devices == 0 else None
      for axis, size in zip(spec, leaf.shape, strict=True)
    ]
    return jax.NamedSharding(mesh, P(*whole))

  return jax.tree_util.tree_map_with_path(place, expected)


def bytes_per_device(
  expected: types.ArrayTree, places: types.ArrayTree, itemsize: int
) -> dict[str, int]:
  """Bytes that each device holds, by the first part of parameters' names.

  Args:
    expected: parameters, as shapes.
    places: of `shardings`.
    itemsize: bytes of a number.
  """
  held: dict[str, int] = {}

  def add(path, leaf, place) -> None:
    part = jax.tree_util.keystr(path[:1], simple=True)
    size = math.prod(place.shard_shape(leaf.shape)) * itemsize
    held[part] = held.get(part, 0) + size

  jax.tree_util.tree_map_with_path(add, expected, places)
  return held


def replicated(
  expected: types.ArrayTree, places: types.ArrayTree
) -> Mapping[str, int]:
  """Sizes of matrices that every device holds whole, by name, largest first."""
  found = {}

  def note(path, leaf, place) -> None:
    if leaf.ndim > 1 and place.is_fully_replicated:
      name = jax.tree_util.keystr(path, simple=True, separator='/')
      found[name] = int(np.prod(leaf.shape))

  jax.tree_util.tree_map_with_path(note, expected, places)
  return dict(sorted(found.items(), key=lambda item: -item[1]))
