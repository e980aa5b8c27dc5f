"""What Ultralytics would download, and loggers that happen to be installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib as mpl
import torchvision_ops
from ultralytics import settings
from ultralytics.utils import USER_CONFIG_DIR

_FONT = Path(mpl.get_data_path(), "fonts/ttf/DejaVuSans.ttf")
shutil.copy(_FONT, USER_CONFIG_DIR / "Arial.ttf")
settings.update({name: False for name, value in settings.items() if value is True})
torchvision_ops.use()
