"""A model's towers as functions of host arrays, run over the mesh."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from saejax import sharding
from saejax import types
from saejax.models import folder

P = jax.P
BATCH = 256
_LENGTHS = 8  # Token lengths of batches are multiples of this: few traces.


@dataclasses.dataclass(frozen=True)
class Tower:
  """One tower. A row is the same whatever lies beside it, but for rounding.

  Attributes:
    start: computes up to `batch` rows; gives [batch, d] while it still runs.
    batch: rows that are computed at a time.
    d: width of the rows.
  """

  start: Callable[[Any], jax.Array]
  batch: int
  d: int

  def __call__(self, inputs: Any) -> np.ndarray:
    """Any number of rows, float32 [N, d]."""
    n = len(jax.tree.leaves(inputs)[0])
    out_ND = np.empty((n, self.d), np.float32)
    for start in range(0, n, self.batch):
      part = jax.tree.map(lambda a, s=start: a[s : s + self.batch], inputs)
      # Cut on the host: a slice of rows split over devices has no layout.
      found = np.asarray(self.start(part))
      out_ND[start : start + self.batch] = found[: n - start]
    return out_ND


def _tower(
  apply: Callable[..., jax.Array],
  params: types.ArrayTree,
  mesh: jax.sharding.Mesh,
  batch: int,
  d: int,
  precision: str | None,
) -> Tower:
  # The towers leave their layout to the compiler: an embedding lookup is
  # ambiguous under Explicit axes.
  run = jax.jit(
    jax.sharding.auto_axes(apply, out_sharding=P(sharding.DATA, None))
  )

  def place(a):
    # Filled up with copies of the last row: zeros are no image of any size.
    short = [(0, batch - len(a))] + [(0, 0)] * (a.ndim - 1)
    return jax.device_put(np.pad(a, short, 'edge'), P(sharding.DATA))

  def start(inputs) -> jax.Array:
    with jax.set_mesh(mesh), jax.default_matmul_precision(precision):
      return run(params, jax.tree.map(place, inputs))

  return Tower(start, batch, d)


@dataclasses.dataclass(frozen=True)
class Embedder:
  """Both towers of a model.

  Attributes:
    image: of what `Pixels.prepare` or `Pixels.shape` gives, stacked.
    text: of token ids [N, T].
    vlm: the model.
  """

  image: Tower
  text: Tower
  vlm: folder.VLM

  def tokenize(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Ids int32 [N, T] of texts, and which of them had to be cut, bool [N]."""
    ids_NT = self.vlm.tokenize(list(texts))
    most = self.vlm.module.config.text.max_position_embeddings
    is_cut_N = self._lengths(ids_NT) >= most
    for i in np.flatnonzero(is_cut_N):  # Full, so that it may have been longer.
      whole = self.vlm.tokenizer(texts[i], verbose=False)['input_ids']
      is_cut_N[i] = len(whole) > most
    return ids_NT, is_cut_N

  def _lengths(self, ids_NT: np.ndarray) -> np.ndarray:
    """Tokens int [N] of texts without their padding.

    One more, in case the token that ends a text is that of the padding.
    """
    t = ids_NT.shape[1]
    is_text_NT = ids_NT != self.vlm.tokenizer.pad_token_id
    last_N = t - np.argmax(is_text_NT[:, ::-1], axis=1)
    return np.minimum(np.where(is_text_NT.any(1), last_N, 0) + 1, t)

  def texts(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of texts; equal ones are computed once, short ones cheaply.

    Args:
      texts: any number of them.

    Returns:
      Rows float32 [N, d], and which texts were cut, bool [N].
    """
    if not texts:
      return np.zeros((0, self.text.d), np.float32), np.zeros(0, bool)
    place = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    ids_UT, is_cut_U = self.tokenize(list(place))
    length_U = self._lengths(ids_UT)
    order_U = np.argsort(length_U, kind='stable')
    row_UD = np.empty((len(place), self.text.d), np.float32)
    for start in range(0, len(order_U), self.text.batch):
      at = order_U[start : start + self.text.batch]
      t = ids_UT.shape[1]
      # Padding at the end changes nothing, unless the last token is read.
      if not self.vlm.module.reads_last_token:
        t = min(-(-int(length_U[at].max()) // _LENGTHS) * _LENGTHS, t)
      row_UD[at] = self.text(ids_UT[at, :t])
    at_N = np.array([place[text] for text in texts])
    return row_UD[at_N], is_cut_U[at_N]


def embedder(
  vlm: folder.VLM, mesh: jax.sharding.Mesh, batch: int = BATCH
) -> Embedder:
  """The towers of a model over a mesh.

  Args:
    vlm: its parameters on the mesh, or on the host: then they are replicated.
    mesh: of devices of this process.
    batch: rows at a time; rounded to what the mesh divides.
  """
  rows = mesh.shape[sharding.DATA]
  batch = max(batch - batch % rows, rows)
  params = vlm.params
  if not all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params)):
    params = jax.device_put(params, jax.NamedSharding(mesh, P()))
  # Accelerators round float32 contractions unless told not to.
  precision = 'highest' if vlm.module.dtype == jnp.float32 else None

  def image(params, images):
    pixels = vlm.pixels(images)
    return vlm.module.apply({'params': params}, pixels, method='image')[0]

  def text(params, ids_BT):
    return vlm.module.apply({'params': params}, ids_BT, method='text')[0]

  make = functools.partial(
    _tower,
    params=params,
    mesh=mesh,
    batch=batch,
    d=vlm.module.config.projection_dim,
    precision=precision,
  )
  return Embedder(image=make(image), text=make(text), vlm=vlm)
