"""What a slip in the code would change, and nothing else that is tested here."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from gramalign.contrast import Engine, contrast, score_matrix, sigmoid_contrast, top_k
from gramalign.contrast.exchange import choose
from gramalign.scores import CosineScore, Side


@pytest.mark.parametrize(("rows", "strategy"), [(2**11, "gather"), (2**12, "ring")])
def test_what_is_gathered_is_that_of_all_devices(rows, strategy):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    seen = []

    def part(x):
        seen.append(choose("data", None, x).strategy)
        return x

    whole = jax.ShapeDtypeStruct((8 * rows, 2048), jnp.float32)  # 16 MiB a device, or 32
    jax.eval_shape(jax.shard_map(part, mesh=mesh, in_specs=P("data"), out_specs=P("data")), whole)
    assert set(seen) == {strategy}


def test_second_derivatives_where_a_match_is_far_above_all_others():
    x = {"a": jnp.array([[1.0, 0.0], [-1.0, 0.0]]), "b": jnp.array([[1.0, 0.0], [-1.0, 0.0]])}
    score = CosineScore("a", "b")

    def loss(x):
        return contrast(score, score.rows(x), score.cols(x), score.matched(x), scale=200.0).sum()

    def slope(x):
        return sum(
            jnp.sum(g * v) for g, v in zip(jax.grad(loss)(x).values(), x.values(), strict=True)
        )

    assert all(jnp.isfinite(g).all() for g in jax.grad(slope)(x).values())


def test_zeros_of_either_sign_where_not_all_are_wanted():
    class Given:
        def tile(self, rows, cols):
            return rows[:, cols]

    rows = Side(jnp.array([[-0.0, 0.0, -1.0, 0.0, -0.0]]), jnp.ones(1, bool))
    for tile in (3, 5):
        found = top_k(
            Given(), rows, Side(jnp.arange(5), jnp.ones(5, bool)), 2, engine=Engine(tile=tile)
        )
        assert found[1].tolist() == [[0, 1]]


def test_rows_that_are_not_there_have_no_scores():
    a, b = jnp.eye(5), jnp.arange(25.0).reshape(5, 5)
    score, there = CosineScore("a", "b"), {"a": jnp.arange(5) != 1}
    sides = score.rows({"a": a, "b": b}, there), score.cols({"a": a, "b": b}, there)
    for tile in (2, 5, 1024):
        found = score_matrix(score, *sides, engine=Engine(tile=tile))
        assert found.tolist() == jnp.where(there["a"][:, None], b.T, -jnp.inf).tolist()


class Alike:
    """A cosine, and more for examples of one kind: an integer among the factors."""

    def tile(self, rows, cols):
        (x, kinds), (y, other_kinds) = rows, cols
        return x @ y.T + jnp.where(kinds[:, None] == other_kinds[None, :], 0.1, 0)


@pytest.mark.parametrize("engine", [Engine(tile=4), Engine(tile=128, implementation="pallas")])
def test_factors_without_derivatives(engine):
    x, y = jnp.eye(6, 3), jnp.eye(6, 3, -1)
    kinds, everyone = jnp.arange(6) % 2, jnp.ones(6, bool)

    def loss(x, y, dtype):
        rows, cols = (Side((z, kinds.astype(dtype)), everyone) for z in (x, y))
        matched = jnp.sum(x * y, axis=1) + 0.1
        return contrast(Alike(), rows, cols, matched, scale=2.0, engine=engine).sum()

    wanted = jax.grad(loss, argnums=(0, 1))(x, y, jnp.float32)
    for dtype in (jnp.int32, jnp.bool_):
        found = jax.grad(loss, argnums=(0, 1))(x, y, dtype)
        assert all(jnp.allclose(*both, atol=1e-6) for both in zip(found, wanted, strict=True))


class Half:
    """A Score whose own numbers are in bfloat16, as one of a user's may be."""

    def tile(self, rows, cols):
        return jnp.matmul(rows, cols.T, preferred_element_type=jnp.bfloat16)


class Widened(Half):
    """The same numbers in float32."""

    def tile(self, rows, cols):
        return super().tile(rows, cols).astype(jnp.float32)


@pytest.mark.parametrize("loss", [contrast, partial(sigmoid_contrast, bias=0.0)])
def test_sums_of_a_score_in_bfloat16_are_in_float32(loss):
    keys = jax.random.split(jax.random.key(0))
    x, y = (jax.random.normal(key, (300, 8), jnp.bfloat16) for key in keys)
    everyone = jnp.ones(300, bool)

    def mean(score, matched, x):
        values = loss(score, Side(x, everyone), Side(y, everyone), matched, scale=1.0)
        assert values.dtype == jnp.float32
        return values.mean()

    matched = jnp.diagonal(Half().tile(x, y))
    found = jax.value_and_grad(mean, 2)(Half(), matched, x)
    wanted = jax.value_and_grad(mean, 2)(Widened(), matched.astype(jnp.float32), x)
    assert found[0] == wanted[0] and (found[1] == wanted[1]).all()


@pytest.mark.usefixtures("unchecked")
def test_matched_scores_are_no_integers():
    side = Side(jnp.eye(3), jnp.ones(3, bool))
    with pytest.raises(ValueError, match="matched must hold floating-point scores, got int32"):
        contrast(Half(), side, side, jnp.ones(3, jnp.int32), scale=1.0)
