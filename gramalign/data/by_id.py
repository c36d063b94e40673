"""One store of features that were made apart, each modality with ids and an order of its own."""

import contextlib
import functools
import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped

from gramalign.counted import counted
from gramalign.data.files import array_at, find_arrays, save_array
from gramalign.data.opening import check_modalities, columns_of
from gramalign.data.sources import open_store
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


@dataclass(frozen=True)
class _Source:
    where: str
    ids: Sequence[str]
    width: int
    dtype: np.dtype
    rows: Callable[[Int[np.ndarray, " n"]], Shaped[np.ndarray, "n width"]]


def join(
    sources: Mapping[str, str | Path],
    out: str | Path,
    *,
    about: Mapping[str, Shaped[np.ndarray, " rows"]] | None = None,
    at_least: int = 2,
    report: Callable[[str, int, int], object] = lambda name, done, total: None,
) -> Joined:
    """Writes a feature store, a folder, of several sources whose rows are matched by their ids.

    Args:
        sources: by modality. Each is a feature store with `ids`, of one modality, or of several of
            which one has that name; a folder of .npy files, each of one example, whose id is the
            file's name; or one .npz or .safetensors of such vectors by id.
        out: folder to create.
        about: `ids` of the rows to write, in this order, and any of `labels`, `split` and `groups`;
            None: all ids that any source has.
        at_least: leave out rows with fewer modalities: with one alone, there is nothing to align.
        report: called with modality, rows written and rows to write.

    Raises:
        FeatureStoreError: a source or a column cannot be read, has no ids, or one twice; or no row
            is left, or none of a modality.
        FileExistsError: `out` exists.
        ValueError: no source, a name that a modality cannot have, an `about` without ids, or
            `at_least` that cannot be met.
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
    found = {name: _source(name, Path(path)) for name, path in sorted(sources.items())}
    ids = list(dict.fromkeys(itertools.chain(*(x.ids for x in found.values()))))
    ids = ids if wanted is None else wanted
    numbers = {name: number for number, name in enumerate(ids)}
    places = {name: _places(source.ids, numbers) for name, source in found.items()}
    many = np.sum([place >= 0 for place in places.values()], axis=0) >= at_least
    has = {n: f"{x.where} has {x.ids[0]!r}" for n, x in found.items() if x.ids}
    if not many.any():
        listed = [] if about is None else [f"the table has {ids[0]!r}"]
        raise FeatureStoreError(
            f"no id is in {'the table and ' * len(listed)}"
            f"{counted(at_least, 'source')}: {', '.join([*listed, *has.values()])}"
        )
    for name, place in places.items():
        if (place[many] < 0).all():
            raise FeatureStoreError(
                f"no row would have {name}: leave it out, or make ids alike; of them "
                f"{has.get(name, f'{found[name].where} has none')}, and kept is "
                f"{ids[int(np.argmax(many))]!r}, say"
            )
    with _draft_of(out) as draft:
        for name, source in found.items():
            _write(draft, name, source, places[name][many], report)
        save_array(draft / "ids.npy", np.array(ids)[many])
        for name in COLUMNS:
            if about is not None and name in about and name != "ids":
                save_array(draft / f"{name}.npy", about[name][many])
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


def _source(name: str, path: Path) -> _Source:
    check_local(path)
    if path.is_dir() and not (path / "ids.npy").exists():
        return _of_files(path)
    arrays = find_arrays(path)
    if "ids" not in arrays:
        if not arrays:
            raise FeatureStoreError(f"{path} is empty: expected vectors by id, or a store with ids")
        return _of_vectors(
            path, {x: functools.partial(array_at, place) for x, (_, place) in arrays.items()}
        )
    store = open_store(path)
    if name not in store.features and len(store.features) > 1:
        raise FeatureStoreError(
            f"{path} has {', '.join(store.features)}, and no {name}: name the modality as it does"
        )
    modality = name if name in store.features else next(iter(store.features))
    array, (there,) = store.features[modality], np.nonzero(store.present[modality])
    # What numpy.save has no name for.
    dtype = np.dtype(np.float32) if array.dtype.name == "bfloat16" else array.dtype
    return _Source(
        *(str(path), store.ids[there].tolist(), array.shape[1], dtype),
        rows=lambda places: array[there[places]],
    )


def _of_files(folder: Path) -> _Source:
    files = sorted(path for path in folder.glob("*.npy") if not path.name.startswith("."))
    if not files:
        raise FeatureStoreError(
            f"{folder} has no .npy file: expected one for each example, or a feature store with ids"
        )
    return _of_vectors(folder, {path.stem: functools.partial(_load, path) for path in files})


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FeatureStoreError(f"{path} is not a readable array ({error})") from error


def _of_vectors(path: Path, vectors: Mapping[str, Callable[[], np.ndarray]]) -> _Source:
    ids = list(vectors)

    def vector(name: str) -> Float[np.ndarray, " width"]:
        found = vectors[name]()
        if found.size == max(found.shape, default=0):  # [1, width], say
            found = found.reshape(-1)
        if found.ndim != 1 or (found.dtype.kind not in "fiub" and found.dtype.name != "bfloat16"):
            raise FeatureStoreError(
                f"{path}: {name} is {found.dtype}{[*found.shape]}, expected numbers [width], the "
                "features of one example; a store of many needs ids"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            found = found.astype(np.float32)
        if not np.isfinite(found).all():
            raise FeatureStoreError(
                f"{path}: {name} holds NaN or Inf (or a number too large for float32): fix it, or "
                "leave it out"
            )
        return found

    width = len(vector(ids[0]))

    def rows(places: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n width"]:
        made = np.zeros((len(places), width), np.float32)
        for row, place in enumerate(places.tolist()):
            if len(found := vector(ids[place])) != width:
                raise FeatureStoreError(
                    f"{path}: {ids[place]} is {len(found)} wide, and {ids[0]} is {width}"
                )
            made[row] = found
        return made

    return _Source(str(path), ids, width, np.dtype(np.float32), rows)


def _places(ids: Iterable[str], numbers: Mapping[str, int]) -> Int[np.ndarray, " rows"]:
    """Where each row is in a source; -1 where it is not."""
    found = np.full(len(numbers), -1)
    for place, name in enumerate(ids):
        if (number := numbers.get(name)) is not None:
            found[number] = place
    return found


def _write(
    folder: Path,
    name: str,
    source: _Source,
    places: Int[np.ndarray, " rows"],
    report: Callable[[str, int, int], object],
) -> None:
    shape = len(places), source.width
    step = max(1, _VALUES // source.width)
    with whole(folder / f"{name}.npy") as path:
        array = np.lib.format.open_memmap(path, "w+", source.dtype, shape)
        for start in range(0, len(places), step):
            part = places[start : start + step]
            there = np.flatnonzero(part >= 0)
            array[start + there] = source.rows(part[there])
            report(name, min(start + step, len(places)), len(places))
        array.flush()
    if (places < 0).any():
        save_array(folder / f"present.{name}.npy", places >= 0)
