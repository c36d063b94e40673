"""Folders of tiny pretrained models."""

import copy

import pytest

from tests.models.pretrained.tiny import golden, write_model

GOLDEN = golden()


@pytest.fixture
def model(tmp_path):
    """Writes a case, after a change to it, and gives its folder."""

    def write(name, change=None):
        case = copy.deepcopy(GOLDEN[name])
        if change is not None:
            change(case)
        return write_model(tmp_path / "model", case)

    return write
