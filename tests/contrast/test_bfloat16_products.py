"""Pairs multiplied in bfloat16, of embeddings in float32."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from gramalign.contrast import Engine
from gramalign.contrast.tile import InBfloat16
from gramalign.programs.flops import FLOAT32_PASSES, traced_flops
from gramalign.scores import (
    HeightScore,
    HyperbolicVolumeScore,
    KernelVolumeScore,
    SimplexScore,
    VolumeScore,
)
from gramalign.scores.products import in_bfloat16, product
from tests import every_loss, samples

BATCH, DIM = 64, 32
ANCHORED = [
    VolumeScore("a"),
    HeightScore("a"),
    SimplexScore("a"),
    KernelVolumeScore("a"),
    HyperbolicVolumeScore("a"),
]
NARROW = Engine(tile=16, precision="bfloat16")


def batch(names="abc", noise=1.0):
    rng = np.random.default_rng(0)
    return samples.embeddings(rng, BATCH, DIM, names, noise, dtype=np.float64)


def computed(loss, embeddings, dtype, engine=NARROW):
    """Values per example, and gradients of their sum by modality."""

    def total(embeddings):
        temperature = jnp.asarray(0.2, jnp.float64 if dtype == jnp.float64 else jnp.float32)
        values = loss(embeddings, temperature=temperature, engine=engine)
        return values.sum(), values

    x = {name: jnp.asarray(array, dtype) for name, array in embeddings.items()}
    (_, values), gradients = jax.jit(jax.value_and_grad(total, has_aux=True))(x)
    return values, gradients


def cosine(x, y):
    return np.vdot(x, y) / np.linalg.norm(x) / np.linalg.norm(y)


@pytest.mark.parametrize("name", ["gram", "clip", "pmrl", "siglip", "symile, all"])
def test_values_and_gradients(name):
    """Rounded by one part in 256 and at random: their sums over dimensions and pairs by less."""
    loss = every_loss.EVERY[name]
    embeddings = batch(every_loss.modalities_of(name))
    values, gradients = computed(loss, embeddings, jnp.float32)
    true_values, true_gradients = computed(loss, embeddings, jnp.float32, Engine(tile=16))
    np.testing.assert_allclose(values, true_values, rtol=1e-3, atol=1e-3)
    for modality, slope in gradients.items():
        assert slope.dtype == jnp.float32
        assert cosine(slope, true_gradients[modality]) > 0.9999
        assert np.any(slope != true_gradients[modality])


@pytest.mark.slow
def test_matched_pairs_keep_their_digits():
    """Of a tuple that is close, embeddings in bfloat16 leave nothing."""
    close = batch(noise=1e-4)
    loss = every_loss.EVERY["gram"]
    exact, kept, lost = (
        computed(loss, close, dtype, engine)[0]
        for dtype, engine in [
            (jnp.float32, Engine(tile=16)),
            (jnp.float32, NARROW),
            (jnp.bfloat16, Engine(tile=16)),
        ]
    )
    assert np.max(np.abs(kept - exact)) < 0.1 * np.max(np.abs(lost - exact))


@pytest.mark.parametrize("score", ANCHORED)
@pytest.mark.parametrize("dim", [64, 512])
@pytest.mark.parametrize("names", ["a", "ac"])
def test_no_distance_where_there_is_none(score, dim, names):
    """A distance that is only rounding would have a derivative that points anywhere."""
    rng = np.random.default_rng(0)
    x = {name: jnp.asarray(samples.unit(rng, BATCH, dim), jnp.float32) for name in names}
    x["b"] = x["a"]

    @jax.jit
    def slopes(x):
        rows, cols = score.rows(x).factors, score.cols(x).factors
        return jax.grad(lambda rows: jnp.trace(InBfloat16(score).tile(rows, cols)))(rows)

    assert np.mean(np.any(slopes(x) != 0, axis=1)) < 0.05


@pytest.mark.parametrize("name", every_loss.OTHERS)
def test_every_loss_takes_it(name):
    """And the types of what comes out are those of before."""
    loss = every_loss.EVERY[name]
    x = samples.as_jax(batch(every_loss.modalities_of(name)))
    x = {name: array.astype(jnp.float32) for name, array in x.items()}

    def total(x):
        return loss(x, temperature=jnp.asarray(0.2), groups=jnp.arange(64), engine=NARROW).sum()

    value, slopes = jax.eval_shape(jax.value_and_grad(total), x)
    assert (value.shape, value.dtype) == ((), jnp.float32)
    chex.assert_trees_all_equal_shapes_and_dtypes(slopes, x)


def test_no_pair_is_multiplied_in_float32():
    def mean(x):
        return losses.clip(x, anchor="a", engine=NARROW).mean()

    traced = jax.make_jaxpr(jax.grad(mean))({n: x.astype("f4") for n, x in batch("ab").items()})
    assert traced_flops(traced, FLOAT32_PASSES) == traced_flops(traced) == 4 * 2 * BATCH**2 * DIM


def test_what_was_compiled_for_the_one_is_not_run_for_the_other():
    """Even inside a function that is compiled by itself, as somebody's own Score may be."""
    x = jnp.asarray(batch()["a"], jnp.float32)
    multiply = jax.jit(product)
    wide = multiply(x, x)
    with in_bfloat16():
        narrow = multiply(x, x)
        plain = jax.make_jaxpr(lambda x: x @ x.T)(x)
    assert np.array_equal(wide, multiply(x, x)) and not np.array_equal(wide, narrow)
    assert "BF16_BF16_F32" in str(plain)


@pytest.mark.slow
def test_float64(x64):
    """As wide as before, and as the same in float32."""
    embeddings = batch()
    values, gradients = computed(every_loss.EVERY["gram"], embeddings, jnp.float64)
    assert values.dtype == gradients["a"].dtype == jnp.float64
    np.testing.assert_allclose(
        values, computed(every_loss.EVERY["gram"], embeddings, jnp.float32)[0], rtol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["gather", "ring"])
def test_on_a_mesh(strategy):
    mesh = jax.make_mesh((4,), ("data",), (jax.sharding.AxisType.Auto,))
    engine = Engine(strategy, tile=16, precision="bfloat16")
    gram = every_loss.EVERY["gram"]
    split = computed(losses.over_mesh(gram, mesh), batch(), jnp.float32, engine)
    whole = computed(gram, batch(), jnp.float32)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), split, whole)
