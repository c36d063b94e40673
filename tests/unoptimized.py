"""How tests compile: they compile much and compute little."""

from functools import partial

import jax

UNOPTIMIZED = "--xla_backend_optimization_level=0"
"""The flag for all of them."""

# Half of the time to compile is that of fusions' emitters. What came before them rounds otherwise
# here and there, so it is for values that are compared within a tolerance; and only jax up to 0.10
# has it.
_OPTIONS = {"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < (0, 11) else {}

quickly = partial(jax.jit, compiler_options=_OPTIONS)
"""`jax.jit` for large programs that run once."""
