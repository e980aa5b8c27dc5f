"""The exact types of the Keras adapter: read by the type checkers, never run."""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
import ted_keras
from numpy.typing import NDArray
from ted_keras.data import TEDData

import ted_core
from ted_core.reports import Preflight
from ted_core.typing import State


def a_session_is_three_lines(model: Any, x: NDArray[Any], y: NDArray[Any]) -> None:
    ted = ted_keras.TED(
        model,
        (x, y),
        epochs=10,
        batch_size=8,
        class_weight={0: 2.0},
        output="kind",
        activation="softmax",
        mask=ted_keras.Mask(name="site"),
        multiple_of=8,
        backup="ted.npz",
        allow=["epochs"],
        workers=2,
        use_multiprocessing=True,
        prune_ratio=0.5,
        strategy=ted_core.TopScore(),
        signal="loss",
        seed=1,
        scale_loss=False,
        labels=y,
    )
    assert_type(ted, ted_keras.TED)
    assert_type(ted.data, TEDData)
    assert_type(ted.pruner, ted_core.Pruner)
    assert_type(ted.total_steps, int)
    assert_type(ted.epoch, int)
    assert_type(ted.savings(), ted_core.Savings)
    assert_type(ted.report(), ted_core.Report)
    assert_type(ted.check(), Preflight)
    state = assert_type(ted.state_dict(), State)
    ted.load_state_dict(state, allow=["epochs"])
    ted.save("ted.npz")
    with ted as session:
        assert_type(session, ted_keras.TED)


def a_method_is_one_argument(model: Any, x: NDArray[Any], y: NDArray[Any]) -> None:
    ted = ted_keras.TED(
        model, (x, y), batch_size=32, epochs=10, prune_ratio=0.7, method="soft_margin"
    )
    assert_type(ted, ted_keras.TED)


def rows(ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return ids, ids


def data_may_be_a_function_of_ids(model: Any) -> None:
    ted = ted_keras.TED(model, rows, n=3, epochs=5)
    assert_type(ted.data, TEDData)


def data_may_be_a_pipeline(model: Any) -> None:
    pipeline = ted_keras.Pipeline(rows, batched=True, num_parallel_calls=2)
    assert_type(pipeline, ted_keras.Pipeline)
    assert_type(ted_keras.TED(model, pipeline, n=3, epochs=5), ted_keras.TED)
