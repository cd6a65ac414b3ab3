"""Which concepts images and texts share, and whether they mean the same there.

Codes are of tokens. An example is an image with its text; its tokens go
together wherever something is resampled or permuted.

A concept fires for an example where it does in any token. Examples of many
tokens so have more firings on both sides, which is no sharing: whether two
sides fire together is asked among examples of equally many tokens.

Letters as in `types`; n tokens, N examples, M strata, S concepts.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses

import numpy as np
import scipy.sparse
import scipy.stats

from saejax.analysis import bridges

DRAWS = 200
LEVEL = 0.05
_LEAST_EXPECTED = 5  # Joint firings, for a concept to be tested.
_CELLS = 1 << 24  # Of resampled rates held at once.


def per_example(
  z_nS: scipy.sparse.csr_matrix, example_n: np.ndarray, n: int
) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
  """How many tokens of each example a concept fires for: [N, S]; tokens [N].

  Args:
    z_nS: codes.
    example_n: each token's example, 0 to n − 1.
    n: how many examples.
  """
  ones_Nn = scipy.sparse.csr_matrix(
    (np.ones(len(example_n)), (example_n, np.arange(len(example_n)))),
    shape=(n, len(example_n)),
  )
  fires_nS = (z_nS != 0).astype(np.float64)
  return (ones_Nn @ fires_nS).tocsr(), np.bincount(example_n, minlength=n)


def match_l0(
  codes: Sequence[scipy.sparse.csr_matrix],
  l0: float,
  scales: Sequence[float] | None = None,
) -> list[scipy.sparse.csr_matrix]:
  """The largest codes of all tokens together, l0 a token in the mean.

  One cut for all, on the encoder's scale, where thresholds are too: what a
  modality has more of, it keeps more of, but not what is only written larger.

  Args:
    codes: of each modality, on the stored scale.
    l0: mean active concepts a token to keep.
    scales: what each modality's rows are multiplied by before they are
      encoded; 1 without.
  """
  rows = sum(z.shape[0] for z in codes)
  sizes = [
    np.abs(z.data) * scale
    for z, scale in zip(codes, scales or [1.0] * len(codes), strict=True)
  ]
  size = np.concatenate(sizes)
  kept = round(l0 * rows)
  if kept >= np.count_nonzero(size):
    return list(codes)
  cut = np.partition(size, len(size) - kept - 1)[len(size) - kept - 1]
  found = []
  for z, own in zip(codes, sizes, strict=True):
    z = z.copy()
    z.data[own <= cut] = 0
    z.eliminate_zeros()
    found.append(z)
  return found


def l0(z_nS: scipy.sparse.csr_matrix) -> float:
  """Mean number of active concepts a token."""
  return float((z_nS != 0).sum() / max(z_nS.shape[0], 1))


def score(rate_image_S: np.ndarray, rate_text_S: np.ndarray) -> np.ndarray:
  """p_img / (p_img + p_txt): 1 images alone, 0 texts alone; NaN for neither."""
  total_S = rate_image_S + rate_text_S
  with np.errstate(invalid='ignore', divide='ignore'):
    return np.where(total_S > 0, rate_image_S / total_S, np.nan)


def shared_share(rate_a, rate_b, threshold: float) -> np.ndarray:
  """Of concepts above a threshold in either, the share above it in both.

  Args:
    rate_a: share of tokens that a concept fires for, [..., S].
    rate_b: likewise of the other side.
    threshold: that both must pass.

  Returns:
    [...]; NaN where no concept passes.
  """
  a, b = rate_a > threshold, rate_b > threshold
  either = (a | b).sum(-1)
  with np.errstate(invalid='ignore', divide='ignore'):
    return np.where(either > 0, (a & b).sum(-1) / either, np.nan)


def chance_share(rate_a_S, rate_b_S, threshold: float, live_S) -> float:
  """`shared_share` if which concepts pass on each side had no relation.

  Args:
    rate_a_S: share of tokens that a concept fires for.
    rate_b_S: likewise of the other side.
    threshold: that both must pass.
    live_S: which concepts fire anywhere, be it below the threshold; dead ones
      are no candidates, and would make chance too low. Where few fire without
      passing on one side, chance is rather too high.
  """
  pass_a, pass_b = rate_a_S > threshold, rate_b_S > threshold
  a, b = int(pass_a.sum()), int(pass_b.sum())
  both = a * b / max(int((live_S | pass_a | pass_b).sum()), 1)
  return both / (a + b - both) if a + b else float('nan')


@dataclasses.dataclass(frozen=True)
class Counts:
  """Firings by example of one context, and its tokens."""

  fires_NS: scipy.sparse.csr_matrix
  tokens_N: np.ndarray

  @property
  def rate_S(self) -> np.ndarray:
    return np.asarray(self.fires_NS.sum(0)).ravel() / max(
      self.tokens_N.sum(), 1
    )

  def rows(self, at_n: np.ndarray) -> 'Counts':
    return Counts(self.fires_NS[at_n], self.tokens_N[at_n])

  def rates(self, weight_RN: np.ndarray) -> np.ndarray:
    """Rates of resamples: [R, S]."""
    total_R1 = (weight_RN @ self.tokens_N)[:, None]
    return (self.fires_NS.T @ weight_RN.T).T / np.maximum(total_R1, 1)


def counts(z_nS, example_n: np.ndarray, n: int) -> Counts:
  return Counts(*per_example(z_nS, example_n, n))


def _drawn(
  draws: int, s: int, share: Callable[[int], np.ndarray]
) -> np.ndarray:
  """What `share` gives of so many draws, a few at a time: [R]."""
  step = max(_CELLS // max(s, 1), 1)
  parts = [share(min(step, draws - i)) for i in range(0, draws, step)]
  return np.concatenate(parts)


def resampled_share(
  a: Counts, b: Counts, threshold: float, draws: int = DRAWS, seed: int = 0
) -> np.ndarray:
  """`shared_share` of resamples of the examples: [R]."""
  n, s = a.fires_NS.shape
  rng = np.random.default_rng(seed)

  def share(r: int) -> np.ndarray:
    weight_RN = rng.multinomial(n, np.full(n, 1 / n), size=r).astype(float)
    return shared_share(a.rates(weight_RN), b.rates(weight_RN), threshold)

  return _drawn(draws, s, share)


def halves_share(
  a: Counts, b: Counts, threshold: float, draws: int = DRAWS, seed: int = 0
) -> np.ndarray:
  """`shared_share` of half of the examples in a and the others in b: [R].

  Of one context twice, what two samples of one thing share. Rates of half the
  examples pass a threshold less surely, on which what is shared depends: it
  stands beside the halves of two contexts, not beside the whole of them.
  """
  n, s = a.fires_NS.shape
  rng = np.random.default_rng(seed)

  def share(r: int) -> np.ndarray:
    half_RN = np.tile(np.arange(n) < n // 2, (r, 1))
    half_RN = rng.permuted(half_RN, axis=1).astype(float)
    return shared_share(a.rates(half_RN), b.rates(1 - half_RN), threshold)

  return _drawn(draws, s, share)


def exchanged_share(
  a: Counts, b: Counts, threshold: float, draws: int = DRAWS, seed: int = 0
) -> np.ndarray:
  """`shared_share` where each example's two sides are swapped at random: [R].

  What would be shared if a token's modality said nothing: whole examples are
  exchanged, since their tokens are alike.
  """
  n, s = a.fires_NS.shape
  both = Counts(
    scipy.sparse.vstack([a.fires_NS, b.fires_NS]).tocsr(),
    np.concatenate([a.tokens_N, b.tokens_N]),
  )
  rng = np.random.default_rng(seed)

  def share(r: int) -> np.ndarray:
    keep_RN = rng.random((r, n)) >= 0.5
    weight_RN = np.concatenate([keep_RN, ~keep_RN], axis=1).astype(float)
    return shared_share(
      both.rates(weight_RN), both.rates(1 - weight_RN), threshold
    )

  return _drawn(draws, s, share)


@dataclasses.dataclass(frozen=True)
class CoFiring:
  """Whether a concept fires for an image and for its own text: [S] each.

  Attributes:
    phi_S: correlation of the two over examples, about what their numbers of
      tokens lead to expect; NaN where one never varies.
    p_S: one-sided, exact, of as many joint firings when examples of equally
      many tokens are shuffled; NaN where fewer than 5 are expected.
  """

  phi_S: np.ndarray
  p_S: np.ndarray

  def paired(self, among_S: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Of some concepts, those that fire together more than by chance: [S].

    Benjamini–Yekutieli over those that can be tested.
    """
    p_S = np.where(among_S, self.p_S, np.nan)
    return bridges.significant(p_S, int(np.isfinite(p_S).sum()), level)


def strata(a: Counts, b: Counts) -> np.ndarray:
  """Examples with as many tokens, on both sides: their stratum, from 0: [N]."""
  tokens_N2 = np.stack([a.tokens_N, b.tokens_N], axis=1)
  return np.unique(tokens_N2, axis=0, return_inverse=True)[1].ravel()


def shuffle(stratum_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """An order of the examples in which each keeps its stratum: [N]."""
  order_N = np.empty(len(stratum_N), int)
  own_N = np.argsort(stratum_N, kind='stable')
  order_N[own_N] = np.lexsort((rng.random(len(stratum_N)), stratum_N))
  return order_N


@dataclasses.dataclass(frozen=True)
class _Moments:
  """Examples in which concepts fire, by stratum."""

  joint_MS: np.ndarray
  a_MS: np.ndarray
  b_MS: np.ndarray
  n_M1: np.ndarray

  @property
  def expected_S(self) -> np.ndarray:
    """Joint firings when each stratum is shuffled."""
    return (self.a_MS * self.b_MS / self.n_M1).sum(0)

  @property
  def spread_S(self) -> np.ndarray:
    """Product of the two variances within strata; 0 where one is constant."""
    within = lambda c_MS: (c_MS * (self.n_M1 - c_MS) / self.n_M1).sum(0)
    return within(self.a_MS) * within(self.b_MS)

  @property
  def phi_S(self) -> np.ndarray:
    """Correlation of two indicators within strata; NaN where one is constant.

    Of one stratum, Pearson's.
    """
    spread_S = self.spread_S
    away_S = self.joint_MS.sum(0) - self.expected_S
    with np.errstate(invalid='ignore', divide='ignore'):
      return np.where(
        spread_S > 0, away_S / np.sqrt(np.maximum(spread_S, 1e-300)), np.nan
      )


def _moments(a: Counts, b: Counts) -> _Moments:
  stratum_N = strata(a, b)
  n = len(stratum_N)
  n_M1 = np.bincount(stratum_N)[:, None]
  to_MN = scipy.sparse.csr_matrix(
    (np.ones(n), (stratum_N, np.arange(n))), shape=(len(n_M1), n)
  )
  a_NS, b_NS = ((c.fires_NS > 0).astype(float) for c in (a, b))
  count = lambda fires_NS: (to_MN @ fires_NS).toarray()
  return _Moments(count(a_NS.multiply(b_NS)), count(a_NS), count(b_NS), n_M1)


def _tail(m: _Moments) -> np.ndarray:
  """Chance of as many joint firings, or more, when strata are shuffled: [S].

  Each stratum's are hypergeometric, and their sum's law is the convolution of
  these: N² additions a concept, at most.
  """
  most = int(np.minimum(m.a_MS, m.b_MS).sum(0).max(initial=0))
  law_SJ = np.zeros((m.a_MS.shape[1], most + 1))
  law_SJ[:, 0] = 1
  top = 0
  for n, a_S, b_S in zip(m.n_M1[:, 0], m.a_MS, m.b_MS, strict=True):
    own = min(int(np.minimum(a_S, b_S).max(initial=0)), most)
    part_Sj = scipy.stats.hypergeom.pmf(
      np.arange(own + 1)[None], n, a_S[:, None], b_S[:, None]
    )
    before_SJ, law_SJ = law_SJ, np.zeros_like(law_SJ)
    for j in range(own + 1):
      stop = min(j + top, most) + 1
      law_SJ[:, j:stop] += part_Sj[:, j, None] * before_SJ[:, : stop - j]
    top = min(top + own, most)
  joint_S = m.joint_MS.sum(0).astype(int)
  is_tail_SJ = np.arange(most + 1)[None] >= joint_S[:, None]
  return np.minimum(np.where(is_tail_SJ, law_SJ, 0).sum(1), 1)


def co_firing(a: Counts, b: Counts) -> CoFiring:
  """Of the same examples, in the same order."""
  m = _moments(a, b)
  p_S = np.full(m.a_MS.shape[1], np.nan)
  tested = np.flatnonzero((m.expected_S >= _LEAST_EXPECTED) & (m.spread_S > 0))
  take = lambda c_MS: c_MS[:, tested]
  p_S[tested] = _tail(
    _Moments(take(m.joint_MS), take(m.a_MS), take(m.b_MS), m.n_M1)
  )
  return CoFiring(m.phi_S, p_S)


def mean_phi(a: Counts, b: Counts, among_S: np.ndarray) -> float:
  """Mean correlation over some concepts; NaN without any."""
  found_S = _moments(a, b).phi_S[among_S]
  found_S = found_S[np.isfinite(found_S)]
  return float(found_S.mean()) if len(found_S) else float('nan')


def resampled_phi(
  a: Counts,
  b: Counts,
  among_S: np.ndarray,
  draws: int = DRAWS,
  seed: int = 0,
  shuffled: bool = False,
) -> np.ndarray:
  """`mean_phi` over resamples of the examples, or of shuffled ones: [R].

  Examples are shuffled among those of equally many tokens.
  """
  rng = np.random.default_rng(seed)
  n, stratum_N = len(a.tokens_N), strata(a, b)
  columns = np.flatnonzero(among_S)
  a, b = (Counts(c.fires_NS[:, columns], c.tokens_N) for c in (a, b))
  every = np.ones(len(columns), bool)
  found = []
  for _ in range(draws):
    at_N = np.arange(n) if shuffled else rng.integers(0, n, n)
    to_N = shuffle(stratum_N, rng) if shuffled else at_N
    found.append(mean_phi(a.rows(at_N), b.rows(to_N), every))
  return np.array(found)
