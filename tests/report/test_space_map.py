"""The map of the space: who is what."""

import numpy as np
import pytest

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from gramalign.report.drawing import CLASSES, GREYS
from gramalign.report.space_map import _classes


def test_of_many_classes_only_the_others_are_grey():
    tints, keys = _classes(np.repeat([f"c{i}" for i in range(13)], range(1, 14)))
    *named, others = keys
    assert others.label == "5 other classes" and len(named) == 8
    assert {"c12", "c5"} <= {key.label for key in named}
    assert not {key.colour for key in named} & {*GREYS, others.colour}
    assert sum(tints == others.colour) == 1 + 2 + 3 + 4 + 5
    assert set(_classes(np.arange(10))[0]) == set(CLASSES)
