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
_NO_CLASS = -1e9  # Added to scores of classes that are none.


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


@flax.struct.dataclass
class _Task:
  """One labelling: rows of label −1 have no weight, classes past `classes` are
  none, so that one program serves factors with few and with many."""

  x_nD: jax.Array
  label_n: jax.Array
  weight_n: jax.Array
  is_class_C: jax.Array

  @property
  def one_hot_nC(self) -> jax.Array:
    """Classes of rows, by weight: columns add up to the share of a class."""
    is_nC = jax.nn.one_hot(self.label_n, len(self.is_class_C))
    return is_nC * self.weight_n[:, None]

  def start(self) -> Probe:
    d, c = self.x_nD.shape[1], len(self.is_class_C)
    return Probe(w_DC=jnp.zeros((d, c)), b_C=jnp.zeros(c))

  def scores(self, p: Probe) -> jax.Array:
    away_C = jnp.where(self.is_class_C, 0.0, _NO_CLASS)
    return self.x_nD @ p.w_DC + (p.b_C + away_C)[None]

  def nats(self, p: Probe) -> jax.Array:
    """The mean cross-entropy."""
    nats_n = optax.softmax_cross_entropy_with_integer_labels(
      self.scores(p), self.label_n
    )
    return jnp.sum(nats_n * self.weight_n)


def _multinomial(t: _Task, penalty) -> Probe:
  """argmin of the mean cross-entropy + penalty/2 · ‖w‖²."""
  loss = lambda p: t.nats(p) + penalty / 2 * jnp.sum(p.w_DC**2)
  return _minimise(loss, t.start())


def _one_vs_rest(t: _Task, penalty) -> Probe:
  """Of each class alone, the logistic regression of it against all others."""

  def one(c, is_class):
    is_n = (t.label_n == c).astype(t.x_nD.dtype)

    def loss(p):
      score_n = t.x_nD @ p['w_D'] + p['b']
      nats_n = optax.sigmoid_binary_cross_entropy(score_n, is_n)
      whole = jnp.sum(nats_n * t.weight_n) + penalty / 2 * jnp.sum(
        p['w_D'] ** 2
      )
      return jnp.where(is_class, whole, 0.0)

    start = {'w_D': jnp.zeros(t.x_nD.shape[1]), 'b': jnp.zeros(())}
    return _minimise(loss, start)

  found = jax.vmap(one)(jnp.arange(len(t.is_class_C)), t.is_class_C)
  return Probe(w_DC=found['w_D'].T, b_C=found['b'])


def _means(t: _Task, penalty) -> Probe:
  """The nearest mean of a class.

  The direction of a class, μ_c − μ, is (1 − p_c) times the difference between
  its mean and that of all other rows.
  """
  del penalty
  is_nC = t.one_hot_nC
  mean_D = t.weight_n @ t.x_nD
  share_C1 = jnp.maximum(is_nC.sum(0), 1e-12)[:, None]
  w_CD = is_nC.T @ t.x_nD / share_C1 - mean_D[None]
  return Probe(w_DC=w_CD.T, b_C=-(w_CD @ mean_D) - jnp.sum(w_CD**2, axis=1) / 2)


def _steepest(t: _Task) -> jax.Array:
  """The largest eigenvalue of XᵀWX, by the power method, a little more."""
  turn = lambda v_D: t.x_nD.T @ (t.weight_n * (t.x_nD @ v_D))

  def step(_, v_D):
    v_D = turn(v_D)
    return v_D / jnp.maximum(jnp.linalg.norm(v_D), 1e-20)

  start_D = jax.random.normal(jax.random.key(0), (t.x_nD.shape[1],))
  return 1.1 * jnp.linalg.norm(turn(lax.fori_loop(0, _POWERS, step, start_D)))


def _sparse(t: _Task, share) -> Probe:
  """argmin of the mean cross-entropy + λΣ|w|, by FISTA with restarts.

  λ is a share of the least at which w = 0 is the minimum.
  """
  is_nC = t.one_hot_nC
  prior_C = is_nC.sum(0)
  start = t.start().replace(b_C=jnp.log(jnp.maximum(prior_C, 1e-6)))
  slope_DC = t.x_nD.T @ (t.weight_n[:, None] * prior_C[None] - is_nC)
  l1 = share * jnp.max(jnp.abs(slope_DC))
  # The Hessian of a softmax is at most 1/2; the bias is a column of ones.
  rate = 1 / (0.5 * (_steepest(t) + 1))
  gradient = jax.grad(t.nats)

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


@functools.partial(jax.jit, static_argnames=('kind', 'most'))
def _fit(x_nD, label_Jn, penalty_R, classes, kind: str, most: int) -> Probe:
  def one(label_n, penalty):
    has_n = label_n >= 0
    task = _Task(
      x_nD=x_nD,
      label_n=jnp.maximum(label_n, 0),
      weight_n=has_n / jnp.maximum(has_n.sum(), 1),
      is_class_C=jnp.arange(most) < classes,
    )
    return _FITS[kind](task, penalty)

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
    label_Jn: classes of the rows, 0…C−1, in each labelling; −1 leaves a row
      out.
    classes: C.
    penalties: R of them; by default those of PENALTIES.

  Returns:
    Weights [J, R, D, C] and [J, R, C].
  """
  penalties = PENALTIES[kind] if penalties is None else penalties
  # Powers of two, so that few programs are ever compiled.
  most = 1 << max(classes - 1, 1).bit_length()
  with jax.default_matmul_precision('highest'):
    found = _fit(
      jnp.asarray(x_nD, jnp.float32),
      jnp.asarray(label_Jn, jnp.int32),
      jnp.asarray(penalties, jnp.float32),
      classes,
      kind,
      most,
    )
  return jax.tree.map(lambda a: a[..., :classes], jax.device_get(found))
