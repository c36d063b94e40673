"""Every loss against its dense formula in float64: anchors, masks, groups, temperatures."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from gramalign.scores import VolumeScore
from tests import every_loss, reference, samples

BATCH, DIM, NAMES = 9, 6, "abc"
TEMPERATURE = 0.1


@cache
def batch():
    """Embeddings (NaN where absent), masks, groups; two examples take no part."""
    rng = np.random.default_rng(0)
    embeddings = samples.embeddings(rng, BATCH, DIM, dtype=np.float64)
    present = samples.masks(rng, BATCH)
    broken = {m: np.where(present[m][:, None], x, np.nan) for m, x in embeddings.items()}
    return broken, present, rng.integers(0, 5, BATCH).astype(np.int32)


def dense_gram(embeddings, *, anchor, present, **options):
    anchors = NAMES if anchor is None else [anchor]
    parts = [present[m] & (sum(present.values()) >= 2) for m in anchors]
    found = [reference.gram(embeddings, m, present=present, **options) for m in anchors]
    return reference.mean_over_tasks(found, parts)


def dense_clip(embeddings, *, anchor, present, **options):
    pairs = reference.pairs(NAMES)
    if anchor is not None:
        pairs = [(anchor, m) for m in NAMES if m != anchor]
    parts = [present[m] & present[n] for m, n in pairs]
    found = [reference.clip(embeddings, pair, present=present, **options) for pair in pairs]
    return reference.mean_over_tasks(found, parts)


def dense_anchored(scores_of):
    """From the whole score matrix of every anchor in turn, or of one."""

    def dense(embeddings, *, anchor, present, temperature, loss=reference.contrast, **options):
        anchors = NAMES if anchor is None else [anchor]
        parts = [present[m] & (sum(present.values()) >= 2) for m in anchors]
        found = [
            loss(scores_of(embeddings, present, m), part, scale=1 / temperature, **options)
            for m, part in zip(anchors, parts, strict=True)
        ]
        return reference.mean_over_tasks(found, parts)

    return dense


def dense_pairs(embeddings, *, anchor, present, temperature, loss=reference.contrast, **options):
    """From the cosines of two modalities, all pairs or those of an anchor."""
    pairs = reference.pairs(NAMES)
    if anchor is not None:
        pairs = [(anchor, m) for m in NAMES if m != anchor]
    parts = [present[m] & present[n] for m, n in pairs]
    found = [
        loss(
            reference.cosine_scores(embeddings, present, *pair),
            part,
            scale=1 / temperature,
            **options,
        )
        for pair, part in zip(pairs, parts, strict=True)
    ]
    return reference.mean_over_tasks(found, parts)


def dense_supcon(embeddings, **options):
    return dense_pairs(embeddings, supervised=True, **options)


def dense_siglip(embeddings, **options):
    return dense_pairs(embeddings, loss=reference.sigmoid_contrast, **options)


def dense_triangle(embeddings, *, temperature, **options):
    """As released: twice the squared area."""
    scores = dense_anchored(partial(reference.simplex_scores, squared=True))
    return scores(embeddings, temperature=temperature / 2, **options)


def dense_pmrl(embeddings, *, temperature, present, groups, signed=True):
    alignment = reference.pmrl_alignment(embeddings, temperature=temperature, present=present)
    options = dict(temperature=temperature, present=present, groups=groups, signed=signed)
    return alignment + reference.pmrl_instance(embeddings, **options)


def only(function, *names):
    """Called with just those of the shared settings."""

    def call(embeddings, **options):
        return function(embeddings, **{name: options[name] for name in names})

    return call


def cold(function):
    """A loss without a temperature, times one, so that there is something to derive by."""

    def call(embeddings, *, temperature, **options):
        return temperature * function(embeddings, **options)

    return call


def with_fused(embeddings):
    """Some fusion of every two; linear, so that its derivative knows of no NaN."""
    fused = {f"{m}+{n}": embeddings[m] - 0.5 * embeddings[n] for m, n in reference.pairs(NAMES)}
    return dict(embeddings) | fused


def confu(embeddings, **options):
    return losses.confu(with_fused(embeddings), **options)


def dense_confu(embeddings, **options):
    return reference.confu(with_fused(embeddings), NAMES, **options)


LOSSES = {
    "gram": (losses.gram, dense_gram, dict(anchor="b")),
    "clip, smoothed": (losses.clip, dense_clip, dict(anchor="b", label_smoothing=0.2)),
    "clip, all pairs": (losses.clip, dense_clip, dict(anchor=None)),
    "log-volume": (
        partial(losses.gram, form="log", label_smoothing=0.0),
        dense_anchored(partial(reference.volume_scores, form="log")),
        dict(anchor="b"),
    ),
    "spectral": (losses.spectral, dense_anchored(reference.spectral_scores), dict(anchor="b")),
    "height": (losses.height, dense_anchored(reference.height_scores), dict(anchor="b")),
    "height squared, all anchors": (
        partial(losses.height, squared=True),
        dense_anchored(partial(reference.height_scores, squared=True)),
        dict(anchor=None),
    ),
    "simplex, all anchors": (
        losses.simplex,
        dense_anchored(reference.simplex_scores),
        dict(anchor=None),
    ),
    "hypergram": (
        partial(losses.hypergram, mix=0.3, label_smoothing=0.0),
        dense_anchored(
            lambda *x: 0.7 * reference.hyperbolic_scores(*x) + 0.3 * reference.volume_scores(*x)
        ),
        dict(anchor="b"),
    ),
    "kernel volume": (
        partial(losses.kernel_volume, bandwidth=0.8),
        dense_anchored(partial(reference.kernel_scores, bandwidth=0.8)),
        dict(anchor="b"),
    ),
    "triangle, as released": (
        partial(losses.triangle, root=False),
        dense_triangle,
        dict(anchor="b"),
    ),
    "sca": (losses.sca, dense_anchored(reference.aggregate_scores), dict(anchor="b")),
    "supcon": (losses.supcon, dense_supcon, dict(anchor="b")),
    "clip of volumes": (
        partial(losses.clip, score_of="volume"),
        dense_anchored(reference.volume_scores),
        dict(anchor="b", label_smoothing=0.1),
    ),
    "supcon of volumes": (
        partial(losses.supcon, score_of=VolumeScore),
        partial(dense_anchored(reference.volume_scores), supervised=True),
        dict(anchor="b"),
    ),
    "siglip": (losses.siglip, dense_siglip, dict(anchor="b", bias=-3.0)),
    "siglip of volumes": (
        partial(losses.siglip, score_of=VolumeScore, bias=2.0),
        partial(dense_anchored(reference.volume_scores), loss=reference.sigmoid_contrast, bias=2.0),
        dict(anchor="b"),
    ),
    "alignment": (
        cold(only(losses.alignment, "present")),
        cold(only(reference.alignment, "present")),
        {},
    ),
    "distance": (
        cold(only(partial(losses.alignment, power=1.5), "present")),
        cold(only(partial(reference.alignment, power=1.5), "present")),
        {},
    ),
    "uniformity": (cold(losses.uniformity), cold(reference.uniformity), {}),
    "modality gap": (
        cold(only(losses.modality_gap, "present")),
        cold(only(reference.modality_gap, "present")),
        {},
    ),
    "separation": (cold(losses.separation), cold(reference.separation), {}),
    "consistency": (
        cold(only(losses.consistency, "present")),
        cold(only(reference.consistency, "present")),
        {},
    ),
    "in-modal consistency": (
        cold(only(partial(losses.consistency, cross_modal=0.25), "present")),
        cold(only(partial(reference.consistency, cross_modal=0.25), "present")),
        {},
    ),
    "vicreg": (cold(only(losses.vicreg, "present")), cold(only(reference.vicreg, "present")), {}),
    "vicreg, as published": (
        cold(only(partial(losses.vicreg, deviation=1.0), "present")),
        cold(only(partial(reference.vicreg, deviation=1.0), "present")),
        {},
    ),
    "pmrl": (every_loss.pmrl, dense_pmrl, {}),
    "pmrl, squared": (every_loss.pmrl, dense_pmrl, dict(signed=False)),
    "vast": (losses.vast, reference.vast, dict(anchor="b", fused="c", label_smoothing=0.1)),
    "confu": (confu, dense_confu, dict(fused_weight=0.3, label_smoothing=0.2)),
    "centrobind": (losses.centrobind, reference.centrobind, dict(label_smoothing=0.2)),
    "barybind, centroid": (losses.barybind, reference.barybind, {}),
}


@pytest.mark.parametrize("name", LOSSES)
def test_values_and_their_derivatives(name, x64):
    """By temperature and by embeddings, of a sum that tells every example from every other."""
    loss, dense, options = LOSSES[name]
    embeddings, present, groups = batch()
    rng = np.random.default_rng(1)
    weights = rng.uniform(0.5, 1.5, size=BATCH)

    def weighted(temperature, embeddings, present, groups):
        shared = dict(temperature=temperature, present=present, groups=groups)
        values = loss(embeddings, **shared, **options)
        return jnp.vdot(values, weights), values

    arguments = samples.as_jax(embeddings), samples.as_jax(present), jnp.asarray(groups)
    (_, values), (by_temperature, by_modality) = jax.jit(
        jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True)
    )(jnp.float64(TEMPERATURE), *arguments)

    def exact(temperature, embeddings):
        shared = dict(temperature=temperature, present=present, groups=groups)
        return dense(embeddings, **shared, **options)

    np.testing.assert_allclose(values, exact(TEMPERATURE, embeddings), atol=1e-10)
    np.testing.assert_array_equal(values[:2], 0)
    for _ in range(3):
        step = {m: rng.normal(size=x.shape) for m, x in embeddings.items()}
        slope = by_temperature + sum(np.vdot(by_modality[m], step[m]) for m in step)

        def moved(x, step=step):
            return weights @ exact(TEMPERATURE + x, {m: embeddings[m] + x * step[m] for m in step})

        exact_slope = reference.directional_derivative(moved, 0.0, 1.0, 1e-6)
        np.testing.assert_allclose(slope, exact_slope, rtol=1e-6, atol=1e-5)
