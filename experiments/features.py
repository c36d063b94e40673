"""Features of any origin: where `train`, `compare` and `plan` start with --data and no preset.

The published temperatures where there are any, learned, and towers that suit some thousand rows.
"""

from gramalign.training import Config

config = Config()
