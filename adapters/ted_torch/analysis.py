"""A network's losses, gradients and weights as NumPy arrays for `ted_core.analysis`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ted_torch._losses import per_sample

__all__ = ["flat_gradient", "flat_weights", "load_flat_weights", "sample_losses"]

_Loss = Callable[[Any, Any], Tensor]


def sample_losses(
    model: nn.Module, data: Dataset[Any], loss: _Loss, *, batch_size: int = 256
) -> NDArray[np.float64]:
    """Return the loss of every sample, in the order of the data set.

    Parameters
    ----------
    model : Module
        The network, evaluated as under ``model.eval()``; its mode is kept.
    data : Dataset
        Of pairs (input, target) and with a length.
    loss : callable
        Takes the network's output and the targets of a batch, and returns losses of
        shape (B, ...); more than one for a sample are averaged.
    batch_size : int, default 256
        Samples of one forward pass.

    Returns
    -------
    ndarray of float64, shape (n,)
        Losses.

    Raises
    ------
    ValueError, TypeError
        `loss` returns a scalar or no floating tensor of one row for each sample.

    Notes
    -----
    One forward pass of the data, without a graph, on the device of the network's first
    parameter.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> from ted_torch.analysis import sample_losses
    >>> data = TensorDataset(torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [0.0]]))
    >>> sample_losses(torch.nn.Identity(), data, lambda z, y: (z - y) ** 2).tolist()
    [1.0, 9.0]
    """
    with torch.no_grad(), _evaluating(model):
        parts = [
            losses.cpu().double()
            for losses in _batches(model, data, loss, batch_size=batch_size)
        ]
    return np.concatenate([np.empty(0), *(part.numpy() for part in parts)])


def flat_gradient(
    model: nn.Module, data: Dataset[Any], loss: _Loss, *, batch_size: int = 256
) -> NDArray[np.float64]:
    r"""Return the gradient of L(D, theta), the mean loss over the data, flattened.

    Parameters
    ----------
    model : Module
        The network, evaluated as under ``model.eval()``; its mode and ``.grad`` stay.
    data : Dataset
        Of pairs (input, target) and with a length, at least 1. The retained samples are
        ``torch.utils.data.Subset(data, plan.kept)``.
    loss, batch_size : callable, int
        As of :func:`sample_losses`; the gradient does not depend on `batch_size`.

    Returns
    -------
    ndarray of float64, shape (p,)
        Gradient at the parameters that require one, in the order of
        ``model.parameters()``; 0 where the loss does not depend on them.

    Raises
    ------
    ValueError, TypeError
        `data` is empty, or `loss` is refused as by :func:`sample_losses`.

    Notes
    -----
    One forward and backward pass of the data, on the device of the network's first
    parameter. Source: TED, ECAI 2024, Eq. 22, Fig. 4.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import Subset, TensorDataset
    >>> from ted_torch.analysis import flat_gradient
    >>> net = torch.nn.Linear(1, 1, bias=False)
    >>> data = TensorDataset(torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1))
    >>> flat_gradient(net, data, lambda z, y: z - y).tolist()
    [2.0]
    >>> flat_gradient(net, Subset(data, [1]), lambda z, y: z - y).tolist()
    [3.0]
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    sums = [torch.zeros(p.shape, dtype=torch.float64) for p in parameters]
    n = 0
    with torch.enable_grad(), _evaluating(model):
        for losses in _batches(model, data, loss, batch_size=batch_size):
            found = torch.autograd.grad(
                losses.sum(), parameters, allow_unused=True, materialize_grads=True
            )
            for total, gradient in zip(sums, found, strict=True):
                total.add_(gradient.cpu())
            n += losses.shape[0]
    if not n:
        msg = "`data` must hold at least one sample, got none"
        raise ValueError(msg)
    return _flatten(sums) / n


def flat_weights(model: nn.Module) -> NDArray[np.float64]:
    """Return the parameters, then the floating-point buffers, as one vector.

    Parameters
    ----------
    model : Module
        The network.

    Returns
    -------
    ndarray of float64, shape (p,)
        A copy, in the order of ``parameters()`` and ``buffers()``: the statistics of
        batch norms are in it, integers are not.

    Examples
    --------
    >>> import torch
    >>> from ted_torch.analysis import flat_weights
    >>> flat_weights(torch.nn.BatchNorm1d(2)).tolist()
    [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    """
    return _flatten(_weights(model))


def load_flat_weights(model: nn.Module, theta: ArrayLike) -> None:
    """Write a vector of `flat_weights` into the network, in place.

    Parameters
    ----------
    model : Module
        The network.
    theta : array_like of float, shape (p,)
        Its weights, rounded to their own dtypes.

    Raises
    ------
    ValueError
        `theta` has another shape.

    Examples
    --------
    >>> import torch
    >>> from ted_torch.analysis import flat_weights, load_flat_weights
    >>> net = torch.nn.Linear(2, 1)
    >>> load_flat_weights(net, [1.0, 2.0, 3.0])
    >>> net.weight.tolist(), net.bias.tolist()
    ([[1.0, 2.0]], [3.0])
    """
    weights = _weights(model)
    vector = torch.tensor(np.asarray(theta, np.float64))
    size = sum(weight.numel() for weight in weights)
    if vector.shape != (size,):
        msg = f"`theta` must have shape ({size},), got shape {tuple(vector.shape)}"
        raise ValueError(msg)
    parts = torch.split(vector, [weight.numel() for weight in weights])
    with torch.no_grad():
        for weight, part in zip(weights, parts, strict=True):
            weight.copy_(part.view_as(weight))


def _batches(
    model: nn.Module, data: Dataset[Any], loss: _Loss, *, batch_size: int
) -> Iterator[Tensor]:
    """Yield the losses of each batch."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    # A generator of its own leaves PyTorch's, and so a run, as it is.
    own = torch.Generator()
    for x, y in DataLoader(data, batch_size=batch_size, generator=own):
        target = y.to(device)
        losses = per_sample(loss(model(x.to(device)), target))
        if len(losses) != len(target):
            msg = (
                f"`loss` must return shape ({len(target)}, ...), one row for each "
                f"sample, got {len(losses)} rows"
            )
            raise ValueError(msg)
        yield losses


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation, and back each module that was training."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _weights(model: nn.Module) -> list[Tensor]:
    buffers = [b for b in model.buffers() if b.is_floating_point()]
    return [*model.parameters(), *buffers]


def _flatten(tensors: list[Tensor]) -> NDArray[np.float64]:
    flat = [t.detach().cpu().double().numpy().ravel() for t in tensors]
    return np.concatenate([np.empty(0), *flat])
