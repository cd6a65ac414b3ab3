"""What the claims of arXiv 2506.04706 on steering are held to.

A class may be steered at several layers. It passes where one of these does,
and p values are corrected over all classes at all layers, so that more layers
are no more chances.
"""

from collections.abc import Mapping
from collections.abc import Sequence

from saejax.report import judging

HOLDS, FAILS, OPEN = judging.HOLDS, judging.FAILS, judging.OPEN
LEVEL = 0.05
FALL = 0.05  # Accuracy lost, at most.
TESTED = 'steer/image/adjusted'
_TURNED = ('colour', 'shape')  # Each is asked after while the other is turned.
Entry, Judged = judging.Entry, judging.Judged
Entries = Mapping[str, Entry]
ByLayer = Mapping[int, Entries]


def _names(over: Entries, factor: str) -> list[str]:
  """Classes of a factor that were steered."""
  start, end = f'steer/{factor}/', '/layer'
  return [
    name.removeprefix(start).removesuffix(end)
    for name in over
    if name.startswith(start) and name.endswith(end)
  ]


def _caused(by_layer: ByLayer, over: Entries, factor: str) -> str:
  """Verdict on one factor."""
  count = over.get(f'steer/{factor}/causal_classes')
  if count is None or count['value'] is None or not count.get('n'):
    return OPEN
  if not count['value']:
    return FAILS
  where = {
    over[f'steer/{factor}/{name}/layer']['value']
    for name in _names(over, factor)
    if (over[f'steer/{factor}/{name}/p_holm']['value'] or 0) <= LEVEL
  }
  rises = [
    judging.compare(
      found.get(f'{TESTED}/chosen/rise'),
      found.get('steer/image/random/chosen/rise'),
    )
    for layer, found in by_layer.items()
    if layer in where
  ]
  most = HOLDS if 2 * count['value'] >= count['n'] else OPEN
  return judging.all_of([most, *rises])


def causes(
  steer: Mapping[str, ByLayer], over: Entries, factors: Sequence[str]
) -> Judged:
  """Whether directions of classes cause what the model says.

  Args:
    steer: what was found by factor and layer.
    over: what was found over all layers.
    factors: that were steered.
  """
  measured, null, verdicts = {}, {}, []
  for factor in factors:
    by_layer = steer.get(factor, {})
    verdicts.append(_caused(by_layer, over, factor))
    measured[f'{factor}, classes that pass'] = over.get(
      f'steer/{factor}/causal_classes'
    )
    for layer, own in by_layer.items():
      at = f'{factor}, layer {layer}'
      measured[f'{at}, rise of the target’s probability'] = own.get(
        f'{TESTED}/chosen/rise'
      )
      measured[f'{at}, answers that are turned'] = own.get(
        f'{TESTED}/chosen/turned'
      )
      null[f'{at}, random directions, as much damage allowed'] = own.get(
        'steer/image/random/chosen/rise'
      )
    for name in _names(over, factor):
      layer = over[f'steer/{factor}/{name}/layer']['value']
      at, own = f'{factor}, {name} at layer {layer}', by_layer.get(layer, {})
      measured[at] = own.get(f'{TESTED}/{name}/rise')
      null[f'{at}, random within the same damage'] = own.get(
        f'{TESTED}/{name}/rise/null'
      )
  return judging.judged(
    verdicts,
    measured,
    null,
    'A class passes where, at one layer or more, the effect of its direction '
    'on held-out images ranks with p ≤ 0.05 among those of random directions '
    'that choose their strength alike, within the same damage, corrected over '
    'all classes at all layers (Holm). Of every factor at least half of the '
    'classes pass, and the probability of the target rises by more than with '
    'random directions wherever one passes; it fails where no class passes, '
    'and is open where fewer than half do. Damage is what captions of other '
    'scenes lose, the names of the factor’s classes apart.',
  )


def _told_apart(found: Entries, site: str, other: str) -> str:
  """Whether answers about another factor stay while one is turned."""
  at = f'steer/{site}/specificity/{other}'
  fall, before = found.get(f'{at}/fall'), found.get(f'{at}/before')
  if judging.compare(before, found.get(f'{at}/chance')) != HOLDS:
    return OPEN  # What is not known cannot be lost.
  low, high = judging.low(fall), judging.high(fall)
  if None in (low, high):
    return OPEN
  if high <= FALL:
    return HOLDS
  return FAILS if low > FALL else OPEN


def specific(steer: Mapping[str, ByLayer], site: str) -> Judged:
  """Whether what else the model says stays where an edit works.

  Args:
    steer: what was found by factor and layer.
    site: how was edited, of `image` and `turned`.
  """
  measured, verdicts = {}, []
  for factor, other in zip(_TURNED, _TURNED[::-1], strict=True):
    told = []
    for layer, found in steer.get(factor, {}).items():
      at, name = f'steer/{site}/specificity', f'{factor}, layer {layer}'
      measured[f'{name}, classes that turn half of the answers'] = found.get(
        f'{at}/classes'
      )
      measured[f'{name}, answers that are turned there'] = found.get(
        f'{at}/turned'
      )
      for key, words in (
        ('before', 'before'), ('after', 'after'), ('fall', 'fall'),
        ('before_nameless', 'before, if the class is not named'),
        ('after_nameless', 'after, if the class is not named'),
      ):  # fmt: skip
        measured[f'{name}, {other}: {words}'] = found.get(f'{at}/{other}/{key}')
      if f'{at}/{other}/fall' in found:
        told.append(_told_apart(found, site, other))
    verdicts.append(judging.all_of(told))
  return judging.judged(
    verdicts,
    measured,
    {'fall that is allowed': {'value': FALL}},
    'Wherever a direction turns at least half of the answers about the '
    'colour on validation scenes, at the least strength that does, accuracy '
    'about the shape falls by at most 5 points on test scenes, and the '
    'converse, at every layer where one does. Questions name the class that is '
    'shown (what shape is the red thing?); beside, they do not. Open where no '
    'class turns half of the answers, and where the other factor was not told '
    'above chance before.',
  )
