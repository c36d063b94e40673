"""Towers of your own, named by where they are."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gramalign.data import load
from gramalign.models import Statistic, Tower, Towers
from gramalign.training import (
    Config,
    Layout,
    Model,
    config_to_json,
    embed_store,
    export,
    load_run,
    train,
)
from gramalign.training.config_json import config_from_json
from gramalign.training.layout import gathered, mesh_of
from gramalign.training.model import Model as WholeModel
from gramalign.training.model import split
from tests import own_methods
from tests.complaint import complaint
from tests.own_methods import Flat, Forwarding, Narrow, Noisy, Placed, Tokens
from tests.training.commands import arrays, assert_same_run, preset, train_until
from tests.training.one_step import first_gradient

TOKENS = "tests.own_methods:Tokens(width=1, heads=4)"
FLAT = "tests.own_methods:Flat"


def test_a_tower_gets_what_it_takes():
    statistics = {"a": (np.ones(6), np.full(6, 2.0))}
    towers: Any = Towers(
        {"b": 4, "a": 6},
        3,
        **{"hidden": 5, "depth": 1, "statistics": statistics},
        **{"tower": Tokens, "settings": {"heads": 4}, "rngs": nnx.Rngs(params=0)},
    )
    found = {name: (tower.modality, tower.width) for name, tower in towers.towers.items()}
    assert found == {"a": ("a", 2), "b": ("b", 2)}
    assert towers.towers["a"].attention.num_heads == 4
    np.testing.assert_array_equal(towers.towers["a"].standardize.std[...], statistics["a"][1])
    np.testing.assert_array_equal(towers.towers["b"].standardize.std[...], np.ones(4))
    rows = jax.random.normal(jax.random.key(0), (7, 6))
    x = towers({"a": rows})["a"]
    assert x.shape == (7, 3) and x.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-5)
    absent = towers({"a": rows * np.nan}, {"a": jnp.zeros(7, bool)})["a"]
    np.testing.assert_array_equal(absent, np.zeros((7, 3)))


def test_what_it_returns_and_holds():
    made = {"hidden": 5, "depth": 1, "rngs": nnx.Rngs(params=0)}
    rows = jnp.ones((2, 4))
    assert Towers({"a": 4}, 3, tower=Flat, **made)({"a": rows})["a"].dtype == np.float32
    with pytest.raises(ValueError, match=r"tower of a returns shape \(2, 2\) .* shape \(2, 3\)"):
        Towers({"a": 4}, 3, tower=Narrow, **made)({"a": rows})
    with pytest.raises(ValueError, match=r"Noisy has a.norm.mean, of type BatchStat, .*LayerNorm$"):
        Towers({"a": 4}, 3, tower=Noisy, **made)


@pytest.mark.parametrize(
    ("returned", "what"),
    [
        (lambda y: (y, y), "a tuple"),
        (lambda y: None, "a NoneType"),
        (lambda y: y.astype(jnp.int32), "int32"),
        (lambda y: y.astype(jnp.complex64), "complex64"),
        (lambda y: y[0], r"shape \(3,\)"),
    ],
)
def test_returns_something_else(returned, what):
    class Odd(Flat):
        def __call__(self, x):
            return returned(super().__call__(x))

    towers = Towers({"a": 4}, 3, tower=Odd, hidden=5, depth=1, rngs=nnx.Rngs(0))
    why = rf"the tower of a returns {what} for .* \(2, 4\), expected floats of shape \(2, 3\)"
    with pytest.raises(ValueError, match=why):
        towers({"a": jnp.ones((2, 4))})


@pytest.mark.parametrize(
    ("held", "why"),
    [
        (lambda rngs: nnx.Param(jnp.arange(3)), "Odd has a.held, of type Param of int32, exp.*ed$"),
        (
            lambda rngs: nnx.Param(jnp.ones(3, jnp.complex64)),
            "of type Param of complex64, expected",
        ),
        (lambda rngs: nnx.Param(1.0), "of type Param of float, expected .* an array of floats"),
        (lambda rngs: jnp.ones(3), "a.held, of type ArrayImpl, expected nnx.Param .*Statistic for"),
        (lambda rngs: nnx.Dropout(0.5, rngs=rngs), "type RngCount, .*: for dropout take dropout_k"),
    ],
)
def test_holds_something_else(held, why):
    class Odd(Flat):
        def __init__(self, features, dim, rngs):
            super().__init__(features, dim, rngs)
            self.held = held(rngs)

    with pytest.raises(ValueError, match=why):
        Towers({"a": 4}, 3, tower=Odd, hidden=5, depth=1, rngs=nnx.Rngs(0))


def test_a_tower_that_cannot_be_made():
    class Odd(Flat):
        def __init__(self, features, dim, rngs):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as refused:
        Towers({"a": 4}, 3, tower=Odd, hidden=5, depth=1, rngs=nnx.Rngs(0))
    assert refused.value.__notes__[0].startswith(f"That was in the tower of a, {__file__}:")


def test_modalities_may_lack_parameters():
    class Fixed(nnx.Module):
        def __init__(self, features, dim, modality, rngs):
            self.table = Statistic(jax.random.normal(rngs.table(), (features, dim)))
            if modality == "b":
                self.scale = nnx.Param(jnp.ones(()))

        def __call__(self, x):
            return x @ self.table[...]

    made = {"tower": Fixed, "hidden": 5, "depth": 1, "rngs": nnx.Rngs(0)}
    assert Towers({"a": 4, "b": 4}, 3, **made)({"a": jnp.ones((2, 4))})["a"].shape == (2, 3)


def test_statistics_that_are_not_measured_are_given_all_the_same():
    class Own(Flat):
        def __init__(self, features, dim, mean, std, rngs):
            super().__init__(features, dim, rngs)
            self.mean, self.std = Statistic(jnp.asarray(mean)), Statistic(jnp.asarray(std))

    made = {"tower": Own, "hidden": 5, "depth": 1, "rngs": nnx.Rngs(0)}
    measured = {"a": (np.full(4, 7.0), np.full(4, 8.0))}
    towers: Any = Towers({"a": 4, "b": 2}, 3, statistics=measured, **made).towers
    found = {m: (tower.mean[...].tolist(), tower.std[...].tolist()) for m, tower in towers.items()}
    assert found == {"a": ([7.0] * 4, [8.0] * 4), "b": ([0.0] * 2, [1.0] * 2)}


def test_dropout_keys_are_passed_on():
    made = {"hidden": 64, "depth": 1, "dropout": 0.5}
    own, plain = (
        Towers({"a": 4}, 3, tower=tower, **made, rngs=nnx.Rngs(0)) for tower in (Forwarding, Tower)
    )
    x, keys = {"a": jnp.ones((2, 4))}, jax.random.split(jax.random.key(0), 2)
    np.testing.assert_array_equal(own(x, dropout_keys=keys)["a"], plain(x, dropout_keys=keys)["a"])
    assert not np.array_equal(own(x, dropout_keys=keys)["a"], own(x)["a"])


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"tower": "Tower"}, "Model.tower: got 'Tower', expected package.module:name"),
        ({"tower": "nowhere:Tower"}, "there is no module 'nowhere'"),
        ({"tower": "gramalign.models:Towers"}, "that takes features, dim, rngs"),
        ({"tower": "optax:adamw"}, "expected a class of nnx.Module"),
        ({"tower": "tests.own_methods:Likewise"}, "expected a class of nnx.Module"),
        ({"tower": "tests.own_methods:Tokens(3)"}, "expected settings by name, as in Python"),
        ({"tower": "tests.own_methods:Tokens(hidden=3)"}, "among width, heads; the run gives"),
        ({"tower": "tests.own_methods:Tokens(dim=3)"}, "run gives features, dim, modality, mean"),
        ({"tower": "tests.own_methods:Sized"}, "expected it to set size too, for which .*:Sized"),
        (
            {"tower": "tests.own_methods:Passing"},
            r"takes \*\*others, expected the name of each",
        ),
        ({"tower": FLAT, "hidden": 3}, "Model.hidden is 3, expected the default: .*Flat does"),
        ({"tower": FLAT, "dropout": 0.0}, "Model.dropout is 0.0, expected the default"),
    ],
)
def test_refuses(settings, why):
    with pytest.raises(ValueError, match=why):
        Model(**settings)


def test_errors_name_the_option(capsys):
    printed = complaint(capsys, "train", "--model.tower", "tests.own_methods:hinge")
    assert "--model.tower: got 'tests.own_methods:hinge', which is" in printed


@pytest.mark.slow
@pytest.mark.parametrize("tower", [TOKENS, FLAT])
def test_devices_and_microbatches_change_nothing(tower):
    config = Config(objective="clip", model=Model(dim=4, tower=tower), batch_size=8)
    plain = first_gradient(dataclasses.replace(config, layout=Layout(data=1)))
    tolerance = 1e-2 if tower == FLAT else 1e-4  # of bfloat16, as it asks for
    for changes in (
        {"layout": Layout(data=2, fsdp=2)},
        {"layout": Layout(data=1, model=2)},
        {"layout": Layout(data=1), "microbatch": 2},
        {"layout": Layout(data=1), "model": dataclasses.replace(config.model, remat=True)},
    ):
        found = first_gradient(dataclasses.replace(config, **changes))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, tolerance, 1e-5), found, plain)


@pytest.mark.slow
def test_a_run_is_resumed_and_loaded(small_config, tmp_path, quiet):
    config = small_config(model=Model(dim=8, tower=TOKENS))
    assert config_from_json(config_to_json(config)) == config
    whole = train(config, tmp_path / "whole", report=quiet)
    train_until(6, config, tmp_path / "killed")
    train(config, tmp_path / "killed", resume=True, report=quiet)
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
    assert any("attention.query.kernel" in name for name in arrays(tmp_path / "killed"))
    rows = load(config.data).part("test")
    embeddings = embed_store(load_run(tmp_path / "killed"), rows)
    jax.tree.map(np.testing.assert_array_equal, embeddings, embed_store(whole, rows))


def test_mistakes_show_before_the_folder_is_touched(small_config, tmp_path, capsys):
    """Those of evaluation too; with their line, as the command shows no trace."""
    tower = "tests.own_methods:Untested"
    file = preset(small_config(model=Model(dim=8, tower=tower)), tmp_path)
    printed = complaint(capsys, "train", str(file), "--out", str(tmp_path / "run"))
    lines = Path(own_methods.__file__).read_text().splitlines()
    line = lines.index('            raise ValueError("no keys")') + 1
    place = f"{own_methods.__file__}:{line}"
    assert printed == f"error: no keys. That was in the tower of audio, {place}\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("another array", r"\S*audio.bias is not there, expected float32\[8\]"),
        ("another shape", r"\S*bias is float32\[8\], expected float32\[1, 8\]"),
        ("another dtype", r"\S*bias is float32\[8\], expected bfloat16\[8\]"),
    ],
)
def test_code_that_changed_before_a_run_is_resumed(
    change, what, small_config, tmp_path, quiet, monkeypatch
):
    class Changed(Flat):
        def __init__(self, features, dim, rngs):
            super().__init__(features, dim, rngs)
            if change == "another array":
                self.bias = nnx.Param(jnp.zeros(dim))
            elif change == "another shape":
                self.linear.bias = nnx.Param(jnp.zeros((1, dim)))
            else:
                self.linear.bias = nnx.Param(jnp.zeros(dim, jnp.bfloat16))

    config = small_config(model=Model(dim=8, tower=FLAT))
    train_until(6, config, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(own_methods, "Flat", Changed)
        why = rf"checkpoints/4 holds other arrays .*: {what}\. .* your own has changed, restore"
        with pytest.raises(ValueError, match=why):
            train(config, tmp_path / "run", resume=True, report=quiet)
        with pytest.raises(ValueError, match=why):
            export(tmp_path / "run", tmp_path / "exported", "latest")
    assert train(config, tmp_path / "run", resume=True, report=quiet).step == config.steps


def test_a_class_that_was_reloaded_is_used(small_config, tmp_path, quiet, monkeypatch):
    config = small_config(model=Model(dim=8, tower=FLAT), steps=4)
    one = train(config, tmp_path / "one", report=quiet)
    monkeypatch.setattr(own_methods, "Flat", type("Flat", (Placed,), {}))
    other = train(config, tmp_path / "other", report=quiet)
    assert one.variables["encoder"]["towers"]["text"].keys() == {"linear"}
    assert other.variables["encoder"]["towers"]["text"].keys() == {"linear", "positions", "kernel"}


def test_gathered_towers_of_your_own_embed_as_whole_ones():
    """To the bit, also what they add in another dtype than the one they compute in.

    Nor are their kernels in another, and they may read it.
    """
    model = Model(dim=4, tower="tests.own_methods:Placed", dtype="bfloat16")
    config = Config(objective="clip", model=model, layout=Layout(data=2, fsdp=2, model=2))
    whole = WholeModel(config, {"a": 8, "b": 8}, rngs=nnx.Rngs(0))
    graphdef, params, fixed = split(whole)
    rows = {"a": jax.random.normal(jax.random.key(0), (8, 8))}

    def embed(params):
        return nnx.merge(graphdef, params, fixed).encoder(rows)["a"]

    mesh = mesh_of(config.layout)
    plain, parts = jax.jit(lambda x: (embed(x), embed(gathered(x, config, mesh))))(params)
    np.testing.assert_array_equal(plain, parts)
    given = jax.eval_shape(lambda x: gathered(x, config, mesh), params)
    assert jax.tree.map(lambda x: x.dtype, given) == jax.tree.map(lambda x: x.dtype, params)
