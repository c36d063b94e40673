"""Two processes that talk through `jax.distributed` give what one device gives."""

import os
import socket
import subprocess
import sys

import numpy as np

from tests.contrast.test_mesh import STRATEGIES, exact
from tests.contrast.two_processes import KIND, NAMES, leaves


def test_scores_of_every_make(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    out = tmp_path / "found.npz"
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.contrast.two_processes", str(port), str(number), out],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
        )
        for number in range(2)
    ]
    try:
        printed = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n\n".join(printed)
    found = np.load(out)
    for name in NAMES:
        for strategy in STRATEGIES:
            for key, x in leaves(exact(name, KIND)).items():
                y = found[f"{name} {strategy} {key}"]
                np.testing.assert_allclose(y, x, atol=1e-10, err_msg=f"{name} {strategy} {key}")
