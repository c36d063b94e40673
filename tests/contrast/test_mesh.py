"""Over any number of devices and in either form of exchange: the values of one device."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from gramalign import losses
from gramalign.contrast import Engine, contrast, ranks, top_k
from gramalign.contrast.exchange import GATHER_LIMIT, choose
from gramalign.scores import CosineScore, Side
from tests import contrast_engine as engine
from tests.every_score import MAIN, SCORES

STRATEGIES = ["gather", "ring"]
Auto = jax.sharding.AxisType.Auto


def mesh_of(**sizes):
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), axis_types=(Auto,) * len(sizes))


def sharded(name, mesh, axis_name, strategy, own_groups=True, loss="softmax"):
    """As `engine.by_factors`, with the batch split; the gradient is taken of the whole."""
    return engine.by_factors(name, Engine(strategy, tile=3), loss, mesh, axis_name, own_groups)


def arguments_of(name, kind, dtype=np.float64):
    return engine.given(name, *jax.tree.map(jnp.asarray, engine.batch(kind, dtype)))


@cache
def exact(name, kind, loss="softmax"):
    with jax.enable_x64(True):
        found = engine.by_factors(name, Engine(tile=6), loss)(*arguments_of(name, kind))
        return jax.tree.map(np.asarray, found)


def compare(name, mesh, axis_name, strategy, kind, loss="softmax"):
    call = sharded(name, mesh, axis_name, strategy, "grouped" in kind, loss)
    found = call(*arguments_of(name, kind))
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-10), found, exact(name, kind, loss)
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_any_number_of_devices(devices, strategy, x64):
    compare("cosine of two", mesh_of(data=devices), "data", strategy, "masked and grouped")


@pytest.mark.parametrize(("devices", "strategy"), [(2, "gather"), (4, "ring")])
@pytest.mark.parametrize("name", MAIN)
def test_every_score(name, devices, strategy, x64):
    compare(name, mesh_of(data=devices), "data", strategy, "masked and grouped")


@pytest.mark.parametrize("name", MAIN)
def test_a_ring_of_every_score_is_typed_for_a_mesh_and_gathers_nothing(name):
    """What varies from device to device is declared to, wherever a Score has a loop of its own.

    Tracing checks that. XLA adds no collectives to a program that is written for each device.
    """
    embeddings, scale, _, present, groups = engine.batch("masked and grouped", np.float32)
    how = Engine("ring", tile=3)
    mesh, split = mesh_of(data=8), P("data")
    specs = (split, P(), split, split)

    def part(*arguments):
        return engine.losses(name, *arguments, axis_name="data", engine=how)

    values = jax.shard_map(part, mesh=mesh, in_specs=specs, out_specs=split, check_vma=True)
    slope = jax.grad(lambda *x: jnp.sum(values(*x)), argnums=(0, 1))
    program, (slopes, _) = jax.make_jaxpr(slope, return_shape=True)(
        embeddings, scale, present, groups
    )
    assert {m: x.shape for m, x in slopes.items()} == {m: x.shape for m, x in embeddings.items()}
    assert "ppermute" in str(program) and "all_gather" not in str(program)


@pytest.mark.parametrize(
    ("loss", "strategy", "kind"),
    [
        ("supervised", "ring", "masked and grouped"),
        ("sigmoid", "gather", "masked and grouped"),
        ("sigmoid", "ring", "plain"),
    ],
)
def test_every_loss(loss, strategy, kind, x64):
    compare("cosine of two", mesh_of(data=8), "data", strategy, kind, loss)


@pytest.mark.parametrize("kind", ["plain", "masked", "grouped", "nothing grouped"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_any_kind_of_batch(strategy, kind, x64):
    compare("cosine of two", mesh_of(data=8), "data", strategy, kind)


@pytest.mark.parametrize(
    ("axis_name", "strategy"),
    [
        ("model", "ring"),
        (("data", "model"), "gather"),
        (("model", "data"), "gather"),
        (("model", "data"), "ring"),
    ],
)
def test_one_axis_of_two_or_both(axis_name, strategy, x64):
    compare("cosine of two", mesh_of(data=2, model=4), axis_name, strategy, "masked and grouped")


def test_float32():
    arguments = arguments_of("cosine of two", "masked and grouped", np.float32)
    found = sharded("cosine of two", mesh_of(data=8), "data", "ring")(*arguments)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5 * np.abs(y).max()),
        found,
        exact("cosine of two", "masked and grouped"),
    )


def against_itself(x, mirrored, **options):
    """Of points as they are; mirrored: the columns are said to be the rows again."""
    side = Side(x, jnp.ones(len(x), bool))
    cols = None if mirrored else side
    matched = jnp.sum(x**2, axis=1)
    return contrast(SCORES["direction"], side, cols, matched, scale=2.0, **options)


@pytest.mark.parametrize("strategy", [None, "ring"])  # None: here it gathers
def test_a_side_against_itself(strategy, x64):
    rng = np.random.default_rng(0)
    x, weights = jnp.asarray(rng.normal(size=(16, 5))), jnp.asarray(rng.uniform(size=16))

    def part(x):
        how = Engine(strategy, tile=3)
        return [against_itself(x, m, axis_name="data", engine=how) for m in (True, False)]

    split = jax.shard_map(part, mesh=mesh_of(data=4), in_specs=P("data"), out_specs=P("data"))

    @jax.jit
    def slopes(x):
        ways = lambda x: split(x)[0], lambda x: split(x)[1], lambda x: against_itself(x, False)
        return [jax.value_and_grad(lambda x, f=f: jnp.vdot(f(x), weights))(x) for f in ways]

    *found, exact = slopes(x)
    for each in found:
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-10), each, exact)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_ranks(strategy, x64):
    embeddings, _, _, present, groups = jax.tree.map(jnp.asarray, engine.batch("masked grouped"))
    score = SCORES["cosine with the rest"]

    def call(embeddings, present, groups, **options):
        sides = score.rows(embeddings, present), score.cols(embeddings, present)
        return ranks(score, *sides, groups=groups, **options)

    def part(*arguments):
        return call(*arguments, axis_name="data", engine=Engine(strategy, tile=3))

    split = jax.shard_map(part, mesh=mesh_of(data=4), in_specs=P("data"), out_specs=P("data"))
    found = jax.jit(split)(embeddings, present, groups)
    exact = jax.jit(call)(embeddings, present, groups)
    jax.tree.map(np.testing.assert_array_equal, found, exact)
    assert len(np.unique(found[0])) > 4


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_top_k(strategy, x64):
    rng = np.random.default_rng(1)
    queries, gallery = (jnp.asarray(rng.normal(size=(n, 5))) for n in (8, 28))
    score = CosineScore("a", "b")

    def call(queries, gallery, **options):
        rows = score.rows({"a": queries, "b": queries})
        cols = score.cols({"a": gallery, "b": gallery})
        groups = queries.astype(int)[:, 0], gallery.astype(int)[:, 0]  # -2 to 2
        return top_k(score, rows, cols, 9, groups=groups, **options)

    def part(*arguments):  # 7 of the gallery on each device, fewer than are asked for
        return call(*arguments, axis_name="data", engine=Engine(strategy, tile=3))

    split = jax.shard_map(part, mesh=mesh_of(data=4), in_specs=P("data"), out_specs=P("data"))
    (values, numbers), (exact_values, exact_numbers) = (
        jax.jit(split)(queries, gallery),
        jax.jit(call)(queries, gallery),
    )
    np.testing.assert_allclose(values, exact_values, atol=1e-12)
    np.testing.assert_array_equal(numbers, exact_numbers)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_top_k_of_equals_is_the_first(strategy):
    same = {m: jnp.ones((8, 2)) for m in "ab"}
    score, how = CosineScore("a", "b"), Engine(strategy, tile=1)

    def part(embeddings):
        sides = score.rows(embeddings), score.cols(embeddings)
        return top_k(score, *sides, 3, axis_name="data", engine=how)[1]

    mesh = mesh_of(data=4)
    split = jax.shard_map(part, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
    assert jax.jit(split)(same).tolist() == [[0, 1, 2]] * 8


@pytest.mark.parametrize(("more", "strategy"), [(0, "gather"), (4, "ring")])
def test_the_bytes_of_all_devices_decide_on_the_strategy(more, strategy):
    chosen = []

    def part(x):
        chosen.append(choose("data", None, x).strategy)
        return x

    split = jax.shard_map(part, mesh=mesh_of(data=4), in_specs=P("data"), out_specs=P("data"))
    jax.eval_shape(split, jax.ShapeDtypeStruct((GATHER_LIMIT + more,), jnp.int8))
    assert chosen == [strategy]


def test_without_an_axis_name_every_device_is_a_batch_of_its_own(x64):
    embeddings, scale, _, present, groups = jax.tree.map(jnp.asarray, engine.batch("masked"))

    def part(embeddings, scale, present, groups):
        return engine.losses("cosine of two", embeddings, scale, present, groups)

    specs = (P("data"), P(), P("data"), P("data"))
    mesh = mesh_of(data=2)
    local = jax.jit(jax.shard_map(part, mesh=mesh, in_specs=specs, out_specs=P("data")))
    found = local(embeddings, scale, present, groups)
    whole = engine.batch("masked")
    for part in np.split(np.arange(engine.BATCH), 2):
        embeddings, present, groups = jax.tree.map(
            lambda x, part=part: x[part], (whole[0], *whole[3:])
        )
        exact = engine.dense("cosine of two", embeddings, scale, present, groups)
        np.testing.assert_allclose(found[part], exact, atol=1e-9)


def on_mesh(axis_name, spec, check_vma=True):
    arguments = jax.tree.map(jnp.asarray, engine.batch("plain", np.float32)[0])

    def part(embeddings):
        return engine.losses("cosine of two", embeddings, 1.0, None, None, axis_name=axis_name)

    mesh = mesh_of(data=2, model=2)
    split = jax.shard_map(part, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=check_vma)
    return jax.jit(split)(arguments)


def test_where_what_varies_is_not_tracked():
    tracked, untracked = (on_mesh("data", P("data"), check_vma=x) for x in (True, False))
    np.testing.assert_allclose(untracked, tracked, rtol=1e-6)


def test_an_axis_that_is_not_there():
    with pytest.raises(
        ValueError, match=r"'date' is not a mesh axis here; there are \['data', 'mod"
    ):
        on_mesh("date", P("data"))
    with pytest.raises(ValueError, match=r"'data' is not a mesh axis here; there are \[\]"):
        embeddings = jax.tree.map(jnp.asarray, engine.batch("plain", np.float32)[0])
        engine.losses("cosine of two", embeddings, 1.0, None, None, axis_name="data")


def test_an_axis_of_vmap_which_the_backward_pass_would_not_find():
    embeddings = dict.fromkeys("ab", jnp.ones((2, 3, 4)))
    call = jax.vmap(lambda e: losses.clip(e, anchor="a", axis_name="i"), axis_name="i")
    with pytest.raises(ValueError, match="'i' is not a mesh axis here.* inside jax.shard_map"):
        call(embeddings)


def test_an_axis_that_splits_only_the_columns():
    """A device would count its own columns' ranks for rows that are of all."""
    both = {m: jnp.ones((8, 2)) for m in "ab"}
    score = CosineScore("a", "b")

    def part(rows, cols):
        return ranks(score, score.rows(rows), score.cols(cols), axis_name="data")

    specs = P(), P("data")
    with pytest.raises(ValueError, match="the batch is the same on all devices of axis 'data'"):
        jax.shard_map(part, mesh=mesh_of(data=1), in_specs=specs, out_specs=P("data"))(both, both)


def test_an_axis_that_does_not_split_the_batch():
    with pytest.raises(ValueError, match="the batch is the same on all devices of axis 'model'"):
        on_mesh("model", P("data"))
