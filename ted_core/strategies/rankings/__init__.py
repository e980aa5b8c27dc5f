"""Rankings of static pruning, made before a run from a trained model's last layer.

Each function takes NumPy arrays of all samples and returns a score for each, for
:class:`ted_core.Static`: high is kept.
"""

from ted_core.strategies.rankings.contextual_diversity import contextual_diversity
from ted_core.strategies.rankings.craig import craig
from ted_core.strategies.rankings.dataset_pruning import dataset_pruning
from ted_core.strategies.rankings.deepfool import deepfool
from ted_core.strategies.rankings.glister import glister

__all__ = ["contextual_diversity", "craig", "dataset_pruning", "deepfool", "glister"]
