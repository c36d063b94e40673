"""Encoders under JAX's transformations, and what they are made of against NumPy."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from gramalign.models import pretrained
from gramalign.models.linear import HIDDEN, PRODUCT
from gramalign.models.pretrained.encoder import mean
from gramalign.models.pretrained.swin import Swin
from gramalign.models.pretrained.transformer import (
    ACTIVATIONS,
    Attention,
    Gate,
    Shape,
    Transformer,
    _times,
)
from gramalign.programs.flops import matmul_flops
from tests.models.pretrained.tiny import drawn_inputs, fill, golden

GOLDEN = golden()
KINDS = [
    *("clip text", "mpnet text", "siglip image", "dinov3 with gates image", "videomae video"),
    *("whisper audio", "large wavlm audio", "clap audio"),
]
EACH = [
    *KINDS,
    *("bert text", "roberta text", "clap text", "ast audio", "wav2vec2 audio"),
    *("large wav2vec2 audio", "wavlm audio", "large beats audio", "imagebind audio", "eva image"),
    *("dinov2 with gates image", "dinov2 with registers, smaller images image", "dinov3 image"),
]


@pytest.fixture
def parts(model):
    """A function of state and inputs, the state, and inputs of eight rows."""

    def made(name):
        encoder = pretrained.load(model(name), name.split()[-1])
        graph, state = nnx.split(encoder)
        shapes = {each: [8, *shape[1:]] for each, shape in GOLDEN[name]["inputs"].items()}
        return jax.jit(lambda s, x: nnx.merge(graph, s)(x)), state, drawn_inputs(shapes)

    return made


@pytest.mark.parametrize("name", KINDS)
def test_vmap_a_mesh_and_an_exported_program_change_nothing(parts, name):
    embed, state, inputs = parts(name)
    wanted = embed(state, inputs)
    halves = {each: array.reshape(2, 4, *array.shape[1:]) for each, array in inputs.items()}
    found = jax.jit(jax.vmap(embed, in_axes=(None, 0)))(state, halves)
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=2e-6)

    mesh = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))
    spread = jax.device_put(inputs, NamedSharding(mesh, PartitionSpec("data")))
    found = embed(jax.device_put(state, NamedSharding(mesh, PartitionSpec())), spread)
    assert found.sharding.spec == PartitionSpec("data")
    np.testing.assert_allclose(found, wanted, atol=2e-6)

    (rows,) = jax.export.symbolic_shape("rows")
    like = {n: jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype) for n, x in inputs.items()}
    program = jax.export.export(embed)(jax.eval_shape(lambda: state), like)
    np.testing.assert_allclose(program.call(state, inputs), wanted, atol=2e-6)


@pytest.mark.parametrize("name", ["clip text", "clap audio"])
def test_a_mesh_of_explicit_axes_as_the_docs_say(parts, name):
    embed, state, inputs = parts(name)
    wanted = embed(state, inputs)
    split = PartitionSpec("data")
    with jax.set_mesh(jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Explicit,))):
        embed = jax.sharding.auto_axes(embed, out_sharding=split)
        found = embed(jax.device_put(state, PartitionSpec()), jax.device_put(inputs, split))
    assert found.sharding.spec[0] == "data"
    np.testing.assert_allclose(found, wanted, atol=2e-6)


@pytest.mark.parametrize("kind", ["transformer", "swin"])
def test_layers_may_keep_no_more_than_what_they_got(kind):
    shape = Shape(
        width=8, depth=3, heads=2, hidden=16, activation="gelu", eps=1e-5, norm_last=False
    )
    body, tokens = Transformer(shape), 5
    if kind == "swin":
        body, tokens = Swin([shape], (2, 4), 2), 8
    fill(body)
    x = jax.random.normal(jax.random.key(1), (40, tokens, 8))

    def backwards(remat):
        body.remat = remat
        graph, state = nnx.split(body)

        @jax.jit
        def forwards(state, x):
            return jax.vjp(lambda state, x: nnx.merge(graph, state)(x), state, x)

        y, back = forwards(state, x)
        # Of the batch, or of its windows, which no parameter is as large as.
        kept = sum(each.size for each in jax.tree.leaves(back) if each.shape[:1] >= (40,))
        return jax.jit(back)(jnp.cos(y)), kept

    (wanted, much), (found, little) = backwards(False), backwards(True)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-5), found, wanted)
    if kind == "transformer":
        assert little == 3 * x.size
    assert little < much / 5


def kept(function, *names):
    """The function, of which only what has these names is kept for its derivatives."""
    return jax.checkpoint(function, policy=jax.checkpoint_policies.save_only_these_names(*names))


def test_where_products_are_kept_only_attention_is_computed_again():
    shape = Shape(width=8, depth=3, heads=2, hidden=16, activation="gelu", eps=1e-5)
    graph, state = nnx.split(Transformer(shape))
    x = jax.random.normal(jax.random.key(1), (4, 5, 8))

    def embed(state, x):
        return nnx.merge(graph, state)(x)

    def flops(embed):
        return matmul_flops(jax.grad(lambda *each: jnp.sum(embed(*each) ** 2), (0, 1)), state, x)

    comparing, mixing = 2 * x.size * 5, 2 * x.size * 5
    assert flops(kept(embed, PRODUCT)) - flops(embed) == shape.depth * (comparing + mixing)


def test_where_layers_are_kept_words_are_looked_up_once(parts):
    embed, state, inputs = parts("clip text")

    def lookups(embed):
        slopes = jax.grad(lambda s: jnp.sum(embed(s, inputs) ** 2))
        return len(re.findall(r"= gather\[", str(jax.make_jaxpr(slopes)(state))))

    again = lookups(kept(embed)) - lookups(embed)
    assert again > 1
    assert lookups(kept(embed, HIDDEN)) - lookups(embed) == 1  # of the token for the whole text


@pytest.mark.parametrize("name", EACH)
def test_each_parameter_has_a_gradient_which_is_a_sum_over_the_batch_in_float32(model, name):
    """Or it would depend on how devices and microbatches divide the batch."""
    encoder = pretrained.load(model(name), name.split()[-1], dtype=jnp.bfloat16)
    inputs = drawn_inputs(GOLDEN[name]["inputs"])
    graph, state = nnx.split(encoder)

    @jax.jit
    def slopes(weights):
        def total(s):
            return jnp.sum(weights[:, None] * jnp.sin(nnx.merge(graph, s)(inputs)))

        return jax.grad(total)(state)

    # Of all rows, and of each: what is computed of a row by itself is the same to the bit.
    whole, *parts = (slopes(np.float32(weights)) for weights in ([1, 1], [1, 0], [0, 1]))
    whole, *parts = (jax.tree.leaves_with_path(each) for each in (whole, *parts))
    sums = [
        np.asarray(one) + np.asarray(other) for (_, one), (_, other) in zip(*parts, strict=True)
    ]
    largest = max(np.abs(each).max() for each in sums)
    for (path, slope), wanted in zip(whole, sums, strict=True):
        assert slope.dtype == jnp.float32 and np.isfinite(slope).all()
        # Those of keys' biases are sums that cancel, as softmax does not see them.
        np.testing.assert_allclose(slope, wanted, rtol=2e-6, atol=5e-5 * largest)
        name = jax.tree_util.keystr(path)
        if "'key'" not in name or "'bias'" not in name:
            assert np.abs(slope).max() > 1e-6, name


X = np.linspace(-6, 6, 49)
GELU = X * np.vectorize(lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2))))(X)
TANH = 0.5 * X * (1 + np.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3)))
SILU = X / (1 + np.exp(-X))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("gelu", GELU),
        ("gelu_fast", TANH),
        ("gelu_new", TANH),
        ("gelu_python", GELU),
        ("gelu_pytorch_tanh", TANH),
        ("quick_gelu", X / (1 + np.exp(-1.702 * X))),
        ("relu", np.maximum(X, 0)),
        ("silu", SILU),
        ("swish", SILU),
    ],
)
def test_activations(name, wanted):
    np.testing.assert_allclose(ACTIVATIONS[name](jnp.float32(X)), wanted, atol=1e-6)


def test_normalisation_keeps_its_digits_where_the_mean_is_large():
    shape = Shape(width=64, depth=1, heads=1, hidden=1, activation="gelu", eps=1e-6)
    x = (1000 + np.random.default_rng(0).normal(size=(2, 3, 64))).astype(np.float32)
    exact = x.astype(np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / exact.std(-1, keepdims=True)
    np.testing.assert_allclose(shape.norm()(jnp.asarray(x)), exact, atol=1e-3)


def test_attention_in_bfloat16_compares_in_float32():
    sizes = {"width": 64, "depth": 1, "heads": 1, "hidden": 1, "activation": "gelu", "eps": 1e-6}
    attention = Attention(Shape(**sizes, dtype=jnp.bfloat16))
    for part in (attention.query, attention.key, attention.out):
        part.kernel[...] = jnp.eye(64)
    attention.value.kernel[...] = jnp.zeros((64, 64)).at[:2, 0].set(jnp.asarray([1.0, -1.0]))
    tokens = jnp.full((1, 2, 64), 8, jnp.bfloat16).at[0, 1, 0].set(10)
    # Likenesses of 128 and 128.5, which are one number in bfloat16; values of 0 and 2.
    found = attention(tokens, asking=jnp.full((1, 1, 64), 2, jnp.bfloat16))
    assert float(found[0, 0, 0]) == pytest.approx(2 / (1 + math.exp(-0.5)), abs=0.01)


def test_what_bfloat16_is_too_narrow_for_is_computed_in_float32():
    rng = np.random.default_rng(0)
    narrow = jnp.asarray(rng.normal(size=(2, 5, 4, 8)), jnp.bfloat16)
    wide = narrow.astype(jnp.float32)
    gate = Gate(4, 32)
    fill(gate)
    np.testing.assert_array_equal(gate(narrow), gate(wide), strict=True)

    tokens, mask = narrow[:, :, 0], jnp.arange(5)[None] < jnp.array([[5], [3]])
    scale = nnx.Param(jnp.asarray(rng.normal(size=8), jnp.float32))
    exact = (scale[...][None, None] * wide[:, :, 0]).astype(jnp.bfloat16)
    np.testing.assert_array_equal(_times(scale, tokens), exact, strict=True)
    for there in (None, mask):
        found = mean(tokens, there)
        np.testing.assert_array_equal(found, mean(wide[:, :, 0], there), strict=True)
