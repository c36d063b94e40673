"""Symile with both kinds of negatives against all combinations in float64, one by one."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from gramalign import losses
from gramalign.contrast import Engine
from gramalign.losses.recombine import shuffled
from tests import reference, samples
from tests.contrast.test_mesh import mesh_of

BATCH, DIM, TEMPERATURE = 10, 6, 0.2
COMBINATIONS = {"shuffled": reference.shifted, "all": reference.every}
KINDS = ["plain", "masked", "grouped", "masked and grouped"]
RAGGED = Engine(tile=4)


@cache
def batch(kind, names="abc", size=BATCH):
    """Embeddings (NaN where absent), masks and groups, in numpy."""
    rng = np.random.default_rng(0)
    embeddings = samples.embeddings(rng, size, DIM, names, dtype=np.float64)
    present, groups = {m: np.ones(size, bool) for m in names}, np.arange(size)
    if "masked" in kind:
        present = samples.masks(rng, size, names)
        embeddings = {m: np.where(present[m][:, None], x, np.nan) for m, x in embeddings.items()}
    if "grouped" in kind:
        groups = rng.integers(-2, 3, size)
    return embeddings, present, groups.astype(np.int32)


@cache
def weighted(loss, **options):
    """Compiled: values, and the derivative of a sum that tells every example from every other."""

    def total(embeddings, temperature, present, groups):
        values = loss(
            embeddings, temperature=temperature, present=present, groups=groups, **options
        )
        return jnp.vdot(values, jnp.arange(1, 1 + values.size, dtype=values.dtype)), values

    return jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))


def ragged(negatives, scaled=False):
    """The program that most tests share, in tiles that do not divide the batch."""
    return weighted(losses.symile, negatives=negatives, scaled=scaled, engine=RAGGED)


@cache
def with_key(seed):
    """Symile with a key, which cannot be an argument of what is cached."""
    return partial(losses.symile, key=None if seed is None else jax.random.key(seed))


def arguments(kind, dtype=np.float64, **options):
    embeddings, present, groups = batch(kind, **options)
    embeddings = {m: jnp.asarray(x, dtype) for m, x in embeddings.items()}
    return embeddings, jnp.asarray(TEMPERATURE, dtype), samples.as_jax(present), jnp.asarray(groups)


def check(found, choose, kind, tolerance, scaled=False, **options):
    """Assert that values and slopes are those of the sum over the combinations."""
    embeddings, present, groups = batch(kind, **options)
    (_, values), (by_modality, by_temperature) = jax.tree.map(np.asarray, found)

    def exact(embeddings, temperature):
        settings = dict(scaled=scaled, present=present, groups=groups)
        return reference.symile(embeddings, choose, temperature=temperature, **settings)

    wanted = exact(embeddings, TEMPERATURE)
    np.testing.assert_allclose(values, wanted, atol=tolerance * max(1, wanted.max()))
    rng = np.random.default_rng(1)
    step = {m: rng.normal(size=x.shape) for m, x in embeddings.items()}

    def moved(x):
        change = {m: embeddings[m] + x * step[m] for m in step}
        return np.arange(1, 1 + values.size) @ exact(change, TEMPERATURE + x)

    slope = sum(np.vdot(by_modality[m], step[m]) for m in step) + by_temperature
    wanted = reference.directional_derivative(moved, 0.0, 1.0, 1e-6)
    np.testing.assert_allclose(slope, wanted, rtol=max(1e-6, 10 * tolerance))
    for m, mask in present.items():
        np.testing.assert_array_equal(by_modality[m][~mask], 0)


@pytest.mark.parametrize(
    ("negatives", "scaled"), [("shuffled", False), ("all", False), ("all", True)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_all_combinations_one_by_one(negatives, kind, scaled, x64):
    found = ragged(negatives, scaled)(*arguments(kind))
    check(found, COMBINATIONS[negatives], kind, 1e-10, scaled)


def test_more_modalities(x64):
    kind = "masked and grouped"
    found = weighted(losses.symile)(*arguments(kind, names="abcd"))
    check(found, reference.shifted, kind, 1e-10, names="abcd")


@pytest.mark.parametrize("key", [None, 0])
@pytest.mark.parametrize("kind", KINDS)
def test_of_two_modalities_it_is_clip(kind, key, x64):
    found, exact = (
        weighted(loss, **options)(*arguments(kind, names="ab"))
        for loss, options in ((with_key(key), {}), (losses.clip, dict(anchor="a")))
    )
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-10), found, exact)


def test_an_order_has_all_who_are_shuffled_once():
    number, most = 24, 40
    ranks = jnp.arange(number, dtype=jnp.int32)

    def order(shift, key):
        return np.asarray(shuffled(ranks, jnp.array(number, jnp.int32), shift, key, most))

    orders = [order(1, jax.random.key(seed)) for seed in (0, 1)]
    for whom in [*orders, order(3, None)]:
        np.testing.assert_array_equal(np.sort(whom), ranks)
    assert np.mean(orders[0] == orders[1]) < 0.3
    assert np.mean(orders[0] == np.asarray(ranks)) < 0.3


@pytest.mark.parametrize("kind", ["plain", "masked and grouped"])
def test_with_a_key_every_anchor_and_modality_has_an_order_of_its_own(kind, x64):
    key, names = jax.random.key(3), "abc"

    def permuted(there, anchor):
        others = [m for m in names if m != anchor]
        takes = there[anchor] & np.any([there[m] for m in others], axis=0)
        own = jax.random.fold_in(key, names.index(anchor))
        whom, number = np.flatnonzero(takes), jnp.sum(takes, dtype=jnp.int32)
        orders = [
            shuffled(
                jnp.arange(whom.size, dtype=jnp.int32),
                number,
                0,
                jax.random.fold_in(own, place),
                takes.size,
            )
            for place in range(2)
        ]
        assert takes.sum() < 4 or not np.array_equal(*orders)
        return list(zip(*(whom[np.asarray(order)] for order in orders), strict=True))

    found = weighted(with_key(3), scaled=True)(*arguments(kind, names=names))
    check(found, permuted, kind, 1e-10, scaled=True, names=names)


@pytest.mark.parametrize("negatives", COMBINATIONS)
def test_an_example_that_is_alone_has_loss_0(negatives):
    embeddings = samples.as_jax(samples.embeddings(np.random.default_rng(0), 1, DIM))
    loss = jax.value_and_grad(lambda x: losses.symile(x, negatives=negatives).sum())
    value, gradient = jax.jit(loss)(embeddings)
    assert value == 0
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0), gradient)


@pytest.mark.parametrize("negatives", COMBINATIONS)
def test_in_one_group_nobody_has_negatives(negatives, x64):
    *given, _ = arguments("plain")
    (_, values), _ = ragged(negatives)(*given, jnp.full(BATCH, -1, jnp.int32))
    np.testing.assert_array_equal(values, 0)


@pytest.mark.parametrize("negatives", COMBINATIONS)
def test_alike_examples_are_told_apart_by_chance(negatives, x64):
    """With n negatives that equal the match the loss is log(1 + n), vanishing or not."""
    one = samples.unit(np.random.default_rng(0), 1, DIM)
    even = np.arange(DIM) % 2 == 0
    number = {"shuffled": BATCH, "all": BATCH**2 - 1}[negatives]
    _, *given = arguments("plain")
    for b in (one, np.where(even, one, 0)):
        embeddings = {"a": np.where(even, 0, one), "b": b, "c": one}
        alike = {m: jnp.asarray(np.broadcast_to(x, (BATCH, DIM))) for m, x in embeddings.items()}
        (_, values), _ = ragged(negatives)(alike, *given)
        np.testing.assert_allclose(values, np.log(1 + number), rtol=1e-10)


@pytest.mark.parametrize("negatives", COMBINATIONS)
def test_who_takes_no_part_might_as_well_not_be_in_the_batch(negatives, x64):
    """Whatever is in the places that fill a batch up, and wherever they are."""
    embeddings, temperature, present, groups = arguments("masked and grouped")
    some = losses.participants(embeddings, present)
    assert 2 <= int(some.sum()) < BATCH
    (_, whole), _ = ragged(negatives)(embeddings, temperature, present, groups)
    few, there, theirs = jax.tree.map(lambda x: x[some], (embeddings, present, groups))
    options = dict(negatives=negatives, temperature=temperature)
    subset = losses.symile(few, present=there, groups=theirs, **options)
    np.testing.assert_allclose(whole[some], subset, atol=1e-10)
    np.testing.assert_array_equal(whole[~some], 0)


@pytest.mark.parametrize("negatives", COMBINATIONS)
def test_a_modality_that_nobody_has_leaves_clip(negatives, x64):
    embeddings, temperature, present, groups = arguments("masked and grouped")
    nobody = present | {"b": jnp.zeros(BATCH, bool)}
    (_, found), _ = ragged(negatives)(embeddings, temperature, nobody, groups)
    two = {m: embeddings[m] for m in "ac"}
    settings = dict(present={m: present[m] for m in "ac"}, groups=groups)
    exact = losses.clip(two, anchor="a", temperature=temperature, **settings)
    np.testing.assert_allclose(found, exact, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("negatives", COMBINATIONS)
def test_second_derivatives(negatives, x64):
    """Through the rounds, and through what fetches those who are shuffled."""
    embeddings, temperature, present, groups = arguments("plain")
    along = samples.as_jax(batch("plain", size=BATCH)[0])
    loss = partial(losses.symile, negatives=negatives, engine=RAGGED)

    def slope(x, temperature):
        gradient = jax.grad(lambda y: jnp.sum(loss(y, temperature=temperature) ** 2))(x)
        return sum(jnp.vdot(gradient[m], along[m]) for m in gradient)

    both = jax.jit(jax.value_and_grad(slope))
    step = {m: x[::-1] for m, x in along.items()}
    second = both(embeddings, temperature)[1]

    def moved(x):
        return both({m: embeddings[m] + x * step[m] for m in step}, temperature)[0]

    exact = reference.directional_derivative(moved, 0.0, 1.0)
    np.testing.assert_allclose(sum(np.vdot(second[m], step[m]) for m in step), exact, rtol=1e-6)


def test_bfloat16(x64):
    """Parts of columns are rounded to it, and so are what they are multiplied to."""
    embeddings, temperature, *others = arguments("plain")
    narrow = {m: x.astype(jnp.bfloat16) for m, x in embeddings.items()}
    wide = {m: x.astype(jnp.float64) for m, x in narrow.items()}
    loss = ragged("all")
    (_, found), (slopes, _) = loss(narrow, temperature.astype(jnp.float32), *others)
    (_, exact), (exact_slopes, _) = loss(wide, temperature, *others)
    np.testing.assert_allclose(found, exact, atol=0.01)
    for m, x in exact_slopes.items():
        assert np.linalg.norm(slopes[m].astype(np.float64) - x) <= 0.02 * np.linalg.norm(x)


@pytest.mark.slow
def test_fused_tiles(x64):
    kind = "masked and grouped"
    how = Engine(tile=128, implementation="pallas")
    found = weighted(losses.symile, negatives="all", engine=how)(*arguments(kind))
    exact = ragged("all")(*arguments(kind))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-10), found, exact)


def compare_with_a_mesh(loss, kind, **options):
    """In float32."""
    how = Engine("gather", tile=2)
    whole = losses.over_mesh(loss, mesh_of(data=8))
    with jax.enable_x64(True):
        exact = weighted(loss, **options)(*arguments(kind, size=16))
    found = weighted(whole, engine=how, **options)(*arguments(kind, np.float32, size=16))
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5 * max(1, np.abs(y).max())),
        found,
        jax.tree.map(np.asarray, exact),
    )


@pytest.mark.parametrize("negatives", COMBINATIONS)
def test_over_a_mesh(negatives):
    compare_with_a_mesh(losses.symile, "masked and grouped", negatives=negatives)


@pytest.mark.slow
def test_over_a_mesh_with_a_key():
    compare_with_a_mesh(with_key(1), "masked", scaled=True)


@pytest.mark.slow
@pytest.mark.parametrize("negatives", COMBINATIONS)
def test_over_a_ring_of_two_axes_in_another_order(negatives, x64):
    whole = losses.over_mesh(losses.symile, mesh_of(data=2, model=4), ("model", "data"))
    given = arguments("masked and grouped", size=16)
    how = Engine("ring", tile=3)
    found = weighted(whole, negatives=negatives, engine=how)(*given)
    exact = weighted(losses.symile, negatives=negatives)(*given)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-10), found, exact)


def test_over_an_axis_beside_one_that_is_the_compiler_s(x64):
    embeddings, present, groups = jax.tree.map(jnp.asarray, batch("masked and grouped", size=16))
    each = partial(losses.symile, temperature=TEMPERATURE)
    whole = jax.shard_map(
        lambda x, there, groups: each(x, present=there, groups=groups, axis_name="data"),
        mesh=mesh_of(data=4, model=2),
        axis_names={"data"},
        in_specs=P("data"),
        out_specs=P("data"),
    )
    found = jax.jit(whole)(embeddings, present, groups)
    exact = each(embeddings, present=present, groups=groups)
    np.testing.assert_allclose(found, exact, atol=1e-10)


def test_memory_is_linear_in_the_batch():
    """All combinations of 16384 would take 2^42 numbers, one round of them 2^28."""

    def needed(size):
        shapes = dict.fromkeys("abc", jax.ShapeDtypeStruct((size, 64), jnp.float32))
        loss = partial(losses.symile, negatives="all", engine=Engine(tile=256))
        lowered = jax.jit(jax.value_and_grad(lambda x: loss(x).mean())).lower(shapes)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    found = [needed(size) for size in (8192, 16384)]
    assert found[1] / found[0] <= 2.1, found
    assert found[1] < 4 * 16384**2 / 8, "less than an eighth of one round"


@pytest.mark.slow
@pytest.mark.parametrize("negatives", COMBINATIONS)
def test_a_ring_takes_no_more_for_more_devices(negatives):
    """Nothing of other devices' examples is held but what is visiting."""
    local, how = 256, Engine("ring", tile=64)

    def compiled(devices):
        shapes = dict.fromkeys("abc", jax.ShapeDtypeStruct((local * devices, 64), jnp.float32))
        mesh = jax.make_mesh((devices,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        split = jax.NamedSharding(mesh, P("data"))

        def part(x):
            return losses.symile(x, negatives=negatives, axis_name="data", engine=how)

        whole = jax.shard_map(part, mesh=mesh, in_specs=split.spec, out_specs=split.spec)
        step = jax.jit(jax.value_and_grad(lambda x: whole(x).mean()), in_shardings=split)
        return step.lower(shapes).compile()

    two, eight = (compiled(devices).memory_analysis().temp_size_in_bytes for devices in (2, 8))
    assert eight <= 1.05 * two


def test_negatives_that_there_are_not(unchecked):
    one = jnp.eye(3)[jnp.zeros(4, int)]
    two = {m: one for m in "ab"}
    with pytest.raises(ValueError, match='must be "shuffled" or "all", got \'n\''):
        losses.symile(two, negatives="n")
    with pytest.raises(ValueError, match=r"needs exactly three modalities, got \['a', 'b'\]"):
        losses.symile(two, negatives="all")
    with pytest.raises(ValueError, match="at least one example"):
        losses.symile({m: jnp.ones((0, 3)) for m in "ab"})
    with pytest.raises(ValueError, match="draws nothing at random"):
        losses.symile(two | {"c": one}, negatives="all", key=jax.random.key(0))
