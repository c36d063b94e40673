"""What tests that compile for TPUs are marked with."""

import pytest

from gramalign.programs.topology import missing

tpu = pytest.mark.skipif(missing() is not None, reason=f"compiling for TPUs {missing()}")
