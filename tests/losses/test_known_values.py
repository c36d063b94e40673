"""Values that need no reference: chance, perfect alignment, orthogonality."""

from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses, normalize
from gramalign.contrast.statistics import Targets
from tests import reference, samples


@pytest.mark.parametrize("k", [2, 3, 4])
def test_alignment_of_orthogonal_and_of_parallel_modalities(k):
    names = "abcd"[:k]
    basis = samples.orthonormal(np.random.default_rng(0), k, 8, np.float32)
    orthogonal = {m: jnp.asarray(basis[i][None]) for i, m in enumerate(names)}
    parallel = {m: jnp.asarray((-1) ** i * basis[:1]) for i, m in enumerate(names)}
    alignment = jax.jit(losses.pmrl_alignment)
    np.testing.assert_allclose(alignment(orthogonal), np.log(k), rtol=1e-5)
    # Not 0 by rounding, as a log-sum-exp would say: exp(-sqrt(k) / 0.05), k - 1 times.
    exact = np.log1p((k - 1) * np.exp(-np.sqrt(k) / 0.05))
    np.testing.assert_allclose(alignment(parallel), exact, rtol=1e-4)


def test_the_instance_term_has_a_constant_positive():
    """Alike directions cost log(batch); orthogonal ones log(1 + (b - 1) exp(-1 / tau))."""
    basis = jnp.asarray(samples.orthonormal(np.random.default_rng(0), 4, 8, np.float32))
    instance = jax.jit(losses.pmrl_instance)
    alike = jnp.broadcast_to(basis[:1], basis.shape)
    np.testing.assert_allclose(instance({"a": alike, "b": alike}), np.log(4), rtol=1e-5)
    exact = np.log1p(3 * np.exp(-10))
    np.testing.assert_allclose(instance({"a": basis, "b": basis}), exact, rtol=1e-5)


def test_a_loss_of_aligned_examples_keeps_its_digits():
    """Far below the rounding of a log-sum-exp: softplus of the difference, not a difference."""
    basis = jnp.asarray(samples.orthonormal(np.random.default_rng(0), 4, 8, np.float32))
    loss = jax.jit(lambda x: losses.clip(x, anchor="a", temperature=0.03))
    found = loss({"a": basis, "b": basis})
    np.testing.assert_allclose(found, np.log1p(3 * np.exp(-1 / 0.03)), rtol=1e-4)


def test_distances_between_modalities():
    """0 for the same, 2 to the power for opposites, sqrt(2) to it for orthogonal ones."""
    basis = jnp.asarray(samples.orthonormal(np.random.default_rng(0), 6, 8, np.float32))
    x = {"a": basis[:3], "b": jnp.stack([basis[0], -basis[1], basis[5]])}
    for power in (1.0, 2.0, 3.0):
        exact = np.array([0, 2, np.sqrt(2)]) ** power
        np.testing.assert_allclose(losses.alignment(x, power=power), exact, rtol=1e-6)


def test_a_gap_is_that_of_centres():
    """So that rows in any order have the same: the blind spot."""
    x = samples.as_jax(samples.embeddings(np.random.default_rng(0), 8, 6))
    gap = losses.modality_gap(x)
    assert np.all(gap > 0.1)
    np.testing.assert_allclose(losses.modality_gap(x | {"b": x["b"][::-1]}), gap, rtol=1e-5)
    apart = {"a": x["a"] + 3.0 * jnp.eye(6)[:1], "b": x["a"]}
    np.testing.assert_allclose(losses.modality_gap(apart), 3, rtol=1e-5)


def test_consistency_does_not_see_reflections_but_rotations():
    """So that it aligns nothing by itself: its blind spot."""
    x = jnp.asarray(samples.embeddings(np.random.default_rng(0), 8, 6)["a"])
    signs = jnp.array([1.0, -1.0, 1.0, 1.0, -1.0, 1.0])
    for reflected in (-x, x * signs[None]):
        found = losses.consistency({"a": x, "b": reflected})
        np.testing.assert_allclose(found, 0, atol=1e-12)
    turned = x @ jnp.asarray(samples.orthonormal(np.random.default_rng(1), 6, 6, np.float32))
    pair = {"a": x, "b": turned}
    np.testing.assert_allclose(losses.consistency(pair, cross_modal=0.0), 0, atol=2e-6)
    assert np.all(losses.consistency(pair, in_modal=0.0) > 0.03)


def test_consistency_keeps_its_digits_as_modalities_meet():
    """Differences of similarities would have lost them all."""
    rng = np.random.default_rng(0)
    x = samples.embeddings(rng, 16, 8)["a"].astype(np.float64)
    near = x + 1e-6 * rng.normal(size=x.shape)
    near, x = near.astype(np.float32), x.astype(np.float32)
    exact = reference.consistency({"a": x.astype(float), "b": near.astype(float)})
    found = losses.consistency({"a": jnp.asarray(x), "b": jnp.asarray(near)})
    np.testing.assert_allclose(found, exact, rtol=1e-4)


def test_vicreg_of_whitened_and_of_collapsed_rows():
    """0, and what two coordinates without spread cost: 1 - sqrt(1e-4), twice 25 times."""
    rng = np.random.default_rng(0)
    x = samples.orthonormal(rng, 6, 32, np.float64).T
    x -= x.mean(axis=0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    rows = jnp.asarray(1.1 * white, jnp.float32)
    found = losses.vicreg({"a": rows, "b": rows}, deviation=1.0)
    np.testing.assert_allclose(found, 0, atol=1e-6)
    point = jnp.tile(normalize(rows[:1]), (32, 1))
    found = losses.vicreg({"a": point, "b": point})
    np.testing.assert_allclose(found, 2 * 25 * 0.99, rtol=1e-6)


def test_uniformity_of_one_point_and_of_two():
    """0, and minus t times the squared distance 4; that of modalities, not between them."""
    row = jnp.eye(4)[:1]
    point, poles = jnp.tile(row, (2, 1)), jnp.concatenate([row, -row])
    np.testing.assert_allclose(losses.uniformity({"a": point, "b": -point}), 0, atol=1e-6)
    np.testing.assert_allclose(losses.uniformity({"a": poles, "b": poles}), -8, rtol=1e-6)
    np.testing.assert_allclose(losses.uniformity({"a": poles, "b": point}), -4, rtol=1e-6)
    np.testing.assert_allclose(losses.uniformity({"a": poles, "b": poles}, t=0.5), -2, rtol=1e-6)


def test_uniformity_of_more_pairs_than_an_int32_counts(monkeypatch):
    """As many as 65536 examples have, each at a potential of a tenth."""

    def gathered(*_, **__):
        count = jnp.full(4, 2**30, jnp.int32)
        largest = jnp.full(4, np.log(2**30 / 10), jnp.float32)
        return largest, Targets(jnp.zeros(4), count)

    monkeypatch.setattr(import_module("gramalign.losses.uniformity"), "among_themselves", gathered)
    found = losses.uniformity({"a": jnp.eye(4), "b": jnp.eye(4)})
    np.testing.assert_allclose(found, np.log(0.1), rtol=1e-5)


def test_separation_of_directions():
    """Of equal or opposite ones 1, of orthogonal ones 0; how modalities agree does not matter."""
    basis = jnp.asarray(samples.orthonormal(np.random.default_rng(0), 4, 8, np.float32))
    alike = jnp.array([1.0, -1, 1, -1])[:, None] * basis[:1]
    separation = jax.jit(losses.separation)
    np.testing.assert_allclose(separation({"a": alike, "b": alike}), 1, rtol=1e-6)
    np.testing.assert_allclose(separation({"a": basis, "b": basis}), 0, atol=1e-6)
    np.testing.assert_allclose(separation({"a": basis, "b": -basis}), 0, atol=1e-6)
    two_by_two = {"a": basis[jnp.array([0, 0, 1, 1])], "b": basis[jnp.array([0, 0, 1, 1])]}
    np.testing.assert_allclose(separation(two_by_two), 1 / 3, rtol=1e-6)


def test_sca_of_two_is_clip():
    x = samples.as_jax(samples.embeddings(np.random.default_rng(0), 6, 8, "ab"))
    np.testing.assert_allclose(losses.sca(x, anchor="a"), losses.clip(x, anchor="a"), rtol=1e-5)


def test_sca_that_weights_the_others_alike_is_clip_with_their_mean():
    x = samples.as_jax(samples.embeddings(np.random.default_rng(0), 6, 8))
    mean = {"a": x["a"], "others": normalize(x["b"] + x["c"])}
    found = losses.sca(x, anchor="a", weight_temperature=1e6)
    np.testing.assert_allclose(found, losses.clip(mean, anchor="a"), rtol=1e-5)


def test_a_triangle_is_the_simplex_of_three():
    x = samples.as_jax(samples.embeddings(np.random.default_rng(0), 6, 8))
    settings = dict(anchor="b", temperature=0.2, label_smoothing=0.1, groups=jnp.arange(6) % 4)
    settings |= {"present": {"c": jnp.arange(6) < 4}}
    np.testing.assert_array_equal(losses.triangle(x, **settings), losses.simplex(x, **settings))


def test_many_modalities_learn_by_their_share_of_the_largest_simplex():
    vectors = samples.unit(np.random.default_rng(0), 6, 6, 64, dtype=np.float32)
    x = samples.as_jax(dict(zip("bcdefg", vectors, strict=True)) | {"a": vectors[0]})
    plain = losses.simplex(x, anchor="a", temperature=0.3)
    np.testing.assert_allclose(plain, np.log(6), rtol=0.02)  # as where nothing matches
    scaled = losses.simplex(x, anchor="a", scaled=True)
    np.testing.assert_array_less(scaled, 0.02)


@pytest.mark.parametrize(
    ("loss", "settings"),
    [
        (losses.simplex, {"temperature": 0.07, "squared": False, "scaled": False}),
        (losses.triangle, {"temperature": 0.07, "root": True}),
        (losses.sca, {"temperature": 0.07, "weight_temperature": 0.1}),
        (losses.alignment, {"power": 2.0}),
        (losses.uniformity, {"t": 2.0}),
    ],
)
def test_settings_that_are_not_given(loss, settings):
    a, b, c = samples.as_jax(samples.embeddings(np.random.default_rng(0), 6, 8)).values()
    x = {"text": a, "audio": b, "video": c}
    np.testing.assert_allclose(loss(x), loss(x, **settings), rtol=1e-5)


def test_the_published_triangle_and_the_released():
    """Logits -A / tau, and -(uu vv - uv^2) / 2 / tau = -2 A^2 / tau."""
    x = samples.embeddings(np.random.default_rng(0), 6, 8)
    area = reference.triangle(x["a"][:, None], x["b"][None], x["c"][None])
    both = jax.jit(lambda x: [losses.triangle(x, anchor="a", root=r) for r in (True, False)])
    for found, scores in zip(both(samples.as_jax(x)), (-area, -2 * area**2), strict=True):
        np.testing.assert_allclose(found, reference.contrast(scores, scale=1 / 0.07), rtol=1e-4)
