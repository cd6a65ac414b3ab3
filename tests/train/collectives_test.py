"""What the compiled step says between devices: how it is read, and bounded."""

from absl.testing import absltest
from absl.testing import parameterized

from saejax import nn
from tests.train import collectives

D, S, K, B = 64, 512, 8, 64

# One operation over 'data' of a (2, 4) mesh, in every way it can be written.
GROUPS = (
  'replica_groups={{0,4},{1,5},{2,6},{3,7}}',
  'replica_groups=[4,2]<=[2,4]T(1,0)',
  "replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_0'}",
  "replica_groups=mesh['axis_0'=4,'axis_1'=2], device_ids=([2,4]T(1,0)) "
  "{'axis_1'}",
)


class ParseTest(parameterized.TestCase):
  @parameterized.parameters(*GROUPS)
  def test_devices_are_told_in_many_ways(self, groups):
    line = (
      '  %all-reduce.1 = (f32[16,64]{1,0}, bf16[3]{0}, pred[]) '
      f'all-reduce(%a, %b, %c), channel_id=2, {groups}, to_apply=%region'
    )
    self.assertEqual(
      list(collectives.parse(line, (2, 4))),
      [
        collectives.Collective(
          kind='all-reduce',
          axis='data',
          shapes=('f32[16,64]', 'bf16[3]', 'pred[]'),
          bytes=16 * 64 * 4 + 3 * 2 + 1,
        )
      ],
    )

  def test_axes(self):
    line = '%g = s32[8]{0} all-gather-start(%a), replica_groups=[2,4]<=[8]'
    axis = lambda shape: [c.axis for c in collectives.parse(line, shape)]
    self.assertEqual(axis((2, 4)), ['model'])
    self.assertEqual(axis((8, 1)), ['data'])
    self.assertEqual(axis((4, 2)), ['data,model'])
    alone = '%r = f32[8]{0} all-reduce(%a), replica_groups={{0},{1}}'
    self.assertEmpty(list(collectives.parse(alone, (2, 1))))

  def test_an_unknown_way_is_an_error(self):
    with self.assertRaisesRegex(ValueError, 'No groups of devices'):
      list(collectives.parse('%r = f32[8] all-reduce(%a), new=1', (2, 4)))


class StepTest(parameterized.TestCase):
  @parameterized.parameters((8, 1), (2, 4), (4, 2))
  def test_topk_says_no_more_than_it_must(self, data, model):
    sae = nn.TopK(d=D, s=S, k=K, use_b_dec=False)
    compiled = collectives.compile_step(sae, (data, model), B)
    found = list(collectives.parse(compiled.as_text(), (data, model)))
    total = lambda axis: sum(c.bytes for c in found if c.axis == axis)
    gathers = [c.bytes for c in found if c.kind == 'all-gather']
    # Candidates, and never the pre-activations, which are B·S/data numbers.
    self.assertLessEqual(max(gathers, default=0), 4 * B * K * model)
    # Gradients of the parameters; idle counts; sums.
    gradients = 4 * (2 * S * D + S) // model
    self.assertBetween(
      total('data'), gradients, gradients + 4 * S // model + 8 * D + 1000
    )
    # Values and indices of candidates; what they rebuild; their gradients.
    rows = B // data
    most = 4 * rows * (2 * K * model + 2 * D + 2 * K) + 1000
    self.assertLessEqual(total('model'), most if model > 1 else 0)
    self.assertEqual(total('model') > 0, model > 1)
    self.assertEqual(total('data,model'), 0)


if __name__ == '__main__':
  absltest.main()
