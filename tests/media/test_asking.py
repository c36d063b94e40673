"""What is asked of a store becomes what the same cell of its table did."""

import csv
import dataclasses
import json
import re
import shutil

import jax
import numpy as np
import pytest

from gramalign import Index
from gramalign.cli import main
from gramalign.data import load
from gramalign.media import asking, features, features_like
from gramalign.media.recipe import Options
from gramalign.media.record import Made
from gramalign.training import embed_store, load_run
from tests.compilations import compilations
from tests.complaint import complaint

KINDS = {"caption": "text", "photo": "image", "film": "video", "sound": "audio"}


def folders(encoders):
    clip = encoders / "clip"
    return {"caption": clip, "photo": clip, "film": clip, "sound": encoders / "whisper"}


def made_of(table, out, encoders, names=tuple(KINDS), **options):
    given = {KINDS[name]: {name: folders(encoders)[name]} for name in names}
    features(table, out, **given, frames=3, **options)
    return out


@pytest.fixture(scope="module")
def store(table, encoders, tmp_path_factory):
    return made_of(table, tmp_path_factory.mktemp("asked") / "store", encoders, batch_size=4)


@pytest.fixture(scope="module")
def inputs(table, encoders, tmp_path_factory):
    return made_of(table, tmp_path_factory.mktemp("inputs") / "store", encoders, inputs=True)


@pytest.fixture(scope="module")
def cells(table):
    """Of each modality, the rows that have it and what their cells hold."""
    with table.open() as file:
        rows = list(csv.DictReader(file))
    found = {}
    for name, kind in KINDS.items():
        place = "" if kind == "text" else f"{table.parent}/"
        found[name] = {i: place + row[name] for i, row in enumerate(rows) if row[name]}
    return found


@pytest.fixture(scope="module")
def encode(store, encoders):
    return features_like(store, folders(encoders))


def close(found, wanted, tolerance=2e-5):
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


def test_all_at_once_and_one_alone_are_what_the_store_holds(encode, store, cells):
    rows = encode({name: list(some.values()) for name, some in cells.items()})
    alone = encode({name: [some[7]] for name, some in cells.items()})
    wanted = load(store)
    assert rows.keys() == alone.keys() == wanted.dims.keys()
    for name, some in cells.items():
        there = np.asarray(wanted.features[name])
        close(rows[name], there[list(some)])
        close(alone[name], there[[7]])


def test_so_are_what_encoders_take(inputs, encoders, cells):
    encode, wanted = features_like(inputs, folders(encoders)), load(inputs)
    for name, some in cells.items():
        rows = encode({name: list(some.values())})[name]
        np.testing.assert_array_equal(rows, np.asarray(wanted.features[name])[list(some)])


@pytest.mark.parametrize("options", [{"tokens": 3}, {"dtype": "bfloat16"}])
def test_options_are_the_stores(options, table, encoders, cells, tmp_path):
    made = made_of(table, tmp_path / "store", encoders, ["caption"], **options)
    texts = list(cells["caption"].values())
    rows = features_like(made, {"caption": encoders / "clip"})({"caption": texts})["caption"]
    # A product in bfloat16 rounds to three digits, and otherwise in a batch of another size.
    close(rows, np.asarray(load(made).features["caption"]), 2e-2 if "dtype" in options else 2e-5)
    if "tokens" in options:
        np.testing.assert_array_equal(rows[5], rows[9])  # which begin alike


def test_no_more_is_encoded_than_is_asked_for(store, encoders, monkeypatch):
    sizes, make = [], asking.recipe_of

    def recorded(*given):
        recipe = make(*given)
        assert recipe.encoding is not None
        encode = recipe.encoding.encode

        def seen(pieces):
            sizes.append(len(pieces["input_ids"]))
            return encode(pieces)

        encoding = dataclasses.replace(recipe.encoding, encode=seen, devices=1)
        return dataclasses.replace(recipe, encoding=encoding)

    monkeypatch.setattr(asking, "recipe_of", recorded)
    monkeypatch.setattr("gramalign.media.encoding.jax.local_devices", lambda: jax.devices()[:1])
    encode = features_like(store, {"caption": encoders / "clip"})
    for count in (1, 3, 9):
        encode({"caption": ["a dog"] * count})
    assert sizes == [1, 4, 4, 4, 4], "powers of two, up to the store's batch of four"


def test_an_encoder_is_loaded_when_it_is_needed_and_once(store, encoders, monkeypatch):
    loaded, load_encoder = [], asking.encoding_of

    def recorded(*given):
        loaded.append(given[:2])
        return load_encoder(*given)

    monkeypatch.setattr(asking, "encoding_of", recorded)
    # A folder that is not asked for may be any.
    encode = features_like(store, {**folders(encoders), "sound": "nowhere"})
    for _ in range(2):
        encode({"caption": ["a dog"]})
        encode({"caption": ["a cat", "a bird"]})
    assert loaded == [(encoders / "clip", "text")]
    with compilations() as compiled:
        encode({"caption": ["a dog", "two"]})
    assert not compiled


def test_neither_more_words_nor_files_that_are_not_there(encode, cells, tmp_path, unchecked):
    (tmp_path / "no.png").write_bytes(b"no image")
    for given, message in (
        ({"caption": ["a dog", " "]}, "caption: got ' ', expected a text with words"),
        ({"caption": "a dog"}, "caption: got 'a dog', expected a list with an item for each"),
        ({"caption": ["a dog", None]}, "caption: got None, expected texts or paths of files"),
        ({"caption": []}, r"caption: got \[\], expected a list with an item for each"),
        ({"smell": ["a dog"]}, "tells how caption, photo, film, sound were made, not smell: ask"),
        ({"photo": [tmp_path / "no.png"]}, "photo '.*no.png' cannot be read: cannot identify"),
    ):
        with pytest.raises(ValueError, match=message):
            encode(given)
    for name, path in (("photo", "no/such.png"), ("sound", tmp_path), ("photo", tmp_path)):
        with pytest.raises(FileNotFoundError, match=rf"{name} is '{path}', a file that does not"):
            encode({name: [path]})


def test_other_encoders_are_refused(store, encoders, tmp_path):
    clip = shutil.copytree(encoders / "clip", tmp_path / "moved")
    text = {"caption": ["a dog"]}
    features_like(store, {"caption": clip})(text)  # wherever it lies
    config = clip / "preprocessor_config.json"
    config.write_text(config.read_text().replace("12}", "13}"))
    wanted = f"clip, the folder that made caption of {store}"
    for given, error, message in (
        ({}, ValueError, f"encoders: got none for caption, expected {wanted}: give --encoders"),
        ({"caption": clip}, ValueError, f"whose files are not those of {wanted}: give that"),
        ({"caption": encoders / "bert"}, ValueError, f"got {encoders / 'bert'} for caption, whose"),
        ({"caption": tmp_path / "no"}, FileNotFoundError, f"not a folder; expected {wanted}"),
    ):
        with pytest.raises(error, match=message):
            features_like(store, given)(text)
    with pytest.raises(ValueError, match="were made, not captions: ask by those"):
        features_like(store, {"captions": clip})


def test_inputs_need_no_weights(inputs, encoders, cells, tmp_path):
    clip = shutil.copytree(encoders / "clip", tmp_path / "clip")
    (clip / "model.safetensors").unlink()
    rows = features_like(inputs, {"photo": clip})({"photo": [cells["photo"][1]]})["photo"]
    np.testing.assert_array_equal(rows, np.asarray(load(inputs).features["photo"])[[1]])


def test_stores_of_a_mixture_agree(store, table, encoders, tmp_path):
    text, clip = {"caption": ["a dog"]}, {"caption": encoders / "clip"}
    wanted = features_like(store, clip)(text)["caption"]
    # In batches of another size, and beside a store that has no captions.
    again = made_of(table, tmp_path / "again", encoders, ["caption"], batch_size=16)
    digits = f"{store} + 0.5*{again} + digits"
    close(features_like(digits, clip)(text)["caption"], wanted)
    fewer = made_of(table, tmp_path / "fewer", encoders, ["caption"], tokens=3)
    message = f"caption of {store} was made by clip, and of {fewer} by clip, of other files or with"
    with pytest.raises(ValueError, match=message):
        features_like(f"{store} + {fewer}", clip)(text)
    (again / "media.json").unlink()
    message = f"and of {again} by an unknown encoder, as it has no media.json: give one of these"
    with pytest.raises(ValueError, match=message):
        features_like(f"{again} + {store}", clip)(text)
    with pytest.raises(ValueError, match=f"{again} has no media.json, in which gramalign features"):
        features_like(again, {})(text)
    with pytest.raises(FileNotFoundError, match="data is .*gone, which does not exist, expected"):
        features_like(tmp_path / "gone", {})


def test_what_makes_the_same_rows():
    """Batches play no part, neither frames where there is no video nor tokens where no text is."""
    made = Made("video", "clip", "0", Options(frames=3))
    assert made.likewise(Made("video", "copy", "0", Options(frames=3, batch_size=2, tokens=4)))
    for other in (
        Made("image", "clip", "0", Options(frames=3)),
        Made("video", "clip", "1", Options(frames=3)),
        Made("video", "clip", "0", Options(frames=4)),
        Made("video", "clip", "0", Options(frames=3, dtype="bfloat16")),
        Made("video", "clip", "0", Options(frames=3, inputs=True)),
    ):
        assert not made.likewise(other), other
    text = Made("text", "clip", "0", Options(tokens=3))
    assert text.likewise(Made("text", "clip", "0", Options(tokens=3, frames=2)))
    assert not text.likewise(Made("text", "clip", "0", Options()))


def test_of_a_packed_store_as_well(store, encode, encoders, tmp_path):
    main(["pack", str(store), str(tmp_path / "packed")])
    packed = features_like(tmp_path / "packed", {"caption": encoders / "clip"})
    text = {"caption": ["a dog"]}
    np.testing.assert_array_equal(packed(text)["caption"], encode(text)["caption"])


def test_built_in_data_have_no_record(store, tmp_path, monkeypatch):
    """Though a folder of their name may."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    shutil.copy(store / "media.json", "digits")
    main(["pack", "digits", "packed"])
    assert not (tmp_path / "packed" / "media.json").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"options": {"frames": 0}},
        {"options": {"colours": 3}},
        {"options": None},
        {"modalities": {"caption": {"kind": "text"}}},
        {"modalities": {"caption": {"kind": "smell", "encoder": "clip", "digest": ""}}},
        {"modalities": []},
    ],
)
def test_a_record_that_is_damaged(change, store, tmp_path, unchecked):
    record = json.loads((store / "media.json").read_text())
    (tmp_path / "media.json").write_text(json.dumps(record | change))
    with pytest.raises(ValueError, match="media.json is damaged, or of another version of gramali"):
        features_like(tmp_path, {})


def test_what_is_not_finite_is_refused(store, encoders, monkeypatch):
    def broken(*given):
        found = load_encoder(*given)
        return dataclasses.replace(found, encode=lambda x: found.encode(x).at[1, 0].set(np.nan))

    load_encoder = asking.encoding_of
    monkeypatch.setattr(asking, "encoding_of", broken)
    encode = features_like(store, {"caption": encoders / "clip"})
    with pytest.raises(ValueError, match="caption 'a cat': clip makes NaN or Inf of it"):
        encode({"caption": ["a dog", "a cat"]})


def test_without_the_packages(store, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs transformers, pillow, .*: pip install"):
        features_like(store, {})


@pytest.fixture(scope="module")
def run(store):
    options = ["--steps", "2", "--batch-size", "8", "--objective", "clip", "--no-evaluation"]
    options += ["--optimizer.warmup", "0", "--model.dim", "8", "--model.hidden", "8"]
    options += ["--modalities", "caption", "photo", "film", "--layout.data", "1"]
    main(["train", "--data", str(store), "--out", str(store.parent / "run"), *options])
    return store.parent / "run"


def test_from_python(encode, store, run):
    trained, rows = load_run(run), load(store)
    embeddings = embed_store(trained, rows)
    index = Index(embeddings, {name: rows.present[name] for name in embeddings}, rows.ids)
    asked = encode({"caption": ["a the cat dog", "a the cat dog bird sees"]})
    hits = index.search(trained.embed(asked), k=3, gallery=["film"])
    wanted = index.search({"caption": index.embeddings["caption"][[3, 5]]}, k=3, gallery=["film"])
    assert hits.ids.tolist() == wanted.ids.tolist()


def searched(capsys, *words):
    capsys.readouterr()
    main(["search", *map(str, words), "--json"])
    (found,) = json.loads(capsys.readouterr().out)
    return found


def test_a_search_finds_what_the_same_row_does(run, encoders, cells, tmp_path, capsys, quiet):
    clip, photo = f"={encoders / 'clip'}", cells["photo"][7]
    ask = ["--ask", f"caption={cells['caption'][7]}", f"photo={photo}"]
    ask += ["--encoders", f"caption{clip}", f"photo{clip}", f"film{clip}"]
    index = tmp_path / "index.safetensors"
    by_row = [run, "row7", "--by", "caption", "photo", "--against", "film", "--k", "3"]
    wanted = searched(capsys, *by_row, "--save-index", index)
    for more in ([], ["--index", index]):
        found = searched(capsys, run, *ask, "--against", "film", "--k", "3", *more)
        assert found["query"] == f"{cells['caption'][7]} + {photo}"
        assert found["by"] == ["caption", "photo"]
        assert [hit["id"] for hit in found["hits"]] == [hit["id"] for hit in wanted["hits"]]
        first, second = ([hit["score"] for hit in x["hits"]] for x in (found, wanted))
        close(first, second)
        assert not any(hit["is_query"] for hit in found["hits"])


def test_an_index_of_other_towers_is_not_asked(run, encoders, tmp_path, capsys, quiet):
    ask = ["--ask", "caption=a dog", "--encoders", f"caption={encoders / 'clip'}"]
    path = str(tmp_path / "index.safetensors")
    searched(capsys, run, *ask, "--save-index", path)
    index = Index.load(path)
    other = re.sub("[0-9a-f]{16}", "0" * 16, index.made_by)  # as if the run were trained anew
    Index(index.embeddings, index.present, index.ids, made_by=other).save(path)
    said = complaint(capsys, "search", str(run), *ask, "--index", path)
    assert "was embedded by run, before that run was trained anew" in said
    assert "Distances between two spaces mean nothing" in said


def test_how_a_search_calls_its_query(run, encoders, capsys, quiet):
    words = "a dog bird sees hears red small large one two three four" * 3
    clip = f"caption={encoders / 'clip'}"
    main(["search", str(run), "--ask", f"caption={words}\n a cat", "--encoders", clip, "--k", "2"])
    printed = capsys.readouterr().out
    assert " ".join(printed.split()).startswith(f"{words} a cat: caption -> film + photo, ")
    assert printed.startswith(words[:80]), "as wide as the screen, not as the table"


def test_what_a_search_refuses(run, encoders, capsys, quiet):
    ask, text = ["--ask", "caption=a dog"], ["--ask", "caption=a dog", "caption=a cat"]
    clip, given = f"caption={encoders / 'clip'}", "--encoders"
    for words, message in (
        ([], "got neither of QUERY and --ask, expected one"),
        (["row1", *ask], "got both of QUERY and --ask, expected one"),
        ([*ask, "--by", "caption"], "--by chooses of what a row has"),
        (["row1", given, clip], "--encoders are for --ask"),
        (ask, "encoders: got none for caption, expected clip, the folder that made caption of"),
        ([*text, given, clip], "--ask: got caption twice"),
        (["--ask", "a dog", given, clip], "--ask: got 'a dog', expected MODALITY=TEXT or"),
        (["--ask", "caption=", given, clip], "--ask: got 'caption=', expected MODALITY=TEXT or"),
        ([*ask, given, "clip"], "--encoders: got 'clip', expected MODALITY=FOLDER"),
        (["--ask", "smell=a dog"], "--ask names smell, but the run embeds caption, photo, film"),
        (["--ask", "photo=no.png"], "photo is 'no.png', a file that does not exist"),
    ):
        assert message in complaint(capsys, "search", str(run), *words)


@pytest.mark.slow
def test_towers_that_are_encoders_name_their_own(inputs, encoders, cells, tmp_path, capsys, quiet):
    clip = str(shutil.copytree(encoders / "clip", tmp_path / "clip"))
    folders = {"caption": clip, "photo": clip}
    tower = f"gramalign.models.pretrained:Tower(encoders={folders})"
    options = ["--modalities", "caption", "photo", "--steps", "1", "--batch-size", "4"]
    options += ["--objective", "clip", "--no-evaluation", "--layout.data", "1"]
    out = str(tmp_path / "run")
    main(["train", "--data", str(inputs), "--out", out, "--model.tower", tower, *options])
    (tmp_path / "clip" / "model.safetensors").unlink()  # the run has weights of its own
    words = ["--against", "photo", "--k", "3"]
    ask = ["--ask", f"caption={cells['caption'][7]}"]
    found = searched(capsys, out, *ask, *words)
    wanted = searched(capsys, out, "row7", "--by", "caption", *words)
    assert [hit["id"] for hit in found["hits"]] == [hit["id"] for hit in wanted["hits"]]
    said = complaint(capsys, "search", out, *ask, "--encoders", f"caption={encoders / 'bert'}")
    assert "bert for caption, whose files are not those of clip" in said
    (tmp_path / "clip" / "tokenizer.json").unlink()
    said = complaint(capsys, "search", out, *ask)
    assert f"got {clip} for caption, whose files are not those of clip" in said
    found = searched(capsys, out, *ask, *words, "--encoders", f"caption={encoders / 'clip'}")
    assert [hit["id"] for hit in found["hits"]] == [hit["id"] for hit in wanted["hits"]]
