"""The flags with which tests compile: unoptimised, and fusions without MLIR, in half the time."""

UNOPTIMIZED = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
