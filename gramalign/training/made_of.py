"""Whether a run's towers are still what they were when it was trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gramalign.training.model import Model

MADE_OF = "made_of"
"""Where a run's files have what `gramalign.models.Towers.made_of` said of its towers."""


def check_made_of(path: Path, about: Mapping[str, Any], model: Model) -> None:
    """Raises a ValueError if a tower is made of something else than what a run's file has.

    Weights of another model would be taken for its own, where their shapes are alike.
    """
    before, now = about.get(MADE_OF, {}), model.encoder.made_of()
    if changed := sorted(m for m, made in before.items() if now.get(m) != made):
        towers = model.encoder.towers
        named = [f"{m} ({f})" if (f := getattr(towers[m], "folder", "")) else m for m in changed]
        raise ValueError(
            f"{path} holds the weights of towers that have changed since: what that of "
            f"{', '.join(named)} is made of, such as the settings in an encoder's folder, is not "
            "what it was; put that back, or train anew"
        )
