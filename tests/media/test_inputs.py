"""What encoders take is kept in the place of features, for towers that are those encoders."""

import json
import shlex
import shutil
from typing import Any

import jax
import numpy as np
import pytest
import soundfile
from flax import nnx

from gramalign.cli import main
from gramalign.data import load as load_store
from gramalign.decoding.folders import digest_of
from gramalign.decoding.inputs import row_of, rows_of
from gramalign.decoding.reading import Reading
from gramalign.media import features
from gramalign.models.pretrained import Tower
from tests.media.conftest import ROWS
from tests.media.made import write_image


def given(encoders) -> dict[str, Any]:
    clip = encoders / "clip"
    kinds = {"text": {"caption": encoders / "bert"}, "image": {"photo": clip}}
    return {**kinds, "video": {"film": clip}, "audio": {"sound": encoders / "whisper"}}


@pytest.fixture(scope="module")
def made(table, encoders, tmp_path_factory):
    """A store of inputs, and one of features."""
    root = tmp_path_factory.mktemp("inputs")
    options: dict[str, Any] = {**given(encoders), "frames": 3, "tokens": 9}
    kept = features(table, root / "inputs", **options, inputs=True)
    return kept, features(table, root / "features", **options)


def pooled(folder, modality, rows):
    """What a tower gives its head, of weights that it brings."""
    rngs = nnx.Rngs(0)
    sizes: dict[str, Any] = {"hidden": 4, "depth": 1}
    encoders = {modality: str(folder)}
    tower = Tower(rows.shape[1], 4, modality=modality, encoders=encoders, **sizes, rngs=rngs)
    weights = tower.initial_weights()
    for path, variable in nnx.to_flat_state(nnx.state(tower, nnx.Param)):
        if (name := ".".join(map(str, path))) in weights:
            variable[...] = weights.pop(name)
    assert not weights
    tower.head.kernel[...] = np.eye(tower.encoder.dim, 4, dtype=np.float32)
    return np.asarray(jax.jit(tower)(rows.astype(np.float32)))


def test_towers_make_of_them_what_features_are(made, encoders):
    kept, wanted = made
    assert kept.dims == {"caption": 9, "photo": 432, "film": 3 * 432, "sound": 9 * 20}
    dtypes = {name: str(kept.features[name].dtype) for name in kept.dims}
    assert dtypes == {"caption": "int32"} | dict.fromkeys(("photo", "film", "sound"), "float16")
    for modality, folder in (("caption", "bert"), ("photo", "clip"), ("film", "clip")):
        there = np.asarray(kept.present[modality])
        np.testing.assert_array_equal(there, wanted.present[modality])
        found = pooled(encoders / folder, modality, np.asarray(kept.features[modality]))
        of_features = np.asarray(wanted.features[modality])[:, :4]
        np.testing.assert_allclose(found[there], of_features[there], atol=5e-3)
    captions = np.asarray(kept.features["caption"])
    assert captions.min() == -1 and captions.max() == 49  # padding, and the end of a text


def test_towers_of_samples_do_not_hear_the_silence_after_a_sound(sounds, encoders, tmp_path):
    given = {"sound": encoders / "wav2vec2"}
    kept = features(sounds, tmp_path / "inputs", audio=given, inputs=True)
    wanted = features(sounds, tmp_path / "features", audio=given, batch_size=8).features["sound"]
    rows = np.asarray(kept.features["sound"])
    assert rows.dtype == np.float16 and rows.shape == (2, 160_000)
    found = pooled(encoders / "wav2vec2", "sound", rows[:, :40_000])  # with less of it
    np.testing.assert_allclose(found, np.asarray(wanted)[:, :4], atol=5e-3)


@pytest.mark.parametrize("on_demand", [False, True])
def test_nor_do_those_of_spectra_where_the_encoder_has_a_mask(on_demand, encoders, tmp_path):
    rng = np.random.default_rng(0)
    ends = {"short": 4000, "silent": 9000, "whole": 16_000}
    for name, end in ends.items():
        samples = 0.1 * rng.normal(size=end)
        if name == "silent":  # which is no padding
            samples[3000:] = 0
        soundfile.write(tmp_path / f"{name}.wav", samples, 16000, subtype="FLOAT")
    (tmp_path / "media.csv").write_text("sound\n" + "".join(f"{name}.wav\n" for name in ends))
    given = {"sound": encoders / "whisper"}
    options = {"inputs": True, "on_demand": on_demand}
    kept = features(tmp_path / "media.csv", tmp_path / "inputs", audio=given, **options)
    wanted = features(tmp_path / "media.csv", tmp_path / "features", audio=given).features["sound"]
    rows = np.asarray(kept.features["sound"][np.arange(3)])
    assert rows.reshape(3, 9, 20)[:, 8].sum(axis=1).tolist() == [5, 12, 20]
    found = pooled(encoders / "whisper", "sound", rows)
    np.testing.assert_allclose(found, np.asarray(wanted)[:, :4], atol=5e-3)
    heard_all = rows.reshape(3, 9, 20).copy()
    heard_all[:, 8] = 1
    heard_all = pooled(encoders / "whisper", "sound", heard_all.reshape(3, -1))
    assert (np.abs(heard_all - found).max(axis=1) > 0.05).tolist() == [True, True, False]


def test_rows_of_a_spectrum_without_its_mask_are_refused(encoders):
    with pytest.raises(ValueError, match="sound has 160 numbers a row, and .*: make the rows with"):
        pooled(encoders / "whisper", "sound", np.zeros((1, 160), np.float16))


def test_towers_of_videos_see_frames_together(films, encoders, tmp_path):
    given = {"film": encoders / "videomae"}
    kept = features(films, tmp_path / "inputs", video=given, inputs=True)
    wanted = features(films, tmp_path / "features", video=given, batch_size=8).features["film"]
    rows = np.asarray(kept.features["film"])
    assert rows.dtype == np.float16 and rows.shape == (2, 6 * 3 * 12 * 8)
    found = pooled(encoders / "videomae", "film", rows)
    np.testing.assert_allclose(found, np.asarray(wanted)[:, :4], atol=5e-3)


def test_of_a_sound_the_middle_is_kept(made, table, encoders):
    kept, _ = made
    whisper = Reading("audio", str(encoders / "whisper"), "whisper", longest=0, frames=1).reader()
    windows = whisper(str(table.with_name("sounds") / "9.wav"))["input_features"]
    assert windows.shape == (3, 8, 20)
    middle = np.asarray(kept.features["sound"])[9].reshape(9, 20)[:8]
    np.testing.assert_array_equal(middle, windows[1].astype(np.float16))


@pytest.mark.parametrize(
    ("there", "count", "taken"),
    [(5, 1, [2]), (4, 2, [1, 3]), (2, 4, [0, 0, 1, 1]), (1, 3, [0] * 3)],
)
def test_pieces_are_spread_or_repeated(there, count, taken):
    pieces = {"pixel_values": np.arange(there, dtype=np.float32)[:, None]}
    assert row_of(pieces, count).tolist() == taken


def test_images_of_several_sizes_make_no_rows():
    cells = [(n, {"pixel_values": np.zeros((1, 3, 4, 4 + n))}) for n in range(2)]
    with pytest.raises(ValueError, match="rows of inputs are 48 and 60 numbers wide: let the"):
        rows_of(cells, 2, pieces=1)


def test_another_kind_of_job_does_not_go_on(table, encoders, tmp_path):
    from gramalign.media import job

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "join", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            features(table, tmp_path / "out", **given(encoders), inputs=True)
    with pytest.raises(ValueError, match=r"was begun with batch_size None \(now 64\), dtype None"):
        features(table, tmp_path / "out", **given(encoders))
    features(table, tmp_path / "out", **given(encoders), inputs=True)
    assert len(load_store(str(tmp_path / "out"))) == ROWS


@pytest.mark.parametrize("inputs", [True, False])
def test_weights_play_no_part_in_inputs(inputs, table, encoders, tmp_path):
    bert = shutil.copytree(encoders / "bert", tmp_path / "bert")
    (bert / "model.safetensors.index.json").write_text("{}")  # of the weights as well
    digests = [digest_of(folder, weights=not inputs) for folder in (bert, encoders / "bert")]
    assert (digests[0] == digests[1]) == inputs
    (bert / "model.safetensors").unlink()
    if inputs:
        features(table, tmp_path / "out", text={"caption": bert}, inputs=True)
        made = json.loads((tmp_path / "out" / "media.json").read_text())
        assert made["modalities"]["caption"]["digest"] == digests[0]


def test_modules_after_a_transformer_are_of_its_digest(encoders, tmp_path):
    bert = shutil.copytree(encoders / "bert", tmp_path / "bert")
    modules = [
        {"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Dense", "path": "narrow"},
    ]
    (bert / "modules.json").write_text(json.dumps(modules))
    (bert / "narrow").mkdir()
    digests = set()
    for weights in (b"some", b"others"):
        (bert / "narrow" / "model.safetensors").write_bytes(weights)
        digests.add(digest_of(bert, weights=True))
    assert len(digests) == 2


def test_a_chunk_of_nothing_but_bad_files(encoders, tmp_path, monkeypatch):
    monkeypatch.setattr("gramalign.media.job._ROWS", 2)
    rows = ["caption,photo"]
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
        rows.append(f"a cat,{number}.png")
    write_image(tmp_path / "4.png", 0)
    (tmp_path / "media.csv").write_text("\n".join(rows) + "\n")
    store = features(
        *(tmp_path / "media.csv", tmp_path / "out"),
        text={"caption": encoders / "bert"},
        image={"photo": encoders / "clip"},
        inputs=True,
        on_bad_file="missing",
    )
    assert store.present["photo"].tolist() == [False] * 4 + [True]
    assert np.asarray(store.features["photo"])[4].any()


@pytest.mark.parametrize("on_demand", [False, True])
def test_numbers_that_rows_have_no_room_for(on_demand, encoders, tmp_path):
    samples = np.random.default_rng(0).normal(size=4000)
    soundfile.write(tmp_path / "quiet.wav", 0.1 * samples, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "loud.wav", 1e6 * samples, 16000, subtype="FLOAT")
    folder = shutil.copytree(encoders / "hubert", tmp_path / "hubert")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings = json.dumps({**settings, "do_normalize": False})
    (folder / "preprocessor_config.json").write_text(settings)
    (tmp_path / "media.csv").write_text("caption,sound\na cat,quiet.wav\nthe dog,loud.wav\n")
    with pytest.raises(ValueError, match=r"sound 'loud.wav' cannot be read: it becomes .* float16"):
        features(
            *(tmp_path / "media.csv", tmp_path / "out"),
            text={"caption": encoders / "bert"},
            audio={"sound": folder},
            inputs=True,
            on_demand=on_demand,
        )


def test_when_nothing_tells_their_width(encoders, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    (tmp_path / "media.csv").write_text("caption,photo\na cat,a.png\nthe dog,a.png\n")
    with pytest.raises(ValueError, match=r"no file of photo can be read, such as"):
        features(
            tmp_path / "media.csv",
            tmp_path / "out",
            text={"caption": encoders / "bert"},
            image={"photo": encoders / "clip"},
            inputs=True,
            on_bad_file="missing",
        )


@pytest.mark.slow
def test_from_a_table_to_a_trained_run(table, encoders, tmp_path, capsys):
    clip, out = encoders / "clip", tmp_path / "a store"
    options = ("--text", f"caption={clip}", "--image", f"photo={clip}", "--inputs")
    main(["features", str(table), *options, "--out", str(out)])
    (told,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("next: "))
    command = shlex.split(told.removeprefix("next: gramalign "))
    where = ("--out", str(tmp_path / "run"), "--layout.data", "1")
    sizes = ("--steps", "4", "--batch-size", "4", "--objective", "clip", "--no-evaluation")
    main([*command, *sizes, *where])
    assert "trained: " in capsys.readouterr().out
