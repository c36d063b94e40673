"""Which parameters an index was embedded with, in one line, and whether a run still has them."""

import hashlib
import re
from pathlib import Path

from gramalign.search import Index
from gramalign.training import Run
from gramalign.training.run_folder import RunFolder

_WORDS = re.compile(r"(?P<name>.+), step (?P<step>\d+), parameters (?P<digest>[0-9a-f]{32})")


def made_by(run: Run) -> str:
    """The run's name, its step, and the digest of its parameters, which alone tells two apart."""
    with RunFolder(run.folder).params.open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    return f"{run.folder.resolve().name}, step {run.step}, parameters {digest}"


def other_maker(index: Index, path: Path, run: Run) -> str | None:
    """Says that the index holds another model's embeddings than the run's, and what to do.

    Args:
        index: which may say who made it.
        path: of the index.
        run: to which queries belong.

    Returns:
        The sentence; None where they are the run's, or whoever made it did not say it our way.
    """
    then, now = _WORDS.fullmatch(index.made_by), _WORDS.fullmatch(made_by(run))
    if then is None or now is None or then["digest"] == now["digest"]:
        return None
    cure = f"rebuild it with gramalign search {run.folder} QUERY --save-index {path}"
    maker, difference = then["name"], f"not by {run.folder} at step {now['step']}"
    if maker != now["name"]:
        cure = f"search it with the run {maker}, or {cure}"
    elif then["step"] != now["step"]:
        maker += f" at step {then['step']}"
    else:
        difference = "before that run was trained anew"
    return f"{path} was embedded by {maker}, {difference}: {cure}"
