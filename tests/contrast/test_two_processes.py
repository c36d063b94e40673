"""Two processes that talk through `jax.distributed` give what one device gives."""

import os
import sys

import numpy as np
import pytest

from tests.contrast.test_mesh import exact
from tests.contrast.two_processes import CASES, KIND, leaves
from tests.processes import all_succeed, free_port, launched


@pytest.mark.slow
def test_either_exchange(tmp_path):
    port, out = free_port(), tmp_path / "found.npz"
    command = [sys.executable, "-m", "tests.contrast.two_processes", port]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    all_succeed([launched([*command, number, out], **environment) for number in range(2)])
    found = np.load(out)
    for name, strategy in CASES:
        for key, x in leaves(exact(name, KIND)).items():
            key = f"{name} {strategy} {key}"
            np.testing.assert_allclose(found[key], x, atol=1e-10, err_msg=key)
