"""TED for Keras; needs the extra ``keras`` or ``tensorflow``."""

try:
    import keras as _keras
except ModuleNotFoundError as error:
    if error.name != "keras":
        raise
    msg = "ted_keras needs Keras: pip install 'ted-core[tensorflow]'"
    raise ModuleNotFoundError(msg, name="keras") from None

from ted_keras.callbacks import TED
from ted_keras.data import Pipeline
from ted_keras.masks import Mask

__all__ = ["TED", "Mask", "Pipeline"]

del _keras
