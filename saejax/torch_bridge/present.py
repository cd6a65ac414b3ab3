"""Whether torch is there, and can compute where it is asked to."""

from saejax import errors


def require(who: str, otherwise: str) -> None:
  """UserError where torch is not installed.

  Args:
    who: needs it, as a sentence begins.
    otherwise: what to do without, as it goes on.
  """
  try:
    import torch  # noqa: F401
  except ImportError as e:
    raise errors.UserError(
      f'{who} needs torch, which is not installed: run ./launch.sh test '
      f'--parity or pip install torch{otherwise}.'
    ) from e


def check_device(flag: str, device: str) -> None:
  """UserError unless torch can compute there.

  Args:
    flag: that named the device.
    device: as torch names it.
  """
  import torch

  try:
    torch.zeros(1, device=device)
  except (RuntimeError, AssertionError, NotImplementedError) as e:
    why = str(e).strip().splitlines() or [type(e).__name__]
    raise errors.UserError(
      f'{flag}={device} cannot be used by torch ({why[0].rstrip(".")}): try '
      'cpu or cuda.'
    ) from e
