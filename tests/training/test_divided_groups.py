"""A split that divides groups lets a run see in training what it is tested on."""

import logging

import numpy as np
import pytest

from gramalign.training import Config
from gramalign.training.rows import chosen_rows


def said(caplog, path, **columns):
    rng = np.random.default_rng(0)
    np.savez(path, text=rng.normal(size=(40, 4)), audio=rng.normal(size=(40, 3)), **columns)
    for _ in range(2):  # as a comparison does
        with caplog.at_level(logging.WARNING, logger="gramalign"):
            chosen_rows(Config(data=str(path)))
    return [record.getMessage() for record in caplog.records]


def test_it_is_said_once_how_many_rows(caplog, tmp_path):
    split = np.array(["train"] * 25 + ["validation"] * 8 + ["test"] * 7)
    # Rows 25 to 27 are of the groups of rows 22 to 24, the last two of that of row 0.
    groups = np.arange(40) - np.where((np.arange(40) > 24) & (np.arange(40) < 28), 3, 0)
    groups[38:] = 0
    path = tmp_path / "divided.npz"
    (message,) = said(caplog, path, split=split, groups=groups)
    assert message.startswith(
        f"{tmp_path / 'divided.npz'}: the groups of 5 validation or test rows"
    )
    assert "a video with several captions" in message and "the same 'split'" in message


@pytest.mark.parametrize("split", [None, ["train", "train", "validation", "test"]])
def test_whole_groups_are_no_trouble(split, caplog, tmp_path):
    columns = {} if split is None else {"split": np.repeat(split, 10)}
    assert not said(caplog, tmp_path / "whole.npz", groups=np.arange(40) // 5, **columns)


def test_validation_and_test_may_share_a_group(caplog, tmp_path):
    split = np.repeat(["train", "train", "validation", "test"], 10)
    groups = np.minimum(np.arange(40), 20)
    assert not said(caplog, tmp_path / "shared.npz", split=split, groups=groups)
