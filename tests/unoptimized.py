"""How tests compile: they compile much and compute little."""

from functools import partial

import jax

# Half of the time to compile is that of fusions' emitters. What came before them rounds otherwise
# here and there, so it is for values that are compared within a tolerance; and only jax up to 0.10
# has it.
_HAS_OTHERS = jax.__version_info__ < (0, 11)

UNOPTIMIZED = "--xla_backend_optimization_level=0"
"""The flag for all programs of a test's own process."""

OF_COMMANDS = f"{UNOPTIMIZED} --xla_cpu_use_fusion_emitters=false" if _HAS_OTHERS else UNOPTIMIZED
"""The flags for those of the commands that tests start."""

quickly = partial(
    jax.jit, compiler_options={"xla_cpu_use_fusion_emitters": False} if _HAS_OTHERS else {}
)
"""`jax.jit` for large programs that run once."""
