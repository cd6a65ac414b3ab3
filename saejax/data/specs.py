"""Data set specs, as `--dataset` takes them: `name:key=value,key=value`."""

from collections.abc import Mapping
import dataclasses

from saejax import errors
from saejax.data import scenes
from saejax.store import splits


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneSet:
  """A finite piece of the procedural world: `scenes:n=16384,seed=1`.

  Training of the shipped model uses seed 0, so that other seeds are scenes it
  never saw.
  """

  n: int = 16_384
  seed: int = 1
  captions: str = 'partial'
  texts: int = 3  # Captions of each image.
  splits: tuple[float, ...] = splits.DEFAULT_FRACTIONS

  @property
  def world(self) -> scenes.World:
    return scenes.World(seed=self.seed, captions=self.captions)


def _pairs(text: str) -> Mapping[str, str]:
  try:
    return dict(part.split('=') for part in text.split(',') if part)
  except ValueError:
    raise errors.UserError(
      f'{text!r} is not a list of key=value pairs joined by commas.'
    ) from None


def parse(spec: str) -> SceneSet:
  """Reads a spec such as `scenes:n=4096,captions=full,splits=0.8/0.1/0.1`."""
  name, _, rest = spec.partition(':')
  if name != 'scenes':
    raise errors.UserError(
      f"--dataset={spec} names no data set that is known: 'scenes' is."
    )
  casts = {
    'n': int,
    'seed': int,
    'captions': str,
    'texts': int,
    'splits': lambda v: tuple(float(f) for f in v.split('/')),
  }
  fields = {}
  for key, value in _pairs(rest).items():
    if key not in casts:
      raise errors.UserError(
        f'--dataset={spec}: {key!r} is unknown; known are {", ".join(casts)}.'
      )
    try:
      fields[key] = casts[key](value)
    except ValueError:
      raise errors.UserError(
        f'--dataset={spec}: {key}={value} is not of the right type.'
      ) from None
  found = SceneSet(**fields)
  if found.n < 1 or found.texts < 1:
    raise errors.UserError(f'--dataset={spec}: n and texts must be at least 1.')
  try:
    _ = found.world
    splits.assign_splits([0], found.splits)
  except ValueError as e:
    raise errors.UserError(f'--dataset={spec}: {e}') from None
  return found
