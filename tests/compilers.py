"""What tests that compile for devices which are not there are marked with."""

import pytest

from gramalign.programs import gpus, tpus

tpu = pytest.mark.skipif(tpus.missing() is not None, reason=f"compiling for TPUs {tpus.missing()}")
cuda = pytest.mark.skipif(gpus.missing() is not None, reason=f"compiling for GPUs {gpus.missing()}")
