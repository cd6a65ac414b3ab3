"""Dictionaries of saejax in torch, for edits of torch models.

The equations of `nn.linear`, from its parameters as arrays.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np

from saejax import errors

_TOP_K = ('topk', 'archetypal', 'hierarchical_topk', 'nested_topk')
_BATCH_TOP_K = ('batch_topk', 'matryoshka')
_RELU = ('relu', 'p_anneal')
ARCHITECTURES = (
  *_TOP_K, *_BATCH_TOP_K, *_RELU, 'abs_topk', 'gated', 'jumprelu',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Spec:
  """What `config.json` of a dictionary says; see `io`."""

  arch: str
  k: int
  modalities: tuple[str, ...] = ('all',)
  use_b_dec: bool = True


def _activate(spec: Spec, p: Mapping[str, Any], pre_nS: Any) -> Any:
  """Pre-activations to codes on the encoder's scale, as at inference."""
  import torch

  if spec.arch in _RELU:
    return torch.relu(pre_nS)
  if spec.arch == 'jumprelu':
    return torch.where(pre_nS > p['threshold'], pre_nS, 0.0)
  if spec.arch in _BATCH_TOP_K:
    return torch.where(pre_nS > p['threshold'].clamp(min=0), pre_nS, 0.0)
  if spec.arch == 'gated':
    shared_nS = pre_nS - p['b_enc']
    magnitude_nS = torch.exp(p['r_mag']) * shared_nS + p['b_mag']
    return torch.where(pre_nS > 0, torch.relu(magnitude_nS), 0.0)
  # A stable sort: ties go to the lowest index, as in JAX.
  rank_nS = pre_nS.abs() if spec.arch == 'abs_topk' else pre_nS
  order_nS = torch.sort(rank_nS, dim=1, descending=True, stable=True)[1]
  kept_nK = order_nS[:, : spec.k]
  value_nK = torch.gather(pre_nS, 1, kept_nK)
  if spec.arch != 'abs_topk':
    value_nK = torch.relu(value_nK)
  return torch.zeros_like(pre_nS).scatter(1, kept_nK, value_nK)


def dictionary(
  spec: Spec, arrays: Mapping[str, np.ndarray]
) -> Callable[[Any, Any], tuple[Any, Any]]:
  """Codes [n, S] and x̂ [n, D] of rows [n, D], and of whether each is an image.

  Args:
    spec: of the dictionary.
    arrays: its parameters and constants by name, w_enc as [S, D].

  Raises:
    UserError: the variant is not among ARCHITECTURES.
  """
  import torch

  if spec.arch not in ARCHITECTURES:
    raise errors.UserError(
      f'A dictionary of arch {spec.arch!r} does not run in torch; choose of '
      f'{", ".join(ARCHITECTURES)}.'
    )
  tensors = {
    name: torch.tensor(np.asarray(a, np.float32)) for name, a in arrays.items()
  }
  names = list(spec.modalities)

  def run(x_nD: Any, is_image_n: Any) -> tuple[Any, Any]:
    p = {name: t.to(x_nD.device) for name, t in tensors.items()}
    m_n = torch.zeros_like(is_image_n, dtype=torch.long)
    if len(names) > 1:
      m_n = torch.where(is_image_n, names.index('image'), names.index('text'))
    center_nD, scale_n1 = p['center'][m_n], p['scale'][m_n][:, None]
    u_nD = (x_nD - center_nD) * scale_n1
    z_nS = _activate(spec, p, u_nD @ p['w_enc'].T + p['b_enc']) / scale_n1
    xhat_nD = z_nS @ p['w_dec'] + center_nD
    if spec.use_b_dec:
      xhat_nD = xhat_nD + p['b_dec'] / scale_n1
    return z_nS, xhat_nD

  return run
