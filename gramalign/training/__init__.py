"""Training: a config goes in, a run folder with a trained model comes out."""

from gramalign.training.config import Config as Config
from gramalign.training.config import Model as Model
from gramalign.training.config import Optimizer as Optimizer
from gramalign.training.config_json import config_from_json as config_from_json
from gramalign.training.config_json import config_to_json as config_to_json
from gramalign.training.loop import NonFiniteLoss as NonFiniteLoss
from gramalign.training.loop import train as train
from gramalign.training.restore import Run as Run
from gramalign.training.restore import embed_store as embed_store
from gramalign.training.restore import load_run as load_run
from gramalign.training.terms import Clip as Clip
from gramalign.training.terms import Gram as Gram
from gramalign.training.terms import Pmrl as Pmrl
