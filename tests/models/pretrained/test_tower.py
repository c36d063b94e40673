"""Towers take rows of what their encoders take, flattened."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gramalign.models import Tower, pretrained
from gramalign.models.pretrained.tower import _inputs
from tests.models.pretrained.tiny import drawn_inputs, golden

GOLDEN = golden()
CASES = [
    *("clip image", "siglip image", "eva image", "imagebind image", "vit image"),
    *("dinov2 with gates image", "dinov3 with gates image", "videomae video"),
    *("ast audio", "beats audio", "imagebind audio", "clap audio", "whisper audio"),
]


@pytest.mark.parametrize("name", CASES)
def test_a_row_is_a_piece_and_several_are_averaged(model, name):
    folder, wanted = model(name), np.asarray(GOLDEN[name]["result"])
    pieces = next(iter(drawn_inputs(GOLDEN[name]["inputs"]).values()))
    if name == "whisper audio":  # whose last band tells that the sound does not end
        pieces = np.concatenate([pieces, np.ones_like(pieces[:, :1])], axis=1)
    rows = np.reshape(pieces, (2, -1))

    def embedded(rows):
        like = {"modality": "it", "encoders": {"it": str(folder)}, "hidden": 4, "depth": 1}
        tower = nnx.eval_shape(
            lambda: pretrained.Tower(rows.shape[1], wanted.shape[1], rngs=nnx.Rngs(0), **like)
        )
        weights = tower.initial_weights()
        for path, variable in nnx.to_flat_state(nnx.state(tower, nnx.Param)):
            array = weights.pop(".".join(map(str, path)), None)
            if array is None:  # the head's
                array = (
                    np.eye(*variable.shape) if path[-1] == "kernel" else np.zeros(variable.shape)
                )
            variable.set_value(jnp.asarray(array, variable.dtype))
        assert not weights
        return jax.jit(tower)(rows)

    np.testing.assert_allclose(embedded(rows), wanted, atol=2e-5)
    if name != "clap audio":  # which hears windows of any length, one after the other
        both = embedded(np.reshape(rows, (1, -1)))
        np.testing.assert_allclose(both, np.mean(wanted, axis=0, keepdims=True), atol=2e-5)


def test_the_first_word_is_no_padding(model):
    front = pretrained.load(model("bert text"), "text").front
    found = _inputs(front, jax.numpy.array([[5.0, 0, 7, -1]]))
    assert np.asarray(found["input_ids"]).tolist() == [[5, 0, 7, 0]]
    assert np.asarray(found["attention_mask"]).tolist() == [[True, True, True, False]]


def test_only_what_comes_after_the_last_sample_is_silence(model):
    front = pretrained.load(model("wav2vec2 audio"), "audio").front
    found = _inputs(front, jnp.array([[0, 0.5, 0, 0.25, 0, 0], [0.5] * 6]))
    assert np.asarray(found["attention_mask"]).sum(axis=1).tolist() == [4, 6]


def test_without_an_encoder_it_is_a_tower_of_features():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(3, 2, (6, 5)), jnp.float32)
    like = {"hidden": 8, "depth": 1, "dropout": 0.5, "mean": np.ones(5), "std": np.full(5, 2.0)}
    found = pretrained.Tower(
        5, 4, modality="it", encoders={"it": None}, **like, rngs=nnx.Rngs(params=0)
    )
    wanted = Tower(5, 4, **like, rngs=nnx.Rngs(params=0))
    keys = jax.random.split(jax.random.key(0), 6)
    np.testing.assert_array_equal(found(x, dropout_keys=keys), wanted(x, dropout_keys=keys))


def abstract(folder, features, **settings):
    like = {"modality": "it", "encoders": {"it": str(folder)}, "hidden": 4, "depth": 1, **settings}
    return nnx.eval_shape(lambda: pretrained.Tower(features, 4, rngs=nnx.Rngs(0), **like))


def test_a_tower_multiplies_in_its_dtype(model):
    assert abstract(model("bert text"), 9, dtype=jnp.bfloat16).encoder.front.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("name", "fits", "features"), [("wav2vec2 audio", 165, 164), ("bert text", 12, 13)]
)
def test_rows_that_an_encoder_has_no_room_for(model, name, fits, features):
    folder = model(name)
    abstract(folder, fits)
    with pytest.raises(ValueError, match=f"has {features} numbers a row, and .* of other sizes"):
        abstract(folder, features)


def test_clap_hears_at_most_what_its_square_has_room_for(model):
    folder = model("clap audio")
    front = pretrained.load(folder, "audio").front
    like = {"modality": "it", "encoders": {"it": str(folder)}, "hidden": 4, "depth": 1}

    def embedded(frames):
        row = jnp.zeros((1, frames * front.bands))
        return pretrained.Tower(row.size, 4, rngs=nnx.Rngs(0), **like)(row)

    assert jax.eval_shape(lambda: embedded(front.longest)).shape == (1, 4)
    frames = front.longest + 1
    with pytest.raises(
        ValueError, match=f"has {frames * front.bands} numbers a row, and .* of other s"
    ):
        embedded(frames)
    with pytest.raises(ValueError, match=rf"at most {front.longest}, {front.bands}\]"):
        front({"input_features": jnp.zeros((1, 1, frames, front.bands))})
