"""Several processes that talk to each other."""

import socket
import subprocess


def free_port():
    """One that no other process listens to, a moment ago."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def launched(command, **environment):
    """A process whose output can be read."""
    return subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def ended(processes, timeout=300):
    """What each process has printed, once all have ended."""
    try:
        return [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()


def all_succeed(processes, timeout=300):
    """Waits for processes, and fails with what they printed unless all end well."""
    printed = ended(processes, timeout)
    assert not any(process.returncode for process in processes), "\n\n".join(printed)
