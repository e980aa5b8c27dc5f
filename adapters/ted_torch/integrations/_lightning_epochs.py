"""How a session keeps step with the epochs of Lightning's trainer."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer

from ted_core import EpochError
from ted_torch.session import TED

__all__ = ["begin", "next_epoch", "rests_at"]


def rests_at(session: TED[Any] | None, epoch: int, epochs: int) -> bool:
    """Whether a fit that ended early may be gone on with as it is.

    Parameters
    ----------
    session : TED or None
        What the last fit left.
    epoch, epochs : int
        Epoch in which the trainer begins, and its epochs.

    Returns
    -------
    bool
        False in the middle of an epoch, whose place only a checkpoint has.
    """
    if session is None or session.pruner.finished or not epoch:
        return False
    place: int = session.state_dict()["position"]
    return (session.epoch, session.pruner.epochs, place) == (epoch, epochs, 0)


def begin(session: TED[Any], trainer: Trainer) -> None:
    """Open the epoch in which a fit begins.

    Parameters
    ----------
    session : TED
        The session; new, resumed, or left open by an earlier fit.
    trainer : lightning.pytorch.Trainer
        The trainer, about to train.

    Raises
    ------
    EpochError
        They stand in different epochs.
    """
    here = trainer.current_epoch
    if here == session.epoch + 1 and session.state_dict()["position"]:
        # Saved after an epoch's last step: Lightning takes the epoch for ended, and
        # its batches for the next one's.
        next_epoch(session)
        trainer.fit_loop.restarting = False
        trainer.fit_loop.reset_restart_stage()
    if session.epoch != here:
        msg = (
            f"the trainer must begin at the session's epoch {session.epoch}, got "
            f"{here}; go on from a checkpoint that was saved with this callback, or "
            "begin with a new trainer"
        )
        raise EpochError(msg)
    if not session.pruner.finished:
        session.set_epoch(here)


def next_epoch(session: TED[Any]) -> None:
    """Close the open epoch, and open the next if there is one.

    Parameters
    ----------
    session : TED
        The session.
    """
    if session.epoch + 1 < session.pruner.epochs:
        session.set_epoch(session.epoch + 1)
    else:
        session.finish()
