"""Import torchvision beside a build of PyTorch that its operators are not made for.

PyPI's torchvision is compiled for CUDA: beside PyTorch for the CPU its library does not
load, and its import fails at the first operator. Import this module before it; with
torchvision's own operators it does nothing.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path

import torch
from torch.library import Library


def _loads() -> bool:
    """Tell whether torchvision's compiled operators load here."""
    found = importlib.util.find_spec("torchvision")
    assert found is not None
    assert found.origin is not None
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        library = Path(found.origin).with_name(f"_C{suffix}")
        if library.exists():
            try:
                torch.ops.load_library(library)
            except OSError:
                return False
            return True
    return False


def nms(dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Return the boxes that overlap no better one by more than the threshold."""
    from torchvision.ops import box_iou  # noqa: PLC0415 - after the operators

    left, kept = scores.argsort(descending=True, stable=True), []
    while left.numel():
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[box_iou(dets[best][None], dets[left])[0] <= iou_threshold]
    return torch.stack(kept) if kept else left


if not _loads():
    OPERATORS = Library("torchvision", "FRAGMENT")  # kept: its end takes them away
    for name in ("nms", "qnms"):
        OPERATORS.define(
            f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        )
    OPERATORS.impl("nms", nms, "CPU")

    import torchvision

    # What it asks before it calls `nms`; `roi_align` it has in Python as well.
    torchvision.extension._has_ops = lambda: True
