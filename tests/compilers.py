"""Devices that are not there: what tests that compile for them are marked with, and meshes."""

import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from gramalign.programs import gpus, tpus
from gramalign.programs.topology import devices_of

tpu = pytest.mark.skipif(tpus.missing() is not None, reason=f"compiling for TPUs {tpus.missing()}")
cuda = pytest.mark.skipif(gpus.missing() is not None, reason=f"compiling for GPUs {gpus.missing()}")


def mesh_along(topology):
    """All devices of a topology along one axis, "data"."""
    return Mesh(np.array(devices_of(topology)), ("data",), axis_types=(AxisType.Auto,))
