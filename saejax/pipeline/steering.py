"""Whether directions of classes cause what a model says of an image.

As arXiv 2506.04706 §4 adds k·v to the residual stream at one layer, and reads
how often the model names the class, and what that costs elsewhere. A class
counts as causal by its rank: the effect of its direction on held-out scenes, at
a strength that was chosen on other scenes within some damage, among those of
directions by chance that choose likewise.
"""

import dataclasses
import os
from typing import Any

import numpy as np
import tqdm

from saejax import run
from saejax.data import judge as judge_lib
from saejax.pipeline import steering_after as after
from saejax.pipeline import steering_effects as effects
from saejax.pipeline import steering_findings
from saejax.pipeline import steering_judged
from saejax.pipeline import steering_scenes
from saejax.pipeline import steering_setup
from saejax.store import files

DIRECTIONS, TURNED = 'directions.safetensors', 'turned.safetensors'
Config, Made = steering_setup.SteerConfig, steering_setup.Made


def _after(s: effects.Subject, config: Config, site, made, target, found, out):
  """Specificity where it is asked, and rollouts at the chosen strength."""
  at = int(found[f'chosen/{config.tested}'])
  v_D = made.directions.unit[config.tested][target]
  added_D = s.scaled(v_D[None], s.strength_K[at])[0]
  half = int(found[f'half/{config.tested}'])
  name = f'{site}.{steering_scenes.FACTORS[config.factor][target]}'
  other, written = {}, []
  if half >= 0:
    turning_D = s.scaled(v_D[None], s.strength_K[half])[0]
    other = effects.kept(
      out,
      f'{name}.specificity',
      lambda: after.specificity(s, site, target, turning_D),
    )
  if config.rollouts:
    written = effects.kept_lines(
      out,
      f'{name}.rollouts',
      lambda: after.rollouts(s, site, target, added_D, config.rollouts),
    )
  return other, written


def _measure(config: Config, site: str, s: effects.Subject, made: Made, out):
  """All of one site, a class at a time; what is in its files is not redone."""
  unit, names = made.directions.unit, steering_scenes.FACTORS[config.factor]
  harm = effects.kept(
    out,
    f'{site}.damage',
    lambda: effects.measure_damage(s, site, made.classes, unit, made.null_ND),
  )
  classes = {}
  for c in tqdm.tqdm(made.classes, unit='class', desc=site, disable=None):
    found = effects.kept(
      out,
      f'{site}.{names[c]}.effects',
      lambda c=c: effects.measure_class(
        s, site, c, made.classes, unit, made.null_ND, harm, config.tested,
        config.damage,
      ),
    )  # fmt: skip
    other, written = _after(s, config, site, made, c, found, out)
    classes[names[c]] = steering_findings.Class(c, found, other, written)
  return steering_findings.Site(site, harm, classes)


def _judged(site: steering_findings.Site, config: Config, judge):
  """The site with what a judge reads in its rollouts."""
  names = steering_scenes.FACTORS[config.factor]
  read = lambda c: dataclasses.replace(
    c,
    rollouts=steering_judged.judged(judge, c.rollouts, config.factor, names),
  )
  of = {name: read(c) for name, c in site.classes.items()}
  return dataclasses.replace(site, classes=of)


def steer(
  config: Config,
  out: str,
  resume: bool = False,
  judge: judge_lib.Judge | None = None,
) -> dict[str, dict[str, Any]]:
  """Steers, and writes what comes of it; the entries of `results.json`.

  A run that was stopped goes on at the class it was at.

  Args:
    config: what is done.
    out: the run's folder.
    resume: whether a run that is there goes on.
    judge: who reads rollouts, beside what words stand there.

  Raises:
    UserError: something is not there, or `out` holds something else.
  """
  asked = dataclasses.asdict(config)
  run.check_folder(out, asked, resume)
  steering_setup.scenes_of(config)
  model = steering_setup.load(config)
  sae = steering_setup.load_sae(config, model)
  subject = steering_setup.subject(config, model)
  made = steering_setup.make(config, subject.asker, sae)
  run.open_folder(out, asked, resume)
  subject = dataclasses.replace(subject, norm=made.entering.norm)
  files.write_arrays(
    os.path.join(out, DIRECTIONS),
    made.directions.arrays() | {'image_token_norm': np.float32(subject.norm)},
  )
  sites = []
  for name in config.sites:
    site, s, own = steering_setup.at(name, subject, made)
    if s.span is not None:
      files.write_arrays(
        os.path.join(out, TURNED),
        own.directions.arrays()
        | {'basis': s.span.basis_nD, 'centre': s.span.centre_D,
           'scale': np.float32(s.norm)},
      )  # fmt: skip
    sites.append(_measure(config, site, s, own, out))
  if judge is not None:
    sites = [_judged(site, config, judge) for site in sites]
  found = steering_findings.findings(config, made, sites, sae, model)
  found.write(out)
  return found.entries
