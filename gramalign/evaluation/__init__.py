"""Floor 4: how well do embeddings agree? Retrieval, classes, diagnostics, a baseline, tables.

`evaluate` measures and `tables` shows it; `classify` and `classification_table` do so for classes;
`fit_gcca` gives the floor that a learned space should clear; `compare_table` sets objectives over
seeds side by side. All of it works on host arrays by modality and knows nothing of how they were
learned.
"""

from gramalign.evaluation.class_figures import ClassFigures, Estimate
from gramalign.evaluation.classification import Classification, classify
from gramalign.evaluation.classification_table import classification_table
from gramalign.evaluation.comparison import Interval, compare, compare_table, interval
from gramalign.evaluation.diagnostics import Diagnostics, PairFigures, TupleFigure, diagnose
from gramalign.evaluation.evaluation import Evaluation, evaluate, figure_names
from gramalign.evaluation.gcca import LinearGCCA, fit_gcca
from gramalign.evaluation.inputs import EmbeddingSet, checked
from gramalign.evaluation.labelled import Labelled, labelled
from gramalign.evaluation.neighbours import nearest_neighbours
from gramalign.evaluation.probe import linear_probe
from gramalign.evaluation.prompts import Prompts, class_prompts, classify_by_prompts, prompts_of
from gramalign.evaluation.retrieval import FUSED, SCORE_NAMES, Retrieval, retrieval_figures
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
    "ClassFigures",
    "Classification",
    "Diagnostics",
    "EmbeddingSet",
    "Estimate",
    "Evaluation",
    "Interval",
    "Labelled",
    "LinearGCCA",
    "PairFigures",
    "Prompts",
    "Retrieval",
    "TupleFigure",
    "checked",
    "class_prompts",
    "classification_table",
    "classify",
    "classify_by_prompts",
    "compare",
    "compare_table",
    "diagnose",
    "diagnostics_table",
    "evaluate",
    "figure_names",
    "fit_gcca",
    "interval",
    "labelled",
    "linear_probe",
    "nearest_neighbours",
    "pair_table",
    "prompts_of",
    "retrieval_figures",
    "tables",
    "to_text",
    "tuple_table",
]
