"""Explains concepts automatically, and measures what explanations are worth.

Concepts are drawn from all strengths, of those that fire in at least 30
examples of train and in at most 90 % of them, and explained from these: by a
language model, where --judge_model names one, else by the word that is most
distinctive, if it is more than chance. The model is behind an OpenAI-compatible
endpoint, --judge_url, or a folder or an id of the hub, and runs here, on torch.
It reads descriptions, or with --pictures sees images, those it explains from
dark but at the patches where the concept fires.
Explanations are tried on other examples, hard negatives among them, and
compared pair by pair with those of residual dimensions and of random
directions, as they are and whitened, that fire in as many examples, and with
everyone's explanation given to another. Of scenes, where concepts fire is held
against the masks of objects; with --other_store, MonoSemanticity is measured.

Nothing is asked of a network unless --judge_url is given, or a model of the hub
that is not in its cache. What a judge will take is printed first, and answers
are kept in OUT/answers, so that the same command goes on where it stopped.
Writes to OUT: results.json, explanations.csv, figures/.

  ./launch.sh autointerp --sae=runs/layer08/sae --store=runs/llava-store \\
      --judge_url=http://localhost:8000/v1 --judge_model=NAME --out=runs/told
"""

from absl import flags

from saejax import errors
from saejax import judge_flags
from saejax import program
from saejax import results
from saejax.pipeline import interpreting
from saejax.pipeline import interpreting_explainers as explainers
from saejax.pipeline import interpreting_subject as subject
from saejax.pipeline import judges

C = subject.InterpretConfig
J = judges.JudgeConfig

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
  'dataset', C.dataset, 'What the store was made of, where that is needed.'
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
flags.DEFINE_bool(
  'pictures', C.pictures, 'Show the judge images, in place of words.'
)
judge_flags.define()
DRY = flags.DEFINE_bool(
  'dry_run', False, 'Print what the judge would take, and ask nothing.'
)


def main() -> None:
  results.check_vacant(OUT.value)
  sae, store = subject.paths(SAE.value, STORE.value, ANALYSIS.value)
  config = program.config_from_flags(C, sae=sae, store=store)
  asked = program.config_from_flags(J)
  if config.pictures and not (asked.judge_url or DRY.value):
    raise errors.UserError(
      '--pictures needs --judge_url: a judge that runs here reads words alone.'
    )
  judge = judges.open_judge(asked, OUT.value)
  found = subject.read(config)
  prepared = [subject.prepare(found, source) for source in found.sources]
  if judge or DRY.value:
    print(subject.cost(found, prepared, judge).line(), flush=True)
  if DRY.value:
    return
  explainer = explainers.Naming(found.train_texts)
  if judge:
    explainer = explainers.Judge(judge)
  done = interpreting.interpret(found, prepared, explainer)
  done.write(OUT.value)
  print(interpreting.summary(done))
  if judge:
    spent = explainer.spent
    print(f'{spent.calls:,} questions were asked, {spent.tokens:,} tokens')
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
