"""Names on the host: ids and classes, whatever library they come from."""

import numpy as np
from jaxtyping import Array, Shaped


def host_text(names: Shaped[np.ndarray | Array, "..."]) -> Shaped[np.ndarray, "..."]:
    """As an array of NumPy; objects that are all strings, as of pandas, as strings.

    >>> import numpy as np
    >>> host_text(np.array(["cat", "dog"], object)).dtype
    dtype('<U3')
    """
    values = np.asarray(names)
    if values.dtype == object and all(isinstance(name, str) for name in values.ravel()):
        return values.astype(np.str_)
    return values
