"""The flags with which tests compile."""

import jax

UNOPTIMIZED = "--xla_backend_optimization_level=0"
if jax.__version_info__ < (0, 11):
    # Half of the time to compile is that of these emitters; what came before them does the same.
    # Later versions know no such flag.
    UNOPTIMIZED += " --xla_cpu_use_fusion_emitters=false"
