"""What else changes where a direction works, and what the model then writes.

Specificity is asked where there is something to be specific about: of classes
whose direction turns at least half of the answers on val, at the least strength
that does. "What shape is the red thing" has no good answer once the thing is
blue: beside, questions are asked without the class that is turned, which is a
wording that models may not know.
"""

from collections.abc import Sequence
import functools

import jax
import numpy as np

from saejax.data import questions
from saejax.models import edits
from saejax.models import generation
from saejax.models import llama
from saejax.pipeline import onward
from saejax.pipeline import steering_effects as effects
from saejax.pipeline import steering_scenes

_MOST = 16  # New tokens.
_ASKED = 96  # Scenes, of each class that is steered.
Arrays = dict[str, np.ndarray]


def other_factors(factor: str) -> tuple[str, ...]:
  return tuple(f for f in steering_scenes.FACTORS if f != factor)


def _alike(ids: Sequence[int]) -> np.ndarray:
  """Whether another option begins with the same token: [O]."""
  id_O = np.array(ids)
  return (id_O[:, None] == id_O[None]).sum(1) > 1


def specificity(
  s: effects.Subject, site: str, target: int, added_D: np.ndarray
) -> Arrays:
  """Whether other factors are told rightly, without and with a direction.

  An answer is known by its first token. Where names begin alike, which is
  meant cannot be said: scenes whose answer is one of these are left out.

  Returns:
    `turned` [rows], whether the answer is the target now, beside `group`;
    `FACTOR/before`, `FACTOR/after` [rows] of questions as they are, and
    `FACTOR/before_nameless`, `FACTOR/after_nameless` of those that do not name
    the class that is turned, beside `FACTOR/group` [rows].
  """
  shown = s.sources('test', target, max(s.images, _ASKED))
  both = np.stack([np.zeros_like(added_D), added_D])
  q = effects.ask(s, site, shown, s.factor, target)
  turned = effects.says(q.choices.target_n, effects.chances(s, q, both[1:]))[0]
  found = {'turned': turned.astype(np.uint8), 'group': q.group_r}
  for factor in other_factors(s.factor):
    q = effects.ask(s, site, shown, factor, None)
    plain = effects.ask(s, site, shown, factor, None, nameless=True)
    told, bare = (
      effects.says(of.choices.truth_n, effects.chances(s, of, both))
      for of in (q, plain)
    )
    alike_O = _alike(s.asker.word_ids(q.choices.options))
    known = np.flatnonzero(~alike_O[q.choices.truth_n])
    found |= {
      f'{factor}/before': told[0, known].astype(np.uint8),
      f'{factor}/after': told[1, known].astype(np.uint8),
      f'{factor}/before_nameless': bare[0, known].astype(np.uint8),
      f'{factor}/after_nameless': bare[1, known].astype(np.uint8),
      f'{factor}/group': q.group_r[known],
    }
  return found


def _at_end(tokens: llama.Tokens) -> jax.Array:
  """The last token of each row, from which the answer begins."""
  last_B = tokens.is_real_BT.sum(1) - 1
  return tokens.position_BT == last_B[:, None]


@functools.partial(jax.jit, static_argnames=('module', 'layer', 'site', 'ends'))
def _write(module, params, inputs, span, added_D, layer, site, ends):
  where = _at_end if site == 'answer' else edits.on_image
  return generation.generate(
    module,
    params,
    inputs.tokens,
    inputs.image,
    most=_MOST,
    ends=ends,
    pad=ends[0],
    edits={layer: edits.where(where, onward.edit(span, added_D))},
  )


def _words(s: effects.Subject, new_BN: np.ndarray) -> list[str]:
  return s.asker.model.tokenizer.batch_decode(new_BN, skip_special_tokens=True)


def rollouts(
  s: effects.Subject,
  site: str,
  target: int,
  added_D: np.ndarray,
  images: int,
) -> list[dict]:
  """What the model writes, without and with a direction, greedily.

  Asked is to describe the image, and the factor's own question without options.

  Returns:
    For every scene and question: `scene`, `asked`, `source`, `target`,
    `before` and `after`.
  """
  shown = s.sources('test', target)
  shown = shown.take(np.arange(min(images, len(shown))))
  names = steering_scenes.FACTORS[s.factor]
  own = steering_scenes.question(shown, s.factor, s.world)
  found = []
  for asked in ([questions.DESCRIBE] * len(shown), own):
    written: list[Sequence[str]] = []
    for v_D in (np.zeros_like(added_D), added_D):
      texts = []
      for b in onward.batches(
        s.asker.model,
        [s.asker.row(t) for t in asked],
        [''] * len(asked),
        shown.images,
        s.asker.batch,
      ):
        model = s.asker.model
        new_BN = _write(
          model.module, model.params, b.inputs, s.span, v_D, s.layer, site,
          model.ends,
        )  # fmt: skip
        texts += _words(s, np.asarray(new_BN)[: b.n])
      written.append(texts)
    for i, text in enumerate(asked):
      found.append(
        {
          'scene': int(shown.scenes.index_N[i]),
          'asked': text,
          'source': names[shown.label[s.factor][i]],
          'target': names[target],
          'before': written[0][i],
          'after': written[1][i],
        }
      )
  return found


def names_it(word: str, text: str) -> bool:
  """Whether a word stands in a text: what judges rollouts without a model."""
  return f' {word.lower()} ' in f' {text.lower()} '
