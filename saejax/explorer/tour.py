"""A guided tour: five places of a site, each a link with a few words."""

import numpy as np

from saejax.explorer import content
from saejax.explorer import schema


def _name(d: content.Dictionary, index: int) -> str:
  label = d.labels[index]
  return f'concept {d.id_N[index]}' + (f', “{label}”' if label else '')


def _bridge(d: content.Dictionary) -> int | None:
  """The strongest bridge that replicates, joins two concepts, and is shown."""
  wanted = schema.REPLICATED | schema.CROSS
  flags_M = d.edges.flags_M[: d.shown_bridges]
  real = np.flatnonzero((flags_M & wanted) == wanted)
  return int(real[0]) if len(real) else None


def stops(d: content.Dictionary) -> list[dict[str, str]]:
  """Stops through one dictionary; what it does not have is left out."""
  at = lambda rest: f'#sae={d.id}&{rest}'
  n = len(d.id_N)
  values = {c.name: np.asarray(c.values) for c in d.columns}
  found = [
    {
      'title': 'All concepts',
      'text': f'Each of {n:,} dots is a concept: a direction that the model '
      'adds to the vectors of pictures or captions. Those that point alike lie '
      'near each other; distances beyond the neighbourhood mean little.',
      'hash': at('view=map&layout=joint'),
    },
    {
      'title': 'Pictures on one side, captions on the other',
      'text': 'The same concepts by the modality that they fire for. What '
      'joins the two sides are bridges: concepts that fire on a picture and on '
      'its caption.',
      'hash': at('view=map&layout=split'),
    },
  ]
  if (edge := _bridge(d)) is not None:
    image, text = int(d.edges.image_M[edge]), int(d.edges.text_M[edge])
    found.append(
      {
        'title': 'A strong bridge',
        'text': f'{_name(d, image)} in pictures, and {_name(d, text)} in '
        'captions: pairs in which both fire, one does, or neither, beside what '
        'shuffled pairs would give.',
        'hash': at(f'view=bridge&b={d.id_N[image]}-{d.id_N[text]}'),
      }
    )
  if n:
    strongest = int(np.nanargmax(values['energy']))
    found.append(
      {
        'title': 'One concept',
        'text': f'The one of most energy, {_name(d, strongest)}: examples from '
        'the strongest to those in which it is silent, chosen by stated rules.',
        'hash': at(f'view=map&c={d.id_N[strongest]}'),
      }
    )
  found.append(
    {
      'title': 'What has no partner',
      'text': 'Strong concepts of one modality without a bridge to the other: '
      'what the model sees and has no word for, or says and does not see.',
      'hash': at('view=missing'),
    }
  )
  return found
