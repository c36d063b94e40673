"""Terms of your own, named by where they are, are terms like those here."""

import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

from gramalign.cli import main
from gramalign.cli.again import command_of
from gramalign.cli.options import options
from gramalign.evaluation import evaluate
from gramalign.training import (
    Clip,
    Config,
    Layout,
    config_from_json,
    config_to_json,
    load_run,
    term_named,
    train,
)
from gramalign.training.config_json import differences
from gramalign.training.rows import chosen_rows
from tests.complaint import complaint
from tests.own_methods import Sharp, hinge
from tests.training.one_step import first_gradient

HINGE = "tests.own_methods:hinge"
OPTION = "--tests.own-methods:hinge"
SHARP = "tests.own_methods:Sharp"


def test_settings_of_a_loss_are_its_arguments():
    term = term_named(HINGE)
    assert term is term_named(HINGE)
    assert term().settings() == {"margin": 0.2, "power": 2.0, "anchor": None, "kind": "up"}
    assert term(margin=1).margin == 1 and term(anchor="a").anchor == "a"
    embeddings = {"a": np.eye(3, dtype=np.float32), "b": np.eye(3, dtype=np.float32)[::-1]}
    given = {"present": None, "groups": None, "axis_name": None}
    found = term(margin=0.5, power=1.0)(embeddings, **given)
    np.testing.assert_allclose(found, [2**0.5 - 0.5, 0, 2**0.5 - 0.5], rtol=1e-6)
    for settings, wanted in (
        ({"margin": "far"}, "hinge.margin is 'far', expected a number"),
        ({"kind": "left"}, "hinge.kind is 'left', expected up or down"),
    ):
        with pytest.raises(ValueError, match=wanted):
            term(**settings)


def test_settings_are_found_whatever_wraps_or_types_them():
    """One type that is not there hides no other, nor does a partial or jit."""
    settings = {"margin": None, "kind": "up", "scale": np.log(2.0)}
    for name, wanted in (("quoted", settings), ("bound", settings | {"scale": 2.0})):
        term = term_named(f"tests.own_methods:{name}")
        assert term().settings() == wanted and term.__doc__ == "Quoted types."
        assert type(term().scale) is float and term(margin=1).margin == 1
        with pytest.raises(ValueError, match=rf"own_methods:{name}.kind is 'left', expected up or"):
            term(kind="left")
        with pytest.raises(ValueError, match="scale is nan, expected a number"):
            term(scale=float("nan"))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nowhere:hinge", "there is no module 'nowhere': install it, or set PYTHONPATH"),
        (
            "mine.py:hinge",
            "file: write mine:hinge, with PYTHONPATH set to the folder that holds mi",
        ),
        ("tests.nowhere:hinge", "there is no module 'tests.nowhere'"),
        ("tests.own_methods:nothing", "own_methods.py has no 'nothing'"),
        ("tests.own_methods:", "expected package.module:name"),
        (":hinge", "is not a term"),
        ("a:b:c", "there is no module 'a'"),
        ("math:pi", "expected a loss"),
        ("tests.own_methods:Unlike", "expected a loss"),
        ("tests.own_methods:Loose", "no frozen dataclass"),
        ("tests.own_methods:without_default", "needs margin: give the argument a default"),
        ("tests.own_methods:named_badly", "has an argument 'score': rename it"),
        ("tests.own_methods:learning", "has an argument 'learn_margin': rename it"),
        ("tests.own_methods:covering", "has an argument 'loss': rename it"),
        ("tests.own_methods:by_place", "takes margin by position alone: move it behind the /"),
        ("tests.own_methods:by_name", "takes no embeddings as its first argument"),
        ("tests.own_methods:misplaced", "takes no embeddings as its first argument"),
        ("tests.own_methods:changing", "expected what is hashable, such as a function"),
        ("tests.own_methods:Lossless", r"has no loss: write loss = staticmethod\(...\) in it"),
        ("tests.own_methods:Bound", r"would pass itself to its loss: write loss = staticmethod"),
        ("tests.own_methods:Needy", "needs power: give the field a default"),
        ("tests.own_methods:Astray", "Astray: its score: got .* but .*py has no 'Stepp'"),
        ("tests.own_methods:Direct", "Direct: its score is <class .*, expected a name, such as"),
        ("sys:nothing", "the module sys has no 'nothing'$"),
        ("__main__:nothing", "has no 'nothing'; what a notebook .* move it into a module"),
        ("math:tau.real", "expected a loss"),
        ("os:getpid", "takes no embeddings"),
        ("builtins:iter", "takes no embeddings"),
    ],
)
def test_what_is_no_term(name, why):
    with pytest.raises(ValueError, match=why):
        Config(objective=f"clip + 0.1*{name}")


def test_what_a_module_itself_lacks_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "needy.py").write_text("import not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_installed"):
        Config(objective="needy:loss")


def test_a_loss_that_was_changed_is_another_term(monkeypatch):
    """As in a notebook, whose module is `__main__`."""
    before = term_named(HINGE)
    monkeypatch.setattr(sys.modules["tests.own_methods"], "hinge", lambda embeddings, *, a=1: a)
    assert term_named(HINGE)().settings() == {"a": 1}
    with pytest.raises(ValueError, match=r"is .*hinge\(margin.*hinge\(...\) as it is defined now"):
        Config(settings={HINGE: before()})
    monkeypatch.undo()
    assert term_named(HINGE) is before


def test_a_loss_may_be_a_method_of_its_term():
    eye = {m: np.eye(2, dtype=np.float32) for m in "ab"}
    assert (Config(objective="tests.own_methods:Method").terms.popitem()[1](eye) == 0).all()


def test_a_config_keeps_them():
    config = Config(
        objective=f"{HINGE} + clip + 2*{SHARP}", settings={HINGE: term_named(HINGE)(margin=0.3)}
    )
    assert list(config.settings) == ["clip", SHARP, HINGE]  # ours first, whatever the objective
    assert list(config.weights) == [HINGE, "clip", SHARP]
    assert config_from_json(config_to_json(config)) == config
    other = replace(config, settings={**config.settings, HINGE: term_named(HINGE)()})
    assert differences(config, other) == [f"{HINGE}.margin: 0.3 -> 0.2"]
    for text in (config_to_json(config).replace('"margin"', '"marign"'),):
        with pytest.raises(ValueError, match=f"unknown settings.{HINGE}.marign; known there: mar"):
            config_from_json(text)
    with pytest.raises(ValueError, match=r"expected tests.own_methods:hinge\("):
        Config(settings={HINGE: Clip()})


def test_options():
    config = options(Config(objective=HINGE), [HINGE], [f"--{HINGE}.margin", "1"])
    assert config.terms == {HINGE: term_named(HINGE)()}
    with pytest.raises(ValueError, match="belongs to a term that is not in any objective: clip"):
        options(Config(objective="clip"), ["clip"], [f"--{HINGE}.margin", "1"])


def test_help_tells_of_a_loss_what_its_docstring_does(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--objective", HINGE, "--help"])
    printed = " ".join(capsys.readouterr().out.replace("\u2502", " ").split())
    assert "How far modalities are apart, beyond a margin." in printed
    assert f"{OPTION}.margin FLOAT that costs nothing. (default: 0.2)" in printed


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["whole", "over_axis"])
def test_devices_change_nothing(loss):
    """Whether a loss knows of their axis or leaves its division to the compiler."""
    config = Config(objective=f"tests.own_methods:{loss}", batch_size=8)
    plain = first_gradient(replace(config, objective="clip", layout=Layout(data=1)))
    for layout in (Layout(data=1), Layout(data=4), Layout(data=2, fsdp=2)):
        found = first_gradient(replace(config, layout=layout))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 1e-4, 1e-7), found, plain)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("loss", "why"),
    [
        ("mean", r"own_methods:mean must return one value .* \(8,\), got shape \(\)"),
        ("pair", r"own_methods:pair must return one value .* \(8,\), got a tuple"),
        ("count", "own_methods:count must return floating-point values, got bool, which has no"),
    ],
)
def test_a_loss_must_return_a_value_per_example(loss, why):
    with pytest.raises(ValueError, match=why):
        first_gradient(Config(objective=f"tests.own_methods:{loss}", batch_size=8))


@pytest.mark.usefixtures("unchecked")
def test_mistakes_show_before_the_folder_is_touched(small_config, tmp_path):
    config = small_config(objective="tests.own_methods:mean", settings={})
    with pytest.raises(ValueError, match="own_methods:mean must return one value"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_without_masks_is_not_for_gaps(tmp_path):
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    np.savez(tmp_path / "whole.npz", a=rows, b=rows)
    np.savez(tmp_path / "gaps.npz", a=rows, b=rows, **{"present.a": np.arange(20) > 2})
    blind = Config(data=str(tmp_path / "whole.npz"), objective="tests.own_methods:blind")
    chosen_rows(blind)
    for wrong in (
        replace(blind, data=str(tmp_path / "gaps.npz")),
        replace(blind, augment="noise.py:noisy"),
    ):
        with pytest.raises(ValueError, match="blind must take present"):
            chosen_rows(wrong)
    chosen_rows(replace(blind, data=str(tmp_path / "gaps.npz"), objective=HINGE))


@pytest.mark.slow
def test_a_run_from_its_options_to_its_figures(tmp_path, capsys):
    """Trained, loaded, evaluated by the term's own Score, and repeated by the command it tells."""
    out = tmp_path / "run"
    words = ["train", "--objective", f"{SHARP} + 0.5*{HINGE}", f"--{HINGE}.margin", "0.1"]
    words += ["--steps", "3", "--optimizer.warmup", "1", "--log-every", "3"]
    main([*words, "--out", str(out)])
    printed = capsys.readouterr().out
    assert "under tests.own_methods:Steep(factor=3.0)" in printed
    run = load_run(out)
    assert run.config.terms[HINGE].settings()["margin"] == 0.1
    assert run.config.terms[SHARP] == Sharp() and hinge is type(run.config.terms[HINGE]).loss
    log = (out / "metrics.jsonl").read_text()
    assert f'"loss/{HINGE}"' in log and f'"temperature/{SHARP}"' in log
    assert f"{OPTION}.margin 0.1" in command_of(run.config, tmp_path)
    main(["evaluate", str(out), "--score", "tests.own_methods:Steep( factor=1.0 )"])
    assert "tests.own_methods:Steep and" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        main([*words, "--out", str(out), "--resume", f"--{HINGE}.margin", "0.2"])


def test_a_score_of_your_own_is_trained_by_name():
    text = "tests.own_methods:Steep(factor=2.0)"
    term = Clip(of=text.replace("=", " = "))
    assert term.of == term.score == text
    embeddings = {m: np.eye(4, dtype=np.float32) for m in "abc"}
    np.testing.assert_array_equal(
        term(embeddings), replace(term, of="aggregate", temperature=0.035)(embeddings)
    )
    assert evaluate(embeddings, score=text).score == text


def test_errors_name_the_option(capsys):
    printed = complaint(capsys, "train", "--objective", "clip", "--clip.of", "area")
    assert "--clip.of: got 'area', expected one of cosine, aggregate" in printed
    for name, option in ((SHARP, "Sharp.temperature"), (HINGE, "hinge.margin")):
        option = f"--tests.own-methods:{option}"
        printed = complaint(capsys, "train", "--objective", name, option, "nan")
        assert f"error: {option} is nan, expected a number" in printed
