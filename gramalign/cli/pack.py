"""`gramalign pack`: a feature store as ArrayRecord shards."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from gramalign.cli.console import console, progress_on
from gramalign.counted import counted
from gramalign.data import load
from gramalign.data.packed import pack
from gramalign.data.sources import EMBEDDED
from gramalign.media.work import JOB


@dataclass(frozen=True)
class Pack:
    """Write a feature store as ArrayRecord shards, for training on more rows than memory holds.

    Each shard is verified by reading it back. If interrupted, run the same command again. The
    result is a feature store like any other, with the `media.json` of one that `gramalign features`
    made. Example: `gramalign pack my_features/ packed/`.
    """

    data: tyro.conf.Positional[str]
    """Feature store to pack."""
    out: tyro.conf.Positional[Path]
    """Folder to create."""
    shard_rows: int = 65536
    """Rows per shard."""

    def run(self) -> None:
        """Pack."""
        store = load(self.data)
        record = Path(store.source) / JOB
        has_record = store.source not in EMBEDDED and record.is_file()
        screen = console()
        with progress_on(screen) as progress:
            task = progress.add_task("packing", total=len(store))
            pack(
                store,
                self.out,
                shard_rows=self.shard_rows,
                record=record if has_record else None,
                report=lambda rows: progress.update(task, completed=rows),
            )
        size = sum(path.stat().st_size for path in self.out.iterdir())
        made = f"packed {counted(len(store), 'row')} into {self.out}: {size / 2**20:.1f} MiB"
        screen.print(made, soft_wrap=True)
