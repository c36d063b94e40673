"""One store of features that were made apart, each modality with ids and an order of its own."""

import contextlib
import functools
import itertools
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Shaped

from gramalign.counted import counted
from gramalign.data.agreed import agreed
from gramalign.data.by_id_source import Report, Source, open_source
from gramalign.data.files import save_array
from gramalign.data.opening import check_modalities, columns_of
from gramalign.data.store import COLUMNS, FeatureStoreError
from gramalign.files import check_free, check_local, finish, unfinished, whole

_VALUES = 2**22  # copied at a time: sources in files are never loaded whole


@dataclass(frozen=True)
class Joined:
    """What came of it.

    Attributes:
        rows: how many rows the store has.
        present: by modality, how many of them have it.
        few: how many ids were left out, as too few sources have them.
        unlisted: by modality, how many ids of its source were left out, as no row was asked for.
    """

    rows: int
    present: Mapping[str, int]
    few: int
    unlisted: Mapping[str, int]


def join(
    sources: Mapping[str, str | Path],
    out: str | Path,
    *,
    about: Mapping[str, Shaped[np.ndarray, " rows"]] | None = None,
    at_least: int = 2,
    average: bool = False,
    report: Report = lambda name, done, total: None,
) -> Joined:
    """Writes a feature store, a folder, of several sources whose rows are matched by their ids.

    Args:
        sources: by modality, see `gramalign.data.by_id_source.open_source`.
        out: folder to create.
        about: `ids` of the rows to write, in this order, and any of `labels`, `split` and `groups`,
            in the place of what sources know of them; None: all ids that any source has.
        at_least: leave out rows with fewer modalities: with one alone, there is nothing to align.
        average: take the mean of an example's vectors, where those by id are [n, width], such as of
            the frames of a video.
        report: called with what is done, such as a modality, rows done and rows to do.

    Raises:
        FeatureStoreError: a source or a column cannot be read, has no ids, or one twice; no row is
            left, or none of a modality; or sources say different things of a row.
        FileExistsError: `out` exists.
        ValueError: no source, a name that a modality cannot have, an `about` without ids,
            `at_least` that cannot be met, or a package that a source needs is not installed.
    """
    out = Path(out)
    check_local(out)
    check_free(out)
    if not sources:
        raise ValueError("there is nothing to join: give sources, each as MODALITY=PATH")
    if not 1 <= at_least <= len(sources):
        raise ValueError(
            f"at_least is {at_least}, expected a number from 1 to that of sources, {len(sources)}"
        )
    if about is not None and "ids" not in about:
        raise ValueError("rows are matched by their ids: give a column called 'ids'")
    check_modalities(sources)
    wanted = None
    if about is not None:
        known = {name: (name, about[name]) for name in COLUMNS if name in about}
        for name, (_, column) in known.items():
            if np.shape(column) != np.shape(about["ids"]):
                raise ValueError(
                    f"about[{name!r}] is of shape {np.shape(column)}, and its ids of "
                    f"{np.shape(about['ids'])}: give one for each row"
                )
        wanted = columns_of(known, [], len(about["ids"]))["ids"].tolist()
    with contextlib.ExitStack() as stack, _draft_of(out) as draft:
        opening = functools.partial(
            open_source, stack=stack, scratch=draft, average=average, report=report
        )
        found = {name: opening(name, Path(path)) for name, path in sorted(sources.items())}
        ids, places = _matched(found, wanted)
        many = np.sum([place >= 0 for place in places.values()], axis=0) >= at_least
        _check_any(found, ids, places, many, at_least, wanted is not None)
        kept = {"ids": np.array(ids)[many]}
        kept |= {name: about[name][many] for name in COLUMNS[1:] if about and name in about}
        kept |= agreed(kept, [(found[name], place[many]) for name, place in places.items()])
        for name, source in found.items():
            _write(draft, name, source, places[name][many], report)
        for name, column in kept.items():
            save_array(draft / f"{name}.npy", column)
    return Joined(
        rows=int(many.sum()),
        present={name: int((place[many] >= 0).sum()) for name, place in places.items()},
        few=int((~many).sum()),
        unlisted={n: len(x.ids) - int((places[n] >= 0).sum()) for n, x in found.items()},
    )


@contextlib.contextmanager
def _draft_of(out: Path) -> Iterator[Path]:
    """A folder to write into, which takes the other's place if the block ends without an error."""
    draft = out.with_name(f".{out.name}.part")
    with unfinished(out, draft):
        try:
            for left in draft.glob("*.npy*"):  # by a process that was killed
                left.unlink()
            yield draft
            finish(draft, out)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _matched(
    found: Mapping[str, Source], wanted: list[str] | None
) -> tuple[list[str], dict[str, Int[np.ndarray, " rows"]]]:
    """The ids of all rows, and by modality where each row is in its source; -1 where it is not."""
    if wanted is not None:
        ids = wanted
    else:
        ids = list(dict.fromkeys(itertools.chain(*(x.ids for x in found.values()))))
    numbers = {name: number for number, name in enumerate(ids)}
    places = {name: np.full(len(ids), -1) for name in found}
    for name, source in found.items():
        for place, identity in enumerate(source.ids):
            if (number := numbers.get(identity)) is not None:
                places[name][number] = place
    return ids, places


def _check_any(
    found: Mapping[str, Source],
    ids: list[str],
    places: Mapping[str, Int[np.ndarray, " rows"]],
    many: Bool[np.ndarray, " rows"],
    at_least: int,
    listed: bool,
) -> None:
    has = {name: f"{x.where} has {x.ids[0]!r}" for name, x in found.items() if x.ids}
    if not many.any():
        table = [f"the table has {ids[0]!r}"] if listed else []
        raise FeatureStoreError(
            f"no id is in {'the table and ' * len(table)}"
            f"{counted(at_least, 'source')}: {', '.join([*table, *has.values()])}"
        )
    for name, place in places.items():
        if (place[many] < 0).all():
            raise FeatureStoreError(
                f"no row would have {name}: leave it out, or make ids alike; of them "
                f"{has.get(name, f'{found[name].where} has none')}, and kept is "
                f"{ids[int(np.argmax(many))]!r}, say"
            )


def _write(
    folder: Path,
    name: str,
    source: Source,
    places: Int[np.ndarray, " rows"],
    report: Report,
) -> None:
    there = places >= 0
    step = max(1, _VALUES // source.width)
    about = {"descr": np.lib.format.dtype_to_descr(source.dtype), "fortran_order": False}
    with whole(folder / f"{name}.npy") as path, path.open("wb") as file:
        # Not mapped: where a disk is full, that is an error here, and kills a process there.
        np.lib.format.write_array_header_1_0(file, about | {"shape": (len(places), source.width)})
        for start in range(0, len(places), step):
            part = slice(start, start + step)
            rows = np.zeros((len(places[part]), source.width), source.dtype)
            rows[there[part]] = source.rows(places[part][there[part]])
            file.write(rows.data)
            report(name, start + len(rows), len(places))
    if not there.all():
        save_array(folder / f"present.{name}.npy", there)
