"""Towers of your own, named by where they are."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from gramalign.data import load
from gramalign.models import Towers
from gramalign.training import Config, Layout, Model, config_to_json, embed_store, load_run, train
from gramalign.training.config_json import config_from_json
from tests.complaint import complaint
from tests.own_methods import Flat, Narrow, Noisy, Tokens
from tests.training.commands import Killed, killed_at
from tests.training.one_step import first_gradient

TOKENS = "tests.own_methods:Tokens(width=1, heads=4)"
FLAT = "tests.own_methods:Flat"


def test_a_tower_gets_what_it_takes():
    statistics = {"a": (np.ones(6), np.full(6, 2.0))}
    towers = Towers(
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
    with pytest.raises(ValueError, match=r"tower of a returns shape \(2, 2\) .* expected \(2, 3\)"):
        Towers({"a": 4}, 3, tower=Narrow, **made)({"a": rows})
    with pytest.raises(ValueError, match="Noisy has a.norm.mean, of type BatchStat, expected nnx"):
        Towers({"a": 4}, 3, tower=Noisy, **made)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"tower": "Tower"}, "Model.tower: got 'Tower', expected package.module:name"),
        ({"tower": "nowhere:Tower"}, "there is no module 'nowhere'"),
        ({"tower": "gramalign.models:Towers"}, "that takes features, dim, rngs"),
        ({"tower": "optax:adamw"}, "expected a class of nnx.Module"),
        ({"tower": "tests.own_methods:Tokens(3)"}, "expected settings as in Python"),
        ({"tower": "tests.own_methods:Tokens(hidden=3)"}, "among width, heads; the run gives"),
        ({"tower": "tests.own_methods:Tokens(dim=3)"}, "run gives features, dim, modality, mean"),
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


def test_a_run_is_resumed_and_loaded(small_config, tmp_path, quiet):
    config = small_config(model=Model(dim=8, tower=TOKENS))
    assert config_from_json(config_to_json(config)) == config
    whole = train(config, tmp_path / "whole", report=quiet)
    with pytest.raises(Killed):
        train(config, tmp_path / "killed", report=killed_at(6))
    train(config, tmp_path / "killed", resume=True, report=quiet)
    found, wanted = (load_file(tmp_path / x / "params.safetensors") for x in ("killed", "whole"))
    assert any("attention.query.kernel" in name for name in found)
    for name, x in wanted.items():
        np.testing.assert_array_equal(found[name], x, err_msg=name)
    rows = load(config.data).part("test")
    embeddings = embed_store(load_run(tmp_path / "killed"), rows)
    jax.tree.map(np.testing.assert_array_equal, embeddings, embed_store(whole, rows))
