"""`gramalign encoders`: a published model's encoders, each in a folder that other commands take."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from gramalign.cli.console import console
from gramalign.models.pretrained.published import divide


@dataclass(frozen=True)
class Encoders:
    """Take the encoders out of a published checkpoint of GRAM, TRIANGLE, PMRL or VAST.

    Each gets a folder that `gramalign features` takes: `vision` (images, videos), `depth` (depth
    maps), `audio`, and with --bert `caption` and `subtitle` (texts). All embed into the model's one
    space. The checkpoint must be a safetensors file: of a `.pt` file, the error says how to write
    one. Example: `gramalign encoders gram.safetensors --bert bert-base-uncased/ --out gram/`, then
    `gramalign features films.csv --text caption=gram/caption --video film=gram/vision
    --audio sound=gram/audio --out my_features/`.
    """

    checkpoint: tyro.conf.Positional[Path]
    """The safetensors file."""
    out: Path
    """Folder to write to."""
    bert: Path | None = None
    """Folder of bert-base-uncased, for its tokenizer and config.json; None: no encoders of
    texts."""

    def run(self) -> None:
        """Divide."""
        with console().status(f"reading {self.checkpoint}"):
            found = divide(self.checkpoint, self.out, bert=self.bert)
        console().print(f"wrote {', '.join(str(folder) for folder in found.values())}")
