"""A table of media becomes a feature store, whatever happens on the way."""

import dataclasses
import functools
import json
import shutil
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np
import pytest
import soundfile

from gramalign import files
from gramalign.data import load as load_store
from gramalign.decoding.pieces import Kind
from gramalign.decoding.reading import Reading
from gramalign.decoding.wording import wording
from gramalign.files import locked
from gramalign.media import features, features_like, job
from gramalign.media.encoding import encoding_of
from gramalign.media.recipe import Options, recipe_of
from gramalign.models.pretrained import load
from tests.compilations import compilations
from tests.media.conftest import ROWS
from tests.media.made import write_encoders, write_image


def given(encoders) -> dict[str, Any]:
    """All four kinds."""
    clip, whisper = encoders / "clip", encoders / "whisper"
    return {
        "text": {"caption": clip},
        "image": {"photo": clip},
        "video": {"film": clip},
        "audio": {"sound": whisper},
        "frames": 3,
    }


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "encoding_of", functools.cache(job.encoding_of))
        yield


@pytest.fixture
def small(monkeypatch) -> dict[str, Any]:
    """Chunks of a few cells."""
    monkeypatch.setattr(job, "_BATCHES", 1)
    return {"batch_size": 4}


@pytest.fixture(scope="module")
def made(table, encoders, tmp_path_factory):
    """A store made without interruption, in those chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "_BATCHES", 1)
        out = tmp_path_factory.mktemp("made") / "store"
        features(table, out, **given(encoders), batch_size=4)
    return out


def bytes_of(store):
    return {path.name: path.read_bytes() for path in store.iterdir()}


def test_a_feature_is_the_mean_over_a_cells_pieces(table, encoders, made):
    store = load_store(str(made))
    assert store.dims == {"caption": 10, "photo": 10, "film": 10, "sound": 24}
    texts, images, films, sounds = get_args(Kind)
    for name, kind, folder, path in (
        ("caption", texts, "clip", None),
        ("photo", images, "clip", "photos/{}.png"),
        ("film", films, "clip", "films/{}.mp4"),
        ("sound", sounds, "whisper", "sounds/{}.wav"),
    ):
        encoder = jax.jit(load(encoders / folder, "image" if kind == "video" else kind))
        read = Reading(
            kind, str(encoders / folder), model_type=folder, longest=12, frames=3
        ).reader()
        text = "a the cat dog bird sees hears red small large one".split()
        for row in np.flatnonzero(store.present[name]):
            cell = str(table.parent / path.format(row)) if path else " ".join(text[: 1 + row])
            pieces = read(cell)
            alone = [
                encoder({name: x[n : n + 1] for name, x in pieces.items()})[0]
                for n in range(len(next(iter(pieces.values()))))
            ]
            wanted = np.mean(np.asarray(alone, np.float64), axis=0)
            found = store.features[name][row]
            np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)
    assert store.present["sound"].tolist() == [i % 5 != 0 for i in range(ROWS)]
    assert store.present["film"].tolist() == [i % 3 != 0 for i in range(ROWS)]
    assert store.ids.tolist() == [f"row{i}" for i in range(ROWS)]
    np.testing.assert_array_equal(store.labels, np.arange(ROWS) % 2)
    np.testing.assert_array_equal(store.groups, np.arange(ROWS) // 2)


def test_texts_are_as_long_as_sentence_transformers_takes_them(table, encoders, tmp_path):
    folder = shutil.copytree(encoders / "bert", tmp_path / "bert")
    settings = {"max_seq_length": 4, "do_lower_case": False}
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))

    def captions(bert, name, **more):
        made = features(table, tmp_path / name, text={"caption": bert}, batch_size=16, **more)
        return np.asarray(made.features["caption"])

    short, wanted = captions(folder, "short"), captions(encoders / "bert", "wanted", tokens=4)
    longer = captions(folder, "longer", tokens=9)
    np.testing.assert_allclose(short, wanted, atol=1e-6)
    assert np.abs(longer - short).max() > 0.01, "what is asked for counts"


@pytest.mark.parametrize(("tokens", "longest"), [(None, 12), (1000, 12), (9, 9)])
def test_no_text_is_longer_than_its_encoder_takes(encoders, tokens, longest):
    options = Options(tokens=tokens, inputs=True)
    assert recipe_of("text", encoders / "bert", options, encoding_of).reading.longest == longest


def test_sentence_transformers_strips_texts(tmp_path):
    assert wording(tmp_path)(" A Cat\n") == " A Cat\n"
    (tmp_path / "modules.json").write_text("[]")
    assert wording(tmp_path)(" A Cat\n") == "A Cat"
    prompts = {"prompts": {"query": " find: "}, "default_prompt_name": "query"}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    assert wording(tmp_path)(" A Cat\n") == "find:  A Cat"


def test_texts_are_worded_as_sentence_transformers_words_them(encoders, tmp_path):
    folder = shutil.copytree(encoders / "bert", tmp_path / "bert")
    (folder / "sentence_bert_config.json").write_text(json.dumps({"do_lower_case": True}))
    prompts = {"prompts": {"query": "The Dog ", "other": ""}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    for name, texts in (("given", ["A Cat", "sees ONE"]), ("wanted", ["a cat", "sees one"])):
        before = "the dog " if name == "wanted" else ""
        rows = "".join(f"{before}{text}\n" for text in texts)
        (tmp_path / f"{name}.csv").write_text(f"caption\n{rows}")

    def made(name, bert, **more):
        table = tmp_path / f"{name}.csv"
        store = features(table, tmp_path / "made", text={"caption": bert}, **more)
        asked = features_like(tmp_path / "made", {"caption": bert})({"caption": ["A Cat"]})
        found = np.asarray(store.features["caption"][np.arange(2)])
        shutil.rmtree(tmp_path / "made")
        return found, asked["caption"][0]

    wanted, _ = made("wanted", encoders / "bert")
    found, asked = made("given", folder)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_allclose(asked, wanted[0], atol=1e-6)
    wanted, _ = made("wanted", encoders / "bert", inputs=True)
    for on_demand in (False, True):
        found, asked = made("given", folder, inputs=True, on_demand=on_demand)
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(asked, wanted[0])


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("sentence_bert", {"do_lower_case": "x"}, "do_lower_case is 'x', expected true or false"),
        ("config_sentence_transformers", {"default_prompt_name": "x"}, "is 'x', .* text: none"),
        (
            "config_sentence_transformers",
            {"default_prompt_name": "x", "prompts": {"x": 3, "y": ""}},
            "is 'x', .* text: x, y",
        ),
    ],
)
def test_a_wording_that_is_none_is_refused(name, settings, told, table, encoders, tmp_path):
    folder = shutil.copytree(encoders / "bert", tmp_path / "bert")
    name = f"{name}_config.json" if name == "sentence_bert" else f"{name}.json"
    (folder / name).write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=f"{name}: .*{told}"):
        features(table, tmp_path / "store", text={"caption": folder})
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("longest", [0, -1, "x", [4], True, 1.5])
def test_a_length_of_texts_that_is_none_is_refused(longest, table, encoders, tmp_path):
    folder = shutil.copytree(encoders / "bert", tmp_path / "bert")
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": longest}))
    told = "sentence_bert_config.json: max_seq_length is .*, expected a whole number of at least 1"
    with pytest.raises(ValueError, match=told):
        features(table, tmp_path / "store", text={"caption": folder})
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(("name", "windows"), [("wav2vec2", 1), ("hubert", 2)])
def test_sounds_whose_encoders_take_samples(name, windows, sounds, encoders, tmp_path):
    found = features(sounds, tmp_path / "store", audio={"sound": encoders / name}, batch_size=4)
    encoder = jax.jit(load(encoders / name, "audio"))
    samples, _ = soundfile.read(sounds.parent / "sounds/7.wav", dtype="float32")
    parts = [samples] if windows == 1 else [samples[:20000], samples[8000:]]
    alone = []
    for part in parts:  # neither padded nor masked
        normal = (part - part.mean()) / np.sqrt(part.var() + 1e-7)
        alone.append(encoder({"input_values": normal[None]})[0])
    wanted = np.mean(alone, axis=0)
    np.testing.assert_allclose(found.features["sound"][1], wanted, atol=2e-5)


def test_videos_whose_encoder_sees_frames_together(films, encoders, tmp_path):
    folder = encoders / "videomae"
    found = features(films, tmp_path / "store", video={"film": folder}, frames=2, batch_size=48)
    encoder = jax.jit(load(folder, "video"))
    read = Reading(
        "video", str(folder), model_type="videomae", longest=0, frames=6, together=True
    ).reader()
    assert "frames" not in json.loads((tmp_path / "store" / "media.json").read_text())["options"]
    for row, film in enumerate((1, 7)):
        pieces = read(str(films.parent / f"films/{film}.mp4"))
        np.testing.assert_allclose(found.features["film"][row], encoder(pieces)[0], atol=2e-5)


def test_a_store_tells_how_it_was_made(encoders, made):
    about = json.loads((made / "media.json").read_text())
    assert about["options"] == {"batch_size": 4, "dtype": "float32", "frames": 3}
    assert about["table"]["name"] == "media.csv" and about["table"]["rows"] == ROWS
    of_photo, of_sound = about["modalities"]["photo"], about["modalities"]["sound"]
    assert of_photo["kind"] == "image" and of_photo["encoder"] == "clip"
    assert of_sound["encoder"] == "whisper" and of_sound["digest"] != of_photo["digest"]
    assert {path.suffix for path in made.iterdir()} == {".json", ".npy"}
    assert [path.name for path in made.parent.iterdir()] == ["store"], "nothing else is left"


def test_neighbours_do_not_matter(table, encoders, made, tmp_path):
    lines = table.read_text().splitlines()
    some = table.with_name("some.csv")
    some.write_text("\n".join([lines[0], *lines[:3:-2]]))
    store = features(some, tmp_path / "some", **given(encoders), batch_size=7)
    whole = load_store(str(made))
    rows = [whole.ids.tolist().index(name) for name in store.ids]
    assert len(rows) == 4 and rows == sorted(rows, reverse=True)
    for name in store.modalities:
        np.testing.assert_array_equal(store.present[name], whole.present[name][rows])
        np.testing.assert_allclose(
            store.features[name], whole.features[name][rows], rtol=2e-5, atol=2e-5
        )


class Killed(BaseException):
    pass


@pytest.mark.parametrize("place", [0, 9, 16, 30])
def test_interrupted_anywhere_it_goes_on_to_the_same_bits(
    place, table, encoders, made, small, tmp_path
):
    calls = []

    def report(*call):
        calls.append(call)
        if len(calls) == place + 1:
            raise Killed

    out = tmp_path / "store"
    with pytest.raises(Killed):
        features(table, out, **given(encoders), **small, report=report)
    assert not out.exists()
    # Chunks are only made if they are not there.
    kept = sorted((tmp_path / "store.unfinished" / "chunks").iterdir())
    times = [path.stat().st_mtime_ns for path in kept]
    (tmp_path / "store.unfinished" / "photo.npy.0123456789ab.part").touch()  # what kills leave

    def unchanged(*_):
        assert [path.stat().st_mtime_ns for path in kept] == times

    features(table, out, **given(encoders), **small, report=unchanged)
    assert bytes_of(out) == bytes_of(made)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize(
    "step",
    [
        "gramalign.media.work.write_text",  # before there is a job
        "gramalign.media.work.np.savez",  # when a chunk is begun
        "gramalign.media.job.join",
        "gramalign.media.work.Work.save",  # when some of the arrays are there
        "gramalign.media.work.shutil.rmtree",
        "gramalign.files.Path.unlink",
    ],
)
def test_interrupted_at_the_end(step, table, encoders, made, small, tmp_path, monkeypatch):
    def killed(*_, **__):
        raise Killed

    out = tmp_path / "store"
    with monkeypatch.context() as patch:
        patch.setattr(step, killed)
        with pytest.raises(Killed):
            features(table, out, **given(encoders), **small)
    assert not out.exists()
    features(table, out, **given(encoders), **small)
    assert bytes_of(out) == bytes_of(made)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def begun(table, encoders, out, **options):
    """A job that was interrupted in its first column."""

    def report(name, done, total):
        if done == 6:
            raise Killed

    with pytest.raises(Killed):
        features(table, out, **{**given(encoders), **options}, report=report)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"batch_size": 5}, r"batch_size 4 \(now 5\)"),
        ({"frames": 4}, r"frames 3 \(now 4\)"),
        ({"dtype": "bfloat16"}, r"dtype float32 \(now bfloat16\)"),
        (
            {"inputs": True},
            r"inputs None \(now True\), batch_size 4 \(now None\), dtype float32 \(now None\)"
            "(?!.*another encoder)",
        ),
        ({"audio": {}}, r"the columns caption, photo, film, sound \(now caption, photo, film\)"),
        ({"table": None}, "another table"),
        (
            {"encoder": None},
            r"another encoder of sound, whisper \(now whisper, whose files",
        ),
    ],
)
def test_another_job_does_not_go_on(change, message, table, encoders, small, tmp_path):
    folder = shutil.copytree(table.parent, tmp_path / "media")
    models = shutil.copytree(encoders, tmp_path / "encoders")
    out = tmp_path / "store"
    begun(folder / "media.csv", models, out, **small)
    if "table" in change:
        with (folder / "media.csv").open("a") as file:
            file.write("row99,a dog,,,,0,g,unused\n")
    if "encoder" in change:
        path = models / "whisper" / "preprocessor_config.json"
        path.write_text(path.read_text().replace("1600}", "1601}"))
    options = {k: v for k, v in change.items() if k not in ("table", "encoder")}
    with pytest.raises(ValueError, match=f"{out}.unfinished was begun with {message}.*: give what"):
        features(folder / "media.csv", out, **{**given(models), **small, **options})


def test_a_job_with_an_option_does_not_go_on_without_it(table, encoders, small, tmp_path):
    begun(table, encoders, tmp_path / "store", **small, tokens=3)
    with pytest.raises(ValueError, match=r"was begun with tokens 3 \(now None\): give what was"):
        features(table, tmp_path / "store", **given(encoders), **small)


def test_interrupted_last_of_all(table, encoders, made, small, tmp_path, monkeypatch):
    rename = Path.rename

    def killed(path, target):
        if target == tmp_path / "store":
            raise Killed
        rename(path, target)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Path, "rename", killed)
        features(table, tmp_path / "store", **given(encoders), **small)
    features(table, tmp_path / "store", **given(encoders), **small)
    assert bytes_of(tmp_path / "store") == bytes_of(made)


def test_frames_do_not_matter_without_videos(table, encoders, small, tmp_path):
    text = {"text": {"caption": encoders / "clip"}, "video": {}}
    begun(table, encoders, tmp_path / "store", **small, **text, image={}, audio={})
    features(table, tmp_path / "store", **text, **small, frames=9)


def test_chunks_of_videos_have_fewer(table, encoders, small, tmp_path):
    clip = encoders / "clip"

    def report(name, done, total):
        if (name, done) == ("film", total):
            raise Killed

    with pytest.raises(Killed):
        options = {**given(encoders), **small, "text": {"caption": clip}, "report": report}
        features(table, tmp_path / "store", **options)
    chunks = tmp_path / "store.unfinished" / "chunks"
    assert len(list(chunks.glob("photo-*"))) == 2, "of four photos each"
    assert len(list(chunks.glob("film-*"))) == 6, "of one film of three frames, but for the last"


def test_another_version_does_not_go_on(table, encoders, small, tmp_path, monkeypatch):
    begun(table, encoders, tmp_path / "store", **small)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99")
    with pytest.raises(ValueError, match=r"begun with jax .* \(now 99\), transformers .* \(now 99"):
        features(table, tmp_path / "store", **given(encoders), **small)


def test_another_kind_does_not_go_on(table, encoders, small, tmp_path):
    out = tmp_path / "store"
    begun(table, encoders, out, **small)
    clip = encoders / "clip"
    as_text = {"image": {}, "text": {"caption": clip, "photo": clip}}
    with pytest.raises(ValueError, match=r"begun with photo as image \(now text\)"):
        features(table, out, **{**given(encoders), **small, **as_text})


def test_where_encoders_lie_does_not_matter(table, encoders, made, small, tmp_path):
    begun(table, encoders, tmp_path / "store", **small)
    moved = shutil.copytree(encoders, tmp_path / "moved")
    features(table, tmp_path / "store", **given(moved), **small)
    assert bytes_of(tmp_path / "store") == bytes_of(made)


def test_one_at_a_time_and_nothing_is_written_over(table, encoders, made, tmp_path):
    with pytest.raises(FileExistsError, match="already exists: choose another place"):
        features(table, made, **given(encoders))
    (tmp_path / "store.unfinished").mkdir()
    with locked(tmp_path / "store.unfinished" / "lock", "here"):
        with pytest.raises(FileExistsError, match="another process is making"):
            features(table, tmp_path / "store", **given(encoders))


def test_who_waited_finds_it_made(table, encoders, made, tmp_path, monkeypatch):
    check, checked = files.check_free, []

    def slow(out):
        check(out)
        if not checked:  # another process comes and goes between this and the lock
            checked.append(out)
            shutil.copytree(made, out)

    monkeypatch.setattr(files, "check_free", slow)
    with pytest.raises(FileExistsError, match="already exists: choose another place"):
        features(table, tmp_path / "store", **given(encoders))
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_what_others_keep_there_is_left_alone(table, encoders, tmp_path):
    (tmp_path / "store.unfinished").mkdir()
    (tmp_path / "store.unfinished" / "novel.txt").touch()
    with pytest.raises(FileExistsError, match="store.unfinished holds novel.txt: move it away"):
        features(table, tmp_path / "store", **given(encoders))


@pytest.fixture
def damaged(table, tmp_path):
    """A copy of the table, with files that cannot be read; row 11 has nothing else."""
    folder = shutil.copytree(table.parent, tmp_path / "media")
    photo = (folder / "photos" / "2.png").read_bytes()
    (folder / "photos" / "2.png").write_bytes(photo[: len(photo) // 2])
    (folder / "sounds" / "4.wav").write_bytes(b"no sound")
    (folder / "sounds" / "9.wav").write_bytes(b"")
    film = (folder / "films" / "10.mp4").read_bytes()
    (folder / "films" / "10.mp4").write_bytes(film[:900])
    with (folder / "media.csv").open("a") as file:
        file.write("row11,,,,sounds/9.wav,1,g,unused\n")
    return folder / "media.csv"


def test_a_file_that_cannot_be_read_is_named(damaged, encoders, small, tmp_path):
    with pytest.raises(ValueError) as error:
        features(damaged, tmp_path / "store", **given(encoders), **small)
    message = str(error.value)
    assert message.startswith(f"{damaged}: row 2 (line 4): photo 'photos/2.png' cannot be read: ")
    assert "truncated" in message and "--on-bad-file missing" in message
    # What is done stays done, and the same job may go on without that file.
    assert len(list((tmp_path / "store.unfinished" / "chunks").glob("caption-*"))) == 3
    features(damaged, tmp_path / "store", **given(encoders), **small, on_bad_file="missing")


def test_or_counts_as_missing(damaged, encoders, made, small, tmp_path, caplog):
    out = tmp_path / "store"
    store = features(damaged, out, **given(encoders), **small, on_bad_file="missing")
    found = [json.loads(line) for line in (out / "unreadable.jsonl").read_text().splitlines()]
    assert [(x["row"], x["line"], x["column"], x["file"]) for x in found] == [
        (2, 4, "photo", "photos/2.png"),
        (4, 6, "sound", "sounds/4.wav"),
        (9, 11, "sound", "sounds/9.wav"),
        (10, 12, "film", "films/10.mp4"),
        (11, 13, "sound", "sounds/9.wav"),
    ]
    assert all(x["reason"] for x in found)
    assert "5 files cannot be read and count as missing" in caplog.text
    assert "1 row that had nothing else left out" in caplog.text
    whole = load_store(str(made))
    assert store.ids.tolist() == whole.ids.tolist(), "all but the last"
    for name in store.modalities:
        lost = [x["row"] for x in found if x["column"] == name and x["row"] < ROWS]
        there = whole.present[name].copy()
        there[lost] = False
        np.testing.assert_array_equal(store.present[name], there)
        np.testing.assert_allclose(
            store.features[name][there], whole.features[name][there], rtol=2e-5, atol=2e-5
        )
        assert not np.asarray(store.features[name][~there]).any()


def test_rows_keep_their_numbers_when_others_are_left_out(damaged, encoders, tmp_path):
    lines = damaged.read_text().splitlines()
    damaged.write_text("\n".join([lines[0].replace("ids", "name"), lines[-1], *lines[1:4]]))
    text, audio = {"caption": encoders / "clip"}, {"sound": encoders / "whisper"}
    store = features(damaged, tmp_path / "store", text=text, audio=audio, on_bad_file="missing")
    assert store.ids.tolist() == ["1", "2", "3"]


def test_no_file_is_to_blame_for_a_lack_of_memory(table, encoders, tmp_path, monkeypatch):
    def full(path):
        raise MemoryError

    monkeypatch.setattr("gramalign.decoding.reading.picture", full)
    text, image = {"caption": encoders / "clip"}, {"photo": encoders / "clip"}
    with pytest.raises(MemoryError):
        features(table, tmp_path / "store", text=text, image=image, on_bad_file="missing")


def test_when_nothing_can_be_read(damaged, encoders, tmp_path):
    lines = damaged.read_text().splitlines()
    damaged.write_text("\n".join([lines[0], lines[-1]]))
    audio = {"sound": encoders / "whisper"}
    with pytest.raises(ValueError, match="no file of sound can be read, such as 'sounds/9.wav': "):
        features(damaged, tmp_path / "store", audio=audio, on_bad_file="missing")


@pytest.mark.parametrize("how", [{}, {"inputs": True}, {"inputs": True, "on_demand": True}])
def test_nor_is_a_modality_made_of_nothing(how, damaged, encoders, tmp_path):
    for file in (damaged.parent / "sounds").iterdir():
        file.write_bytes(b"no sound")
    text, audio = {"caption": encoders / "clip"}, {"sound": encoders / "whisper"}
    damaged.write_text("\n".join(damaged.read_text().splitlines()[:5]))
    told = f"no file of sound can be read, .* delete {tmp_path}/store.unfinished to begin anew"
    with pytest.raises(ValueError, match=told):
        features(damaged, tmp_path / "store", text=text, audio=audio, on_bad_file="missing", **how)
    assert not (tmp_path / "store").exists()


def test_a_table_may_change_while_nothing_is_kept(damaged, encoders, tmp_path):
    out, image = tmp_path / "store", {"photo": encoders / "clip"}
    header, *lines = (x for x in damaged.read_text().splitlines() if "photo" in x)
    damaged.write_text("\n".join([header, *lines]))
    with pytest.raises(ValueError, match="'photos/2.png' cannot be read.*edited table would begin"):
        features(damaged, out, image=image)
    damaged.write_text("\n".join([header, *(x for x in lines if "photos/2" not in x)]))
    features(damaged, out, image=image)
    assert out.exists()


def test_a_file_that_was_replaced_is_read(damaged, encoders, small, tmp_path, monkeypatch):
    def killed(_):
        raise Killed

    out, clip = tmp_path / "store", encoders / "clip"
    how = {"text": {"caption": clip}, "image": {"photo": clip}, **small}
    lines = damaged.read_text().splitlines()
    damaged.write_text("\n".join(lines[:-1]))
    with monkeypatch.context() as patch:
        patch.setattr("gramalign.media.work.Work.publish", killed)
        with pytest.raises(Killed):
            features(damaged, out, **how, on_bad_file="missing")
    with monkeypatch.context() as patch:
        patch.setattr("gramalign.media.recipe.means", None)  # as nothing is encoded again
        with pytest.raises(ValueError, match="row 2 .*'photos/2.png' cannot be read"):
            features(damaged, out, **how)
        patch.setattr("gramalign.media.work.Work.publish", killed)
        with pytest.raises(Killed):
            features(damaged, out, **how, on_bad_file="missing")
    write_image(damaged.parent / "photos" / "2.png", seed=2)
    features(damaged, out, **how, on_bad_file="missing")
    features(damaged, tmp_path / "whole", **how)
    assert bytes_of(out) == bytes_of(tmp_path / "whole")


def test_a_feature_that_is_not_finite(table, encoders, tmp_path, monkeypatch):
    def broken(*given):
        found = encoding_of(*given)
        return dataclasses.replace(found, encode=lambda x: found.encode(x).at[2, 3].set(np.nan))

    monkeypatch.setattr(job, "encoding_of", broken)
    text = {"caption": encoders / "clip"}
    message = r"row 2 \(line 4\): the encoder .*clip makes NaN or Inf of caption 'a the cat'"
    with pytest.raises(ValueError, match=message):
        features(table, tmp_path / "store", text=text)


def test_one_program_for_each_encoder(table, encoders, small, tmp_path, monkeypatch):
    monkeypatch.setattr(job, "encoding_of", encoding_of)
    models = shutil.copytree(encoders, tmp_path / "encoders")  # none of which is loaded yet
    with compilations() as compiled:
        features(table, tmp_path / "store", **given(models), **small)
    assert len(compiled) == 3, "photos and films share one"


def test_bfloat16_is_what_encoders_multiply_in(table, encoders, made, tmp_path):
    text = {"caption": encoders / "clip"}
    store = features(table, tmp_path / "store", text=text, dtype="bfloat16")
    found, wanted = (x.features["caption"] for x in (store, load_store(str(made))))
    assert 1e-4 < np.abs(np.asarray(found) - np.asarray(wanted)).max() < 0.1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"frames": 0}, "frames is 0, expected at least 1"),
        ({"batch_size": 0}, "batch_size is 0, expected at least 1"),
        ({"dtype": "float16"}, "dtype is 'float16', expected float32 or bfloat16"),
        ({"on_bad_file": "skip"}, "on_bad_file is 'skip', expected error or missing"),
    ],
)
def test_options(options, message, table, encoders, tmp_path, unchecked):
    with pytest.raises(ValueError, match=message):
        features(table, tmp_path / "store", **{**given(encoders), **options})


def test_an_encoder_of_another_kind(table, encoders, tmp_path):
    text = {"caption": encoders / "bert"}
    with pytest.raises(ValueError, match="bert is a bert, which encodes text, not image"):
        features(table, tmp_path / "store", text=text, image={"photo": encoders / "bert"})
    assert not list(tmp_path.iterdir())


def test_a_folder_without_what_prepares_inputs(table, tmp_path):
    folder = write_encoders(tmp_path)
    (folder / "clip" / "preprocessor_config.json").unlink()
    (folder / "bert" / "tokenizer.json").write_text("{")
    text = {"caption": folder / "clip"}
    with pytest.raises(ValueError, match="clip has no image processor that can be used here: "):
        features(table, tmp_path / "store", text=text, image={"photo": folder / "clip"})
    with pytest.raises(ValueError, match="bert has no tokenizer that can be used here: "):
        features(table, tmp_path / "store", text={"caption": folder / "bert"})


def test_code_in_a_folder_is_not_run(table, tmp_path):
    folder = write_encoders(tmp_path)
    path = folder / "bert" / "tokenizer_config.json"
    theirs = {"tokenizer_class": "Theirs", "auto_map": {"AutoTokenizer": ["theirs.Theirs", None]}}
    path.write_text(json.dumps({**json.loads(path.read_text()), **theirs}))
    (folder / "bert" / "theirs.py").write_text("raise SystemExit('run')")
    features(table, tmp_path / "store", text={"caption": folder / "bert"})


def test_without_the_packages(table, encoders, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = r"needs transformers, pillow, soundfile, soxr, av, not installed here: pip install"
    with pytest.raises(ValueError, match=message):
        features(table, tmp_path / "store", **given(encoders))
