"""Train as Ultralytics' command ``yolo train`` does, which takes no trainer."""

from __future__ import annotations

import sys

import yaml
from ultralytics import YOLO

options = dict(word.split("=", 1) for word in sys.argv[1:])
options = {name: yaml.safe_load(value) for name, value in options.items()}
model = YOLO(options.pop("model"))
model.train(**options)
