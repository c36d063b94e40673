"""The Scores that options name."""

from typing import TYPE_CHECKING, Literal

from gramalign.evaluation import FUSED, SCORE_NAMES

if TYPE_CHECKING:
    ScoreName = FusedOrScoreName = str
else:
    ScoreName = Literal[SCORE_NAMES]
    FusedOrScoreName = Literal[(*SCORE_NAMES, FUSED)]
