"""Means over pieces, whatever batches they fall into."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.media.encoding import Encoding, encoding_of, means


@pytest.mark.parametrize("size", [1, 4, 7, 64])
def test_means_of_pieces_of_several_lengths(size):
    rng = np.random.default_rng(0)
    # Of each cell some pieces, of 3 or 5 numbers each; some cells have none.
    cells = {
        cell: rng.normal(size=(1 + cell % 4, 3 + 2 * (cell % 2))).astype(np.float32)
        for cell in range(20)
        if cell % 6
    }
    shapes = []

    def encode(pieces):
        shapes.append(pieces["x"].shape)
        return jnp.stack([pieces["x"].sum(axis=1), pieces["x"].max(axis=1)], axis=1)

    encoding = Encoding(encode, dim=2, devices=2)
    given = ((cell, {"x": x}) for cell, x in cells.items())
    found = means(given, 20, encoding=encoding, batch_size=size)
    whole = size + size % 2
    assert set(shapes) == {(whole, 3), (whole, 5)}, "a multiple of the devices"
    assert found.shape == (20, 2) and found.dtype == np.float32
    for cell in range(20):
        wanted = np.zeros(2)
        if cell in cells:
            x = cells[cell]
            wanted = [x.sum(axis=1).mean(), x.max(axis=1).mean()]
        np.testing.assert_allclose(found[cell], wanted, rtol=1e-5, atol=1e-6)


def test_under_a_mesh_that_is_set(encoders):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    pieces = {name: np.ones((8, 12), np.int32) for name in ("input_ids", "attention_mask")}
    with jax.set_mesh(mesh):
        found = encoding_of(encoders / "clip", "text", "float32").encode(pieces)
    assert found.shape == (8, 10)
