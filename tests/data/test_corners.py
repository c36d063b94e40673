"""What a slip in the code would change, and nothing else that is tested here."""

import numpy as np
import pytest

from gramalign.data import from_arrays, packed
from gramalign.data.batches import _Fill
from gramalign.data.examples import readable
from gramalign.data.mixture import mix
from gramalign.data.packed import open_packed, pack
from gramalign.data.store import FeatureStoreError


def test_rows_that_one_modality_alone_has_lost(tmp_path):
    stores = []
    for name in "ab":
        pack(
            from_arrays({name: np.arange(40.0, dtype=np.float32)[:, None] + 1}),
            tmp_path / name,
            shard_rows=8,
        )
        stores.append(open_packed(tmp_path / name, "skip"))
    shard = sorted((tmp_path / "b").glob("features-*"))[1]
    shard.write_bytes(shard.read_bytes()[:60])
    stores = [open_packed(tmp_path / name, "skip") for name in "ab"]
    both = mix(stores, [1.0, 1.0], "both")
    assert len(readable(both)) == 72
    rows = np.arange(80)
    told = _Fill(both, rows, tell_lost=True)(rows)["lost"]  # by a process that reads
    assert told.tolist() == sorted(both.lost) == list(range(48, 56))


def test_a_shard_that_is_not_what_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(
        packed,
        "_encoded",
        lambda store, rows, seen=[]: seen.append(0) or np.full((len(rows), 4), len(seen), np.uint8),
    )
    with pytest.raises(
        FeatureStoreError, match="does not hold what was written to it: check the disk"
    ):
        pack(from_arrays({"a": np.ones((3, 1), np.float32)}), tmp_path / "packed")
