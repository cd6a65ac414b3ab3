"""The runs that stability compares, trained from one set of settings."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import fractions
import os

from saejax import errors
from saejax import store as store_lib
from saejax.train import config as config_lib
from saejax.train import loop

Configs = dict[str, config_lib.TrainConfig]


def parse_shares(given: Sequence[str]) -> tuple[fractions.Fraction, ...]:
  """Shares of images from '1/6' or '0.25', rising."""
  shares = []
  for text in given:
    try:
      share = fractions.Fraction(text)
    except (ValueError, ZeroDivisionError):
      share = fractions.Fraction(0)
    if not 0 < share < 1:
      raise errors.UserError(
        f'--diets={",".join(given)}: {text!r} is no share of images; write '
        'fractions between 0 and 1, such as 1/6,1/2,5/6.'
      )
    shares.append(share)
  return tuple(sorted(set(shares)))


def diet_rows(
  shares: Sequence[fractions.Fraction], images: int, texts: int
) -> list[tuple[int, int]]:
  """Images and texts of each diet: the largest equal total of distinct rows.

  The middle diet is drawn twice, for the control of other rows.
  """
  middle = reference(shares)
  bounds = [images / s for s in shares] + [texts / (1 - s) for s in shares]
  bounds += [images / (2 * middle), texts / (2 * (1 - middle))]

  def is_drawn_twice(total: int) -> bool:
    image = round(float(total * middle))
    return 2 * image <= images and 2 * (total - image) <= texts

  total = int(min(bounds))
  # A half of an odd total is rounded up, for which there may be no row left.
  while total and not is_drawn_twice(total):
    total -= 1
  counts = [round(float(total * s)) for s in shares]
  if not total or min(counts) < 1 or max(counts) >= total:
    raise errors.UserError(
      f'{images} images and {texts} texts in train are too few for the diets '
      f'{",".join(map(str, shares))}.'
    )
  return [(n, total - n) for n in counts]


def reference(shares: Sequence[fractions.Fraction]) -> fractions.Fraction:
  """The share nearest to a half, which the others are compared with."""
  return min(shares, key=lambda s: abs(s - fractions.Fraction(1, 2)))


def runs(
  config: config_lib.TrainConfig,
  seeds: Sequence[int],
  data_seeds: Sequence[int],
  shares: Sequence[fractions.Fraction] = (),
) -> Configs:
  """Settings of every run, by name: seeds × orders, then diets × seeds."""
  configs: Configs = {}
  of = lambda **kw: dataclasses.replace(config, **kw)
  for seed in seeds:
    for data_seed in data_seeds:
      name = f'seed={seed}'
      if len(data_seeds) > 1:
        name += f',data_seed={data_seed}'
      configs[name] = of(seed=seed, data_seed=data_seed)
  if not shares:
    return configs
  if config.rows or config.mix != 'natural':
    raise errors.UserError(
      '--diets choose rows and their mix: leave out --rows and --mix.'
    )
  store = store_lib.Store(config.store)
  train = [len(store[name].rows('train')) for name in ('image', 'text')]
  counts = diet_rows(shares, *train)
  for share, (image, text) in zip(shares, counts, strict=True):
    rows = f'image={image},text={text}'
    draws = (0, 1) if share == reference(shares) else (0,)
    for draw in draws:
      for seed in seeds:
        name = f'share={float(share):.3f},seed={seed}'
        name += f',draw={draw}' if draw else ''
        given = f'{rows},draw={draw}' if draw else rows
        configs[name] = of(seed=seed, rows=given)
  return configs


def train(configs: Mapping[str, config_lib.TrainConfig], out: str, say):
  """Trains every run that is not there yet; folders of dictionaries by name."""
  found = {}
  for i, (name, config) in enumerate(configs.items(), 1):
    say(f'{i}/{len(configs)} Training {name} …')
    folder = os.path.join(out, 'runs', name)
    found[name] = loop.train(config, folder, resume=True)
  return found


def wanted(a: config_lib.TrainConfig, b: config_lib.TrainConfig) -> bool:
  """Whether two trained runs are to be compared.

  Those with one start only where nothing but the order differs; diets with
  each other and not with runs of all rows.
  """
  if bool(a.rows) != bool(b.rows):
    return False
  if a.seed == b.seed:
    return a.rows == b.rows and a.data_seed != b.data_seed
  return True
