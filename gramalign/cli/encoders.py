"""`gramalign encoders`: a published model's encoders, in folders that other commands take."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from gramalign.cli.console import console
from gramalign.models.pretrained.published import divide


@dataclass(frozen=True)
class Encoders:
    """Take the encoders out of a published checkpoint of GRAM or its kin, ImageBind or BEATs.

    Of GRAM, TRIANGLE, PMRL and VAST, each gets a folder that `gramalign features` takes: `vision`
    (images and videos), `depth` (depth maps), `audio` and, with a tokenizer, `caption` and
    `subtitle` (texts). ImageBind's texts, images and sounds are in one folder, BEATs' sounds too.
    All of a checkpoint embed into one space. It must be a safetensors file: of a `.pt` or `.pth`
    file, the error says how to write one. Example: `gramalign encoders gram.safetensors --tokenizer
    bert-base-uncased/ --out gram/`, then `gramalign features films.csv --text caption=gram/caption
    --video film=gram/vision --audio sound=gram/audio --out my_features/`.
    """

    checkpoint: tyro.conf.Positional[Path]
    """The safetensors file."""
    out: Path
    """Folder to write to."""
    tokenizer: Path | None = None
    """Folder with the tokenizer of its texts: of bert-base-uncased or, for ImageBind, of any of
    OpenAI's CLIP; None: texts cannot be encoded."""

    def run(self) -> None:
        """Divide."""
        with console().status(f"reading {self.checkpoint}"):
            found = divide(self.checkpoint, self.out, tokenizer=self.tokenizer)
        console().print(f"wrote {', '.join(dict.fromkeys(map(str, found.values())))}")
