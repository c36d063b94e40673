"""What the processes of a run must have in common before it starts."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping

from gramalign.data import same_rows
from gramalign.training.config import Config
from gramalign.training.config_json import flat
from gramalign.training.environment import environment
from gramalign.training.moments import Moments
from gramalign.training.processes import Facts, from_all
from gramalign.training.run_folder import RunFolder

_LATE = 60  # seconds after which a network file system shows everybody what one has written


def facts(
    config: Config,
    trained_on: str,
    measured: Mapping[str, Moments] | None,
    started_from: str | None,
) -> Facts:
    """What all processes of a run must have in common, or they would train different models.

    All must call this.

    Args:
        config: the run.
        trained_on: digest of the rows.
        measured: of these rows, if they were measured.
        started_from: digest of the weights that the run starts from, if it reads any.
    """
    # Where each has a copy of the data, some row may be damaged in one, which says so when it reads
    # it.
    told = from_all(trained_on)
    common = told[0] if all(same_rows(each, trained_on) for each in told) else trained_on
    rows = hashlib.blake2b(common.encode(), digest_size=8)
    for name, of_name in sorted((measured or {}).items()):
        rows.update(name.encode() + b"".join(x.tobytes() for x in of_name))
    # Each may have the data in a place of its own, and read them by as many processes as it likes.
    fields = flat(config, without=("data", "workers"))
    read = {"training rows": rows.hexdigest(), "weights of start_from": started_from}
    return {**environment()["versions"], **fields, **read}


def check_shared(folder: RunFolder, word: str) -> None:
    """Raises a ValueError if this process does not see what the first one wrote in the folder."""
    if not seen(lambda: folder.locked.read_text() == word):
        raise ValueError(
            f"{folder.root} is not the folder that process 0 writes to: give --out a folder that "
            "all machines share"
        )


def seen(is_there: Callable[[], bool]) -> bool:
    """Waits until this process sees what the first one has written; whether it does in time."""
    for _ in range(_LATE):
        with contextlib.suppress(OSError):
            if is_there():
                return True
        time.sleep(1)
    return False
