"""What is asked of a store of media becomes features, as the cells of its table did."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from gramalign.data import load
from gramalign.data.expression import parse
from gramalign.data.own import is_own
from gramalign.data.sources import EMBEDDED
from gramalign.decoding.folders import digest_of
from gramalign.decoding.libraries import check_installed
from gramalign.decoding.pieces import exists
from gramalign.decoding.reading import decoded, shortened
from gramalign.media.encoding import encoding_of
from gramalign.media.recipe import Recipe, recipe_of
from gramalign.media.record import Made, read_record
from gramalign.media.work import JOB

Cells = Mapping[str, Sequence[str | Path]]
"""By modality, texts or paths of files."""
Rows = dict[str, Shaped[np.ndarray, "queries _"]]


def features_like(data: str | Path, encoders: Mapping[str, str | Path]) -> Callable[[Cells], Rows]:
    """A function that makes of texts and files what `features` made of the cells of a store.

    A run embeds it, and an index finds what is like it: `encode = features_like("my_features/",
    {"caption": "clip/"})`, then `index.search(run.embed(encode({"caption": ["a dog"]})), k=5)`.

    An encoder is checked and loaded when it is first needed, and kept. Rows equal those of the
    store to rounding: batches are no larger than what is asked for needs.

    Args:
        data: a store that `gramalign.media.features` made, or a mixture, as `gramalign.data.load`
            has it.
        encoders: by modality, the folder of the encoder that made the store's.

    Returns:
        From cells by modality, texts or paths of files, to rows `[queries, width]` of each.

    Raises:
        FileNotFoundError: no store there; of the function, a folder or file that does not exist.
        ValueError: the store does not tell how it was made, or not of a modality; stores of a
            mixture that were made differently; and of the function, an encoder that is not given or
            not the one that made the store, an empty text, a file that cannot be read.
    """
    check_installed()
    records = _records(data)
    known = list(dict.fromkeys(name for record in records.values() for name in record))
    if unknown := [name for name in encoders if name not in known]:
        raise ValueError(_untold(data, unknown[0], known))
    digest, load_once = functools.cache(digest_of), functools.cache(encoding_of)

    @functools.cache
    def made(modality: str) -> Made:
        if modality not in known:
            raise ValueError(_untold(data, modality, known))
        return _made(records, modality)

    @functools.cache
    def recipe(modality: str) -> Recipe:
        how = made(modality)
        wanted = f"{how.encoder}, the folder that made {modality} of {data}"
        if modality not in encoders:
            raise ValueError(
                f"encoders: got none for {modality}, expected {wanted}: give --encoders "
                f"{modality}=FOLDER"
            )
        folder = Path(encoders[modality])
        if not folder.is_dir():
            raise FileNotFoundError(
                f"encoders: got {folder} for {modality}, which is not a folder; expected {wanted}: "
                f"give --encoders {modality}=FOLDER"
            )
        if digest(folder, weights=not how.options.inputs) != how.digest:
            raise ValueError(
                f"encoders: got {folder} for {modality}, whose files are not those of {wanted}: "
                "give that one, as what another makes cannot be compared"
            )
        return recipe_of(how.kind, folder, how.options, load_once)

    def encode(cells: Cells) -> Rows:
        given = {name: _checked(name, made(name), some) for name, some in cells.items()}
        recipes = {name: recipe(name) for name in given}
        return {name: _rows(name, some, made(name), recipes[name]) for name, some in given.items()}

    return encode


def _records(data: str | Path) -> dict[str, dict[str, Made]]:
    """Of each store, how its modalities were made."""
    names = [str(data)] if isinstance(data, Path) else list(parse(data, EMBEDDED))
    no_paths = [x for x in names if isinstance(data, str) and (x in EMBEDDED or is_own(x))]
    for name in names:
        if name not in no_paths and not Path(name).exists():
            raise FileNotFoundError(
                f"data is {name}, which does not exist, expected a store that gramalign features "
                "made: if it has moved, give --data"
            )
    return {name: {} if name in no_paths else read_record(Path(name)) for name in names}


def _untold(data: str | Path, modality: str, known: Sequence[str]) -> str:
    if not known:
        return (
            f"{data} has no {JOB}, in which gramalign features tells how it made a store: make "
            f"features of {modality} as that store's were made, and search by a store of them"
        )
    return f"{JOB} of {data} tells how {', '.join(known)} were made, not {modality}: ask by those"


def _made(records: Mapping[str, Mapping[str, Made]], modality: str) -> Made:
    """How a modality was made, the same in all stores that have it."""
    first, *_ = (name for name, made in records.items() if modality in made)
    found = records[first][modality]
    for name, made in records.items():
        if modality in made and not made[modality].likewise(found):
            other = f"{made[modality].encoder}, of other files or with other options"
        elif modality not in made and modality in load(name).modalities:
            other = f"an unknown encoder, as it has no {JOB}"
        else:
            continue
        raise ValueError(
            f"{modality} of {first} was made by {found.encoder}, and of {name} by {other}: give "
            "one of these stores alone, by --data"
        )
    return found


def _checked(modality: str, made: Made, cells: Sequence[str | Path]) -> list[str]:
    if isinstance(cells, str) or not cells:
        raise ValueError(f"{modality}: got {cells!r}, expected a list with an item for each query")
    found = []
    for given in cells:
        if not isinstance(given, (str, os.PathLike)):
            raise ValueError(f"{modality}: got {given!r}, expected texts or paths of files")
        found.append(cell := str(given))
        if made.kind == "text" and not cell.strip():
            raise ValueError(f"{modality}: got {cell!r}, expected a text with words")
        if made.kind != "text" and not exists(made.kind, cell):
            raise FileNotFoundError(
                f"{modality} is {shortened(cell)}, a file that does not exist, expected the path "
                f"of one ({made.kind})"
            )
    return found


def _rows(modality: str, cells: list[str], made: Made, recipe: Recipe) -> np.ndarray:
    def readable():
        for number, pieces in enumerate(decoded(recipe.read, cells)):
            if isinstance(pieces, str):
                given = shortened(cells[number])
                raise ValueError(f"{modality} {given} cannot be read: {pieces}")
            yield number, pieces

    # A power of two, so that few programs are compiled.
    room = 1 << (len(cells) * recipe.pieces - 1).bit_length()
    size = min(made.options.batch_size, room)
    rows = recipe.make(readable(), len(cells), batch_size=size)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        given = shortened(cells[int(np.argmin(finite))])
        raise ValueError(f"{modality} {given}: {made.encoder} makes NaN or Inf of it")
    return rows
