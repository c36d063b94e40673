"""Learning rates of their own, for parameters that rules name."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from gramalign.training import Layout, Optimizer, load_run, train
from gramalign.training.layout import mesh_of
from gramalign.training.optimizer import make_optimizer
from gramalign.training.params_file import named
from gramalign.training.rates import check_rules
from gramalign.training.start import Start, make_programs
from tests.complaint import complaint
from tests.training.commands import assert_same_run, train_until

PARAMS = {
    "encoder": {"text": {"kernel": jnp.full((2, 3), 2.0), "bias": jnp.ones(3)}},
    "learned": {"scale": jnp.ones(())},
}
RATES = ((r"text\.bias", 3.0), ("text", 0.1))


def moved(config):
    """How far two steps go, from the same parameters and gradients."""
    tx = make_optimizer(config, 10)
    grads = jax.tree.map(lambda x: jnp.linspace(1, 2, x.size).reshape(x.shape), PARAMS)
    state, total = tx.init(PARAMS), jax.tree.map(jnp.zeros_like, PARAMS)
    for _ in range(2):
        updates, state = tx.update(grads, state, PARAMS)
        total = jax.tree.map(jnp.add, total, updates)
    return total


@pytest.mark.parametrize("kind", ["optax:adamw", "optax:lion"])
def test_each_moves_by_its_own_rate_and_decays_by_it(kind):
    config = Optimizer(kind=kind, warmup=0, weight_decay=0.3, rates=RATES)
    found, wanted = moved(config), moved(dataclasses.replace(config, rates=()))
    factors = {"encoder": {"text": {"kernel": 0.1, "bias": 3}}, "learned": {"scale": 1}}
    for one, other, factor in zip(*map(jax.tree.leaves, (found, wanted, factors)), strict=True):
        np.testing.assert_allclose(one, factor * other, rtol=1e-6)
    # It is what the whole run would do at that rate.
    slow = moved(dataclasses.replace(config, rates=(), learning_rate=0.1 * config.learning_rate))
    kernels = (x["encoder"]["text"]["kernel"] for x in (found, slow))
    np.testing.assert_allclose(*kernels, rtol=1e-6)


@pytest.mark.parametrize(
    ("rates", "why"),
    [
        ((("audio", 0.1),), "Optimizer.rates has 'audio', of no parameter; there are encoder.te"),
        ((("text", 0.1), ("bias", 2.0)), "has 'bias', whose parameters all match rules before it"),
    ],
)
def test_a_rule_that_changes_nothing_is_refused(rates, why):
    with pytest.raises(ValueError, match=why):
        check_rules([name for name, _ in named(PARAMS)], rates)


@pytest.mark.parametrize(
    ("rates", "why"),
    [
        ((("(", 0.1),), r"Optimizer.rates: '\(' is not a regular expression"),
        ((("text", -0.1),), "Optimizer.rates: got -0.1 for 'text', expected a number, at least 0"),
        ((("text", float("inf")),), "Optimizer.rates: got inf for 'text'"),
        (("text", 0.1), "Optimizer.rates is .*, expected a tuple, each a tuple of a string and a"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_rates_that_are_none_are_refused(rates, why):
    with pytest.raises(ValueError, match=why):
        Optimizer(rates=rates)


def test_a_run_keeps_its_rates_and_a_wrong_one_leaves_no_folder(small_config, tmp_path, quiet):
    config = small_config(steps=4)
    config = dataclasses.replace(
        config, optimizer=dataclasses.replace(config.optimizer, rates=(("towers.text", 1e-6),))
    )
    run = train(config, tmp_path / "run", report=quiet)
    assert load_run(tmp_path / "run").config == config
    log = [line for line in (run.folder / "metrics.jsonl").read_text().splitlines() if line]
    assert "grad_norm/text" in log[-1]  # it is trained, if slowly
    wrong = dataclasses.replace(config.optimizer, rates=(("towers.tent", 0.1),))
    with pytest.raises(ValueError, match=r"rates has 'towers.tent', of no parameter; there are"):
        train(dataclasses.replace(config, optimizer=wrong), tmp_path / "other", report=quiet)
    assert not (tmp_path / "other").exists()


@pytest.fixture(scope="module")
def config(small_config):
    config = small_config()
    rates = (("towers.text", 0.1), ("numbers", 2.0))
    return dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, rates=rates))


def test_a_run_with_rates_resumes_to_the_same_bits(config, whole, tmp_path, quiet):
    train_until(6, config, tmp_path)
    other = dataclasses.replace(config.optimizer, rates=(("towers.text", 0.1),))
    with pytest.raises(ValueError, match="rates"):
        train(dataclasses.replace(config, optimizer=other), tmp_path, resume=True, report=quiet)
    train(config, tmp_path, resume=True, report=quiet)
    assert_same_run(tmp_path, whole)


@pytest.mark.slow
def test_rates_are_the_same_in_every_layout(config, whole, tmp_path, quiet):
    layout = Layout(data=2, fsdp=2, model=2)
    train(dataclasses.replace(config, layout=layout), tmp_path, report=quiet)
    found, wanted = (load_file(run / "params.safetensors") for run in (tmp_path, whole))
    for name, x in wanted.items():
        np.testing.assert_allclose(found[name], x, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def partly(config):
    """The text's linear path stays as it begins, and so does its temperature."""
    rates = ((r"text\.linear", 0.0), ("numbers", 0.0), ("text", 0.5))
    return dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, rates=rates))


def test_what_has_a_rate_of_0_stays_and_has_no_moments(partly, tmp_path, quiet):
    config = dataclasses.replace(partly, seed=3)
    found = load_file(train(config, tmp_path / "run", report=quiet).folder / "params.safetensors")
    still = dataclasses.replace(config, optimizer=Optimizer(learning_rate=1e-12))
    begun = load_file(train(still, tmp_path / "still", report=quiet).folder / "params.safetensors")
    for name, x in found.items():
        untrained = "standardize" in name or "text.linear" in name or "numbers" in name
        assert np.allclose(x, begun[name], rtol=1e-6, atol=1e-9) == untrained, name
    fixed = load_file(tmp_path / "run" / "fixed.safetensors").keys()
    named_so = {name for name in found if "text.linear" in name or "numbers" in name}
    assert named_so and {name for name in fixed if "standardize" not in name} == named_so
    less = learned_numbers(still) - learned_numbers(config)
    assert less == 3 * sum(found[name].size for name in named_so)  # with Adam's two moments


def learned_numbers(config):
    """How many numbers the state holds, without counts and keys."""
    dims = {"text": 10, "audio": 7}
    start = Start(config, dims, {}, make_programs(config, dims, mesh_of(config.layout)))
    leaves = jax.tree.leaves((start.abstract.params, start.abstract.opt_state))
    return sum(x.size for x in leaves if jnp.issubdtype(x.dtype, jnp.floating))


def test_a_run_with_a_rate_of_0_resumes_to_the_same_bits(partly, tmp_path, quiet):
    train(partly, tmp_path / "whole", report=quiet)
    train_until(6, partly, tmp_path / "run")
    fixed = tmp_path / "run" / "fixed.safetensors"
    fixed.rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError, match="fixed.safetensors is missing, which holds what"):
        train(partly, tmp_path / "run", resume=True, report=quiet)
    whole = (tmp_path / "away").read_bytes()
    fixed.write_bytes(whole[:-1] + bytes([whole[-1] ^ 64]))
    with pytest.raises(ValueError, match="fixed.safetensors is damaged: its arrays are not what w"):
        train(partly, tmp_path / "run", resume=True, report=quiet)
    (tmp_path / "away").rename(fixed)
    train(partly, tmp_path / "run", resume=True, report=quiet)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_run_that_starts_from_another_may_leave_all_of_it(partly, whole, tmp_path, quiet):
    rates = (("encoder", 0.0),)
    optimizer = dataclasses.replace(partly.optimizer, rates=rates)
    config = dataclasses.replace(partly, optimizer=optimizer, start_from=str(whole))
    with pytest.raises(ValueError, match="nothing is left to train but learned numbers"):
        train(config, tmp_path / "run", report=quiet)
    assert not (tmp_path / "run").exists()
    config = dataclasses.replace(config, objective="matching", settings={})
    found = load_file(train(config, tmp_path / "run", report=quiet).folder / "params.safetensors")
    for name, x in load_file(whole / "params.safetensors").items():
        if name.startswith("encoder"):
            np.testing.assert_array_equal(found[name], x)


def test_a_frozen_tower_has_no_rate(config, whole, tmp_path, quiet):
    frozen = dataclasses.replace(config, start_from=str(whole), freeze=("text",))
    with pytest.raises(ValueError, match=r"rates has 'towers.text', of no parameter; there are"):
        train(frozen, tmp_path / "run", report=quiet)


def test_the_command_line_takes_pairs(capsys, tmp_path):
    options = ("--optimizer.rates", "towers.text", "0.1", "numbers")
    assert "--optimizer.rates" in complaint(capsys, "train", *options)
    out = tmp_path / "run"
    refused = ("--optimizer.rates", "towers.sums", "0.1", "nothing", "2", "--out", str(out))
    assert "Optimizer.rates has 'nothing', of no" in complaint(capsys, "train", *refused)
    assert not out.exists()
