"""Towers take rows of what their encoders take, flattened."""

import jax
import numpy as np
import pytest
from flax import nnx

from gramalign.models import pretrained
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
    folder, kind = model(name), name.split()[-1]
    encoder = pretrained.load(folder, kind)
    inputs = drawn_inputs(GOLDEN[name]["inputs"])
    pieces = next(iter(inputs.values()))
    rows = np.reshape(pieces, (2, -1))

    def tower_of(width):
        sizes = {"hidden": 4, "depth": 1, "rngs": nnx.Rngs(0)}
        encoders = {"it": str(folder)}
        tower = pretrained.Tower(width, encoder.dim, modality="it", encoders=encoders, **sizes)
        state = nnx.to_flat_state(nnx.state(tower, nnx.Param))
        weights = tower.initial_weights()
        for path, variable in state:
            variable[...] = weights.pop(".".join(map(str, path)), variable[...])
        assert not weights
        return tower

    found = jax.jit(tower_of(rows.shape[1]))(rows)
    np.testing.assert_allclose(found, encoder(inputs), atol=2e-5)
    if name == "clap audio":
        return  # which hears windows of any length, one after the other
    both = jax.jit(tower_of(2 * rows.shape[1]))(np.reshape(rows, (1, -1)))
    np.testing.assert_allclose(both, np.mean(found, axis=0, keepdims=True), atol=2e-5)


def test_the_first_word_is_no_padding(model):
    front = pretrained.load(model("bert text"), "text").front
    found = _inputs(front, jax.numpy.array([[5.0, 0, 7, -1]]))
    assert np.asarray(found["input_ids"]).tolist() == [[5, 0, 7, 0]]
    assert np.asarray(found["attention_mask"]).tolist() == [[True, True, True, False]]


def test_clap_hears_at_most_what_its_square_has_room_for(model):
    folder = model("clap audio")
    front = pretrained.load(folder, "audio").front
    sizes = {"hidden": 4, "depth": 1, "rngs": nnx.Rngs(0)}
    for frames in (front.longest, front.longest + 1):
        row = np.zeros((1, frames * front.bands), np.float32)
        if frames > front.longest:
            with pytest.raises(
                ValueError, match=f"has {row.size} numbers a row, and .* of other s"
            ):
                pretrained.Tower(row.size, 4, modality="it", encoders={"it": str(folder)}, **sizes)
            with pytest.raises(ValueError, match=rf"at most {front.longest}, {front.bands}\]"):
                front({"input_features": row.reshape(1, 1, frames, front.bands)})
            continue
        tower = pretrained.Tower(row.size, 4, modality="it", encoders={"it": str(folder)}, **sizes)
        assert tower(jax.numpy.asarray(row)).shape == (1, 4)
