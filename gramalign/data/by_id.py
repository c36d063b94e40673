"""One store of features that were made apart, each modality with ids and an order of its own."""

import functools
import itertools
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped

from gramalign.counted import counted
from gramalign.data.files import read_arrays
from gramalign.data.opening import columns_of, open_store
from gramalign.data.store import COLUMNS, FeatureStoreError
from gramalign.files import check_local, make_folder

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
            is left.
        FileExistsError: `out` exists.
        ValueError: no source, a name that a modality cannot have, an `about` without ids, or
            `at_least` that cannot be met.
    """
    out = Path(out)
    check_local(out)
    if out.exists():
        raise FileExistsError(f"{out} exists: choose another folder, or remove it")
    if not sources:
        raise ValueError("there is nothing to join: give sources, each as MODALITY=PATH")
    if not 1 <= at_least <= len(sources):
        raise ValueError(
            f"at_least is {at_least}, expected a number from 1 to that of sources, {len(sources)}"
        )
    if about is not None and "ids" not in about:
        raise ValueError("rows are matched by their ids: give a column called 'ids'")
    for name in sources:
        if name in COLUMNS or "." in name or "/" in name:
            raise ValueError(f"{name!r} cannot name a modality: it names other arrays of a store")
    wanted = None
    if about is not None:
        known = {name: (name, about[name]) for name in COLUMNS if name in about}
        wanted = columns_of(known, [], len(about["ids"]))["ids"].tolist()
    found = {name: _source(name, Path(path)) for name, path in sorted(sources.items())}
    ids = list(dict.fromkeys(itertools.chain(*(x.ids for x in found.values()))))
    ids = ids if wanted is None else wanted
    numbers = {name: number for number, name in enumerate(ids)}
    places = {name: _places(source.ids, numbers) for name, source in found.items()}
    many = np.sum([place >= 0 for place in places.values()], axis=0) >= at_least
    if not many.any():
        some = ", ".join(f"{source.where} has {source.ids[0]!r}" for source in found.values())
        raise FeatureStoreError(
            f"no id is in {'the table and ' * (about is not None)}"
            f"{counted(at_least, 'source')}: {some}"
        )
    make_folder(out.parent)
    # Under another name until all is there: half a store would open, with fewer modalities.
    draft = out.with_name(f".{out.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        draft.mkdir()
        for name, source in found.items():
            _write(draft, name, source, places[name][many], report)
        np.save(draft / "ids.npy", np.array(ids)[many])
        for name in COLUMNS:
            if about is not None and name in about and name != "ids":
                np.save(draft / f"{name}.npy", about[name][many])
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Joined(
        rows=int(many.sum()),
        present={name: int((place[many] >= 0).sum()) for name, place in places.items()},
        few=int((~many).sum()),
        unlisted={n: len(x.ids) - int((places[n] >= 0).sum()) for n, x in found.items()},
    )


def _source(name: str, path: Path) -> _Source:
    check_local(path)
    if path.is_dir() and not (path / "ids.npy").exists():
        return _of_files(path)
    arrays = read_arrays(path)
    if "ids" not in arrays:
        if not arrays:
            raise FeatureStoreError(f"{path} is empty: expected vectors by id, or a store with ids")
        return _of_vectors(path, {x: lambda array=array: array for x, (_, array) in arrays.items()})
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
        found = np.squeeze(vectors[name]())
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
    array = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", source.dtype, shape)
    step = max(1, _VALUES // source.width)
    for start in range(0, len(places), step):
        part = places[start : start + step]
        there = np.flatnonzero(part >= 0)
        array[start + there] = source.rows(part[there])
        report(name, min(start + step, len(places)), len(places))
    array.flush()
    if (places < 0).any():
        np.save(folder / f"present.{name}.npy", places >= 0)
