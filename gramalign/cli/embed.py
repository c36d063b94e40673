"""`gramalign embed`: features in, embeddings out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
import tyro

from gramalign.cli.console import console
from gramalign.data import load
from gramalign.training import embed_store, load_run


@dataclass(frozen=True)
class Embed:
    """Embed a feature store with a trained run, into one file that is a feature store itself.

    The file holds an array per modality (unit rows, zeros where a modality is absent),
    `present.MODALITY` masks and, in an .npz, the ids. Example:
    `gramalign embed runs/digits --data digits --out digits.npz`.
    """

    run_folder: tyro.conf.Positional[Path]
    """Folder of a finished run."""
    data: str
    """Feature store with any of the run's modalities."""
    out: Path
    """File to write: .npz or .safetensors."""
    batch_size: int = 1024
    """Rows embedded at a time."""

    def run(self) -> None:
        """Embed and write."""
        if self.out.suffix not in (".npz", ".safetensors"):
            raise ValueError(
                f"--out is {self.out}: wanted a name that ends in .npz or .safetensors"
            )
        run, store = load_run(self.run_folder), load(self.data)
        arrays: dict[str, np.ndarray] = embed_store(run, store, self.batch_size)
        arrays |= {f"present.{name}": store.present[name] for name in list(arrays)}
        self.out.parent.mkdir(parents=True, exist_ok=True)
        draft = self.out.with_name(f".{self.out.name}.part{self.out.suffix}")
        if self.out.suffix == ".npz":
            np.savez(draft, allow_pickle=False, ids=store.ids, **arrays)
        else:
            safetensors.numpy.save_file(arrays, draft)
        draft.replace(self.out)
        shapes = ", ".join(f"{k} {v.shape}" for k, v in arrays.items() if "." not in k)
        console().print(f"wrote {self.out}: {shapes}", soft_wrap=True)
