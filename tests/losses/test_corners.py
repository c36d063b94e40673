"""What a slip in the code would change, and nothing else that is tested here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from gramalign.contrast import Engine
from gramalign.scores import MixedScore, VolumeScore
from tests import samples


def test_many_anchors_look_at_the_masks():
    rng = np.random.default_rng(0)
    x = samples.as_jax(samples.embeddings(rng, 8, 9, "abcdef"))
    present = samples.as_jax(samples.masks(rng, 8, "abf"))
    blank = {
        m: jnp.where(present[m][:, None], v, jnp.nan) if m in present else v for m, v in x.items()
    }
    np.testing.assert_array_equal(
        losses.gram(blank, anchor=None, present=present),
        losses.gram(x, anchor=None, present=present),
    )


def test_a_matched_logarithm_has_the_floor_of_tiles_in_bfloat16():
    two = {m: jnp.eye(2, 64) for m in "ta"}
    rounded = Engine(precision="bfloat16")
    found = losses.gram(
        two, anchor="t", form="log", temperature=4.0, label_smoothing=0.0, engine=rounded
    )
    floor = 2 * 4 * 2 * 2**-7 / 64**0.5  # twice the noise of a product whose sides are both rounded
    matched, other = -np.log(floor) / 2, -np.log(1 + floor) / 2
    np.testing.assert_allclose(found, np.log1p(np.exp((other - matched) / 4)), rtol=1e-3)


def test_sca_over_all_anchors_is_the_mean_over_each():
    x = samples.as_jax(samples.embeddings(np.random.default_rng(0), 8, 6))
    each = [losses.sca(x, anchor=m) for m in x]
    np.testing.assert_allclose(losses.sca(x, anchor=None), sum(each) / 3, rtol=1e-5)


def test_weights_may_depend_on_the_anchor():
    def score_of(anchor):
        return MixedScore(
            (VolumeScore(anchor), VolumeScore(anchor, "squared")), (1.0, float("abc".index(anchor)))
        )

    x = samples.as_jax(samples.embeddings(np.random.default_rng(0), 8, 6))
    each = [losses.siglip(x, anchor=m, score_of=score_of) for m in x]
    np.testing.assert_allclose(
        losses.siglip(x, anchor=None, score_of=score_of), sum(each) / 3, rtol=1e-5
    )


def test_uniformity_whose_potential_is_too_small_for_a_float():
    x = {m: jnp.eye(4) for m in "ab"}
    np.testing.assert_allclose(losses.uniformity(x, t=100.0), -200, rtol=1e-5)


def test_uniformity_of_rows_without_a_pair():
    x = samples.as_jax(samples.embeddings(np.random.default_rng(0), 4, 6))
    one_group = jnp.zeros(4, jnp.int32)
    both = jax.value_and_grad(lambda x: losses.uniformity(x, groups=one_group).sum())
    jax.tree.map(lambda found: np.testing.assert_array_equal(found, 0), both(x))


@pytest.mark.parametrize("power", [1.0, 1.5])
def test_a_distance_of_nothing_has_no_curvature_that_is_not_finite(power):
    same = jnp.eye(2, 3)

    def distance(x):
        return losses.alignment({"a": x, "b": same}, power=power).sum()

    curvature = jax.jacfwd(jax.jacfwd(distance))
    np.testing.assert_array_equal(curvature(same), 0)


@pytest.mark.parametrize(
    "loss",
    [
        losses.alignment,
        losses.modality_gap,
        losses.uniformity,
        losses.consistency,
        losses.vicreg,
    ],
)
def test_what_is_no_product_of_bfloat16_rows_is_in_float32(loss):
    x = samples.as_jax(samples.embeddings(np.random.default_rng(0), 8, 64, "ab"))
    rounded = {m: v.astype(jnp.bfloat16) for m, v in x.items()}
    found, exact = loss(rounded), loss({m: v.astype(jnp.float32) for m, v in rounded.items()})
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact, rtol=1e-5)
