"""A user's mistakes: status 2, one line that says what to do, nothing left."""

import dataclasses
import functools
import os
import pathlib
import re
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from saejax import io
from saejax.train import config as config_lib
from saejax.train import loop
from tests import planted
from tests import saes
from tests.experiments import concept_mistakes
from tests.experiments import llava_mistakes
from tests.experiments import programs
from tests.experiments import server
from tests.experiments import sight_mistakes
from tests.experiments import training_mistakes
from tests.pipeline import class_stores

RUNNER: programs.Programs
N, D = 60, planted.D
PROCESS_FLAGS = ['coordinator', 'distributed', 'num_processes', 'process_id']


def setUpModule():
  global RUNNER
  RUNNER = programs.Programs()


def tearDownModule():
  RUNNER.close()


def contents(folder: str) -> dict[str, tuple[int, int]]:
  """Size and time of every file below a folder."""
  found = {}
  for path in pathlib.Path(folder).rglob('*'):
    stat = path.stat()
    found[str(path)] = stat.st_size, stat.st_mtime_ns
  return found


@dataclasses.dataclass(frozen=True)
class Flag:
  """What --help says of a flag."""

  text: str

  @property
  def required(self) -> bool:
    return self.text.endswith('Required.')

  @property
  def default(self) -> str:
    found = re.search(r' \[([^][]*)\]$', self.text)
    return found[1] if found else ''


@functools.cache
def help_of(program: str) -> dict[str, Flag]:
  """The flags of a program, from its --help."""
  done = RUNNER.run(program, ['--help'])
  _, _, listed = done.stdout.partition('\nFlags:\n')
  entries = re.split(r'^  --', listed, flags=re.MULTILINE)[1:]
  pairs = (' '.join(e.split()).split(': ', 1) for e in entries)
  return {name: Flag(text) for name, text in pairs}


class MistakeTest(parameterized.TestCase):
  def assert_told(self, done: programs.Done, message: str):
    self.assertEqual(done.status, 2, done)
    self.assertEqual(done.stdout, '')
    self.assertEqual(done.stderr.count('\n'), 1, done.stderr)
    self.assertEndsWith(done.stderr, '\n')
    self.assertRegex(done.stderr, message)


class FlagsTest(MistakeTest):
  """What holds for every program, whatever it does."""

  def setUp(self):
    super().setUp()
    self.out = os.path.join(self.create_tempdir().full_path, 'out')

  def given(self, flags: dict[str, Flag], without: str = '') -> list[str]:
    return [
      f'--{name}={self.out}'
      for name, flag in flags.items()
      if flag.required and name != without
    ]

  @parameterized.parameters(*programs.NAMES)
  def test_help_is_no_failure_and_lists_every_flag(self, program):
    done = RUNNER.run(program, ['--help'])
    self.assertEqual((done.status, done.stderr), (0, ''))
    source = (server.ROOT / 'experiments' / f'{program}.py').read_text()
    if 'training_flags' in source:
      source += (server.ROOT / 'saejax' / 'training_flags.py').read_text()
    defined = programs.defined_flags(source)
    for group in re.findall(r'llava_flags\.(\w+_flags)\(', source):
      defined += programs.llava_flags_of(group)
    if 'judge_flags.define(' in source:
      judge = (server.ROOT / 'saejax' / 'judge_flags.py').read_text()
      defined += programs.defined_flags(judge)
    if 'judge_flags.define(offline=False)' in source:
      defined.remove('offline')  # It is the model's.
    if 'mesh_flag()' in source:
      defined.append('mesh')
    if 'process_flags()' in source:
      defined += PROCESS_FLAGS
    self.assertNotEmpty(defined)
    self.assertCountEqual(help_of(program), defined)
    self.assertIn(f'./launch.sh {program}', done.stdout)
    self.assertLessEqual(max(map(len, done.stdout.split('\n'))), 80)

  @parameterized.parameters(*programs.NAMES)
  def test_each_missing_flag_is_named(self, program):
    flags = help_of(program)
    for name, flag in flags.items():
      if flag.required:
        done = RUNNER.run(program, self.given(flags, without=name))
        self.assert_told(done, f'^--{name} is missing. See --help.$')
    self.assertFalse(os.path.exists(self.out))

  @parameterized.parameters(*programs.NAMES)
  def test_what_is_no_flag_is_named(self, program):
    given = self.given(help_of(program))
    done = RUNNER.run(program, [*given, '--quux=1'])
    self.assert_told(done, '^There is no flag --quux.* See --help.$')
    done = RUNNER.run(program, [*given, 'out'])
    self.assert_told(done, "^'out' is not a flag: write --name=value")
    self.assertFalse(os.path.exists(self.out))

  @parameterized.parameters(*programs.NAMES)
  def test_flags_of_the_wrong_type_are_named(self, program):
    flags = help_of(program)
    for pattern, value in (
      (r'-?\d+', '1.5'),
      (r'\d*\.\d+|\d+e-\d+', 'nan'),
      ('true|false', 'perhaps'),
    ):
      is_such = lambda n, p=pattern: re.fullmatch(p, flags[n].default)
      # One of each type: every run costs a fork.
      for name in [*filter(is_such, flags)][:1]:
        done = RUNNER.run(program, [*self.given(flags), f'--{name}={value}'])
        self.assert_told(done, f'^--{name}={value}: expected ')
    self.assertFalse(os.path.exists(self.out))


# Program, flags ({d} is a folder of inputs; --out={d}/out is added), message.
IMPORT = 'import_embeddings'
SAE, STORE = '--sae={d}/run/sae', '--store={d}/store'
CASES = (
  (IMPORT, '', 'Give --image with --text, or --pairs, or --clip_ret'),
  (IMPORT, '--image={d}/a.npy', 'Give --image with --text, or --pairs, or'),
  (IMPORT, '--text={d}/a.npy', 'Give --image with --text'),
  (IMPORT, '--pairs={d}/a.npy', r'has shape \(60, 48\); expected \(2, N, D\)'),
  (IMPORT, '--clip_retrieval={d}/none', 'There is no folder .*/none'),
  (IMPORT, '--clip_retrieval={d}/store', 'has no img_emb/img_emb_0.npy'),
  *(
    (IMPORT, f'--image={{d}}/a.npy --text={{d}}/{name}', message)
    for name, message in (
      ('none.npy', 'There is no file .*/none.npy'),
      ('empty.npy', 'empty.npy is empty: it has no bytes'),
      ('no_rows.npy', r'is empty: its shape is \(0, 48\)'),
      ('one_axis.npy', r'has shape \(48,\); expected two axes'),
      ('narrow.npy', 'a.npy has width 48, .*narrow.npy width 47'),
      ('short.npy', 'a.npy has 60 rows, .*short.npy 59. Give --text_pair'),
      ('nan.npy', 'NaN or infinite values in 2 of 60 rows, the first at row 7'),
      ('inf.npy', 'NaN or infinite values in 1 of 60 rows, the first at row 9'),
      ('huge.npy', 'NaN or infinite values in 1 of 60 rows, the first at ro'),
      ('zero.npy', 'holds zero rows in 3 of 60 rows, the first at row 2'),
      ('integers.npy', 'has type int64; expected floating-point'),
      ('pickled.npy', 'pickled.npy cannot be read as an array'),
      ('words.txt', 'neither a .npy nor a .safetensors file'),
    )
  ),
  *(
    (IMPORT, '--image={d}/a.npy --text={d}/a.npy ' + flags, message)
    for flags, message in (
      ('--captions={d}/words.txt', 'has 2 lines; expected 60, one for each t'),
      ('--captions={d}/none.txt', 'There is no file .*/none.txt'),
      ('--image_paths={d}/words.txt', 'expected 60, one for each image'),
      ('--text_pair={d}/a.npy', 'expected 60 integers, the image row of each'),
      ('--text_pair={d}/far.npy', 'far.npy names image rows outside 0…59'),
      ('--groups={d}/far.npy --out={d}/run', 'holds other files .*checkpoints'),
      ('--splits=0.5,0.5', '--splits: .*must be three non-negative'),
      ('--splits=0.5,0.4,0.3', '--splits: .*add up to 1; .*add up to 1.2'),
      ('--splits=nan,0.5,0.5', '--splits: .*must be three non-negative'),
      ('--splits=a,b,c', '--splits=a,b,c must be three numbers'),
      ('--dtype=int8', '--dtype=int8: value should be one of'),
      ('--out={d}/store', 'already holds a finished store'),
      ('--out={d}/a.npy', 'Cannot write a store at .*a.npy: it is a file'),
      ('--out={d}/a.npy/x', 'a.npy/x cannot be used: Not a directory'),
      ('--out=', '--out is empty'),
    )
  ),
  (
    IMPORT,
    '--image={d}/large.npy --text={d}/a.npy --dtype=float16',
    'beyond ±65504 in 1 of 60 rows, the first at row 5. Choose a --dtype',
  ),
  *training_mistakes.CASES,
  *concept_mistakes.CASES,
  *sight_mistakes.CASES,
  *llava_mistakes.CASES,
  *(
    (program, flags, message)
    for program in ('evaluate', 'analyse', 'name', 'intervene')
    for flags, message in (
      (f'--sae={{d}}/run {STORE}', 'no dictionary at .*in its folder sae/'),
      (f'--sae={{d}}/none {STORE}', 'There is no dictionary at .*/none'),
      (f'--sae={{d}}/torn {STORE}', 'torn/config.json is not valid JSON'),
      (f'{SAE} --store={{d}}/none', 'There is no store at .*/none'),
      (f'{SAE} --store={{d}}/narrow', 'width 48; stream image has width 12'),
      (f'{SAE} {STORE} --split=some', '--split=some: value should be one of'),
      (f'{SAE} {STORE} --out={{d}}/a.npy', 'a.npy is a file; name a folder'),
    )
  ),
  ('analyse', f'{SAE} {STORE} --out={{d}}/store', 'store holds other files'),
  (
    'analyse',
    f'--sae={{d}}/signed {STORE} --nosurrogate',
    'has codes of both signs',
  ),
  ('quickstart', '--arch=relu', '--arch=relu: value should be one of'),
  ('analyse', f'{SAE} --store={{d}}/trainonly', 'no rows in val. Give its'),
  ('evaluate', f'{SAE} --store={{d}}/trainonly', 'no rows in test. Give its'),
  (
    'evaluate',
    f'{SAE} --store={{d}}/store --stream=sound',
    "no stream 'sound'",
  ),
  *(
    ('evaluate_store', flags, message)
    for flags, message in (
      ('--store={d}/none', 'There is no store at .*/none'),
      ('--store={d}/run', 'run is not a store: it has no manifest'),
      (f'{STORE} --split=some', '--split=some: value should be one of'),
      (f'{STORE} --out={{d}}/a.npy', 'a.npy is a file; name a folder'),
      ('--store={d}/trainonly', 'no rows in test. Give its .*--split=all'),
      (f'{STORE} --classes_store={{d}}/labelled', 'store have no column label'),
      ('--store={d}/labelled', 'no texts .* no stream prompts; give one with'),
      ('--store={d}/labelled --classes_store={d}/none', 'no store at .*/none'),
      (
        '--store={d}/labelled --classes_store={d}/store',
        'store=.*/store has no stream prompts; it has .*image',
      ),
      (
        '--store={d}/labelled --classes_store={d}/prompts',
        "prompts is of model 'other', .*labelled of 'm'",
      ),
    )
  ),
  ('embed', '--model={d}/none', 'There is no model .*none: expected a folder'),
  ('embed', '--model={d}/none --dataset=words', 'names no kind of data set'),
  ('embed', '--model={d}/none --dataset=coco', 'lacks annotations= and images'),
  ('embed', '--model={d}/none --dataset=scenes:n=x', 'n=x is not of the right'),
  *(
    ('embed', f'--model={{d}}/none {flags}', message)
    for flags, message in (
      ('--dataset=folder:path={d}/none', 'none is not there; expected a folde'),
      ('--dataset=folder:path={d}/run', 'run holds no table of captions'),
      ('--dataset=folder:path={d}/run,n=3', "'n' is unknown; known are limit"),
      ('--batch=0', '--batch=0 must be at least 1'),
      ('--workers=0', '--workers=0 must be at least 1'),
      ('--near_duplicates=65', '--near_duplicates=65 is outside 0…16'),
      ('--dtype=int8', '--dtype=int8: value should be one of'),
      ('--mesh=64,1', 'needs 64 devices; there are 1'),
      ('--process_id=1', '--coordinator and --num_processes is missing'),
      ('--out={d}/store', 'already holds a finished store'),
      ('--out={d}/run', 'run holds other files .*Choose an empty'),
    )
  ),
  *(
    ('benchmark', f'--suite=train {flags}', message)
    for flags, message in (
      ('--archs=magic', "--archs: 'magic' is not measured; choose of topk"),
      ('--shapes=4x4', "--shapes: '4x4' is not understood: write DxSxKxB"),
      ('--shapes=4x4x5x1', r'more active concepts \(5\) than concepts \(4\)'),
      ('--peers_python={d}/none', '--peers_python=.*none is no program'),
    )
  ),
  ('train_vlm', '--steps=0', '--steps=0 must be positive'),
  ('train_vlm', '--model=llava_next --d=8', '--d says nothing of a llava_next'),
  ('train_vlm', '--model=llava_next --batch=9', 'an eighth of it is texts'),
  (
    'train_vlm',
    '--model=llava_next --text_width=9',
    'must be a multiple of 64',
  ),
  ('train_vlm', '--out={d}/run', 'holds another run. Add --resume'),
)


class InputsTest(MistakeTest):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.d = cls.enterClassContext(tempfile.TemporaryDirectory())
    path = lambda name: os.path.join(cls.d, name)
    data = planted.sample(N)
    x_ND = data.image_ND
    planted.write_store(path('store'), x_ND, data.text_ND)
    planted.write_store(path('narrow'), x_ND[:, :12], data.text_ND[:, :12])
    planted.write_store(path('trainonly'), x_ND, data.text_ND, (1.0, 0.0, 0.0))
    class_stores.write(path('labelled'), class_stores.images(0.1))
    class_stores.write(
      path('prompts'), None, class_stores.prompts(0.1), {'model': 'other'}
    )
    os.makedirs(path('animals/cat'))
    Image.new('RGB', (8, 8)).save(path('animals/cat/1.png'))
    loop.train(
      config_lib.TrainConfig(
        store=path('store'), latents=64, k=2, steps=1, batch=16, mesh=(1, 1)
      ),
      path('run'),
    )
    io.save(path('signed'), *saes.make('abs_topk'))
    os.mkdir(path('torn'))
    pathlib.Path(path('torn/config.json')).write_text('{"format": ')
    pathlib.Path(path('kinds.json')).write_text('{"red": ["round"]}')
    pathlib.Path(path('words.txt')).write_text('two\nlines\n')
    pathlib.Path(path('empty.npy')).write_bytes(b'')

    def save(name, change=lambda _: None, array=x_ND):
      array = np.array(array)
      change(array)
      np.save(path(name), array)

    put = lambda rows, value: lambda x: x.__setitem__((rows, 1), value)
    save('a.npy')
    save('nan.npy', put([7, 11], np.nan))
    save('inf.npy', put([9], -np.inf))
    save('huge.npy', put([3], 1e300), x_ND.astype(np.float64))
    save('large.npy', put([5], 7e4))
    save('zero.npy', lambda x: x.__setitem__([2, 3, 40], 0))
    save('no_rows.npy', array=x_ND[:0])
    save('one_axis.npy', array=x_ND[0])
    save('narrow.npy', array=x_ND[:, :-1])
    save('short.npy', array=x_ND[:-1])
    save('integers.npy', array=np.ones((N, D), np.int64))
    save('pickled.npy', array=np.array([{}, {}]))
    save('far.npy', array=np.arange(1, N + 1))
    cls.before = contents(cls.d)

  @parameterized.parameters(*CASES)
  def test_is_told_in_one_line_and_leaves_nothing(
    self, program, flags, message
  ):
    given = flags.format(d=self.d).split()
    if not any(flag.startswith(('--out=', '--to=')) for flag in given):
      given.append(f'--out={self.d}/out')
    self.assert_told(RUNNER.run(program, given), message)
    self.assertEqual(contents(self.d), self.before)

  def test_every_problem_of_a_store_is_a_line(self):
    flag = lambda name: [f'--store={os.path.join(self.d, name)}']
    done = RUNNER.run('validate_store', flag('store'))
    self.assertEqual((done.status, done.stderr), (0, ''))
    self.assertRegex(done.stdout, 'store is sound')
    done = RUNNER.run('validate_store', flag('none'))
    self.assert_told(done, 'There is no store at .*none')

  def test_a_program_started_by_itself_says_the_same(self):
    given = [f'--image={self.d}/a.npy', f'--text={self.d}/nan.npy']
    given.append(f'--out={self.d}/out')
    alone = programs.run_alone(IMPORT, given)
    self.assert_told(alone, 'in 2 of 60 rows, the first at row 7')
    self.assertEqual(alone, RUNNER.run(IMPORT, given))
    self.assertEqual(contents(self.d), self.before)

  def test_nothing_of_libraries_is_printed_beside_the_line(self):
    given = ['--model=/none', f'--out={self.d}/out']
    self.assert_told(programs.run_alone('embed', given), 'There is no model')


if __name__ == '__main__':
  absltest.main()
