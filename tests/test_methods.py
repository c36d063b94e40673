"""Every objective and every Score is described in full, once, by its own docstring."""

import json

import pytest

from gramalign.cli import main
from gramalign.cli.methods import markdown
from gramalign.methods import methods, named, read
from gramalign.scores import SCORES
from gramalign.training.terms import TERMS
from tests.complaint import complaint

EVERY = methods()
DOCSTRING = """NAME: what it is.

    y = f(x)

    f(x) = x |x|

A paragraph,

    z = y,

and what follows from it.

Source: Somebody, 2020, arXiv 2001.00001,
equation 3.
Needs: an anchor.
Cost: little: 2 flops
    a pair.

Singular set: none.
Blind spot: most.
"""


def test_all_that_there_are():
    assert [m.name for m in EVERY if m.kind == "objective"] == list(TERMS)
    assert [m.name for m in EVERY if m.kind == "score"] == list(SCORES)


@pytest.mark.parametrize("method", EVERY, ids=lambda method: f"{method.kind} {method.name}")
def test_every_part_is_there(method):
    for part in ("what", "formula", "source", "needs", "cost", "singular_set", "blind_spot"):
        assert getattr(method, part).strip(), part
    fields = (method.source, method.needs, method.cost, method.singular_set, method.blind_spot)
    assert all(field.endswith(".") for field in fields)
    assert "\n" not in method.what and len(method.what) < 120
    assert all(setting.help.endswith(".") for setting in method.settings)


def test_types_of_settings_are_words():
    types = {setting.type for method in EVERY for setting in method.settings}
    assert {"int, at least 1", "float, a positive number", "str | None"} <= types
    assert not any("Annotated" in each or "0x" in each for each in types)


def test_parts_of_a_docstring():
    assert read(DOCSTRING) == {
        "what": "NAME: what it is",
        "formula": "y = f(x)\n\nf(x) = x |x|",
        "text": "A paragraph,\n\n    z = y,\n\nand what follows from it.",
        "source": "Somebody, 2020, arXiv 2001.00001, equation 3.",
        "needs": "an anchor.",
        "cost": "little: 2 flops a pair.",
        "singular_set": "none.",
        "blind_spot": "most.",
    }


def test_a_docstring_that_lacks_a_part_is_named(monkeypatch):
    monkeypatch.setitem(SCORES, "undescribed", type("Undescribed", (), {"__module__": __name__}))
    with pytest.raises(ValueError, match=f"docstring of {__name__} lacks what, formula, source"):
        methods()


def test_settings_are_those_of_the_term():
    (gram,) = named("gram")
    found = {each.name: each for each in gram.settings}
    shared = ["anchor", "temperature", "learn_temperature", "label_smoothing"]
    assert list(found) == [*shared, "form"]
    assert (found["label_smoothing"].default, found["anchor"].type) == (0.1, "str | None")
    assert (found["anchor"].default, found["anchor"].python) == (None, "text")
    assert found["temperature"].help.startswith("Temperature, or")
    assert gram.score == "volume" and gram.python == "gramalign.losses.gram"


def test_the_list(capsys):
    main(["methods"])
    printed = capsys.readouterr().out
    assert all(f"\n{method.name} " in f"\n{printed}" for method in EVERY)
    assert max(map(len, printed.splitlines())) <= 100


@pytest.mark.parametrize("name", ["gram", "cosine"])
def test_one_of_them(name, capsys):
    main(["methods", name])
    printed = " ".join(capsys.readouterr().out.split())
    (method,) = named(name)
    for text in (method.what, method.formula, method.source, method.blind_spot, method.python):
        assert " ".join(text.split()) in printed
    assert ("--gram.learn-temperature bool False" in printed) == (name == "gram")


def test_json(capsys):
    main(["methods", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [(m["name"], m["formula"]) for m in found] == [(m.name, m.formula) for m in EVERY]


def test_markdown(capsys):
    main(["methods", "gram", "--markdown"])
    printed = capsys.readouterr().out
    assert printed == markdown(named("gram")) + "\n"
    assert "[arXiv 2412.11959](https://arxiv.org/abs/2412.11959)" in printed


def test_an_unknown_name(capsys):
    said = complaint(capsys, "methods", "grim")
    assert "'grim'" in said and ", ".join(TERMS) in said and ", ".join(SCORES) in said
