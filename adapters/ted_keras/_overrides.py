"""The two methods of a model that a session overrides while it trains."""

from __future__ import annotations

import inspect
from typing import Any

from ted_keras.batch_columns import read
from ted_keras.masks import Mask, find_mask
from ted_keras.objective import Objective
from ted_keras.session import Session
from ted_keras.step import Recorder

__all__ = ["Attachment", "Overrides"]


class Overrides:
    """``compute_loss`` and ``compute_metrics`` of one model, on the instance.

    Parameters
    ----------
    model : keras.Model
        Compiled.
    recorder : Recorder
        Records and scales the training batches of a session.

    Notes
    -----
    Both are methods that Keras documents for subclasses to override. A batch that
    is none of a session's, of an evaluation say, goes to the model's own methods
    as it came.
    """

    def __init__(self, model: Any, recorder: Recorder) -> None:
        self.recorder, self._model = recorder, model
        self._before = {
            name: model.__dict__[name]
            for name in ("compute_loss", "compute_metrics")
            if name in model.__dict__
        }
        compute_loss, compute_metrics = model.compute_loss, model.compute_metrics
        told = "training" in inspect.signature(compute_loss).parameters

        def loss(
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            training: bool = True,  # noqa: FBT001, FBT002 - Keras' signature
        ) -> Any:
            options = {"training": training} if told else {}

            def total(x: Any, y: Any, y_pred: Any, weights: Any) -> Any:
                return compute_loss(x, y, y_pred, weights, **options)

            slot = read(sample_weight)
            if slot is None:
                return total(x, y, y_pred, sample_weight)
            if not training or not recorder.recording:
                spread = recorder.objective.spread(y, y_pred, slot.weights)
                return total(x, y, y_pred, spread)
            return recorder.step(total, x, y, y_pred, slot)

        def metrics(x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            slot = read(sample_weight)
            if slot is not None:
                sample_weight = recorder.objective.spread(y, y_pred, slot.base)
            return compute_metrics(x, y, y_pred, sample_weight=sample_weight)

        model.compute_loss, model.compute_metrics = loss, metrics
        if recorder.mask is not None:
            recorder.mask.record_to(recorder)

    def remove(self) -> None:
        """Give the model back as it was."""
        for name in ("compute_loss", "compute_metrics"):
            delattr(self._model, name)
            if name in self._before:
                setattr(self._model, name, self._before[name])
        if self.recorder.mask is not None:
            self.recorder.mask.record_to(None)
        self.recorder.forget()
        if self._model.compiled:
            self._model.make_train_function(force=True)


class Attachment:
    """Put the overrides on a model for the time of a fit.

    Parameters
    ----------
    model : keras.Model
        Compiled by the time of :meth:`open`.
    session : Session
        Gets the store that the steps write to.
    mask : Mask or None
        Inner site; looked for in the model without one.
    **scored : str
        ``output`` and ``activation`` of an :class:`Objective`.
    """

    def __init__(
        self, model: Any, session: Session, *, mask: Mask | None, **scored: Any
    ) -> None:
        self._model, self._session, self._mask = model, session, mask
        self._scored = scored
        self._overrides: Overrides | None = None

    @property
    def is_open(self) -> bool:
        """Whether the model is overridden."""
        return self._overrides is not None

    def open(self) -> None:
        """Override the model, if it is compiled and not overridden yet."""
        model, session = self._model, self._session
        if self.is_open or not model.compiled:
            return
        recorder = Recorder(
            model,
            Objective(model, **self._scored),
            session.pruner.config,
            mask=find_mask(model) if self._mask is None else self._mask,
        )
        session.store = recorder.store
        self._overrides = Overrides(model, recorder)

    def renew(self) -> None:
        """Look at the compiled loss again, and let the step be compiled anew."""
        if self._overrides is not None:
            self._overrides.recorder.recording = True
            self._overrides.recorder.objective = Objective(self._model, **self._scored)
            self._model.make_train_function(force=True)

    def close(self) -> None:
        """Give the model back; what its steps wrote goes to the session."""
        if self._overrides is not None:
            self._session.flush()
            self._session.store = None
            self._overrides.remove()
            self._overrides = None
