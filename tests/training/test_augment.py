"""Functions that change examples as they come."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.training import Layout, train
from gramalign.training.augment import augmented, load_augment
from gramalign.training.metrics import read_metrics
from gramalign.training.run_folder import RunFolder
from tests.training.commands import train_until

HOOKS = """
import jax

def noisy(key, features, present):
    return {m: x + jax.random.normal(key, x.shape) for m, x in features.items()}, present

def same(key, features, present):
    return features, present

def hidden(key, features, present):
    return features, present | {"audio": present["audio"] & jax.random.bernoulli(key, 0.5)}

def gone(key, features, present):
    return features, {m: there & False for m, there in present.items()}

def wrong(key, features, present):
    return {m: x[1:] for m, x in features.items()}, present

def halves(key, features, present):
    return {m: x.astype("float16") for m, x in features.items()}, present

def numbered(key, features, present):
    return features, {m: there.astype(int) for m, there in present.items()}

def of_two(key, features):
    return features, {}

number = 3
"""


@pytest.fixture(scope="module")
def hooks(tmp_path_factory):
    path = tmp_path_factory.mktemp("hooks") / "hooks.py"
    path.write_text(HOOKS)
    return path


@pytest.fixture(scope="module")
def losses(hooks, small_config, tmp_path_factory, quiet):
    """Returns a function from a hook to the losses of a run with it."""

    @functools.cache
    def run(name, devices=1):
        augment = name and f"{hooks}:{name}"
        folder, layout = tmp_path_factory.mktemp("run"), Layout(data=devices)
        config = small_config(augment=augment, layout=layout, steps=4, log_every=1)
        train(config, folder, report=quiet)
        return [row["loss"] for row in read_metrics(folder / "metrics.jsonl")]

    return run


def test_each_example_draws_its_own():
    def noise(key, features, present):
        return {name: jax.random.normal(key, x.shape) for name, x in features.items()}, present

    of = {"a": jnp.zeros((4, 3))}, {"a": jnp.ones(4, bool)}
    found, _ = augmented(noise, jax.random.key(0), *of)
    assert len(np.unique(found["a"])) == 12


@pytest.mark.slow
def test_examples_are_changed_the_same_on_any_number_of_devices(losses):
    plain, noisy = losses(None), losses("noisy")
    assert losses("same") == plain
    assert np.abs(np.subtract(noisy, plain)).min() > 1e-3
    np.testing.assert_allclose(losses("noisy", devices=4), noisy, rtol=1e-4)


def test_a_modality_may_be_hidden(losses):
    hidden = losses("hidden")
    assert np.isfinite(hidden).all() and hidden != losses(None)


def test_where_nothing_is_left_to_learn_from(losses, caplog):
    assert not any(losses("gone"))
    (record,) = caplog.records
    assert "step 1: the gradient is 0, so nothing is learned" in record.getMessage()
    assert "hide every modality, are all rows of one group" in record.getMessage()


@pytest.mark.parametrize(
    "name, what",
    [
        ("wrong", "augment returns .* expected \\(features, present\\)"),
        ("halves", "augment returns .*float16.* as given: .*float32"),
        ("numbered", "augment returns .*int32.* as given: .*bool"),
        ("of_two", "augment failed, TypeError: .*of_two.* called with \\(key, features, present"),
        ("none", "hooks.py has no 'none'"),
        ("number", "expected a function"),
    ],
)
def test_what_is_no_such_function_is_refused(name, what, hooks, small_config, tmp_path):
    with pytest.raises(ValueError, match=what):
        train(small_config(augment=f"{hooks}:{name}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["noise", "no_module:noise", "no.py:noise"])
def test_names_of_nothing(name):
    with pytest.raises(ValueError, match=f"augment.* {name!r}"):
        load_augment(name)


@pytest.mark.parametrize(
    ("line", "kind"),
    [("{}['missing']", KeyError), ("open('missing')", FileNotFoundError), ("int('x')", ValueError)],
)
def test_what_a_file_raises_is_its_own(line, kind, tmp_path):
    path = tmp_path / "raising.py"
    path.write_text(f"import os\n{line}\ndef noisy(key, features, present): ...\n")
    with pytest.raises(kind, match="missing|'x'") as caught:
        load_augment(f"{path}:noisy")
    assert caught.value.__notes__ == [f"That was in augment {path}:noisy, {path}:2"]


def test_a_file_that_moves_while_its_run_is_stopped(small_config, tmp_path, quiet):
    path = tmp_path / "hooks.py"
    path.write_text(HOOKS)
    config = small_config(augment=f"{path}:noisy", steps=4, checkpoint_every=2)
    train_until(4, config, tmp_path / "run")
    (tmp_path / "other").mkdir()
    path = path.rename(tmp_path / "other" / "hooks.py")
    moved = dataclasses.replace(config, augment=f"{path}:noisy")
    other = dataclasses.replace(config, augment=f"{path}:same")
    with pytest.raises(ValueError, match=r"another config .*: augment: .*:noisy' -> .*:same'"):
        train(other, tmp_path / "run", resume=True, report=quiet)
    train(moved, tmp_path / "run", resume=True, report=quiet)
    assert RunFolder(tmp_path / "run").saved_config() == moved
    path.unlink()
    assert train(moved, tmp_path / "run", resume=True).step == 4, "finished, so not read again"


def test_of_a_module():
    assert load_augment("dataclasses:replace") is dataclasses.replace
