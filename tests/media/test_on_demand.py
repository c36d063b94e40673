"""Stores that hold no inputs of encoders, but decode them from files when rows are read."""

import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from gramalign.cli import main
from gramalign.data import FeatureStoreError, batches, gather, load, mix
from gramalign.data.decoded import DECODED
from gramalign.media import features, job
from tests.complaint import complaint
from tests.media.conftest import ROWS
from tests.media.test_inputs import given

OPTIONS = {"frames": 3, "tokens": 9, "inputs": True}


@pytest.fixture(scope="module")
def stores(table, encoders, tmp_path_factory):
    """The paths of one that holds its rows, and of one that decodes them."""
    root = tmp_path_factory.mktemp("on_demand")
    for name in ("kept", "decoded"):
        features(table, root / name, **given(encoders), **OPTIONS, on_demand=name == "decoded")
    return root / "kept", root / "decoded"


def assert_same(found, wanted):
    assert found.dims == wanted.dims and len(found) == len(wanted)
    for name in ("ids", "labels", "groups", "split"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    for name, array in wanted.features.items():
        assert found.features[name].dtype == array.dtype
        np.testing.assert_array_equal(found.present[name], wanted.present[name])
        np.testing.assert_array_equal(np.asarray(found.features[name]), np.asarray(array))


def test_rows_are_those_that_a_store_would_hold(stores):
    kept, decoded = map(load, stores)
    assert_same(decoded, kept)
    rows = np.array([7, 0, 7, 3])
    assert_same(decoded.take(rows), kept.take(rows))
    assert_same(decoded.part("train"), kept.part("train"))
    assert_same(pickle.loads(pickle.dumps(decoded.take(rows))), kept.take(rows))
    both = mix([kept, decoded], [1.0, 1.0], "both")
    for array in both.features.values():
        np.testing.assert_array_equal(array[:ROWS], array[ROWS:])
    held = sum(path.stat().st_size for path in stores[1].glob("*") if path.suffix == ".npy")
    assert held < 8000  # where rows alone are 60 kB


def batches_of(store, workers):
    found = batches(store, batch_size=4, seed=0, workers=workers)
    taken = [next(found) for _ in range(3)]
    found.close()
    return taken


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_batches_are_the_same_whoever_decodes(stores, workers):
    kept, decoded = map(load, stores)
    found, wanted = batches_of(decoded, workers), batches_of(kept, 0)
    for one, other in zip(found, wanted, strict=True):
        for name in kept.modalities:
            np.testing.assert_array_equal(one["features"][name], other["features"][name])
            np.testing.assert_array_equal(one["present"][name], other["present"][name])


@pytest.mark.slow
def test_a_run_is_the_same_to_the_bit(stores, encoders, tmp_path, quiet):
    """Whether it reads its rows from a store, or decodes them, here in other processes."""
    tower = {"caption": str(encoders / "bert"), "photo": str(encoders / "clip")}
    options = ["--model.tower", f"gramalign.models.pretrained:Tower(encoders={tower})"]
    options += ["--modalities", "caption", "photo", "--batch-size", "8", "--steps", "3"]
    for number, store in enumerate(stores):
        out = ["--out", str(tmp_path / store.name), "--workers", str(number)]
        main(["train", "--data", str(store), "--no-evaluation", *options, *out])
    one, other = (load_file(tmp_path / x.name / "params.safetensors") for x in stores)
    assert one.keys() == other.keys()
    for name, x in one.items():
        np.testing.assert_array_equal(other[name], x)


def test_packing_writes_what_is_decoded(stores, tmp_path):
    main(["pack", str(stores[1]), str(tmp_path / "packed")])
    assert_same(load(tmp_path / "packed"), load(stores[0]))


@pytest.fixture
def own(table, encoders, tmp_path):
    """A function that makes a store of files of its own, and the folder of both."""
    folder = tmp_path / "files"
    shutil.copytree(table.parent, folder)
    shutil.copytree(encoders, tmp_path / "encoders")

    def make(**options):
        columns = {"image": {"photo": tmp_path / "encoders" / "clip"}}
        columns["text"] = {"caption": tmp_path / "encoders" / "bert"}
        media = folder / "media.csv"
        return features(media, tmp_path / "store", **columns, inputs=True, **options)

    return make, tmp_path


def test_what_can_no_longer_be_decoded_is_named(own):
    make, folder = own
    make(on_demand=True)
    store = load(folder / "store")
    (folder / "files" / "photos" / "5.png").write_bytes(b"damaged")
    (folder / "files" / "photos" / "6.png").unlink()
    gather(store, np.array([1, 4, 7]))  # of 4 there never was a photo
    for row in (5, 6):
        message = rf"store: row {row}: photo 'photos/{row}.png' cannot be read: .*Put it back into "
        with pytest.raises(FeatureStoreError, match=message):
            gather(store, np.array([1, row]))
        with pytest.raises(FeatureStoreError, match=rf"row {row}: photo 'photos/{row}.png' cannot"):
            gather(store.take(np.array([row, 7])), np.array([0]))


def test_another_processor_is_found_out(own):
    make, folder = own
    make(on_demand=True)
    path = folder / "encoders" / "clip" / "preprocessor_config.json"
    (folder / "encoders" / "clip" / "model.safetensors").unlink()
    for name in ("NOTICE.txt", "pytorch_model.bin.index.json"):  # no input depends on these either
        (folder / "encoders" / "clip" / name).write_text("{}")
    store = load(folder / "store")
    gather(store, np.array([1]))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_mean": [0.1, 0.1, 0.1]}))
    for each in (load(folder / "store"), pickle.loads(pickle.dumps(store))):  # as workers have it
        with pytest.raises(ValueError, match=r"store: photo may be .* files of .*clip have"):
            gather(each, np.array([1]))
    (folder / "encoders" / "bert" / "vocab.txt").write_text("word")
    with pytest.raises(ValueError, match=r"store: caption may be .* files of .*bert have"):
        gather(load(folder / "store").only(["caption"]), np.array([1]))
    shutil.rmtree(folder / "encoders" / "clip")
    with pytest.raises(ValueError, match="encoders/clip has no image processor that can be used"):
        gather(load(folder / "store").only(["photo"]), np.array([1]))


def test_a_store_without_digests_is_read(own):
    """As an earlier version has written it."""
    make, folder = own
    kept = np.asarray(make(on_demand=True).features["photo"])
    path = folder / "store" / DECODED
    about = json.loads(path.read_text())
    for each in about["modalities"].values():
        del each["digest"]
    path.write_text(json.dumps(about))
    np.testing.assert_array_equal(np.asarray(load(folder / "store").features["photo"]), kept)


def test_rows_of_another_width_are_found_out(stores, tmp_path):
    """As another version of a library may make them of the same files."""
    store = shutil.copytree(stores[1], tmp_path / "store")
    path = store / DECODED
    path.write_text(path.read_text().replace('"width": 432', '"width": 588'))
    with pytest.raises(FeatureStoreError, match=r"becomes a row of 432 numbers, where it had 588"):
        gather(load(store), np.array([1]))


def test_files_that_never_could_be_decoded_are_missing(own, caplog):
    make, folder = own
    (folder / "files" / "photos" / "5.png").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"row 5 .*photo 'photos/5.png' cannot be read"):
        make(on_demand=True)
    store = make(on_demand=True, on_bad_file="missing")
    assert not store.present["photo"][5] and store.present["photo"][6]
    assert json.loads((folder / "store" / "unreadable.jsonl").read_text())["row"] == 5
    assert not gather(store, np.array([5]))["features"]["photo"].any()


@pytest.mark.parametrize("first", [True, False])
def test_a_job_of_the_other_kind_does_not_go_on(own, first, monkeypatch):
    make, folder = own
    with monkeypatch.context() as patch:
        patch.setattr(job, "kept_of", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make(on_demand=first)
    then, now = (True, None) if first else (None, True)
    with pytest.raises(ValueError, match=rf"was begun with on_demand {then} \(now {now}\): give"):
        make(on_demand=not first)
    assert make(on_demand=first).dims["photo"] == 432


def test_images_of_several_sizes_are_refused(own):
    make, folder = own
    path = folder / "encoders" / "clip" / "preprocessor_config.json"
    config = json.loads(path.read_text()) | {"do_center_crop": False, "do_resize": False}
    path.write_text(json.dumps(config))
    path = folder / "files" / "photos" / "5.png"
    Image.open(path).resize((20, 12)).save(path)
    with pytest.raises(ValueError, match="rows of inputs are .* and .* numbers wide"):
        make(on_demand=True)


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"root": "a", "modalities": {}}', '{"root": "a", "modalities": {"photo": {}}}'],
)
def test_a_damaged_store_says_so(stores, tmp_path, content):
    store = shutil.copytree(stores[1], tmp_path / "store")
    (store / DECODED).write_text(content)
    with pytest.raises(FeatureStoreError, match=r"store is damaged \(.*: make the store again, by"):
        load(store)


@pytest.mark.parametrize(
    ("name", "message"),
    [("ends.photo", r"store: photo has 3 rows, others 11"), ("ids", r"ids.npy has 3 rows, others")],
)
def test_arrays_that_do_not_fit_are_named(stores, tmp_path, name, message):
    store = shutil.copytree(stores[1], tmp_path / "store")
    path = store / f"{name}.npy"
    np.save(path, np.load(path)[:3])
    with pytest.raises(FeatureStoreError, match=message):
        load(store)
    path.unlink()
    if name != "ids":
        with pytest.raises(FeatureStoreError, match=rf"store is damaged .*{re.escape(path.name)}"):
            load(store)


def test_features_on_demand_are_refused(table, encoders, tmp_path, capsys, quiet):
    words = ["features", str(table), "--out", str(tmp_path / "out"), "--on-demand"]
    words += ["--text", f"caption={encoders / 'bert'}"]
    assert "error: --on-demand is for what encoders take: give inputs as well" in complaint(
        capsys, *words
    )
    assert not Path(tmp_path / "out").exists()
    main([*words, "--inputs"])
    assert len(load(tmp_path / "out")) == ROWS


@pytest.mark.parametrize("on_demand", [True, False])
def test_rows_are_called_by_their_files(own, on_demand):
    """If every row has one of its own, and the table has no ids: a search then prints them."""
    make, folder = own
    table = folder / "files" / "media.csv"
    photos = [f"photos/{i}.png" for i in (1, 2, 3)]

    def ids_of(*photos, extra=()):
        table.write_text(
            "\n".join(
                ["caption,photo" + ",ids" * bool(extra)]
                + [",".join(["a cat", photo, *extra[i : i + 1]]) for i, photo in enumerate(photos)]
            )
        )
        shutil.rmtree(folder / "store", ignore_errors=True)
        return make(on_demand=on_demand).ids.tolist()

    assert ids_of(*photos) == photos
    assert ids_of(*photos, extra=("x", "y", "z")) == ["x", "y", "z"]
    assert ids_of(*photos, photos[0]) == ["0", "1", "2", "3"]
    assert ids_of(*photos, "") == ["0", "1", "2", "3"]
