"""Which parameters an index was embedded with, in one line, and whether a run still has them."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from gramalign.search import Index
from gramalign.training import Run
from gramalign.training.digests import of_file
from gramalign.training.made_of import MADE_OF
from gramalign.training.params_file import content_digest, read_about
from gramalign.training.run_folder import RunFolder
from gramalign.training.tower_named import of_modality

_WORDS = re.compile(
    r"(?P<name>.+), step (?P<step>\d+), parameters (?P<digest>[0-9a-f]{32})"
    r"(?:, towers (?P<towers>\{.*\}))?"
)


def made_by(run: Run) -> str:
    """The run's name, its step, and digests of its parameters and of each modality's tower."""
    params = RunFolder(run.folder).params
    digest = of_file(params)
    made_of = read_about(params).get(MADE_OF, {})
    towers = {m: _of_tower(run, m, made_of.get(m, "")) or digest for m in sorted(run.dims)}
    name, told = run.folder.resolve().name, json.dumps(towers)
    return f"{name}, step {run.step}, parameters {digest}, towers {told}"


def _of_tower(run: Run, modality: str, made_of: str) -> str | None:
    """The digest of all that an embedding of the modality depends on besides its features.

    None where that is nothing, so that nobody can tell whose embeddings are given as features.
    """
    towers = run.variables.get("encoder", {}).get("towers", {})
    if not towers.get(modality):
        return None
    model = run.config.model
    how = of_modality(model.tower, modality), model.hidden, model.depth, model.dtype
    return content_digest(towers[modality], f"{how!r}{made_of}")


def other_maker(index: Index, path: Path, run: Run, against: Sequence[str]) -> str | None:
    """Says that the index holds another model's embeddings than the run's, and what to do.

    Args:
        index: which may say who made it.
        path: of the index.
        run: to which queries belong.
        against: modalities of the index that are searched.

    Returns:
        The sentence; None where they are the run's, or those of towers that the run has, too
        (frozen ones), or whoever made it did not say it our way.
    """
    then, now = _WORDS.fullmatch(index.made_by), _WORDS.fullmatch(made_by(run))
    if then is None or now is None or then["digest"] == now["digest"]:
        return None
    before, today = (json.loads(words["towers"] or "{}") for words in (then, now))
    kept = [m for m in index.modalities if m in before and before[m] == today.get(m)]
    if set(against) <= set(kept):
        return None
    cure = f"rebuild it with gramalign search {run.folder} --save-index {path}"
    maker, difference = then["name"], f"not by {run.folder} at step {now['step']}"
    if maker != now["name"]:
        cure = f"search it with the run {maker}, or {cure}"
    elif then["step"] != now["step"]:
        maker += f" at step {then['step']}"
    else:
        difference = "before that run was trained anew"
    if kept:
        cure = f"search only what is the same in both, with --against {' '.join(kept)}, or {cure}"
    return f"{path} was embedded by {maker}, {difference}: {cure}"
