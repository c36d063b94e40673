"""The flags with which tests compile: unoptimised and, where that can be had, without MLIR."""

import jaxlib

UNOPTIMIZED = "--xla_backend_optimization_level=0"
# Half the compile time. Later versions do not know the flag, and an unknown one ends the process.
if tuple(map(int, jaxlib.__version__.split(".")[:2])) < (0, 11):
    UNOPTIMIZED += " --xla_cpu_use_fusion_emitters=false"
