"""What a search tries, and what it chooses."""

import json
import math

import jax
import pytest

from gramalign.cli import main
from gramalign.cli.tuning import SEED, Tuned, chosen, fair_settings, searched, tuning_grid
from gramalign.training import Clip, Config, NonFiniteLoss, Validation
from tests.cli.test_commands import TINY
from tests.complaint import complaint


def tried(words, *objectives, **fields):
    configs = {name: Config(objective=name, **fields) for name in objectives}
    return fair_settings(configs, searched(words))


def test_every_objective_is_tried_with_all_combinations():
    words = ["optimizer.learning-rate=2e-3,3e-3", "--model.remat=True,False"]
    found = tried(words, "gram", "clip")
    assert list(found["gram"]) == list(found["clip"])
    assert list(found["gram"])[1] == "optimizer.learning-rate=2e-3,model.remat=False"
    values = {(x.optimizer.learning_rate, x.model.remat) for x in found["clip"].values()}
    assert values == {(rate, remat) for rate in (2e-3, 3e-3) for remat in (True, False)}
    # Nothing else differs from what would be trained, but for what measures it.
    one = found["clip"]["optimizer.learning-rate=2e-3,model.remat=False"]
    assert one == Config(objective="clip", seed=SEED, validation=Validation(every=one.steps))


def test_an_option_of_the_config_and_of_terms():
    assert tried(["batch-size=8,16"], "clip")["clip"]["batch-size=16"].batch_size == 16
    both = tried(["temperature=0.03,0.3"], "clip + gram")["clip + gram"]["temperature=0.3"]
    assert [term.temperature for term in both.terms.values()] == [0.3, 0.3]
    alone = tried(["gram.temperature=0.03,0.3"], "clip + gram")["clip + gram"]
    terms = alone["gram.temperature=0.3"].terms
    assert terms["gram"].temperature == 0.3 and terms["clip"].temperature == 0.07
    # What one has not, another is tried with as often.
    words = ["temperature=0.03,0.3", "pmrl.tau-instance=0.1,0.2"]
    found = tried(words, "gram", "pmrl")
    assert list(found["gram"]) == ["temperature=0.03", "temperature=0.3"]
    assert found["pmrl"]["pmrl.tau-instance=0.2"].terms["pmrl"].tau_instance == 0.2


def test_a_validation_that_is_asked_for_stays():
    asked = Validation(every=7, figure="pair R@1, cosine", held_out=0.3)
    # Valid together, though the first alone is not.
    words = ["temperature=2", "clip.learn-temperature=False"]
    (config,) = tried(words, "clip", validation=asked, steps=500)["clip"].values()
    assert config.validation == asked and config.terms["clip"] == Clip(
        temperature=2.0, learn_temperature=False
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["learning-rate"], "expected OPTION=VALUE,VALUE such as"),
        (["model.dropout=0.1,"], "expected OPTION=VALUE,VALUE such as"),
        (["model.dropout=0.1,0.1"], "names an option or a value twice"),
        (["model.dropout=0.1", "model.dropout=0.2"], "names an option or a value twice"),
        (["model.droput=0.1"], "no objective has an option model.droput"),
        (["dropout=0.1"], "no objective has an option dropout"),
        (["model=0.1"], "no objective has an option model"),
        (["sca.temperature=0.1"], "no objective has an option sca.temperature"),
        (["seed=1,2"], "seed cannot be tuned"),
        (["steps=10,20"], "steps cannot be tuned"),
        (["validation.held-out=0.1,0.2"], "validation.held-out cannot be tuned"),
        (["model.hidden=8,x"], "Model.hidden does not take 'x'"),
        (["model.dropout=0.1,2"], "Model.dropout is 2.0, expected a rate"),
        (["temperature=0.1,0.2", "gram.temperature=0.3"], "set the same option of gram"),
        (["temperature=0.1,0.2"], "numbers of settings, 2 for gram, 1 for pmrl, expected the same"),
    ],
)
def test_what_is_not_searched(words, message):
    with pytest.raises(ValueError, match="tune: |Model") as error:
        tried(words, "gram", "pmrl")
    assert message in str(error.value)


def test_runs_of_no_steps_are_not_searched():
    with pytest.raises(ValueError, match="tune: steps is 0, expected at least 1"):
        tried(["model.dropout=0.1,0.2"], "clip", steps=0)


def test_commas_in_brackets_are_of_one_value():
    tower = "tests.own_methods:Tokens(width=1,heads=4)"
    found = tried([f"model.tower={tower},tests.own_methods:Tokens"], "clip")["clip"]
    towers = [config.model.tower for config in found.values()]
    assert towers == [tower, "tests.own_methods:Tokens"]
    best = chosen(dict.fromkeys(found, 1.0), {"model.tower": towers}, lowest=True)
    assert best.chosen == f"model.tower={tower}" and best.at_edge == ()
    assert searched(["a=f(x=((1,2),3)),[1,{2,3}]"]) == {"a": ("f(x=((1,2),3))", "[1,{2,3}]")}


def test_the_choice():
    options = searched(["a=1,2,4", "b=x,y,z", "c=1,2"])
    figures = {"a=1,b=x,c=1": 50.0, "a=2,b=z,c=2": 60.0, "a=4,b=z,c=2": math.nan}
    found = chosen(figures, options, lowest=False)
    assert found.chosen == "a=2,b=z,c=2" and found.at_edge == ()
    assert found.to_json()["tried"] == {**figures, "a=4,b=z,c=2": None}
    assert json.dumps(found.to_json(), allow_nan=False)
    smallest = chosen(figures, options, lowest=True)
    assert smallest.chosen == "a=1,b=x,c=1" and smallest.at_edge == ("a",)
    # Of equals the first; of nothing none.
    assert chosen({"a=1": 3.0, "a=2": 3.0}, options, lowest=False).chosen == "a=1"
    with pytest.raises(NonFiniteLoss, match="diverged under every setting: a=1; a=2"):
        chosen({"a=1": math.nan, "a=2": math.nan}, options, lowest=False)


def test_the_table_of_what_was_chosen():
    figures = {"a=1,b=2": math.nan, "a=1,b=4": 61.04, "a=2,b=4": 50.0}
    found = {"clip": Tuned(figures, "a=1,b=4", ("a", "b"))}
    (row,) = tuning_grid(found, "R@1", title="Settings").rows
    texts = ["clip", "a=1, b=4", "a, b", "61.0", "50.0 to 61.0", "3"]
    assert [cell.text for cell in row] == texts


@pytest.mark.slow
def test_compare_with_what_was_chosen(store, tmp_path, capsys):
    """One learning rate diverges, the other is compared."""
    words = ["compare", "--data", str(store), "--objectives", "clip", *TINY, "--seeds", "1"]
    words += ["--out", str(tmp_path), "--scores", "cosine", "--max-skips", "0"]
    words += ["--validation.figure", "pair R@1, cosine"]
    words += ["--tune", "optimizer.learning-rate=1e-2,1e38"]
    main(words)
    assert "Settings, chosen on held-out rows" in capsys.readouterr().out
    record = json.loads((tmp_path / "compare.json").read_text())
    assert record["environment"]["versions"]["jax"] == jax.__version__
    best, worst = "optimizer.learning-rate=1e-2", "optimizer.learning-rate=1e38"
    found = record["tuned"]["clip"]
    assert found["chosen"] == best and found["tried"][worst] is None
    assert record["tuned_by"] == "pair R@1, cosine"
    # What chose is what the search's run logged, of rows that it did not train on.
    run = tmp_path / "clip" / "tuning" / best
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["validation/pair R@1, cosine"] == found["tried"][best]
    assert json.loads((run / "config.json").read_text())["seed"] == SEED
    assert not (run / "evaluation.json").exists(), "looked at the test rows"
    config = json.loads((tmp_path / "clip" / best / "seed0" / "config.json").read_text())
    assert config["optimizer"]["learning_rate"] == 1e-2 and config["seed"] == 0
    assert config["validation"]["every"] is None
    assert f"| clip | {best} |" in (tmp_path / "compare.md").read_text()


@pytest.mark.slow
def test_compare_goes_on_without_who_diverges(store, tmp_path, capsys):
    words = ["compare", "--data", str(store), *TINY, "--out", str(tmp_path), "--max-skips", "0"]
    words += ["--seeds", "2", "--scores", "cosine", "--objectives"]
    main([*words, "1e38*clip", "gram"])
    said = capsys.readouterr().out
    assert "1e+38*clip diverged and was left out. seed 0: step 1: " in said
    record = json.loads((tmp_path / "compare.json").read_text())
    assert set(record["figures"]) == {"gram", "linear GCCA"}
    assert list(record["own_scores"]) == ["gram"]
    assert list(record["diverged"]) == ["1e+38*clip"]
    for name in ("compare.md", "compare.tex"):
        assert "left out, as training diverged: 1e+38" in (tmp_path / name).read_text()
    # Nothing to compare with is no comparison.
    with pytest.raises(SystemExit, match="1"):
        main([*words, "1e38*clip"])
    assert "1e+38*clip: seed 0: step 1: " in capsys.readouterr().err


def test_compare_refuses_a_search_before_it_trains(tmp_path, capsys):
    said = complaint(capsys, "compare", "--out", str(tmp_path), "--tune", "temperature=0.1,0.2")
    assert "numbers of settings, 2 for clip, 2 for gram, 1 for pmrl" in said
    assert not list(tmp_path.iterdir())


def test_compare_refuses_a_setting_that_a_frozen_tower_does_not_have(store, run, tmp_path, capsys):
    words = ["compare", "--data", str(store), "--objectives", "clip", "--steps", "4"]
    words += ["--start-from", str(run), "--freeze", "text", "--out", str(tmp_path)]
    words += ["--model.dim", "8", "--tune", "model.hidden=16,8"]
    assert "freeze: the tower is not as in" in complaint(capsys, *words)
    assert not list(tmp_path.iterdir())
