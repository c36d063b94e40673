import dataclasses
import io
import json
import math
import re

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from gramalign.evaluation import (
    Diagnostics,
    Evaluation,
    PairFigures,
    Relevance,
    Retrieval,
    TupleFigure,
    tables,
    to_text,
)
from gramalign.evaluation.fitted import Fitted
from gramalign.evaluation.table_parts import heat_colours

THREE = ("text", "audio", "video")


def evaluation_of(names=THREE, score="volume", *, baseline=True, examples=5000, measured=True):
    """Made-up figures, each different, so that a table that swaps two of them is caught."""
    rng = np.random.default_rng(0)
    rests = {one: tuple(name for name in names if name != one) for one in names}
    tasks = [((a,), (b,)) for a in names for b in names if a != b]
    if len(names) > 2:
        tasks += [((one,), rest) for one, rest in rests.items()]
        tasks += [(rest, (one,)) for one, rest in rests.items()]

    def retrieval(score):
        return tuple(
            Retrieval(
                query=query,
                gallery=gallery,
                score=score,
                queries=examples if measured else 0,
                candidates=float(examples) if measured else math.nan,
                recall={k: 100 * rng.random() if measured else math.nan for k in (1, 5, 10)},
                chance={k: 100 * k / examples if measured else math.nan for k in (1, 5, 10)},
                median_rank=rng.integers(2, 400) / 2 if measured else math.nan,
                mean_rank=1 + examples * rng.random() if measured else math.nan,
                mean_reciprocal_rank=rng.random() if measured else math.nan,
            )
            for query, gallery in tasks
        )

    return Evaluation(
        score=score,
        modalities=names,
        examples=examples,
        retrieval=sum((retrieval(name) for name in dict.fromkeys((score, "cosine"))), ()),
        baseline=retrieval("cosine") if baseline else (),
        diagnostics=Diagnostics(
            complete=examples,
            volume=TupleFigure(*rng.random(2).tolist()),
            leading_share=TupleFigure(*rng.random(2).tolist()),
            uniformity={name: -4 * rng.random() for name in names},
            pairs=tuple(
                PairFigures(a, b, examples, rng.random(), 4 * rng.random())
                for i, a in enumerate(names)
                for b in names[i + 1 :]
            ),
        ),
    )


def lines_with(text, start):
    return [line.split() for line in text.splitlines() if line.strip().startswith(f"{start} ")]


def test_figures_stand_where_they_belong():
    evaluation = evaluation_of()
    text = to_text(tables(evaluation))

    def cells(query, gallery):
        values = []
        for score in ("volume", "cosine"):
            found = evaluation.find(query, gallery, score)
            values += [f"{found.recall[k]:.1f}" for k in (1, 5, 10)]
            for rank in (found.median_rank, found.mean_rank):
                values.append(f"{rank:.0f}" if rank >= 1000 or rank % 1 == 0 else f"{rank:.1f}")
        baseline = evaluation.find(query, gallery, "cosine", baseline=True)
        return [*values, f"{baseline.recall[1]:.1f}", "0.02"]

    pair, forward, backward = lines_with(text, "audio")[:3]
    to_others = [
        evaluation.find(("audio",), (other,), "cosine").recall[1] for other in ("text", "video")
    ]
    assert pair == ["audio", f"{to_others[0]:.1f}", "-", f"{to_others[1]:.1f}"]
    assert forward == ["audio", *cells(("audio",), ("text", "video"))]
    assert backward == ["audio", *cells(("text", "video"), ("audio",))]

    figures = evaluation.diagnostics
    assert f"audio    {figures.uniformity['audio']:.3f}".split() in [
        line[:2] for line in lines_with(text, "audio")
    ]
    for name, figure in (("volume", figures.volume), ("leading share", figures.leading_share)):
        expected = f"{name} {figure.matched:.3f} {figure.mismatched:.3f}"
        assert any(" ".join(line).startswith(expected) for line in lines_with(text, name))
    last = figures.pairs[-1]
    assert f"audio - video {last.gap:.3f} {last.alignment:.3f}" in " ".join(text.split())

    own, baseline = evaluation.summary(), evaluation.summary(baseline=True)
    pairs = [(a, b) for a in THREE for b in THREE if a != b]
    volumes = np.mean([evaluation.find((a,), (b,), "volume").recall[1] for a, b in pairs])
    assert f"mean {own['pair R@1, cosine']:.1f}, under volume {volumes:.1f}" in text
    assert f"linear GCCA {baseline['pair R@1, cosine']:.1f}, chance 0.02" in text


@pytest.mark.parametrize("names", [("text", "audio"), tuple(f"modality{i}" for i in range(8))])
@pytest.mark.parametrize("score", ["volume", "spectral", "cosine"])
@pytest.mark.parametrize("examples", [20, 50_000])
def test_plain_text_is_narrow_and_whole(names, score, examples):
    text = to_text(tables(evaluation_of(names, score, examples=examples)))
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text
    assert "…" not in text
    assert "nan" not in text


def test_two_modalities_need_no_pair_table():
    text = to_text(tables(evaluation_of(("text", "audio"))))
    assert "Pairs" not in text
    assert [line[:3] for line in lines_with(text, "text ->")] == [["text", "->", "audio"]]
    assert [line[:3] for line in lines_with(text, "audio ->")] == [["audio", "->", "text"]]
    assert "5000 queries in every row" in text


def test_figures_by_label_stand_where_they_belong():
    names, rng = ("text", "audio"), np.random.default_rng(0)
    found = [
        Relevance(
            *((query,), (gallery,), score, 40, 40),
            right=right,
            recall={k: 100 * rng.random() for k in (1, 5, 10)},
            mean_reciprocal_rank=rng.random(),
            mean_average_precision=rng.random(),
            chance_average_precision=chance,
            ndcg=rng.random(),
        )
        for query, gallery, right, chance in ((*names, 3.0, 0.11), (*names[::-1], 5.0, 0.22))
        for score in ("volume", "cosine")
    ]
    text = to_text(tables(dataclasses.replace(evaluation_of(names), by_label=tuple(found))))
    shown = text.partition("Labels: everything with the query's label")[2]
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert f"{' '.join(2 * ['R@1 MRR mAP nDCG@10'])} mAP" in lines
    for own, cosine in (found[:2], found[2:]):
        cells = [f"{own.query[0]} -> {own.gallery[0]}"]
        for x in (own, cosine):
            means = x.mean_reciprocal_rank, x.mean_average_precision, x.ndcg
            cells += [f"{x.recall[1]:.1f}", *(f"{value:.3f}" for value in means)]
        wanted = " ".join([*cells, f"{own.chance_average_precision:.3f}"])
        assert wanted in lines
    assert "4.0 right answers per query" in shown


def test_a_cosine_run_shows_the_cosine_once():
    text = to_text(tables(evaluation_of(score="cosine", baseline=False)))
    assert text.count("R@10") == 1
    assert "GCCA" not in text


def test_pairs_are_a_heat_map_where_there_is_colour():
    console = Console(
        file=io.StringIO(), width=100, force_terminal=True, color_system="truecolor", no_color=False
    )
    with console.capture() as captured:
        console.print(tables(evaluation_of()))
    assert captured.get().count(";48;2;") == 6


def test_names_are_taken_literally():
    text = to_text(tables(evaluation_of(("[bold]", "a/b", "[/]"))))
    assert "[bold] - a/b" in text
    assert "[/]" in text


def test_a_notebook_shows_nothing_but_the_text(monkeypatch):
    shown = []
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *parts: shown.append(parts))
    assert "one -> rest" in to_text(tables(evaluation_of()))
    assert not shown


def test_missing_figures_are_said_to_be_missing():
    text = to_text(tables(evaluation_of(measured=False)))
    assert lines_with(text, "text")[0] == ["text", "-", "n/a", "n/a"]
    assert "mean n/a" in text


@pytest.mark.parametrize("measured", [False, True])
def test_json_round_trip(measured):
    evaluation = evaluation_of(measured=measured)
    record = evaluation.to_json()
    again = Evaluation.from_json(json.loads(json.dumps(record, allow_nan=False)))
    assert again.to_json() == record
    np.testing.assert_equal(dataclasses.asdict(again), dataclasses.asdict(evaluation))  # NaN as NaN
    assert to_text(tables(again)) == to_text(tables(evaluation))


def test_summary_is_the_mean_over_modalities():
    evaluation = evaluation_of()
    forward = [evaluation.find((one,), evaluation.rest(one), "volume").recall[1] for one in THREE]
    summary = evaluation.summary()
    assert list(summary) == [
        "pair R@1, cosine",
        "one -> rest R@1, cosine",
        "rest -> one R@1, cosine",
        "one -> rest R@1, volume",
        "rest -> one R@1, volume",
    ]
    assert summary["one -> rest R@1, volume"] == pytest.approx(np.mean(forward))
    assert list(evaluation.summary(baseline=True)) == list(summary)[:3]
    with pytest.raises(KeyError, match="smell"):
        evaluation.find(("smell",), ("text",), "cosine")


@pytest.mark.parametrize("names", [THREE, ("electroencephalography of sleepers", "[b] video")])
def test_narrow_places_cut_nothing_off(names):
    """Tables come in parts, each with what its rows are called; `[b]` is no markup."""
    evaluation = evaluation_of(names)
    wide, narrow = (to_text(tables(evaluation), width=width) for width in (300, 60))
    assert max(map(len, narrow.splitlines())) <= 60
    figures = set(re.findall(r"\d+\.\d+|n/a", wide))
    assert figures and figures <= set(re.findall(r"\d+\.\d+|n/a", narrow))
    assert "…" not in narrow
    assert all(name.split()[-1] in narrow for name in names)


def test_parts_say_whose_figures_they_hold():
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("")
    for head in ("volume\nR@1", "\nR@5", "cosine\nR@1", "\nR@5"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_row("of a long name", "11.1", "22.2", "33.3", "44.4")

    def parts(width):
        text = to_text(Fitted(table), width=width).rstrip("\n")
        return [[line.split() for line in part.split("\n")] for part in text.split("\n\n")]

    named = ["of", "a", "long"]
    assert parts(32) == [
        [[score], ["R@1", "R@5"], [*named, *figures], ["name"]]
        for score, figures in (("volume", ["11.1", "22.2"]), ("cosine", ["33.3", "44.4"]))
    ]
    # One column a part: the second of a Score says which.
    heads = [(part[0], part[1]) for part in parts(18)]
    assert heads == [([score], [k]) for score in ("volume", "cosine") for k in ("R@1", "R@5")]
    assert [len(parts(width)) for width in (40, 36, 32)] == [1, 1, 2]


def test_figures_are_legible_on_the_colour_of_any_percentage():
    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        return np.dot([0.2126, 0.7152, 0.0722], np.power(parts, 2.2)) + 0.05

    for value in np.linspace(0.0, 100.0, 101):
        dark, light = sorted(map(luminance, heat_colours(value)))
        assert light / dark > 4.3, value
    assert heat_colours(-0.1) == heat_colours(0.0) and heat_colours(100.1) == heat_colours(100.0)
