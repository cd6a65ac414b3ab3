"""A decoder that tells what an image tower sees, token by token.

Image towers that learn to caption see more than those that only match: AIMv2's
are trained by that (Fini et al., arXiv 2411.14402, §2.1) and by predicting
pixels, SigLIP 2's by that beside matching (arXiv 2502.14786, §2.2). No
checkpoint has it: it goes when the training ends.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from saejax.models import clip
from saejax.models import transformer


def prefix_mask(prefix: int, rest: int) -> jax.Array:
  """True where a token may be seen, [1, 1, T, T]; a prefix all tokens see."""
  total = prefix + rest
  causal_TT = jnp.tril(jnp.ones((total, total), bool))
  return (causal_TT | (jnp.arange(total) < prefix)[None])[None, None]


class Decoder(nn.Module):
  """Logits of each token of a caption, given an image and the tokens before."""

  config: clip.TowerConfig
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, image_BPD: jax.Array, ids_BT: jax.Array) -> jax.Array:
    """Returns logits [B, T − 1, V] of the tokens after the first."""
    c = self.config
    dense = lambda width, name: transformer.Dense(
      width, dtype=self.dtype, name=name
    )
    seen_BPD = dense(c.hidden_size, 'connector')(image_BPD)
    embed = clip.TextEmbeddings(c, self.dtype, name='embeddings')
    said_BTD = embed(ids_BT[:, :-1])
    p, t = seen_BPD.shape[1], said_BTD.shape[1]
    x_BTD, _ = clip.encoder(c, self.dtype)(
      jnp.concatenate([seen_BPD, said_BTD], axis=1), prefix_mask(p, t)
    )
    norm = nn.LayerNorm(c.layer_norm_eps, dtype=self.dtype, name='norm')
    return dense(c.vocab_size, 'vocabulary')(norm(x_BTD[:, p:]))
