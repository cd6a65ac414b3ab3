"""Flags of a language model that judges, which programs share."""

from absl import flags

from saejax.pipeline import judges

_J = judges.JudgeConfig


def define(offline: bool = True) -> None:
  """Defines the flags of `judges.JudgeConfig`.

  Args:
    offline: whether --offline is not yet defined, for another model.
  """
  flags.DEFINE_string(
    'judge_url', _J.judge_url, 'Endpoint, such as http://localhost:8000/v1.'
  )
  flags.DEFINE_string(
    'judge_model',
    _J.judge_model,
    "The judge: its name at --judge_url; else a folder, or an id of the hub's.",
  )
  flags.DEFINE_string(
    'judge_key', _J.judge_key, 'Environment variable that holds its key.'
  )
  flags.DEFINE_string(
    'judge_revision', _J.judge_revision, 'Branch, tag or commit on the hub.'
  )
  flags.DEFINE_string(
    'judge_device', _J.judge_device, 'Where torch runs a judge that runs here.'
  )
  flags.DEFINE_enum(
    'judge_dtype', _J.judge_dtype, judges.DTYPES, 'Of it; auto is as its files.'
  )
  if offline:
    flags.DEFINE_bool(
      'offline', _J.offline, 'Never ask the network for the judge.'
    )
  flags.DEFINE_string(
    'answers', _J.answers, 'Folder of answers; OUT/answers by default.'
  )
