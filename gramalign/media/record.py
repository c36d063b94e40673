"""What a store's `media.json` tells: of which table, by which encoders and options it was made."""

import dataclasses
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from gramalign import __version__
from gramalign.decoding.folders import digest_of
from gramalign.decoding.pieces import Kind
from gramalign.files import read_json
from gramalign.media.columns import Column
from gramalign.media.recipe import Options, taken
from gramalign.media.table import Table
from gramalign.media.work import JOB


@dataclasses.dataclass(frozen=True)
class Made:
    """How the rows of a modality were made.

    Attributes:
        kind: what its cells were.
        encoder: name of the encoder's folder.
        digest: of that folder, by `digest_of`.
        options: of the whole store.
    """

    kind: Kind
    encoder: str
    digest: str
    options: Options

    def likewise(self, other: "Made") -> bool:
        """Whether the other makes the same rows, to rounding, of the same cells."""
        return self._decisive() == other._decisive()

    def _decisive(self) -> tuple:
        options = self.options
        frames = options.frames if self.kind == "video" else None
        tokens = options.tokens if self.kind == "text" else None
        return self.kind, self.digest, frames, tokens, options.dtype, options.inputs


def record_of(table: Table, columns: Sequence[Column], options: Options) -> dict[str, Any]:
    """What is to be told, JSON-compatible; of the options, those that play a part."""
    told: dict[str, Any] = {"inputs": True}
    if options.on_demand:
        told["on_demand"] = True
    if not options.inputs:
        told = {"batch_size": options.batch_size, "dtype": options.dtype}
    if any(x.kind == "video" and taken(x.kind, x.encoder) == "image" for x in columns):
        told["frames"] = options.frames
    if options.tokens is not None:
        told["tokens"] = options.tokens
    folders = {column.encoder for column in columns}
    digests = {folder: digest_of(folder, weights=not options.inputs) for folder in folders}
    return {
        "table": {"name": table.path.name, "rows": len(table), "digest": table.digest},
        "options": told,
        "modalities": {
            column.name: {
                "kind": column.kind,
                "encoder": column.encoder.resolve().name,
                "digest": digests[column.encoder],
            }
            for column in columns
        },
        "versions": {
            "gramalign": __version__,
            **{name: importlib.metadata.version(name) for name in ("jax", "transformers")},
        },
    }


def read_record(folder: Path) -> dict[str, Made]:
    """How each modality of a store was made; of none if the store does not tell.

    Raises:
        ValueError: `media.json` is damaged, or of another version.
    """
    path = folder / JOB
    if not path.is_file():
        return {}
    record = read_json(path)
    try:
        options = Options(**record["options"])
        made = {
            name: Made(each["kind"], each["encoder"], each["digest"], options)
            for name, each in record["modalities"].items()
        }
        for each in made.values():
            if each.kind not in get_args(Kind):
                raise ValueError(f"kind is {each.kind!r}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged, or of another version of gramalign ({error!r}): restore it, or "
            "make the store again"
        ) from error
    return made
