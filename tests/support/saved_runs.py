"""How a run whose saved state is a fixture is fed, gone on with, and compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

__all__ = [
    "EPOCHS",
    "FOLDER",
    "N",
    "Record",
    "begun",
    "ended",
    "go_on",
    "observe",
    "read",
    "row",
    "same",
    "to_stop",
    "values",
    "write",
]

FOLDER = Path(__file__).parents[1] / "fixtures" / "states"
N, EPOCHS = 40, 8
COUNTS = ("planned", "observed", "distinct", "nonfinite", "missing", "nonfinite_ids")


def values(ids, epoch):
    """Give what samples are worth in an epoch."""
    drawn = (np.asarray(ids, np.int64) * 7919 + epoch * 104729) % 1009
    return (drawn / 1009).astype(np.float32)


def observe(pruner, ids, first=0):
    """Let a pruner observe samples, but for a few; sample 3 is not finite at first.

    Ids are counted from `first`: a rank with data of its own has them from 0.
    """
    epoch, names = pruner.epoch, ids + first
    seen = (names + epoch) % 11 != 0
    found = values(names[seen], epoch)
    if pruner.config.signal == "forgetting":
        found = np.round(found)
    if epoch < 2:
        found[names[seen] == 3] = np.nan
    pruner.observe(ids[seen], found)


def close(pruner, start=0, first=0):
    """Observe the rest of an epoch, two samples of it twice, and close it."""
    order = pruner.plan().order
    observe(pruner, order[start:], first)
    observe(pruner, order[:2], first)
    pruner.advance()


def to_stop(kind, pruner, first=0):
    """Run a pruner to where its state is kept."""
    while pruner.epoch < kind.epoch:
        close(pruner, first=first)
    if kind.seen:
        observe(pruner, pruner.plan().order[: kind.seen], first)
    if kind.early:
        pruner.finish()
    return pruner


def go_on(kind, pruner, first=0):
    """Run a pruner from there to its end; give what was found on the way."""
    record = {"loaded": begun(pruner), "epochs": []}
    while not pruner.finished:
        record["epochs"].append(row(pruner.plan()))
        close(pruner, kind.seen if pruner.epoch == kind.epoch else 0, first)
    return record | {"ended": ended(pruner)}


def numbers(array):
    """Give float32 as numbers that are read back to the same bits; None for NaN."""
    return [None if np.isnan(x) else float(str(np.float32(x))) for x in array]


def begun(pruner):
    """Give what a loaded state brought."""
    return {
        "epoch": pruner.epoch,
        "finished": pruner.finished,
        "scores": numbers(pruner.scores),
        "visits": pruner.update_counts.tolist(),
    }


def row(plan):
    """Give an epoch's plan."""
    weights = None if plan.weights is None else numbers(plan.weights)
    kept = list(plan.kept_by_rank)
    return {
        "order": plan.order.tolist(),
        "scale": float(plan.loss_scale),
        "weights": weights,
        "kept_by_rank": kept,
    }


def ended(pruner):
    """Give what a run's end tells."""
    savings, report = pruner.savings(), pruner.report()
    return {
        "epoch": pruner.epoch,
        "finished": pruner.finished,
        "savings": [savings.full, savings.planned, savings.forwarded],
        "report": {name: getattr(report, name).tolist() for name in COUNTS},
        "scores": numbers(pruner.scores),
    }


class Record:
    """What a run was since it was loaded: epochs at their first batch, and the end."""

    def __init__(self):
        self.rows, self.loaded, self.epoch = [], None, None

    def see(self, pruner):
        """Note an epoch, once."""
        self.loaded = self.loaded or begun(pruner)
        if pruner.epoch != self.epoch:
            self.rows.append(row(pruner.plan()))
            self.epoch = pruner.epoch

    def facts(self, pruner):
        """Give it all."""
        return {"loaded": self.loaded, "epochs": self.rows, "ended": ended(pruner)}


def write(name, record, kind):
    """Write beside a state what the run does afterwards."""
    if kind.drawn:
        record = {"order_may_change": True, **record}
    lines = [f'"{name}": {_value(value)}' for name, value in record.items()]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    with (FOLDER / f"{name}.json").open("x", encoding="utf-8") as file:
        file.write(text)


def _value(value):
    if isinstance(value, list) and value:
        return "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n]"
    return json.dumps(value)


def read(name):
    """Read what the run of a state does afterwards."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def _savings(ended):
    """Give the savings of a report: an epoch counts as far as it was delivered."""
    planned, missing, distinct = (
        np.array(ended["report"][name]) for name in ("planned", "missing", "distinct")
    )
    delivered = planned - missing
    full = np.rint(len(ended["scores"]) * (delivered / planned)).sum()
    return [int(full), int(delivered.sum()), int(distinct.sum())]


def same(found, expected, *, rtol=0.0, padded=False, mixed=False):
    """Compare a run that went on with what is written, scores to within `rtol`.

    Processes also forward what makes their shares even, and of mixed batches version 1
    counted all parts as observed.
    """
    assert found["loaded"] == expected["loaded"]
    assert len(found["epochs"]) == len(expected["epochs"])
    drawn = expected.get("order_may_change", False)
    for one, other in zip(found["epochs"], expected["epochs"], strict=True):
        assert len(one["order"]) == len(other["order"])
        assert one["kept_by_rank"] == other["kept_by_rank"]
        assert np.isclose(one["scale"], other["scale"], rtol=1e-12)
        if not drawn:
            assert one["order"] == other["order"]
            assert one["weights"] == other["weights"]
        if "total" in one and "total" in other and not drawn:
            assert np.isclose(one["total"], other["total"], rtol=1e-5)
    one, other = found["ended"], expected["ended"]
    for name in ("epoch", "finished"):
        assert one[name] == other[name]
    assert one["report"]["planned"] == other["report"]["planned"]
    if not drawn:
        # Over shards a process also forwards what it repeats to keep in step.
        repeats = padded or any(row["kept_by_rank"] for row in found["epochs"])
        counts = 2 if repeats else 3
        assert one["savings"][:counts] == _savings(other)[:counts]
        left = {"observed"} if mixed else set()
        for name in one["report"].keys() - left:
            assert one["report"][name] == other["report"][name]
        scores = (np.array(side["scores"], np.float64) for side in (one, other))
        np.testing.assert_allclose(*scores, rtol=rtol)
