"""The report of the study of arXiv 2506.04706, by claim."""

from collections.abc import Sequence
import itertools

from saejax.report import claims_sight
from saejax.report import judging
from saejax.report import study

CONTROL = 'Control'


def figures(
  layers: Sequence[int], factors: Sequence[str]
) -> list[tuple[str, str]]:
  """Paths, without their ending, and words of all that a study may draw."""
  found = [
    ('probe/figures/probes', 'What can be read at images, by layer'),
    ('sharing/figures/representations', 'Images and texts, by layer'),
    ('sharing/figures/concepts', 'Concepts that both have, by layer'),
    ('transfer/figures/probes', 'Read at images by probes of bare captions'),
    ('steer/figures/by_layer', 'What steering does, by layer'),
  ]
  for layer, factor in itertools.product(layers, factors):
    at, of = (
      f'layer{layer:02d}/steer-{factor}/figures',
      f'{factor}, layer {layer}',
    )
    found += [
      (f'{at}/efficacy_damage', f'What steering does, and costs: {of}'),
      (f'{at}/classes', f'Classes among random directions: {of}'),
      (f'{at}/decomposition', f'Directions as few concepts: {of}'),
    ]
  for layer in layers:
    at = f'layer{layer:02d}'
    found += [
      (f'{at}/splice/figures/splice', f'Loss recovered: layer {layer}'),
      (f'{at}/autointerp/figures/detection', f'Explanations: layer {layer}'),
    ]
  return found


def report(
  out: str,
  model: str,
  dataset: str,
  setting: str,
  judged: Sequence[judging.Judged],
  drawn: Sequence[tuple[str, str]],
) -> study.Report:
  """What is told of a study.

  Args:
    out: its folder.
    model: its name.
    dataset: what the model was shown.
    setting: what was chosen, in words.
    judged: of `claims_sight.CLAIMS`, in order.
    drawn: of `figures`.
  """
  about = [f'Model: {model}', f'Data: {dataset}', setting]
  claims = claims_sight.CLAIMS
  titles = [f'Claim {i + 1}' for i in range(len(claims) - 1)]
  return study.Report(
    title='Line of sight: how a vision language model holds an image',
    name='saejax: paper 2',
    about=[*about, study.WORLD] if dataset.startswith('scenes') else about,
    head=('Model',),
    claims=[
      study.Claim(title, study.words_of(claim), j.rule, [((model,), j)])
      for title, claim, j in zip(
        [*titles, CONTROL], claims, judged, strict=True
      )
    ],
    figures=study.drawn(out, drawn),
  )
