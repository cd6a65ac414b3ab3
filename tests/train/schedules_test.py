"""k over a run: where it starts, moves and ends; what is then selected."""

import contextlib

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import sharding
from saejax.train import schedules
from tests import meshes
from tests import saes
from tests.train import optimisers_test
from tests.train import step_test


def on_mesh(x_BD: np.ndarray, variables):
  """Rows and variables, placed as in training."""
  place = lambda a, *spec: jax.device_put(a, jax.P(*spec))
  params = variables['params']
  return place(x_BD, 'data', None), {
    'params': {n: place(a, *sharding.RULES[n]) for n, a in params.items()},
    'constants': jax.tree.map(place, variables['constants']),
  }


class AnnealingTest(parameterized.TestCase):
  @parameterized.parameters((64, 8), (2, 8), (8, 8))
  def test_moves_in_a_line_and_stays(self, start, end):
    anneal = schedules.Annealing(start, share=0.25)
    at = np.array([anneal.k(step, 400, end) for step in range(400)])
    self.assertEqual(at[0], start)
    self.assertAlmostEqual(at[50], (start + end) / 2, places=4)
    np.testing.assert_array_equal(at[100:], end)
    np.testing.assert_allclose(
      np.diff(at[:101]), (end - start) / 100, atol=1e-4
    )

  def test_depends_on_the_step_alone_and_traces(self):
    anneal = schedules.Annealing(9, share=1.0)
    run = jax.jit(lambda step: anneal.k(step, 10, 4))
    for step in (0, 3, 9, 10):
      self.assertEqual(run(step), anneal.k(step, 10, 4))
    self.assertEqual(schedules.Annealing(9, 1e-9).k(1, 10, 4), 4)


class BudgetTest(parameterized.TestCase):
  @parameterized.product(
    arch=['topk', 'batch_topk', 'matryoshka'],
    shape=[None, (4, 2), (1, 8)],
    budget=[1.0, 2.5, 4.0],
  )
  def test_selects_what_a_module_of_that_k_would(self, arch, shape, budget):
    sae, variables = saes.make(arch)
    run = jax.jit(lambda v, x, b: sae.apply(v, x, train=True, budget=b))
    x_BD, mesh = saes.rows(), contextlib.nullcontext()
    if shape is not None:
      mesh = meshes.use(shape)
    with mesh:
      if shape is not None:
        x_BD, variables = on_mesh(x_BD, variables)
      found = jax.device_get(run(variables, x_BD, np.float32(budget)))
    sae, variables = saes.make(arch)
    z_BS = saes.dense(found.codes)
    if arch == 'topk':
      kept = round(budget)
      pre = sae.apply(variables, saes.rows(), method='preactivations')
      least_B1 = np.sort(np.asarray(pre), axis=1)[:, -kept, None]
      np.testing.assert_array_equal(z_BS != 0, (pre >= least_B1) & (pre > 0))
    else:
      self.assertEqual((z_BS != 0).sum(), round(budget * saes.B))
    if budget == saes.K:
      whole = sae.apply(variables, saes.rows(), train=True)
      np.testing.assert_array_equal(z_BS != 0, saes.dense(whole.codes) != 0)
    p, c = variables['params'], variables['constants']
    bias_1D = np.asarray(p['b_dec']) / c['scale'][:, None] + c['center']
    xhat_BD = z_BS @ np.asarray(p['w_dec']) + bias_1D
    np.testing.assert_allclose(found.xhat_BD, xhat_BD, rtol=1e-4, atol=1e-4)

  @parameterized.parameters('topk', 'batch_topk')
  def test_a_step_selects_the_budget_of_its_number(self, arch):
    anneal = schedules.Annealing(12, share=0.5)
    with meshes.use((1, 1)) as mesh:
      state, step = optimisers_test.state_and_step(
        'adamw', mesh, arch, anneal=anneal
      )
      for i in range(optimisers_test.STEPS):
        state, metrics, _ = step(state, step_test.batch_of(i, jax.device_put))
        k = float(anneal.k(i, optimisers_test.STEPS, 4))
        l0 = metrics.compute()['l0']
        if arch == 'topk':  # Rows may have fewer positive pre-activations.
          self.assertBetween(l0, 0.8 * round(k), round(k))
        else:
          self.assertAlmostEqual(l0, round(k * step_test.B) / step_test.B)


if __name__ == '__main__':
  absltest.main()
