"""Devices and processes share a run, whose numbers are the same whatever the layout."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from gramalign.data import load
from gramalign.programs.topology import devices_of
from gramalign.training import Layout, Model, Validation, config_from_json, train
from gramalign.training.layout import check_batch, gathered, mesh_of, own_places, shardings
from gramalign.training.metrics import read_metrics
from gramalign.training.model import Model as Whole
from gramalign.training.model import split
from gramalign.training.moments import moments
from gramalign.training.start import Start, make_programs
from tests.compilers import tpu
from tests.processes import all_succeed, free_port
from tests.training.commands import started, train_until

LAYOUT = Layout(data=2, fsdp=2, model=2)


def assert_same_run(folder, other):
    found, wanted = (load_file(run / "params.safetensors") for run in (folder, other))
    assert found.keys() == wanted.keys()
    for name, x in wanted.items():
        np.testing.assert_allclose(found[name], x, atol=1e-4, err_msg=name)
    for row, like in zip(
        read_metrics(folder / "metrics.jsonl"), read_metrics(other / "metrics.jsonl"), strict=True
    ):
        assert row == pytest.approx(like, abs=1e-4)


@pytest.fixture(scope="module")
def config(small_config):
    return small_config(validation=Validation(every=3, held_out=0.25))


@pytest.fixture(scope="module")
def alone(config, tmp_path_factory, quiet):
    """The folder of a run on one device."""
    return train(config, tmp_path_factory.mktemp("alone"), report=quiet).folder


@pytest.mark.slow
def test_a_run_on_eight_devices_goes_on_on_four_and_on_two(config, alone, tmp_path, quiet):
    train_until(6, dataclasses.replace(config, layout=LAYOUT), tmp_path)
    four = dataclasses.replace(config, layout=Layout(data=4), checkpoint_every=4)
    train_until(6, four, tmp_path, resume=True)  # from step 4, and again before step 8
    two = dataclasses.replace(config, layout=Layout(data=1, fsdp=2))
    train(two, tmp_path, resume=True, report=quiet)
    assert_same_run(tmp_path, alone)
    kept = config_from_json((tmp_path / "config.json").read_text())
    assert kept.layout == two.layout, "which another resumption would take as well"


def test_state_is_made_where_it_lies(config):
    mesh = mesh_of(LAYOUT)
    dims = load(config.data).dims
    start = Start(config, dims, {}, make_programs(config, dims, mesh))
    state = start.state()
    layer = state.params["encoder"]["towers"]["text"]["layers"][0]
    assert layer["kernel"].sharding.spec == jax.P("fsdp", "model")
    assert layer["kernel"].addressable_shards[0].data.size == layer["kernel"].size // 4
    assert layer["bias"].sharding.spec == jax.P("model")
    (kernels,) = {
        x.sharding.spec
        for path, x in jax.tree.leaves_with_path(state.opt_state)
        if jax.tree_util.keystr(path, simple=True, separator=".").endswith("text.layers.0.kernel")
    }
    assert kernels == jax.P("fsdp", "model")
    narrow = jax.ShapeDtypeStruct((7, 16), np.float32)
    (found,) = jax.tree.leaves(shardings(LAYOUT, mesh, {"layers": {"0": {"kernel": narrow}}}))
    assert found.spec == jax.P(None, "model"), "7 does not divide by 2"
    words = jax.ShapeDtypeStruct((30522, 768), np.float32)
    (found,) = jax.tree.leaves(shardings(LAYOUT, mesh, {"front": {"words": {"embedding": words}}}))
    assert found.spec == jax.P(None, "fsdp"), "the number of words seldom divides"
    every = dataclasses.replace(LAYOUT, rules=((".", "fsdp,model"),))
    assert {x.spec for x in jax.tree.leaves(shardings(every, mesh, start.fixed))} == {jax.P()}


def test_initial_numbers_do_not_depend_on_the_layout(config):
    dims = load(config.data).dims
    one, many = (
        Start(config, dims, {}, make_programs(config, dims, mesh_of(layout))).state()
        for layout in (config.layout, LAYOUT)
    )
    jax.tree.map(np.testing.assert_array_equal, one.params, jax.device_get(many.params))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gathered_parameters_embed_as_whole_ones(config, dtype):
    """To the bit: what a tower adds in float32 is not rounded on the way."""
    config = dataclasses.replace(config, model=Model(dim=8, hidden=16, dtype=dtype), layout=LAYOUT)
    store = load(config.data).part("train")
    model = Whole(config, store.dims, moments(store), rngs=nnx.Rngs(params=0))
    graphdef, params, fixed = split(model)
    params = jax.tree.map(lambda x: x + 1 / 3 if x.ndim == 1 else x, params)  # biases start at 0
    features = {name: jnp.asarray(x[:8]) for name, x in store.features.items()}

    def embed(params):
        return nnx.merge(graphdef, params, fixed).encoder(features)

    whole, parts = jax.jit(lambda x: (embed(x), embed(gathered(x, config, mesh_of(LAYOUT)))))(
        params
    )
    jax.tree.map(np.testing.assert_array_equal, whole, parts)


@pytest.mark.parametrize(
    "layout, message",
    [
        ({"data": 9}, "9 data x 1 fsdp x 1 model needs 9 .* are 8: leave out .*, or start on that"),
        ({"fsdp": 3}, r"2 data x 3 fsdp x 1 model needs 6 .* are 8: choose --layout.fsdp x .* 8,"),
    ],
)
def test_devices_that_are_not_there(layout, message):
    with pytest.raises(ValueError, match=message):
        mesh_of(Layout(**layout))


@pytest.mark.parametrize("data", [1, 4, 7])
def test_some_of_the_devices_of_one_process_and_of_no_topology(data):
    layout, there = Layout(data=data), jax.devices()
    assert mesh_of(layout).devices.ravel().tolist() == there[:data]
    with pytest.raises(
        ValueError, match=f"{data} devices?, but there are 8: leave out --layout.data$"
    ):
        mesh_of(layout, there)


def test_no_topology_is_advised_that_does_not_exist():
    with pytest.raises(ValueError, match=r"6 devices, .* 8: choose --layout.fsdp x .* divide 8$"):
        mesh_of(Layout(model=3), jax.devices())


@tpu
def test_chips_that_are_no_rectangle(monkeypatch):
    there = devices_of("v5e:2x2")
    monkeypatch.setattr(jax, "devices", lambda: there)
    assert mesh_of(Layout(data=3)).devices.ravel().tolist() == there[:3]


@tpu
@pytest.mark.parametrize("topology", ["v6e:4x4", "v4:2x2x4", "tpu7x:2x2x2"])
def test_an_axis_that_is_shorter_than_a_side_of_the_torus(topology):
    """Those that it joins still lie on a line."""
    mesh = mesh_of(Layout(fsdp=2, model=2), devices_of(topology))
    assert mesh.shape == {"data": 4, "fsdp": 2, "model": 2}
    places = np.array([(*d.coords, d.core_on_chip) for d in mesh.devices.ravel()])
    for axis in (1, 2):
        apart = np.diff(places.reshape(4, 2, 2, 4), axis=axis)
        assert (np.count_nonzero(apart, axis=-1) == 1).all()


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"fsdp": 0}, "Layout.fsdp is 0"),
        ({"rules": (("(", "fsdp"),)}, "is not a regular expression"),
        ({"rules": (("kernel", "fsdp,pipe"),)}, "expected axes among data, fsdp and model"),
        ({"rules": (("kernel", "fsdp,fsdp"),)}, "each at most once"),
    ],
)
def test_bad_layouts(fields, message):
    with pytest.raises(ValueError, match=message):
        Layout(**fields)


def test_a_batch_that_does_not_divide(config, tmp_path):
    uneven = dataclasses.replace(config, layout=Layout(data=3))
    with pytest.raises(
        ValueError, match="batch of 16 does not divide evenly over 3 devices.*15 or 18"
    ):
        train(uneven, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("processes", "cure"), [(1, "fewer devices, with --layout.data"), (3, "on fewer processes")]
)
def test_what_to_do_about_a_batch_that_does_not_divide(processes, cure, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    mesh = jax.make_mesh((3, 1, 1), ("data", "fsdp", "model"), devices=jax.devices()[:3])
    with pytest.raises(ValueError, match=f"give a new run a multiple.* 15 or 18, or .*{cure}"):
        check_batch(16, mesh)


def test_one_process_reads_it_all():
    np.testing.assert_array_equal(own_places(16, mesh_of(LAYOUT)), np.arange(16))


@pytest.mark.slow
def test_two_processes_with_two_devices_each(config, alone, tmp_path, quiet):
    """A run that starts from another's weights, and chooses its model."""
    tuned = dataclasses.replace(config, start_from=str(alone), seed=1)
    wanted = train(tuned, tmp_path / "wanted", report=quiet).folder
    shared = dataclasses.replace(tuned, layout=Layout(fsdp=2))
    options = ["--cluster.coordinator", f"localhost:{free_port()}", "--cluster.processes", 2]
    all_succeed(
        [
            started(shared, tmp_path / "run", *options, "--cluster.process", number, devices=2)
            for number in range(2)
        ]
    )
    assert_same_run(tmp_path / "run", wanted)
    assert json.loads((tmp_path / "run" / "start_from.json").read_text())["taken"]
    last = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]
    assert "validation/pair R@1, cosine" in last
