"""Digests of files, which reveal damage that the files themselves do not show."""

import hashlib
import json
from pathlib import Path

from gramalign.files import read_json, write_text


def write(folder: Path, record: Path) -> None:
    """Records the digest of every file of a folder; the record appears whole or not at all."""
    record.parent.mkdir(exist_ok=True)
    write_text(record, json.dumps(_digests(folder), indent=1) + "\n")


def differing(folder: Path, record: Path) -> list[str]:
    """The files, missing ones too, that differ from the record; none if there is no record."""
    if not record.exists():
        return []
    try:
        wanted, found = dict(read_json(record)), _digests(folder)
    except (ValueError, TypeError):
        return [f"{record.name}, the record of its digests, cannot be read"]
    return sorted(
        f"{name} {'has changed' if name in found else 'is missing'}"
        for name, digest in wanted.items()
        if found.get(name) != digest
    )


def of_file(path: Path) -> str:
    """The digest of one file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): of_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
