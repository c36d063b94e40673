"""A loss over a mesh without ceremony: the values and gradients of one device."""

from contextlib import nullcontext
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from gramalign import losses, normalize
from gramalign.contrast import Engine
from tests import every_loss, samples

BATCH = 16


def mesh_of(kind=jax.sharding.AxisType.Auto):
    return jax.make_mesh((2, 4), ("data", "model"), axis_types=(kind,) * 2)


def batch(names="abc"):
    rng = np.random.default_rng(0)
    embeddings = samples.as_jax(samples.embeddings(rng, BATCH, 6, names, dtype=np.float64))
    present = samples.as_jax(samples.masks(rng, BATCH, names))
    return embeddings, present, jnp.asarray(rng.integers(0, 6, size=BATCH))


def derivative(loss, names, **settings):
    """A function of embeddings and temperature, and arguments for it."""
    embeddings, present, groups = batch(names)

    def total(embeddings, temperature):
        values = loss(
            embeddings, temperature=temperature, present=present, groups=groups, **settings
        )
        return jnp.vdot(values, jnp.arange(1.0, BATCH + 1)), values

    return jax.value_and_grad(total, argnums=(0, 1), has_aux=True), embeddings, jnp.array(0.3)


def assert_same(found, exact):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-10), found, exact)


@pytest.mark.parametrize(("axis_name", "compiled"), [(None, False), ("data", True)])
def test_values_gradients_and_a_learned_temperature(axis_name, compiled, x64):
    split, *arguments = derivative(
        losses.over_mesh(losses.clip, mesh_of(), axis_name), "ab", anchor="a", engine=Engine("ring")
    )
    whole, *_ = derivative(losses.clip, "ab", anchor="a")
    found = (jax.jit(split) if compiled else split)(*arguments)
    assert_same(found, jax.jit(whole)(*arguments))


@pytest.mark.parametrize("strategy", ["gather", "ring"])
def test_second_derivatives(strategy, x64):
    def along(loss, **settings):
        value, embeddings, temperature = derivative(loss, "ab", anchor="a", **settings)

        def slope(embeddings):
            (_, _), (d_embeddings, d_temperature) = value(embeddings, temperature)
            return sum(jnp.sum(jnp.sin(d)) for d in d_embeddings.values()) + d_temperature

        return jax.jit(jax.grad(slope))(embeddings)

    split = losses.over_mesh(losses.clip, mesh_of())
    assert_same(along(split, engine=Engine(strategy)), along(losses.clip))


def test_pmrl_with_everything(x64):
    embeddings, present, groups = batch("ab")
    loss = losses.over_mesh(losses.pmrl, mesh_of())
    found = loss(embeddings, present=present, groups=groups, tau_instance=0.2, signed=False)
    exact = losses.pmrl(embeddings, present=present, groups=groups, tau_instance=0.2, signed=False)
    np.testing.assert_allclose(found, exact, atol=1e-10)


@pytest.mark.parametrize("name", every_loss.PATHS)
def test_values(name, x64):
    loss = every_loss.EVERY[name]
    embeddings, present, groups = batch(every_loss.modalities_of(name))

    def both(x):
        settings = dict(temperature=jnp.array(0.3), present=present, groups=groups)
        return [f(x, **settings) for f in (losses.over_mesh(loss, mesh_of()), loss)]

    assert_same(*jax.jit(both)(embeddings))


@pytest.mark.parametrize("name", every_loss.SAME_PATH)
def test_losses_that_only_hand_a_score_to_the_engine_tell_it_of_the_mesh(name):
    """Which then gathers; what it gathers is tested with every Score."""
    loss = every_loss.EVERY[name]
    embeddings = samples.embeddings(
        np.random.default_rng(0), BATCH, 6, every_loss.modalities_of(name), dtype=np.float32
    )

    def gathers(loss):
        program = jax.make_jaxpr(losses.over_mesh(loss, mesh_of()))(samples.as_jax(embeddings))
        return "all_gather" in str(program)

    assert gathers(loss)
    with pytest.warns(UserWarning, match=r"shard of a batch .* give axis_name=\('data', 'model'\)"):
        assert not gathers(every_loss.without(loss, "axis_name"))


def test_what_is_split_is_split_by_the_axes_that_are_named():
    """Embeddings split over further axes are only shards; groups must be split as they are."""
    embeddings = samples.as_jax(samples.embeddings(np.random.default_rng(0), BATCH, 6, "ab"))
    groups = jnp.arange(BATCH)

    def called(axis_name, of_groups):
        def part(embeddings, groups):
            return losses.clip(embeddings, anchor="a", groups=groups, axis_name=axis_name)

        specs = P(("data", "model")), of_groups
        wrapped = jax.shard_map(part, mesh=mesh_of(), in_specs=specs, out_specs=specs[0])
        return wrapped(embeddings, groups if any(of_groups) else groups[: BATCH // mesh_of().size])

    with pytest.warns(UserWarning, match=r"shard of a batch .* give axis_name=\('data', 'model'\)"):
        called("data", P(("data", "model")))
    with pytest.raises(ValueError, match="the groups are the same on all devices of axis 'data'"):
        called(("data", "model"), P())
    assert np.isfinite(called(("data", "model"), P(("data", "model")))).all()


@pytest.mark.parametrize("name", ["pmrl", "uniformity", "modality gap", "separation"])
def test_gradients(name, x64):
    """Of all that do more with the batch than contrast it."""
    loss, names = every_loss.EVERY[name], every_loss.modalities_of(name)
    split, *arguments = derivative(losses.over_mesh(loss, mesh_of()), names)
    whole, *_ = derivative(loss, names)
    assert_same(*jax.jit(lambda *x: (split(*x), whole(*x)))(*arguments))


@pytest.mark.parametrize("kind", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
def test_arrays_may_lie_anywhere_and_values_are_split(kind):
    mesh = mesh_of(kind)
    embeddings = samples.embeddings(np.random.default_rng(0), BATCH, 6, "ab")
    exact = losses.clip(samples.as_jax(embeddings), anchor="a")
    loss = losses.over_mesh(losses.clip, mesh, "data")
    here = samples.as_jax(embeddings)
    split = jax.device_put(here, jax.NamedSharding(mesh, P("data")))
    everywhere = jax.device_put(here, jax.NamedSharding(mesh, P(None, None)))
    elsewhere = jax.device_put(here, jax.devices()[3])
    with jax.set_mesh(mesh):
        for x in (here, elsewhere, split, everywhere):
            found = loss(x, anchor="a")
            np.testing.assert_allclose(found, exact, rtol=1e-5)
            assert found.sharding.spec == P("data")


@pytest.mark.parametrize(
    ("kind", "context"),
    [
        (jax.sharding.AxisType.Auto, lambda mesh: nullcontext()),
        (jax.sharding.AxisType.Explicit, jax.set_mesh),
    ],
)
def test_the_gradient_of_a_tower_whose_batch_is_split(kind, context, x64):
    """On explicit axes under a mesh that is set: without, JAX asks how to split the product."""
    mesh = mesh_of(kind)
    features, *_ = batch("ab")
    weights = {name: jnp.eye(6) + 0.1 for name in features}

    def mean(loss):
        def of(weights, features):
            made = {name: normalize(x @ weights[name]) for name, x in features.items()}
            return loss(made, anchor="a").mean()

        return jax.jit(jax.value_and_grad(of))

    split = jax.device_put(features, jax.NamedSharding(mesh, P("data")))
    with context(mesh):
        found = mean(losses.over_mesh(losses.clip, mesh, "data"))(weights, split)
    assert_same(found, mean(losses.clip)(weights, features))


@pytest.mark.parametrize("context", [jax.set_mesh, lambda mesh: nullcontext()])
def test_a_gradient_where_axes_are_explicit(context, x64):
    """Where no mesh is set, JAX requires it to be compiled."""
    mesh = mesh_of(jax.sharding.AxisType.Explicit)
    embeddings, *_ = batch("ab")
    split = jax.device_put(embeddings, jax.NamedSharding(mesh, P("data")))
    exact = jax.grad(lambda x: losses.clip(x, anchor="a").mean())(embeddings)
    loss = losses.over_mesh(losses.clip, mesh)
    slope = jax.grad(lambda x: loss(x, anchor="a").mean())
    with context(mesh):
        for x in (embeddings, split):
            found = (slope if context is jax.set_mesh else jax.jit(slope))(x)
            assert_same(found, exact)


@pytest.mark.parametrize("loss", [losses.clip, partial(losses.vast, fused="b")])
def test_numbers_of_our_losses_are_not_part_of_the_program(loss, monkeypatch):
    """As without a mesh; what decides between two formulas is, and is checked."""
    embeddings = samples.as_jax(samples.embeddings(np.random.default_rng(0), BATCH, 6, "ab"))
    loss = partial(loss, anchor="a")
    split = losses.over_mesh(loss, mesh_of())
    calls = []
    once = jax.shard_map
    monkeypatch.setattr("jax.shard_map", lambda *x, **y: calls.append(x) or once(*x, **y))
    for temperature in (0.1, 0.2, 0.3):
        found = split(embeddings, temperature=temperature)
        np.testing.assert_allclose(found, loss(embeddings, temperature=temperature), rtol=1e-5)
    assert len(calls) == 1
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\), got 1.5"):
        split(embeddings, label_smoothing=1.5)


def test_it_compiles_once():
    calls = []

    def loss(embeddings, **settings):
        calls.append(settings["temperature"])
        return losses.clip(embeddings, anchor="a", **settings)

    split = losses.over_mesh(loss, mesh_of())
    embeddings = samples.as_jax(samples.embeddings(np.random.default_rng(0), BATCH, 6, "ab"))
    for temperature in (0.1, 0.1, jnp.array(0.2), jnp.array(0.3)):
        split(embeddings, temperature=temperature)
    assert len(calls) == 2, "one for the number, one for the array"


@pytest.mark.parametrize("size", [3, 12])
def test_a_batch_that_does_not_divide(size):
    loss = losses.over_mesh(losses.clip, mesh_of())
    most = 8 if size < 8 else 16
    message = f"batch of {size} does not divide evenly over 8 devices .* pad it to {most}"
    with pytest.raises(ValueError, match=message):
        loss({"text": jnp.ones((size, 4)), "audio": jnp.ones((size, 4))})
    with pytest.raises(ValueError, match="at least one example"):
        loss({"text": jnp.ones((0, 4)), "audio": jnp.ones((0, 4))})


def test_modalities_of_different_batch_sizes():
    loss = losses.over_mesh(losses.clip, mesh_of())
    with pytest.raises(ValueError, match="embeddings must all have one shape"):
        loss({"text": jnp.ones((8, 4)), "audio": jnp.ones((16, 4))})


def test_an_axis_that_was_given_already():
    embeddings, *_ = batch("ab")
    with pytest.raises(TypeError, match="in a loss over a mesh: give it to over_mesh"):
        losses.over_mesh(losses.clip, mesh_of())(embeddings, anchor="a", axis_name="data")


@pytest.mark.parametrize(
    "loss",
    [losses.clip, partial(losses.clip, anchor="a"), partial(losses.vast, fused="b")],
)
def test_rows_that_are_not_of_unit_length(loss):
    long = {m: 3 * x for m, x in batch("ab")[0].items()}
    with pytest.raises(ValueError, match="must hold rows of length 1, got lengths from 3 to 3"):
        losses.over_mesh(loss, mesh_of())(long, anchor="a")


def test_fused_rows_that_are_not_of_unit_length():
    """Except those that lack one of their parts, which count for nothing."""
    embeddings, *_ = batch()
    fused = {name: embeddings[m] for name, (m, _) in losses.fused_pairs(embeddings).items()}
    without_b = jnp.arange(BATCH) > 0
    loss = losses.over_mesh(losses.confu, mesh_of())
    long = embeddings | fused | {"a+b": fused["a+b"].at[0].multiply(3)}
    exact = losses.confu(embeddings | fused, present={"b": without_b})
    np.testing.assert_allclose(loss(long, present={"b": without_b}), exact, rtol=1e-5)
    with pytest.raises(ValueError, match=r"embeddings\['a\+b'\] must hold rows of length 1"):
        loss(long)


@pytest.mark.parametrize("groups", [jnp.arange(8), np.arange(12), list(range(16))])
def test_groups_that_are_not_of_the_batch(groups, unchecked):
    with pytest.raises(ValueError, match=r"groups must be an array of integers \(16,\)"):
        losses.over_mesh(losses.clip, mesh_of())(batch("ab")[0], groups=groups)


@pytest.mark.parametrize("names", [(), ("data", "data")])
def test_axes_that_are_none_or_named_twice(names):
    with pytest.raises(ValueError, match="must name one mesh axis or several, each once"):
        losses.over_mesh(losses.clip, mesh_of(), names)


def test_an_axis_that_the_mesh_does_not_have():
    with pytest.raises(ValueError, match=r"got 'pipeline', expected an axis of the mesh, \['data'"):
        losses.over_mesh(losses.clip, mesh_of(), "pipeline")


def test_devices_that_are_no_mesh(unchecked):
    with pytest.raises(TypeError, match=r"a Mesh, as jax\.make_mesh gives, got list"):
        losses.over_mesh(losses.clip, jax.devices())


def test_names_that_are_no_functions_and_numbers_that_are_no_names(unchecked):
    with pytest.raises(TypeError, match="loss must be a function, such as losses.gram, got 'gram'"):
        losses.over_mesh("gram", mesh_of())
    message = "axis_name must be the name of a mesh axis, or several, got 3"
    with pytest.raises(TypeError, match=message):
        losses.over_mesh(losses.clip, mesh_of(), 3)
    with pytest.raises(TypeError, match=message):
        losses.clip({"text": jnp.eye(4), "b": jnp.eye(4)}, axis_name=3)


def test_a_mesh_of_axes_as_they_are_within_a_shard_map():
    with pytest.raises(
        ValueError, match=r"types \['Manual', 'Manual'\], expected Auto or Explicit"
    ):
        losses.over_mesh(losses.clip, mesh_of(jax.sharding.AxisType.Manual))


def test_an_uneven_last_batch_by_mask(x64):
    """13 examples, filled up to 16 with absent ones, whatever those hold."""
    embeddings, _, _ = batch("ab")
    short = {name: x[:13] for name, x in embeddings.items()}
    filled = {name: x.at[13:].set(jnp.nan) for name, x in embeddings.items()}
    there = jnp.arange(BATCH) < 13
    loss = losses.over_mesh(losses.clip, mesh_of())
    found = loss(filled, anchor="a", present=dict.fromkeys(embeddings, there))
    np.testing.assert_allclose(found[:13], losses.clip(short, anchor="a"), atol=1e-10)
    np.testing.assert_array_equal(found[13:], 0)


def test_what_a_partial_brings_along_is_split_as_well(x64):
    embeddings, present, groups = batch("ab")
    for given in ({"groups": groups}, {"present": present}, {"groups": groups, "present": present}):
        loss = partial(losses.clip, anchor="a", **given)
        found = losses.over_mesh(loss, mesh_of())(embeddings)
        np.testing.assert_allclose(found, loss(embeddings), atol=1e-10)
    other = losses.over_mesh(partial(losses.clip, anchor="a", groups=groups), mesh_of())
    own = jnp.arange(BATCH)
    exact = losses.clip(embeddings, anchor="a")
    np.testing.assert_allclose(other(embeddings, groups=own), exact, atol=1e-10)


@pytest.mark.parametrize("loss", [losses.alignment, losses.modality_gap])
def test_losses_that_have_no_use_for_groups(loss):
    embeddings = samples.as_jax(samples.embeddings(np.random.default_rng(0), BATCH, 6))
    found = losses.over_mesh(loss, mesh_of())(embeddings)
    np.testing.assert_allclose(found, loss(embeddings), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (jax.jit(losses.clip), TypeError, "the loss was jitted without its axis"),
        (
            lambda x, **settings: losses.clip(x, **settings).mean(),
            ValueError,
            r"one value for each example, of shape \(8,\) on each device, got shape \(\)",
        ),
    ],
)
def test_what_is_no_loss_of_every_example(loss, error, message):
    embeddings, *_ = batch("ab")
    embeddings = {name: x.astype(jnp.float32) for name, x in embeddings.items()}
    with pytest.raises(error, match=message):
        losses.over_mesh(loss, mesh_of(), "data")(embeddings, anchor="a")


def test_an_engine_for_a_loss_that_has_none():
    embeddings = {name: x.astype(jnp.float32) for name, x in batch("ab")[0].items()}
    found = losses.over_mesh(losses.alignment, mesh_of())(embeddings, engine=Engine("ring"))
    np.testing.assert_allclose(found, losses.alignment(embeddings), rtol=1e-6)
