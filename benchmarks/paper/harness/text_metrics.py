"""The metrics of the GLUE tasks."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["METRICS", "accuracy", "matthews", "pearson"]


def accuracy(predicted, labels):
    """Return the share of labels that were predicted."""
    return float(np.mean(np.asarray(predicted) == np.asarray(labels)))


def matthews(predicted, labels):
    """Return the correlation of two classes, (tp tn - fp fn) / sqrt(...).

    0 if one side has one class alone. B. W. Matthews, Biochimica et Biophysica Acta
    405, 1975.
    """
    p, y = np.asarray(predicted) == 1, np.asarray(labels) == 1
    tp, tn = int(np.sum(p & y)), int(np.sum(~p & ~y))
    fp, fn = int(np.sum(p & ~y)), int(np.sum(~p & y))
    bottom = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / math.sqrt(bottom) if bottom else 0.0


def pearson(predicted, labels):
    """Return the linear correlation, 0 if one side is constant."""
    p, y = np.asarray(predicted, float), np.asarray(labels, float)
    p, y = p - p.mean(), y - y.mean()
    bottom = math.sqrt(float(p @ p) * float(y @ y))
    return float(p @ y) / bottom if bottom else 0.0


METRICS = {"accuracy": accuracy, "matthews": matthews, "pearson": pearson}
