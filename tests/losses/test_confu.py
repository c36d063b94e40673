"""What is special to ConFu: the published sum, names of fusions, and who has which term."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from tests import reference, samples

BATCH = 8


def with_fused(embeddings):
    """Some fusion of every two, unlike in its two modalities, of unit length."""
    pairs = losses.fused_pairs(embeddings).items()
    fused = {name: embeddings[m] - 0.5 * embeddings[n] for name, (m, n) in pairs}
    return embeddings | {name: samples.normalized(x) for name, x in fused.items()}


def embeddings_of(names, dtype=np.float64):
    return with_fused(samples.embeddings(np.random.default_rng(0), BATCH, 6, names, dtype=dtype))


def contrasts(embeddings, pairs, **options):
    return sum(reference.clip(embeddings, pair, **options) for pair in pairs)


def test_the_published_sum_of_six(x64):
    """lam (c(f12, z3) + c(f13, z2) + c(f23, z1)) + (1 - lam) (c(z1, z2) + ...), over 6."""
    x, lam = embeddings_of("abc"), 0.3
    fused = contrasts(x, [("a+b", "c"), ("a+c", "b"), ("b+c", "a")])
    pairs = contrasts(x, [("a", "b"), ("b", "c"), ("c", "a")])
    found = losses.confu(samples.as_jax(x), fused_weight=lam)
    np.testing.assert_allclose(found, (lam * fused + (1 - lam) * pairs) / 6, atol=1e-10)
    alike = losses.confu(samples.as_jax(x))
    np.testing.assert_allclose(alike, (fused + pairs) / 12, atol=1e-10)


@pytest.mark.slow
def test_more_modalities_keep_the_balance_of_fused_and_pairs(x64):
    x = embeddings_of("abcd")
    found = losses.confu(samples.as_jax(x), fused_weight=0.3)
    np.testing.assert_allclose(found, reference.confu(x, "abcd", fused_weight=0.3), atol=1e-10)
    of_fused = losses.confu(samples.as_jax(x), fused_weight=1.0)
    assert len(losses.fused_pairs("abcd")) == 6
    tasks = [
        (f, o) for f, pair in losses.fused_pairs("abcd").items() for o in "abcd" if o not in pair
    ]
    np.testing.assert_allclose(of_fused, contrasts(x, tasks) / 12 / 2, atol=1e-10)


def test_a_modality_that_nobody_has():
    x = samples.as_jax(embeddings_of("abcd", np.float32))
    three = {name: rows for name, rows in x.items() if "d" not in name}
    broken = {
        name: jnp.full_like(rows, jnp.nan) if "d" in name else rows for name, rows in x.items()
    }
    found = losses.confu(broken, present={"d": jnp.zeros(BATCH, bool)})
    np.testing.assert_allclose(found, losses.confu(three), rtol=1e-5, atol=1e-6)


def test_examples_with_two_modalities_have_their_pair_at_its_usual_weight(x64):
    x, have = embeddings_of("abc"), np.arange(BATCH) < 5
    found = losses.confu(samples.as_jax(x), fused_weight=0.3, present={"c": jnp.asarray(have)})
    np.testing.assert_allclose(found[5:], 0.7 * contrasts(x, [("a", "b")])[5:] / 2, atol=1e-10)


def test_a_fused_embedding_is_there_only_with_both_of_its_modalities():
    """Whatever its own mask says, or if there is none; and it may be absent for itself."""
    x = samples.as_jax(embeddings_of("abc", np.float32))
    have, some = jnp.arange(BATCH) < 5, jnp.arange(BATCH) < 3
    everywhere = {name: jnp.ones(BATCH, bool) for name in x} | {"c": have}
    np.testing.assert_array_equal(
        losses.confu(x, present={"c": have}), losses.confu(x, present=everywhere)
    )
    broken = {name: jnp.where(have[:, None] | ("c" not in name), v, 7) for name, v in x.items()}
    np.testing.assert_array_equal(
        losses.confu(broken, present={"c": have}), losses.confu(x, present={"c": have})
    )
    without = losses.confu(x, fused_weight=1.0, present={"a+b": some, "a+c": some, "b+c": some})
    np.testing.assert_array_equal(without != 0, some)


def test_over_a_mesh_where_mappings_are_put_in_order():
    names = ["text", "video", "audio"]
    x = samples.as_jax(embeddings_of(names, np.float32))
    mesh = jax.make_mesh((8,), ("data",))
    np.testing.assert_allclose(losses.over_mesh(losses.confu, mesh)(x), losses.confu(x), rtol=1e-5)


@pytest.mark.parametrize(
    ("names", "without", "message"),
    [
        (["a", "b"], [], r"needs at least three modalities, got \['a', 'b'\]"),
        (["a", "b", "c"], ["a+c"], r"lacks the fused \['a\+c'\], it holds \['a', 'a\+b', 'b', "),
        (["a", "b", "c", "d"], ["d"], r"\['a\+d', .*\], which are not pairs of \['a', 'b', 'c'\]"),
    ],
)
def test_entries_that_do_not_fit(names, without, message, unchecked):
    x = {
        name: rows for name, rows in embeddings_of(names, np.float32).items() if name not in without
    }
    with pytest.raises(ValueError, match=message):
        losses.confu(samples.as_jax(x))


@pytest.mark.parametrize("weight", [-0.1, 1.5])
def test_a_weight_out_of_range(weight, unchecked):
    x = samples.as_jax(embeddings_of("abc", np.float32))
    with pytest.raises(ValueError, match=rf"fused_weight must be in \[0, 1\], got {weight}"):
        losses.confu(x, fused_weight=weight)
