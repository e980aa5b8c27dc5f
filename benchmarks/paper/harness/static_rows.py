"""The static rows of Tables 1 and 2 that rank by a trained network's last layer."""

from __future__ import annotations

from ted_core import rankings

__all__ = ["RANKINGS"]


def of_layer(ranking):
    """Return a ranking by features, logits and labels as one of what a task gives."""

    def rank(layer, count, seed):
        given = (layer[name] for name in ("features", "logits", "labels"))
        return ranking(*given, count=count, seed=seed)

    return rank


def contextual_diversity(layer, count, seed):
    given = {"labels": layer["labels"], "count": count, "seed": seed}
    return rankings.contextual_diversity(layer["logits"], **given)


def deepfool(layer, _count, _seed):
    return rankings.deepfool(layer["logits"], layer["weights"])


RANKINGS = {
    "contextual diversity": contextual_diversity,
    "deepfool": deepfool,
    "craig": of_layer(rankings.craig),
    "glister": of_layer(rankings.glister),
    "dataset pruning": of_layer(rankings.dataset_pruning),
}
"""Each takes what ``Task.last_layer()`` returns, how many samples are kept and a seed;
the held-out samples of Glister are the training samples."""
