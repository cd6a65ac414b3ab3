"""Data set specs as --dataset takes them."""

from absl.testing import absltest
from absl.testing import parameterized

from saejax import errors
from saejax.data import scenes
from saejax.data import specs


class SpecsTest(parameterized.TestCase):
  @parameterized.parameters(
    ('scenes', {}),
    ('scenes:', {}),
    ('scenes:n=5', {'n': 5}),
    ('scenes:texts=1,seed=7,n=4', {'texts': 1, 'seed': 7, 'n': 4}),
    ('scenes:captions=full', {'captions': 'full'}),
    ('scenes:captions=unrelated,', {'captions': 'unrelated'}),
    ('scenes:splits=0.5/0.25/0.25', {'splits': (0.5, 0.25, 0.25)}),
    ('scenes:splits=1/0/0', {'splits': (1.0, 0.0, 0.0)}),
  )
  def test_what_is_said_is_taken_and_the_rest_is_default(self, spec, fields):
    self.assertEqual(specs.parse(spec), specs.SceneSet(**fields))

  def test_the_world_has_its_seed_and_captions(self):
    found = specs.parse('scenes:seed=7,captions=full')
    self.assertEqual(found.world, scenes.World(seed=7, captions='full'))

  @parameterized.parameters(
    ('imagenet', 'names no kind of data set that is known: scenes, coco'),
    ('', 'names no kind of data set that is known: scenes, coco'),
    ('scenes=n:4', 'names no kind of data set that is known'),
    ('scenes:m=4', "'m' is unknown; known are n, seed, captions, texts"),
    ('scenes:n', "'n' is not a list of key=value pairs"),
    ('scenes:n=4=5', 'n=4=5 is not of the right type'),
    ('scenes:n=many', 'n=many is not of the right type'),
    ('scenes:n=1.5', 'n=1.5 is not of the right type'),
    ('scenes:splits=a/b/c', 'splits=a/b/c is not of the right type'),
    ('scenes:n=0', 'n and texts must be at least 1'),
    ('scenes:texts=0', 'n and texts must be at least 1'),
    ('scenes:n=-3', 'n and texts must be at least 1'),
    ('scenes:captions=some', 'some'),
    ('scenes:splits=0.5/0.5', 'must be three non-negative numbers'),
    ('scenes:splits=0.5/0.6/-0.1', 'must be three non-negative numbers'),
    ('scenes:splits=nan/0.5/0.5', 'must be three non-negative numbers'),
    ('scenes:splits=0.5/0.4/0.3', 'must add up to 1'),
  )
  def test_each_mistake_is_told_with_the_spec(self, spec, message):
    with self.assertRaisesRegex(errors.UserError, message):
      specs.parse(spec)


if __name__ == '__main__':
  absltest.main()
