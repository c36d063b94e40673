"""Which options there are depends on the objective."""

import re

import pytest

from gramalign.cli import main
from gramalign.cli.main import COMMANDS
from gramalign.cli.options import check_once, options, told_by_option, words_after
from gramalign.cli.pack import Pack
from gramalign.training import Clip, Config, Gram
from gramalign.training.terms import TERMS
from tests.complaint import complaint


def groups(capsys, *words):
    """The terms that a command's help has options of."""
    with pytest.raises(SystemExit) as stop:
        main([*words, "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "gramalign methods" in " ".join(printed.replace("\u2502", " ").split())
    return {name for name in TERMS if f"--{name.replace('_', '-')}." in printed}


@pytest.mark.parametrize(
    ("words", "terms"),
    [
        (["train"], {"gram"}),
        (["train", "digits", "--objective", "0.3 * pmrl+clip"], {"pmrl", "clip"}),
        (["plan", "--objective=pmrl"], {"pmrl"}),
        (["compare", "digits", "--objectives", "pmrl", "2*gram", "--seeds", "3"], {"pmrl", "gram"}),
        (["compare"], {"clip", "gram", "pmrl"}),
    ],
)
def test_help_shows_the_terms_that_are_named(words, terms, capsys):
    assert groups(capsys, *words) == terms


def test_help_of_compare_lists_only_what_it_takes(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    assert not re.search(r"--objective\b|--data STR", capsys.readouterr().out)


def test_the_settings_of_a_preset_are_where_options_start():
    gram, clip = Gram(temperature=0.3), Clip(temperature=0.4)
    start = Config(settings={"gram": gram, "clip": clip})
    found = options(start, ["gram"], [])
    assert found.settings == {"gram": gram} and found.seed == start.seed
    assert options(start, ["clip", "gram"], []).settings == {"gram": gram, "clip": clip}


@pytest.mark.parametrize("word", ["--clip.anchor", "--clip.learn-temperature"])
def test_a_setting_that_would_do_nothing_is_refused(word):
    with pytest.raises(
        ValueError, match=f"{word} belongs to a term that is not in any objective: gram"
    ):
        options(Config(), ["gram"], ["--model.dim", "3", word])


def test_a_misspelt_option_is_one_of_the_command(capsys):
    printed = complaint(capsys, "train", "--batchsize", "8")
    assert "--batch-size INT" in printed
    assert "Texts, images" not in printed, "which are of features"


def test_an_argument_without_an_option_has_none(tmp_path):
    with pytest.raises(ValueError, match="^data is gone"), told_by_option(Pack("a", tmp_path)):
        raise ValueError("data is gone")


def test_options_whose_words_all_count_may_be_given_again():
    twice = ["--encoders", "a=b", "--encoders", "c=d"]
    for command in ("search", "classify"):
        check_once(twice, COMMANDS[command])
    with pytest.raises(ValueError, match="--encoders is given 2 times"):
        check_once(twice, Pack)


def test_an_option_may_be_written_with_an_equals_sign():
    assert words_after("--objective", ["--objective=clip + gram", "--seed", "1"]) == ["clip + gram"]
    assert words_after("--objective", ["--objectives", "clip"]) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "--batch-size", "0"], "error: --batch-size is 0, expected at least 2"),
        (["compare", "--batch-size", "0"], "error: --batch-size is 0, expected at least 2"),
        (["plan", "--engine.tile", "0"], "error: --engine.tile must be a whole number"),
        (["plan", "--layout.fsdp", "0"], "error: --layout.fsdp is 0, expected at least 1"),
        (["train", "--gram.temperature", "-1"], "error: --gram.temperature is -1.0, expected"),
        (["train", "--cluster.timeout", "0"], "error: --cluster.timeout is 0, expected"),
        (
            ["train", "--steps", "9", "--optimizer.warmup", "9"],
            "error: --optimizer.warmup is 9, expected fewer than --steps, which is 9",
        ),
        (
            ["train", "--seed", "1", "--objective=clip", "--objective", "gram"],
            "--objective is given 2",
        ),
        (["compare", "--data", "a", "--data", "b"], "--data is given 2 times, of which only the"),
        (["train", "--batch-size", "8", "--batch_size=9"], "--batch-size is given 2 times"),
        (["train", "--batch-size", "x"], "Error parsing --batch-size: invalid literal"),
        (["train", "--batch-size", "x"], "see gramalign train --help"),
        (["train", "--batch-size", "8000"], "error: --batch-size is 8000, but digits has"),
        (["join", "a=b", "--out", "c", "--at-least", "9"], "error: --at-least is 9, expected a"),
        (["train", "--batchsize", "8"], "Unrecognized options: --batchsize"),
        (["train", "--batchsize", "8"], "run gramalign train --help"),
    ],
)
def test_errors_name_options_as_they_are_typed(words, told, capsys):
    printed = complaint(capsys, *words)
    assert told in printed
    assert "Options." not in printed and "inner__" not in printed
