"""What changes with the step, and with nothing else."""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Annealing:
  """Moves k in a line over the first steps, and leaves it.

  Falling to its end, it lets more concepts learn before few may speak, as the
  warm-up of a penalty does; rising, it begins with the strongest.

  Attributes:
    start: k at step 0.
    share: of the steps, over which it moves.
  """

  start: int
  share: float

  def k(self, step: jax.Array | int, steps: int, end: int) -> jax.Array:
    """Mean active concepts a row at one of `steps` steps: a float32 scalar.

    It is `end` exactly from step `share`·`steps` on.
    """
    moving = max(self.share * steps, 1.0)
    left = 1 - jnp.clip(step / jnp.float32(moving), 0.0, 1.0)
    return end + (self.start - end) * left
