"""The methods: what each differs in from TED, and the options that this makes."""

from __future__ import annotations

import ted_core

__all__ = ["METHODS", "SCHEDULES", "pruner_options", "ranking_samples"]

STATIC = {"strategy": "Static", "schedule": "Constant", "anneal": 0.0}
OF_LAYER = STATIC | {
    "scores of": {"prune_ratio": 0.0, "epochs": 10, "keeps": "last layer"}
}
METHODS = {
    # trained in full
    "full": {"source": "plain"},
    "full, equal steps": {"source": "plain", "steps of": {}},
    "zero-shot": {"source": "plain", "steps": 0},
    # the paper's
    "Random": {"strategy": "Random"},
    "TED": {},
    "TED, feature": {"site": "feature"},
    "TED, input": {"site": "input"},
    "TED, signed": {"signed": True},
    "TED-loss": {"signal": "loss"},
    "TEDS": STATIC | {"scores of": {}},
    # other ways to choose at the same r_t
    "EL2N": {"signal": "el2n"},
    "GraNd": {"signal": "grand"},
    "margin": {"signal": "margin"},
    "least confidence": {"signal": "least_confidence"},
    "forgetting": {"signal": "forgetting"},
    "SoftTop": {"strategy": "SoftTop"},
    "SoftTop, loss": {"strategy": "SoftTop", "signal": "loss"},
    "epsilon-greedy": {"strategy": "EpsilonGreedy", "signal": "loss"},
    "UCB": {"strategy": "UCB", "signal": "loss"},
    "InfoBatch": {"strategy": "InfoBatch", "signal": "loss", "schedule": "Constant"},
    # one ranking for the whole run, made by the first epochs of a full training
    "Random, static": STATIC | {"scores of": "chance"},
    "EL2N, static": STATIC
    | {"scores of": {"signal": "el2n", "prune_ratio": 0.0, "epochs": 20}},
    "GraNd, static": STATIC
    | {"scores of": {"signal": "grand", "prune_ratio": 0.0, "epochs": 5}},
    "margin, static": STATIC | {"scores of": {"signal": "margin", "prune_ratio": 0.0}},
    "least confidence, static": STATIC
    | {"scores of": {"signal": "least_confidence", "prune_ratio": 0.0}},
    "CD, static": OF_LAYER | {"ranking": "contextual diversity"},
    "DeepFool, static": OF_LAYER | {"ranking": "deepfool"},
    "Craig, static": OF_LAYER | {"ranking": "craig"},
    "Glister, static": OF_LAYER | {"ranking": "glister"},
    "DP, static": OF_LAYER | {"ranking": "dataset pruning"},
    # other people's code
    "RS2, datacull": {"source": "datacull", "loader": "RS2"},
    "RCAP, datacull": {"source": "datacull", "loader": "RCAP"},
    "InfoBatch, infobatch": {"source": "infobatch", "schedule": "Constant"},
}
"""What each method differs in from TED. ``scores of`` and ``steps of`` name the run,
again by what it differs in from TED, that ranks the samples or lends its steps; where
it ``keeps`` what its last layer gave, ``ranking`` names what ranks by that."""

SCHEDULES = {
    name: getattr(ted_core, name)
    for name in ("RollerCoaster", "Linear", "Cosine", "Constant")
}
SHARED = ("prune_ratio", "anneal", "horizon", "warmup")
OF_STRATEGY = ("epsilon", "sharpness", "confidence", "bonus", "class_floor")
OF_REDUCTION = ("alpha", "start")
OF_RUN = ("scale_loss", "multiple_of")


def pruner_options(spec, *, labels=None, scores=None):
    """Return the options of ``ted_torch.TED`` that a method's `spec` stands for."""
    curve = SCHEDULES[spec.get("schedule", "RollerCoaster")]
    kept = {k: spec[k] for k in SHARED if k in spec}
    if curve is ted_core.RollerCoaster and "beta" in spec:
        kept["beta"] = spec["beta"]
    strategy = getattr(ted_core, spec.get("strategy", "TopScore"))
    given = {k: spec[k] for k in OF_STRATEGY if k in spec}
    first = () if scores is None else (scores,)
    options = {
        "schedule": curve(**kept),
        "strategy": strategy(*first, **given),
        "signal": spec.get("signal", "mask_gradient"),
    } | {k: spec[k] for k in OF_RUN if k in spec}
    if spec.get("signed") or spec.get("normalize"):
        options["signal"] = "loss"  # see `TedSource.loss`
    reduced = {k: spec[k] for k in OF_REDUCTION if k in spec}
    if reduced:
        options["reduction"] = ted_core.Polyak(**reduced)
    if spec.get("class_floor"):
        options["labels"] = labels
    return options


def ranking_samples(config, spec, full):
    """Return how many samples the run forwards that ranks for a static method.

    `full` is what full training forwards.
    """
    of = spec.get("scores of", "chance")
    if of == "chance":
        return 0
    epochs = config["training"]["epochs"]
    spec = config["pruning"] | {"prune_ratio": spec["prune_ratio"]} | of
    schedule = pruner_options(spec)["schedule"]
    options = {"epochs": spec.get("epochs", epochs), "schedule": schedule}
    pruner = ted_core.Pruner(full // epochs, **options)
    return int(pruner.schedule_table()["kept"].sum())
