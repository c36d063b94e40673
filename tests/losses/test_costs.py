"""The flops that a loss's docstring names are those of its matrix products."""

import re
import sys

import jax
import jax.numpy as jnp
import pytest

from gramalign import losses
from gramalign.methods import read
from gramalign.programs.flops import matmul_flops

BATCH, DIM = 64, 8

ANCHORED = [
    "gram",
    "height",
    "hypergram",
    "kernel_volume",
    "sca",
    "simplex",
    "spectral",
    "clip",
    "siglip",
]
OTHERS = ["pmrl", "centrobind", "barybind", "separation", "uniformity"]
# Pairs or modalities, of which the docstring names what each costs.
TASKS = {"clip": lambda k: k - 1, "siglip": lambda k: k - 1, "uniformity": lambda k: k}


def of_pairs(function, k):
    """Flops by B^2 d: those that quadruple with twice the batch."""
    small, large = (
        matmul_flops(
            function, dict.fromkeys("abcdef"[:k], jax.ShapeDtypeStruct((size, DIM), jnp.float32))
        )
        for size in (BATCH, 2 * BATCH)
    )
    return (large - 2 * small) / (2 * BATCH**2 * DIM)


@pytest.mark.parametrize("k", [3, 4])
@pytest.mark.parametrize("name", ANCHORED + OTHERS)
def test_the_flops_named_are_those_counted(name, k):
    loss = getattr(losses, name)
    cost = read(sys.modules[loss.__module__].__doc__)["cost"]
    written, which = re.search(r"([\dk ()-]+) B\^2 d flops (forward|with)", cost).groups()
    product = re.sub(r"(?<=[\dk)]) (?=[(k])", " * ", written.strip())
    anchor = {"anchor": "a"} if name in ANCHORED else {}

    def total(embeddings):
        return loss(embeddings, **anchor).sum()

    function = total if which == "forward" else jax.grad(total)
    tasks = TASKS[name](k) if name in TASKS else 1
    assert of_pairs(function, k) == eval(product, {"k": k}) * tasks
    if which == "forward":
        times = 3 if "three times that" in cost else 4
        assert of_pairs(jax.grad(total), k) == times * of_pairs(total, k)
