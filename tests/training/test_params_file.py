import numpy as np
import pytest

from gramalign.training.params_file import load_params, read_about, save_params

TREE = {"b": {"layers": {0: np.ones((2, 3)), 1: np.zeros(3)}}, "a.dot": np.float32(2)}


@pytest.fixture
def path(tmp_path):
    about = {"config": {"seed": 0}, "dims": {"b": 3}}
    save_params(tmp_path / "params.safetensors", TREE, about)
    return tmp_path / "params.safetensors"


def test_there_and_back(path):
    loaded = load_params(path, TREE)
    np.testing.assert_array_equal(loaded["b"]["layers"][0], TREE["b"]["layers"][0])
    assert loaded["a.dot"] == 2
    assert read_about(path) == {"config": {"seed": 0}, "dims": {"b": 3}}
    assert [file.name for file in path.parent.iterdir()] == ["params.safetensors"]


def test_other_names_and_shapes_are_refused(path):
    with pytest.raises(ValueError, match=r"lacks \['c'\], has besides \['b.layers.0', 'b"):
        load_params(path, {"c": np.ones(1), "a.dot": TREE["a.dot"]})
    other = {**TREE, "a.dot": np.ones(4)}
    with pytest.raises(ValueError, match=r"a.dot has shape \(\), wanted \(4,\)"):
        load_params(path, other)
