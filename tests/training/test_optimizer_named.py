"""Optimisers are named by where they are, with their settings."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gramalign.training import Config, Layout, Optimizer, load_run, train
from gramalign.training.optimizer import make_optimizer
from gramalign.training.optimizer_named import optimizer_named
from tests.complaint import complaint
from tests.training.commands import assert_same_run, train_until
from tests.training.one_step import first_gradient

PARAMS = {"kernel": jnp.full((2, 3), 2.0), "bias": jnp.ones(3)}


def after_two_steps(tx, grads) -> Any:
    """Parameters that begin as `PARAMS`."""
    params, opt_state = PARAMS, tx.init(PARAMS)
    for _ in range(2):
        updates, opt_state = tx.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize(
    ("kind", "like"),
    [
        ("optax:adamw", optax.adamw),
        ("optax:adamw(b2=0.5, nesterov=True)", functools.partial(optax.adamw, b2=0.5)),
        (" optax:lion (b1 = 0.3)", functools.partial(optax.lion, b1=0.3)),
        ("optax.contrib:muon", optax.contrib.muon),
    ],
)
def test_one_of_optax_with_its_settings(kind, like):
    config = Optimizer(kind=kind, learning_rate=0.1, warmup=0, weight_decay=0.3, clip_norm=1e3)
    grads = jax.tree.map(lambda x: jnp.linspace(1, 2, x.size).reshape(x.shape), PARAMS)
    found = after_two_steps(make_optimizer(config, 10), grads)
    named = {"mask" if like is not optax.contrib.muon else "weight_decay_mask": {"bias": False}}
    mask = {key: {"kernel": True, **value} for key, value in named.items()}
    more = {"nesterov": True} if "nesterov" in kind else {}
    schedule = optax.cosine_decay_schedule(0.1, 10)
    with jax.numpy_dtype_promotion("standard"):
        wanted = after_two_steps(like(schedule, weight_decay=0.3, **mask, **more), grads)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), found, wanted)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("adamw", "Optimizer.kind: got 'adamw', expected package.module:name"),
        ("optax:nothing", "has no 'nothing'"),
        ("nowhere:lion", "there is no module 'nowhere'"),
        ("optax:adamw(b2=x)", "expected settings by name, as in Python, such as optax:adamw"),
        ("optax:adamw(0.9)", "expected settings by name, as in Python"),
        (
            "optax:adamw(b3=0.9)",
            "optax:adamw among b1, b2, eps, .*, nesterov; the run gives learn",
        ),
        ("optax:lion(weight_decay=1.0)", "the run gives learning_rate, weight_decay, mask"),
        ("optax:lion(mask=None)", "settings of optax:lion among b1, b2, mu_dtype; the run gives"),
        ("os:system(command='true')", "expected a function of a learning_rate"),
        ("math:pi", "expected a function of a learning_rate"),
        ("optax:sgd", "weight_decay is 0.01, expected 0: optax:sgd does not take w"),
        (
            "tests.own_methods:watching",
            "expected it to set patience too, for which .*:watching",
        ),
        ("optax:adamw(b2=0.9)(b1=0.3)", "expected settings by name, as in Python"),
        ("optax:adamw(b2=0.9).init()", "expected settings by name, as in Python"),
        ("optax:adamw(**{'b2': 0.9})", "expected settings by name, as in Python"),
        ("optax:adamw(b2=0.9, b2=0.8)", "expected settings by name, as in Python"),
        ("optax:adamw(b2={[]: 1})", "expected settings by name, as in Python"),
        ("tests.own_methods:watching(patience=3, others=1, learning_rate=2)", "the run gives lea"),
    ],
)
def test_refuses(kind, why):
    with pytest.raises(ValueError, match=why):
        Optimizer(kind=kind)


def test_one_without_decay():
    assert optimizer_named("optax:sgd").mask is None
    config = Optimizer(
        kind="optax:sgd", learning_rate=0.5, warmup=0, weight_decay=0.0, clip_norm=1e3
    )
    found = after_two_steps(make_optimizer(config, 1000), PARAMS)
    np.testing.assert_allclose(found["bias"], 0.0, atol=1e-4)


def test_gradients_are_clipped_and_the_rate_warms_up():
    peak = {"learning_rate": 0.5, "warmup": 5, "clip_norm": 2.0}
    config = Optimizer(kind="optax:sgd", weight_decay=0.0, **peak)
    found = after_two_steps(make_optimizer(config, 1000), jax.tree.map(lambda x: 9 * x, PARAMS))
    moved = optax.tree.norm(jax.tree.map(jnp.subtract, found, PARAMS))
    np.testing.assert_allclose(moved, (0 + 0.5 / 5) * 2.0, rtol=1e-5)


def test_what_makes_none():
    config = Optimizer(kind="tests.own_methods:no_optimizer", weight_decay=0.0)
    with pytest.raises(ValueError, match="which makes a float, expected an optax.Gradient"):
        make_optimizer(config, 10)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("short_of_state", "whose update returns a state unlike those it gets, at the root"),
        ("short_of_updates", r"returns updates unlike those it gets, at .*: expected the same na"),
    ],
)
def test_updates_unlike_what_they_are_of(kind, why):
    config = Optimizer(kind=f"tests.own_methods:{kind}", weight_decay=0.0)
    with pytest.raises(ValueError, match=why):
        after_two_steps(make_optimizer(config, 10), PARAMS)


def test_one_that_takes_the_rate_for_a_number():
    config = Optimizer(kind="tests.own_methods:halved", weight_decay=0.0)
    with pytest.raises(TypeError) as refused:
        make_optimizer(config, 10)
    assert "learning_rate is a schedule, a function of the step, /" in refused.value.__notes__[0]


def test_one_that_wants_the_loss(small_config, tmp_path, quiet):
    kind = "tests.own_methods:watching(patience=3, cooldown=1)"  # by name and among **others
    config = small_config(optimizer=Optimizer(kind=kind, weight_decay=0.0))
    with pytest.raises(TypeError, match="'value'") as refused:
        train(config, tmp_path / "run", report=quiet)
    assert any("but no value of the loss" in note for note in refused.value.__notes__)
    assert not (tmp_path / "run").exists()


def test_errors_name_the_option(capsys):
    printed = complaint(capsys, "train", "--optimizer.kind", "optax:lions")
    assert "--optimizer.kind: got 'optax:lions', but" in printed


@pytest.mark.parametrize("kind", ["optax.contrib:muon", "optax:adafactor"])
def test_devices_change_nothing(kind):
    """Not even moments that have fewer dimensions than their parameters."""
    decay = 0.0 if kind == "optax:adafactor" else 0.01
    config = Config(
        objective="clip", optimizer=Optimizer(kind=kind, weight_decay=decay), batch_size=8
    )
    plain, split = (
        first_gradient(dataclasses.replace(config, layout=layout))
        for layout in (Layout(data=1), Layout(data=2, fsdp=2))
    )
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 1e-3, 1e-6), split, plain)


@pytest.mark.parametrize(
    ("kind", "decay"),
    [("optax.contrib:muon", 0.01), ("tests.own_methods:noisy(modality='audio')", 0.0)],
)
def test_a_killed_run_goes_on_to_the_same_bits(kind, decay, small_config, tmp_path, quiet):
    optimizer = Optimizer(kind=kind, learning_rate=0.02, weight_decay=decay)
    config = small_config(optimizer=optimizer)
    whole = train(config, tmp_path / "whole", report=quiet)
    train_until(6, config, tmp_path / "killed")
    train(config, tmp_path / "killed", resume=True, report=quiet)
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
    assert load_run(tmp_path / "killed").config == whole.config
