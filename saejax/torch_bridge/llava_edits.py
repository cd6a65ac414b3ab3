"""The edits of `models.edits`, in transformers' LLaVA-NeXT on torch.

  with llava_edits.edited(model, {8: where(on_image, add(8 * v))}):
    model.generate(**inputs)

An edit is a function of a residual [B, T, D] and of what stands at its
positions, as in JAX, and equal to it: `edited` hooks them to what enters the
blocks. Works on prompts padded on either side.

Letters as in `models.llama`; S concepts of a dictionary.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
from typing import Any

import numpy as np

from saejax import errors
from saejax.torch_bridge import llava_export


@dataclasses.dataclass(frozen=True)
class Tokens:
  """What an edit may know of each position; torch tensors.

  Attributes:
    ids_BT: token ids, those of images repeated for each of their positions.
    position_BT: which token of the row, from 0.
    is_image_BT: whether an image's features stand there.
    is_real_BT: whether it is no padding.
  """

  ids_BT: Any
  position_BT: Any
  is_image_BT: Any
  is_real_BT: Any


# From a residual [B, T, D] and what stands at its positions to another.
Edit = Callable[[Any, Tokens], Any]
# Which positions: bool [B, T].
Where = Callable[[Tokens], Any]
# From rows [n, D] and whether each is an image's to codes [n, S] and x̂ [n, D].
Dictionary = Callable[[Any, Any], tuple[Any, Any]]


def tokens_of(ids_BT: Any, mask_BU: Any, image_id: int, before: int = 0):
  """What stands at the T positions of a forward.

  Args:
    ids_BT: their token ids.
    mask_BU: what is no padding, of all positions so far; None for all.
    image_id: of the positions that an image fills.
    before: how many positions there were before, padding included.
  """
  import torch

  b, t = ids_BT.shape
  if mask_BU is None:
    mask_BU = torch.ones(b, before + t, device=ids_BT.device)
  real_BT = mask_BU[:, -t:].bool()
  position_BU = mask_BU.long().cumsum(1) - 1
  return Tokens(
    ids_BT=ids_BT,
    position_BT=position_BU[:, -t:].clamp(min=0),
    is_image_BT=(ids_BT == image_id) & real_BT,
    is_real_BT=real_BT,
  )


def _before(kwargs: Mapping[str, Any]) -> int:
  """How many positions the cache of keys has; its name depends on a version."""
  for name in ('cache', 'past_key_values'):
    if kwargs.get(name) is not None:
      return int(kwargs[name].get_seq_length())
  return 0


def _image_id(config: Any) -> int:
  found = getattr(config, 'image_token_index', None)
  return getattr(config, 'image_token_id', None) if found is None else found


@contextlib.contextmanager
def edited(
  model: Any,
  edits: Mapping[int, Edit],
  step_edits: Mapping[int, Edit] | None = None,
) -> Iterator[None]:
  """Within it, every forward of the model edits what enters the blocks.

  Args:
    model: transformers' LLaVA-NeXT; called by itself or in `generate`.
    edits: of whole rows, and of the prompts in `generate`, by block; their
      count stands for what leaves the last.
    step_edits: of every new token that `generate` reads; None for none.

  Raises:
    UserError: there is no such block.
  """
  step_edits = step_edits or {}
  places, now = llava_export.entrances(model), {}
  for n in [*edits, *step_edits]:
    if not 0 <= n < len(places):
      raise errors.UserError(
        f'There is no layer {n} to edit: the model has {len(places) - 1}, and '
        f'{len(places) - 1} stands for their end.'
      )

  def note(module, args, kwargs):
    ids_BT = args[0] if args else kwargs['input_ids']
    # A mask of ones may be left out, so that it does not tell what is new.
    before = _before(kwargs)
    now['tokens'] = tokens_of(
      ids_BT, kwargs.get('attention_mask'), _image_id(module.config), before
    )
    now['edits'] = step_edits if before else edits

  def hook(layer: int):
    def change(module, args, kwargs):
      del module
      edit = now['edits'].get(layer)
      if edit is None:
        return None
      x_BTD = llava_export.residual(args, kwargs)
      new_BTD = edit(x_BTD, now['tokens']).to(x_BTD.dtype)
      if args:
        return (new_BTD, *args[1:]), kwargs
      return args, kwargs | {'hidden_states': new_BTD}

    return change

  handles = [model.register_forward_pre_hook(note, with_kwargs=True)]
  handles += [
    places[n].register_forward_pre_hook(hook(n), with_kwargs=True)
    for n in sorted({*edits, *step_edits})
  ]
  try:
    yield
  finally:
    for handle in handles:
      handle.remove()


def everywhere(tokens: Tokens) -> Any:
  return tokens.is_real_BT


def on_image(tokens: Tokens) -> Any:
  return tokens.is_image_BT


def on_text(tokens: Tokens) -> Any:
  return tokens.is_real_BT & ~tokens.is_image_BT


def but_first(tokens: Tokens) -> Any:
  """All but the start token, whose residual is like no other."""
  return tokens.is_real_BT & (tokens.position_BT > 0)


def at(positions: Sequence[int]) -> Where:
  """The given positions of every row."""

  def mask(tokens: Tokens) -> Any:
    here = sum(tokens.position_BT == p for p in positions) > 0
    return tokens.is_real_BT & here

  return mask


def where(mask: Where, edit: Edit) -> Edit:
  """The edit at some positions alone."""
  import torch

  return lambda x_BTD, tokens: torch.where(
    mask(tokens)[..., None], edit(x_BTD, tokens).to(x_BTD.dtype), x_BTD
  )


def chain(*edits: Edit) -> Edit:
  """One after the other."""

  def changed(x_BTD, tokens):
    for edit in edits:
      x_BTD = edit(x_BTD, tokens)
    return x_BTD

  return changed


def _like(array: Any, x: Any, dtype: Any = None) -> Any:
  import torch

  array = array if isinstance(array, torch.Tensor) else np.array(array)
  return torch.as_tensor(array).to(x.device, dtype or x.dtype)


def add(direction_D: Any) -> Edit:
  """x + v; subtracts, of −v. [D], or [B, D] of a direction for each row."""

  def changed(x_BTD, tokens):
    del tokens
    v = _like(direction_D, x_BTD)
    return x_BTD + (v if v.ndim == 1 else v[:, None])

  return changed


def subtract(direction_D: Any) -> Edit:
  """x − v."""
  return add(-direction_D)


def project_out(directions_nD: Any) -> Edit:
  """x without its part in the span of directions [n, D], or of one [D]."""
  rows_nD = np.atleast_2d(np.asarray(directions_nD, np.float64))
  basis_Dn = np.linalg.qr(rows_nD.T)[0].astype(np.float32)

  def changed(x_BTD, tokens):
    del tokens
    wide_BTD = x_BTD.float()
    basis = _like(basis_Dn, wide_BTD)
    return (wide_BTD - (wide_BTD @ basis) @ basis.T).to(x_BTD.dtype)

  return changed


def replace(other_BTD: Any) -> Edit:
  """What another run had there, or anything that broadcasts: a mean, zeros."""

  def changed(x_BTD, tokens):
    del tokens
    return _like(other_BTD, x_BTD).expand_as(x_BTD)

  return changed


def _run(dictionary: Dictionary, x_BTD: Any, tokens: Tokens, modality):
  """Rows of every position, their codes and x̂."""
  x_nD = x_BTD.reshape(-1, x_BTD.shape[-1]).float()
  image_n = tokens.is_image_BT.reshape(-1)
  if modality is not None:
    image_n = image_n.new_full(image_n.shape, modality == 'image')
  return x_nD, *dictionary(x_nD, image_n)


def reconstruct(dictionary: Dictionary, modality: str | None = None) -> Edit:
  """x̂ of a dictionary in place of x.

  Args:
    dictionary: of `sae_torch.dictionary`.
    modality: whose centre and scale rows take; None: image where an image
      stands, else text.
  """

  def changed(x_BTD, tokens):
    _, _, xhat_nD = _run(dictionary, x_BTD, tokens, modality)
    return xhat_nD.reshape(x_BTD.shape).to(x_BTD.dtype)

  return changed


def clamp(
  dictionary: Dictionary,
  direction_D: Any,
  concept: int,
  value: float,
  modality: str | None = None,
) -> Edit:
  """Sets one concept's activation, and leaves the dictionary's error as is.

  x + (value − z)·d, with d the concept's row of the decoder; see
  `models.edits.clamp`.
  """

  def changed(x_BTD, tokens):
    x_nD, z_nS, _ = _run(dictionary, x_BTD, tokens, modality)
    d_D = _like(direction_D, x_nD)
    moved_nD = x_nD + (value - z_nS[:, concept])[:, None] * d_D
    return moved_nD.reshape(x_BTD.shape).to(x_BTD.dtype)

  return changed
