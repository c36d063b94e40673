import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.scores import SCORE_NAMES, Between
from tests import every_score, reference, samples

NAMES = ("text", "audio", "video", "depth", "touch")
CENTRED = ("cosine", "aggregate", "height")


def sample(seed=0, n=7, d=12, gaps=True):
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(n, d))
    embeddings, present = {}, {}
    for name in NAMES:
        x = centre + rng.normal(size=(n, d))
        embeddings[name] = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
        present[name] = rng.random(n) > 0.3 * gaps
    return embeddings, present


def dense(name, embeddings, present, query, gallery):
    """Score of every query with every tuple in float64, by the definition, pair by pair."""
    of_score = every_score.definition(name)
    wide = {m: x.astype(np.float64) for m, x in embeddings.items()}
    if name in CENTRED:
        if len(query) > 1 and len(gallery) == 1:
            return dense(name, embeddings, present, gallery, query).T
        anchor = reference.centroid({m: wide[m] for m in query}, present)
        there = np.any([present[m] for m in query], axis=0)
        sides = {m: wide[m] for m in gallery} | {"anchor": anchor}
        return of_score(sides, {m: present[m] for m in gallery} | {"anchor": there}, "anchor")
    n = len(wide[query[0]])
    scores = np.full((n, n), np.nan)
    for i in range(n):
        kept = [m for m in query if present[m][i]]
        for j in range(n) if kept else ():
            others = [m for m in gallery if present[m][j]]
            if others:
                one = {m: wide[m][[i]] for m in kept} | {m: wide[m][[j]] for m in others}
                there = {m: np.ones(1, bool) for m in one}
                scores[i, j] = of_score(one, there, kept[0])[0, 0]
    return scores


ONE, TWO, THREE = ("text",), ("text", "touch"), ("audio", "video", "depth")
CASES = [(name, TWO, THREE) for name in SCORE_NAMES]
CASES += [("product", ONE, THREE), ("cosine", THREE, ONE), ("volume", THREE, TWO)]


@jax.jit(static_argnums=0)
def measured(score, embeddings, present):
    def of(names):
        return {m: embeddings[m] for m in names}, {m: present[m] for m in names}

    rows, cols = score.rows(*of(score.query)), score.cols(*of(score.gallery))
    tile = score.tile(rows.factors, cols.factors)
    return tile, score.matched(embeddings, present), (rows.valid, cols.valid)


@pytest.mark.parametrize("name, query, gallery", CASES)
def test_is_the_definition_pair_by_pair(name, query, gallery):
    embeddings, present = sample()
    tile, matched, valid = measured(Between(name, query, gallery), embeddings, present)
    there = [np.any([present[m] for m in side], axis=0) for side in (query, gallery)]
    np.testing.assert_array_equal(valid, there)
    expected = dense(name, embeddings, present, query, gallery)
    pairs, both = np.outer(*there), there[0] & there[1]
    close = {"rtol": 2e-5, "atol": 2e-5}
    np.testing.assert_allclose(np.asarray(tile)[pairs], expected[pairs], **close)
    np.testing.assert_allclose(np.asarray(matched)[both], np.diagonal(expected)[both], **close)


def test_a_scaled_product_is_of_one_size_however_it_is_divided():
    embeddings, present = sample(n=9)
    score = "product(scaled=True)"
    present["text"] = np.ones(9, bool)  # as the anchor of one side, it has to be there
    several = measured(Between(score, TWO, THREE), embeddings, present)
    alone = measured(Between(score, ONE, ("touch", *THREE)), embeddings, present)
    both = several[2][0] & several[2][1]
    np.testing.assert_allclose(several[1][both], alone[1][both], rtol=1e-5)
    diagonal = np.diagonal(several[0])
    np.testing.assert_allclose(diagonal[both], several[1][both], rtol=1e-4, atol=1e-5)


def test_joint_volume_to_full_precision_where_tuples_are_close():
    # Unlike the tile, which subtracts from 1 what is near 1, `matched` sees the whole tuple.
    rng = np.random.default_rng(1)
    centre = rng.normal(size=(5, 1, 16))
    tuples = centre + 1e-3 * rng.normal(size=(5, 4, 16))
    tuples = (tuples / np.linalg.norm(tuples, axis=2, keepdims=True)).astype(np.float32)
    embeddings = dict(zip(NAMES[:4], np.moveaxis(tuples, 1, 0), strict=True))
    score = Between("volume", NAMES[:2], NAMES[2:4])
    expected = reference.volume_scores(
        {m: x.astype(np.float64) for m, x in embeddings.items()}, None, "text"
    )
    found = jax.jit(score.matched)(samples.as_jax(embeddings))
    np.testing.assert_allclose(found, np.diagonal(expected), rtol=1e-4)


def test_joint_volume_of_what_both_sides_share_is_0_and_has_finite_derivatives():
    embeddings, _ = sample(gaps=False)
    embeddings["depth"] = embeddings["text"]
    score = Between("volume", ("text", "audio"), ("video", "depth"))

    def total(embeddings):
        tile = every_score.tile_of(score, embeddings)
        return tile.sum(), jnp.diagonal(tile)

    derivative = jax.jit(jax.value_and_grad(total, has_aux=True))
    (_, matches), slopes = derivative(samples.as_jax(embeddings))
    np.testing.assert_array_equal(matches, 0)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(slopes))


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("euclid", ("a",), ("b",)), "score: got 'euclid', expected one of cosine"),
        (("cosine", (), ("b",)), "query must name"),
        (("cosine", ("a",), ("b", "b")), "gallery must name"),
        (("volume", ("a",), ("a", "b")), r"\['a'\] are in query and gallery"),
    ],
)
def test_refuses_what_cannot_be_compared(arguments, said):
    with pytest.raises(ValueError, match=said):
        Between(*arguments)


def test_names_the_modality_that_is_not_there():
    embeddings = jax.tree.map(jnp.asarray, sample()[0])
    with pytest.raises(ValueError, match="query is 'smell'"):
        Between("cosine", ("smell",), ("text",)).rows(embeddings)


@pytest.mark.parametrize("name", ["volume", "height", "simplex"])
def test_a_query_wider_than_the_gallery_does_not_see_its_rounding(name):
    """What a Score computes of the gallery is rounded, though a query in float32 is not."""
    embeddings, _ = sample(n=64, d=32, gaps=False)
    x = {m: jnp.asarray(rows, jnp.bfloat16) for m, rows in embeddings.items()}
    x["text"] = x["audio"].astype(jnp.float32)  # within the span of every match
    score = Between(name, ("text",), ("audio", "video"))
    with jax.numpy_dtype_promotion("standard"):
        tile = score.tile(score.rows(x).factors, score.cols(x).factors)
        assert jnp.abs(score.matched(x)).max() < 1e-6 and not jnp.diagonal(tile).any()
