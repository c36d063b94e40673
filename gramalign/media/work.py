"""The folder in which features wait to become a store: chunks that appear whole or not at all."""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from gramalign.data.files import save_array
from gramalign.files import LOCK, finish, read_json, unfinished, whole, write_text

JOB = "media.json"
"""How a store was made: encoders, options, versions. Stays in the store."""

_CHUNKS = "chunks"
_JOINED = "joined"  # what the folder of chunks is called once the store is complete without them


class Chunk(NamedTuple):
    """Features of some successive cells of a column; zeros where a file could not be read."""

    features: Shaped[np.ndarray, "cells dim"]
    bad: dict[int, str]
    """Which of the cells could not be read, and why."""


class Work:
    """An unfinished store beside the place where it will lie; `work_on` opens one."""

    def __init__(self, folder: Path, out: Path):
        self.folder, self.out = folder, out

    @property
    def joined(self) -> bool:
        """Whether the store's arrays are complete."""
        return (self.folder / JOB).exists() and not (self.folder / _CHUNKS).exists()

    def has(self, name: str, number: int) -> bool:
        """Whether a chunk is done."""
        return self._chunk(name, number).exists()

    def write(self, name: str, number: int, chunk: Chunk) -> None:
        """Keeps a chunk."""
        with whole(self._chunk(name, number)) as draft, draft.open("wb") as file:
            np.savez(
                file,
                features=chunk.features,
                bad=np.array(list(chunk.bad), np.int64),
                reasons=np.array(list(chunk.bad.values()), np.str_),
            )

    def read(self, name: str, number: int) -> Chunk:
        """A chunk that was kept."""
        with np.load(self._chunk(name, number), allow_pickle=False) as file:
            bad = dict(zip(file["bad"].tolist(), file["reasons"].tolist(), strict=True))
            return Chunk(file["features"], bad)

    def bad(self, name: str, number: int) -> dict[int, str]:
        """The bad cells of a chunk, without reading its features."""
        with np.load(self._chunk(name, number), allow_pickle=False) as file:
            return dict(zip(file["bad"].tolist(), file["reasons"].tolist(), strict=True))

    def clear(self) -> None:
        """Removes arrays and lists of chunks that may have been made anew since."""
        for path in self.folder.iterdir():
            if path.name not in (LOCK, JOB, _CHUNKS):
                path.unlink()

    def save(self, name: str, array: np.ndarray) -> None:
        """Writes an array of the store."""
        save_array(self.folder / f"{name}.npy", array)

    @contextlib.contextmanager
    def array(self, name: str, shape: tuple[int, int], dtype: np.dtype) -> Iterator[np.ndarray]:
        """An array of the store to fill, zero at first; it may be larger than memory."""
        with whole(self.folder / f"{name}.npy") as draft:
            yield np.lib.format.open_memmap(draft, "w+", dtype, shape)

    def publish(self) -> None:
        """Gives the store its place."""
        if not self.joined:
            (self.folder / _CHUNKS).rename(self.folder / _JOINED)
        shutil.rmtree(self.folder / _JOINED, ignore_errors=True)
        finish(self.folder, self.out)

    def _chunk(self, name: str, number: int) -> Path:
        return self.folder / _CHUNKS / f"{name}-{number:06d}.npz"


@contextlib.contextmanager
def work_on(out: Path, job: Mapping[str, Any]) -> Iterator[Work]:
    """Begins or goes on with a store, which no other process may do meanwhile.

    Args:
        out: where the store will lie.
        job: what it is made of, JSON-compatible.

    Raises:
        FileExistsError: `out` exists, another process is at work, or something else is in the
            folder beside it.
        ValueError: what was begun there is another job; the message names the differences.
    """
    folder = out.with_name(f"{out.name}.unfinished")
    with unfinished(out, folder):
        if (folder / _CHUNKS).exists() and not any((folder / _CHUNKS).glob("*.npz")):
            (folder / JOB).unlink(missing_ok=True)  # as nothing is kept yet
        if (folder / JOB).exists():
            if other := _differences(read_json(folder / JOB), job):
                raise ValueError(
                    f"{folder} was begun with {', '.join(other)}: give what was given then, choose "
                    "another place, or delete that folder to begin anew"
                )
        else:
            strange = {path.name for path in folder.iterdir()} - {LOCK, _CHUNKS}
            if strange := sorted(name for name in strange if not name.endswith(".part")):
                raise FileExistsError(
                    f"{folder} holds {', '.join(strange[:3])}: move it away, or choose another "
                    "place, as that folder is where work is kept until it is done"
                )
            (folder / _CHUNKS).mkdir(exist_ok=True)
            write_text(folder / JOB, json.dumps(job, indent=1) + "\n")
        yield Work(folder, out)


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    found = [
        f"{name} {then[part].get(name)} (now {now[part].get(name)})"
        for part in ("options", "versions")  # two versions may round otherwise
        for name in [*now[part], *sorted(then[part].keys() - now[part].keys())]
        if then[part].get(name) != now[part].get(name)
    ]
    if then["table"]["digest"] != now["table"]["digest"]:
        found.insert(0, "another table")
    before, after = then["modalities"], now["modalities"]
    # Digests of encoders whose inputs are kept are without their weights.
    alike = then["options"].get("inputs") == now["options"].get("inputs")
    if before.keys() != after.keys():
        found.append(f"the columns {', '.join(before)} (now {', '.join(after)})")
    for name in before.keys() & after.keys():
        if before[name]["kind"] != after[name]["kind"]:
            found.append(f"{name} as {before[name]['kind']} (now {after[name]['kind']})")
        if alike and before[name]["digest"] != after[name]["digest"]:
            found.append(
                f"another encoder of {name}, {before[name]['encoder']} (now "
                f"{after[name]['encoder']}, whose files differ)"
            )
    return found
