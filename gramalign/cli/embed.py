"""`gramalign embed`: features in, embeddings out."""

import logging
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from gramalign.cli.console import console
from gramalign.cli.kept_programs import keep_programs
from gramalign.cli.targets import MARK, SIGN, check_embedded
from gramalign.counted import counted
from gramalign.data import load, parquet, readable
from gramalign.data.opening import MASK
from gramalign.data.store import COLUMNS, SPLITS
from gramalign.files import whole, write_arrays
from gramalign.training import embed_store, load_run

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embed:
    """Embed a feature store with a trained run, into one file.

    An .npz or .safetensors is itself a feature store: one array per modality (unit rows, zeros
    where absent), `present.MODALITY` masks, and the store's ids, split, labels and groups. A
    .safetensors file holds no text: ids and labels are left out of it unless they are integers. A
    .parquet, for databases, has them as columns, and null where a modality is absent (needs the
    extra `formats`). Example: `gramalign embed runs/digits --data digits --out digits.npz`.
    """

    run_folder: tyro.conf.Positional[Path]
    """Folder of a finished run."""
    data: str
    """Feature store with any of the run's modalities."""
    out: Path
    """File to write: .npz, .safetensors or .parquet. Takes the place of one that `embed` wrote, and
    of no other."""
    batch_size: int | None = None
    """Rows embedded at a time, on one device; if not given, as many as there is room for, up to
    1024, on every device."""
    fused: str | None = None
    """Also write what this term's heads fuse (vast or confu), as arrays such as audio+video."""

    def run(self) -> None:
        """Embed and write."""
        if self.out.suffix not in (".npz", ".safetensors", parquet.SUFFIX):
            raise ValueError(
                f"--out is {self.out}, expected a name that ends in .npz, .safetensors or .parquet"
            )
        if self.out.suffix == parquet.SUFFIX:
            parquet.check_installed(self.out)
        check_embedded("--out", self.out, self.data)
        keep_programs()
        run = load_run(self.run_folder)
        store = readable(load(self.data, on_bad_record=run.config.on_bad_record))
        known = [name for name in store.modalities if name in run.dims]
        some = np.any([store.present[name] for name in known], axis=0)
        if not some.all() and some.any():
            lost = int((~some).sum())
            _log.warning("left out %s without any of the run's modalities", counted(lost, "row"))
            store = store.take(np.flatnonzero(some))
        with console().status(f"embedding {counted(len(store), 'row')}"):
            embedded = embed_store(run, store, self.batch_size, fused=self.fused)
        present = {
            # A fused row is zero where an example lacks what it is made of.
            name: store.present[name] if name in run.dims else np.any(rows, axis=1)
            for name, rows in embedded.items()
        }
        columns = {name: column for name in COLUMNS if (column := getattr(store, name)) is not None}
        masks = {f"{MASK}{name}": rows for name, rows in present.items()}
        arrays = {**embedded, **masks, **columns}
        self.out.parent.mkdir(parents=True, exist_ok=True)
        if self.out.suffix == parquet.SUFFIX:
            with whole(self.out) as draft:
                parquet.write_rows(draft, embedded, present, columns, {"gramalign": SIGN})
        elif self.out.suffix == ".npz":
            with whole(self.out) as draft:
                write_npz(draft, arrays)
        else:
            kept = without_text(arrays)
            write_arrays(self.out, kept, MARK)
            if lost := " and ".join(name for name in arrays if name not in kept):
                _log.warning("left out %s: they are text, which only an .npz can hold", lost)
        shapes = ", ".join(f"{name} {rows.shape}" for name, rows in embedded.items())
        console().print(f"wrote {self.out}: {shapes}", soft_wrap=True)


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """As `numpy.savez`, which takes no array that is called as an argument of its own is: file."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        archive.comment = SIGN.encode()


def without_text(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same with numbers in the place of text, where there are any."""
    arrays = dict(arrays)
    arrays["split"] = np.array([SPLITS.index(part) for part in arrays["split"]], np.uint8)
    if "labels" in arrays and arrays["labels"].dtype.kind == "U":
        del arrays["labels"]
    ids = arrays.pop("ids")
    try:
        numbers = ids.astype(np.int64)
    except (ValueError, OverflowError):
        return arrays
    if (numbers.astype(ids.dtype) == ids).all():  # and not 007, which would come back as 7
        arrays["ids"] = numbers
    return arrays
