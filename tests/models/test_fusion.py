import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gramalign import losses
from gramalign.models import FusionHead
from tests import samples

BATCH, DIM = 6, 4
EMBEDDINGS = samples.embeddings(np.random.default_rng(0), BATCH, DIM, "abc")
#        a  b
HAVE = [[1, 1], [1, 0], [0, 1], [0, 0], [1, 1], [1, 1]]
PRESENT = {name: np.array(HAVE, bool)[:, i] for i, name in enumerate("ab")}


def head(modalities=("a", "b"), **options):
    return FusionHead(modalities, DIM, rngs=nnx.Rngs(params=0), **options)


def absent_as(value):
    return samples.as_jax(
        {
            name: np.where(PRESENT[name][:, None], x, np.float32(value)) if name in PRESENT else x
            for name, x in EMBEDDINGS.items()
        }
    )


def test_a_linear_map_of_the_concatenation_in_the_order_named():
    model = head(("b", "a"))
    model.head.bias[...] = jnp.arange(1.0, 1 + DIM)
    kernel, bias = (np.asarray(x[...], np.float64) for x in (model.head.kernel, model.head.bias))
    exact = np.concatenate([EMBEDDINGS["b"], EMBEDDINGS["a"]], axis=1) @ kernel + bias
    vectors, mask = model(samples.as_jax(EMBEDDINGS))
    np.testing.assert_allclose(vectors, samples.normalized(exact), atol=1e-6)
    assert mask.all()


def test_a_perceptron_of_the_concatenation():
    model = head(hidden=5)
    x = jnp.concatenate([EMBEDDINGS["a"], EMBEDDINGS["b"]], axis=1)
    exact = model.head(jax.nn.gelu(model.hidden(x)))
    vectors, _ = model(samples.as_jax(EMBEDDINGS))
    np.testing.assert_allclose(vectors, samples.normalized(np.asarray(exact)), atol=1e-6)
    assert model.hidden.kernel.shape == (2 * DIM, 5) and model.head.kernel.shape == (5, DIM)


@pytest.mark.parametrize(("all_needed", "counted"), [(False, any), (True, all)])
@pytest.mark.parametrize("hidden", [None, 5])
def test_who_has_enough_gets_a_unit_row_and_the_others_zeros(all_needed, counted, hidden):
    model = head(hidden=hidden, all_needed=all_needed)
    model.head.bias[...] = jnp.ones(DIM)
    vectors, mask = model(absent_as(np.nan), samples.as_jax(PRESENT))
    np.testing.assert_array_equal(mask, [counted(row) for row in HAVE])
    np.testing.assert_allclose(jnp.linalg.norm(vectors, axis=1), mask, atol=1e-6)


@pytest.mark.parametrize("all_needed", [False, True])
def test_absent_rows_count_as_zeros_and_leave_the_gradient_alone(all_needed):
    graphdef, params = nnx.split(head(hidden=5, all_needed=all_needed))

    def total(params, embeddings):
        vectors, _ = nnx.merge(graphdef, params)(embeddings, samples.as_jax(PRESENT))
        return jnp.vdot(vectors, jnp.arange(1.0, 1 + vectors.size).reshape(vectors.shape))

    derivative = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))
    found, exact = (derivative(nnx.to_pure_dict(params), absent_as(x)) for x in (np.nan, 0.0))
    jax.tree.map(np.testing.assert_array_equal, found, exact)
    gradient = found[1][1]
    for name, mask in PRESENT.items():
        np.testing.assert_array_equal(gradient[name][~mask], 0)
    assert all(np.isfinite(rows).all() for rows in gradient.values())


def test_a_fusion_of_zero_is_zero_with_a_finite_gradient():
    def total(x):
        return head()(dict.fromkeys("ab", x))[0].sum()

    value, gradient = jax.value_and_grad(total)(jnp.zeros((BATCH, DIM)))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_half_precision_embeddings_are_fused_in_float32():
    vectors, _ = head()({name: jnp.ones((BATCH, DIM), jnp.bfloat16) for name in "ab"})
    assert vectors.dtype == jnp.float32


def test_heads_for_confu():
    heads = {
        name: head(pair, hidden=5, all_needed=True)
        for name, pair in losses.fused_pairs(EMBEDDINGS).items()
    }
    embeddings, present = absent_as(np.nan), samples.as_jax(PRESENT)
    fused = {name: one(embeddings, present) for name, one in heads.items()}
    vectors = {name: x for name, (x, _) in fused.items()}
    masks = {name: mask for name, (_, mask) in fused.items()}
    values = losses.confu(embeddings | vectors, present=present | masks)
    np.testing.assert_array_equal(values != 0, losses.participants(embeddings, present))


@pytest.mark.parametrize("modalities", [(), ("a", "b", "a")])
def test_modalities_that_make_no_sense(modalities):
    with pytest.raises(ValueError, match="modalities must be one or more, each once, got"):
        head(modalities)


def test_embeddings_that_do_not_fit(unchecked):
    with pytest.raises(ValueError, match=r"got \['a', 'b.*\], expected all of \['a', 'x'\]"):
        head(("a", "x"))(samples.as_jax(EMBEDDINGS))
    with pytest.raises(ValueError, match=r"embeddings\['a'\] is 3 wide, expected 4"):
        head()({name: jnp.ones((BATCH, 3)) for name in "ab"})
