"""The engine as the tests call it: weighted losses of one Score, and all their gradients."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from gramalign.contrast import Engine, contrast, sigmoid_contrast
from gramalign.scores import Side
from tests import reference, samples
from tests.every_score import SCORES, score_matrix, valid

BATCH, DIM = 16, 6
SMOOTHING = 0.1


def biased(sigmoid):
    """With a bias that follows the scale, so that a derivative by the scale includes the bias."""
    return lambda *x, scale, **options: sigmoid(*x, scale=scale, bias=-(scale**2) / 20, **options)


# What the engine can make of the scores, and the same from the whole matrix.
LOSSES = {
    "softmax": [partial(f, label_smoothing=SMOOTHING) for f in (contrast, reference.contrast)],
    "supervised": [partial(f, supervised=True) for f in (contrast, reference.contrast)],
    "sigmoid": [biased(f) for f in (sigmoid_contrast, reference.sigmoid_contrast)],
}


def losses(name, embeddings, scale, present, groups, loss="softmax", **options):
    """Values per example `[batch]`."""
    score = SCORES[name]
    return LOSSES[loss][0](
        score,
        score.rows(embeddings, present),
        score.cols(embeddings, present),
        score.matched(embeddings, present),
        scale=scale,
        groups=groups,
        **options,
    )


def weighted(name, embeddings, scale, weights, present, groups, **options):
    """A sum that tells every example from every other, and the values themselves."""
    values = losses(name, embeddings, scale, present, groups, **options)
    return jnp.vdot(values, weights), values


@cache
def derivative(name, tile, loss="softmax"):
    """Compiled: ((weighted sum, values), (gradients by modality, gradient of the scale))."""

    def call(*arguments):
        return weighted(name, *arguments, loss=loss, engine=Engine(tile=tile))

    return jax.jit(jax.value_and_grad(call, argnums=(0, 1), has_aux=True))


@cache
def batch(kind, dtype=np.float64, size=BATCH):
    """Embeddings, scale, weights, masks and groups: what `derivative` takes, in numpy."""
    rng = np.random.default_rng(0)
    embeddings = samples.embeddings(rng, size, DIM, dtype=dtype)
    present = {name: np.ones(size, bool) for name in embeddings}
    groups = np.arange(size)
    if "masked" in kind:
        present = samples.masks(rng, size)
        for name, x in embeddings.items():
            embeddings[name] = np.where(present[name][:, None], x, dtype(np.nan))
    if "nothing" in kind:
        present = {name: np.zeros(size, bool) for name in embeddings}
    if "grouped" in kind:
        groups = rng.integers(0, 6, size=size)
    weights = rng.uniform(0.5, 1.5, size=size).astype(dtype)
    return embeddings, dtype(7.5), weights, present, groups.astype(np.int32)


@partial(jax.jit, static_argnums=0)
def sides(name, embeddings, present):
    """Factors, which of them are valid, matched scores: all that the engine is given of a Score."""
    score = SCORES[name]
    rows, cols = score.rows(embeddings, present), score.cols(embeddings, present)
    factors = rows.factors, cols.factors
    return factors, (rows.valid, cols.valid), score.matched(embeddings, present)


def given(name, embeddings, scale, weights, present, groups):
    """What `by_factors` takes, of a `batch`."""
    factors, valid, matched = sides(name, embeddings, present)
    return factors, scale, weights, valid, matched, groups


def losses_of(name, factors, scale, valid, matched, groups, loss="softmax", **options):
    """As `losses`, from factors: computing these compiles slowly, and involves no pairs."""
    both = [Side(f, v) for f, v in zip(factors, valid, strict=True)]
    loss_of = LOSSES[loss][0]
    return loss_of(SCORES[name], *both, matched, scale=scale, groups=groups, **options)


@cache
def by_factors(name, how, loss="softmax", mesh=None, axis_name=None, own_groups=True):
    """As `derivative`, by any engine, on one device or with the batch split over a mesh."""

    def call(factors, scale, valid, matched, groups):
        groups = groups if own_groups else None
        options = dict(loss=loss, engine=how, axis_name=axis_name)
        return losses_of(name, factors, scale, valid, matched, groups, **options)

    if mesh is not None:
        split = P(axis_name)
        specs = (split, P(), split, split, split)
        call = jax.shard_map(call, mesh=mesh, in_specs=specs, out_specs=split, check_vma=True)

    def weighted(factors, scale, weights, *others):
        values = call(factors, scale, *others)
        return jnp.vdot(values, weights), values

    return jax.jit(jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True))


def dense(name, embeddings, scale, present, groups, loss="softmax"):
    """The same values from the whole score matrix."""
    rows, cols = valid(name, embeddings, present)
    scores = score_matrix(name, embeddings, present)
    return LOSSES[loss][1](scores, rows & cols, scale=scale, groups=groups)


def dense_slope(name, embeddings, scale, weights, present, groups, step, loss="softmax"):
    """Central difference of the weighted sum along a direction in (embeddings, scale)."""

    def along(x):
        moved = {m: embeddings[m] + x * step[m] for m in embeddings}
        return weights @ dense(name, moved, scale + x * step["scale"], present, groups, loss)

    return reference.directional_derivative(along, 0.0, 1.0, 1e-6)


def directions(number):
    """Random directions in all that the loss is differentiated by."""
    rng = np.random.default_rng(5)
    return [
        {m: rng.normal(size=(BATCH, DIM)) for m in "abc"} | {"scale": rng.normal()}
        for _ in range(number)
    ]


def check(name, tile, kind, dtype, tolerance, loss="softmax"):
    """Assert that values and gradients are those of the dense formula."""
    arguments = batch(kind, dtype)
    (_, values), (by_modality, by_scale) = jax.tree.map(
        np.asarray, derivative(name, tile, loss)(*jax.tree.map(jnp.asarray, arguments))
    )
    embeddings, scale, _, present, groups = arguments
    exact = dense(name, embeddings, scale, present, groups, loss)
    np.testing.assert_allclose(values, exact, atol=tolerance)
    assert values.dtype == by_scale.dtype == dtype
    for step in directions(4):
        slope = sum(np.vdot(by_modality[m], step[m]) for m in embeddings) + by_scale * step["scale"]
        exact = dense_slope(name, *arguments, step, loss)
        np.testing.assert_allclose(slope, exact, atol=100 * tolerance)
    for m, mask in present.items():
        np.testing.assert_array_equal(by_modality[m][~mask], 0)
