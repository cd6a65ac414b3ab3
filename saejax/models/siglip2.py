"""SigLIP 2 NaFlex (Tschannen et al., arXiv 2502.14786, §2.4.2) in Linen.

SigLIP for images of any size and shape: what comes in is a fixed number of
slots for patches, of which each image fills as many as it has, and positions
are stretched to each image's own grid. Parameter paths are the names of
`transformers.Siglip2Model`. (SigLIP 2 models of one resolution are
`siglip.SigLIP`, in `transformers` too.)

Letters: P numbers of a patch (row, column, channel).
"""

import flax
from flax import linen as nn
import jax
import jax.numpy as jnp

from saejax.models import positions
from saejax.models import siglip
from saejax.models import transformer


@flax.struct.dataclass
class Patches:
  """Images as the Hugging Face processor gives them.

  Attributes:
    patch_BTP: the patches of each image, row by row, then padding.
      `pixel_values` there.
    mask_BT: true where there is a patch. `pixel_attention_mask`.
    grid_B2: height and width of each image, in patches. `spatial_shapes`.
      Where h·w > T, or either is 0, the result is meaningless: they may be
      traced, so that nothing here can check them.
  """

  patch_BTP: jax.Array
  mask_BT: jax.Array
  grid_B2: jax.Array


class VisionEmbeddings(nn.Module):
  config: siglip.TowerConfig
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, image: Patches) -> tuple[jax.Array, jax.Array]:
    c = self.config
    x_BTD = transformer.Dense(
      c.hidden_size, dtype=self.dtype, name='patch_embedding'
    )(image.patch_BTP)
    table = nn.Embed(c.num_patches, c.hidden_size, name='position_embedding')
    position_BTD = positions.to_grids(
      table.embedding, image.grid_B2, x_BTD.shape[1]
    )
    return x_BTD + position_BTD.astype(self.dtype), image.mask_BT


class VisionTower(siglip.VisionTower):
  """Of `Patches`. Tokens in slots of padding are no part of the image."""

  embedder = VisionEmbeddings


class SigLIP2(siglip.SigLIP):
  """Both towers; `image` embeds `Patches`. One trace serves all grids."""

  vision_tower = VisionTower
