"""Pages are plain Markdown; at build their ```python blocks become notebook cells.

The same blocks are shown on a code host and run by the tests, so no example is written
twice. A page without any is left as it is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

__all__ = ["as_notebook", "setup"]

_FENCE = re.compile(r"^```python$", flags=re.MULTILINE)
_HEADER = """---
file_format: mystnb
kernelspec: {name: python3}
language_info: {name: python, pygments_lexer: python}
---
"""


def as_notebook(text: str) -> str:
    """Return the page with its Python blocks as cells, or unchanged without any.

    Parameters
    ----------
    text : str
        Markdown.

    Returns
    -------
    str
        MyST Markdown.
    """
    page, blocks = _FENCE.subn("```{code-cell}", text)
    return _HEADER + page if blocks else text


def _read(app: Any, page: str, source: list[str]) -> None:
    if Path(app.env.doc2path(page)).suffix == ".md":
        source[0] = as_notebook(source[0])


def setup(app: Any) -> dict[str, bool]:
    """Register the extension.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The builder's application.

    Returns
    -------
    dict of str to bool
        What Sphinx may do with it.
    """
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
