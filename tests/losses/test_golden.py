"""Numbers of the official code (tests/golden): volumes, GRAM loss and gradient, PMRL, retrieval.

All cases run through one program: modalities, examples and dimensions that a case lacks are absent
by mask, or zero. So this also says that a mask is a subset.
"""

import json
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from gramalign.contrast import ranks
from gramalign.geometry import leading_direction, singular_values
from gramalign.scores import VolumeScore
from tests import reference

FOLDER = Path(__file__).parent.parent / "golden"
CASES = {case["case"]: case for case in json.loads((FOLDER / "official.json").read_text())}
MODALITIES, BATCH, DIM = "abcde", 32, 64
SCORE = VolumeScore("a")


@cache
def golden(case):
    """The arrays of one case."""
    with np.load(FOLDER / "official.npz") as arrays:
        return {name[len(case) + 1 :]: arrays[name] for name in arrays if name.startswith(case)}


@jax.jit
def everything(embeddings, present, temperature):
    def loss(x):
        values = losses.gram(x, anchor="a", temperature=temperature, present=present)
        taking_part = losses.participants(x, present, "a")
        return losses.masked_mean(values, taking_part)

    vectors = jnp.stack(list(embeddings.values()), axis=1)
    kept = jnp.stack(list(present.values()), axis=1)
    rows, cols = SCORE.rows(embeddings, present), SCORE.cols(embeddings, present)
    value, gradient = jax.value_and_grad(loss)(embeddings)
    return {
        "volumes": -SCORE.tile(rows.factors, cols.factors),
        "matched": -SCORE.matched(embeddings, present),
        "loss": value,
        "gradient": jnp.stack(list(gradient.values())),
        "singular values": singular_values(vectors, kept),
        "alignment": losses.pmrl_alignment(embeddings, present=present),
        "directions": leading_direction(vectors, kept),
        "ranks": ranks(SCORE, rows, cols),
    }


@cache
def found(case):
    """What gramalign says to one case, cut back to its size."""
    embeddings = golden(case)["embeddings"]
    k, batch, dim = embeddings.shape
    filled = np.full((len(MODALITIES), BATCH, DIM), np.nan, np.float32)
    filled[:k, :batch, :dim] = embeddings
    filled[:k, :batch, dim:] = 0
    present = np.zeros((len(MODALITIES), BATCH), bool)
    present[:k, :batch] = True
    results = everything(
        {name: jnp.asarray(x) for name, x in zip(MODALITIES, filled, strict=True)},
        {name: jnp.asarray(x) for name, x in zip(MODALITIES, present, strict=True)},
        jnp.float32(CASES[case]["temperature"]),
    )
    results = jax.tree.map(np.asarray, results)
    return results | {
        "volumes": results["volumes"][:batch, :batch],
        "matched": results["matched"][:batch],
        "gradient": results["gradient"][:k, :batch, :dim],
        "singular values": results["singular values"][:batch, :k],
        "alignment": results["alignment"][:batch].mean(),
        "directions": results["directions"][:batch],
        "ranks": [x[:batch] for x in results["ranks"]],
    }


every_case = pytest.mark.parametrize("case", CASES)


@every_case
def test_volumes(case):
    exact, volumes = golden(case)["volume_f64"], found(case)["volumes"]
    mismatched = ~np.eye(len(exact), dtype=bool)
    np.testing.assert_allclose(volumes[mismatched], exact[mismatched], rtol=2e-5)
    np.testing.assert_allclose(found(case)["matched"], np.diag(exact), rtol=2e-5)


@every_case
def test_gram_loss_and_gradient(case):
    np.testing.assert_allclose(found(case)["loss"], golden(case)["gram_loss_official"], rtol=2e-5)
    gradient = golden(case)["gram_grad_official"]
    largest = np.abs(gradient).max()
    np.testing.assert_allclose(found(case)["gradient"], gradient, atol=1e-4 * largest)


def test_gram_loss_without_masks():
    (case,) = (x for x in CASES if golden(x)["embeddings"].shape == (4, BATCH, DIM))
    embeddings = {
        n: jnp.asarray(x) for n, x in zip("abcd", golden(case)["embeddings"], strict=True)
    }
    loss = jax.jit(lambda x: losses.gram(x, anchor="a").mean())(embeddings)
    np.testing.assert_allclose(loss, golden(case)["gram_loss_official"], rtol=2e-5)


@every_case
def test_singular_values(case):
    exact = golden(case)["singular_values_official"]
    np.testing.assert_allclose(found(case)["singular values"], exact, rtol=2e-5)


@every_case
def test_pmrl_alignment(case):
    """Relative to the mathematics; to the official number only absolutely.

    The official loss is a float32 log-sum-exp minus a logit, so it is known to the rounding of the
    logits, sigma_1 / 0.05 = 20 to 45, a few 1e-6. The loss of aligned tuples is smaller than that.
    """
    embeddings = dict(zip(MODALITIES, golden(case)["embeddings"], strict=False))
    exact = reference.pmrl_alignment(embeddings).mean()
    np.testing.assert_allclose(found(case)["alignment"], exact, rtol=2e-5)
    official = golden(case)["pmrl_alignment_official"]
    np.testing.assert_allclose(found(case)["alignment"], official, atol=2e-6)


@every_case
def test_leading_directions_up_to_sign(case):
    cosines = np.abs(found(case)["directions"] @ found(case)["directions"].T)
    np.testing.assert_allclose(cosines, golden(case)["abs_leading_cosine_official"], atol=1e-4)


@every_case
def test_retrieval_figures(case):
    official = CASES[case]["retrieval_official"]
    for name, direction in zip(("forward", "backward"), found(case)["ranks"], strict=True):
        recalls = [round(100 * float(np.mean(direction < k)), 1) for k in (1, 5, 10)]
        assert "/".join(map(str, recalls)) == official[f"{name}_recall"]
