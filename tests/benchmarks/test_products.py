"""The bare products are those of the losses, and the rate is that of a product."""

import jax
import numpy as np
import pytest

from gramalign.benchmarks import products
from gramalign.benchmarks.products import bare_products, operands, square_rate
from gramalign.benchmarks.rounds import Timed
from gramalign.benchmarks.steps import made_up, made_up_for, place, step
from gramalign.benchmarks.workload import Way
from gramalign.programs.flops import matmul_flops
from gramalign.training.terms import TERMS


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("method", ["clip", "pmrl"])
def test_bare_products_are_what_they_say(method, devices):
    embeddings = place(made_up(48, 2, 8), "float32", devices)
    a, b = (embeddings[name] for name in ("m0", "m0" if method == "pmrl" else "m1"))
    a, b = np.asarray(a), np.asarray(b)
    scores = a @ b.T
    way = Way(5, devices, "ring" if devices > 1 else None)
    factors = operands(method, embeddings, devices)
    ((sums, d_rows, d_cols),) = bare_products(method, way)(*factors)[:1]
    close = dict(rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sums, scores.sum(axis=1), **close)
    np.testing.assert_allclose(d_rows, scores @ b, **close)
    if method == "pmrl":
        assert d_cols is None
    else:
        by_device = np.asarray(d_cols).reshape(devices, 48, 8)
        np.testing.assert_allclose(by_device.sum(axis=0), scores.T @ a, **close)


@pytest.mark.parametrize("method", TERMS)
def test_bare_products_are_all_products_of_pairs(method):
    embeddings = place(made_up_for(method, 32, 3, 8), "bfloat16", 1)
    bare, sides = bare_products(method, Way(8)), operands(method, embeddings, 1)
    own, all_ = matmul_flops(bare, *sides), matmul_flops(step(method, Way(8)), embeddings)
    if method in ("alignment", "modality_gap", "consistency", "vicreg"):
        assert sides == ([], [])
    elif method in ("matching", "calmrl"):
        assert 0 < own < all_
    else:
        assert own == all_
    assert all(x.dtype == "float32" for x in jax.tree.leaves(jax.eval_shape(bare, *sides)))


def test_no_floor_is_made_up(monkeypatch):
    embeddings = place(made_up(16, 3, 8), "float32", 1)
    assert len(operands("gram", embeddings, 1)[0]) == 2
    assert operands("alignment", embeddings, 1) == ([], [])
    for number in (5, 40):  # one and a quarter; ten, of six pairs

        def flops(_, shapes, number=number):
            return number * 2 * shapes["m0"].shape[0] ** 2 * 8

        monkeypatch.setattr(products, "matmul_flops", flops)
        assert operands("gram", embeddings, 1) == ([], [])


@pytest.mark.parametrize(("method", "pairs"), [("gram", 7), ("spectral", 7), ("pmrl", 1)])
def test_what_grows_with_the_batch_alone_is_no_product_of_pairs(method, pairs):
    """Of many modalities, decompositions of an example are matrix products too."""
    embeddings = place(made_up(16, 8, 16), "float32", 1)
    assert len(operands(method, embeddings, 1)[0]) == pairs


def test_the_rate_of_a_square_product(monkeypatch):
    monkeypatch.setattr(Timed, "median", lambda self: 2.0)
    assert square_rate("bfloat16", 16, 1) == 8 * 16**3


def test_a_rate_without_memory_says_so(monkeypatch):
    monkeypatch.setattr(products, "in_turn", lambda sides, *_: setattr(sides[0], "failed", "full"))
    with pytest.raises(RuntimeError, match="full"):
        square_rate("bfloat16", 16, 1)


def test_the_rate_leaves_no_peak_that_hides_those_of_smaller_batches(monkeypatch, short_rounds):
    alive, wait = [], jax.block_until_ready

    def counted(x):
        alive.append(sum(each.shape == (17, 17) for each in jax.live_arrays()))
        return wait(x)

    monkeypatch.setattr(jax, "block_until_ready", counted)
    square_rate("bfloat16", 17, 1)
    assert max(alive) == 3  # the factor, and two results
