"""Tables for those who have pandas."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from numpy.typing import NDArray

__all__ = ["data_frame"]


def data_frame(
    columns: Mapping[str, NDArray[Any]], *, index: tuple[str, NDArray[Any]]
) -> Any:
    """Return columns as a pandas DataFrame.

    Parameters
    ----------
    columns : mapping of str to ndarray, shape (m,)
        Columns by name.
    index : tuple of str and ndarray, shape (m,)
        Name and values of the index.

    Returns
    -------
    pandas.DataFrame
        The table; the arrays are copied.

    Raises
    ------
    ModuleNotFoundError
        There is no pandas.
    """
    try:
        pandas = import_module("pandas")
    except ModuleNotFoundError:
        msg = "`to_dataframe` needs pandas: pip install pandas"
        raise ModuleNotFoundError(msg, name="pandas") from None
    name, values = index
    return pandas.DataFrame(dict(columns), index=pandas.Index(values, name=name))
