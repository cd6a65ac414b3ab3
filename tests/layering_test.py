"""Who may import whom, read from the source and not from memory."""

import ast
import pathlib

from absl.testing import absltest
from absl.testing import parameterized

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'saejax'

# A part may import the parts it names, and itself. `errors` anyone may, but
# the store, which stands alone.
FOUNDATION = {'types', 'ops'}
MODULES = FOUNDATION | {
  'sharding', 'nn', 'losses', 'losses_paired', 'metrics',
}  # fmt: skip
ALLOWED = {
  'errors': set(),
  'store': set(),
  'types': set(),
  'ops': set(),
  'sharding': FOUNDATION,
  'nn': MODULES,
  'losses': MODULES,
  'losses_paired': MODULES,
  'metrics': MODULES,
  'torch_bridge': set(),
  'models': FOUNDATION | {'sharding', 'torch_bridge'},
  'data': {'store'},
  'analysis': MODULES,
  'baselines': MODULES | {'data'},
  'provenance': set(),
  'processes': set(),
  'preemption': set(),
  'run': {'store', 'provenance'},
  'io': MODULES | {'store'},
  'formats': MODULES | {'store', 'torch_bridge'},
  'encode': MODULES | {'store'},
  'results': {'store', 'analysis'},
  'train': MODULES | {
    'io', 'data', 'store', 'provenance', 'run', 'processes', 'preemption',
  },
  'report': {'store', 'results', 'data'},
  'explorer': {'store', 'data'},
  'pipeline': {
    *MODULES, 'io', 'data', 'store', 'provenance', 'run', 'encode', 'results',
    'train', 'models', 'analysis', 'report', 'pretrained', 'torch_bridge',
    'processes', 'baselines', 'explorer',
  },
  'program': {'store'},
  'training_flags': {'program', 'ops', 'nn', 'train'},
  'judge_flags': {'pipeline'},
  'llava_flags': {'program', 'store', 'pipeline'},
  'pretrained': set(),
}  # fmt: skip

# What a part must work without.
FORBIDDEN = {
  'store': {'jax', 'flax', 'torch', 'transformers'},
  'data': {'jax', 'flax', 'torch', 'transformers'},
  'analysis': {'jax', 'flax', 'torch'},
  'report': {'jax', 'flax', 'torch'},
  'explorer': {'jax', 'flax', 'torch', 'transformers', 'scipy', 'sklearn'},
}


def part_of(path: pathlib.Path) -> str:
  return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def imports(path: pathlib.Path) -> set[str]:
  """Dotted names that a file imports; `from a import b` gives a.b."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'{path} has a relative import'
      found |= {f'{node.module}.{alias.name}' for alias in node.names}
  return found


FILES = sorted(PACKAGE.rglob('*.py'))


class LayeringTest(parameterized.TestCase):
  def test_every_part_has_a_place(self):
    parts = {part_of(f) for f in FILES} - {'__init__'}
    self.assertEqual(parts, set(ALLOWED))

  @parameterized.parameters(*sorted(ALLOWED))
  def test_imports_only_what_lies_below(self, part):
    allowed = ALLOWED[part] | {part}
    if part != 'store':
      allowed |= {'errors'}
    for path in FILES:
      if part_of(path) != part:
        continue
      ours = {n.split('.')[1] for n in imports(path) if n.startswith('saejax.')}
      self.assertEmpty(ours - allowed, f'{path} imports {ours - allowed}')

  @parameterized.parameters(*sorted(FORBIDDEN))
  def test_works_without(self, part):
    for path in FILES:
      if part_of(path) == part:
        roots = {name.split('.')[0] for name in imports(path)}
        self.assertEmpty(roots & FORBIDDEN[part], str(path))

  def test_only_the_bridge_imports_torch(self):
    for path in FILES:
      if part_of(path) != 'torch_bridge':
        self.assertNotIn('torch', {n.split('.')[0] for n in imports(path)})

  def test_no_program_imports_another_and_nothing_imports_programs(self):
    for path in [*FILES, *(ROOT / 'experiments').glob('*.py')]:
      roots = {name.split('.')[0] for name in imports(path)}
      self.assertNotIn('experiments', roots, str(path))


if __name__ == '__main__':
  absltest.main()
