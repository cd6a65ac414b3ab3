"""Edits in torch are those in JAX: in what generates, and by themselves."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saejax import errors
from saejax import nn
from saejax.models import edits as ours
from saejax.models import generation
from saejax.models import llava_folder
from saejax.models import llava_next
from saejax.pipeline import exporting
from saejax.torch_bridge import llava_edits as theirs
from saejax.torch_bridge import llava_export
from tests import saes
from tests.models import llava_configs
from tests.models import llava_next_test
from tests.models import parity

torch = parity.torch
D = llava_configs.TEXT['hidden_size']
LAYER, NEW = 1, 8
RNG = np.random.default_rng(0)
V = (3 * RNG.normal(size=(2, D))).astype(np.float32)
OTHER = RNG.normal(size=D).astype(np.float32)


def dictionary(arch: str = 'topk'):
  """A dictionary of the residual's width, and its strongest concept."""
  sae = nn.ARCHITECTURES[arch](d=D, s=40, k=5, modalities=('image', 'text'))
  variables = sae.init(jax.random.key(0), method=lambda module: module.w_dec)
  rng = np.random.default_rng(2)
  moved = jax.tree.map(
    lambda a: np.abs(rng.normal(size=a.shape)).astype(np.float32) + 0.5,
    variables['constants'],
  )
  return sae, {'params': variables['params'], 'constants': moved}


def pair(kind: str):
  """The same edit of both."""
  sae, variables = dictionary()
  if kind == 'add':
    return ours.add(V[0]), theirs.add(V[0])
  if kind == 'subtract':
    return ours.add(-V[0]), theirs.subtract(V[0])
  if kind == 'project_out':
    return ours.project_out(V), theirs.project_out(V)
  if kind == 'replace':
    return ours.replace(OTHER), theirs.replace(OTHER)
  run = exporting.torch_dictionary(sae, variables)
  if kind == 'reconstruct':
    return ours.reconstruct(sae, variables), theirs.reconstruct(run)
  direction = np.asarray(variables['params']['w_dec'])[7]
  return (
    ours.clamp(sae, variables, 7, 9.0),
    theirs.clamp(run, direction, 7, 9.0),
  )


KINDS = ('add', 'subtract', 'project_out', 'replace', 'reconstruct', 'clamp')
PLACES = ('everywhere', 'on_image', 'on_text', 'but_first')


@parity.needs_torch
class EditTest(parity.ParityTest, parameterized.TestCase):
  def tokens(self):
    """Two rows of JAX's, and the same padded on the left, as torch may."""
    ids = np.array([[1, 9, 9, 4, 5, 0], [1, 9, 3, 9, 6, 7]], np.int32)
    mine = ours.llama.tokens_of(jnp.asarray(ids), [5, 6], 9)
    rolled = np.stack([np.roll(ids[0], 1), ids[1]])
    mask = np.array([[0, 1, 1, 1, 1, 1], [1] * 6])
    return mine, theirs.tokens_of(parity.ids(rolled), parity.ids(mask), 9)

  @parameterized.product(kind=KINDS, place=PLACES)
  def test_alone(self, kind, place):
    mine, other = self.tokens()
    x = RNG.normal(size=(2, 6, D)).astype(np.float32)
    a, b = pair(kind)
    a = ours.where(getattr(ours, place), a)
    b = theirs.where(getattr(theirs, place), b)
    expected = np.asarray(a(x, mine))
    given = torch.tensor(np.stack([np.roll(x[0], 1, axis=0), x[1]]))
    found = b(given, other).numpy()
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[0, 1:], expected[0, :5], rtol=1e-4,
                               atol=1e-4)  # fmt: skip
    self.assertGreater(np.abs(found[1] - x[1]).max(), 1e-2)

  def test_positions_and_chains(self):
    mine, other = self.tokens()
    mask = theirs.at([0, 4])(other).numpy()
    expected = np.asarray(ours.at([0, 4])(mine))
    np.testing.assert_array_equal(mask[0, 1:], expected[0, :5])
    np.testing.assert_array_equal(mask[1], expected[1])
    x = torch.tensor(RNG.normal(size=(2, 6, D)).astype(np.float32))
    both = theirs.chain(theirs.add(V[0]), theirs.project_out(V[0]))
    np.testing.assert_allclose(
      both(x, other), theirs.project_out(V[0])(x, other), atol=1e-4
    )

  @parameterized.parameters(*(a for a in saes.ARCHS if a not in ('mp', 'omp')))
  def test_dictionaries(self, arch):
    sae, variables = saes.make(arch, modalities=saes.MODALITIES)
    is_image = np.arange(saes.B) % 3 == 0
    out = sae.apply(variables, saes.rows(), np.where(is_image, 0, 1))
    run = exporting.torch_dictionary(sae, variables)
    z, xhat = run(torch.tensor(saes.rows()), torch.tensor(is_image))
    np.testing.assert_allclose(z, saes.dense(out.codes), atol=1e-5)
    np.testing.assert_allclose(xhat, out.xhat_BD, atol=1e-4)

  def test_a_dictionary_that_torch_does_not_run_is_told(self):
    with self.assertRaisesRegex(errors.UserError, "arch 'mp' does not run"):
      exporting.torch_dictionary(*saes.make('mp'))


@parity.needs_torch
class GenerateTest(parity.ParityTest, parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    if torch is None:
      return
    given = {
      k: v for k, v in llava_configs.config().items() if k != 'model_type'
    }
    cls.theirs = parity.reference(
      'LlavaNextForConditionalGeneration', 'LlavaNextConfig', given
    )
    cls.ours = llava_next.LlavaNext(
      llava_next.LlavaNextConfig.from_dict(cls.theirs.config.to_dict())
    )
    shapes = llava_folder.abstract_params(cls.ours)
    state = llava_folder.canonical(parity.state(cls.theirs))
    cls.params = parity.weights.load(state, shapes, 'torch')
    _, _, cls.of_row, cls.inputs = llava_next_test.batch('llama', (1, 2))

  def row(self, b: int, left: int = 0):
    """A row as torch takes it, with padding on its left."""
    tokens = jax.device_get(self.inputs.tokens)
    n = int(tokens.is_real_BT[b].sum())
    ids = np.pad(tokens.ids_BT[b, :n], (left, 0))[None]
    mask = np.pad(np.ones(n, int), (left, 0))[None]
    pixels = llava_next_test.processor()(self.of_row[b], return_tensors='np')
    return llava_export.inputs(self.theirs, ids, mask, pixels), n + left

  def generate(self, b: int, left: int = 0) -> np.ndarray:
    given, n = self.row(b, left)
    found = self.theirs.generate(
      **given, max_new_tokens=NEW, do_sample=False, pad_token_id=0
    )[0, n:].numpy()
    return np.pad(found, (0, NEW - len(found)))

  @parameterized.parameters(*((k, k != 'add') for k in KINDS))
  def test_the_same_words_follow(self, kind, steps):
    a, b = pair(kind)
    a, b = (ours.where(ours.but_first, a), theirs.where(theirs.but_first, b))
    run = jax.jit(
      lambda p, tokens, image: generation.generate(
        self.ours, p, tokens, image, most=NEW, ends=(llava_configs.EOS,),
        edits={LAYER: a}, step_edits={LAYER: a} if steps else None,
      ),
      # Each is called once: compiling takes all the time.
      compiler_options={'xla_backend_optimization_level': 0},
    )  # fmt: skip
    with jax.default_matmul_precision('highest'):
      expected = run(self.params, self.inputs.tokens, self.inputs.image)
    with theirs.edited(self.theirs, {LAYER: b}, {LAYER: b} if steps else None):
      found = [self.generate(0), self.generate(1, left=3)]
    np.testing.assert_array_equal(found, expected)

  def test_edits_end_with_their_context_and_change_what_follows(self):
    before = self.generate(0)
    edit = theirs.replace(OTHER)
    with theirs.edited(self.theirs, {LAYER: edit}, {LAYER: edit}):
      inside = self.generate(0)
    self.assertFalse(np.array_equal(before, inside))
    np.testing.assert_array_equal(self.generate(0), before)

  def test_only_images_are_edited_where_asked(self):
    given, _ = self.row(1)
    layers = (LAYER, LAYER + 1)
    plain = llava_export.residuals(self.theirs, given, layers)
    on_image = theirs.where(theirs.on_image, theirs.add(V[0]))
    with theirs.edited(self.theirs, {LAYER: on_image}):
      moved = llava_export.residuals(self.theirs, given, layers)
    gap = np.abs(moved[LAYER] - plain[LAYER]).max(-1)[0] > 0
    is_image = np.asarray(self.inputs.tokens.is_image_BT)[1, : len(gap)]
    np.testing.assert_array_equal(gap, is_image)
    later = np.abs(moved[LAYER + 1] - plain[LAYER + 1]).max(-1)[0] > 0
    self.assertTrue(later[is_image.argmax() :].all())
    self.assertFalse(later[: is_image.argmax()].any())

  def test_a_layer_that_is_not_there_is_told(self):
    with (
      self.assertRaisesRegex(errors.UserError, 'no layer 4 to edit'),
      theirs.edited(self.theirs, {4: theirs.add(V[0])}),
    ):
      pass


@parity.needs_torch
class VersionsTest(absltest.TestCase):
  def stack(self, as_tuple: bool):
    """A language model of three blocks as version 4 or 5 lays it out."""

    class Block(torch.nn.Module):
      def __init__(self, n):
        super().__init__()
        self.n = n

      def forward(self, hidden_states):
        out = hidden_states + self.n + 1
        return (out, None) if as_tuple else out

    class Model(torch.nn.Module):
      def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([Block(n) for n in range(3)])
        self.norm = torch.nn.Identity()

      def forward(self, x, **_):
        for block in self.layers:
          # Version 4 passes rows by their place, version 5 by place too.
          x = block(x)[0] if as_tuple else block(hidden_states=x)
        return self.norm(x)

    class Outer(torch.nn.Module):
      def __init__(self):
        super().__init__()
        self.language_model = Model()
        self.config = None

      def forward(self, x, **_):
        return self.language_model(x)

    inner = Outer()
    if as_tuple:  # Version 4: language_model is a CausalLM with a model.
      inner.language_model, model = torch.nn.Module(), inner.language_model
      inner.language_model.model = model
      inner.forward = lambda x, **_: model(x)
    return inner

  def test_blocks_that_give_tuples_or_tensors(self):
    for as_tuple in (True, False):
      model = self.stack(as_tuple)
      given = {'x': torch.zeros(1, 2, 4)}
      found = llava_export.residuals(model, given, (0, 1, 3))
      self.assertEqual([*found], [0, 1, 3])
      for n, value in ((0, 0), (1, 1), (3, 6)):
        np.testing.assert_allclose(found[n], np.full((1, 2, 4), value))


if __name__ == '__main__':
  absltest.main()
