"""The flag with which tests compile."""

UNOPTIMIZED = "--xla_backend_optimization_level=0"
