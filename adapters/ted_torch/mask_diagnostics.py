"""What the first step of an epoch tells about a mask that scores nothing."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ted_core import TedWarning

__all__ = ["Hints"]

_FLAT = 1e-4
_SUM = 1e-3


class Hints:
    """Two symptoms of a mask at the wrong place, kept on the device.

    Parameters
    ----------
    device : torch.device or str
        Where the masks live.

    Attributes
    ----------
    seen : Tensor of float32, shape (2,)
        Largest ``|<h, g>| / (|h| |g|)`` of a sample, and whether all rows were
        probabilities; -1 where nothing was watched.

    Notes
    -----
    A compiled step is not watched.

    Examples
    --------
    >>> import torch
    >>> from ted_torch.mask_diagnostics import Hints
    >>> hints, h = Hints("cpu"), torch.tensor([[1.0, 0.0]], requires_grad=True)
    >>> hints.watch(h)
    >>> h.sum().backward()
    >>> round(hints.seen[0].item(), 2)
    0.71
    """

    def __init__(self, device: torch.device | str) -> None:
        self.seen = torch.full((2,), -1.0, device=device)

    def watch(self, mask: Tensor) -> None:
        """Measure at a mask in the coming backward.

        Parameters
        ----------
        mask : Tensor of float, shape (B, ...)
            The masked tensor; it requires a gradient.
        """
        hidden = mask.detach()

        def hook(grad: Tensor) -> None:
            with torch.no_grad():
                self._measure(hidden.flatten(1).float(), grad.flatten(1).float())

        if hidden.ndim > 1 and hidden.numel():
            mask.register_hook(hook)  # type: ignore[no-untyped-call]

    def _measure(self, hidden: Tensor, gradient: Tensor) -> None:
        # Scaled before it is squared: a loss scale must not bring it to 0 or infinity.
        h = hidden / hidden.abs().amax(1, keepdim=True)
        g = gradient / gradient.abs().amax(1, keepdim=True)
        cosine = (h * g).sum(1).abs() / (h.norm(dim=1) * g.norm(dim=1))
        flat = torch.where(cosine.isfinite(), cosine, -1.0).max()
        likely = (hidden >= 0).all() & ((hidden.sum(1) - 1).abs() < _SUM).all()
        several = hidden.shape[1] > 1
        seen = torch.stack([flat, (likely & several).float()])
        torch.maximum(self.seen, seen.to(self.seen.device), out=self.seen)

    def warn(self, epoch: int) -> None:
        """Warn of what was seen, and forget it.

        Parameters
        ----------
        epoch : int
            The epoch that closes.

        Warns
        -----
        TedWarning
            The mask has no gradient along itself, as before a layer norm, or holds
            probabilities, whose value is 1 for every sample.

        Notes
        -----
        Waits for the device.
        """
        flat, likely = self.seen.tolist()
        self.seen.fill_(-1.0)
        if 0 <= flat < _FLAT:
            msg = (
                f"`mask` should not feed a normalisation layer alone: in epoch {epoch} "
                f"|<h, g>| / (|h| |g|) was at most {flat:.1e}, so the scores are "
                "rounding errors; mask a tensor before a sum, after the norm, or the "
                "logits"
            )
            warnings.warn(msg, TedWarning, stacklevel=4)
        if likely > 0:
            msg = (
                f"`mask` should hold logits, not probabilities as in epoch {epoch}: "
                "the mask gradient of softmax outputs is 1 for every sample"
            )
            warnings.warn(msg, TedWarning, stacklevel=4)
