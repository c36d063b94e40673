"""Stores built from small raw folders made here, from damaged ones, and from the real data."""

import hashlib
import json
import re

import numpy as np
import pytest

from experiments.prepare import Emoji, Mfeat, prepare, summary
from experiments.prepare_errors import RawDataError
from experiments.prepare_mfeat import WIDTHS
from gramalign.data import FeatureStoreError, load
from gramalign.evaluation.tables import to_text


def is_test_row(key):
    return int(hashlib.sha1(key.encode()).hexdigest(), 16) % 5 == 0


def raw_mfeat(folder, rows=12):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, width in WIDTHS.items():
        table = np.column_stack([rng.normal(size=(rows, width)), np.arange(rows) % 10])
        header = ",".join(map(str, range(width + 1)))
        np.savetxt(
            folder / f"mfeat-{name}.csv", table, delimiter=",", header=header, comments="", fmt="%g"
        )
    return folder


def emoji_arrays(rows=12):
    rng = np.random.default_rng(0)
    has = np.arange(rows) % 3 != 1
    drawing = rng.integers(0, 256, (rows, 32, 32, 3), np.uint8)
    return {
        "image_noto": rng.integers(0, 256, (rows, 32, 32, 3), np.uint8),
        "image_emojitwo": drawing * has[:, None, None, None],
        "has_emojitwo": has,
        "speech_logmel": rng.integers(0, 256, (rows, 96, 40), np.uint8),
        "speech_frames": rng.integers(20, 97, rows).astype(np.int16),
    }


def emoji_rows(rows=12):
    return [
        {
            "i": i,
            "code": f"1f{i:03x}",
            "text": {
                "en": [f"thing {i}", ["one", "thing"]],
                "de": [f"Ding {i}", ["Ding"]],
                "fr": [f"chose {i}", []],
                "ja": ["物", ["物"]],
            },
        }
        for i in range(rows)
    ]


def raw_emoji(folder, arrays=None, rows=None):
    folder.mkdir()
    np.savez_compressed(folder / "emoji_views.npz", **(arrays or emoji_arrays()))
    lines = [json.dumps(row) for row in rows or emoji_rows()]
    (folder / "emoji_texts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_mfeat(tmp_path):
    raw = raw_mfeat(tmp_path / "raw")
    store = prepare(Mfeat(raw, tmp_path / "stores" / "mfeat"))
    assert store.dims == WIDTHS
    assert store.ids.tolist() == [str(i) for i in range(12)]
    assert store.labels.tolist() == [i % 10 for i in range(12)]
    assert [part == "test" for part in store.split] == [is_test_row(str(i)) for i in range(12)]
    given = np.loadtxt(raw / "mfeat-zer.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(store.features["zer"], given[:, :-1], rtol=1e-6)


def test_emoji(tmp_path):
    store = prepare(Emoji(raw_emoji(tmp_path / "raw"), tmp_path / "out", text_width=64))
    assert store.dims == {
        "emojitwo": 3072,
        "english": 64,
        "french": 64,
        "german": 64,
        "noto": 3072,
        "speech": 80,
    }
    arrays = emoji_arrays()
    np.testing.assert_array_equal(store.present["emojitwo"], arrays["has_emojitwo"])
    assert all(store.present[name].all() for name in store.dims if name != "emojitwo")
    np.testing.assert_allclose(
        store.features["noto"], arrays["image_noto"].reshape(12, -1) / 255.0, rtol=1e-6
    )
    assert store.ids.tolist() == [row["code"] for row in emoji_rows()]
    assert [part == "test" for part in store.split] == [is_test_row(code) for code in store.ids]


def test_speech_counts_only_the_frames_that_are_spoken(tmp_path):
    arrays = emoji_arrays()
    store = prepare(Emoji(raw_emoji(tmp_path / "raw", arrays), tmp_path / "out"))
    for i, frames in enumerate(arrays["speech_frames"]):
        log_mel = arrays["speech_logmel"][i, :frames] * (20 / 255) - 14
        wanted = np.concatenate([log_mel.mean(axis=0), log_mel.std(axis=0)])
        np.testing.assert_allclose(store.features["speech"][i], wanted, rtol=1e-5)


def test_texts_are_alike_where_their_words_are(tmp_path):
    rows = emoji_rows()
    rows[0]["text"]["en"] = ["red apple", ["fruit", "apple"]]
    rows[1]["text"]["en"] = ["green apple", ["fruit"]]
    rows[2]["text"]["en"] = ["volcano", ["mountain"]]
    store = prepare(Emoji(raw_emoji(tmp_path / "raw", rows=rows), tmp_path / "out"))
    english = np.asarray(store.features["english"])
    np.testing.assert_allclose(np.linalg.norm(english, axis=1), 1, rtol=1e-5)
    assert english[0] @ english[1] > 0.5 > 0.2 > english[0] @ english[2]
    # A row's features are its own: what other rows hold does not matter.
    again = prepare(Emoji(raw_emoji(tmp_path / "raw2"), tmp_path / "out2"))
    np.testing.assert_array_equal(english[5], again.features["english"][5])


def test_the_summary_counts_what_is_absent(tmp_path):
    store = prepare(Emoji(raw_emoji(tmp_path / "raw"), tmp_path / "out"))
    text = to_text(summary(store))
    assert "12 rows" in text
    assert re.search(r"emojitwo +3072 +4 +", text)


def test_a_missing_folder_and_a_missing_file(tmp_path):
    with pytest.raises(RawDataError, match=r"nowhere is not a folder: .* mfeat-fac\.csv"):
        prepare(Mfeat(tmp_path / "nowhere", tmp_path / "out"))
    raw = raw_mfeat(tmp_path / "raw")
    (raw / "mfeat-kar.csv").unlink()
    with pytest.raises(RawDataError, match=r"raw/mfeat-kar\.csv does not exist"):
        prepare(Mfeat(raw, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    raw = raw_emoji(tmp_path / "emoji")
    (raw / "emoji_texts.jsonl").unlink()
    with pytest.raises(RawDataError, match=r"emoji_texts\.jsonl does not exist"):
        prepare(Emoji(raw, tmp_path / "out"))


def replaced(text, old, new):
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda text: replaced(text, "\n", "\nword,"), r"mfeat-fou\.csv is not a table of numbers"),
        (lambda text: text.partition("\n")[0] + "\n1,2,3\n", r"mfeat-fou\.csv has 1 rows of 3"),
        (lambda text: text[:-2] + "7\n", r"mfeat-fou\.csv has other labels \(12 rows\).*fac"),
        (lambda text: text[:-2] + "12\n", r"mfeat-fou\.csv: the last column of row 11 is 12"),
        (
            lambda text: text.rstrip().rpartition("\n")[0],
            r"mfeat-fou\.csv has other labels \(11 rows\)",
        ),
    ],
)
def test_damaged_tables_are_named(damage, message, tmp_path):
    raw = raw_mfeat(tmp_path / "raw")
    file = raw / "mfeat-fou.csv"
    file.write_text(damage(file.read_text()))
    with pytest.raises(RawDataError, match=message):
        prepare(Mfeat(raw, tmp_path / "out"))


@pytest.mark.filterwarnings("ignore:loadtxt. input contained no data")
def test_an_empty_table(tmp_path):
    raw = raw_mfeat(tmp_path / "raw")
    (raw / "mfeat-fac.csv").write_text("0,1,2\n")
    with pytest.raises(RawDataError, match=r"mfeat-fac\.csv has 0 rows"):
        prepare(Mfeat(raw, tmp_path / "out"))


def without(name):
    return {key: array for key, array in emoji_arrays().items() if key != name}


@pytest.mark.parametrize(
    "arrays, message",
    [
        (without("speech_frames"), r"has no array 'speech_frames'; it has image_noto"),
        (without("image_noto"), r"has no array 'image_noto'"),
        (
            emoji_arrays() | {"image_emojitwo": np.zeros((12, 16, 16, 3), np.uint8)},
            r"image_emojitwo is uint8\[12, 16, 16, 3\], expected \[12, 32, 32, 3\]",
        ),
        (emoji_arrays() | {"has_emojitwo": np.ones(12)}, r"has_emojitwo is float64\[12\]"),
        (
            emoji_arrays() | {"speech_frames": np.array([5] * 11 + [0], np.int16)},
            r"speech_frames of row 11 is 0, expected 1 to 96",
        ),
        (emoji_arrays(13), r"emoji_texts\.jsonl has 12 rows, but emoji_views\.npz has 13"),
        (
            emoji_arrays() | {"has_emojitwo": np.array([object()] * 12, object)},
            r"emoji_views\.npz is damaged or not an \.npz file",
        ),
    ],
)
def test_unfit_views_are_named(arrays, message, tmp_path):
    raw = raw_emoji(tmp_path / "raw", arrays)
    with pytest.raises(RawDataError, match=rf"emoji_(views|texts).*{message}|{message}"):
        prepare(Emoji(raw, tmp_path / "out"))


@pytest.mark.parametrize("content", [b"", b"not an archive", None])
def test_a_damaged_archive_is_named(content, tmp_path):
    raw = raw_emoji(tmp_path / "raw")
    file = raw / "emoji_views.npz"
    file.write_bytes(file.read_bytes()[:5000] if content is None else content)
    with pytest.raises(RawDataError, match=r"emoji_views\.npz is damaged"):
        prepare(Emoji(raw, tmp_path / "out"))


@pytest.mark.parametrize(
    "line, message",
    [
        ("{", "JSONDecodeError"),
        ('{"text": {}}', "KeyError: 'code'"),
        ('{"code": "23", "text": {"en": ["a", ["b"]]}}', "KeyError: 'de'"),
        ("[]", "TypeError"),
        ('{"code": "23", "text": {"en": "a"}}', "ValueError"),
    ],
)
def test_an_unfit_line_is_named(line, message, tmp_path):
    raw = raw_emoji(tmp_path / "raw")
    file = raw / "emoji_texts.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:3], line, *lines[4:]]))
    with pytest.raises(RawDataError, match=rf"emoji_texts\.jsonl, line 4: .*{message}"):
        prepare(Emoji(raw, tmp_path / "out"))


def test_a_folder_in_use_is_left_alone(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "text.npy").write_bytes(b"precious")
    with pytest.raises(RawDataError, match=r"out already exists: give another folder"):
        prepare(Mfeat(raw_mfeat(tmp_path / "raw"), out))
    assert (out / "text.npy").read_bytes() == b"precious"


def test_what_the_store_refuses_is_not_put_in_place(tmp_path):
    rows = emoji_rows()
    rows[4]["code"] = rows[2]["code"]
    raw = raw_emoji(tmp_path / "raw", rows=rows)
    with pytest.raises(FeatureStoreError, match="rows 2 and 4 are both '1f002'"):
        prepare(Emoji(raw, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    # An empty folder, and what an interrupted run left behind, are no obstacle.
    (tmp_path / "out").mkdir()
    good = raw_emoji(tmp_path / "good")
    assert len(prepare(Emoji(good, tmp_path / "out"))) == 12
    assert not (tmp_path / "out.unfinished").exists()


def test_mfeat_as_published(data_root, tmp_path):
    prepare(Mfeat(data_root("mfeat"), tmp_path / "out"))
    store = load(tmp_path / "out")
    assert len(store) == 2000 and store.dims == WIDTHS
    assert np.bincount(store.labels).tolist() == [200] * 10
    assert (store.split == "test").tolist() == [is_test_row(str(i)) for i in range(2000)]
    assert len(store.part("test")) == 386
    assert all(mask.all() for mask in store.present.values())


def test_emoji_as_published(data_root, tmp_path):
    prepare(Emoji(data_root("emoji"), tmp_path / "out"))
    store = load(tmp_path / "out")
    assert len(store) == 1390
    assert store.dims["noto"] == 3072 and store.dims["english"] == 1024
    assert {name: int((~mask).sum()) for name, mask in store.present.items() if not mask.all()} == {
        "emojitwo": 306
    }
    for name in ("noto", "emojitwo"):
        assert 0 <= np.min(store.features[name]) < np.max(store.features[name]) <= 1
    assert not store.features["emojitwo"][~store.present["emojitwo"]].any()
    file = data_root("emoji") / "emoji_texts.jsonl"
    codes = [json.loads(line)["code"] for line in file.read_text("utf-8").splitlines()]
    assert store.ids.tolist() == codes
    assert (store.split == "test").tolist() == [is_test_row(code) for code in codes]
    assert len(store.part("test")) == 283
