"""Evaluation of a run's model on rows of a store."""

import numpy as np

from gramalign.data import FeatureStore
from gramalign.evaluation import FUSED, SCORE_NAMES, Evaluation, evaluate
from gramalign.evaluation.inputs import HostEmbeddings
from gramalign.losses import fused_rest
from gramalign.training.config import Config
from gramalign.training.restore import Run, embed_store


def own_score(config: Config) -> str:
    """The Score that an objective trains: that of its first term with another than the cosine."""
    names = *SCORE_NAMES, FUSED
    scores = [term.score for term in config.terms.values() if term.score in names]
    return next((score for score in scores if score != "cosine"), "cosine")


def measure(
    run: Run,
    rows: FeatureStore,
    *,
    score: str | None = None,
    baseline_embeddings: HostEmbeddings | None = None,
    neighbours: bool = True,
) -> Evaluation:
    """Embeds rows and evaluates them.

    Args:
        run: the run.
        rows: of any of its modalities; others are left out.
        score: beside the cosine; None: the objective's own.
        baseline_embeddings: of the same rows, to set beside.
        neighbours: measure hubness, among the diagnostics.

    Raises:
        ValueError: as `embed_store` and `evaluate`.
    """
    score = score or own_score(run.config)
    embeddings = embed_store(run, rows)
    return evaluate(
        embeddings,
        {name: rows.present[name] for name in embeddings},
        score=score,
        groups=rows.groups,
        fused=_fused_rests(run, rows) if score == FUSED and "vast" in run.fusing else None,
        baseline_embeddings=baseline_embeddings,
        neighbours=neighbours,
    )


def _fused_rests(run: Run, rows: FeatureStore) -> dict[str, np.ndarray]:
    """What VAST's heads make of all modalities but one, by the name of that one."""
    made = embed_store(run, rows, fused="vast")
    names = {one: fused_rest(run.dims, one) for one in run.dims}
    return {one: made[name] for one, name in names.items() if one in made and name in made}
