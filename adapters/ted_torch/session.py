"""The session: three lines in a training loop of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar, Unpack

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ted_core import CheckpointError, Pruner, Savings
from ted_core.config import StepOptions
from ted_torch._recorder import Recorder
from ted_torch.datasets import WithIds
from ted_torch.options import RunOptions
from ted_torch.samplers import TEDSampler
from ted_torch.states import read_session, write_session

__all__ = ["TED"]

Item = TypeVar("Item")


class TED(Generic[Item]):
    r"""Prune a training run: which samples, the scaled loss, and their scores.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Map-style data set with a length.
    epochs : int
        T, epochs of the run, at least 2.
    device : torch.device or str, default "cpu"
        Where losses and masks live.
    **options : RunOptions
        `prune_ratio`, `schedule`, `strategy`, `reduction`, `seed`, `multiple_of`,
        `scale_loss`, `labels`, `initial_scores`: as in :class:`ted_core.Pruner`.

    Attributes
    ----------
    dataset : WithIds
        Hands out ``(id, item)``; give it to the loader.
    sampler : TEDSampler
        Visits the current epoch's kept ids; give it to the loader.
    pruner : Pruner
        Plans, scores, savings and report of the run.

    Raises
    ------
    TypeError, ValueError
        The data set has no ids or no samples, or an option is out of range.

    Notes
    -----
    For one process. A step adds one pass over the mask; scores stay on the device
    and reach NumPy once an epoch. The method is Algorithm 1 of J. Xiao, P. Li, J. Nie,
    TED: Accelerate Model Training by Internal Generalization, ECAI 2024.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> from ted_torch import TED
    >>> data = TensorDataset(torch.randn(40, 5), torch.arange(40) % 3)
    >>> net = torch.nn.Linear(5, 3)
    >>> ted = TED(data, epochs=5, prune_ratio=0.5)
    >>> loader = DataLoader(ted.dataset, batch_size=8, sampler=ted.sampler)
    >>> for epoch in range(5):
    ...     ted.set_epoch(epoch)
    ...     for ids, (x, y) in loader:
    ...         z = net(x)
    ...         losses = torch.nn.functional.cross_entropy(z, y, reduction="none")
    ...         ted.loss(losses, mask=z, ids=ids).backward()
    >>> ted.finish()
    >>> ted.savings().forwarded < 5 * 40
    True
    """

    def __init__(
        self,
        dataset: Dataset[Item] | Sequence[Item],
        *,
        epochs: int,
        device: torch.device | str = "cpu",
        **options: Unpack[RunOptions],
    ) -> None:
        self.dataset = WithIds(dataset)
        self.pruner = Pruner(len(self.dataset), epochs=epochs, **options)
        self.sampler = TEDSampler(self.pruner)
        self._recorder = Recorder(self.pruner.n, device)

    @property
    def epoch(self) -> int:
        """Current epoch, in [0, epochs]: where a resumed loop starts."""
        return self.pruner.epoch

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch, closing the one before; repeated calls are harmless.

        Parameters
        ----------
        epoch : int
            The current epoch or the next, below `epochs`.

        Raises
        ------
        ValueError
            `epoch` is neither.
        EpochError
            The epoch to close recorded nothing, or got ids out of range; or the
            run has finished.
        """
        here = self.pruner.epoch
        if epoch not in {here, here + 1} or epoch >= self.pruner.epochs:
            msg = (
                f"`epoch` must be {here} or {here + 1}, below {self.pruner.epochs}, "
                f"got {epoch!r}; a resumed run goes on at `ted.epoch`"
            )
            raise ValueError(msg)
        if epoch > here:
            self._merge()
            self.pruner.advance()
            self._recorder.buffer.clear()
            self.sampler.start = 0
        self._recorder.begin(self.pruner.plan())

    def finish(self) -> None:
        """Close the last epoch, or an early stop; harmless when repeated.

        Raises
        ------
        EpochError
            The open epoch was trained without recorded values.
        """
        if not self.pruner.finished:
            if int(self._recorder.buffer.meters[0]):
                self._merge()
            self.pruner.finish()
            self._recorder.buffer.clear()
            self.sampler.start = 0
            self._recorder.close()

    def _merge(self) -> None:
        sums, counts = self._recorder.buffer.read(self.pruner.epoch)
        self.pruner.observe_sums(sums, counts)

    def mask(self, hidden: Tensor, *, ids: Tensor) -> Tensor:
        """Put the mask on an inner tensor or the input, before the loss is there.

        Parameters
        ----------
        hidden : Tensor of float, shape (B, ...)
            Tensor of the forward pass; an input needs no gradient yet.
        ids : Tensor of int, shape (B,)
            Sample ids; give the very same tensor to :meth:`loss`.

        Returns
        -------
        Tensor of float, shape (B, ...)
            `hidden` with the same numbers: go on with this tensor. Under
            ``torch.no_grad`` it is `hidden`, and nothing is recorded.
        """
        return self._recorder.mask(hidden, ids)

    def loss(
        self,
        losses: Tensor,
        *,
        ids: Tensor,
        mask: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Return the mean loss over r_t; its backward records the scores (Eq. 23).

        Parameters
        ----------
        losses : Tensor of float, shape (B, ...)
            Unreduced data losses; averaged to one a sample.
        ids : Tensor of int, shape (B,)
            Sample ids from the loader. On the CPU they are checked here, on a device
            when the epoch closes: a step never waits.
        mask : Tensor of float, shape (B, ...), optional
            Where the mask stands in this forward pass, for example the logits; left
            out after :meth:`mask`.
        weights : Tensor of float, shape (B,), optional
            Weights of the samples; a weight of 0 is no observation.

        Returns
        -------
        Tensor of float, shape ()
            Total to call ``backward`` on; scale it or add to it as you like.

        Raises
        ------
        TypeError, ValueError
            An argument does not fit, has no graph, or an id is out of range.
        EpochError
            :meth:`set_epoch` was not called.
        """
        return self._recorder.loss(losses, ids, mask, weights)

    def total_steps(self, batch_size: int, **options: Unpack[StepOptions]) -> int:
        """Count the optimizer steps of the run; see `Pruner.total_steps`."""
        return self.pruner.total_steps(batch_size, **options)

    def savings(self) -> Savings:
        """Return the samples saved in the closed epochs, counted (Eq. 24)."""
        return self.pruner.savings()

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state, an open epoch's included: tensors, plain values."""
        checksum = 0 if self.pruner.finished else self.pruner.plan().checksum
        return write_session(self.pruner.state_dict(), self._recorder.buffer, checksum)

    def load_state_dict(
        self, state: Mapping[str, Any], *, allow: Sequence[str] = ()
    ) -> None:
        """Take over a saved state; on an error nothing has changed.

        Parameters
        ----------
        state : mapping
            What :meth:`state_dict` returned.
        allow : sequence of str, default ()
            Fields that may differ on purpose: ``"epochs"``.

        Raises
        ------
        CheckpointError
            A field is missing, unknown, or does not fit: with both values.

        Notes
        -----
        Go on with ``set_epoch(ted.epoch)``: the sampler passes over the samples that
        `loss` had received, provided that they came in the sampler's order.
        """
        pruner, buffer, checksum = read_session(state, self.pruner.n)
        before = self.pruner.state_dict()
        self.pruner.load_state_dict(pruner, allow=allow)
        here = 0 if self.pruner.finished else self.pruner.plan().checksum
        if here != checksum and int(buffer["meters"][0]):
            self.pruner.load_state_dict(before)
            msg = (
                f"`order` must be this epoch's, saved checksum {checksum}, here {here}"
            )
            raise CheckpointError(msg)
        self._recorder.buffer.load(buffer)
        self.sampler.start = int(buffer["meters"][0])
        self._recorder.close()
