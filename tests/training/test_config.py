import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Annotated

import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.contrast import Engine
from gramalign.training import (
    Clip,
    Config,
    Consistency,
    Gram,
    Layout,
    Model,
    Optimizer,
    Pmrl,
    Simplex,
    Uniformity,
    Validation,
    Vicreg,
    config_from_json,
    config_to_json,
)
from gramalign.training.config_json import differences

OTHER = Config(
    data="somewhere",
    modalities=("text", "audio"),
    objective="gram + 0.3*clip",
    settings={"gram": Gram(anchor="text"), "pmrl": Pmrl(signed=False)},
    optimizer=Optimizer(learning_rate=3e-4),
    seed=7,
)


@pytest.mark.parametrize("config", [Config(), OTHER])
def test_json_there_and_back(config):
    assert config_from_json(config_to_json(config)) == config


def test_places_may_be_paths(unchecked):
    config = Config(data=Path("a/b"), start_from=Path("c"))  # pyright: ignore
    assert (config.data, config.start_from) == ("a/b", "c")
    assert config_from_json(config_to_json(config)) == config


def test_numbers_of_numpy_and_lists_are_as_good(unchecked):
    config = Config(
        seed=np.int64(3),  # pyright: ignore
        modalities=["a", "b"],  # pyright: ignore
        settings={"gram": Gram(temperature=np.float32(0.5))},  # pyright: ignore
        steps=1e3,  # pyright: ignore
        layout=Layout(rules=[["kernel$", "fsdp,-"]]),  # pyright: ignore
        optimizer=Optimizer(learning_rate=np.float64(0.25)),
    )
    plain = Config(
        seed=3,
        modalities=("a", "b"),
        settings={"gram": Gram(temperature=0.5)},
        steps=1000,
        layout=Layout(rules=(("kernel$", "fsdp,-"),)),
        optimizer=Optimizer(learning_rate=0.25),
    )
    assert config == plain and config_to_json(config) == config_to_json(plain)
    assert hash(config) == hash(plain)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"steps": 9.5}, r"Config.steps is 9.5, expected a whole number"),
        ({"batch_size": True}, r"Config.batch_size is True, expected a whole number"),
        ({"microbatch": "8"}, r"Config.microbatch is '8', expected a whole number"),
        ({"objective": 5}, r"Config.objective is 5, expected a string"),
        ({"augment": 5}, r"Config.augment is 5, expected a string or None"),
        ({"modalities": "text"}, r"Config.modalities is 'text', expected a tuple"),
        ({"model": {"dim": 32}}, r"Config.model is {'dim': 32}, expected Model\(...\)"),
        ({"data": {"text": np.ones(9)}}, r"Config.data is of type dict, .* np.savez"),
    ],
)
def test_what_a_field_is_not_for(wrong, message, unchecked):
    with pytest.raises(ValueError, match=message):
        Config(**wrong)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Optimizer(learning_rate="1"), "Optimizer.learning_rate is '1', expected a number"),
        (lambda: Optimizer(learning_rate=True), "learning_rate is True, expected a number"),
        (lambda: Optimizer(clip_norm=None), "Optimizer.clip_norm is None, expected a number"),
        (lambda: Model(remat="no"), "Model.remat is 'no', expected True or False"),
        (lambda: Config(model=[0] * 999), "Config.model is a list, expected"),
        (lambda: Gram(temperature="0.07"), "Gram.temperature is '0.07', expected a number"),
        (lambda: Uniformity(t=None), "Uniformity.t is None, expected a number"),
        (
            lambda: Gram(temperature=math.inf),
            "Gram.temperature is inf, expected a positive, finite",
        ),
        (
            lambda: Gram(form="cube"),
            "Gram.form is 'cube', expected volume or squared or log or root",
        ),
        (lambda: Gram(anchor=3), "Gram.anchor is 3, expected"),
        (lambda: Vicreg(variance=-1.0), "Vicreg.variance is -1.0, expected finite, at least 0"),
        (lambda: Vicreg(covariance=math.inf), "Vicreg.covariance is inf, expected finite"),
        (lambda: Consistency(in_modal=-1.0), "Consistency.in_modal is -1.0, expected fin"),
        (lambda: Layout(rules=((1, 2),)), "Layout.rules is"),
        (lambda: Config(on_bad_record="bogus"), "on_bad_record is 'bogus', expected error or skip"),
        (lambda: Config(settings=[]), "Config.settings is .*, expected a mapping"),
        (lambda: Gram(learn_temperature=1), "Gram.learn_temperature is 1, expected True or False"),
    ],
)
def test_what_a_field_of_a_part_is_not_for(make, message, unchecked):
    with pytest.raises(ValueError, match=message):
        make()


def test_numbers_of_arrays_are_numbers(unchecked):
    config = Config(
        engine=Engine(tile=np.int64(16)),
        optimizer=Optimizer(learning_rate=jnp.float32(0.5)),
    )
    assert config_from_json(config_to_json(config)) == config
    assert (config.engine.tile, config.optimizer.learning_rate) == (16, 0.5)


@pytest.mark.parametrize("text", ["[]", "null", '{"model": null}', '{"settings": ["gram"]}'])
def test_json_that_is_no_object_where_one_is_wanted(text, unchecked):
    with pytest.raises(ValueError, match="config: .* expected an object"):
        config_from_json(text)


def test_json_may_leave_out_what_is_default():
    assert config_from_json('{"model": {"dim": 32}}') == Config(model=Model(dim=32))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"stepz": 3}', "stepz"),
        ('{"model": {"depths": 3}}', r"model\.depths"),
        ('{"settings": {"grim": {}}}', r"settings\.grim"),
        ('{"settings": {"gram": {"tau": 1}}}', r"settings\.gram\.tau"),
    ],
)
def test_unknown_fields_are_named(text, name):
    with pytest.raises(ValueError, match=f"unknown {name}; known there:"):
        config_from_json(text)


def test_json_holds_the_defaults():
    found = json.loads(config_to_json(Config(objective="clip")))
    assert found["optimizer"]["weight_decay"] == 1e-2
    assert found["settings"] == {"clip": dataclasses.asdict(Clip())}


def test_settings_that_are_left_out_are_the_defaults():
    gram = Gram(temperature=0.2)
    config = Config(objective="clip + gram", settings={"gram": gram})
    assert config.terms == {"clip": Clip(), "gram": gram}
    same = Config(objective="clip + gram", settings={"clip": Clip(), "gram": gram})
    assert config == same and hash(config) == hash(same)
    assert config != Config(objective="clip + gram")


def test_settings_of_other_terms_are_kept_and_make_no_difference():
    kept = Config(settings={"clip": Clip(anchor="c")}, modalities=("a", "b"))
    assert kept.terms == {"gram": Gram()} and kept.settings["clip"].anchor == "c"
    assert dataclasses.replace(kept, steps=200).settings == kept.settings
    assert differences(kept, Config(modalities=("a", "b"))) == []
    with pytest.raises(ValueError, match="Clip.anchor is 'c'"):
        dataclasses.replace(kept, objective="clip")


def test_one_place_may_be_called_by_two_names(tmp_path, monkeypatch):
    (tmp_path / "store").mkdir()
    monkeypatch.chdir(tmp_path)
    near, far = Config(data="store"), Config(data=str(tmp_path / "store"))
    assert differences(near, far) == []
    monkeypatch.chdir(tmp_path / "store")
    assert differences(near, far) and differences(Config(data="../store"), far) == []
    near, far = Config(start_from="../store/"), Config(start_from=str(tmp_path / "store"))
    assert differences(near, far) == []
    weights = Config(start_from="params.safetensors")
    assert differences(weights, far), "as it is gone"
    (tmp_path / "store" / "params.safetensors").touch()
    assert differences(weights, far) == differences(far, weights) == []
    for other in (Config(), Config(start_from=str(tmp_path))):
        assert differences(other, far) and differences(far, other, moved=True)


@pytest.mark.parametrize(
    "before, after, same",
    [
        ("old", "new", True),
        ("here", "new", False),
        ("digits", "new", False),
        ("old", "digits", False),
        ("0.7*old + here", "0.7*new + ./here", True),
        ("0.7*old + here", "0.6*new + here", False),
        ("0.7*old + here", "0.7*new", False),
        ("old + here", "here + new", False),
    ],
)
def test_data_may_have_moved_from_where_nothing_is(before, after, same, tmp_path, monkeypatch):
    for name in ("here", "new"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    old, new = Config(data=before), Config(data=after)
    assert differences(old, new)
    assert (differences(old, new, moved=True) == []) == same


def test_differences_are_named_by_path():
    found = differences(Config(), OTHER)
    assert "optimizer.learning_rate: 0.002 -> 0.0003" in found
    assert "gram.anchor: None -> 'text'" in found
    assert len(found) == 6
    assert differences(OTHER, OTHER) == []


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Config(steps=-1, optimizer=Optimizer(warmup=0)), "Config.steps is -1, expected a"),
        (lambda: Config(data={"a": 1}), r"Config.data is .* np.savez\(path"),  # pyright: ignore
        (lambda: Config(batch_size=1), "Config.batch_size is 1, expected at least 2"),
        (
            lambda: Config(steps=100, optimizer=Optimizer(warmup=100)),
            "warmup is 100, expected fewer than Config.steps, which is 100",
        ),
        (
            lambda: Config(modalities=("a",)),
            r"Config.modalities is \('a',\), expected at least two",
        ),
        (lambda: Config(modalities=("a", "a")), "Config.modalities is .* at least two different"),
        (lambda: Config(seed=-1), "Config.seed is -1"),
        (lambda: Config(seed=2**32), "Config.seed is 4294967296"),
        (lambda: Validation(rows=1), "Validation.rows is 1, expected at least 2"),
        (lambda: Config(workers=-1), "Config.workers is -1, expected at least 0"),
        (lambda: Config(objective="grim"), "unknown term 'grim'"),
        (
            lambda: Config(modalities=("a", "b"), settings={"gram": Gram(anchor="c")}),
            "Gram.anchor is 'c', expected None or one of a, b",
        ),
        (
            lambda: Config(settings={"grim": Gram()}),
            "settings: unknown term 'grim'; .* gram, log_volume",
        ),
        (
            lambda: Config(settings={"gram": Clip()}),
            r"settings\['gram'\] is Clip.*, expected Gram\(\.\.\.\)",
        ),
        (lambda: Model(dropout=1.0), "Model.dropout is 1.0, expected a rate in"),
        (lambda: Model(depth=-1), "Model.depth is -1, expected at least 0"),
        (
            lambda: Optimizer(clip_norm=0.0),
            "Optimizer.clip_norm is 0.0, expected a positive number",
        ),
        (lambda: Gram(temperature=0.0), "Gram.temperature is 0.0, expected a positive, finite"),
        (lambda: Clip(temperature=2.0, learn_temperature=True), "2.0, expected a start within"),
        (lambda: Gram(label_smoothing=1.0), "Gram.label_smoothing is 1.0"),
        (lambda: Pmrl(tau_instance=-1.0), "Pmrl.tau_instance is -1.0, expected a positive number"),
    ],
)
def test_bad_values_name_field_got_and_wanted(build, message, unchecked):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_share_of_the_largest_simplex_fits_any_number_of_modalities():
    told = "simplex: the volume of 6 modalities is at most 0.032, .* of 0.03 .*: set simplex.scaled"
    assert re.match(told, Simplex().doubt(tuple("abcdef")))
    for fine in (Simplex(scaled=True), Simplex(temperature=0.01)):
        assert not fine.doubt(tuple("abcdef"))
    assert not Simplex().doubt(tuple("abcde"))
    assert Simplex(squared=True).doubt(tuple("abcde"))
    assert Simplex(scaled=True).score == "simplex(scaled=True)"


def test_fields_of_a_subclass_are_bounded_as_those_of_its_base(unchecked):
    @dataclasses.dataclass(frozen=True)
    class Mine(Vicreg):
        invariance: float = 10.0
        number: Annotated[int | None, "of something"] = None

    assert Mine(number=2).number == 2 and Mine().number is None
    with pytest.raises(ValueError, match=r"Mine.invariance is -1.0, expected finite, at least 0"):
        Mine(invariance=-1.0)
    with pytest.raises(ValueError, match=r"Mine.number is 'a', expected a whole number or None"):
        Mine(number="a")


def test_the_last_values_that_are_right():
    least = {"batch_size": 2, "microbatch": 1, "steps": 1, "checkpoint_every": 1, "log_every": 1}
    of_parts = {"model": Model(dropout=0.0), "optimizer": Optimizer(warmup=0, weight_decay=0.0)}
    of_parts |= {"validation": Validation(every=1, patience=1, rows=2), "layout": Layout(data=1)}
    config = Config(seed=2**32 - 1, keep_checkpoints=1, max_skips=0, **least, **of_parts)
    assert config_from_json(config_to_json(config)) == config
    for edge in (0.01, 1.0):
        assert Clip(temperature=edge, learn_temperature=True).numbers()


def test_a_fixed_temperature_may_lie_outside_the_bounds_of_a_learned_one():
    assert Clip(temperature=2.0).numbers() == {}


def test_a_warm_up_that_is_not_given_fits_the_run():
    found = {n: Optimizer().warmup_of(n) for n in (1, 7, 40, 400, 9000)}
    assert found == {1: 0, 7: 1, 40: 10, 400: 100, 9000: 100}
    assert Optimizer(warmup=3).warmup_of(9000) == 3 and Config(steps=1).steps == 1


def test_what_may_change_when_a_run_goes_on():
    old = Config()
    changes = {"workers": 2, "on_bad_record": "skip", "max_skips": 99, "checkpoint_every": 7}
    changes |= {"microbatch": 4, "model": Model(remat=True), "engine": Engine("ring", 8, "pallas")}
    new = dataclasses.replace(old, layout=Layout(fsdp=2), **changes)
    assert differences(old, new) == []
    assert differences(old, dataclasses.replace(new, steps=7000)) == ["steps: 1000 -> 7000"]


def test_what_may_not():
    changes = {
        **{"objective": "clip", "steps": 7000, "batch_size": 8, "seed": 1},
        **{"modalities": ("a", "b"), "augment": "a:b", "start_from": "runs/a", "log_every": 1},
        **{"model": Model(dropout=0.5), "optimizer": Optimizer(clip_norm=2.0)},
        **{
            "engine": Engine(precision="bfloat16"),
            "validation": Validation(every=9),
            "freeze": ("a",),
        },
    }
    old = Config(start_from="runs/b")
    for name, value in changes.items():
        new = dataclasses.replace(old, **{name: value})
        (line,) = differences(old, new)
        assert line.startswith((f"{name}:", f"{name}."))
    free = {"layout", "microbatch", "workers", "on_bad_record", "max_skips", "checkpoint_every"}
    free |= {"keep_checkpoints", "writers"}
    of_their_own = {"data", "settings"}
    assert {x.name for x in dataclasses.fields(Config)} == {*changes, *free, *of_their_own}
