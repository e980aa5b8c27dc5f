"""The mask gradient of a sample, |<h, dl/dh>| (Eqs. 12 and 18), on any array."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace, device

__all__ = ["mask_gradient", "segment_mask_gradient", "wide"]


def mask_gradient(
    hidden: Any,
    gradient: Any,
    *,
    loss_gradient: Any = None,
    signed: bool = False,
) -> Any:
    r"""Return each sample's mask gradient, I(z_k) = |<h_k, dl_k/dh_k>| (Eq. 12).

    A mask delta_k that multiplies h_k in the forward pass has the derivative
    <h_k, dl_k/dh_k> at delta_k = 1.

    Parameters
    ----------
    hidden : array of float, shape (B, ...)
        The masked tensor h: logits, a feature, an embedding, the input.
    gradient : array of float, shape (B, ...)
        Gradient of the total loss with respect to `hidden`.
    loss_gradient : array of float, shape (B,), optional
        c_k, gradient of the same total with respect to the loss of sample k; the
        value is divided by it. Where it is 0 the value is NaN.
    signed : bool, default False
        Return -<h, dl/dh> instead (Eq. 9 with Eq. 11 read literally).

    Returns
    -------
    array of float32 or float64, shape (B,)
        Values on the device of `hidden`; half precision accumulates in float32.

    Raises
    ------
    ValueError, TypeError
        The arrays are no floating arrays, or their shapes differ, by name.

    Notes
    -----
    O(size of `hidden`), one pass, no synchronisation with the host.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eqs. 12 and 18.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core import mask_gradient
    >>> h = np.array([[1.0, 2.0], [3.0, 0.0]])
    >>> g = np.array([[0.5, -1.0], [0.5, 1.0]])
    >>> mask_gradient(h, g).tolist(), mask_gradient(h, g, signed=True).tolist()
    ([1.5, 1.5], [1.5, -1.5])
    """
    xp, products = _products("hidden", hidden, gradient)
    axes = tuple(range(1, products.ndim))
    values = xp.sum(products, axis=axes) if axes else products
    if loss_gradient is not None:
        if loss_gradient.shape != values.shape:
            msg = (
                f"`loss_gradient` must have shape {tuple(values.shape)}, got shape "
                f"{tuple(loss_gradient.shape)}"
            )
            raise ValueError(msg)
        c = xp.astype(loss_gradient, values.dtype)
        zero = c == 0
        safe = xp.where(zero, xp.ones_like(c), c)
        values = xp.where(zero, xp.full_like(c, float("nan")), values / safe)
    return -values if signed else xp.abs(values)


def segment_mask_gradient(
    hidden: Any,
    gradient: Any,
    segment_ids: Any,
    segments: int,
    *,
    signed: bool = False,
) -> Any:
    r"""Return the mask gradient of samples packed into rows, by segment.

    Parameters
    ----------
    hidden : array of float, shape (B, L, ...)
        The masked tensor, one entry a token.
    gradient : array of float, shape (B, L, ...)
        Gradient of the sum of the segments' own losses.
    segment_ids : array of int, shape (B, L)
        Segment of each token, in [0, segments); any other number is padding.
    segments : int
        Segments in the batch.
    signed : bool, default False
        Return -<h, dl/dh> instead.

    Returns
    -------
    array of float32 or float64, shape (segments,)
        Values; 0 for a segment without tokens.

    Raises
    ------
    ValueError, TypeError
        The arrays are no floating arrays, or their shapes differ, by name.

    Notes
    -----
    O(size of `hidden` + segments B L): a product with a one-hot matrix, which every
    array library has.

    References
    ----------
    J. Xiao, P. Li, J. Nie, TED: Accelerate Model Training by Internal
    Generalization, ECAI 2024, Eq. 12.

    Examples
    --------
    >>> import numpy as np
    >>> from ted_core import segment_mask_gradient
    >>> h = np.ones((1, 3, 1))
    >>> g = np.array([[[1.0], [2.0], [4.0]]])
    >>> segment_mask_gradient(h, g, np.array([[0, 0, 1]]), 2).tolist()
    [3.0, 4.0]
    """
    xp, products = _products("hidden", hidden, gradient)
    if tuple(segment_ids.shape) != tuple(products.shape[:2]):
        msg = (
            f"`segment_ids` must have shape {tuple(products.shape[:2])}, got shape "
            f"{tuple(segment_ids.shape)}"
        )
        raise ValueError(msg)
    axes = tuple(range(2, products.ndim))
    tokens = xp.sum(products, axis=axes) if axes else products
    ids = xp.reshape(segment_ids, (-1,))
    names = xp.arange(segments, dtype=ids.dtype, device=device(ids))
    member = xp.astype(ids[None, :] == names[:, None], tokens.dtype)
    values = xp.matmul(member, xp.reshape(tokens, (-1,)))
    return -values if signed else xp.abs(values)


def _products(name: str, hidden: Any, gradient: Any) -> tuple[Any, Any]:
    try:
        xp = array_namespace(hidden, gradient)
    except TypeError as error:
        msg = (
            f"`{name}` and `gradient` must be arrays of one library, got "
            f"{type(hidden).__name__} and {type(gradient).__name__}"
        )
        raise TypeError(msg) from error
    if tuple(hidden.shape) != tuple(gradient.shape) or hidden.ndim == 0:
        msg = (
            f"`{name}` and `gradient` must have one shape (B, ...), got shapes "
            f"{tuple(hidden.shape)} and {tuple(gradient.shape)}"
        )
        raise ValueError(msg)
    return xp, wide(xp, name, hidden) * wide(xp, "gradient", gradient)


def wide(xp: Any, name: str, array: Any) -> Any:
    """Return a floating array as float64 if it is one, else as float32.

    Parameters
    ----------
    xp : namespace
        The array's library.
    name : str
        Name of the argument, for the error.
    array : array
        A floating array.

    Returns
    -------
    array
        The same numbers in float32 or float64.

    Raises
    ------
    TypeError
        `array` is not floating.

    Examples
    --------
    >>> import array_api_compat.numpy as xp
    >>> from ted_core.importance import wide
    >>> wide(xp, "x", xp.ones(2, dtype=xp.float32)).dtype.name
    'float32'
    """
    if array.dtype == xp.float64:
        return array
    kind = str(array.dtype)
    if "float" not in kind:
        msg = f"`{name}` must hold floating-point numbers, got dtype {kind}"
        raise TypeError(msg)
    return xp.astype(array, xp.float32)
