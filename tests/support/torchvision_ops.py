"""Let torchvision be imported beside a PyTorch that its operators are not made for.

PyPI's torchvision is compiled for CUDA: beside PyTorch for the CPU its library does not
load, its import fails at the first operator, and with it that of all that looks for it,
Lightning and transformers among them. Once this module is imported, the import of
torchvision defines what it asks for. Where its own operators load, nothing is done.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

_KEPT = []


class BeforeTorchvision:
    """What Python asks for a module first, until torchvision is looked for."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        """Define the operators, and leave the finding to others."""
        del path, target
        if name == "torchvision":
            sys.meta_path.remove(cls)
            found = importlib.util.find_spec(name)
            if found is not None and not _loads(Path(found.origin).parent):
                _define()


def _loads(folder):
    """Tell whether torchvision's compiled operators load here."""
    import torch  # noqa: PLC0415 - once it is needed

    for library in (folder / f"_C{suffix}" for suffix in EXTENSION_SUFFIXES):
        if library.exists():
            try:
                torch.ops.load_library(library)
            except OSError:
                return False
            return True
    return False


def _define():
    """Define the operators that the import asks for."""
    from torch.library import Library  # noqa: PLC0415 - once it is needed

    operators = Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        operators.define(
            f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        )
    operators.impl("nms", _nms, "CPU")
    _KEPT.append(operators)  # its end takes them away


def _nms(dets, scores, iou_threshold):
    """Return the boxes that overlap no better one by more than the threshold."""
    import torch  # noqa: PLC0415 - once it is needed
    from torchvision.ops import box_iou  # noqa: PLC0415

    left, kept = scores.argsort(descending=True, stable=True), []
    while left.numel():
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[box_iou(dets[best][None], dets[left])[0] <= iou_threshold]
    return torch.stack(kept) if kept else left


def use():
    """Have torchvision use `nms` as defined here, and `roi_align` as it has it."""
    import torchvision  # noqa: PLC0415 - once it is needed

    if _KEPT:
        torchvision.extension._has_ops = lambda: True
        # Its own in Python would be compiled.
        module = sys.modules["torchvision.ops.roi_align"]
        align = module._roi_align
        module._roi_align = getattr(align, "__wrapped__", align)


sys.meta_path.insert(0, BeforeTorchvision)
