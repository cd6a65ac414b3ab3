"""The legend of letters, and the types every part of saejax speaks.

Array names end in the letters of their axes: `x_BD` is batch by width. One
letter, one meaning, everywhere:

  B  batch            N  rows             n  some of the rows
  D  embedding width  S  dictionary size  K  active concepts of a row
  M  modalities       F  factors, labels  G  groups (images)
  L  layers           T  tokens           C  classes
  H, W  height and width of an image; in attention H is heads
  R  bootstrap draws  O  objects of a scene
  1  an axis of one

Lower-case letters stand for a part of an axis: `x_nD` is some rows of `x_ND`.
"""

from typing import Any

import flax
import jax

ArrayTree = Any  # A nested dict of arrays, as Flax keeps parameters.


@flax.struct.dataclass
class Dense:
  """Codes as an array [B, S], mostly zeros."""

  z_BS: jax.Array


@flax.struct.dataclass
class Sparse:
  """Codes as values and their concepts; padding is (0, S).

  K to each row; or packed, and then `row_BK` says whose they are.
  """

  values_BK: jax.Array
  index_BK: jax.Array
  row_BK: jax.Array | None = None


Codes = Dense | Sparse


@flax.struct.dataclass
class Output:
  """What every SAE returns.

  Attributes:
    codes: activations of concepts, on the stored scale.
    xhat_BD: the reconstruction, on the stored scale.
    aux: what the variant adds for its losses: `pre_BS` pre-activations,
      `u_BD` the standardised input, `center_BD` and `scale_B1` what
      standardises each row of the target, `codes` the codes on that scale.
  """

  codes: Codes
  xhat_BD: jax.Array
  aux: dict[str, Any]


@flax.struct.dataclass
class Batch:
  """Rows to train on, and what to make of them.

  Attributes:
    x_BD: what the encoder reads.
    modality_B: the index of each row's modality.
    y_BD: what the decoder should give; None for x itself.
  """

  x_BD: jax.Array
  modality_B: jax.Array
  y_BD: jax.Array | None = None

  @property
  def target_BD(self) -> jax.Array:
    return self.x_BD if self.y_BD is None else self.y_BD
