"""Two processes that talk through `jax.distributed` give what one device gives."""

import os
import sys

import numpy as np

from tests.contrast.test_mesh import STRATEGIES, exact
from tests.contrast.two_processes import KIND, NAME, leaves
from tests.processes import all_succeed, free_port, launched


def test_either_exchange(tmp_path):
    port, out = free_port(), tmp_path / "found.npz"
    command = [sys.executable, "-m", "tests.contrast.two_processes", port]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    all_succeed([launched([*command, number, out], **environment) for number in range(2)])
    found = np.load(out)
    for strategy in STRATEGIES:
        for key, x in leaves(exact(NAME, KIND)).items():
            y = found[f"{strategy} {key}"]
            np.testing.assert_allclose(y, x, atol=1e-10, err_msg=f"{strategy} {key}")
