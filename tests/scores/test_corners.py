"""What a slip in the code would change, and nothing else that is tested here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.scores import (
    AggregateScore,
    HyperbolicVolumeScore,
    KernelVolumeScore,
    VolumeScore,
)
from tests import samples
from tests.every_score import tile_of


def of_matched(score, t, others):
    """What a tile makes of matched tuples in all, and its derivative by the anchor."""

    def total(t):
        return jnp.diagonal(tile_of(score, {"t": t, **others})).sum()

    return jax.value_and_grad(total)(t)


def test_others_that_sum_to_nothing_have_score_and_derivative_0():
    frames = np.linalg.qr(np.random.default_rng(0).normal(size=(32, 16, 3)))[0].swapaxes(1, 2)
    turns = 2 * np.pi * np.arange(3) / 3
    plane = np.stack([np.cos(turns), np.sin(turns)], 1) @ frames[:, 1:]
    x = dict(zip("tabc", [frames[:, 0], *plane.swapaxes(0, 1)], strict=True))
    x = {m: jnp.asarray(v, jnp.float32) for m, v in x.items()}
    value, slopes = jax.value_and_grad(lambda x: AggregateScore("t").matched(x).sum())(x)
    assert value == 0 and all((slope == 0).all() for slope in slopes.values())


def test_factors_are_as_wide_as_the_widest_modality():
    x = samples.embeddings(np.random.default_rng(0), 8, 16, "tab", dtype=np.float32)
    mixed = {m: jnp.asarray(v, jnp.float32 if m == "t" else jnp.bfloat16) for m, v in x.items()}
    wide = {m: v.astype(jnp.float32) for m, v in mixed.items()}
    with jax.numpy_dtype_promotion("standard"):
        found = tile_of(VolumeScore("t"), mixed)
    np.testing.assert_allclose(found, tile_of(VolumeScore("t"), wide), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_two_equal_modalities_span_nothing_hyperbolic(seed):
    (x,) = samples.embeddings(np.random.default_rng(seed), 64, 64, "a", dtype=np.float32).values()
    x = jnp.asarray(x)
    value, slope = of_matched(HyperbolicVolumeScore("t"), x, {"a": x})
    assert value == 0 and (slope == 0).all()


def test_two_equal_modalities_span_nothing_under_a_small_bandwidth():
    (x,) = samples.embeddings(np.random.default_rng(0), 64, 64, "a", dtype=np.float32).values()
    x = jnp.asarray(x)
    value, slope = of_matched(KernelVolumeScore("t", bandwidth=0.05), x, {"a": x})
    assert value == 0 and (slope == 0).all()


def test_an_anchor_in_the_span_of_the_others_has_volume_0():
    x = samples.as_jax(samples.embeddings(np.random.default_rng(0), 64, 64, "ab"))
    t = samples.normalized(np.float64(x["a"]) + np.float64(x["b"])).astype(np.float32)
    value, slope = of_matched(VolumeScore("t"), jnp.asarray(t), x)
    assert value == 0 and (slope == 0).all()


def test_the_floor_of_a_logarithm_is_above_the_noise_of_bfloat16():
    x = samples.embeddings(np.random.default_rng(0), 64, 64, "ab", dtype=np.float32)
    x = {m: jnp.asarray(v, jnp.bfloat16) for m, v in x.items()}
    same = {"t": x["a"], "a": x["a"]}
    score = VolumeScore("t", "log")
    floor = 2 * 4 * 2**-7 / 64**0.5
    np.testing.assert_allclose(score.matched(same), -np.log(floor) / 2, rtol=1e-3)
