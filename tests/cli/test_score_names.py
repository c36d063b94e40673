"""The Scores that options take, as the command line reads them."""

import pytest
import tyro

from gramalign.cli.score_names import OneScoreOrFused, Scores
from tests.complaint import complaint


@pytest.mark.parametrize(
    ("word", "read"),
    [
        ("volume", "volume"),
        ('volume(form="root")', "volume(form='root')"),
        ("volume(form='volume')", "volume"),
        ("tests.own_methods:Steep( factor=1.0 )", "tests.own_methods:Steep"),
        ("fused", "fused"),
        ("None", None),
    ],
)
def test_a_score_is_read_as_records_write_it(word, read):
    assert tyro.cli(OneScoreOrFused, args=[word]) == read


def test_several_scores():
    words = ["own", "kernel_volume(bandwidth=0.30)", "fused"]
    assert tyro.cli(Scores, args=words) == ("own", "kernel_volume(bandwidth=0.3)", "fused")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["evaluate", "run", "--score", "volum"], "--score: got 'volum', expected one of cosine,"),
        (["evaluate", "run", "--score", "tests.own_methods:hinge"], "expected a class of Scores"),
        (["evaluate", "run", "--score", "nowhere:Far"], "but there is no module 'nowhere'"),
        (["classify", "run", "--score", "own"], "--score: got 'own', expected one of cosine,"),
        (["search", "run", "row", "--score", "fused"], "got 'fused', expected one of cosine,"),
        (["robustness", "run", "--score", "volume(x=1)"], "but the settings of volume are form"),
        (["evaluate", "run", "--rerank", "volume(form=root)"], 'in Python: volume(form="root")'),
        (["compare", "--scores", "own", "volum"], "--scores: got 'volum', expected one of cosine,"),
    ],
)
def test_no_such_score(words, told, capsys):
    printed = " ".join(complaint(capsys, *words).replace("\u2502", " ").split())
    assert told in printed
