"""Validation of arguments: each error names the argument, the rule and the value."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

MAX_SAMPLES = 2**53
"""Samples that a data set may have: beyond it float64 can not count them."""

MAX_EPOCHS = 10**6
"""Epochs that a run may have: all of them are planned ahead."""


def check_int(
    name: str,
    value: object,
    *,
    minimum: int,
    maximum: int | None = None,
    remedy: str = "",
) -> int:
    """Return `value` as an int, or say why it is not one in range."""
    then = f"; {remedy}" if remedy else ""
    try:
        known = not isinstance(value, bool | np.bool_)
        number = operator.index(value) if known else None  # type: ignore[arg-type]
    except (TypeError, AttributeError):  # the latter by TensorFlow's float scalars
        number = None
    if number is None:
        msg = f"`{name}` must be an integer, got {value!r}{then}"
        raise TypeError(msg)
    if number < minimum or (maximum is not None and number > maximum):
        bound = f"at least {minimum}"
        rule = bound if maximum is None else f"in [{minimum}, {maximum}]"
        msg = f"`{name}` must be {rule}, got {number}{then}"
        raise ValueError(msg)
    return number


def check_real(
    name: str,
    value: object,
    *,
    low: float,
    high: float,
    closed: Literal["both", "left", "right", "neither"] = "both",
    remedy: str = "",
) -> float:
    """Return `value` as a float, or say why it is not one in range."""
    then = f"; {remedy}" if remedy else ""
    left = "[" if closed in {"both", "left"} else "("
    right = "]" if closed in {"both", "right"} else ")"
    try:
        known = not isinstance(value, bool | np.bool_ | str | bytes)
        number = float(value) if known else None  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = None
    except OverflowError:
        number = math.nan  # beyond any range
    if number is None:
        msg = f"`{name}` must be a real number, got {value!r}{then}"
        raise TypeError(msg)
    above = number >= low if left == "[" else number > low
    below = number <= high if right == "]" else number < high
    if not (above and below):  # NaN is neither
        msg = f"`{name}` must be in {left}{low:g}, {high:g}{right}, got {value!r}{then}"
        raise ValueError(msg)
    return number


def set_real(thing: object, name: str, **rule: Any) -> None:
    """Check a number of a frozen dataclass, and keep it as a float."""
    object.__setattr__(thing, name, check_real(name, getattr(thing, name), **rule))


def check_bool(name: str, value: object) -> bool:
    """Return what is True or False; nothing else counts as one of them."""
    if not isinstance(value, bool | np.bool_):
        msg = f"`{name}` must be True or False, got {value!r}"
        raise TypeError(msg)
    return bool(value)


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse what is none of these words."""
    if not isinstance(value, str) or value not in choices:
        *first, last = map(repr, choices)
        msg = f"`{name}` must be {', '.join(first)} or {last}, got {value!r}"
        raise ValueError(msg)


def check_kind(name: str, value: object, kind: type) -> None:
    """Refuse what is no instance of a protocol; a class is none."""
    if isinstance(value, type) or not isinstance(value, kind):
        msg = f"`{name}` must be a {kind.__name__}, got {short(value)}"
        if isinstance(getattr(value, name, None), kind):
            msg += f"; give its `.{name}`"  # a session's, of its pruner
        elif name == "pruner" and isinstance(value, Mapping | str | os.PathLike):
            msg += (
                "; a saved state goes into a session with the run's options, "
                "`session.load_state_dict(state)`, and `ted inspect FILE` reads a file"
            )
        raise TypeError(msg)


def short(value: object, limit: int = 80) -> str:
    """Return a value's text, or of a long one its type."""
    text = repr(value)
    return text if len(text) <= limit else f"a {type(value).__name__}"


def as_array(name: str, value: Any, *, kinds: str = "") -> NDArray[Any]:
    """Return `value` as NumPy, masked numbers as NaN, or refuse other dtype kinds."""
    masked = isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value)
    if masked and value.dtype.kind != "f":
        hidden = int(np.ma.getmaskarray(value).sum())
        msg = f"`{name}` must have a value everywhere, got {hidden} masked"
        raise ValueError(msg)
    try:
        array: NDArray[Any] = value.filled(np.nan) if masked else to_numpy(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        msg = f"`{name}` must be an array, got {type(value).__name__}: {error}"
        raise TypeError(msg) from None
    if kinds and array.dtype.kind not in kinds:
        numbers = "real numbers" if "f" in kinds else "integers"
        msg = f"`{name}` must hold {numbers}, got dtype {array.dtype}"
        raise TypeError(msg)
    return array


def as_scores(name: str, value: object) -> NDArray[np.float32]:
    """Return `value` as float32 of any shape, or say that it holds no real numbers."""
    array = as_array(name, value, kinds="fiub")
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def check_shape(name: str, array: Any, shape: Sequence[int], like: str = "") -> None:
    """Refuse an array, of any library, of another shape."""
    wanted, found = tuple(shape), tuple(array.shape)
    if found != wanted:
        msg = f"`{name}` must have shape {wanted}{like}, got shape {found}"
        raise ValueError(msg)


def to_numpy(value: Any) -> NDArray[Any]:
    """Return any array as NumPy: lists, NumPy, TensorFlow, JAX, PyTorch, CuPy."""
    if hasattr(value, "detach"):
        value = value.detach()
        if str(value.dtype).endswith("bfloat16"):
            value = value.float()
        value = value.cpu()
    elif type(value).__module__.partition(".")[0] == "cupy":
        value = value.get()
    array = np.asarray(value)
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    return array


def check_ids(name: str, ids: object, n: int) -> NDArray[np.signedinteger[Any]]:
    """Return `ids` as a native 1-D integer array with every id in ``[0, n)``."""
    array = as_array(name, ids)
    if array.ndim != 1:
        msg = f"`{name}` must have shape (m,), got shape {array.shape}"
        raise ValueError(msg)
    if array.size == 0:
        kept = array.dtype.kind == "i" and array.dtype.isnative
        return array if kept else np.empty(0, np.int64)
    if array.dtype.kind not in "iu":
        msg = f"`{name}` must hold integers, got dtype {array.dtype}"
        raise TypeError(msg)
    low, high = array.min(), array.max()
    if low < 0 or high >= n:
        wrong = int(low) if low < 0 else int(high)
        msg = f"`{name}` must be in [0, {n}), got {wrong}"
        raise ValueError(msg)
    if array.dtype.kind == "u" or not array.dtype.isnative:
        array = array.astype(np.int64)
    return array


def check_values(
    name: str, values: object, size: int, *, like: str = " like `ids`"
) -> NDArray[np.float32]:
    """Return `values` as float32 of shape (size,); not-finite values are allowed."""
    if isinstance(values, np.ma.MaskedArray) and values.dtype.kind in "iu":
        values = values.astype(np.float32)
    array = as_array(name, values)
    check_shape(name, array, (size,), like)
    if array.dtype.kind not in "fiu" and size:
        msg = f"`{name}` must hold real numbers, got dtype {array.dtype}"
        raise TypeError(msg)
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def check_mask(name: str, value: object, size: int) -> NDArray[np.bool_]:
    """Return `value` as bool of shape (size,), or say why it is not that."""
    array = as_array(name, value)
    if array.shape != (size,) or (array.dtype != bool and size):
        msg = (
            f"`{name}` must hold True or False of shape ({size},) like `ids`, got "
            f"{array.dtype} of shape {array.shape}"
        )
        raise ValueError(msg)
    return array.astype(bool, copy=False)


def check_finite(name: str, values: object, size: int) -> NDArray[np.float32]:
    """Return `values` as float32, or refuse another shape and what is not finite."""
    scores = check_values(name, values, size, like="")
    if not np.isfinite(scores).all():
        wrong = int(np.flatnonzero(~np.isfinite(scores))[0])
        msg = f"`{name}` must be finite, got {scores[wrong]} at {wrong}"
        raise ValueError(msg)
    return scores


ONE_EPOCH = (
    "the first epoch sees all samples, so one epoch can save nothing: train without "
    "pruning, or with `initial_scores` and a schedule that prunes from the start, "
    "`Constant(0.5, anneal=0)`"
)


def check_epochs(epochs: object, *, minimum: int = 2) -> int:
    """Return `epochs` as an int; refuse an unknown number of them, or too few."""
    remedy = (
        "pruning is planned over the whole run: give the number of epochs that the "
        "training will have"
    )
    if epochs is None or (isinstance(epochs, float) and not epochs.is_integer()):
        msg = f"`epochs` must be a known number of epochs, got {epochs!r}; {remedy}"
        raise TypeError(msg)
    number = check_int("epochs", epochs, minimum=minimum, remedy=ONE_EPOCH)
    return check_int("epochs", number, minimum=minimum, maximum=MAX_EPOCHS)


def check_samples(n: object) -> int:
    """Return `n` as an int; refuse an empty data set, and one beyond any memory."""
    remedy = "an empty data set cannot be pruned"
    number = check_int("n", n, minimum=1, remedy=remedy)
    return check_int("n", number, minimum=1, maximum=MAX_SAMPLES)


def check_real_array(name: str, value: object) -> NDArray[np.float64]:
    """Return `value` as a finite float64 array, or say why it is not one."""
    array = as_array(name, value, kinds="fiu")
    if not np.isfinite(array).all():
        msg = f"`{name}` must be finite, got {array[~np.isfinite(array)].flat[0]}"
        raise ValueError(msg)
    return array.astype(np.float64)


def check_broadcast(**arrays: NDArray[Any]) -> None:
    """Refuse two arrays whose shapes do not broadcast."""
    shapes = [array.shape for array in arrays.values()]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        names = " and ".join(f"`{name}`" for name in arrays)
        msg = f"{names} must broadcast, got shapes {shapes[0]} and {shapes[1]}"
        raise ValueError(msg) from None
