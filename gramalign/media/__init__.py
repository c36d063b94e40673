"""Floor 4: files of media become a feature store: tables, decoding, encoding, a job to be killed.

A cell of a table has one or more *pieces*: a text one, an image one, an audio file its windows, a
video some frames. A pretrained encoder maps every piece; the cell's feature is their mean. What is
asked of a store later becomes features in the same way. Reading needs the packages of the extra
`pretrained`.
"""

from gramalign.media.asking import features_like
from gramalign.media.job import features

__all__ = [
    "features",
    "features_like",
]
