"""Floor 4: how well do embeddings agree? Retrieval, diagnostics, a linear baseline, tables.

`evaluate` measures and `tables` shows it; `fit_gcca` gives the floor that a learned space should
clear; `compare_table` sets objectives over seeds side by side. All of it works on host arrays by
modality and knows nothing of how they were learned.
"""

from gramalign.evaluation.checkpoints import Correlation, correlation_over_checkpoints
from gramalign.evaluation.comparison import Interval, compare, compare_table, interval
from gramalign.evaluation.contribution import (
    Contribution,
    Difference,
    contributions,
    difference,
)
from gramalign.evaluation.contribution_table import contribution_table
from gramalign.evaluation.degeneracies import Degeneracy
from gramalign.evaluation.diagnostics import Diagnostics, diagnose
from gramalign.evaluation.diagnostics_tables import diagnostics_table
from gramalign.evaluation.evaluation import Evaluation, evaluate, figure_names
from gramalign.evaluation.gcca import LinearGCCA, fit_gcca
from gramalign.evaluation.hubness import Hubness
from gramalign.evaluation.inputs import EmbeddingSet, checked
from gramalign.evaluation.pair_figures import PairFigures
from gramalign.evaluation.retrieval import (
    FUSED,
    SCORE_NAMES,
    Retrieval,
    retrieval_figures,
    retrieve_both_ways,
)
from gramalign.evaluation.robustness import CURVES, Curve, Point, Robustness, robustness
from gramalign.evaluation.robustness_tables import robustness_tables
from gramalign.evaluation.tables import (
    pair_table,
    tables,
    to_text,
    tuple_table,
)
from gramalign.evaluation.tuple_figures import TupleFigure

__all__ = [
    "CURVES",
    "Contribution",
    "Correlation",
    "Curve",
    "FUSED",
    "SCORE_NAMES",
    "Degeneracy",
    "Diagnostics",
    "Difference",
    "EmbeddingSet",
    "Evaluation",
    "Hubness",
    "Interval",
    "LinearGCCA",
    "PairFigures",
    "Point",
    "Retrieval",
    "Robustness",
    "TupleFigure",
    "checked",
    "compare",
    "compare_table",
    "contribution_table",
    "contributions",
    "correlation_over_checkpoints",
    "diagnose",
    "diagnostics_table",
    "difference",
    "evaluate",
    "figure_names",
    "fit_gcca",
    "interval",
    "pair_table",
    "retrieval_figures",
    "retrieve_both_ways",
    "robustness",
    "robustness_tables",
    "tables",
    "to_text",
    "tuple_table",
]
