"""Cards of concepts and of bridges, with what they fire for."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from saejax.report import analysis as analysis_lib
from saejax.report import figures
from saejax.report import markup
from saejax.report import pictures

_EACH, _BRIDGES = 4, 12  # Concepts of a kind, bridges shown.
_IMAGES, _TEXTS, _PAIRS = 6, 4, 4
Words = Mapping[str, Any]
_KINDS = {
  'true': 'both read the same fact',
  'related': 'they read facts that go together in this world',
  'other': 'they read different facts',
  'unread': 'one of them reads no labelled fact',
}


def image(thumbnail, words: Words, under: str) -> str:
  title = str(words.get('image', f'scene {words.get("scene", "")}'))
  return markup.picture(thumbnail(words), under, title)


def _reads(a: analysis_lib.Analysis, i: int, labels: Sequence[str]) -> str:
  """What a concept reads of the labelled facts, if it does."""
  found = []
  for side, what in (('image', 'pictures'), ('text', 'captions')):
    factor_S = a.concepts.get(f'factor_{side}')
    if factor_S is None or factor_S[i] < 0:
      continue
    area = a.concepts[f'factor_{side}_auroc'][i]
    name = markup.text(labels[factor_S[i]])
    found.append(f'<b>{name}</b> in {what} (AUROC {area:.2f})')
  return f'Reads {" and ".join(found)}. ' if found else ''


def _class_of(score: float) -> str:
  if score > figures.IMAGE_CUT:
    return 'image'
  return 'text' if score < figures.TEXT_CUT else 'shared'


def concept_card(
  a: analysis_lib.Analysis,
  thumbnail: pictures.Thumbnail,
  labels: Sequence[str],
  i: int,
) -> str:
  """One concept: what it is for, its numbers, its strongest rows."""
  c, shown = a.concepts, a.exemplars[i]
  kind = _class_of(c['modality_score'][i])
  seen = ''.join(
    image(thumbnail, e, f'{e["activation"]:.2f}')
    for e in shown['images'][:_IMAGES]
  )
  said = ''.join(
    markup.tag('li', f'{markup.text(e.get("caption", "?"))} '
               f'<small>{e["activation"]:.2f}</small>')
    for e in shown['texts'][:_TEXTS]
  )  # fmt: skip
  facts = (
    f'{_reads(a, i, labels)}Fires in {c["rate_image"][i]:.1%} of pictures and '
    f'{c["rate_text"][i]:.1%} of captions; modality score '
    f'{c["modality_score"][i]:.2f} ({c["modality_low"][i]:.2f} to '
    f'{c["modality_high"][i]:.2f}), energy {a.energy_S[i]:.3g}, |cos| to the '
    f'gap {c["cosine_to_gap"][i]:.2f}.'
  )
  return markup.tag(
    'article',
    markup.tag('h3', f'Concept {i}', markup.tag('span', kind, class_=kind)),
    markup.paragraph(facts),
    markup.tag('div', seen, class_='strip'),
    markup.tag('ol', said) if said else '',
    class_='card',
  )


def concept_cards(
  a: analysis_lib.Analysis,
  thumbnail: pictures.Thumbnail,
  labels: Sequence[str],
) -> list[str]:
  """Cards of the most used concepts of each kind."""
  order = np.argsort(-a.energy_S, kind='stable')
  order = order[a.concepts['live'][order]]
  kinds = [_class_of(a.concepts['modality_score'][i]) for i in order]
  chosen = []
  for kind in ('image', 'shared', 'text'):
    chosen += [i for i, k in zip(order, kinds, strict=True) if k == kind][
      :_EACH
    ]
  return [concept_card(a, thumbnail, labels, int(i)) for i in chosen]


def _pair(thumbnail: pictures.Thumbnail, pair: Mapping[str, Words]) -> str:
  a, b = pair['image'], pair['text']
  words = markup.text(b.get('caption', '?'))
  return image(thumbnail, a, words)


def bridge_cards(
  a: analysis_lib.Analysis,
  thumbnail: pictures.Thumbnail,
  labels: Sequence[str],
) -> list[str]:
  """Cards of the strongest cross bridges: matched rows in which both fire."""
  b, cards = a.bridges, []
  shown = zip(a.cross_P[:_BRIDGES], a.bridge_pairs, strict=False)
  for rank, (p, pairs) in enumerate(shown, start=1):
    i, j = pairs['image_concept'], pairs['text_concept']
    kind = a.kind(p)
    facts = (
      f'Excess {b["excess"][p]:.4f} of B {b["b"][p]:.4f}; cosine '
      f'{b["cosine"][p]:.2f}; fire together {b["lift"][p]:.1f} times as often '
      f'as by chance (n = {int(b["joint"][p]):,} pairs); '
      f'{"holds" if b["replicated"][p] else "does not hold"} on both parts of '
      'the scenes. '
    )
    ends = ''.join(
      markup.tag('li', f'{what} concept {c}: {_reads(a, c, labels) or "—"}')
      for what, c in (('Picture', i), ('Caption', j))
    )
    cards.append(
      markup.tag(
        'article',
        markup.tag(
          'h3', f'{rank}. Concept {i} ↔ concept {j}',
          markup.tag('span', markup.text(_KINDS.get(kind, '')), class_=kind),
        ),
        markup.tag('ul', ends),
        markup.paragraph(facts),
        markup.tag(
          'div', ''.join(_pair(thumbnail, x) for x in pairs['pairs'][:_PAIRS]),
          class_='strip',
        ),
        class_='card',
      )
    )  # fmt: skip
  return cards
