import numpy as np
import pytest
import safetensors.numpy

from gramalign.training import load_run
from gramalign.training.params_file import KEY, load_params, read_about, save_params

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


def test_whatever_the_order_that_arrays_lie_in(tmp_path):
    turned = {"w": np.arange(6.0).reshape(2, 3).T, "n": np.float32(2)}
    path = f"{tmp_path}/params.safetensors"  # by name as well
    save_params(path, turned, {})
    found = load_params(path, turned)
    np.testing.assert_array_equal(found["w"], turned["w"])
    assert found["n"].shape == ()


@pytest.mark.parametrize("size", [0, 5, 100, -3])
def test_a_file_that_is_cut_short(path, size):
    path.write_bytes(path.read_bytes()[:size])
    for read in (read_about, lambda path: load_params(path, TREE)):
        with pytest.raises(
            ValueError, match="params.safetensors is damaged, or was not written by a run"
        ):
            read(path)


@pytest.mark.parametrize(
    ("metadata", "why"), [(None, "it lacks the entry 'gramal"), ({"gramalign": "{"}, "Expecting")]
)
def test_a_file_of_somebody_else(path, metadata, why):
    safetensors.numpy.save_file({"x": np.ones(3)}, path, metadata)
    with pytest.raises(ValueError, match=f"not written by a run of gramalign: {why}"):
        read_about(path)


@pytest.mark.parametrize(
    ("like", "message"),
    [
        (
            {"c": np.ones(1), "a.dot": TREE["a.dot"]},
            r"it lacks \['c'\], and also has \['b.layers.0', 'b",
        ),
        (TREE | {"c": np.ones(1)}, r"it lacks \['c'\], and also has nothing"),
        ({"b": TREE["b"]}, r"it lacks nothing, and also has \['a.dot'\]"),
        (TREE | {"a.dot": np.ones(4)}, r"a.dot has shape \(\), expected \(4,\)"),
    ],
)
def test_other_names_and_shapes_are_refused(path, like, message):
    with pytest.raises(ValueError, match=message):
        load_params(path, like)


def test_a_write_that_is_cut_off_leaves_what_was_there(path, monkeypatch):
    def cut_off(arrays, draft, metadata):
        draft.write_bytes(b"half of it")
        raise OSError("No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr("safetensors.numpy.save_file", cut_off)
    with pytest.raises(OSError, match="No space"):
        save_params(path, TREE, {})
    assert [file.read_bytes() for file in path.parent.iterdir()] == [before]


@pytest.mark.parametrize(
    ("about", "told"),
    [("3", "its metadata are 3, expected values"), ("{}", "its metadata lack config, dims, step")],
)
def test_metadata_of_something_else(about, told, tmp_path):
    path = tmp_path / "params.safetensors"
    safetensors.numpy.save_file({"a": np.ones(2)}, path, metadata={KEY: about})
    with pytest.raises(ValueError, match=f"{path} is damaged, or was not written .*: {told}"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dims": 3}, " is damaged: dims is 3, expected the width of each"),
        ({"dims": {"text": 0}}, " is damaged: dims is .*'text': 0.*, expected the width of each"),
        ({"step": "x"}, " is damaged: step is 'x', expected a whole number"),
        ({"config": {"modl": 1}}, ": config: unknown modl"),
        ({"config": {"model": {"dim": 0}}}, ": Model.dim is 0, expected at least 1"),
    ],
)
def test_metadata_of_other_kinds(change, told, tmp_path):
    path = tmp_path / "params.safetensors"
    save_params(path, TREE, {"config": {}, "dims": {"text": 2}, "step": 1, **change})
    with pytest.raises(ValueError, match=f"{path}{told}"):
        load_run(tmp_path)
