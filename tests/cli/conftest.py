"""Settings for tests of commands."""

from tests.compiled import kept_programs as kept_programs
