"""Each degenerate space is warned of in words, and a healthy one is not."""

import numpy as np
import pytest

from gramalign.evaluation import checked, diagnose, evaluate, tables, to_text
from gramalign.evaluation.modality_figures import repeated_rows
from tests import samples

NAMES = ("text", "audio", "video")
ROWS, DIM = 32, 16


def healthy():
    return samples.embeddings(np.random.default_rng(0), ROWS, DIM, NAMES, 0.5)


def warnings_of(embeddings, **options):
    return {
        item.kind: item
        for item in diagnose(checked(embeddings, **options), neighbours=False).warnings
    }


def constant_rows(x, share):
    changed = x["text"].copy()
    changed[: round(share * ROWS)] = x["text"][-1]
    return {**x, "text": changed}


def nearly(one, distance):
    rng = np.random.default_rng(1)
    return samples.normalized(one + distance * samples.unit(rng, *one.shape)).astype(np.float32)


def overridden(x):
    """Every third tuple of others is closer than texts are to theirs, but does not coincide."""
    third = (np.arange(ROWS) % 3 == 0)[:, None]
    text = samples.unit(np.random.default_rng(2), ROWS, DIM).astype(np.float32)
    apart = samples.unit(np.random.default_rng(3), ROWS, DIM).astype(np.float32)
    return {**x, "text": text, "video": np.where(third, nearly(x["audio"], 0.5), apart)}


CASES = {
    "collapsed to a point": lambda x: {**x, "text": nearly(np.tile(x["text"][:1], (ROWS, 1)), 0.2)},
    "collapsed to a line": lambda x: {
        **x,
        "text": x["text"][:1] * np.where(np.arange(ROWS) % 2, -1, 1).astype(np.float32)[:, None],
    },
    "repeated": lambda x: constant_rows(x, 0.2),
    "opposed": lambda x: {**x, "text": -x["text"]},
    "coincident": lambda x: {**x, "video": nearly(x["audio"], 0.03)},
    "overriding": overridden,
}


def test_a_healthy_space_has_none():
    assert warnings_of(healthy()) == {}
    assert "Warnings" not in to_text(tables(evaluate(healthy(), score="volume")))


@pytest.mark.parametrize("kind", CASES)
def test_each_is_told_of_whom_it_concerns(kind):
    found = warnings_of(CASES[kind](healthy()))[kind]
    expected = {"opposed": {"text - audio", "text - video"}}.get(kind, {"text"})
    assert set(found.figures) == expected
    for name in expected:
        assert name in found.sentence


def test_figures_of_what_is_repeated():
    repeated = constant_rows(healthy(), 0.25)
    found = warnings_of(repeated)["repeated"]
    assert found.figures == {"text": 9 / 32} and "text 28%" in found.sentence
    # One video of many captions is one thing, however many rows it has.
    groups = np.where(np.arange(ROWS) < 8, 31, np.arange(ROWS))
    assert "repeated" not in warnings_of(repeated, groups=groups)
    # Nor does it hide what other groups have in common.
    silent = healthy()
    silent["text"][:8], silent["text"][8:12] = silent["text"][0], silent["text"][9]
    assert warnings_of(silent, groups=np.where(np.arange(ROWS) < 8, 31, np.arange(ROWS)))[
        "repeated"
    ].figures == {"text": 4 / 24}
    silent["text"][:12] = silent["text"][0]
    assert warnings_of(silent, groups=np.where(np.arange(ROWS) < 8, 31, np.arange(ROWS)))[
        "repeated"
    ].figures == {"text": 5 / 24}
    # Rounding to bfloat16 makes no difference to what is one vector.
    rng = np.random.default_rng(0)
    noisy = {**repeated, "text": repeated["text"] + 1e-5 * rng.normal(size=(ROWS, DIM))}
    assert warnings_of(noisy)["repeated"].figures == found.figures


def test_absent_rows_are_not_repeated():
    present = {"text": np.arange(ROWS) % 2 == 0}
    assert repeated_rows(checked(healthy(), present))["text"] == 0


def test_they_are_printed():
    embeddings = CASES["opposed"](healthy())
    text = to_text(tables(evaluate(embeddings, score="volume")))
    assert "Warnings" in text and "text - audio 100%" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100
