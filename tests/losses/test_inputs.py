"""Messages of the losses, as users meet them: without run-time type checks."""

import jax
import jax.numpy as jnp
import jaxtyping
import pytest

from gramalign import losses

ONES = jnp.ones((4, 3))


@pytest.fixture(autouse=True)
def unchecked(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


FUNCTIONS = {
    "gram": lambda x: losses.gram(x, anchor="text"),
    "gram, all anchors": lambda x: losses.gram(x, anchor=None),
    "clip": lambda x: losses.clip(x, anchor="text"),
    "clip, all pairs": lambda x: losses.clip(x, anchor=None),
    "pmrl": losses.pmrl,
    "pmrl_alignment": losses.pmrl_alignment,
    "pmrl_instance": losses.pmrl_instance,
    "vast": lambda x: losses.vast(x, fused="text"),
    "confu": losses.confu,
    "centrobind": losses.centrobind,
    "barybind": losses.barybind,
    "symile": losses.symile,
    "participants": losses.participants,
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        ({"text": ONES}, r"at least two modalities to compare, got \['text'\]"),
        ({}, r"at least two modalities to compare, got \[\]"),
        ({"text": ONES, "b": jnp.ones((5, 3))}, r"'text': \(4, 3\), 'b': \(5, 3\)"),
        ({"text": ONES, "b": ONES.astype(int)}, r"embeddings\['b'\] must be floating point"),
    ],
)
def test_embeddings(name, embeddings, message):
    with pytest.raises(ValueError, match=message):
        FUNCTIONS[name](embeddings)


@pytest.mark.parametrize("name", ["gram", "clip", "vast"])
def test_an_unknown_anchor_names_the_modalities(name):
    message = r"anchor is 'text', but the modalities are \['audio', 'video'\]"
    with pytest.raises(ValueError, match=message):
        FUNCTIONS[name]({"video": ONES, "audio": ONES})


@pytest.mark.parametrize(
    ("loss", "argument"), [(losses.vast, "fused"), (losses.barybind, "barycentre")]
)
def test_an_unknown_entry_names_those_there_are(loss, argument):
    message = rf"{argument} is 'x', but the modalities are \['audio', 'text'\]"
    with pytest.raises(ValueError, match=message):
        loss({"text": ONES, "audio": ONES}, **{argument: "x"})


@pytest.mark.parametrize("name", ["gram", "clip", "centrobind", "barybind"])
def test_label_smoothing(name):
    loss = getattr(losses, name)
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\), got 1.0"):
        jax.eval_shape(lambda x: loss(x, label_smoothing=1.0), {"text": ONES, "audio": ONES})


@pytest.mark.parametrize(
    "loss", [losses.gram, losses.clip, losses.pmrl, losses.centrobind, losses.barybind]
)
def test_groups(loss):
    with pytest.raises(ValueError, match=r"groups must be integers of shape \(4,\), got int32"):
        jax.eval_shape(lambda x: loss(x, groups=jnp.ones(3, int)), {"text": ONES, "audio": ONES})
