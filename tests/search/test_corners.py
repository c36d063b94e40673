"""What a slip in the code would change, and nothing else that is tested here."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from gramalign import Index
from gramalign.scores import CosineScore
from gramalign.search import programs


def test_a_file_that_names_other_modalities(tmp_path):
    path = tmp_path / "index.safetensors"
    Index({"a": np.eye(3), "b": np.eye(3)}).save(path)
    with safetensors.safe_open(path, "numpy") as opened:
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}
        about = json.loads(opened.metadata()["gramalign.index"])
    about["modalities"] = ["a"]
    safetensors.numpy.save_file(arrays, path, metadata={"gramalign.index": json.dumps(about)})
    expected = r"expected \['embeddings.a', 'ids.ends', 'ids.text', 'present.a'\]"
    with pytest.raises(ValueError, match=f"is damaged: got .*{expected}"):
        Index.load(path)


def test_where_all_hits_are_on_one_device():
    x = np.random.default_rng(0).normal(size=(80, 4))
    index = Index({"a": x, "b": x}, {"b": np.arange(80) < 40}, devices=jax.devices()[:2])
    hits = index.search({"a": x[:1]}, k=80)
    assert sorted(hits.numbers[0, :40]) == list(range(40))
    assert (hits.numbers[0, 40:] == -1).all() and (hits.ids[0, 40:] == "").all()


def test_factors_are_made_a_tile_at_a_time():
    seen = []

    class Seen(CosineScore):
        def cols(self, embeddings, present=None):
            seen.append(embeddings["b"].shape[0])
            return super().cols(embeddings, present)

    mesh = programs.mesh_over(jax.devices()[:1])
    x = {m: jnp.eye(32) for m in "ab"}
    programs.columns(Seen("a", "b"), x, {m: jnp.ones(32, bool) for m in x}, mesh=mesh, tile=8)
    assert set(seen) == {8}
