"""What cannot be trained is refused before anything in the run's folder is touched."""

import numpy as np
import pytest

from gramalign.training import Layout, config_from_json, config_to_json, train
from gramalign.training.config_json import differences
from gramalign.training.run_folder import RunFolder


def save(folder, **arrays):
    folder.mkdir()
    for name, array in arrays.items():
        kind = bool if name.startswith("present.") else np.float32
        np.save(folder / f"{name}.npy", array.astype(kind))
    return str(folder)


def stores(root):
    rng = np.random.default_rng(0)
    text, audio = rng.normal(size=(40, 4)), np.full((40, 3), 0.1)
    both = {"text": text, "depth": text}
    there = np.arange(40) % 2 == 0
    apart = {**both, "present.text": there, "present.depth": ~there}
    return {
        "one of three": save(root / "three", audio=audio, **both),
        "constant": save(root / "constant", text=text, audio=audio),
        "alone": save(root / "alone", text=text),
        "apart": save(root / "apart", **apart),
        "one row": save(root / "one", text=text[:1], depth=text[:1]),
    }


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("constant", "audio is the same in all .* learn from it: look at its features"),
        ("one of three", "audio is the same in all .* with --modalities depth text"),
        ("alone", "has only text, expected at least two modalities"),
        ("apart", "no training row has two of depth, text"),
        ("one row", "has 1 training row, expected at least 2: mark more as train"),
        ({"batch_size": 49}, "batch_size is 49"),
        ({"layout": Layout(rules=(("bias$", "fsdp,-"),))}, "has more axes than params."),
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_that_is_there_stays(wrong, message, overwrite, tmp_path, small_config):
    out = tmp_path / "run"
    if overwrite:
        RunFolder(out).claim(small_config(), resume=False, overwrite=False)
        (out / "params.safetensors").write_text("precious")
    changes = {"data": stores(tmp_path)[wrong]} if isinstance(wrong, str) else wrong
    before = sorted(out.iterdir()) if overwrite else None
    with pytest.raises(ValueError, match=message):
        train(small_config(**changes), out, overwrite=overwrite)
    assert (sorted(out.iterdir()) if overwrite else None) == before, "nothing deleted or added"
    assert out.exists() == overwrite


@pytest.mark.parametrize("wrong", ["digits", {"data": "digits"}])
def test_what_is_no_config(wrong, tmp_path, unchecked):
    with pytest.raises(TypeError, match=r"config must be a Config, such as Config\(data=.*, got "):
        train(wrong, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_does_not_delete_what_it_starts_from(tmp_path, small_config):
    out = tmp_path / "run"
    RunFolder(out).claim(small_config(), resume=False, overwrite=False)
    (out / "params.safetensors").write_text("precious")
    for source in (out, out / "params.safetensors"):
        with pytest.raises(ValueError, match="itself, which overwrite would delete first"):
            train(small_config(start_from=str(source)), out, overwrite=True)
    assert (out / "params.safetensors").read_text() == "precious"


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
def test_two_processes_in_one_folder(how, tmp_path, small_config):
    folder = RunFolder(tmp_path)
    with (
        folder.lock(),
        pytest.raises(FileExistsError, match="another process is training in"),
    ):
        train(small_config(), tmp_path, **how)


def test_an_objective_has_one_spelling(small_config):
    assert small_config(objective="1*gram+0.30*clip") == small_config(objective="gram + 0.3*clip")


@pytest.mark.parametrize("weight", [1 / 3, 1.0000001, 0.12345678, 1e-9, 123456789.0])
def test_weights_are_kept_to_the_last_digit(weight, small_config):
    config = small_config(objective=f"{weight!r}*gram + clip")
    assert config.weights["gram"] == weight
    again = config_from_json(config_to_json(config))
    assert again == config and not differences(config, again)
