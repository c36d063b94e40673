"""What XLA compiles."""

import contextlib

import jax


@contextlib.contextmanager
def compilations():
    """A list that grows by an entry whenever something is compiled inside."""
    found = []

    def note(event, duration, **about):
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(about)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
