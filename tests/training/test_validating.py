"""Evaluation while training: it chooses the model and may end the run."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest

from gramalign.data import from_arrays, load
from gramalign.evaluation import checked, diagnose, evaluate, figure_names
from gramalign.evaluation.evaluation import asked_by
from gramalign.training import Optimizer, Validation, embed_store, load_run, train
from gramalign.training.log import Log
from gramalign.training.metrics import MetricsLog, read_metrics
from gramalign.training.rows import chosen_of, chosen_rows
from gramalign.training.state import TrainState
from gramalign.training.validating import Validator, best_figure
from tests.training.commands import assert_same_run, train_until

FIGURE = "validation/rest -> one R@1, own"


def measured(folder, name=FIGURE):
    """The figures of a run's validations, by step."""
    rows = read_metrics(folder / "metrics.jsonl")
    return {row["step"]: row[name] for row in rows if name in row}


def test_names_are_those_of_the_figures():
    rng = np.random.default_rng(0)
    embeddings = {name: rng.normal(size=(6, 4)).astype(np.float32) for name in ("b", "c", "a")}
    for score in ("volume", "cosine"):
        found = evaluate(embeddings, score=score)
        assert list(found.figures()) == figure_names(("b", "c", "a"))
        task = found.find(("a",), ("b", "c"), score)
        assert found.figures()["a -> b+c R@5, own"] == task.recall[5]
        assert found.figures()["a -> b+c median rank, own"] == task.median_rank
    for rows in (["ab", "ac"], ["ab", "b"], ["a", "b", "c"]):  # what each has; the rest nothing
        rows += [""] * (6 - len(rows))
        present = {name: np.array([name in has for has in rows]) for name in embeddings}
        figures = evaluate(embeddings, present, score="cosine", neighbours=False).figures()
        for name, figure in figures.items():
            assert math.isnan(figure) != asked_by(name, present).any(), (name, rows)


def test_rows_are_held_out_of_training_alone(small_config, small_store):
    config = small_config(validation=Validation(every=4, held_out=0.3))
    train_rows, chosen = chosen_rows(config)
    store = load(str(small_store))
    assert set(train_rows.ids) | set(chosen.ids) == set(store.part("train").ids)
    assert not set(train_rows.ids) & set(chosen.ids) and 5 <= len(chosen) <= 25
    fewer = dataclasses.replace(config.validation, rows=4)
    _, first = chosen_rows(small_config(validation=fewer))
    assert list(first.ids) == list(chosen.ids[:4])


def test_no_group_is_held_out_in_part(small_config):
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(60, 3)) for name in ("text", "audio")}
    store = from_arrays({**arrays, "groups": np.arange(60) // 3, "split": np.zeros(60, int)})
    config = small_config(validation=Validation(every=4, held_out=0.3))
    train_rows, chosen = chosen_of(store, config)
    assert len(chosen) and not set(train_rows.groups) & set(chosen.groups)


def test_a_store_that_says_which_rows_are_for_validation(small_config, small_store, tmp_path):
    for path in small_store.iterdir():
        np.save(tmp_path / path.name, np.load(path))
    split = np.array(["train"] * 30 + ["validation"] * 18 + ["test"] * 12)
    np.save(tmp_path / "split.npy", split)
    config = small_config(data=str(tmp_path), validation=Validation(every=4))
    train_rows, chosen = chosen_rows(config)
    assert (len(train_rows), len(chosen)) == (30, 18)


@pytest.mark.parametrize(
    "changes, what",
    [
        ({"figure": "R@1"}, "Validation.figure is 'R@1', expected one such as: .* named 'QUERY -"),
        ({"figure": "pair R@1"}, "'pair R@1', expected one such as: pair R@1, cosine; "),
        ({"held_out": 0.001}, "got 0 validation rows and 48 training rows"),
    ],
)
def test_what_cannot_be_validated_is_refused(changes, what, small_config, tmp_path):
    config = small_config(validation=Validation(**{"every": 4, **changes}))
    with pytest.raises(ValueError, match=what):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_figure_that_no_row_has(small_config, small_store, tmp_path):
    """Audio is with text or with video, but never with both."""
    audio, text = (np.load(small_store / f"{name}.npy") for name in ("audio", "text"))
    odd = np.arange(len(audio)) % 2 == 1
    data = {"audio": audio, "text": text, "video": text}
    for name, x in (data | {"present.text": ~odd, "present.video": odd}).items():
        np.save(tmp_path / f"{name}.npy", x)
    wanted = Validation(every=2, held_out=0.4, figure="text -> video R@1, cosine")
    config = small_config(data=str(tmp_path), validation=wanted)
    with pytest.raises(ValueError, match="'text -> video R@1, cosine' cannot be computed: none of"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    known = dataclasses.replace(wanted, figure="pair R@1, cosine")
    assert chosen_rows(dataclasses.replace(config, validation=known))[1]


def test_the_best_of_a_log(tmp_path):
    with MetricsLog(tmp_path / "log") as log:
        for step, rank in enumerate((3.0, 2.0, math.nan, 5.0)):
            names = (f"validation/a -> b {name}, own" for name in ("mean rank", "R@1"))
            log.write({"step": step, **dict.fromkeys(names, rank)})
        log.write({"step": 9, "loss": 0.0})
    found = [
        best_figure(Validation(figure=f"a -> b {name}, own"), read_metrics(tmp_path / "log"))
        for name in ("mean rank", "R@1", "MRR")
    ]
    assert found[:2] == [2, 5] and math.isnan(found[2])


def test_a_figure_that_is_equal_is_no_better_one(small_config, tmp_path):
    figure = "rest -> one R@1, own"
    config = small_config(validation=Validation(every=1, patience=2, figure=figure))
    rows = from_arrays({"text": np.ones((2, 2))})
    over = []
    for worth in (1.0, 2.0, 2.0, 2.0):
        with MetricsLog(tmp_path / "log", last_step=99) as log:
            log.write({"step": len(over), f"validation/{figure}": worth})
        over.append(Validator(config, rows, lambda state: state, Log(), tmp_path / "log").over)
    assert over == [False, False, False, True]


def test_the_last_step_is_measured_whatever_its_number(small_config, tmp_path):
    config = small_config(steps=5, validation=Validation(every=2))
    validator = Validator(config, None, lambda state: state, Log(), tmp_path / "log")
    assert [step for step in range(1, 6) if validator.due(step)] == [2, 4, 5]


def test_patience_without_evaluations():
    with pytest.raises(ValueError, match="patience is 3, expected none without validation.every"):
        Validation(patience=3)


@pytest.fixture(scope="module")
def config(small_config):
    """Of a run that soon grows worse: its steps are too long."""
    wanted = Validation(every=2, held_out=0.4, figure="rest -> one R@1, own", keep=2)
    optimizer = Optimizer(warmup=2, learning_rate=0.5, clip_norm=1000.0)
    return small_config(validation=wanted, optimizer=optimizer, steps=16)


def test_the_best_step_is_the_model(config, whole):
    figures = measured(whole)
    assert list(figures) == [2, 4, 6, 8, 10, 12, 14, 16]
    best = max(figures, key=lambda step: (figures[step], step))
    assert best < 16, "choose another config, or this test cannot fail"
    run = load_run(whole)
    assert run.step == best
    # It is worth what was measured then, and on rows that it has not seen.
    rows = chosen_rows(config)[1]
    found = evaluate(embed_store(run, rows), rows.present, score="cosine")
    assert found.summary(own=True)["rest -> one R@1, own"] == pytest.approx(figures[best])
    kept = {int(path.name) for path in (whole / "checkpoints").iterdir()}
    two = sorted(figures, key=lambda step: (figures[step], step))[-2:]
    assert kept == {*two, 14, 16} and len(kept) == 4


def test_the_space_is_measured_as_well(config, whole):
    found = {
        name: list(measured(whole, f"validation/{name}").values())
        for name in ("matched volume", "GRAM value", "leading share")
    }
    rows = chosen_rows(config)[1]
    space = diagnose(checked(embed_store(load_run(whole), rows), rows.present))
    at = list(measured(whole)).index(load_run(whole).step)
    values = np.mean(list(space.gram_value.values()))
    assert [len(each) for each in found.values()] == [8, 8, 8]
    assert found["matched volume"][at] == pytest.approx(space.volume.matched, abs=1e-5)
    assert found["GRAM value"][at] == pytest.approx(values, abs=1e-3)
    assert found["leading share"][at] == pytest.approx(space.leading_share.matched, abs=1e-5)


@pytest.fixture(scope="module")
def ended(config, tmp_path_factory):
    """A run that ended after its checkpoint at step 14."""
    folder = tmp_path_factory.mktemp("ended")
    train_until(16, config, folder)
    return folder


@pytest.mark.slow
def test_a_run_that_goes_on_chooses_the_same(broken_off, config, whole, quiet):
    train(config, broken_off, resume=True, report=quiet)
    assert_same_run(broken_off, whole)


def test_patience(config, whole, tmp_path, quiet):
    """The run ends after so many evaluations without a better one, and when it is resumed then."""
    figures = list(measured(whole).values())
    since = [n - int(np.argmax(figures[: n + 1])) for n in range(len(figures))]
    ends = 2 * (1 + since.index(2))
    assert ends < 16, "choose another config, or this test cannot fail"
    patient = dataclasses.replace(
        config, validation=dataclasses.replace(config.validation, patience=2)
    )
    train(patient, tmp_path, report=quiet)
    assert list(measured(tmp_path))[-1] == ends
    (tmp_path / "params.safetensors").unlink()  # as when it is killed before that is written
    before = (tmp_path / "metrics.jsonl").read_bytes()
    run = train(patient, tmp_path, resume=True, report=quiet)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    assert run.step == 2 * (1 + int(np.argmax(figures[: ends // 2])))


def test_the_lowest(config, tmp_path, quiet):
    """Mean ranks: the smaller the better."""
    wanted = dataclasses.replace(config.validation, figure="text -> audio mean rank, cosine")
    assert wanted.lowest and not config.validation.lowest
    run = train(dataclasses.replace(config, validation=wanted), tmp_path, report=quiet)
    figures = measured(tmp_path, "validation/text -> audio mean rank, cosine")
    assert run.step == min(figures, key=lambda step: (figures[step], -step))
    assert min(figures.values()) < max(figures.values())


def test_a_figure_that_turns_out_to_have_no_rows(config, whole, tmp_path):
    """As where the heads that fuse modalities fuse fewer than the rows have."""
    store = chosen_rows(config)[1]
    arrays = {name: x[np.arange(len(store))] for name, x in store.features.items()}
    rows = from_arrays({**arrays, "present.text": np.zeros(len(store), bool)})
    (tmp_path / "log").touch()
    validator = Validator(config, rows, lambda state: load_run(whole), Log(), tmp_path / "log")
    with pytest.raises(ValueError, match=f"cannot be computed: none of the {len(store)} valid"):
        validator.measure(TrainState(2, {}, (), jax.random.key(0), 0))


def test_a_damaged_best_is_not_the_model(broken_off, config, whole, quiet, caplog):
    figures = measured(whole)
    best = load_run(whole).step
    (largest,) = sorted(
        (p for p in (broken_off / "checkpoints" / str(best)).rglob("*") if p.is_file()),
        key=lambda p: p.stat().st_size,
    )[-1:]
    largest.write_bytes(b"")
    run = train(config, broken_off, resume=True, report=quiet)
    assert run.step != best and run.step in figures
    assert f"checkpoint {best} is damaged" in caplog.text
    assert json.loads((broken_off / "environment.json").read_text())[-1]["step"] == 14
