"""Floor 5: the command line. Each command is a dataclass whose fields are its options."""

from gramalign.cli.main import main

__all__ = ["main"]
