"""The residual stream of transformers' LLaVA-NeXT, read by hooks.

What enters a block is what its forward hook is given, a tensor in every version
of transformers, whether blocks return tensors (5) or tuples (4); what leaves
the last block is what enters the norm after it.

Letters as in `models.llama`.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
from typing import Any

import numpy as np

from saejax import errors

_CLASS = 'LlavaNextForConditionalGeneration'


class _Enough(Exception):
  """The last layer that was asked for has been seen."""


def load(path: str, dtype: str = 'float32', device: str = 'cpu') -> Any:
  """A model from a folder in Hugging Face layout, ready to run.

  Raises:
    UserError: it cannot be read, or lacks a tensor, which transformers would
      fill with random numbers.
  """
  import torch
  import transformers

  logging = transformers.utils.logging
  before = logging.get_verbosity()
  logging.set_verbosity_error()
  logging.disable_progress_bar()
  try:
    model, info = getattr(transformers, _CLASS).from_pretrained(
      path,
      torch_dtype=getattr(torch, dtype),
      local_files_only=True,
      output_loading_info=True,
    )
  except Exception as e:  # The files may hold anything.
    why = (str(e).strip() or type(e).__name__).splitlines()[0].rstrip('.')
    raise errors.UserError(f'torch cannot read {path} ({why}).') from e
  finally:
    logging.set_verbosity(before)
    logging.enable_progress_bar()
  absent = sorted(map(str, info.get('missing_keys') or ()))
  if absent or info.get('mismatched_keys'):
    odd = absent or [str(k) for k in info['mismatched_keys']]
    raise errors.UserError(
      f'{path} lacks the tensor {odd[0]}, or has it of another shape '
      f'({len(odd)} such).'
    )
  return model.eval().to(device)


def decoder(model: Any) -> Any:
  """The part with `layers` and a `norm`, wherever a version keeps it."""
  inside = getattr(model, 'model', model).language_model
  return getattr(inside, 'model', inside)


def entrances(model: Any) -> list[Any]:
  """Modules that read the residual: the blocks, then the norm after them."""
  found = decoder(model)
  return [*found.layers, found.norm]


def residual(args: tuple, kwargs: dict[str, Any]) -> Any:
  """The residual [B, T, D] among what a module is called with."""
  return args[0] if args else kwargs['hidden_states']


@contextlib.contextmanager
def recording(model: Any, layers: Sequence[int]) -> Iterator[dict[int, Any]]:
  """Within it, every forward ends as soon as the given layers are seen.

  Yields:
    What entered each of them in the last forward, by layer.
  """
  seen: dict[int, Any] = {}
  places, last = entrances(model), max(layers)

  def note(layer: int):
    def hook(module, args, kwargs):
      del module
      seen[layer] = residual(args, kwargs)
      if layer == last:
        raise _Enough

    return hook

  handles = [
    places[n].register_forward_pre_hook(note(n), with_kwargs=True)
    for n in layers
  ]
  try:
    yield seen
  finally:
    for handle in handles:
      handle.remove()


def inputs(
  model: Any,
  ids_BT: np.ndarray,
  is_real_BT: np.ndarray,
  images: dict[str, np.ndarray] | None = None,
) -> dict[str, Any]:
  """What the model's forward takes.

  Args:
    model: it says where, and of what type images are.
    ids_BT: token ids, padded on the right, an image's repeated.
    is_real_BT: what is no padding.
    images: what the image processor makes of all images: `pixel_values` and
      `image_sizes`; None without any.
  """
  import torch

  device = next(model.parameters()).device
  found = {
    'input_ids': torch.tensor(np.asarray(ids_BT, np.int64)),
    'attention_mask': torch.tensor(np.asarray(is_real_BT, np.int64)),
  }
  if images is not None:
    pixels = torch.tensor(np.asarray(images['pixel_values'], np.float32))
    found['pixel_values'] = pixels.to(model.dtype)
    found['image_sizes'] = torch.tensor(np.asarray(images['image_sizes']))
  return {name: t.to(device) for name, t in found.items()}


def residuals(
  model: Any, given: dict[str, Any], layers: Sequence[int]
) -> dict[int, np.ndarray]:
  """What enters the given blocks: float32 [B, T, D] by layer.

  Args:
    model: of transformers.
    given: of `inputs`.
    layers: numbers of blocks; their count stands for what leaves the last.
  """
  import torch

  with torch.inference_mode(), recording(model, layers) as seen:
    with contextlib.suppress(_Enough):
      model(**given, use_cache=False)
    return {n: x.float().cpu().numpy() for n, x in seen.items()}
