"""The claims of arXiv 2506.04706, each held to the numbers of one model.

What clears what is said in each claim's own words; see `judging`. The last is a
control: where it fails, what the others say of images is in doubt.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

import scipy.stats

from saejax.report import claims_steering
from saejax.report import judging

HOLDS, FAILS, OPEN = judging.HOLDS, judging.FAILS, judging.OPEN
KEPT = 0.9  # Loss recovered, at least.
SPARSE = 16  # The width over that is the largest L0.
PAIRS = 10  # Of concepts and what is beside them, at least.
# What a concept is compared with: where its level is, in words.
_BESIDE = {
  'shuffled': ('sae/auroc/shuffled', 'explanations of others'),
  'random': ('random/auroc', 'random directions'),
  'whitened': ('whitened/auroc', 'whitened random directions'),
  'dimension': ('dimension/auroc', 'dimensions of the stream'),
}
_JUDGED = ('shuffled', 'random', 'whitened')
Entry, Judged = judging.Entry, judging.Judged
Entries = Mapping[str, Entry]
Pair = tuple[Entry | None, Entry | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
  """Results of one model, by stage; stages that were not run are empty.

  Attributes:
    layers: that were chosen, rising.
    factors: whose classes are read and steered.
    width: of the residual stream.
    probe: of images' positions, layer 0 and the tower among them, and of codes.
    transfer: of probes of bare captions, read at images.
    sharing: of all layers.
    splice: by layer.
    steer: by factor and layer.
    over_layers: of steering at all of them.
    autointerp: by layer.
  """

  layers: Sequence[int]
  factors: Sequence[str]
  width: int
  probe: Entries
  transfer: Entries
  sharing: Entries
  splice: Mapping[int, Entries]
  steer: Mapping[str, Mapping[int, Entries]]
  over_layers: Entries
  autointerp: Mapping[int, Entries]


def readable(e: Evidence) -> Judged:
  """Classes are linearly readable from the image positions of the residual
  stream."""
  measured, null, verdicts = {}, {}, []
  top1 = lambda found, factor, site, what='': found.get(
    f'probe/{factor}/multinomial/{site}/top1{what}'
  )
  for factor in e.factors:
    # Studies of earlier versions have no tower.
    if tower := top1(e.probe, factor, 'tower'):
      null[f'{factor}, vision tower'] = tower
    null[f'{factor}, layer 0'] = top1(e.probe, factor, 'layer00')
    null[f'{factor}, commonest class'] = top1(
      e.probe, factor, 'layer00', '/commonest'
    )
    for layer in e.layers:
      at, site = f'{factor}, layer {layer}', f'layer{layer:02d}'
      own = top1(e.probe, factor, site)
      shuffled = top1(e.probe, factor, site, '/shuffled')
      measured[at] = own
      measured[f'{at}, codes of the SAE'] = top1(e.probe, factor, f'{site}.sae')
      null[f'{at}, shuffled labels'] = shuffled
      verdicts.append(judging.compare(own, shuffled))
  return judging.judged(
    verdicts,
    measured,
    null,
    'Accuracy of a multinomial probe of the mean over an image’s '
    'positions, above that of shuffled labels, of every factor at every chosen '
    'layer. What the vision tower gives, layer 0, which is what the projector '
    'makes of that, and the commonest class stand beside.',
  )


def keeps(e: Evidence) -> Judged:
  """SAEs keep what the model uses."""
  most = {'value': e.width / SPARSE}
  measured, null, verdicts = {}, {'loss recovered, least': {'value': KEPT}}, []
  null['L0, most'] = most
  for layer in e.layers:
    found, at = e.splice.get(layer, {}), f'layer {layer}'
    recovered = found.get('splice/image/loss_recovered/mean')
    l0 = found.get('splice/l0/image')
    measured |= {
      f'{at}, loss recovered': recovered,
      f'{at}, against another image': found.get(
        'splice/image/loss_recovered/other'
      ),
      f'{at}, L0 at images': l0,
      f'{at}, variance explained at images': found.get('splice/fve/image'),
      f'{at}, answers lost': found.get('splice/accuracy/lost'),
    }
    verdicts.append(
      _at_least(recovered, KEPT) if _is_sparse(l0, most) else OPEN
    )
  return judging.judged(
    verdicts,
    measured,
    null,
    'With the SAE’s reconstruction at the positions of the image, at '
    'least 0.9 of the loss of captions is recovered that the mean of images '
    'costs there, at every chosen layer, with at most a sixteenth of the '
    'width as active concepts. Open where more are active, and where the mean '
    'costs nothing.',
  )


def _at_least(found: Entry | None, least: float) -> str:
  if found is None or None in (judging.low(found), judging.high(found)):
    return OPEN
  if judging.low(found) >= least:
    return HOLDS
  return FAILS if judging.high(found) < least else OPEN


def _is_sparse(l0: Entry | None, most: Entry) -> bool:
  value = None if l0 is None else l0['value']
  return value is not None and value <= most['value']


def _share(found: Entry | None) -> Entry | None:
  """A share of concepts with its bounds (Wilson) over these."""
  if found is None or found['value'] is None or not found.get('n'):
    return found
  passed = round(found['value'] * found['n'])
  bounds = scipy.stats.binomtest(passed, found['n']).proportion_ci(
    method='wilson'
  )
  return {
    **found, 'low': float(bounds.low), 'high': float(bounds.high),
    'interval': 'Wilson over concepts',
  }  # fmt: skip


def _beyond(found: Entry | None, null: Entry | None) -> Entry | None:
  """What is more than the middle of a null."""
  if found is None or null is None or null['value'] is None:
    return None
  moved = {
    key: found[key] - null['value']
    for key in ('value', 'low', 'high')
    if found.get(key) is not None
  }
  return None if 'value' not in moved else {**found, **moved}


def shares(e: Evidence) -> Judged:
  """Representations of images and texts are disjoint early, and increasingly
  shared with depth."""
  measured, null, paired, alike = {}, {}, [], []
  for layer in e.layers:
    at, site = f'layer {layer}', f'layer{layer:02d}/image-text'
    get = lambda key, site=site: e.sharing.get(f'{site}/{key}')
    own = _share(get('paired_share')), _share(get('paired_share/permuted'))
    paired.append(own)
    alike.append((get('cka'), get('cka/permuted')))
    measured |= {
      f'{at}, concepts that fire for an image and its text': own[0],
      f'{at}, concepts that fire in both': get('shared_share'),
      f'{at}, in both, of half the examples each': get('shared_share/halves'),
      f'{at}, CKA': get('cka'),
    }
    null |= {
      f'{at}, for an image and another’s text': own[1],
      f'{at}, in both by chance': get('shared_share/chance'),
      f'{at}, in two halves of one context': get('shared_share/ceiling'),
      f'{at}, CKA of permuted examples': get('cka/permuted'),
    }
  for factor in e.factors:
    for layer in e.layers:
      name = f'probe/{factor}/multinomial/layer{layer:02d}/top1'
      at = f'{factor} at images by probes of texts, layer {layer}'
      measured[at] = e.transfer.get(name)
      null[f'{at}, shuffled'] = e.transfer.get(f'{name}/shuffled')
  verdicts = [OPEN]
  if len(e.layers) > 1:
    verdicts = [_rises(pairs) for pairs in (paired, alike)]
  return judging.judged(
    verdicts,
    measured,
    null,
    'Of the concepts that fire for bare texts or images, the share that '
    'fires for an image and its own text, and CKA: at the deepest chosen '
    'layer both are above those of permuted examples, and what they are '
    'above these is more than at the first. What fires in both at all, and '
    'probes of texts that are read at images, stand beside.',
  )


def _rises(pairs: Sequence[Pair]) -> str:
  """Above its null at the last, and by more than at the first."""
  return judging.all_of(
    [
      judging.compare(*pairs[-1]),
      judging.compare(_beyond(*pairs[-1]), _beyond(*pairs[0])),
    ]
  )


def _above_zero(difference: Entry | None) -> str:
  """OPEN as well where bounds over so few concepts say little."""
  if difference is None or difference.get('n', 0) < PAIRS:
    return OPEN
  return judging.compare(difference, {'value': 0})


def interpretable(e: Evidence) -> Judged:
  """Concepts can be interpreted."""
  measured, null, verdicts = {}, {}, []
  for layer in e.layers:
    found, at = e.autointerp.get(layer, {}), f'layer {layer}'
    measured[f'{at}, AUROC of explanations'] = found.get('sae/auroc')
    for name, (level, words) in _BESIDE.items():
      difference = found.get(f'sae-{name}/auroc')
      measured[f'{at}, above {words}'] = difference
      null[f'{at}, {words}'] = found.get(level)
      if name in _JUDGED:
        verdicts.append(_above_zero(difference))
    measured[f'{at}, IoU with objects'] = found.get('sae/iou')
    null[f'{at}, IoU with objects of others'] = found.get('sae/iou/shuffled')
  return judging.judged(
    verdicts,
    measured,
    null,
    'How well an explanation tells held-out examples for which its '
    'concept fires (AUROC, hard negatives among them), less the same of what '
    'stands beside each concept: another’s explanation, and a random '
    'direction that fires in as many examples, as it is and whitened. The mean '
    f'difference over at least {PAIRS} concepts is above 0 with its whole '
    'interval, at every chosen layer; it fails where one is below. Dimensions '
    'of the stream stand beside.',
  )


def blind(e: Evidence) -> Judged:
  """Control: without the image, answers are at chance."""
  found = next((f for f in map(e.splice.get, e.layers) if f), {})
  without = found.get('splice/accuracy/without_image')
  chance = found.get('splice/accuracy/chance')
  seen = found.get('splice/accuracy/none')
  # Where the image helps nothing, its absence says nothing.
  verdict = OPEN
  if judging.compare(seen, chance) == HOLDS:
    beyond = judging.compare(without, chance)
    is_known = without is not None and without['value'] is not None
    verdict = HOLDS if is_known and beyond == OPEN else OPEN
    verdict = FAILS if beyond == HOLDS else verdict
  return judging.judged(
    [verdict],
    {'without the image': without, 'with it': seen},
    {'chance': chance},
    'Chance, which is one over the options, lies in the interval of the '
    'accuracy of forced choices without the image; it fails where accuracy is '
    'above chance. Open where the model does not answer above chance with the '
    'image either.',
  )


def causes(e: Evidence) -> Judged:
  """Directions of classes, added at the image, cause what the model says."""
  return claims_steering.causes(e.steer, e.over_layers, e.factors)


def specific(e: Evidence) -> Judged:
  """Adding a direction is specific: what else the model says of the image
  stays."""
  return claims_steering.specific(e.steer, 'image')


def turned(e: Evidence) -> Judged:
  """Turning what each image token holds of a factor, apart from what it holds
  of others, is specific."""
  return claims_steering.specific(e.steer, 'turned')


CLAIMS: tuple[Callable[[Evidence], Judged], ...] = (
  readable, causes, specific, turned, keeps, shares, interpretable, blind,
)  # fmt: skip
