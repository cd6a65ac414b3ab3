"""Explains concepts automatically, and measures what explanations are worth.

Concepts are drawn from all strengths, of those that fire in at least 30
examples of train and in at most 90 % of them, and explained from these: by a
language model behind an OpenAI-compatible endpoint, where --judge_url names
one, else by the word that is most distinctive, if it is more than chance.
Explanations are tried on other examples, hard negatives among them, and
compared pair by pair with those of residual dimensions and of random
directions, as they are and whitened, that fire in as many examples, and with
everyone's explanation given to another. Of scenes, where concepts fire is held
against the masks of objects; with --other_store, MonoSemanticity is measured.

Nothing is asked of a network unless --judge_url is given; what that will take
is printed first, and answers are kept in OUT/answers, so that the same command
goes on where it stopped. Writes to OUT: results.json, explanations.csv,
figures/.

  ./launch.sh autointerp --sae=runs/layer08/sae --store=runs/llava-store \\
      --judge_url=http://localhost:8000/v1 --judge_model=NAME --out=runs/told
"""

import os

from absl import flags

from saejax import errors
from saejax import program
from saejax import results
from saejax.data import judge
from saejax.pipeline import interpreting
from saejax.pipeline import interpreting_explainers as explainers
from saejax.pipeline import interpreting_subject as subject

C = subject.InterpretConfig

OUT = program.required('out', 'Folder for results.')
SAE = flags.DEFINE_string('sae', None, 'Folder of the dictionary.')
STORE = flags.DEFINE_string('store', None, 'Folder of the store.')
ANALYSIS = flags.DEFINE_string(
  'analysis', None, 'What analyse wrote, in place of --sae and --store.'
)
flags.DEFINE_string(
  'stream', C.stream, 'Of the store; the images that were trained on.'
)
flags.DEFINE_string(
  'dataset', C.dataset, 'Captions, where the store keeps none; as of embed.'
)
flags.DEFINE_string(
  'other_store',
  C.other_store,
  'The same images embedded by an independent model, for MonoSemanticity.',
)
flags.DEFINE_integer('concepts', C.concepts, 'How many are explained.')
flags.DEFINE_integer(
  'strata', C.strata, 'Parts of equal size, by energy, to draw them from.'
)
flags.DEFINE_integer('examples', C.examples, 'Of each split, at most.')
flags.DEFINE_integer(
  'positives', C.positives, 'Firing examples that an explanation is tried on.'
)
flags.DEFINE_integer(
  'negatives', C.negatives, 'Silent ones; half of them are hard.'
)
flags.DEFINE_enum('split', C.split, ['test', 'val'], 'Of which they are.')
flags.DEFINE_integer('seed', C.seed, 'Of what is drawn.')
URL = flags.DEFINE_string(
  'judge_url', None, 'Endpoint, such as http://localhost:8000/v1.'
)
MODEL = flags.DEFINE_string(
  'judge_model', None, 'The judge, by its name there.'
)
KEY = flags.DEFINE_string(
  'judge_key', 'OPENAI_API_KEY', 'Environment variable that holds its key.'
)
CACHE = flags.DEFINE_string(
  'answers', None, 'Folder of answers; OUT/answers by default.'
)
DRY = flags.DEFINE_bool(
  'dry_run', False, 'Print what the judge would take, and ask nothing.'
)


def _paths() -> tuple[str, str]:
  if ANALYSIS.value:
    if SAE.value or STORE.value:
      raise errors.UserError('Give --analysis, or --sae and --store.')
    return subject.from_analysis(ANALYSIS.value)
  if not SAE.value or not STORE.value:
    raise errors.UserError('Give --sae and --store, or --analysis.')
  return SAE.value, STORE.value


def _endpoint() -> judge.Endpoint | None:
  if URL.value is None:
    if MODEL.value is not None:
      raise errors.UserError('--judge_model needs --judge_url.')
    return None
  judge.check(URL.value)
  if not MODEL.value:
    raise errors.UserError('--judge_url needs --judge_model, a name there.')
  cache = CACHE.value or os.path.join(OUT.value, interpreting.ANSWERS)
  return judge.Endpoint(
    URL.value, MODEL.value, cache, os.environ.get(KEY.value) or None
  )


def main() -> None:
  results.check_vacant(OUT.value)
  sae, store = _paths()
  config = program.config_from_flags(C, sae=sae, store=store)
  endpoint = _endpoint()
  found = subject.read(config)
  prepared = [subject.prepare(found, source) for source in found.sources]
  if endpoint or DRY.value:
    print(subject.cost(found, prepared, endpoint).line(), flush=True)
  if DRY.value:
    return
  explainer = explainers.Naming(found.train_texts)
  if endpoint:
    explainer = explainers.Judge(endpoint)
  done = interpreting.interpret(found, prepared, explainer)
  done.write(OUT.value)
  print(interpreting.summary(done))
  if endpoint:
    spent = explainer.spent
    print(f'{spent.calls:,} questions were asked, {spent.tokens:,} tokens')
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
