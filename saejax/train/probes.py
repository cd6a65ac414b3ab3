"""Linear probes of classes, each fitted on all of its rows at once.

Three are convex and have a penalty: multinomial and one-vs-rest logistic
regression by L-BFGS, and multinomial regression with an L1 weight, which reads
few columns, by FISTA. The fourth has none: the means of classes, whose
directions are differences of means. Fits of many labellings and many penalties
are one program, mapped over both.

Letters: n rows, D columns, C classes, J labellings, R penalties.
"""

from collections.abc import Callable
import functools
from typing import Any

import flax
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import optax

KINDS = ('multinomial', 'one_vs_rest', 'means', 'sparse')
PENALTIES = {
  'multinomial': (1e-4, 1e-3, 1e-2, 1e-1, 1.0),
  'one_vs_rest': (1e-4, 1e-3, 1e-2, 1e-1, 1.0),
  'means': (0.0,),
  # Shares of the least weight at which nothing is read.
  'sparse': (0.5, 0.2, 0.1, 0.03, 0.01),
}
_ITERATIONS = 100
_FISTA = 400
_TOLERANCE = 1e-4  # Of the gradient's norm, on standardised rows.
_POWERS = 40


@flax.struct.dataclass
class Probe:
  """Scores of classes are x @ w + b; axes before are of many fits."""

  w_DC: Any
  b_C: Any

  def scores(self, x_nD: np.ndarray) -> np.ndarray:
    """Scores [..., n, C] of rows."""
    w_DC, b_C = np.asarray(self.w_DC), np.asarray(self.b_C)
    return np.matmul(x_nD, w_DC) + b_C[..., None, :]

  def at(self, *index: int) -> 'Probe':
    return jax.tree.map(lambda a: np.asarray(a)[index], self)


def _minimise(loss: Callable, start: Any) -> Any:
  """The minimum of a smooth function, by L-BFGS with a line search."""
  tx = optax.lbfgs()
  value_and_grad = optax.value_and_grad_from_state(loss)

  def step(carry):
    params, state = carry
    value, grad = value_and_grad(params, state=state)
    updates, state = tx.update(
      grad, state, params, value=value, grad=grad, value_fn=loss
    )
    return optax.apply_updates(params, updates), state

  def is_on(carry):
    state = carry[1]
    count = optax.tree.get(state, 'count')
    slope = optax.tree.norm(optax.tree.get(state, 'grad'))
    return (count == 0) | ((count < _ITERATIONS) & (slope >= _TOLERANCE))

  return lax.while_loop(is_on, step, (start, tx.init(start)))[0]


def _nothing(x_nD, classes: int) -> Probe:
  return Probe(w_DC=jnp.zeros((x_nD.shape[1], classes)), b_C=jnp.zeros(classes))


def _nats(probe: Probe, x_nD, label_n):
  score_nC = x_nD @ probe.w_DC + probe.b_C[None]
  return optax.softmax_cross_entropy_with_integer_labels(
    score_nC, label_n
  ).mean()


def _multinomial(x_nD, label_n, penalty, classes: int) -> Probe:
  """argmin of the mean cross-entropy + penalty/2 · ‖w‖²."""
  loss = lambda p: _nats(p, x_nD, label_n) + penalty / 2 * jnp.sum(p.w_DC**2)
  return _minimise(loss, _nothing(x_nD, classes))


def _one_vs_rest(x_nD, label_n, penalty, classes: int) -> Probe:
  """Of each class alone, the logistic regression of it against all others."""

  def one(c):
    is_n = (label_n == c).astype(x_nD.dtype)

    def loss(p):
      score_n = x_nD @ p['w_D'] + p['b']
      nats_n = optax.sigmoid_binary_cross_entropy(score_n, is_n)
      return nats_n.mean() + penalty / 2 * jnp.sum(p['w_D'] ** 2)

    start = {'w_D': jnp.zeros(x_nD.shape[1]), 'b': jnp.zeros(())}
    return _minimise(loss, start)

  found = jax.vmap(one)(jnp.arange(classes))
  return Probe(w_DC=found['w_D'].T, b_C=found['b'])


def _means(x_nD, label_n, penalty, classes: int) -> Probe:
  """The nearest mean of a class.

  The direction of a class, μ_c − μ, is (1 − p_c) times the difference between
  its mean and that of all other rows.
  """
  del penalty
  is_nC = jax.nn.one_hot(label_n, classes)
  count_C1 = jnp.maximum(is_nC.sum(0), 1)[:, None]
  mean_D = x_nD.mean(0)
  w_CD = is_nC.T @ x_nD / count_C1 - mean_D[None]
  return Probe(w_DC=w_CD.T, b_C=-(w_CD @ mean_D) - jnp.sum(w_CD**2, axis=1) / 2)


def _steepest(x_nD) -> jax.Array:
  """The largest eigenvalue of XᵀX/n, by the power method, a little more."""

  def step(_, v_D):
    v_D = x_nD.T @ (x_nD @ v_D) / len(x_nD)
    return v_D / jnp.maximum(jnp.linalg.norm(v_D), 1e-20)

  start_D = jax.random.normal(jax.random.key(0), (x_nD.shape[1],))
  v_D = lax.fori_loop(0, _POWERS, step, start_D)
  return 1.1 * jnp.linalg.norm(x_nD.T @ (x_nD @ v_D) / len(x_nD))


def _sparse(x_nD, label_n, share, classes: int) -> Probe:
  """argmin of the mean cross-entropy + λΣ|w|, by FISTA with restarts.

  λ is a share of the least at which w = 0 is the minimum.
  """
  is_nC = jax.nn.one_hot(label_n, classes)
  prior_C = is_nC.mean(0)
  start = Probe(
    w_DC=jnp.zeros((x_nD.shape[1], classes)),
    b_C=jnp.log(jnp.maximum(prior_C, 1e-6)),
  )
  slope_DC = x_nD.T @ (prior_C[None] - is_nC) / len(x_nD)
  l1 = share * jnp.max(jnp.abs(slope_DC))
  # The Hessian of a softmax is at most 1/2; the bias is a column of ones.
  rate = 1 / (0.5 * (_steepest(x_nD) + 1))
  gradient = jax.grad(lambda p: _nats(p, x_nD, label_n))

  def iterate(_, state):
    p, ahead, pace = state
    g = gradient(ahead)
    w_DC = ahead.w_DC - rate * g.w_DC
    w_DC = jnp.sign(w_DC) * jax.nn.relu(jnp.abs(w_DC) - rate * l1)
    new = Probe(w_DC=w_DC, b_C=ahead.b_C - rate * g.b_C)
    onward = jax.tree.map(jnp.subtract, new, p)
    away = optax.tree.vdot(jax.tree.map(jnp.subtract, ahead, new), onward)
    pace = jnp.where(away > 0, 1.0, pace)
    after = (1 + jnp.sqrt(1 + 4 * pace**2)) / 2
    ahead = jax.tree.map(lambda a, d: a + (pace - 1) / after * d, new, onward)
    return new, ahead, after

  state = start, start, jnp.ones(())
  return lax.fori_loop(0, _FISTA, iterate, state)[0]


_FITS = {
  'multinomial': _multinomial,
  'one_vs_rest': _one_vs_rest,
  'means': _means,
  'sparse': _sparse,
}


@functools.partial(jax.jit, static_argnames=('kind', 'classes'))
def _fit(x_nD, label_Jn, penalty_R, kind: str, classes: int) -> Probe:
  one = lambda label_n, penalty: _FITS[kind](x_nD, label_n, penalty, classes)
  over_r = jax.vmap(one, in_axes=(None, 0))
  return jax.vmap(over_r, in_axes=(0, None))(label_Jn, penalty_R)


def fit(
  kind: str,
  x_nD: np.ndarray,
  label_Jn: np.ndarray,
  classes: int,
  penalties: tuple[float, ...] | None = None,
) -> Probe:
  """Fits a kind of probe to every labelling, with every penalty.

  Args:
    kind: of KINDS.
    x_nD: rows, their columns of mean 0 and variance 1.
    label_Jn: classes of the rows, 0…C−1, in each labelling.
    classes: C.
    penalties: R of them; by default those of PENALTIES.

  Returns:
    Weights [J, R, D, C] and [J, R, C].
  """
  penalties = PENALTIES[kind] if penalties is None else penalties
  with jax.default_matmul_precision('highest'):
    found = _fit(
      jnp.asarray(x_nD, jnp.float32),
      jnp.asarray(label_Jn, jnp.int32),
      jnp.asarray(penalties, jnp.float32),
      kind,
      classes,
    )
  return jax.device_get(found)
