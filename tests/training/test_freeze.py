"""Towers that stay as another run has left them, while others learn to fit them."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from gramalign import Index
from gramalign.cli.made_by import made_by, other_maker
from gramalign.data import load
from gramalign.models import Towers
from gramalign.training import Layout, Model, Optimizer, export, load_run, train
from gramalign.training.layout import mesh_of
from gramalign.training.params_file import named
from gramalign.training.plan import trace_step
from gramalign.training.rows import chosen_rows
from gramalign.training.start import Start, make_programs
from tests.training.commands import arrays, train_until, untrained

TEXT = "encoder.towers.text."


@pytest.fixture(scope="module")
def first(plain):
    return plain


@pytest.fixture(scope="module")
def rows(small_store):
    """The text of the small store, with other moments, and a modality new to the first run."""
    text = load(small_store).features["text"][:48]
    return {"text": (0.1 + 1.2 * text).astype(np.float32), "depth": np.cos(text[:, :5])}


@pytest.fixture(scope="module")
def config(small_config, first, rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.npz"
    np.savez(path, split=np.array(["train"] * 48), **rows)
    fast = Optimizer(learning_rate=0.02, warmup=2)
    changes = {"data": str(path), "start_from": str(first.folder), "optimizer": fast}
    return small_config(**changes, freeze=("text",))


@pytest.fixture(scope="module")
def run(config, tmp_path_factory, quiet):
    return train(config, tmp_path_factory.mktemp("run"), report=quiet)


def test_a_frozen_tower_embeds_as_before_to_the_bit(run, first, rows):
    before, after = arrays(first.folder), arrays(run.folder)
    of_text = {name for name in after if name.startswith(TEXT)}
    assert of_text == {name for name in before if name.startswith(TEXT)} and len(of_text) > 4
    for name in of_text:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    text = {"text": rows["text"]}
    np.testing.assert_array_equal(run.embed(text)["text"], first.embed(text)["text"])


def test_the_others_learn_to_fit_it(run):
    log = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    assert "grad_norm/depth" in log[0] and "grad_norm/text" not in log[0]


def test_a_modality_whose_name_goes_on_is_another(config):
    dims = {"text": 10, "text_too": 5}
    Start(config, dims, {}, make_programs(config, dims, mesh_of(config.layout)))


def test_nothing_is_kept_or_computed_for_its_training(config, rows):
    dims = {name: x.shape[1] for name, x in rows.items()}
    start = Start(config, dims, {}, make_programs(config, dims, mesh_of(config.layout)))
    trained = [name for name, _ in named(start.abstract.params)]
    assert trained and not any("text" in name for name in trained)
    moments = [jax.tree_util.keystr(x) for x, _ in jax.tree.leaves_with_path(start.abstract)]
    assert not any("text" in name for name in moments)

    def products(freeze):
        one = dataclasses.replace(config, freeze=freeze)
        text = trace_step(one, dims, mesh_of(config.layout)).lower().compile().as_text() or ""
        return len(re.findall(r"= f32\[\S+ dot\(", text))

    # Backward: one for the weights of each of three layers, one for what enters the last, and the
    # loss's own.
    assert products(()) - products(("text",)) == 5


def test_the_gradient_of_what_is_trained_is_that_of_training_all(config, rows, tmp_path):
    """Without dropout, which a frozen tower does not have."""
    model = dataclasses.replace(config.model, dropout=0.0)
    found = []
    for freeze in ((), ("text",)):
        one = dataclasses.replace(config, model=model, freeze=freeze)
        dims = {"text": 10, "depth": 5}
        start = Start(one, dims, {}, make_programs(one, dims, mesh_of(one.layout)))
        batch = {
            "features": {name: x[:16] for name, x in rows.items()},
            "present": {name: np.arange(16) != place for place, name in enumerate(rows)},
            "groups": np.arange(16, dtype=np.int32),
        }
        state = start.state()
        found.append(start.step(state, start.fixed, batch)[1])
    assert found[0]["grad_norm/depth"] > 0.01
    for name in ("loss", "grad_norm/depth"):
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-6)


def test_frozen_means_without_dropout():
    made = {"hidden": 8, "depth": 1, "dropout": 0.5, "rngs": nnx.Rngs(0)}
    towers = Towers({"a": 4, "b": 4}, 3, frozen={"a"}, **made)
    x = {name: jnp.ones((5, 4)) for name in "ab"}
    plain, dropped = towers(x), towers(x, dropout_keys=jax.random.split(jax.random.key(0), 5))
    np.testing.assert_array_equal(plain["a"], dropped["a"])
    assert not np.allclose(plain["b"], dropped["b"])


def test_a_run_goes_on_after_a_kill_and_is_exported(run, config, first, tmp_path, quiet):
    train_until(10, config, tmp_path / "run")
    exported = export(tmp_path / "run", tmp_path / "exported")
    assert exported.step == 8
    text = {"text": np.ones((2, 10))}
    np.testing.assert_array_equal(exported.embed(text)["text"], first.embed(text)["text"])
    train(config, tmp_path / "run", resume=True, report=quiet)
    jax.tree.map(np.testing.assert_array_equal, arrays(run.folder), arrays(tmp_path / "run"))
    assert load_run(tmp_path / "run").config.freeze == ("text",)


@pytest.mark.slow
@pytest.mark.parametrize("layout", [Layout(data=2), Layout(data=2, fsdp=2, model=2)])
def test_on_several_devices(layout, run, config, first, tmp_path):
    split = dataclasses.replace(config, layout=layout)
    mesh, lies = mesh_of(layout), set()

    def look(row):
        of_text = [x.sharding for x in jax.live_arrays() if x.shape == (10, 16)]
        lies.update(tuple(x.spec) for x in of_text if x.device_set == {*mesh.devices.flat})

    made = train(split, tmp_path, report=look)
    one, other = arrays(run.folder), arrays(made.folder)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=2e-5, err_msg=name)
        if name.startswith(TEXT):
            np.testing.assert_array_equal(other[name], arrays(first.folder)[name])
    step = trace_step(split, {"text": 10, "depth": 5}, mesh).lower().compile()
    planned = step.input_shardings[0][1]["encoder"]["towers"]["text"]["layers"][0]["kernel"]
    assert lies == {tuple(planned.spec)} == {("fsdp", "model")}, "as trained parameters lie"


def test_microbatches_and_remat_change_nothing(run, config, tmp_path, quiet):
    model = dataclasses.replace(config.model, remat=True)
    made = train(dataclasses.replace(config, model=model, microbatch=5), tmp_path, report=quiet)
    one, other = arrays(run.folder), arrays(made.folder)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_heads_alone_may_be_trained(config, rows, tmp_path, quiet):
    """A fusion over a space that stays as it is."""
    np.savez(tmp_path / "three.npz", **rows, speed=np.sin(rows["text"][:, :3]))
    changes = {"data": str(tmp_path / "three.npz"), "start_from": None, "freeze": ()}
    clip = dataclasses.replace(config, **changes)
    before = arrays(train(clip, tmp_path / "clip", report=quiet).folder)
    changes = {"objective": "vast", "settings": {}, "freeze": ("depth", "speed", "text")}
    vast = dataclasses.replace(clip, **changes, start_from=str(tmp_path / "clip"))
    after = arrays(train(vast, tmp_path / "vast", report=quiet).folder)
    for name, x in before.items():
        if name.startswith("encoder."):
            np.testing.assert_array_equal(after[name], x)
    log = (tmp_path / "vast" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["grad_norm"] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start_from": None}, "Config.freeze is .*'text'.*, expected none without start_from"),
        ({"freeze": ("text", "text")}, "Config.freeze is .*, expected different names"),
        ({"freeze": "text"}, "Config.freeze is 'text', expected a tuple"),
        (
            {"freeze": ("txt",)},
            r"freeze is \('txt',\), expected any of text, depth, of .*rows.npz, and not \['txt'\]",
        ),
        ({"freeze": ("depth",)}, "the tower is not as in .* by encoder.towers.depth.head.bias"),
        ({"model": Model(dim=8, hidden=12)}, "not as in .*, by encoder.towers.text.head.kernel"),
        ({"model": Model(dim=8, hidden=16, depth=2)}, "by encoder.towers.text.layers.1.bias: give"),
        (
            {"model": Model(dim=8, hidden=16, dtype="bfloat16")},
            "Model.dtype is 'bfloat16', but 'float32' in .*: give --model.dtype .float32",
        ),
    ],
)
def test_what_cannot_be_frozen(changes, message, config, tmp_path, quiet, unchecked):
    with pytest.raises(ValueError, match=message):
        train(dataclasses.replace(config, **changes), tmp_path / "run", report=quiet)
    assert not (tmp_path / "run").exists()


def test_a_tower_of_fewer_layers_than_it_had(config, small_config, tmp_path, quiet):
    deep = small_config(model=Model(dim=8, hidden=16, depth=2))
    deep = train(untrained(deep), tmp_path / "a", report=quiet)
    with pytest.raises(ValueError, match="not as in .*, by encoder.towers.text.layers.1.bias"):
        train(
            dataclasses.replace(config, start_from=str(deep.folder)), tmp_path / "b", report=quiet
        )


def test_what_shows_in_no_shape(config, small_config, tmp_path, quiet):
    model = Model(dim=8, tower="tests.own_methods:Repeated", depth=2)
    first = train(untrained(small_config(model=model)), tmp_path / "first", report=quiet)
    config = dataclasses.replace(config, model=model, start_from=str(first.folder))
    run = train(config, tmp_path / "run", report=quiet)
    text = np.ones((1, 10))
    index = Index(first.embed({"text": text}), made_by=made_by(first))
    assert other_maker(index, tmp_path, run, ["text"]) is None
    for name, value in {"depth": 3, "tower": f"{model.tower}(steep=2.0)"}.items():
        unlike = dataclasses.replace(config, model=dataclasses.replace(model, **{name: value}))
        with pytest.raises(ValueError, match=f"Model.{name} is .*, but .*: give --model.{name}"):
            train(unlike, tmp_path / "unlike", report=quiet)
        assert other_maker(index, tmp_path, dataclasses.replace(run, config=unlike), ["text"])


def test_nothing_that_learns_beside_another(config, rows, tmp_path):
    """Rows of frozen modalities alone teach nothing."""
    there = np.arange(48) % 2 == 0
    masks = {"present.text": there, "present.speed": there, "present.depth": ~there}
    np.savez(tmp_path / "apart.npz", **rows, speed=rows["text"], **masks)
    config = dataclasses.replace(config, data=str(tmp_path / "apart.npz"))
    with pytest.raises(ValueError, match="no training row has depth and another of text, depth, s"):
        chosen_rows(dataclasses.replace(config, freeze=("speed", "text")))
    for freeze in (("depth", "text"), ("depth", "speed", "text")):  # heads may learn
        chosen_rows(dataclasses.replace(config, freeze=freeze))


def test_nothing_left_to_train(config, small_store, tmp_path, quiet):
    """But a temperature."""
    frozen = dataclasses.replace(config, data=str(small_store), freeze=("text", "audio"))
    with pytest.raises(ValueError, match="nothing is left to train but learned numbers"):
        train(frozen, tmp_path / "run", report=quiet)
    assert not (tmp_path / "run").exists()


def test_weights_that_no_run_has_written(config, first, tmp_path, quiet):
    """They cannot say what their towers were, only what they weigh."""
    safetensors.numpy.save_file(arrays(first.folder), tmp_path / "weights.safetensors")
    config = dataclasses.replace(config, start_from=str(tmp_path / "weights.safetensors"))
    train(config, tmp_path / "run", report=quiet)
    name = TEXT + "head.kernel"
    np.testing.assert_array_equal(arrays(tmp_path / "run")[name], arrays(first.folder)[name])


def test_one_spelling_for_one_run(config, unchecked):
    one, other = (dataclasses.replace(config, freeze=x) for x in (["b", "a"], ("a", "b")))
    assert one == other
