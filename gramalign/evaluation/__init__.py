"""Floor 4: how well do embeddings agree? Retrieval, diagnostics, a linear baseline, tables.

`evaluate` measures and `tables` shows it; `fit_gcca` gives the floor that a learned space should
clear; `compare_table` sets objectives over seeds side by side. All of it works on host arrays by
modality and knows nothing of how they were learned.
"""

from gramalign.evaluation.comparison import Interval, compare, compare_table, interval
from gramalign.evaluation.diagnostics import Diagnostics, PairFigures, TupleFigure, diagnose
from gramalign.evaluation.evaluation import Evaluation, evaluate, figure_names
from gramalign.evaluation.gcca import LinearGCCA, fit_gcca
from gramalign.evaluation.inputs import EmbeddingSet, checked
from gramalign.evaluation.relevance import Relevance, relevance_figures, retrieve_by_label
from gramalign.evaluation.retrieval import (
    FUSED,
    SCORE_NAMES,
    Retrieval,
    retrieval_figures,
    retrieve_both_ways,
)
from gramalign.evaluation.tables import (
    diagnostics_table,
    pair_table,
    tables,
    to_text,
    tuple_table,
)

__all__ = [
    "FUSED",
    "SCORE_NAMES",
    "Diagnostics",
    "EmbeddingSet",
    "Evaluation",
    "Interval",
    "LinearGCCA",
    "PairFigures",
    "Relevance",
    "Retrieval",
    "TupleFigure",
    "checked",
    "compare",
    "compare_table",
    "diagnose",
    "diagnostics_table",
    "evaluate",
    "figure_names",
    "fit_gcca",
    "interval",
    "pair_table",
    "relevance_figures",
    "retrieval_figures",
    "retrieve_both_ways",
    "retrieve_by_label",
    "tables",
    "to_text",
    "tuple_table",
]
