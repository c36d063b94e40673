"""Messages for embeddings that no Score can compare, as users meet them: without type checks."""

import jax.numpy as jnp
import pytest

from gramalign.scores import (
    CosineScore,
    HyperbolicVolumeScore,
    KernelVolumeScore,
    SpectralScore,
    VolumeScore,
)
from tests.every_score import SCORES

pytestmark = pytest.mark.usefixtures("unchecked")

ONES = jnp.ones((4, 3))


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    ("embeddings", "present", "message"),
    [
        ({"a": ONES}, None, r"at least two modalities to compare, got \['a'\]"),
        ({"a": ONES, "b": jnp.ones((5, 3))}, None, r"one shape .*'a': \(4, 3\), 'b': \(5, 3\)"),
        ({"a": ONES, "b": jnp.ones((4, 2))}, None, r"one shape .*'a': \(4, 3\), 'b': \(4, 2\)"),
        ({"a": ONES[0], "b": ONES[0]}, None, r"one shape \[batch, dim\], got .*\(3,\)"),
        ({"a": ONES, "b": ONES.astype(int)}, None, r"'b'\] must be floating point, got int32"),
        ({"a": ONES, "b": ONES}, {"c": jnp.ones(4, bool)}, r"present is 'c', .* \['a', 'b'\]"),
        ({"a": ONES, "b": ONES}, {"b": jnp.ones(4)}, r"'b'\] must be bool .*, got float32"),
        ({"a": ONES, "b": ONES}, {"b": jnp.ones(5, bool)}, r"of shape \(4,\), got bool .* \(5,\)"),
    ],
)
def test_embeddings_and_masks(name, embeddings, present, message):
    for side in (SCORES[name].rows, SCORES[name].cols, SCORES[name].matched):
        with pytest.raises(ValueError, match=message):
            side(embeddings, present)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (VolumeScore("x"), r"anchor is 'x', but the modalities are \['a', 'b'\]"),
        (HyperbolicVolumeScore("x"), r"anchor is 'x', but the modalities are \['a', 'b'\]"),
        (KernelVolumeScore("x"), r"anchor is 'x', but the modalities are \['a', 'b'\]"),
        (SpectralScore("x"), r"anchor is 'x', but the modalities are \['a', 'b'\]"),
        (CosineScore("x"), r"row is 'x', but the modalities are \['a', 'b'\]"),
        (CosineScore("x", "a"), r"row is 'x', but the modalities are \['a', 'b'\]"),
        (CosineScore("a", "x"), r"col is 'x', but the modalities are \['a', 'b'\]"),
    ],
)
def test_unknown_modalities(score, message):
    embeddings = {"b": ONES, "a": ONES}
    with pytest.raises(ValueError, match=message):
        score.rows(embeddings)
        score.cols(embeddings)
