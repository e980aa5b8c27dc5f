"""Tables for those who have pandas, and Parquet for those who have pyarrow."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from numpy.typing import NDArray

__all__ = ["data_frame", "needed"]


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
    pandas = needed("pandas", by="to_dataframe")
    name, values = index
    return pandas.DataFrame(dict(columns), index=pandas.Index(values, name=name))


def needed(package: str, *, by: str) -> Any:
    """Import a package that only one method needs.

    Parameters
    ----------
    package : str
        Its name, to import and to install.
    by : str
        The method.

    Returns
    -------
    module
        The package.

    Raises
    ------
    ModuleNotFoundError
        It is not installed.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError:
        msg = f"`{by}` needs {package}: pip install {package}"
        raise ModuleNotFoundError(msg, name=package) from None
