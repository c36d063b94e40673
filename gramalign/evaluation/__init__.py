"""Floor 4: how well do embeddings agree? Retrieval, classes, diagnostics, a baseline, tables.

`evaluate` measures a space and `tables` shows the result; `classify` and `classification_table` do
the same for classes; `fit_gcca` is the baseline that a learned space should beat; `compare` sets
objectives side by side over seeds and says which differences to trust. Its bootstrap intervals,
tests and ranks can be used on their own. Everything takes host arrays by modality and knows nothing
of how they were learned.
"""

from gramalign.evaluation.bootstrap import BootstrapInterval, bootstrap_interval
from gramalign.evaluation.checkpoints import Correlation, correlation_over_checkpoints
from gramalign.evaluation.class_figures import ClassFigures, Estimate
from gramalign.evaluation.classification import Classification, classify
from gramalign.evaluation.classification_table import classification_table
from gramalign.evaluation.comparison import Comparison, Figure, Interval, compare, interval
from gramalign.evaluation.comparison_tables import mean_grid, rank_grid
from gramalign.evaluation.contribution import Contribution, Difference, contributions, difference
from gramalign.evaluation.contribution_table import contribution_table
from gramalign.evaluation.diagnostics import Degeneracy, Diagnostics, diagnose
from gramalign.evaluation.diagnostics_tables import diagnostics_table
from gramalign.evaluation.evaluation import Evaluation, evaluate, figure_names
from gramalign.evaluation.gcca import LinearGCCA, fit_gcca
from gramalign.evaluation.grid import Cell, Grid, to_latex, to_markdown, to_rich
from gramalign.evaluation.hubness import Hubness
from gramalign.evaluation.inputs import EmbeddingSet, checked
from gramalign.evaluation.labelled import Labelled, labelled
from gramalign.evaluation.neighbours import nearest_neighbours
from gramalign.evaluation.pair_figures import PairFigures
from gramalign.evaluation.probe import linear_probe
from gramalign.evaluation.prompts import Prompts, class_prompts, classify_by_prompts, prompts_of
from gramalign.evaluation.ranking import Rank, ranking
from gramalign.evaluation.relevance import Relevance, relevance_figures, retrieve_by_label
from gramalign.evaluation.reranking import Judge, Rescore, rerank
from gramalign.evaluation.retrieval import (
    FUSED,
    SCORE_NAMES,
    Retrieval,
    retrieval_figures,
    retrieve_both_ways,
)
from gramalign.evaluation.robustness import CURVES, Curve, Point, Robustness, robustness
from gramalign.evaluation.robustness_tables import robustness_tables
from gramalign.evaluation.significance import (
    Evidence,
    PairedDifference,
    crossed_test,
    holm,
    paired_difference,
    sign_flip_test,
)
from gramalign.evaluation.tables import pair_table, tables, to_text, tuple_table
from gramalign.evaluation.tuple_figures import TupleFigure
from gramalign.evaluation.units import unit_shares, unit_values

__all__ = [
    "CURVES",
    "FUSED",
    "SCORE_NAMES",
    "BootstrapInterval",
    "Cell",
    "ClassFigures",
    "Classification",
    "Comparison",
    "Contribution",
    "Correlation",
    "Curve",
    "Degeneracy",
    "Diagnostics",
    "Difference",
    "EmbeddingSet",
    "Estimate",
    "Evaluation",
    "Evidence",
    "Figure",
    "Grid",
    "Hubness",
    "Interval",
    "Judge",
    "Labelled",
    "LinearGCCA",
    "PairFigures",
    "PairedDifference",
    "Point",
    "Prompts",
    "Rank",
    "Relevance",
    "Rescore",
    "Retrieval",
    "Robustness",
    "TupleFigure",
    "bootstrap_interval",
    "checked",
    "class_prompts",
    "classification_table",
    "classify",
    "classify_by_prompts",
    "compare",
    "contribution_table",
    "contributions",
    "correlation_over_checkpoints",
    "crossed_test",
    "diagnose",
    "diagnostics_table",
    "difference",
    "evaluate",
    "figure_names",
    "fit_gcca",
    "holm",
    "interval",
    "labelled",
    "linear_probe",
    "mean_grid",
    "nearest_neighbours",
    "pair_table",
    "paired_difference",
    "prompts_of",
    "rank_grid",
    "ranking",
    "relevance_figures",
    "rerank",
    "retrieval_figures",
    "retrieve_both_ways",
    "retrieve_by_label",
    "robustness",
    "robustness_tables",
    "sign_flip_test",
    "tables",
    "to_latex",
    "to_markdown",
    "to_rich",
    "to_text",
    "tuple_table",
    "unit_shares",
    "unit_values",
]
