"""The floors on paper: their table in the document, and what they count."""

import dataclasses

from absl.testing import absltest
from absl.testing import parameterized

from saejax import nn
from tests.experiments import server
from tests.train import collectives
from tests.train import scaling


class ScalingTest(parameterized.TestCase):
  def test_the_document_has_this_table(self):
    text = (server.ROOT / 'docs' / 'scaling.md').read_text(encoding='utf-8')
    self.assertIn('\n'.join(scaling.table()), text)

  @parameterized.parameters((8, 1), (2, 4))
  def test_bytes_are_those_of_the_compiled_step(self, *mesh):
    job = scaling.Job(d=64, s=512, k=8, aux_k=0, b=64, mesh=mesh)
    # As many bytes a second as a ring's members send for each byte of results.
    chip = scaling.Chip('none', flops=1, memory=1, link=1)
    found = scaling.floors(chip, job)
    sae = nn.TopK(d=job.d, s=job.s, k=job.k, use_b_dec=False)
    compiled = collectives.compile_step(sae, mesh, job.b)
    said = dict.fromkeys(('data', 'model'), 0.0)
    for c in collectives.parse(compiled.as_text(), mesh):
      n = mesh[c.axis == 'model']
      times = 2 if c.kind == 'all-reduce' else 1
      said[c.axis] += times * c.bytes * (n - 1) / n
    # AuxK's reconstruction is counted even for none of its concepts.
    n = mesh[1]
    found['model'] -= 2 * 4 * job.b / mesh[0] * job.d * (n - 1) / n
    for axis, bytes_ in said.items():
      self.assertAlmostEqual(bytes_, found[axis], delta=0.02 * found[axis] + 99)

  def test_twice_the_batch_is_twice_the_work_but_not_the_gradients(self):
    chip, job = scaling.JOBS[1]
    one = scaling.floors(chip, job)
    two = scaling.floors(chip, dataclasses.replace(job, b=2 * job.b))
    for name, times in (('matmul', 2), ('model', 2), ('data', 1)):
      self.assertAlmostEqual(two[name], times * one[name])


if __name__ == '__main__':
  absltest.main()
