"""A run is evaluated under the Score that its objective trains."""

import pytest

from gramalign.evaluation import FUSED
from gramalign.scores import Between
from gramalign.training import TERMS, Config, Gram, KernelVolume, Sca, Symile
from gramalign.training.measure import own_score


@pytest.mark.parametrize(
    ("objective", "score"),
    [
        ("gram", "volume"),
        ("clip + 0.1*gram", "volume"),
        ("pmrl + gram", "spectral"),
        ("gram + pmrl", "volume"),
        ("clip", "cosine"),
    ],
)
def test_the_first_that_is_not_the_cosine(objective, score):
    assert own_score(Config(objective=objective)) == score


@pytest.mark.parametrize(
    ("term", "score"),
    [
        (KernelVolume(bandwidth=0.3), "kernel_volume(bandwidth=0.3)"),
        (KernelVolume(), "kernel_volume"),
        (Sca(weight_temperature=0.02), "aggregate(weight_temperature=0.02)"),
        (Gram(form="root"), "volume(form='root')"),
        (Gram(form="log"), "volume"),  # which ranks alike
        (Symile(), "product(scaled=True)"),
        (Symile(scaled=False), "product"),
    ],
)
def test_with_the_settings_that_it_is_trained_with(term, score):
    name = next(name for name, kind in TERMS.items() if kind is type(term))
    assert own_score(Config(objective=name, settings={name: term})) == score


@pytest.mark.parametrize("name", TERMS)
def test_each_can_be_evaluated(name):
    score = TERMS[name]().score
    assert score == FUSED or Between(score, ("a",), ("b", "c")).score == score
